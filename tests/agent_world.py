"""Whole agents in a simulated world: real cores and facades, no socket, no waiting.

A command to an agent, and a wait of an agent, let virtual time pass until they are over.
"""

from __future__ import annotations

import ipaddress
import uuid
from collections.abc import AsyncGenerator, Callable
from dataclasses import dataclass, field

import trio

from swimnomad.errors import OperationError
from swimnomad.faults import FaultTable
from swimnomad.names import Address, Operation
from swimnomad.nomad.agent import Agent
from swimnomad.nomad.config import AgentConfig
from swimnomad.nomad.core import NomadCore
from swimnomad.nomad.keys import decode_key
from swimnomad.serf.inputs import SerfInput
from swimnomad.sim.host import Host
from swimnomad.sim.world import World
from swimnomad.swim.effects import Event
from swimnomad.wire.keyring import Keyring

EPOCH = 1_700_000_000.0
"""Wall time at which every simulated world begins."""
OPERATION_MAX = 60.0
"""Virtual seconds after which a command without an outcome is a failure of the test."""

NAMES = {"localhost": ["127.0.0.1"], "both.test": ["127.0.0.1", "127.0.0.2"]}
"""What the simulated resolver knows."""


@dataclass
class SimServices:
    """`Services` on a simulated world."""

    world: World
    host: Host | None
    faults: FaultTable | None
    stop_requests: list[bool] = field(default_factory=list)
    slept: list[float] = field(default_factory=list)
    _operation: Operation = 0
    _outcomes: dict[Operation, Event] = field(default_factory=dict)
    _readers: list[trio.MemorySendChannel[tuple[float, Event]]] = field(default_factory=list)

    def observe(self, now: float, node: str, event: Event) -> None:
        """Take an event of the world."""
        if self.host is None or node != self.host.name:
            return
        operation = getattr(event, "operation", None)
        if operation is not None:
            self._outcomes[operation] = event
        for reader in self._readers:
            reader.send_nowait((EPOCH + now, event))

    async def execute(self, make_command: Callable[[Operation], SerfInput]) -> Event:
        """Give the core a command and let time pass until its outcome is known."""
        await trio.lowlevel.checkpoint()
        assert self.host is not None
        if not self.host.is_running:
            raise OperationError("the agent has stopped", may_have_happened=False)
        self._operation = operation = self._operation + 1
        self.host.give(make_command(operation))
        until = self.world.now + OPERATION_MAX
        assert self.world.run_while(lambda: operation not in self._outcomes, until)
        return self._outcomes.pop(operation)

    async def resolve(self, host: str, port: int) -> list[str]:
        """Look a name up in `NAMES`."""
        await trio.lowlevel.checkpoint()
        if host not in NAMES:
            raise OSError(-2, "Name or service not known")
        return NAMES[host]

    async def sleep(self, seconds: float) -> None:
        """Let virtual time pass."""
        await trio.lowlevel.checkpoint()
        self.slept.append(seconds)
        self.world.run_for(seconds)

    def now(self) -> float:
        """Virtual seconds."""
        return self.world.now

    def wall_time(self) -> float:
        """Virtual seconds since the epoch."""
        return EPOCH + self.world.now

    def task_count(self) -> int:
        """A number like any other."""
        return 7

    async def events(self) -> AsyncGenerator[tuple[float, Event], None]:
        """Events from now on."""
        sender, receiver = trio.open_memory_channel[tuple[float, Event]](1000)
        self._readers.append(sender)
        try:
            with receiver:
                async for item in receiver:
                    yield item
        finally:
            self._readers.remove(sender)

    def end_events(self) -> None:
        """End every stream of events, as a stopping agent does."""
        for reader in self._readers:
            reader.close()

    def request_stop(self, leave: bool) -> None:
        """Note the request."""
        self.stop_requests.append(leave)


@dataclass
class SimAgent:
    """One agent of the world."""

    agent: Agent
    core: NomadCore | None
    services: SimServices


class AgentWorld:
    """Agents that share a network and a clock."""

    def __init__(self, seed: str = "agents") -> None:
        self.world = World(seed)

    def start(self, config: AgentConfig) -> SimAgent:
        """Start an agent at the gossip address of its configuration.

        Nothing listens for a client-only agent.
        """
        config.validate()
        faults = FaultTable() if config.gossip.allow_faults else None
        if not config.server.enabled:
            services = SimServices(self.world, None, faults)
            return SimAgent(Agent(config, None, services), None, services)
        address = config.advertised("serf")
        ipaddress.ip_address(address.host)
        name = f"{config.member_name} {len(self.world.hosts)}"
        host = self.world.add_host(name, config.region)
        host.move(Address(address.host, config.ports.serf))
        services = SimServices(self.world, host, faults)
        self.world.observers.append(services.observe)
        key = decode_key(config.server.encrypt) if config.server.encrypt else None
        keyring = Keyring([key], primary=key) if key else None
        rng = self.world.rng_for(name)
        node_id = str(uuid.UUID(int=rng.getrandbits(128)))
        core = NomadCore(config, rng, node_id=node_id, keyring=keyring)
        host.boot(core)
        return SimAgent(Agent(config, core, services), core, services)

    async def cluster(self, *configs: AgentConfig) -> list[SimAgent]:
        """Start agents and let each join the first."""
        agents = [self.start(config) for config in configs]
        first = str(configs[0].advertised("serf"))
        for agent in agents[1:]:
            report = await agent.agent.join([first])
            assert report.joined == 1, report
        self.world.run_for(5.0)
        return agents

    def kill(self, agent: SimAgent) -> None:
        """End an agent without a word."""
        assert agent.services.host is not None
        agent.services.host.kill()
