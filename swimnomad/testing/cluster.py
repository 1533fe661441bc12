"""Real agents in one trio loop, up within a fraction of a second."""

from __future__ import annotations

import os
import random
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager

import msgspec
import trio

from swimnomad.errors import OperationError, UsageError
from swimnomad.live.agent import LiveAgent, open_agent
from swimnomad.live.log import AgentLog, Level
from swimnomad.live.nurseries import plain_nursery
from swimnomad.live.places import plan_places
from swimnomad.nomad.config import AgentConfig, GossipConfig, Ports, ServerConfig
from swimnomad.serf.events import Status
from swimnomad.serf.inputs import Leave
from swimnomad.swim.effects import Event

NODES_MAX = 250
READY_TIME = 30.0
"""Seconds that agents may take to see each other; far more than they need on a busy machine."""


class InProcessCluster:
    """Agents by node name, which is s1, s2 and so on.

    `cluster["s1"]` is a running agent: `http_url`, `facade`, `core`, `endpoint`.
    """

    def __init__(self, configs: Sequence[AgentConfig], nursery: trio.Nursery) -> None:
        self._configs = {config.node_name: config for config in configs}
        self._agents: dict[str, LiveAgent] = {}
        self._ended: dict[str, trio.Event] = {}
        self._nursery = nursery
        self._changed = trio.Event()

    def __getitem__(self, name: str) -> LiveAgent:
        """A running agent.

        Raises:
            UsageError: If no agent of that name is running.
        """
        try:
            return self._agents[name]
        except KeyError:
            running = ", ".join(self._agents) or "none"
            raise UsageError(f"no agent called {name!r} is running: there are {running}") from None

    @property
    def names(self) -> list[str]:
        """Running agents in the order of their start."""
        return list(self._agents)

    def statuses(self, name: str) -> dict[str, str]:
        """How one agent sees each member it remembers: alive, leaving, left, failed; by name."""
        core = self[name].core
        assert core is not None, "every agent here is a server"
        members = core.serf.members.values()
        return {one.name.rpartition(".")[0]: one.status.text for one in members}

    async def start(self, name: str) -> LiveAgent:
        """Start an agent, again if it ran before, and let it join one that runs.

        Raises:
            UsageError: If there is no such node, or it is running.
            OperationError: If it could not join.
        """
        if name not in self._configs:
            raise UsageError(f"no node is called {name!r}: there are {', '.join(self._configs)}")
        if name in self._agents:
            raise UsageError(f"agent {name} is running")
        config = self._configs[name]
        others = [str(agent.endpoint.address) for agent in self._agents.values() if agent.endpoint]
        server = msgspec.structs.replace(config.server, start_join=tuple(others[:1]))
        config = msgspec.structs.replace(config, server=server)
        agent: LiveAgent = await self._nursery.start(self._run, name, config)
        # Started again it comes back where it was: that is what a restart is.
        self._configs[name] = agent.config
        return agent

    async def stop(self, name: str) -> None:
        """End an agent without a word to the others, as a crash does."""
        agent = self[name]
        agent.stop.request(leave=False, status=1)
        await self._ended[name].wait()

    async def leave(self, name: str) -> None:
        """Let an agent leave the pool, then end it.

        Raises:
            OperationError: If the leave did not come to its end.
        """
        await self[name].services.execute(Leave)
        await self.stop(name)

    async def wait_until(self, condition: Callable[[], bool], timeout: float = READY_TIME) -> None:
        """Return once a condition holds; it is looked at after every event of every agent.

        Raises:
            OperationError: If it does not hold after `timeout` seconds.
        """
        with trio.move_on_after(timeout):
            while not condition():
                await self._changed.wait()
            return
        raise OperationError(
            f"the condition did not come true within {timeout:g} s", may_have_happened=False
        )

    async def wait_converged(self, timeout: float = READY_TIME) -> None:
        """Return once every running agent sees exactly the running ones alive; see `wait_until`."""
        await self.wait_until(self._is_converged, timeout)

    def _is_converged(self) -> bool:
        wanted = set(self._agents)
        for name in self._agents:
            statuses = self.statuses(name)
            if {one for one in statuses if statuses[one] == Status.ALIVE.text} != wanted:
                return False
        return True

    async def _run(
        self, name: str, config: AgentConfig, *, task_status: trio.TaskStatus[LiveAgent]
    ) -> None:
        self._ended[name] = ended = trio.Event()
        try:
            async with open_agent(config, AgentLog(Level.ERROR)) as agent:
                assert agent.endpoint is not None
                agent.endpoint.hub.listen(self._note)
                self._agents[name] = agent
                task_status.started(agent)
                await agent.stop.wait()
        finally:
            self._agents.pop(name, None)
            ended.set()

    def _note(self, _: Event) -> None:
        self._changed.set()
        self._changed = trio.Event()


@asynccontextmanager
async def local_cluster(
    count: int = 3,
    *,
    profile: str = "local",
    scale: float = 1.0,
    allow_faults: bool = False,
    config: Callable[[AgentConfig], AgentConfig] | None = None,
) -> AsyncIterator[InProcessCluster]:
    """A cluster for the length of the block; at its start every agent sees all the others.

    Args:
        count: How many agents, 1 to 250.
        profile: Gossip timings.
        scale: Multiplies every duration of the profile; 0.2 makes failures show up within 1 s.
        allow_faults: Whether link faults may be set (`cluster["s1"].facade.faults`).
        config: Changes the configuration of each agent before it is used.

    Raises:
        UsageError: If the settings are impossible.
        OperationError: If the agents did not find each other.
    """
    if not 1 <= count <= NODES_MAX:
        raise UsageError(f"a cluster in one process has 1 to {NODES_MAX} agents, not {count}")
    gossip = GossipConfig(profile=profile, scale=scale, allow_faults=allow_faults)
    configs = [
        AgentConfig(
            name=f"s{number}",
            bind_addr=place.host,
            ports=place.ports,
            server=ServerConfig(enabled=True),
            gossip=gossip,
        )
        for number, place in enumerate(plan_places(_free_base(), count, Ports(0, 0, 0)), start=1)
    ]
    async with plain_nursery() as nursery:
        cluster = InProcessCluster([config(one) if config else one for one in configs], nursery)
        for one in configs:
            await cluster.start(one.node_name)
        await cluster.wait_converged()
        try:
            yield cluster
        finally:
            for name in cluster.names:
                cluster[name].stop.request(leave=False, status=0)


def _free_base() -> str:
    """A loopback address with room for neighbours.

    Ports are chosen by the system, so that sharing an address does no harm; different ones keep
    fault rules, which name hosts, to their own cluster.
    """
    if os.uname().sysname != "Linux":
        return "127.0.0.1"
    rng = random.Random()
    return f"127.{rng.randrange(64, 100)}.{rng.randrange(256)}.1"
