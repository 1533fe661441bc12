"""A cluster in a simulated world, started from nothing: every node boots alone and joins."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

from swimnomad.errors import UsageError
from swimnomad.journal.recipe import NODE_ID_BITS
from swimnomad.names import Address, Operation, Value
from swimnomad.nomad.config import AgentConfig, GossipConfig, ServerConfig
from swimnomad.nomad.core import NomadCore
from swimnomad.serf.events import Member
from swimnomad.serf.inputs import Join, JoinTarget
from swimnomad.serf.node import SerfNode
from swimnomad.sim.converged import converge
from swimnomad.sim.host import Host
from swimnomad.sim.world import World
from swimnomad.swim.core import Core
from swimnomad.swim.effects import Event
from swimnomad.swim.events import JoinFinished

BOOT_SPACING = 0.01
"""Seconds between the boots of two nodes, so that they are not in step."""
JOIN_RETRY_INTERVAL = 2.0
"""Seconds until a node whose first join reached nobody tries again."""


class NodeSpec(Value, frozen=True):
    """What a node is to be: its short name, its region, and the profile it runs."""

    name: str
    region: str = "global"
    profile: str = "nomad"
    scale: float = 1.0

    @property
    def member_name(self) -> str:
        """The name the others know it by."""
        return f"{self.name}.{self.region}"


def node_names(sizes: Mapping[str, int]) -> dict[str, str]:
    """Short names and regions of a cluster's nodes, in order of boot.

    One region's nodes are named `node-1` and so on, several regions' `<region>-1`.
    """
    return {
        f"{region if len(sizes) > 1 else 'node'}-{number}": region
        for region, size in sizes.items()
        for number in range(1, size + 1)
    }


class GossipCore(Core, Protocol):
    """A core whose Serf layer can be looked at."""

    @property
    def serf(self) -> SerfNode:
        """The Serf layer."""
        ...


CoreFactory = Callable[[NodeSpec, random.Random], GossipCore]
"""Makes the core of a node that boots; the generator is the node's own."""


def nomad_core(spec: NodeSpec, rng: random.Random) -> GossipCore:
    """The stack of a Nomad server, as an agent would run it with default settings."""
    config = AgentConfig(
        name=spec.name,
        region=spec.region,
        server=ServerConfig(enabled=True),
        gossip=GossipConfig(profile=spec.profile, scale=spec.scale),
    )
    # From the node's own generator: an identifier that differs by node and repeats by seed.
    return NomadCore(config, rng, node_id=f"{rng.getrandbits(NODE_ID_BITS):032x}")


class SimCluster:
    """Nodes by short name on a `World`; commands go in, outcomes and members can be read."""

    def __init__(self, world: World, make_core: CoreFactory = nomad_core) -> None:
        self.world = world
        self.specs: dict[str, NodeSpec] = {}
        self._make_core = make_core
        self._cores: dict[str, GossipCore] = {}
        self._last_addresses: dict[str, tuple[Address, ...]] = {}
        self._operation: Operation = 0
        self._outcomes: dict[Operation, Event] = {}
        self._waiting: dict[Operation, Callable[[Event], None] | None] = {}
        world.observers.append(self._on_event)

    def build(self, sizes: Mapping[str, int], profile: str, scale: float = 1.0) -> list[str]:
        """Boot nodes a moment apart and let each join the first of all.

        Args:
            sizes: Region to number of nodes.
            profile: Name of a profile.
            scale: Factor on all its durations.

        Returns:
            The names, in order of boot.
        """
        names = node_names(sizes)
        first = next(iter(names), "")
        for name, region in names.items():
            spec = NodeSpec(name, region, profile, scale)
            self.start(spec, join=(first,) if name != first else ())
            self.world.run_for(BOOT_SPACING)
        return list(names)

    def build_converged(
        self, sizes: Mapping[str, int], profile: str, scale: float = 1.0
    ) -> list[str]:
        """Boot nodes that know each other already; arguments and result as of `build`."""
        names = node_names(sizes)
        for name, region in names.items():
            self.start(NodeSpec(name, region, profile, scale))
        converge(map(self.host, names))
        return list(names)

    def start(self, spec: NodeSpec, join: Sequence[str] = ()) -> None:
        """Boot a new node; it keeps trying to join until somebody in `join` answers."""
        self.world.add_host(spec.name, spec.region)
        self.specs[spec.name] = spec
        self._boot(spec.name, tuple(join))

    def kill(self, name: str) -> None:
        """End a node's process at once."""
        host = self.host(name)
        self._remember(name)
        host.kill()
        del self._cores[name]

    def stop(self, name: str) -> None:
        """Shut a node down in good order, as an agent does after it has left."""
        self._remember(name)
        self.host(name).stop()
        del self._cores[name]

    def restart(
        self, name: str, *, same_data: bool, new_address: bool, join: Sequence[str]
    ) -> None:
        """Boot a dead node again with a new core.

        Args:
            name: The node.
            same_data: It still has its snapshot: it also tries the members it knew as alive.
            new_address: It comes back at another address.
            join: Names of nodes it is configured to join.
        """
        host = self.host(name)
        if new_address:
            host.move(self.world.new_address())
        remembered = self._last_addresses.get(name, ()) if same_data else ()
        self._boot(name, tuple(join), remembered)

    def command(
        self,
        name: str,
        make: Callable[[Operation], Value],
        then: Callable[[Event], None] | None = None,
    ) -> Operation:
        """Give a running node a command under a new operation number, and return that.

        `then` is told the outcome; as it may come at once, it must only schedule things.
        """
        self._operation = operation = self._operation + 1
        self._waiting[operation] = then
        self.host(name).give(make(operation))
        return operation

    def outcome(self, operation: Operation) -> Event | None:
        """The event that finished an operation; None as long as it is under way."""
        return self._outcomes.get(operation)

    def join_targets(self, names: Sequence[str]) -> tuple[JoinTarget, ...]:
        """Where the named nodes are, for a `Join`."""
        return tuple(
            JoinTarget(self.host(name).address, self.specs[name].member_name) for name in names
        )

    def host(self, name: str) -> Host:
        """The machine of a node.

        Raises:
            UsageError: If there is no such node.
        """
        if name not in self.world.hosts:
            raise UsageError(f"there is no node {name!r}")
        return self.world.hosts[name]

    def core(self, name: str) -> GossipCore | None:
        """The running core of a node."""
        return self._cores.get(name)

    def members(self, name: str) -> Mapping[str, Member]:
        """What a running node knows of the others; empty for one that does not run."""
        core = self._cores.get(name)
        return core.serf.members if core else {}

    def _boot(self, name: str, join: tuple[str, ...], remembered: tuple[Address, ...] = ()) -> None:
        core = self._make_core(self.specs[name], self.world.rng_for(name))
        self._cores[name] = core
        host = self.host(name)
        host.boot(core)
        if join or remembered:
            self._join_first(name, host.boots, join, remembered)

    def _join_first(
        self, name: str, boot: int, join: tuple[str, ...], remembered: tuple[Address, ...] = ()
    ) -> None:
        host, schedule = self.host(name), self.world.schedule
        if not host.is_running or host.boots != boot:
            return
        targets = self.join_targets(join) + tuple(JoinTarget(one) for one in remembered)

        def retry(outcome: Event) -> None:
            if isinstance(outcome, JoinFinished) and not outcome.joined:
                at = schedule.now + JOIN_RETRY_INTERVAL
                schedule.at(at, self._join_first, name, boot, join, remembered)

        self.command(name, lambda operation: Join(operation, targets), retry)

    def _on_event(self, now: float, node: str, event: Event) -> None:
        operation = getattr(event, "operation", None)
        if operation in self._waiting:
            self._outcomes[operation] = event
            if then := self._waiting.pop(operation):
                then(event)

    def _remember(self, name: str) -> None:
        """Keep what the node's snapshot would hold: where the members it saw alive are."""
        core = self._cores[name]
        alive = {
            other.name
            for other in core.serf.members.values()
            if other.status.text == "alive" and other.name != self.specs[name].member_name
        }
        self._last_addresses[name] = tuple(
            self.world.hosts[spec.name].address
            for spec in self.specs.values()
            if spec.member_name in alive
        )
