"""The promises of a cluster, checked after every step of every node of a simulated world.

A step is one input handled by one core. After it only that node is looked at, and only what it
holds that the step may have changed is compared with what it held before:

    raises         no core raises, whatever it is given (commands may be refused by `UsageError`)
    incarnation    as long as a node remembers a member, that member's incarnation never falls;
                   its own entry is one of them
    revival        a member that is dead or left comes back only by a higher incarnation, at
                   whatever address
    worsening      within an incarnation a member only worsens: alive, suspect, dead or left
    limits         every queue and table is within its named limit
    lamport        no Lamport clock goes back
    side-lists     a Serf member is in the side list of its status and in no other
    false-death    a member that was undisturbed is not declared dead
    agreement      once nothing has disturbed anybody for long enough, all agree

A node that forgets a member (gossip.md §16, after `gossip_to_the_dead_time`) has nothing left to
compare a claim with: the first three rows begin anew for the pair, as they do when a node restarts.

Undisturbed. A fault is in force for a node at a moment if its process is paused, starts, ends, or
has begun to leave; if another runs under its name; if a rule in its fault table, or one about its
address in the table of another, touches their traffic; or if somebody says so by `disturb`. Both
ends of a rule are disturbed: a node that cannot hear the others declares *them* dead, and is
believed. For the same reason one starved process, or one whose clock does not run as the world's
does, disturbs everybody, and so does a link that loses packets. A process that was merely paused
does not: what it missed must not be held against the others.

A member is undisturbed if no fault was in force for it during the last `bound` seconds: the grace
in which suspicions and claims from before may still take effect. The hosts are looked at every
`LOOK_INTERVAL`; a shorter fault excuses nothing.

Agreement is due `patience` seconds after the last disturbance: the bound, and more, for whom Serf
calls back is drawn, and small pools have bad luck. Every running member that can be found sees all
others that can be found as alive, and nobody as alive who does not run. Nodes can be found by one
another if a chain of records leads from one to the other, each holding the present address of the
next; members that left do not count, for nobody calls them back. Two halves of a pool whose nodes
all moved while it was cut in two have no such chain, and no protocol could join them.

Labels. Who has another label refuses every word, so for those who knew it, it is as good as gone:
no chain leads over it, nobody may see it as alive, and whoever declares it dead is right.

Watching draws no randomness and gives no input: a watched run has the journal of an unwatched one.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

from swimnomad.errors import UsageError
from swimnomad.faults import Transport
from swimnomad.names import Address, Value, host_of_ip
from swimnomad.serf.events import Status
from swimnomad.serf.inputs import SerfInput
from swimnomad.serf.lifecycle import Lifecycle
from swimnomad.serf.node import SerfNode
from swimnomad.sim.cluster import CoreFactory, GossipCore, NodeSpec
from swimnomad.sim.host import Host
from swimnomad.sim.world import World
from swimnomad.swim.effects import Effect
from swimnomad.swim.inputs import (
    DatagramReceived,
    StreamEnded,
    StreamFailed,
    StreamOpened,
    StreamReceived,
    TimerFired,
)
from swimnomad.swim.members import NodeEntry
from swimnomad.wire.messages import NodeState

LOOK_INTERVAL = 0.1
"""Seconds between two looks at the hosts. No death follows from a fault that is shorter:
the shortest suspicion is thirty times as long."""
VIOLATIONS_MAX = 100
"""Violations kept of one run; the first is what matters, the rest mostly follows from it."""
EXAMPLES_MAX = 3

INVARIANTS = (
    "raises",
    "incarnation",
    "revival",
    "worsening",
    "limits",
    "lamport",
    "side-lists",
    "false-death",
    "agreement",
)
"""The names, as violations carry them."""

_FROM_PEERS = (
    DatagramReceived,
    TimerFired,
    StreamOpened,
    StreamReceived,
    StreamEnded,
    StreamFailed,
)
_SEVERITY = {NodeState.ALIVE: 0, NodeState.SUSPECT: 1, NodeState.DEAD: 2, NodeState.LEFT: 2}


class Violation(Value, frozen=True):
    """A promise that was broken: which, when (seconds of the world), at which node, and how."""

    invariant: str
    time: float
    node: str
    expected: str
    found: str

    def __str__(self) -> str:
        """One line for people."""
        return (
            f"{self.invariant} at {self.node}, {self.time:.3f} s: "
            f"expected {self.expected}; found {self.found}"
        )


class _Claim(NamedTuple):
    """What a node held about a member after its last step."""

    incarnation: int
    state: NodeState


class _Life(NamedTuple):
    """What a host's process is; a change of it disturbs the node."""

    boots: int
    is_running: bool
    lifecycle: Lifecycle | None


class Invariants:
    """Watches every core of a world that was made by a factory it was given to `watch`.

    Args:
        world: The world; watch from its beginning.
        bound: Seconds within which so many nodes get over a disturbance: the grace of
            `false-death`.
        patience: Seconds within which they agree, bad luck included; None: as `bound`.
    """

    def __init__(
        self,
        world: World,
        bound: Callable[[int], float],
        patience: Callable[[int], float] | None = None,
    ) -> None:
        self.violations: list[Violation] = []
        """In the order in which they were found; at most `VIOLATIONS_MAX`."""
        self._world = world
        self._bound_of = bound
        self._bound = 0.0
        self._patience_of = patience or bound
        self._patience = 0.0
        self._nodes: dict[str, WatchedCore] = {}
        self._hosts_by_member: dict[str, list[str]] = {}
        self._lives: dict[str, _Life] = {}
        self._ahead: dict[str, float] = {}
        self._disturbed: dict[str, float] = {}
        self._disturbed_last = world.now
        self._is_agreement_due = True
        world.schedule.at(world.now, self._look)

    def watch(self, make_core: CoreFactory) -> CoreFactory:
        """A factory that makes the same cores, watched."""

        def make(spec: NodeSpec, rng: random.Random) -> GossipCore:
            node = WatchedCore(make_core(spec, rng), self, spec.name)
            self._nodes[spec.name] = node
            namesakes = self._hosts_by_member.setdefault(node.serf.name, [])
            if spec.name not in namesakes:
                namesakes.append(spec.name)
            # Now and not at the next look: what it does until then must be excused.
            self._disturb(spec.name)
            return node

        return make

    def disturb(self, nodes: Iterable[str]) -> None:
        """Note that a fault is in force for these nodes at this moment.

        For faults that neither network nor process shows. Call it at least every `LOOK_INTERVAL`
        while such a fault lasts.
        """
        for node in nodes:
            self._disturb(node)

    def report(self, invariant: str, node: str, expected: str, found: str) -> None:
        """Note a violation, now."""
        if len(self.violations) < VIOLATIONS_MAX:
            self.violations.append(
                Violation(invariant, self._world.now, node, expected, found[:1000])
            )

    def on_death(self, observer: str, member: str) -> None:
        """A node has just declared a member dead."""
        label = self._nodes[observer].label
        running = [name for name in self._running(member) if self._nodes[name].label == label]
        if len(running) != 1:
            # It does not run, or elsewhere; or two claim the name, and one of them may be meant.
            return
        name = running[0]
        calm = self._world.now - self._disturbed[name]
        if calm > self._bound:
            self.report(
                "false-death",
                observer,
                f"nobody declares {name} dead, which no fault has touched for {calm:.1f} s "
                f"(grace {self._bound:.1f} s)",
                f"{observer} declared it dead",
            )

    def disagreements(self) -> Iterator[str]:
        """What running nodes see otherwise than it is, for people; see the head of this file."""
        running = {
            name: node
            for name, node in self._nodes.items()
            if self._world.hosts[name].is_running and node.serf.lifecycle is Lifecycle.ALIVE
        }
        for group in _groups(running, {name: self._world.hosts[name].address for name in running}):
            for observer in group:
                yield from self._wrong_views(observer, group, running)

    def _wrong_views(
        self, observer: str, group: list[str], running: dict[str, WatchedCore]
    ) -> Iterator[str]:
        members, label = running[observer].serf.members, running[observer].label
        for subject in group:
            member = members.get(running[subject].serf.name)
            if member is None or member.status is not Status.ALIVE:
                seen = "not at all" if member is None else member.status.text
                yield f"{observer} sees {subject} as {seen}"
        for name, member in members.items():
            if member.status is not Status.ALIVE:
                continue
            hosts = self._hosts_by_member.get(name, [name])
            labels = [running[host].label for host in hosts if host in running]
            if label not in labels:
                why = "has another label" if labels else "does not run"
                yield f"{observer} sees {hosts[0]} as alive, which {why}"

    # -- what disturbs

    def _disturb(self, name: str) -> None:
        self._disturbed[name] = self._disturbed_last = self._world.now
        self._is_agreement_due = True

    def _look(self) -> None:
        """See which faults are in force, and whether agreement is due."""
        world, hosts = self._world, self._world.hosts
        world.schedule.at(world.now + LOOK_INTERVAL, self._look)
        self._bound = self._bound_of(max(len(hosts), 1))
        self._patience = self._patience_of(max(len(hosts), 1))
        if self._has_bad_links():
            self.disturb(hosts)
        for name, host in hosts.items():
            if name not in self._nodes:
                continue
            life = self._life(name, host)
            if host.is_starved or self._has_moved_clock(name, host):
                self.disturb(hosts)
            if host.is_paused or life != self._lives.get(name):
                self._lives[name] = life
                self._disturb(name)
            namesakes = self._hosts_by_member[self._nodes[name].serf.name]
            if len(namesakes) > 1 and len(self._running(self._nodes[name].serf.name)) > 1:
                self.disturb(namesakes)
            if any(host.faults.applies(transport, inbound) for transport, inbound in _KINDS):
                self._disturb(name)
                self.disturb(self._touched_by(host))
        if self._is_agreement_due and world.now - self._disturbed_last > self._patience:
            self._is_agreement_due = False
            self._check_agreement()

    def _running(self, member: str) -> list[str]:
        """The hosts that run under a member's name: more than one if there is a conflict."""
        names = self._hosts_by_member.get(member, ())
        return [name for name in names if self._world.hosts[name].is_running]

    def _life(self, name: str, host: Host) -> _Life:
        lifecycle = self._nodes[name].serf.lifecycle if host.is_running else None
        return _Life(host.boots, host.is_running, lifecycle)

    def _touched_by(self, host: Host) -> Iterator[str]:
        """Who is at the other end of the rules in a host's fault table."""
        faults = host.faults.list_faults().values()
        if any(not fault.hosts for fault in faults):
            yield from self._nodes
            return
        remote = {ip for fault in faults for ip in fault.hosts}
        for name in self._nodes:
            if self._world.hosts[name].address.host in remote:
                yield name

    def _has_bad_links(self) -> bool:
        """Whether any link loses packets, or may: nobody is promised anything on such a network."""
        network = self._world.network
        links = [network.default_link, *(way.link for way in network._ways.values())]
        return any(one.loss or one.burst or one.bandwidth or one.mtu for one in links)

    def _has_moved_clock(self, name: str, host: Host) -> bool:
        """Whether a host's clock has run or jumped otherwise than the world's since last time."""
        before, ahead = self._ahead.get(name, 0.0), round(host.clock_time - self._world.now, 6)
        self._ahead[name] = ahead
        return ahead != before

    def _check_agreement(self) -> None:
        wrong = list(self.disagreements())
        if wrong:
            more = f" and {len(wrong) - EXAMPLES_MAX} more" if len(wrong) > EXAMPLES_MAX else ""
            self.report(
                "agreement",
                wrong[0].partition(" ")[0],
                f"all agree {self._patience:.1f} s after the last disturbance",
                "; ".join(wrong[:EXAMPLES_MAX]) + more,
            )


_KINDS: tuple[tuple[Transport, bool], ...] = (
    ("udp", True),
    ("udp", False),
    ("tcp", True),
    ("tcp", False),
)


class WatchedCore:
    """A core that is looked at after each of its steps."""

    def __init__(self, core: GossipCore, invariants: Invariants, node: str) -> None:
        self.core = core
        """The core itself."""
        self.serf: SerfNode = core.serf
        self._invariants = invariants
        self._node = node
        self._memory: dict[str, _Claim] = {}
        self._has_raised = False
        # The promises are about the inside of a node, so here, and nowhere else outside the rooms
        # of the core, the inside is looked at.
        context = core.serf._context
        self.label = context.config.swim.label
        """That of the pool which the node belongs to; empty if none."""
        self._serf_table = context.table
        self._table_version = -1
        self._side_counts = (0, 0)
        clocks = context.clocks
        self._clocks = (clocks.member, clocks.event, clocks.query)
        self._times = tuple(clock.time for clock in self._clocks)
        self._limits = tuple(_limits_of(core.serf))

    def handle(self, incoming: SerfInput, now: float) -> list[Effect]:
        """Let the core handle an input, then look at it.

        A core that has raised is in no known state: it is reported, and given nothing more.

        Raises:
            UsageError: If the core refuses a command.
        """
        if self._has_raised:
            return []
        try:
            effects = self.core.handle(incoming, now)
        except Exception as error:
            if isinstance(error, UsageError) and not isinstance(incoming, _FROM_PEERS):
                raise
            self._has_raised = True
            found = f"{type(error).__name__}: {error}, given {incoming!r}"
            self._invariants.report("raises", self._node, "a core never raises", found)
            return []
        self._look()
        return effects

    def _look(self) -> None:
        memory = self._memory
        table = self.serf.swim.table
        for entry in table:
            before = memory.get(entry.name)
            if (
                before is None
                or before.incarnation != entry.incarnation
                or before.state is not entry.state
            ):
                self._on_change(entry, before)
        if len(memory) > len(table):
            self._memory = {name: claim for name, claim in memory.items() if name in table}
        times = tuple(clock.time for clock in self._clocks)
        if times != self._times:
            self._on_clocks(times)
        serf_table = self._serf_table
        counts = (serf_table.failed_count, serf_table.left_count)
        if serf_table.version != self._table_version or counts != self._side_counts:
            self._table_version, self._side_counts = serf_table.version, counts
            self._check_side_lists()
        for what, size_of, limit in self._limits:
            if (size := size_of()) > limit:
                self._report("limits", f"at most {limit} {what}", f"{size}")

    def _on_change(self, entry: NodeEntry, before: _Claim | None) -> None:
        incarnation, state = entry.incarnation, entry.state
        self._memory[entry.name] = _Claim(incarnation, state)
        if before is not None:
            was = f"{entry.name} {before.state.name.lower()} at incarnation {before.incarnation}"
            found = f"{state.name.lower()} at incarnation {incarnation} and {entry.address}"
            if _SEVERITY[state] < _SEVERITY[before.state] and incarnation <= before.incarnation:
                if _SEVERITY[before.state] == _SEVERITY[NodeState.DEAD]:
                    expected = f"{was} comes back only by a higher incarnation"
                    self._report("revival", expected, found)
                else:
                    self._report("worsening", f"{was} recovers only by a higher one", found)
            elif incarnation < before.incarnation:
                self._report("incarnation", f"{was} never falls", found)
        if state is NodeState.DEAD and (before is None or before.state is not NodeState.DEAD):
            self._invariants.on_death(self._node, entry.name)

    def _on_clocks(self, times: tuple[int, ...]) -> None:
        for name, before, after in zip(_CLOCKS, self._times, times, strict=True):
            if after < before:
                self._report("lamport", f"the {name} clock stays at {before} or rises", f"{after}")
        self._times = times

    def _check_side_lists(self) -> None:
        table = self._serf_table
        for listed, status in ((table.failed, Status.FAILED), (table.left, Status.LEFT)):
            for name in listed:
                member = table.members.get(name)
                if member is None or member.status is not status:
                    seen = "no member" if member is None else member.status.text
                    expected = f"a name in the list of the {status.text} is a {status.text} member"
                    self._report("side-lists", expected, f"{name} is {seen}")
        listed_count = table.failed_count + table.left_count
        gone = sum(m.status in (Status.FAILED, Status.LEFT) for m in table.members.values())
        if gone > listed_count:
            expected = f"{gone} members that failed or left are in the side lists"
            self._report("side-lists", expected, f"{listed_count} are")

    def _report(self, invariant: str, expected: str, found: str) -> None:
        self._invariants.report(invariant, self._node, expected, found)


_CLOCKS = ("member", "event", "query")


def _limits_of(serf: SerfNode) -> Iterator[tuple[str, Callable[[], int], int]]:
    """What is limited at a node: its name, how many there are, how many there may be."""
    context = serf._context
    config, swim_config = context.config, context.config.swim
    swim, queues = serf.swim, context.queues
    yield "entries in the node table", swim.table.__len__, swim_config.nodes_max
    yield "membership broadcasts", swim._context.queue.__len__, swim_config.broadcasts_max
    for name in ("intents", "queries", "events"):
        queue = getattr(queues, name)
        yield f"{name} in the broadcast queue", queue.__len__, swim_config.broadcasts_max
    yield "Serf members", context.table.__len__, swim_config.nodes_max
    yield "buffered intents", context.membership.intents.__len__, config.intents_max
    # The one under way does not wait.
    yield "joins", serf._joins._joins.__len__, config.waits_max + 1
    # As many force-leaves, and one leave of the node's own.
    yield "broadcasts waited for", serf._departures._waits.__len__, config.waits_max + 1
    events = serf._events.buffer
    yield "bytes of remembered events", lambda: events._bytes, config.event_buffer_bytes_max
    yield "pruned members that are there", context.membership.ghosts.__len__, swim_config.nodes_max
    yield "relayed pings", swim._relays._relays.__len__, swim_config.relays_max
    streams = swim._streams
    yield "streams of others", lambda: streams._inbound, swim_config.streams_max
    yield "half-read requests", lambda: streams._partial, swim_config.inflight_push_pulls_max


def _groups(nodes: dict[str, WatchedCore], addresses: dict[str, Address]) -> Iterator[list[str]]:
    """Nodes that can find one another, in groups, each in the order of `nodes`."""
    by_address = {address: name for name, address in addresses.items()}
    links: dict[str, dict[str, None]] = {name: {} for name in nodes}
    for name, node in nodes.items():
        for member in node.serf.members.values():
            other = by_address.get(Address(host_of_ip(member.ip), member.port))
            if other is None or node.label != nodes[other].label:
                continue
            if member.status is not Status.LEFT:
                links[name][other] = links[other][name] = None
    seen: dict[str, None] = {}
    for name in nodes:
        if name in seen:
            continue
        group, todo = {name: None}, [name]
        while todo:
            for other in links[todo.pop()]:
                if other not in group:
                    group[other] = None
                    todo.append(other)
        seen.update(group)
        yield [one for one in nodes if one in group]
