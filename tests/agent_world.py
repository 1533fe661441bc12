"""Whole agents in a simulated world: real cores and facades, no socket, no waiting.

A command to an agent, and a wait of an agent, let virtual time pass until they are over.
"""

from __future__ import annotations

import ipaddress
import random
import uuid
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import aclosing, asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from typing import Any, TypeVar

import trio

from swimnomad.errors import OperationError
from swimnomad.faults import FaultTable
from swimnomad.names import Address, Operation
from swimnomad.nomad.agent import Agent
from swimnomad.nomad.config import AgentConfig
from swimnomad.nomad.core import NomadCore
from swimnomad.nomad.host import FileSystem, HostFacts
from swimnomad.nomad.keys import decode_key
from swimnomad.nomad.leadership import Leadership
from swimnomad.nomad.monitor import lost_line
from swimnomad.nomad.remote import Remote
from swimnomad.nomad.replicated import Replicated
from swimnomad.nomad.requests import RaftStats
from swimnomad.rpc import schemas
from swimnomad.rpc.failures import RpcFailed, no_connection, relayed
from swimnomad.rpc.methods import BY_NAME, AgentMethods
from swimnomad.rpc.remote import PoolRemote
from swimnomad.rpc.service import Peer
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

FACTS = HostFacts(
    uname=("x86_64", "host-1", "5.10.0", "Linux", "#1 SMP"),
    interfaces=(("127.0.0.1", 8), ("::1", 128)),
    resolv_conf="nameserver 192.0.2.53\n",
    hosts="127.0.0.1 localhost\n",
    environment={"PATH": "/usr/bin:/bin", "VAULT_TOKEN": "s3cret", "EMPTY": ""},
    file_systems=(FileSystem("/", 10_000 << 20, 8_000 << 20),),
)
"""The host of every simulated agent."""

COMMAND_LINE = ("swimnomad", "agent", "--dev")

T = TypeVar("T")


@dataclass
class SimLog:
    """A log that has one reader. A wait for a line lets virtual time pass."""

    world: World
    lines: deque[bytes] = field(default_factory=deque)
    lost: int = 0
    level: str = ""
    as_json: bool = False

    async def next_line(self, deadline: float) -> bytes | None:
        """The next line; without one, time passes until the deadline."""
        await trio.lowlevel.checkpoint()
        if not self.lines and deadline > self.world.now:
            self.world.run_for(deadline - self.world.now)
        return self.lines.popleft() if self.lines else None

    def report_lost(self) -> None:
        """Say how many lines were lost."""
        if self.lost:
            self.lines.append(lost_line(self.lost))
            self.lost = 0


@dataclass
class SimServices:
    """`Services` on a simulated world."""

    world: World
    host: Host | None
    faults: FaultTable | None
    remote: Remote | None = None
    rng: random.Random = field(default_factory=lambda: random.Random("services"))
    log: SimLog | None = None
    on_sleep: Callable[[float], None] = lambda seconds: None
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
        self.on_sleep(seconds)
        self.world.run_for(seconds)

    async def all_of(self, calls: Sequence[Callable[[], Awaitable[T]]]) -> list[T]:
        """Make the calls one by one."""
        return [await call() for call in calls]

    @contextmanager
    def log_lines(self, level: str, *, as_json: bool) -> Iterator[SimLog]:
        """The agent's log."""
        self.log = SimLog(self.world, level=level, as_json=as_json)
        yield self.log

    async def host_facts(self) -> HostFacts:
        """The same for everyone."""
        await trio.lowlevel.checkpoint()
        return FACTS

    def command_line(self) -> Sequence[str]:
        """The same for everyone."""
        return COMMAND_LINE

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

    @property
    def is_running(self) -> bool:
        """Whether it has not been killed."""
        return self.services.host is None or self.services.host.is_running


@dataclass
class FakeRaft:
    """`Leadership` that says what a test wants."""

    leads: bool = False
    is_ready: bool = True
    leader: Address | None = None
    voters: tuple[Address, ...] = ()
    raft_stats: RaftStats = field(default_factory=lambda: RaftStats("0", 21, 2))

    @classmethod
    def alone(cls, address: Address) -> FakeRaft:
        """A server that leads its region and is its only voter."""
        return cls(leads=True, leader=address, voters=(address,))


class SimPool:
    """A pool whose calls reach other agents of the world at once, through real methods."""

    def __init__(self, world: AgentWorld) -> None:
        self._world = world

    async def call(
        self,
        to: Address,
        region: str,
        method: str,
        arguments: bytes,
        *,
        timeout: float | None = None,
    ) -> bytes:
        """Call the agent that serves RPC at that address."""
        self._world.calls.append((to, region, method))
        self._world.requests.append(BY_NAME[method].arguments.decode_untrusted(arguments))
        methods = self._methods(to)
        try:
            return await methods.answer(method, arguments, PEER)
        except RpcFailed as error:
            raise RpcFailed(relayed(error.text)) from None

    @asynccontextmanager
    async def stream(
        self, to: Address, region: str, method: str, request: bytes
    ) -> AsyncIterator[AsyncIterator[bytes | None]]:
        """Open a stream to the agent at that address."""
        self._world.calls.append((to, region, method))
        self._world.requests.append(schemas.AGENT_MONITOR.decode_untrusted(request))
        handler = self._methods(to).streaming(method)
        assert handler is not None
        writer = SimWriter()
        async with trio.open_nursery() as nursery:

            async def serve() -> None:
                await handler(request, writer, PEER)
                writer.sender.close()

            nursery.start_soon(serve)
            async with aclosing(writer.pieces()) as pieces:
                yield pieces
            nursery.cancel_scope.cancel()

    def _methods(self, to: Address) -> AgentMethods:
        agent = self._world.listeners.get(to)
        if agent is None or not agent.is_running:
            raise RpcFailed(no_connection(f"dial tcp {to}: connect: connection refused"))
        return AgentMethods(agent.agent)


PEER = Peer(Address("127.0.0.1", 40_000))


class SimWriter:
    """The sending end of a stream; what it was given can be read."""

    def __init__(self) -> None:
        self.sender, self._receiver = trio.open_memory_channel[bytes | RpcFailed | None](0)

    async def send(self, payload: bytes | None) -> None:
        """Give a piece to the reader."""
        await self.sender.send(payload)

    async def fail(self, code: int | None, message: str) -> None:
        """Give an error to the reader."""
        await self.sender.send(RpcFailed(message, code=code))

    async def pieces(self) -> AsyncGenerator[bytes | None, None]:
        """What was sent; raises what failed."""
        async for piece in self._receiver:
            if isinstance(piece, RpcFailed):
                raise piece
            yield piece


class AgentWorld:
    """Agents that share a network and a clock.

    `calls` lists who was asked what over RPC, in order: address, region, method. `requests` are
    their arguments.
    """

    def __init__(self, seed: str = "agents") -> None:
        self.world = World(seed)
        self.listeners: dict[Address, SimAgent] = {}
        self.calls: list[tuple[Address, str, str]] = []
        self.requests: list[Any] = []

    def start(
        self,
        config: AgentConfig,
        leadership: Leadership | None = None,
        replicated: Replicated | None = None,
    ) -> SimAgent:
        """Start an agent at the gossip address of its configuration.

        Nothing listens for a client-only agent.
        """
        config.validate()
        faults = FaultTable() if config.gossip.allow_faults else None
        if not config.server.enabled:
            services = SimServices(self.world, None, faults, PoolRemote(SimPool(self)))
            return SimAgent(Agent(config, None, services), None, services)
        address = config.advertised("serf")
        ipaddress.ip_address(address.host)
        name = f"{config.member_name} {len(self.world.hosts)}"
        host = self.world.add_host(name, config.region)
        host.move(Address(address.host, config.ports.serf))
        services = SimServices(self.world, host, faults, PoolRemote(SimPool(self)))
        self.world.observers.append(services.observe)
        key = decode_key(config.server.encrypt) if config.server.encrypt else None
        keyring = Keyring([key], primary=key) if key else None
        rng = self.world.rng_for(name)
        node_id = str(uuid.UUID(int=rng.getrandbits(128)))
        core = NomadCore(config, rng, node_id=node_id, keyring=keyring)
        host.boot(core)
        facade = Agent(config, core, services, leadership, replicated)
        agent = SimAgent(facade, core, services)
        for rpc in (config.bind("rpc"), config.advertised("rpc")):
            self.listeners[rpc] = agent
        return agent

    async def cluster(self, *configs: AgentConfig) -> list[SimAgent]:
        """Start agents and let each join the first."""
        agents = [self.start(config) for config in configs]
        await self.join(*agents)
        return agents

    async def join(self, *agents: SimAgent) -> None:
        """Let every agent join the first; everybody knows everybody afterwards."""
        for agent in agents[1:]:
            report = await agent.agent.join([str(agents[0].agent.config.advertised("serf"))])
            assert report.joined == 1, report
        self.world.run_for(5.0)

    def kill(self, agent: SimAgent) -> None:
        """End an agent without a word."""
        assert agent.services.host is not None
        agent.services.host.kill()
