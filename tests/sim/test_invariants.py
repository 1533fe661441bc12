"""Each invariant catches what breaks it, holds over healthy runs, and watching changes nothing."""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any

import pytest
from msgspec.structs import replace

from swimnomad.errors import UsageError
from swimnomad.faults import Latency, LinkFault
from swimnomad.journal.writer import Journal
from swimnomad.names import Address, Stream
from swimnomad.scenario.bounds import convergence_bound
from swimnomad.scenario.settings import gossip_settings
from swimnomad.serf.config import SerfConfig
from swimnomad.serf.inputs import ForceLeave, Leave, SerfInput
from swimnomad.serf.node import SerfNode
from swimnomad.sim.cluster import CoreFactory, GossipCore, NodeSpec, SimCluster, nomad_core
from swimnomad.sim.host import Host
from swimnomad.sim.invariants import VIOLATIONS_MAX, Invariants, Violation
from swimnomad.sim.network import Link
from swimnomad.sim.world import World
from swimnomad.swim.config import SwimConfig
from swimnomad.swim.effects import Effect
from swimnomad.swim.inputs import DatagramReceived, Start, TimerFired
from swimnomad.swim.members import NodeEntry
from swimnomad.wire.messages import NodeState

PROFILE = "local"
NODES = 3
BOUND = convergence_bound(NODES, PROFILE).total


class PlainCore:
    """A Serf node with settings of the test's choice."""

    def __init__(self, config: SerfConfig, rng: random.Random) -> None:
        self.serf = SerfNode(config, rng)

    def handle(self, incoming: SerfInput, now: float) -> list[Effect]:
        return self.serf.handle(incoming, now)


class Raiser:
    """A core that raises at the first input after `is_armed` was set."""

    def __init__(self, core: GossipCore, error: Exception) -> None:
        self.serf = core.serf
        self._core = core
        self._error = error
        self.is_armed = False
        self.inputs = 0

    def handle(self, incoming: SerfInput, now: float) -> list[Effect]:
        self.inputs += 1
        if self.is_armed:
            raise self._error
        return self._core.handle(incoming, now)


def pool(
    seed: int = 1, make_core: CoreFactory = nomad_core, journal: Journal | None = None
) -> tuple[World, SimCluster, Invariants]:
    """Three watched nodes that know each other, each of which does something five times a second.

    Nodes at rest would not be looked at within the moments that these tests leave them.
    """
    world = World(seed, journal, rests=False)
    invariants = Invariants(world, lambda nodes: convergence_bound(nodes, PROFILE).total)
    cluster = SimCluster(world, invariants.watch(make_core))
    cluster.build({"global": NODES}, PROFILE)
    world.run_for(3.0)
    assert invariants.violations == []
    return world, cluster, invariants


def serf_of(cluster: SimCluster, name: str) -> SerfNode:
    core = cluster.core(name)
    assert core is not None
    return core.serf


def entry_of(cluster: SimCluster, observer: str, subject: str) -> NodeEntry:
    entry = serf_of(cluster, observer).swim.table.get(f"{subject}.global")
    assert entry is not None
    return entry


def set_state(cluster: SimCluster, observer: str, subject: str, state: NodeState) -> None:
    entry = entry_of(cluster, observer, subject)
    serf_of(cluster, observer).swim.table.set_state(entry, state, cluster.world.now)


def only(invariants: Invariants) -> Violation:
    """The one violation there is; two of them would mean that a row counts what another does."""
    assert len(invariants.violations) == 1, [str(one) for one in invariants.violations]
    return invariants.violations[0]


# --- each invariant catches what breaks it --------------------------------------------------------


def test_an_incarnation_that_falls_is_reported_with_time_node_and_both_numbers() -> None:
    world, cluster, invariants = pool()
    entry_of(cluster, "node-1", "node-2").incarnation = 7
    world.run_for(0.3)
    entry_of(cluster, "node-1", "node-2").incarnation = 5
    before = world.now
    world.run_for(0.3)
    found = only(invariants)
    assert (found.invariant, found.node) == ("incarnation", "node-1")
    assert before < found.time <= world.now
    assert "incarnation 7" in found.expected
    assert "incarnation 5" in found.found
    assert "incarnation at node-1" in str(found)


def test_the_own_incarnation_of_a_node_is_watched_too() -> None:
    world, cluster, invariants = pool()
    serf_of(cluster, "node-1").swim.own.incarnation = 4
    world.run_for(0.3)
    serf_of(cluster, "node-1").swim.own.incarnation = 3
    world.run_for(0.3)
    assert only(invariants).invariant == "incarnation"


@pytest.mark.parametrize("gone", [NodeState.DEAD, NodeState.LEFT])
@pytest.mark.parametrize("back", [NodeState.ALIVE, NodeState.SUSPECT])
def test_a_member_revived_without_a_higher_incarnation_is_reported(
    gone: NodeState, back: NodeState
) -> None:
    world, cluster, invariants = pool()
    cluster.kill("node-3")
    set_state(cluster, "node-1", "node-3", gone)
    world.run_for(0.3)
    set_state(cluster, "node-1", "node-3", back)
    world.run_for(0.3)
    assert (only(invariants).invariant, only(invariants).node) == ("revival", "node-1")


def test_a_revival_by_a_lower_incarnation_counts_as_revival() -> None:
    world, cluster, invariants = pool()
    cluster.kill("node-3")
    entry_of(cluster, "node-1", "node-3").incarnation = 9
    set_state(cluster, "node-1", "node-3", NodeState.DEAD)
    world.run_for(0.3)
    entry_of(cluster, "node-1", "node-3").incarnation = 2
    set_state(cluster, "node-1", "node-3", NodeState.ALIVE)
    world.run_for(0.3)
    assert only(invariants).invariant == "revival"


def test_a_suspect_that_recovers_without_a_higher_incarnation_is_reported() -> None:
    world, cluster, invariants = pool()
    set_state(cluster, "node-1", "node-2", NodeState.SUSPECT)
    world.run_for(0.15)
    set_state(cluster, "node-1", "node-2", NodeState.ALIVE)
    world.run_for(0.15)
    assert only(invariants).invariant == "worsening"


def test_a_higher_incarnation_brings_a_member_back_without_a_word() -> None:
    world, cluster, invariants = pool()
    cluster.kill("node-3")
    set_state(cluster, "node-1", "node-3", NodeState.DEAD)
    world.run_for(0.3)
    entry_of(cluster, "node-1", "node-3").incarnation += 1
    set_state(cluster, "node-1", "node-3", NodeState.ALIVE)
    world.run_for(0.3)
    assert invariants.violations == []


def test_a_member_that_was_forgotten_may_come_at_any_incarnation() -> None:
    world, cluster, invariants = pool()
    entry_of(cluster, "node-1", "node-3").incarnation = 9
    cluster.kill("node-3")
    set_state(cluster, "node-1", "node-3", NodeState.DEAD)
    world.run_for(0.3)
    serf_of(cluster, "node-1").swim.table.compact(world.now, -1.0)
    world.run_for(0.3)
    cluster.restart("node-3", same_data=False, new_address=False, join=["node-1"])
    world.run_for(5.0)
    assert entry_of(cluster, "node-1", "node-3").is_live
    assert invariants.violations == []


def test_a_lamport_clock_that_goes_back_is_reported() -> None:
    world, cluster, invariants = pool()
    clock = serf_of(cluster, "node-2")._context.clocks.member
    clock._time -= 1
    world.run_for(0.3)
    assert (only(invariants).invariant, only(invariants).node) == ("lamport", "node-2")


def test_a_present_member_in_a_side_list_is_reported() -> None:
    world, cluster, invariants = pool()
    serf_of(cluster, "node-1")._context.table._left["node-2.global"] = None
    world.run_for(0.3)
    assert only(invariants).invariant == "side-lists"
    assert "node-2.global is alive" in only(invariants).found


def test_a_member_in_both_side_lists_is_reported() -> None:
    world, cluster, invariants = pool()
    cluster.kill("node-3")
    world.run_for(40.0)
    table = serf_of(cluster, "node-1")._context.table
    assert table.failed == ("node-3.global",)
    table._left["node-3.global"] = None
    world.run_for(0.3)
    assert only(invariants).invariant == "side-lists"


def test_a_failed_member_that_is_in_no_side_list_is_reported() -> None:
    world, cluster, invariants = pool()
    cluster.kill("node-3")
    world.run_for(40.0)
    del serf_of(cluster, "node-1")._context.table._failed["node-3.global"]
    world.run_for(0.3)
    assert only(invariants).invariant == "side-lists"


def test_a_queue_beyond_its_limit_is_reported() -> None:
    def small(spec: NodeSpec, rng: random.Random) -> GossipCore:
        swim = SwimConfig(name=spec.member_name, broadcasts_max=8, gossip_nodes=0)
        return PlainCore(SerfConfig(swim=swim), rng)

    world, cluster, invariants = pool(make_core=small)
    queue = serf_of(cluster, "node-1")._context.queues.events
    queue._items_max = 100  # The mutation: a queue that does not heed its setting.
    for number in range(9):
        queue.queue(b"x" * (number + 1))
    world.run_for(1.5)
    assert invariants.violations[0].invariant == "limits"
    assert invariants.violations[0].expected == "at most 8 events in the broadcast queue"


def overfill_intents(serf: SerfNode) -> None:
    serf._context.membership.intents._limit = 100
    for number in range(9):
        serf._context.membership.on_join_intent(f"nobody-{number}", 1, 0.0)


def overfill_events(serf: SerfNode) -> None:
    serf._events.buffer._bytes_max = 1_000_000
    for number in range(9):
        serf._events.buffer.receive(number, "event", bytes(10), number)


def overfill_streams(serf: SerfNode) -> None:
    for number in range(9):
        peer, stream = Address("10.9.9.9", 1), Stream(inbound=True, number=number + 1000)
        serf.swim._streams._context.config = SwimConfig(name="node-1.global")
        serf.swim._streams.on_opened(stream, peer)


@pytest.mark.parametrize(
    ("overfill", "expected"),
    [
        (overfill_intents, "at most 8 buffered intents"),
        (overfill_events, "at most 64 bytes of remembered events"),
        (overfill_streams, "at most 8 streams of others"),
    ],
)
def test_every_kind_of_limit_is_looked_at(
    overfill: Callable[[SerfNode], None], expected: str
) -> None:
    def small(spec: NodeSpec, rng: random.Random) -> GossipCore:
        swim = SwimConfig(name=spec.member_name, streams_max=8, inflight_push_pulls_max=8)
        return PlainCore(SerfConfig(swim=swim, intents_max=8, event_buffer_bytes_max=64), rng)

    world, cluster, invariants = pool(make_core=small)
    overfill(serf_of(cluster, "node-1"))
    world.run_for(1.5)
    assert invariants.violations[0].invariant == "limits"
    assert invariants.violations[0].expected == expected


def test_a_core_that_raises_is_reported_and_given_nothing_more() -> None:
    cores: list[Raiser] = []

    def make(spec: NodeSpec, rng: random.Random) -> GossipCore:
        cores.append(Raiser(nomad_core(spec, rng), ValueError("a bug")))
        return cores[-1]

    world, _cluster, invariants = pool(make_core=make)
    cores[1].is_armed = True
    world.run_for(5.0)
    assert (only(invariants).invariant, only(invariants).node) == ("raises", "node-2")
    assert "ValueError: a bug" in only(invariants).found
    inputs = cores[1].inputs
    world.run_for(1.0)
    assert cores[1].inputs == inputs


@pytest.mark.parametrize("incoming", [DatagramReceived, TimerFired])
def test_a_refusal_of_what_is_no_command_counts_as_raising(incoming: type) -> None:
    cores: list[Raiser] = []

    def make(spec: NodeSpec, rng: random.Random) -> GossipCore:
        cores.append(Raiser(nomad_core(spec, rng), UsageError("no")))
        return cores[-1]

    world, _cluster, invariants = pool(make_core=make)
    cores[0].is_armed = True
    world.run_for(5.0)
    assert only(invariants).invariant == "raises"


def test_a_refused_command_is_the_callers_fault() -> None:
    world, cluster, invariants = pool()
    host = cluster.host("node-1")
    with pytest.raises(UsageError, match="once"):
        host.give(Start(host.address, 1))
    world.run_for(1.0)
    assert invariants.violations == []


def test_the_death_of_an_undisturbed_member_is_reported() -> None:
    world, cluster, invariants = pool()
    world.run_for(BOUND + 1.0)
    set_state(cluster, "node-1", "node-3", NodeState.DEAD)
    world.run_for(0.3)
    assert (only(invariants).invariant, only(invariants).node) == ("false-death", "node-1")
    assert "node-3" in only(invariants).expected


def pause(world: World, host: Host) -> None:
    host.pause()
    world.run_for(0.3)
    host.resume()


def lose_at_another(world: World, host: Host) -> None:
    """A rule in the table of a node disturbs those it is about, and itself."""
    world.set_fault("node-1", "lossy", LinkFault(hosts=(host.address.host,), loss=0.5))
    world.run_for(0.3)
    world.clear_faults("node-1")


def lose_everywhere(world: World, host: Host) -> None:
    world.set_fault("node-2", "lossy", LinkFault(loss=0.5, direction="in"))
    world.run_for(0.3)
    world.clear_faults("node-2")


def lossy_link(world: World, host: Host) -> None:
    world.network.default_link = Link(loss=0.01)
    world.run_for(0.3)
    world.network.default_link = Link()


def starve_another(world: World, host: Host) -> None:
    """A process that reads late loses the refutations of those it suspects."""
    world.hosts["node-1"].starve(Latency("constant", 0.01))
    world.run_for(0.3)
    world.hosts["node-1"].feed()


def skew_another(world: World, host: Host) -> None:
    world.hosts["node-1"].set_clock_rate(1.01)
    world.run_for(0.3)
    world.hosts["node-1"].set_clock_rate(1.0)


FAULTS = [pause, lose_at_another, lose_everywhere, lossy_link, starve_another, skew_another]


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_excuses_the_death_of_those_it_touches_for_the_grace(
    fault: Callable[[World, Host], None],
) -> None:
    world, cluster, invariants = pool()
    world.run_for(BOUND + 1.0)
    fault(world, cluster.host("node-3"))
    world.run_for(BOUND - 5.0)
    set_state(cluster, "node-1", "node-3", NodeState.DEAD)
    world.run_for(0.3)
    assert invariants.violations == []
    # Afterwards the same is not excused any more.
    world.run_for(10.0)
    set_state(cluster, "node-2", "node-3", NodeState.DEAD)
    world.run_for(0.3)
    assert "false-death" in [one.invariant for one in invariants.violations]


def test_a_fault_between_two_nodes_excuses_no_death_of_a_third() -> None:
    world, cluster, invariants = pool()
    world.run_for(BOUND + 1.0)
    hosts = (cluster.host("node-2").address.host,)
    world.set_fault("node-1", "cut", LinkFault(hosts=hosts, blocked=True))
    world.run_for(0.3)
    set_state(cluster, "node-1", "node-3", NodeState.DEAD)
    world.run_for(0.3)
    assert only(invariants).invariant == "false-death"


def test_a_second_node_of_a_name_excuses_both_while_it_runs_and_for_the_grace() -> None:
    def of_one_name(spec: NodeSpec, rng: random.Random) -> GossipCore:
        name = "node-3" if spec.name == "twin" else spec.name
        return nomad_core(NodeSpec(name, profile=PROFILE), rng)

    world, cluster, invariants = pool(make_core=of_one_name)
    world.run_for(BOUND + 1.0)
    cluster.start(NodeSpec("twin", profile=PROFILE))
    set_state(cluster, "node-1", "node-3", NodeState.DEAD)
    world.run_for(0.3)
    cluster.kill("twin")
    set_state(cluster, "node-2", "node-3", NodeState.DEAD)
    world.run_for(5.0)
    assert invariants.violations == []


def test_the_pause_of_a_node_excuses_no_death_of_another() -> None:
    world, cluster, invariants = pool()
    world.run_for(BOUND + 1.0)
    pause(world, cluster.host("node-1"))
    set_state(cluster, "node-1", "node-3", NodeState.DEAD)
    world.run_for(0.3)
    assert only(invariants).invariant == "false-death"


def test_who_is_said_to_be_disturbed_is_excused() -> None:
    world, cluster, invariants = pool()
    world.run_for(BOUND + 1.0)
    invariants.disturb(["node-3"])
    set_state(cluster, "node-1", "node-3", NodeState.DEAD)
    world.run_for(0.3)
    assert invariants.violations == []


def test_a_pool_that_does_not_agree_when_the_bound_is_over_is_reported() -> None:
    world, cluster, invariants = pool()
    # The mutation: Serf has forgotten whom the gossip layer still knows.
    serf_of(cluster, "node-2")._context.table.erase("node-3.global")
    world.run_until(BOUND)
    assert invariants.violations == []
    world.run_for(2.0)
    assert (only(invariants).invariant, only(invariants).node) == ("agreement", "node-2")
    assert only(invariants).found == "node-2 sees node-3 as not at all"


def test_agreement_may_be_given_more_time_than_a_death_is_excused() -> None:
    world = World(1)
    invariants = Invariants(world, lambda nodes: 10.0, lambda nodes: 30.0)
    cluster = SimCluster(world, invariants.watch(nomad_core))
    cluster.build({"global": NODES}, PROFILE)
    world.run_until(5.0)
    serf_of(cluster, "node-2")._context.table.erase("node-3.global")
    world.run_until(29.0)
    assert invariants.violations == []
    world.run_until(32.0)
    assert only(invariants).invariant == "agreement"
    assert "30.0 s after" in only(invariants).expected


def test_a_dead_node_that_is_held_for_alive_is_a_disagreement() -> None:
    _world, cluster, invariants = pool()
    cluster.kill("node-3")
    assert list(invariants.disagreements()) == [
        "node-1 sees node-3 as alive, which does not run",
        "node-2 sees node-3 as alive, which does not run",
    ]


def test_nodes_that_cannot_find_each_other_need_not_agree() -> None:
    world, cluster, invariants = pool()
    cluster.start(NodeSpec("stranger", profile=PROFILE))
    world.run_for(BOUND + 2.0)
    assert serf_of(cluster, "stranger").swim.live_count == 1
    assert invariants.violations == []
    assert list(invariants.disagreements()) == []


def labelled_pool(labels: dict[str, str]) -> tuple[World, SimCluster, Invariants]:
    """As `pool`, with the labels of nodes; who boots again has the label that it has here then."""

    def make(spec: NodeSpec, rng: random.Random) -> GossipCore:
        label = labels.get(spec.name, "")
        swim = replace(gossip_settings(PROFILE), name=spec.member_name, label=label)
        return PlainCore(SerfConfig(swim=swim), rng)

    return pool(make_core=make)


def move_to_another_label() -> tuple[World, SimCluster, Invariants]:
    """node-3 is back at its address, with another label than the two that knew it."""
    labels: dict[str, str] = {}
    world, cluster, invariants = labelled_pool(labels)
    cluster.kill("node-3")
    labels["node-3"] = "blue"
    cluster.restart("node-3", same_data=True, new_address=False, join=[])
    return world, cluster, invariants


def test_nodes_of_different_labels_need_not_agree() -> None:
    world, cluster, invariants = move_to_another_label()
    world.run_for(BOUND + 5.0)
    # It is held for failed, at the address where it is.
    assert serf_of(cluster, "node-1")._context.table.failed == ("node-3.global",)
    assert serf_of(cluster, "node-3").swim.live_count == 1
    assert list(invariants.disagreements()) == []
    assert invariants.violations == []


def test_a_node_of_another_label_that_is_held_for_alive_is_a_disagreement() -> None:
    _world, _cluster, invariants = move_to_another_label()
    assert list(invariants.disagreements()) == [
        "node-1 sees node-3 as alive, which has another label",
        "node-2 sees node-3 as alive, which has another label",
    ]


def test_nodes_of_one_label_that_do_not_agree_are_reported_beside_those_of_another() -> None:
    world, cluster, invariants = move_to_another_label()
    world.run_for(BOUND - 5.0)
    serf_of(cluster, "node-1")._context.table.erase("node-2.global")
    world.run_for(10.0)
    assert only(invariants).found == "node-1 sees node-2 as not at all"


def test_whoever_declares_a_node_of_another_label_dead_is_right() -> None:
    world, cluster, invariants = move_to_another_label()
    world.run_for(BOUND + 5.0)
    invariants.on_death("node-1", "node-3.global")
    assert invariants.violations == []
    set_state(cluster, "node-1", "node-2", NodeState.DEAD)
    world.run_for(0.3)
    assert only(invariants).invariant == "false-death"


def test_violations_beyond_the_limit_are_not_kept() -> None:
    _world, _cluster, invariants = pool()
    for _ in range(VIOLATIONS_MAX + 5):
        invariants.report("limits", "node-1", "less", "x" * 5000)
    assert len(invariants.violations) == VIOLATIONS_MAX
    assert len(invariants.violations[0].found) == 1000


# --- healthy runs ---------------------------------------------------------------------------------


def live_through(world: World, cluster: SimCluster) -> None:
    """Every kind of disturbance, with time to recover."""
    cluster.kill("node-3")
    world.run_for(30.0)
    cluster.restart("node-3", same_data=True, new_address=True, join=["node-1"])
    world.run_for(20.0)
    world.partition(["node-1"], ["node-2", "node-3"])
    world.run_for(30.0)
    world.heal()
    world.run_for(20.0)
    cluster.host("node-2").pause()
    world.run_for(30.0)
    cluster.host("node-2").resume()
    world.run_for(20.0)
    cluster.command("node-3", Leave)
    world.run_for(10.0)
    cluster.stop("node-3")
    cluster.command("node-1", lambda operation: ForceLeave(operation, "node-3.global", True))
    cluster.start(NodeSpec("node-4", profile=PROFILE), join=["node-1"])
    world.run_for(10.0)
    world.set_fault("node-1", "weather", LinkFault(loss=0.3, duplicate=0.3, reorder=0.5))
    world.run_for(30.0)
    world.heal()
    world.run_for(BOUND + 40.0)


@pytest.mark.parametrize("seed", range(4))
def test_a_healthy_program_keeps_every_promise_through_a_hard_life(seed: int) -> None:
    world, cluster, invariants = pool(seed)
    live_through(world, cluster)
    assert [str(one) for one in invariants.violations] == []
    assert list(invariants.disagreements()) == []


def test_watching_changes_nothing_of_a_run() -> None:
    def digest(watch: bool) -> str:
        journal = Journal(5)
        world = World(5, journal)
        make_core: Any = nomad_core
        if watch:
            make_core = Invariants(world, lambda nodes: BOUND).watch(nomad_core)
        cluster = SimCluster(world, make_core)
        cluster.build({"global": NODES}, PROFILE)
        live_through(world, cluster)
        return journal.sha256()

    assert digest(watch=True) == digest(watch=False)
