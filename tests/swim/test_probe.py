"""The probe cycle of one node."""

from __future__ import annotations

import pytest

from swimnomad.names import ip_of_host
from swimnomad.swim.effects import OpenStream
from swimnomad.swim.events import (
    HealthChanged,
    InputDropped,
    NodeSuspected,
    PingCompleted,
)
from swimnomad.swim.inputs import StreamEnded, StreamFailed, TimerFired
from swimnomad.swim.timers import (
    ProbeDeadline,
    ProbeTick,
    ProbeTimeout,
    StreamDeadline,
    SuspicionTimeout,
)
from swimnomad.wire.messages import (
    Ack,
    Alive,
    IndirectPing,
    Nack,
    NodeState,
    Ping,
    StreamMessage,
    Suspect,
    UserMessage,
)
from tests.helpers import Net
from tests.swim.swim_support import OWN, PEER, Hooks, Rig, alive, rig_with

NO_NACK = bytes((1, 3, 2, 0, 0, 0))
NO_STREAM_PING = bytes((1, 2, 2, 0, 0, 0))
OWN_IP = ip_of_host(OWN.host)


def probing(*others: str, **settings: object) -> tuple[Rig, Ping]:
    """A node that has just sent the ping of a round."""
    rig = rig_with(*(others or ("b",)), **settings)
    rig.fire(ProbeTick)
    (_, messages) = rig.sent()[0]
    ping = messages[0]
    assert isinstance(ping, Ping)
    return rig, ping


def test_first_ping_has_sequence_one_and_our_identity() -> None:
    rig, ping = probing()
    assert rig.sent_first() == [(PEER, Ping(1, "b", OWN_IP, OWN.port, "a"))]
    assert ping.sequence == 1


def test_ack_completes_the_round_and_reports_rtt_and_payload() -> None:
    """gossip 40.52: payload and RTT of a direct probe are reported with the right node."""
    rig, ping = probing()
    rig.now += 0.125
    rig.hear(Ack(ping.sequence, b"coordinate"))
    assert rig.events(PingCompleted) == [PingCompleted("b", 0.125, b"coordinate")]
    assert not rig.has_timer(ProbeTimeout)
    assert not rig.has_timer(ProbeDeadline)
    assert rig.hear(Ack(ping.sequence, b"again")) == []


def test_ack_payload_of_the_delegate_reaches_the_prober() -> None:
    """gossip 40.52: the ack payload reaches the ping hook of the prober, with RTT above 0."""
    hooks = Hooks()
    hooks.ack = b"where I am"
    net = Net(latency=0.01)
    prober = net.add("n1")
    net.add("n2", delegate=hooks)
    net.join("n1", "n2")
    net.run_until(lambda: bool(prober.announced(PingCompleted)), 5.0)
    (completed,) = prober.announced(PingCompleted)
    assert (completed.node, completed.payload) == ("n2", b"where I am")
    assert completed.rtt == pytest.approx(0.02)


def test_unreachable_node_is_suspect_after_one_probe_with_help_asked() -> None:
    """gossip 40.22: suspect after one probe, and helpers were asked."""
    rig, ping = probing(*"bcdef")
    target = ping.node
    rig.fire(ProbeTimeout)
    requests = rig.sent_first()
    assert len(requests) == 3
    asked = {to for to, _ in requests}
    assert len(asked) == 3
    for to, request in requests:
        assert to != rig.entry(target).address
        assert isinstance(request, IndirectPing)
        assert (request.sequence, request.node, request.wants_nack) == (1, target, True)
        assert request.target_ip == rig.entry(target).ip
        assert request.target_port == rig.entry(target).port
        assert (request.source_ip, request.source_port, request.source_node) == (
            OWN_IP,
            OWN.port,
            "a",
        )
    assert rig.entry(target).state is NodeState.ALIVE
    rig.fire(ProbeDeadline)
    assert rig.entry(target).state is NodeState.SUSPECT
    assert [event.accuser for event in rig.events(NodeSuspected)] == ["a"]
    assert Suspect(target, 1, "a") in rig.queued()
    assert rig.node.counters["probe.failed"] == 1


def test_ack_through_a_helper_saves_the_target_without_rtt() -> None:
    rig, ping = probing(*"bcde")
    rig.fire(ProbeTimeout)
    rig.hear(Ack(ping.sequence))
    assert rig.events(PingCompleted) == []
    assert not rig.has_timer(ProbeDeadline)
    assert not rig.has_timer(StreamDeadline)
    assert rig.entry(ping.node).state is NodeState.ALIVE


@pytest.mark.parametrize("state", [NodeState.SUSPECT, NodeState.DEAD, NodeState.LEFT])
def test_helpers_are_alive_members_only(state: NodeState) -> None:
    rig, ping = probing("b", "c")
    helper = "c" if ping.node == "b" else "b"
    rig.node.table.set_state(rig.entry(helper), state, rig.now)
    rig.fire(ProbeTimeout)
    assert rig.sent() == []


# --- the stream ping ------------------------------------------------------------------------------


def test_stream_ping_alone_keeps_a_node_alive() -> None:
    """gossip 40.23: a node stays alive if only the stream ping gets through."""
    rig, ping = probing()
    rig.fire(ProbeTimeout)
    assert rig.dialed() == [(PEER, Ping(1, "b", OWN_IP, OWN.port, "a"))]
    assert rig.at_of(StreamDeadline) == rig.at_of(ProbeDeadline)
    rig.reply(rig.opened(), Ack(ping.sequence))
    assert rig.events(InputDropped) == []
    rig.fire(ProbeDeadline)
    assert rig.entry("b").state is NodeState.ALIVE
    assert rig.node.counters["stream_only_contact"] == 1
    assert rig.node.health_score == 0


def test_no_stream_ping_if_disabled() -> None:
    """gossip 40.23: not if stream pings are disabled."""
    rig, _ = probing(stream_pings=False)
    rig.fire(ProbeTimeout)
    assert rig.of(OpenStream) == []


def test_no_stream_ping_to_an_old_protocol() -> None:
    """gossip 40.23: not if the target's PMax is below 3."""
    rig, _ = probing()
    rig.entry("b").versions = NO_STREAM_PING
    rig.fire(ProbeTimeout)
    assert rig.of(OpenStream) == []


@pytest.mark.parametrize("answer", [Ack(77), UserMessage(b"x"), Ping(1, "b")])
def test_wrong_answer_to_a_stream_ping_is_no_contact(answer: StreamMessage) -> None:
    """gossip 40.6: an unequal sequence number or another type is a failure."""
    rig, _ = probing()
    rig.fire(ProbeTimeout)
    rig.reply(rig.opened(), answer)
    rig.fire(ProbeDeadline)
    assert rig.entry("b").state is NodeState.SUSPECT


def test_refused_stream_is_no_contact_and_no_error() -> None:
    """gossip 40.6: a refused connection is no contact, without error."""
    rig, _ = probing()
    rig.fire(ProbeTimeout)
    assert rig.feed(StreamFailed(rig.opened(), "connection refused"))[1:] == []
    rig.fire(ProbeDeadline)
    assert rig.entry("b").state is NodeState.SUSPECT
    assert rig.events(InputDropped) == []


def test_stream_that_ends_early_is_no_contact() -> None:
    rig, _ = probing()
    rig.fire(ProbeTimeout)
    stream = rig.opened()
    rig.feed(StreamEnded(stream))
    assert rig.closed() == [stream]
    rig.fire(ProbeDeadline)
    assert rig.closed() == []
    assert rig.entry("b").state is NodeState.SUSPECT


def test_silent_stream_is_closed_at_the_deadline_of_the_probe() -> None:
    """gossip 40.6: the stream ping respects the deadline of its probe."""
    rig, _ = probing()
    rig.fire(ProbeTimeout)
    stream = rig.opened()
    rig.fire(ProbeDeadline)
    assert rig.closed() == [stream]
    assert rig.entry("b").state is NodeState.SUSPECT


# --- awareness ------------------------------------------------------------------------------------


def test_without_helpers_a_failed_probe_costs_one() -> None:
    """gossip 40.28: without expected nacks a failed probe adds 1, a good one takes 1."""
    rig, _ = probing()
    rig.fire(ProbeDeadline)
    assert rig.events(HealthChanged) == [HealthChanged(1)]
    while not rig.sent():
        rig.fire(ProbeTick)
    (_, messages) = rig.sent()[0]
    ping = messages[0]
    assert isinstance(ping, Ping)
    rig.hear(Ack(ping.sequence))
    assert rig.events(HealthChanged) == [HealthChanged(0)]


@pytest.mark.parametrize(("nacks", "score"), [(3, 0), (2, 1), (0, 3), (5, 0)])
def test_missing_nacks_cost_one_each(nacks: int, score: int) -> None:
    """gossip 40.28: all nacks leave the score unchanged, each missing one adds 1."""
    rig, ping = probing(*"bcdef")
    rig.fire(ProbeTimeout)
    for _ in range(nacks):
        rig.hear(Nack(ping.sequence))
    rig.hear(Nack(999))
    rig.fire(ProbeDeadline)
    assert rig.node.health_score == score


def test_helpers_without_nacks_cost_one_together() -> None:
    """gossip 40.28: helpers without nack support add 1."""
    rig, _ = probing(*"bcde")
    for entry in rig.node.table:
        if entry is not rig.own:
            entry.versions = NO_NACK
    rig.fire(ProbeTimeout)
    assert [r.wants_nack for _, r in rig.sent_first() if isinstance(r, IndirectPing)] == [False] * 3
    rig.fire(ProbeDeadline)
    assert rig.node.health_score == 1


def degraded(*others: str, **settings: object) -> Rig:
    """A node with health score 2."""
    rig = rig_with(*(others or ("b",)), **settings)
    rig.hear(Suspect("a", 1, "b"))
    rig.hear(Suspect("a", 2, "b"))
    rig.drain()
    assert rig.node.health_score == 2
    return rig


def test_degraded_node_waits_longer_before_it_suspects() -> None:
    """gossip 40.28: a degraded node waits (score+1) intervals before suspecting."""
    rig = degraded()
    rig.fire(ProbeTick)
    assert rig.at_of(ProbeDeadline) == 3.0
    assert rig.at_of(ProbeTimeout) == 0.5
    assert rig.node.counters["degraded.probe"] == 1


def test_local_health_switches() -> None:
    rig = degraded(lha_probe=False)
    rig.fire(ProbeTick)
    assert rig.at_of(ProbeDeadline) == 1.0
    rig = degraded(lha_probe_timeout=True)
    rig.fire(ProbeTick)
    assert rig.at_of(ProbeTimeout) == 1.5


def test_timeout_past_the_interval_never_asks_helpers() -> None:
    rig, _ = probing(*"bcd", probe_timeout=1.0)
    assert not rig.has_timer(ProbeTimeout)
    rig.fire(ProbeDeadline)
    assert rig.node.health_score == 1


# --- the buddy rule -------------------------------------------------------------------------------


def test_ping_of_a_suspect_brings_the_suspicion_along() -> None:
    """gossip 40.29: ping and suspicion together; the accused queues exactly one alive."""
    rig = rig_with("b")
    rig.hear(Suspect("b", 1, "c"))
    rig.fire(ProbeTick)
    ping = Ping(1, "b", OWN_IP, OWN.port, "a")
    assert rig.sent() == [(PEER, [ping, Suspect("b", 1, "a")])]
    # Nothing else is piggybacked, and the datagram has a checksum.
    assert rig.effects[1].data[0] == 12  # type: ignore[union-attr]  # the datagram
    accused = Rig(name="b")
    accused.drain()
    accused.hear(ping, Suspect("b", 1, "a"))
    (refutation,) = accused.queued()
    assert isinstance(refutation, Alive)
    assert refutation.incarnation == 2


def test_buddy_rule_can_be_turned_off() -> None:
    rig = rig_with("b", buddy=False)
    rig.hear(Suspect("b", 1, "c"))
    rig.fire(ProbeTick)
    assert [m for _, messages in rig.sent() for m in messages] == [
        Ping(1, "b", OWN_IP, OWN.port, "a"),
        Suspect("b", 1, "c"),
    ]


# --- ticks and targets ----------------------------------------------------------------------------


def test_round_blocks_the_ticker_and_one_missed_tick_is_remembered() -> None:
    rig = degraded("b", "c", "d")
    rig.fire(ProbeTick)
    for _ in range(2):
        rig.fire(ProbeTick)
        assert rig.sent() == []
    rig.fire(ProbeDeadline)
    # The remembered tick starts the next round at once.
    assert [type(m) for _, m in rig.sent_first()] == [Ping]
    rig.hear(Ack(2))
    assert rig.sent() == []


def test_late_tick_does_not_bunch() -> None:
    rig, ping = probing()
    rig.hear(Ack(ping.sequence))
    rig.now += 7.25
    rig.fire(ProbeTick)
    assert 0 < rig.at_of(ProbeTick) <= 1.0


def test_each_member_is_probed_once_in_a_pass_and_the_dead_never() -> None:
    rig = rig_with(*"bcdefgh")
    rig.node.table.set_state(rig.entry("g"), NodeState.DEAD, rig.now)
    rig.node.table.set_state(rig.entry("h"), NodeState.LEFT, rig.now)
    for _ in range(3):
        probed = []
        for _ in range(5):
            rig.fire(ProbeTick)
            (_, ping) = rig.sent_first()[0]
            assert isinstance(ping, Ping)
            probed.append(ping.node)
            rig.hear(Ack(ping.sequence))
        assert sorted(probed) == list("bcdef")


def test_lonely_node_probes_nobody() -> None:
    rig = Rig()
    rig.fire(ProbeTick)
    assert rig.sent() == []
    rig = Rig(round_robin=False)
    rig.fire(ProbeTick)
    assert rig.sent() == []


def test_random_targets_repeat_before_a_pass_is_over() -> None:
    rig = rig_with(*"bcdef", round_robin=False)
    probed = []
    for _ in range(30):
        rig.fire(ProbeTick)
        (_, ping) = rig.sent_first()[0]
        assert isinstance(ping, Ping)
        probed.append(ping.node)
        rig.hear(Ack(ping.sequence))
    assert set(probed) == set("bcdef")
    assert any(len(set(probed[i : i + 5])) < 5 for i in range(0, 30, 5))


def test_wrap_of_the_index_forgets_the_long_dead_and_keeps_the_recent() -> None:
    """gossip 40.39: compaction keeps recently dead or left entries and removes older ones."""
    for state in (NodeState.DEAD, NodeState.LEFT):
        rig = rig_with("b", "c", "d")
        rig.node.table.set_state(rig.entry("c"), state, rig.now)
        rig.now += 31.0
        rig.node.table.set_state(rig.entry("d"), state, rig.now)
        for _ in range(8):
            rig.fire(ProbeTick)
            rig.hear(*(Ack(n) for n in range(1, 10)))
        assert sorted(e.name for e in rig.node.table) == ["a", "b", "d"]
        assert "c" not in rig.node.table
        assert rig.node.counters["forgotten"] == 1


def test_target_that_refutes_meanwhile_is_not_suspected() -> None:
    rig, _ = probing()
    rig.fire(ProbeTimeout)
    rig.hear(alive("b", 2))
    rig.fire(ProbeDeadline)
    assert rig.entry("b").state is NodeState.ALIVE
    assert not rig.has_timer(SuspicionTimeout)


def test_timers_of_a_finished_round_do_nothing() -> None:
    rig, ping = probing()
    rig.hear(Ack(ping.sequence))
    assert rig.feed(TimerFired(ProbeTimeout(ping.sequence))) == []
    assert rig.feed(TimerFired(ProbeDeadline(ping.sequence))) == []
    assert rig.hear(Nack(ping.sequence)) == []


def test_probing_can_be_turned_off() -> None:
    assert not Rig(probe_interval=0.0).has_timer(ProbeTick)


def test_first_ticks_are_staggered() -> None:
    dues = {Rig(seed=str(n)).at_of(ProbeTick) for n in range(5)}
    assert len(dues) == 5
    assert all(0 <= due < 1.0 for due in dues)


def test_sequence_numbers_wrap_at_32_bits() -> None:
    rig = rig_with("b")
    rig.node._context._sequence = 0xFFFF_FFFF
    rig.fire(ProbeTick)
    assert rig.sent_first() == [(PEER, Ping(0, "b", OWN_IP, OWN.port, "a"))]
