"""Scenarios on the simulator: virtual time, no waiting, everything from one seed."""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path

import msgspec

from swimnomad.errors import OperationError, UsageError
from swimnomad.faults import Latency, LinkFault
from swimnomad.journal.writer import Journal
from swimnomad.names import Operation, Value
from swimnomad.nomad.config import GossipConfig, ServerConfig
from swimnomad.nomad.core import NomadCore
from swimnomad.nomad.gossip_view import membership_checksum
from swimnomad.scenario.backend import OPERATION_TIMEOUT, Usage
from swimnomad.scenario.bounds import ConvergenceBound, convergence_bound
from swimnomad.scenario.facts import Facts, Seen
from swimnomad.scenario.model import ClusterSpec, NetworkSpec
from swimnomad.scenario.settings import TunedAgent
from swimnomad.scenario.stranger import Stranger
from swimnomad.scenario.wiring import default_link, links_of
from swimnomad.serf.events import (
    MemberEvent,
    MemberFailed,
    MemberJoined,
    MemberLeft,
    MemberReaped,
    MessageDropped,
    NameConflict,
    Outcome,
    UserEventReceived,
)
from swimnomad.serf.inputs import ForceLeave, Join, Leave, SendUserEvent, SetTags
from swimnomad.sim.cluster import (
    BOOT_SPACING,
    CoreFactory,
    GossipCore,
    NodeSpec,
    SimCluster,
)
from swimnomad.sim.converged import converge
from swimnomad.sim.host import Host
from swimnomad.sim.invariants import Invariants
from swimnomad.sim.world import World
from swimnomad.swim.effects import Event
from swimnomad.swim.events import InputDropped, JoinFinished

_SEEN: dict[type[Event], Seen] = {
    MemberJoined: "alive",
    MemberLeft: "left",
    MemberFailed: "failed",
    MemberReaped: "none",
}
_COMPLAINTS = (InputDropped, MessageDropped, NameConflict)


TWIN_MARK = "+twin"
"""Ends the name of the machine that runs a second node of a name; no node can be called so."""
RECONNECT_ROUNDS = 8
"""Serf's reconnect rounds until an invariant calls a disagreement final.

The bound counts one. But whom a node calls back is drawn: in each round a failed member is tried
once on average, so with a chance of 1/e not at all, and a call to one that is really dead is in
vain. Eight rounds without luck have a chance of e^-8, among the few runs that need one.
"""
Observe = Callable[[World], None]
"""Shown the world after everything that happens in it; may raise to end the run."""


class SimBackend:
    """A `SimCluster` behind the interface of a backend."""

    name = "sim"

    def __init__(
        self,
        facts: Facts,
        seed: int,
        journal_path: Path | None = None,
        make_core: CoreFactory | None = None,
        *,
        observe: Observe | None = None,
        has_journal: bool = True,
        has_invariants: bool = False,
    ) -> None:
        self._facts = facts
        self._journal = Journal(seed, journal_path) if has_journal else None
        self._observe = observe
        self.world = World(seed, self._journal)
        self.invariants: Invariants | None = None
        """What looks at every node after each of its steps; None if nobody asked for it."""
        if has_invariants:
            self.invariants = Invariants(self.world, self._bound, self.patience)
        make_core = make_core or self._make_core
        if self.invariants is not None:
            make_core = self.invariants.watch(make_core)
        self.cluster = SimCluster(self.world, make_core)
        self._spec = ClusterSpec()
        self._stranger: Stranger | None = None
        self._zero = 0.0
        self._names: dict[str, str] = {}
        self._new_labels: dict[str, str] = {}
        """Node to the label that a restart gave it."""
        self.world.observers.append(self._on_event)

    @property
    def now(self) -> float:
        """Seconds since the cluster stood."""
        return self.world.now - self._zero

    async def open(self, cluster: ClusterSpec, network: NetworkSpec) -> None:
        """Set up the links and boot every node; time counts from the first boot."""
        self._spec = cluster
        self.world.network.default_link = default_link(network)
        for way, link in links_of(network, cluster.node_regions):
            self.world.set_link(way.source, way.target, link, way.transport)
        self._names.update(
            {f"{name}.{region}": name for name, region in cluster.node_regions.items()}
        )
        if cluster.start == "converged":
            for name, region in cluster.node_regions.items():
                self.cluster.start(NodeSpec(name, region, cluster.profile, cluster.scale))
            clusters: dict[str, list[Host]] = {}
            for name, host in self.world.hosts.items():
                clusters.setdefault(cluster.label_of(name), []).append(host)
            for hosts in clusters.values():
                converge(hosts)
            self._facts.all_see_all(0.0)
            return
        firsts: dict[str, str] = {}
        for name, region in cluster.node_regions.items():
            spec = NodeSpec(name, region, cluster.profile, cluster.scale)
            first = firsts.setdefault(cluster.label_of(name), name)
            self.cluster.start(spec, join=(first,) if name != first else ())
            self._run_until(self.world.now + BOOT_SPACING)

    async def close(self) -> None:
        """Close the journal."""
        if self._journal is not None:
            self._journal.close()

    async def wait_until(self, time: float) -> None:
        """Run the world."""
        self._run_until(self._zero + time)

    async def start(self, name: str, region: str, join: Sequence[str]) -> None:
        """Boot a new node."""
        spec = NodeSpec(name, region, self._spec.profile, self._spec.scale)
        self._names[spec.member_name] = name
        self.cluster.start(spec, join)

    async def restart(
        self,
        name: str,
        *,
        same_data: bool,
        new_address: bool,
        join: Sequence[str],
        label: str | None = None,
    ) -> None:
        """Boot a dead node again; the faults at its links died with its process."""
        self.world.clear_faults(name)
        if label is not None:
            self._new_labels[name] = label
        self.cluster.restart(name, same_data=same_data, new_address=new_address, join=join)

    async def join(self, names: Sequence[str], to: Sequence[str]) -> None:
        """Let nodes join others, and wait for the outcome."""
        targets = self.cluster.join_targets(to)
        outcomes = self._finish(names, lambda operation: Join(operation, targets), "join")
        for name, outcome in zip(names, outcomes, strict=True):
            if isinstance(outcome, JoinFinished) and not outcome.joined:
                reasons = "; ".join(reason for _, reason in outcome.failures)
                raise OperationError(f"{name} could not join: {reasons}", may_have_happened=False)

    async def leave(self, names: Sequence[str]) -> None:
        """Let nodes leave, then end them as an agent does."""
        self._finish(names, Leave, "leave")
        for name in names:
            self.cluster.stop(name)

    async def force_leave(self, by: str, name: str, *, prune: bool) -> None:
        """Let a node declare another left, or erase it."""
        member = self.cluster.specs[name].member_name
        self._finish([by], lambda operation: ForceLeave(operation, member, prune), "force-leave")

    async def kill(self, name: str) -> None:
        """End a node at once."""
        self.cluster.kill(name)

    async def pause(self, name: str) -> None:
        """Stop a node."""
        self.cluster.host(name).pause()

    async def resume(self, name: str) -> None:
        """Let it go on."""
        self.cluster.host(name).resume()

    async def set_tags(self, name: str, changes: Mapping[str, str], remove: Sequence[str]) -> None:
        """Change a node's tags."""
        tags = {**self._core(name).serf.local_member.tags, **changes}
        kept = tuple((key, value) for key, value in tags.items() if key not in remove)
        self._finish([name], lambda operation: SetTags(operation, kept), "tags")

    async def send_event(self, name: str, event: str, payload: bytes) -> None:
        """Broadcast a user event."""
        self._finish([name], lambda operation: SendUserEvent(operation, event, payload), "event")

    async def starve(self, name: str, delay: Latency) -> None:
        """Let a node read late."""
        self.cluster.host(name).starve(delay)

    async def feed(self, name: str) -> None:
        """Let it read in time again."""
        self.cluster.host(name).feed()

    async def skew(
        self, name: str, *, rate: float | None, jump: float, drift: float, every: float
    ) -> None:
        """Let a node's clock run wrong."""
        host = self.cluster.host(name)
        if jump:
            host.jump_clock(jump)
        if rate is not None:
            host.set_clock_rate(rate)
        elif drift:
            host.drift_clock(drift, every)

    async def start_twin(self, name: str, join: Sequence[str]) -> None:
        """Boot another node of the same name at another address."""
        spec = self.cluster.specs[name]
        twin = f"{name}{TWIN_MARK}"
        if (host := self.world.hosts.get(twin)) is None:
            self.cluster.start(msgspec.structs.replace(spec, name=twin), join)
        elif not host.is_running:
            self.cluster.restart(twin, same_data=False, new_address=True, join=join)
        else:
            raise UsageError(f"there is a second {name} already")

    async def kill_twin(self, name: str) -> None:
        """End it at once."""
        self.cluster.kill(f"{name}{TWIN_MARK}")

    async def flood(
        self, name: str, rate: int, size: int, duration: float, rng: random.Random
    ) -> None:
        """Let a stranger send junk."""
        if self._stranger is None:
            self._stranger = Stranger(self.world)
        self._stranger.flood(self.cluster.host(name).address, rate, size, duration, rng)

    async def set_fault(self, name: str, fault_name: str, fault: LinkFault) -> None:
        """Add a fault to a node's links."""
        self.world.set_fault(name, fault_name, fault)

    async def clear_fault(self, name: str, fault_name: str) -> None:
        """Remove a fault."""
        self.world.clear_faults(name, fault_name)

    def host_of(self, name: str) -> str:
        """A node's IP address."""
        return self.cluster.host(name).address.host

    async def checksum(self, name: str) -> str:
        """Digest of a node's member list."""
        return membership_checksum(self.cluster.members(name).values())

    async def health_score(self, name: str) -> int:
        """A node's local health."""
        return self._core(name).serf.swim.health_score

    async def usage(self) -> dict[str, Usage]:
        """What each node has sent."""
        return {
            name: Usage(
                host.traffic.datagrams_sent + host.traffic.streams_opened,
                host.traffic.datagram_bytes_sent + host.traffic.stream_bytes_sent,
            )
            for name, host in self.world.hosts.items()
        }

    async def total_usage(self) -> Usage | None:
        """What all nodes have sent."""
        usage = (await self.usage()).values()
        return Usage(sum(one.messages or 0 for one in usage), sum(one.bytes for one in usage))

    def violations(self) -> Sequence[str]:
        """Invariants broken so far."""
        return [str(one) for one in self.invariants.violations] if self.invariants else ()

    def journal_sha256(self) -> str | None:
        """Hash of the run's journal."""
        return self._journal.sha256() if self._journal is not None else None

    def _bound(self, nodes: int) -> float:
        """Seconds within which so many nodes agree once nothing disturbs them, without bad luck."""
        return self._terms(nodes).total

    def patience(self, nodes: int) -> float:
        """Seconds after which so many nodes that do not agree never will."""
        terms = self._terms(nodes)
        return terms.total + (RECONNECT_ROUNDS - 1) * terms.reconnect

    def _terms(self, nodes: int) -> ConvergenceBound:
        spec = self._spec
        return convergence_bound(nodes, spec.profile, spec.scale, spec.overrides)

    def _make_core(self, spec: NodeSpec, rng: random.Random) -> GossipCore:
        """The stack of a Nomad server with the settings of the scenario."""
        cluster, name = self._spec, spec.name.removesuffix(TWIN_MARK)
        config = TunedAgent(
            name=name,
            region=spec.region,
            server=ServerConfig(enabled=True),
            gossip=GossipConfig(
                profile=spec.profile,
                scale=spec.scale,
                compat=cluster.compat,
                label=self._new_labels.get(name, cluster.label_of(name)),
            ),
            overrides=cluster.overrides,
        )
        return NomadCore(config, rng, node_id=f"{rng.getrandbits(128):032x}")

    def _core(self, name: str) -> GossipCore:
        core = self.cluster.core(name)
        if core is None:
            raise UsageError(f"{name} does not run")
        return core

    def _finish(
        self, names: Sequence[str], make: Callable[[Operation], Value], word: str
    ) -> list[Event]:
        """Give nodes a command and run the world until all have reported their outcome."""
        cluster, world = self.cluster, self.world
        operations = [cluster.command(name, make) for name in names]
        outcomes: list[Event] = []
        limit = world.now + OPERATION_TIMEOUT * self._spec.scale
        for name, operation in zip(names, operations, strict=True):
            self._run_until(limit, partial(self._is_under_way, operation))
            outcome = cluster.outcome(operation)
            if outcome is None:
                text = f"{word} at {name} reported nothing for {OPERATION_TIMEOUT:g} s"
                raise OperationError(text, may_have_happened=True)
            if isinstance(outcome, Outcome) and outcome.error:
                text = f"{word} at {name}: {outcome.error}"
                raise OperationError(text, may_have_happened=outcome.may_have_happened)
            outcomes.append(outcome)
        return outcomes

    def _run_until(self, time: float, condition: Callable[[], bool] | None = None) -> None:
        """Run the world up to a time, or as long as a condition holds; show each step if wanted."""
        world, observe = self.world, self._observe
        if observe is None:
            if condition is None:
                world.run_until(time)
            else:
                world.run_while(condition, time)
            return
        schedule = world.schedule
        while condition is None or condition():
            due = schedule.next_time()
            if due is None or due > time:
                world.run_until(time)
                return
            schedule.step()
            observe(world)

    def _is_under_way(self, operation: Operation) -> bool:
        return self.cluster.outcome(operation) is None

    def _on_event(self, now: float, node: str, event: Event) -> None:
        time = now - self._zero
        if isinstance(event, MemberEvent):
            seen = _SEEN.get(type(event))
            subject = self._names.get(event.member.name)
            if seen and subject:
                self._facts.saw(time, node, subject, seen)
        elif isinstance(event, UserEventReceived):
            self._facts.saw_user_event(time, node, event.name)
        elif isinstance(event, _COMPLAINTS):
            reason = getattr(event, "reason", None) or f"name conflict about {event!r}"
            self._facts.saw_error(time, node, reason)
