"""Join, leave, metadata update, start and shutdown: commands and their outcomes."""

from __future__ import annotations

import random

import pytest

from swimnomad.errors import UsageError
from swimnomad.names import Address, Stream, ip_of_host
from swimnomad.swim.config import SwimConfig
from swimnomad.swim.effects import CancelTimer, OpenStream, SetTimer
from swimnomad.swim.events import (
    JoinFinished,
    LeaveFinished,
    NodeJoined,
    NodeLeft,
    NodeUpdated,
    SelfRefuted,
    UpdateFinished,
)
from swimnomad.swim.inputs import (
    DatagramReceived,
    Join,
    JoinTarget,
    Leave,
    SendUserMessage,
    Shutdown,
    Start,
    StreamEnded,
    StreamFailed,
    StreamOpened,
    StreamReceived,
    SwimInput,
    Timer,
    TimerFired,
    UpdateMeta,
)
from swimnomad.swim.node import SwimNode
from swimnomad.swim.timers import (
    GossipTick,
    OperationDeadline,
    ProbeTick,
    PushPullTick,
    StreamDeadline,
)
from swimnomad.wire.messages import Ack, Alive, Dead, NodeState, Ping, PushPull
from tests.swim.swim_support import OTHER, OWN, PEER, Hooks, Rig, alive, host, record, rig_with

TARGETS = (JoinTarget(PEER, "b"), JoinTarget(OTHER))


def fresh(**settings: object) -> SwimNode:
    return SwimNode(SwimConfig(name="a", **settings), random.Random(1))  # type: ignore[arg-type]  # settings by name


# --- start ----------------------------------------------------------------------------------------


def test_start_announces_ourselves_at_the_advertised_address() -> None:
    """gossip 40.51: the advertised address and port appear in our own member entry."""
    node = fresh(meta=b"m")
    advertised = Address("203.0.113.7", 4648)
    effects = node.handle(Start(advertised, 3), 5.0)
    assert node.address == advertised
    assert node.own.ip == ip_of_host("203.0.113.7")
    assert (node.own.state, node.own.incarnation, node.own.meta) == (NodeState.ALIVE, 3, b"m")
    events = [effect.event for effect in effects if hasattr(effect, "event")]
    assert [type(event) for event in events] == [NodeJoined]
    timers = {type(effect.timer) for effect in effects if isinstance(effect, SetTimer)}
    assert timers == {ProbeTick, GossipTick, PushPullTick}
    assert (node.node_count, node.live_count, node.queue_length) == (1, 1, 1)
    assert node.health_score == 0


def test_first_alive_carries_incarnation_one_and_is_queued() -> None:
    rig = Rig(meta=b"m")
    assert rig.queued() == [alive("a", 1, host=OWN.host, meta=b"m")]


@pytest.mark.parametrize(
    ("start", "reason"),
    [
        (Start(Address("10.0.0.1", 0)), "port must not be 0"),
        (Start(OWN, 0), "incarnation 0"),
        (Start(OWN, 1 << 32), "incarnation 4294967296"),
        (Start(Address("here", 1)), "not an IP address"),
    ],
)
def test_impossible_start_is_refused(start: Start, reason: str) -> None:
    node = fresh()
    with pytest.raises(UsageError, match=reason):
        node.handle(start, 0.0)
    assert node.handle(Start(OWN), 0.0)
    with pytest.raises(UsageError, match="starts once"):
        node.handle(Start(OWN), 0.0)


def test_start_is_refused_if_our_own_delegate_refuses_us() -> None:
    hooks = Hooks()
    hooks.alive_refusal = lambda node: f"never {node.name}"
    node = SwimNode(SwimConfig(name="a"), random.Random(1), delegate=hooks)
    with pytest.raises(UsageError, match="never a"):
        node.handle(Start(OWN), 0.0)
    assert node.node_count == 0


COMMANDS: list[SwimInput] = [Leave(1), UpdateMeta(1, b""), SendUserMessage(PEER, b"x")]
FACTS: list[SwimInput] = [
    DatagramReceived(b"\x00\x80", PEER),
    StreamOpened(Stream(True, 1), PEER),
    StreamReceived(Stream(True, 1), b"x"),
    StreamEnded(Stream(True, 1)),
    StreamFailed(Stream(True, 1), "x"),
    TimerFired(GossipTick()),
]


@pytest.mark.parametrize("command", [*COMMANDS, Join(1, TARGETS)])
def test_commands_before_the_start_are_refused(command: SwimInput) -> None:
    with pytest.raises(UsageError, match="not started"):
        fresh().handle(command, 0.0)


@pytest.mark.parametrize("fact", FACTS)
def test_what_happens_before_the_start_is_ignored(fact: SwimInput) -> None:
    assert fresh().handle(fact, 0.0) == []


# --- join -----------------------------------------------------------------------------------------


def join_answer(*names: str) -> PushPull:
    nodes = [record(name, host=host(ord(name) - ord("a") + 1)) for name in names]
    return PushPull(True, tuple(nodes))


def test_join_tries_each_target_in_order_also_after_a_success() -> None:
    """gossip 40.45: a join counts its successes and tells its failures."""
    rig = Rig()
    rig.feed(Join(7, TARGETS))
    ((to, message),) = rig.dialed()
    assert to == PEER
    assert isinstance(message, PushPull)
    assert message.is_join
    rig.reply(rig.opened(), join_answer("b"))
    assert rig.events(JoinFinished) == []
    assert [to for to, _ in rig.dialed()] == [OTHER]
    rig.feed(StreamFailed(rig.opened(), "connection refused"))
    failures = ((TARGETS[1], "connection refused"),)
    assert rig.events(JoinFinished) == [JoinFinished(7, 1, failures)]


def test_join_of_a_silent_listener_times_out() -> None:
    """gossip 40.45: a silent TCP listener fails the join within tcp_timeout."""
    rig = Rig(tcp_timeout=2.5)
    rig.feed(Join(7, TARGETS[:1]))
    stream = rig.opened()
    started = rig.now
    rig.fire(StreamDeadline)
    assert rig.now == started + 2.5
    assert rig.closed() == [stream]
    assert rig.events(JoinFinished) == [JoinFinished(7, 0, ((TARGETS[0], "i/o timeout"),))]


def test_join_of_nobody_is_done_at_once() -> None:
    """gossip 40.45: an empty list joins nobody without error."""
    rig = Rig()
    rig.feed(Join(7, ()))
    assert rig.events(JoinFinished) == [JoinFinished(7, 0, ())]


def test_join_fails_if_the_merge_is_refused_on_our_side() -> None:
    """gossip 40.46: a refusing merge hook on the joining side prevents the join."""
    hooks = Hooks()
    hooks.merge_refusal = "wrong region"
    rig = Rig(delegate=hooks)
    rig.feed(Join(7, TARGETS[:1]))
    rig.reply(rig.opened(), join_answer("b"))
    assert rig.events(JoinFinished) == [JoinFinished(7, 0, ((TARGETS[0], "wrong region"),))]
    assert rig.node.node_count == 1


def test_join_succeeds_although_the_alive_hook_keeps_the_peer_out() -> None:
    """gossip 40.46: a refusing alive hook lets the join succeed but keeps the peer out."""
    hooks = Hooks()
    hooks.alive_refusal = lambda node: "" if node.name == "a" else "strangers"
    rig = Rig(delegate=hooks)
    rig.feed(Join(7, TARGETS[:1]))
    rig.reply(rig.opened(), join_answer("b"))
    assert rig.events(JoinFinished) == [JoinFinished(7, 1, ())]
    assert rig.node.node_count == 1


def test_members_learned_by_a_join_are_announced_before_its_end() -> None:
    rig = Rig()
    rig.feed(Join(7, TARGETS[:1]))
    rig.reply(rig.opened(), join_answer("b", "c"))
    events = [effect.event for effect in rig.effects if hasattr(effect, "event")]
    assert [type(event) for event in events] == [NodeJoined, NodeJoined, JoinFinished]


# --- leave ----------------------------------------------------------------------------------------


def test_leave_is_heard_once_its_broadcast_was_sent_often_enough() -> None:
    rig = rig_with("b")
    rig.feed(Leave(3))
    assert rig.own.state is NodeState.LEFT
    assert [(event.name, event.on_purpose) for event in rig.events(NodeLeft)] == [("a", True)]
    assert rig.events(LeaveFinished) == []
    sent: list[object] = []
    while not rig.events(LeaveFinished):
        rig.fire(GossipTick)
        sent += [m for _, messages in rig.sent() for m in messages]
    assert sent == [Dead("a", 1, "a")] * 4
    assert rig.events(LeaveFinished) == [LeaveFinished(3, True)]
    assert not rig.has_timer(OperationDeadline)


def test_leave_that_nobody_hears_in_time_says_so() -> None:
    rig = rig_with("b", gossip_interval=0.0)
    rig.feed(Leave(3))
    assert rig.at_of(OperationDeadline) == 5.0
    rig.fire(OperationDeadline)
    assert rig.events(LeaveFinished) == [LeaveFinished(3, False)]
    assert rig.feed(TimerFired(OperationDeadline(3))) == []


def test_leave_without_a_limit_waits_for_ever() -> None:
    rig = rig_with("b", gossip_interval=0.0, leave_timeout=0.0)
    rig.feed(Leave(3))
    assert not rig.has_timer(OperationDeadline)


def test_lonely_node_leaves_at_once() -> None:
    rig = Rig()
    rig.feed(Leave(3))
    assert rig.events(LeaveFinished) == [LeaveFinished(3, True)]
    # Its broadcast may go out to a late comer; nobody waits for it.
    rig.hear(alive("b"))
    for _ in range(5):
        rig.fire(GossipTick)
        assert rig.events(LeaveFinished) == []


def test_leaving_twice_is_done_at_once() -> None:
    rig = rig_with("b")
    rig.feed(Leave(3))
    rig.feed(Leave(4))
    assert rig.events(LeaveFinished) == [LeaveFinished(4, True)]
    assert rig.events(NodeLeft) == []


def test_node_that_left_still_answers_probes() -> None:
    """gossip 40.49: the leaver keeps answering until shutdown."""
    rig = rig_with("b")
    rig.feed(Leave(3))
    rig.hear(Ping(9, "a"))
    assert rig.sent_first() == [(PEER, Ack(9))]


# --- metadata -------------------------------------------------------------------------------------


def test_update_raises_the_incarnation_and_is_announced() -> None:
    rig = rig_with("b", meta=b"old")
    rig.feed(UpdateMeta(5, b"new"))
    assert (rig.own.incarnation, rig.own.meta) == (2, b"new")
    assert [event.meta for event in rig.events(NodeUpdated)] == [b"new"]
    assert rig.events(UpdateFinished) == []
    for _ in range(3):
        rig.fire(GossipTick)
        assert rig.sent() == [(PEER, [alive("a", 2, host=OWN.host, meta=b"new")])]
    rig.fire(GossipTick)
    assert rig.events(UpdateFinished) == [UpdateFinished(5, True)]


def test_update_with_equal_metadata_is_no_event() -> None:
    rig = Rig(meta=b"same")
    rig.feed(UpdateMeta(5, b"same"))
    assert rig.own.incarnation == 2
    assert rig.events(NodeUpdated) == []
    assert rig.events(UpdateFinished) == [UpdateFinished(5, True)]


def test_update_that_nobody_hears_in_time_is_in_effect_all_the_same() -> None:
    rig = rig_with("b", gossip_interval=0.0)
    rig.feed(UpdateMeta(5, b"new"))
    rig.fire(OperationDeadline)
    assert rig.events(UpdateFinished) == [UpdateFinished(5, False)]
    assert rig.own.meta == b"new"


def test_impossible_updates_are_refused_and_change_nothing() -> None:
    rig = rig_with("b")
    with pytest.raises(UsageError, match="513 bytes"):
        rig.feed(UpdateMeta(5, bytes(513)))
    assert rig.own.incarnation == 1
    rig.own.incarnation = 0xFFFF_FFFF
    with pytest.raises(UsageError, match="cannot be raised"):
        rig.feed(UpdateMeta(5, b"x"))
    rig.feed(Leave(1))
    with pytest.raises(UsageError, match="has left"):
        rig.feed(UpdateMeta(5, b"x"))
    assert rig.own.meta == b""


def test_refutation_speaks_with_updated_metadata() -> None:
    rig = rig_with("b")
    rig.feed(UpdateMeta(5, b"new"))
    rig.hear(Dead("a", 2, "b"))
    (claim,) = rig.queued()
    assert isinstance(claim, Alive)
    assert (claim.incarnation, claim.meta) == (3, b"new")
    assert len(rig.events(SelfRefuted)) == 1
    # The older word was replaced by one that says as much.
    assert rig.events(UpdateFinished) == [UpdateFinished(5, True)]


# --- shutdown -------------------------------------------------------------------------------------


def test_shutdown_closes_all_and_reports_what_was_under_way() -> None:
    rig = rig_with("b")
    rig.feed(Join(1, TARGETS))
    outbound = rig.opened()
    inbound = rig.accept(1)
    rig.feed(UpdateMeta(2, b"new"))
    rig.feed(Leave(3))
    # The word of the update is replaced by that of the leave: nobody needs it any more.
    assert rig.events(UpdateFinished) == [UpdateFinished(2, True)]
    rig.feed(Shutdown())
    assert rig.closed() == [outbound, inbound]
    reason = "this node is shut down"
    failures = tuple((target, reason) for target in TARGETS)
    assert rig.events(JoinFinished) == [JoinFinished(1, 0, failures)]
    assert rig.events(LeaveFinished) == [LeaveFinished(3, False)]
    assert rig.timers == {}


def test_nothing_comes_out_after_a_shutdown() -> None:
    rig = rig_with("b")
    rig.feed(Shutdown())
    assert {type(effect) for effect in rig.effects} == {CancelTimer}
    for fact in FACTS:
        assert rig.feed(fact) == []
    assert rig.feed(Shutdown()) == []
    for command in (*COMMANDS, Start(OWN)):
        with pytest.raises(UsageError, match="shut down"):
            rig.feed(command)
    rig.feed(Join(9, TARGETS[:1]))
    assert rig.of(OpenStream) == []
    assert rig.events(JoinFinished) == [
        JoinFinished(9, 0, ((TARGETS[0], "this node is shut down"),))
    ]


def test_shutdown_before_the_start_is_final() -> None:
    node = fresh()
    assert node.handle(Shutdown(), 0.0) == []
    with pytest.raises(UsageError, match="shut down"):
        node.handle(Start(OWN), 0.0)


def test_foreign_timer_is_our_own_mistake() -> None:
    with pytest.raises(UsageError, match="no timer"):
        Rig().feed(TimerFired(Timer()))
