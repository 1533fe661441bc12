"""What callers ask of a node: user events, tags, joins, and what they are told."""

from __future__ import annotations

import random
from collections.abc import Sequence
from functools import partial

import msgspec
import pytest

from swimnomad.errors import UsageError
from swimnomad.names import Address
from swimnomad.serf.events import (
    ForceLeaveFinished,
    Member,
    MemberUpdated,
    Status,
    TagsFinished,
    UserEventFinished,
    UserEventReceived,
)
from swimnomad.serf.inputs import (
    ForceLeave,
    Join,
    JoinTarget,
    Leave,
    SendUserEvent,
    SetTags,
    Shutdown,
    Start,
    TimerFired,
)
from swimnomad.serf.node import SerfNode
from swimnomad.serf.timers import PruneDue, SerfTimer
from swimnomad.swim.effects import CancelTimer, Emit
from swimnomad.swim.events import JoinFinished, LeaveFinished
from swimnomad.wire.keyring import Keyring
from tests.serf.helpers import Host, Net, serf_config


def received(host: Host) -> list[tuple[str, bytes]]:
    return [(event.name, event.payload) for event in host.announced(UserEventReceived)]


def has_received(host: Host, event: tuple[str, bytes]) -> bool:
    return event in received(host)


# -- user events


def test_user_events_reach_the_others_with_name_and_payload_in_order() -> None:
    """serf 35.6: delivers user events with name and payload to other nodes in order."""
    net = Net()
    a, b = net.pool(2)
    for payload in (b"0", b"1", b"2"):
        a.user_event("deploy", payload, coalesce=True)
        net.until(partial(has_received, b, ("deploy", payload)))
    assert received(a) == received(b) == [("deploy", b"0"), ("deploy", b"1"), ("deploy", b"2")]
    assert [event.coalesce for event in b.announced(UserEventReceived)] == [True] * 3
    assert a.announced(UserEventFinished) == [UserEventFinished(i) for i in (1, 2, 3)]


def test_user_events_above_the_limit_are_refused() -> None:
    """serf 35.7: refuses user events above the limit: "user event exceeds"."""
    a = Net().add(serf_config("a"))
    a.user_event("n", bytes(512))
    a.user_event("n", bytes(511))  # Its parts fit; with everything around them they do not.
    a.user_event("n", bytes(400))
    errors = [event.error for event in a.announced(UserEventFinished)]
    assert errors[0] == ("user event exceeds the limit of 512 bytes: its name and payload has 513")
    assert errors[1].startswith("user event exceeds")
    assert errors[2] == ""
    assert not any(event.may_have_happened for event in a.announced(UserEventFinished))
    assert len(received(a)) == 1
    assert a.node.stats()["event_time"] == "2"


def test_the_limit_can_be_raised_to_what_the_reference_bears() -> None:
    net = Net()
    a = net.add(serf_config("a", user_event_bytes_max=9216))
    b = net.add(serf_config("b"))
    a.user_event("n", bytes(9000))
    assert a.announced(UserEventFinished) == [UserEventFinished(1)]
    b.join(a)
    net.until(lambda: received(b) == [("n", bytes(9000))])


def test_a_name_that_is_no_text_is_refused() -> None:
    a = Net().add(serf_config("a"))
    a.user_event("\ud800")
    a.force_leave("\ud800")
    a.set_tags(x="\ud800")
    for event_type in (UserEventFinished, ForceLeaveFinished, TagsFinished):
        (outcome,) = a.announced(event_type)
        assert "not text" in outcome.error
        assert not outcome.may_have_happened


def test_a_join_delivers_old_events_once_unless_told_not_to() -> None:
    """serf 35.20: ignoreOld delivers none of the older events; without it once each."""
    net = Net()
    a = net.add(serf_config("a"))
    for name in ("one", "two"):
        a.user_event(name)
    forgetful, curious = net.add(serf_config("b")), net.add(serf_config("c"))
    forgetful.join(a, ignore_old=True)
    curious.join(a)
    net.until(lambda: len(forgetful.node.members) == len(curious.node.members) == 3)
    net.run(20.0)  # A periodic push/pull brings the old events once more.
    assert received(forgetful) == []
    assert received(curious) == [("one", b""), ("two", b"")]
    a.user_event("three")
    net.until(lambda: received(forgetful) == [("three", b"")])


# -- tags


def test_tag_changes_reach_everybody_as_one_update() -> None:
    """serf 35.23: tag changes reach all members and emit exactly one member-update."""
    net = Net()
    hosts = net.pool(3)
    operation = hosts[0].set_tags(role="web", dc="eu")
    net.until(lambda: bool(hosts[0].announced(TagsFinished)))
    net.run(20.0)
    for host in hosts:
        (update,) = host.announced(MemberUpdated)
        assert update.member.tags == {"role": "web", "dc": "eu"}
    assert hosts[0].announced(TagsFinished) == [TagsFinished(operation)]


@pytest.mark.parametrize(("version", "shown"), [(2, {"role": "db"}), (3, {"role": "db", "x": "y"})])
def test_the_own_record_carries_the_own_tags(version: int, shown: dict[str, str]) -> None:
    """serf 35.29: own tags before and after a change, status alive."""
    a = Net().add(serf_config("a", tags={"role": "web"}, protocol_version=version))
    member = a.node.local_member
    assert (member.tags, member.status) == ({"role": "web"}, Status.ALIVE)
    a.set_tags(role="db", x="y")
    member = a.node.local_member
    assert (member.tags, member.status) == (shown, Status.ALIVE)
    assert member.versions == bytes((1, 5, 2, 2, 5, version))


def test_overlong_tags_change_nothing() -> None:
    """serf 35.42: over-long metadata is an error."""
    a = Net().add(serf_config("a", tags={"role": "web"}))
    a.set_tags(role="x" * 600)
    (outcome,) = a.announced(TagsFinished)
    assert "512" in outcome.error
    assert not outcome.may_have_happened
    assert a.node.local_member.tags == {"role": "web"}


def test_tags_that_nobody_heard_of_in_time_are_in_effect_all_the_same() -> None:
    net = Net()
    a, _b = net.pool(2, gossip={"gossip_interval": 0.0, "probe_interval": 0.0})
    operation = a.set_tags(role="web")
    net.run(5.1)
    (outcome,) = a.announced(TagsFinished)
    assert (outcome.operation, outcome.may_have_happened) == (operation, True)
    assert "timed out" in outcome.error
    assert a.node.local_member.tags == {"role": "web"}


def test_a_node_that_leaves_keeps_its_tags() -> None:
    a = Net().add(serf_config("a"))
    a.leave()
    a.set_tags(role="web")
    assert a.announced(TagsFinished) == [TagsFinished(2, "this node is leaving")]


# -- joins, force-leaves


def test_joins_wait_for_each_other() -> None:
    net = Net()
    a, b, c = (net.add(serf_config(name)) for name in "abc")
    first, second = a.join(b), a.join(c)
    net.until(lambda: len(a.announced(JoinFinished)) == 2)
    assert [event.operation for event in a.announced(JoinFinished)] == [first, second]
    assert [event.joined for event in a.announced(JoinFinished)] == [1, 1]


def test_too_many_waiting_joins_are_refused() -> None:
    net = Net()
    a, b = net.add(serf_config("a", waits_max=1)), net.add(serf_config("b"))
    for _ in range(3):
        a.join(b)
    (refused,) = a.announced(JoinFinished)
    assert (refused.operation, refused.joined) == (3, 0)
    assert refused.failures == ((JoinTarget(b.address, "b"), "too many joins are waiting"),)


def test_a_join_with_nobody_there_fails_and_tells_why() -> None:
    net = Net()
    a = net.add(serf_config("a"))
    a.feed(Join(1, (JoinTarget(Address("10.9.9.9", 7946)),)))
    net.until(lambda: bool(a.announced(JoinFinished)))
    (outcome,) = a.announced(JoinFinished)
    assert outcome.joined == 0
    assert "refused" in outcome.failures[0][1]
    assert a.node.stats()["intent_queue"] == "0", "a join that failed is not announced"


def test_a_leave_refuses_the_joins_that_wait() -> None:
    net = Net()
    a, b = net.add(serf_config("a")), net.add(serf_config("b"))
    a.join(b)
    a.join(b)
    a.leave()
    net.until(lambda: len(a.announced(JoinFinished)) == 2)
    assert [event.joined for event in a.announced(JoinFinished)] == [1, 0]


def test_too_many_waiting_force_leaves_are_refused() -> None:
    net = Net()
    a, _, _ = net.pool(3, waits_max=1)
    a.force_leave("x")
    a.force_leave("y")
    (refused,) = a.announced(ForceLeaveFinished)
    assert (refused.operation, refused.may_have_happened) == (2, False)
    assert "too many" in refused.error


def test_a_force_leave_that_nobody_could_hear_says_so() -> None:
    net = Net()
    a, _ = net.pool(2, gossip={"gossip_interval": 0.0, "probe_interval": 0.0})
    a.force_leave("x")
    net.run(5.1)
    (outcome,) = a.announced(ForceLeaveFinished)
    assert "timed out" in outcome.error
    assert outcome.may_have_happened


def test_a_broadcast_that_gets_out_after_its_timeout_changes_nothing() -> None:
    net = Net()
    a, _b = net.pool(2, broadcast_timeout=0.01)
    a.force_leave("x")
    net.run(10.0)
    assert len(a.announced(ForceLeaveFinished)) == 1


# -- filters


class Bouncer:
    def __init__(self, unwanted: str = "") -> None:
        self.unwanted = unwanted
        self.asked: set[str] = set()

    def refuse(self, members: Sequence[Member]) -> str:
        self.asked |= {member.name for member in members}
        is_unwanted = any(member.name == self.unwanted for member in members)
        return f"{self.unwanted} may not come in" if is_unwanted else ""


@pytest.mark.parametrize("refuser", ["a", "b"])
def test_a_refusing_filter_on_either_side_prevents_the_join(refuser: str) -> None:
    """serf 35.32: prevents the join and is invoked on both sides."""
    net = Net()
    filters = {
        "a": Bouncer("b" if refuser == "a" else ""),
        "b": Bouncer("a" if refuser == "b" else ""),
    }
    a = net.add(serf_config("a"), member_filter=filters["a"])
    b = net.add(serf_config("b"), member_filter=filters["b"])
    b.join(a)
    net.run(20.0)
    assert filters["a"].asked >= {"a", "b"}
    assert filters["b"].asked >= {"a", "b"}
    refusing = a if refuser == "a" else b
    assert list(refusing.node.members) == [refuser]
    if refuser == "b":
        assert "may not come in" in b.announced(JoinFinished)[0].failures[0][1]


# -- stats


def test_the_stats_of_a_fresh_node_are_those_of_the_reference() -> None:
    """serf 35.31: stats of a fresh node equal §27."""
    assert Net().add(serf_config("a")).node.stats() == {
        "members": "1",
        "failed": "0",
        "left": "0",
        "health_score": "0",
        "member_time": "1",
        "event_time": "1",
        "query_time": "1",
        "intent_queue": "0",
        "event_queue": "0",
        "query_queue": "0",
        "encrypted": "false",
    }


def test_the_stats_count_failed_and_left_members_and_tell_of_encryption() -> None:
    net = Net()
    a, b, c = net.pool(3)
    b.kill()
    net.until(lambda: a.status("b") == "failed")
    c.leave()
    net.until(lambda: a.status("c") == "left")
    stats = a.node.stats()
    assert [stats[key] for key in ("members", "failed", "left")] == ["3", "1", "1"]
    for keyring, encrypted in ((Keyring(), "false"), (Keyring(primary=bytes(16)), "true")):
        node = SerfNode(serf_config("a"), random.Random(1), keyring=keyring)
        assert node.stats()["encrypted"] == encrypted


# -- the edges of a life


def test_before_its_start_a_node_knows_only_its_name_and_tags() -> None:
    node = SerfNode(serf_config("a", tags={"role": "web"}), random.Random(1))
    member = node.local_member
    assert (member.name, member.tags, member.status) == ("a", {"role": "web"}, Status.NONE)
    assert dict(node.members) == {}
    with pytest.raises(UsageError):
        node.handle(Join(1, ()), 0.0)


def test_a_bad_configuration_is_refused_at_once() -> None:
    """serf 35.1: refuses version 6 at start."""
    config = msgspec.structs.replace(serf_config("a"), protocol_version=6)
    with pytest.raises(UsageError, match="version 6"):
        SerfNode(config, random.Random(1))


def test_a_shutdown_reports_what_was_under_way_and_disarms_every_timer() -> None:
    net = Net()
    a, _b, _ = net.pool(3)
    force_leave, leave = a.force_leave("x"), a.leave()
    effects = a.node.handle(Shutdown(), net.now)
    outcomes = [effect.event for effect in effects if isinstance(effect, Emit)]
    assert LeaveFinished(leave, heard=False) in outcomes
    (forced,) = [event for event in outcomes if isinstance(event, ForceLeaveFinished)]
    assert (forced.operation, forced.may_have_happened) == (force_leave, True)
    cancelled = {effect.timer for effect in effects if isinstance(effect, CancelTimer)}
    assert {timer for timer in a.timers if isinstance(timer, SerfTimer)} <= cancelled


def test_after_a_shutdown_every_command_is_told_so_and_nothing_else_has_an_effect() -> None:
    net = Net()
    a, b = net.pool(2)
    a.node.handle(Shutdown(), net.now)
    target = JoinTarget(b.address)
    error = "this node is shut down"
    for command, outcome in (
        (Join(1, (target,)), JoinFinished(1, 0, ((target, error),))),
        (Leave(2), LeaveFinished(2, heard=False)),
        (ForceLeave(3, "b"), ForceLeaveFinished(3, error)),
        (SetTags(4, ()), TagsFinished(4, error)),
        (SendUserEvent(5, "x", b""), UserEventFinished(5, error)),
    ):
        assert a.node.handle(command, net.now) == [Emit(outcome)]
    for timer in a.timers:
        assert a.node.handle(TimerFired(timer), net.now) == []
    assert a.node.handle(Shutdown(), net.now) == []


def test_a_shutdown_in_the_middle_of_a_gossip_leave_ends_it_once() -> None:
    net = Net()
    a, _ = net.pool(2)
    operation = a.leave()
    net.until(lambda: a.status("a") == "left")
    effects = a.node.handle(Shutdown(), net.now)
    outcomes = [e.event for e in effects if isinstance(e, Emit) if type(e.event) is LeaveFinished]
    assert outcomes == [LeaveFinished(operation, heard=False)]


def test_a_second_start_and_a_foreign_timer_are_usage_errors() -> None:
    a = Net().add(serf_config("a"))

    class Foreign(SerfTimer, frozen=True):
        """A timer that nobody set."""

    with pytest.raises(UsageError, match="starts once"):
        a.node.handle(Start(a.address), 0.0)
    with pytest.raises(UsageError, match="no timer"):
        a.node.handle(TimerFired(Foreign()), 0.0)


def test_a_prune_that_comes_late_finds_nobody() -> None:
    a = Net().add(serf_config("a"))
    assert a.node.handle(TimerFired(PruneDue("gone")), 0.0) == []


def test_intervals_of_zero_arm_nothing() -> None:
    a = Net().add(
        serf_config("a", reap_interval=0.0, reconnect_interval=0.0, queue_check_interval=0.0)
    )
    assert not any(isinstance(timer, SerfTimer) for timer in a.timers)
