"""The rules that move members from status to status."""

from __future__ import annotations

from typing import Literal

import msgspec
import pytest

from swimnomad.serf.config import SerfConfig
from swimnomad.serf.events import (
    MemberFailed,
    MemberJoined,
    MemberLeft,
    MemberReaped,
    MemberUpdated,
    Status,
)
from swimnomad.serf.intents import IntentKind
from swimnomad.serf.lamport import LamportClock
from swimnomad.serf.membership import IGNORE, PASS_ON, Membership, Verdict
from swimnomad.swim.config import SwimConfig
from swimnomad.swim.events import NodeView

VERSIONS = bytes((1, 5, 2, 2, 5, 4))


def node(
    name: str = "b", meta: bytes = b"\xff\x80", port: int = 7946, versions: bytes = VERSIONS
) -> NodeView:
    return NodeView(name, b"\x0a\0\0\1", port, meta, versions, 1)


class Bench:
    """A membership with node `me` in it, and short ways to get members into a status."""

    def __init__(
        self,
        nodes_max: int = 100,
        compat: Literal["safe", "upstream"] = "safe",
        **settings: object,
    ) -> None:
        base = SerfConfig(SwimConfig(name="me", nodes_max=nodes_max, compat=compat))
        self.clock = LamportClock(1)
        self.m = Membership(msgspec.structs.replace(base, **settings), self.clock)
        self.m.on_node_joined(node("me"), 0.0)

    def status(self, name: str) -> Status:
        return self.m.table.members[name].status

    def ltime(self, name: str) -> int:
        return self.m.table.members[name].status_ltime

    def bring(self, name: str, status: Status, now: float = 0.0) -> None:
        """A member in that status, its status ltime 5 unless it is alive or failed."""
        self.m.on_node_joined(node(name), now)
        if status in (Status.LEAVING, Status.LEFT):
            self.m.on_leave_intent(name, 5, now)
        if status in (Status.FAILED, Status.LEFT):
            self.m.on_node_left(node(name), now)
        assert self.status(name) is status


def test_a_new_node_is_alive_with_its_tags_and_status_time_zero() -> None:
    bench = Bench()
    (event,) = bench.m.on_node_joined(node(meta=b"\xff\x81\xa1a\xa1b"), 1.0)
    assert isinstance(event, MemberJoined)
    member = bench.m.table.members["b"]
    assert event.member == member
    assert (member.status, member.status_ltime, member.leave_time) == (Status.ALIVE, 0, None)
    assert member.tags == {"a": "b"}
    assert member.versions == VERSIONS


def test_a_node_that_joins_finds_its_buffered_join_intent() -> None:
    """serf 35.39: a buffered join: alive with that ltime."""
    bench = Bench()
    assert bench.m.on_join_intent("b", 7, 0.0) == PASS_ON
    bench.m.on_node_joined(node(), 1.0)
    assert (bench.status("b"), bench.ltime("b")) == (Status.ALIVE, 7)


def test_a_node_that_joins_finds_its_buffered_leave_intent() -> None:
    """serf 35.39: a later leave: leaving with that ltime."""
    bench = Bench()
    bench.m.on_join_intent("b", 7, 0.0)
    assert bench.m.on_leave_intent("b", 8, 0.0) == PASS_ON
    bench.m.on_node_joined(node(), 1.0)
    assert (bench.status("b"), bench.ltime("b")) == (Status.LEAVING, 8)


@pytest.mark.parametrize("status", [Status.FAILED, Status.LEFT])
def test_a_member_that_comes_back_keeps_its_status_time(status: Status) -> None:
    bench = Bench()
    bench.bring("b", status)
    before = bench.ltime("b")
    (event,) = bench.m.on_node_joined(node(port=1), 100.0)
    assert isinstance(event, MemberJoined)
    member = bench.m.table.members["b"]
    assert (member.status, member.status_ltime, member.leave_time) == (Status.ALIVE, before, None)
    assert member.port == 1
    assert (bench.m.table.failed_count, bench.m.table.left_count) == (0, 0)


def test_a_return_soon_after_a_failure_is_a_flap() -> None:
    bench = Bench(flap_timeout=60.0)
    for status, back, flaps in (
        (Status.FAILED, 59.0, 1),
        (Status.FAILED, 60.0, 1),
        (Status.LEFT, 1.0, 1),
    ):
        bench.m.table.erase("b")
        bench.bring("b", status)
        bench.m.on_node_joined(node(), back)
        assert bench.m.flaps == flaps


@pytest.mark.parametrize(
    ("before", "after", "kind"),
    [
        (Status.LEAVING, Status.LEFT, MemberLeft),
        (Status.ALIVE, Status.FAILED, MemberFailed),
        (Status.LEFT, Status.LEFT, None),
        (Status.FAILED, Status.FAILED, None),
    ],
)
def test_whether_a_node_that_is_gone_failed_or_left_depends_on_the_intent(
    before: Status, after: Status, kind: type | None
) -> None:
    bench = Bench()
    bench.bring("b", before)
    event = bench.m.on_node_left(node(), 9.0)
    assert (None if event is None else type(event)) is kind
    assert bench.status("b") is after
    assert bench.m.table.members["b"].leave_time == (9.0 if kind else 0.0)


def test_an_unknown_node_that_is_gone_or_updated_means_nothing() -> None:
    bench = Bench()
    assert bench.m.on_node_left(node("x"), 0.0) is None
    assert bench.m.on_node_updated(node("x")) is None
    assert list(bench.m.table.members) == ["me"]


def test_an_update_replaces_tags_port_and_versions() -> None:
    bench = Bench()
    bench.bring("b", Status.LEAVING)
    event = bench.m.on_node_updated(
        node(meta=b"\xff\x81\xa1a\xa1c", port=9, versions=bytes((1, 5, 2, 2, 5, 3)))
    )
    assert isinstance(event, MemberUpdated)
    assert event.member.tags == {"a": "c"}
    assert (event.member.port, event.member.versions[-1]) == (9, 3)
    assert (event.member.status, event.member.status_ltime) == (Status.LEAVING, 5)


def test_a_newer_join_intent_moves_status_time_and_clock_and_ends_leaving() -> None:
    """serf 35.37: newer updates status ltime and clock (ltime+1), turns leaving into alive."""
    bench = Bench()
    bench.bring("b", Status.LEAVING)
    assert bench.m.on_join_intent("b", 20, 1.0) == PASS_ON
    assert (bench.status("b"), bench.ltime("b"), bench.clock.time) == (Status.ALIVE, 20, 21)


def test_an_older_or_equal_join_intent_is_dropped() -> None:
    """serf 35.37: older is dropped."""
    bench = Bench()
    bench.bring("b", Status.LEAVING)
    assert bench.m.on_join_intent("b", 4, 1.0) == IGNORE
    assert (bench.status("b"), bench.ltime("b")) == (Status.LEAVING, 5)
    bench.m.on_join_intent("b", 6, 1.0)
    assert bench.m.on_join_intent("b", 6, 1.0) == IGNORE


def test_a_join_intent_about_an_unknown_name_is_passed_on_once() -> None:
    """serf 35.37: unknown name is buffered, second copy not rebroadcast."""
    bench = Bench()
    assert bench.m.on_join_intent("x", 20, 1.0) == PASS_ON
    assert bench.m.on_join_intent("x", 20, 1.0) == IGNORE
    assert bench.m.intents.find("x", IntentKind.JOIN) == 20
    assert bench.clock.time == 21


@pytest.mark.parametrize("status", [Status.FAILED, Status.LEFT])
def test_a_join_intent_revives_nobody_who_is_gone(status: Status) -> None:
    bench = Bench()
    bench.bring("b", status)
    assert bench.m.on_join_intent("b", 20, 1.0) == PASS_ON
    assert (bench.status("b"), bench.ltime("b")) == (status, 20)


def test_a_newer_leave_intent_turns_alive_into_leaving() -> None:
    """serf 35.38: newer turns alive into leaving and advances the clock; older is dropped."""
    bench = Bench()
    bench.bring("b", Status.ALIVE)
    assert bench.m.on_leave_intent("b", 30, 1.0) == PASS_ON
    assert (bench.status("b"), bench.ltime("b"), bench.clock.time) == (Status.LEAVING, 30, 31)
    assert bench.m.on_leave_intent("b", 30, 1.0) == IGNORE
    assert bench.m.on_leave_intent("b", 29, 1.0) == IGNORE
    assert bench.ltime("b") == 30


def test_a_leave_intent_about_an_unknown_name_is_buffered_once() -> None:
    """serf 35.38: unknown is buffered once."""
    bench = Bench()
    assert bench.m.on_leave_intent("x", 30, 1.0) == PASS_ON
    assert bench.m.on_leave_intent("x", 30, 1.0) == IGNORE
    assert bench.m.intents.find("x", IntentKind.LEAVE) == 30


def test_a_leave_intent_makes_a_failed_member_left_since_it_failed() -> None:
    bench = Bench()
    bench.bring("b", Status.FAILED, now=3.0)
    verdict = bench.m.on_leave_intent("b", 30, 10.0)
    assert isinstance(verdict.event, MemberLeft)
    assert verdict.event.forced
    assert verdict.rebroadcast
    assert bench.status("b") is Status.LEFT
    assert bench.m.table.members["b"].leave_time == 3.0
    assert (bench.m.table.failed, bench.m.table.left) == ((), ("b",))


@pytest.mark.parametrize("status", [Status.LEAVING, Status.LEFT])
def test_a_second_different_leave_intent_is_passed_on_once_and_changes_no_status(
    status: Status,
) -> None:
    """serf 35.4: the status time moves even if the status stays, so the leave dies out."""
    bench = Bench()
    bench.bring("b", status)
    assert bench.m.on_leave_intent("b", 6, 1.0) == PASS_ON
    assert bench.m.on_leave_intent("b", 6, 1.0) == IGNORE
    assert (bench.status("b"), bench.ltime("b")) == (status, 6)


def test_a_leave_intent_about_the_node_itself_is_contradicted_while_it_is_alive() -> None:
    bench = Bench()
    assert bench.m.on_leave_intent("me", 9, 1.0, is_alive=True) == Verdict(refute=True)
    assert (bench.status("me"), bench.ltime("me"), bench.clock.time) == (Status.ALIVE, 0, 10)
    assert bench.m.on_leave_intent("me", 9, 1.0, is_alive=False) == PASS_ON
    assert bench.status("me") is Status.LEAVING


def test_a_leave_as_old_as_the_nodes_own_join_is_contradicted_and_an_older_one_is_not() -> None:
    bench = Bench()
    bench.m.on_join_intent("me", 5, 0.0)
    assert bench.m.on_leave_intent("me", 5, 1.0, is_alive=True) == Verdict(refute=True)
    assert bench.m.on_leave_intent("me", 4, 1.0, is_alive=True) == IGNORE


@pytest.mark.parametrize("status", [Status.ALIVE, Status.FAILED, Status.LEAVING, Status.LEFT])
def test_a_leave_intent_with_prune_asks_for_it_in_every_status(status: Status) -> None:
    bench = Bench()
    bench.bring("b", status)
    assert bench.m.on_leave_intent("b", 30, 1.0, prune=True).prune


def test_the_own_record_is_never_pruned() -> None:
    bench = Bench()
    assert not bench.m.on_leave_intent("me", 9, 1.0, prune=True).prune


@pytest.mark.parametrize("status", [Status.FAILED, Status.LEAVING, Status.LEFT])
def test_pruning_erases_a_member_that_is_gone_or_going(status: Status) -> None:
    """serf 35.11: prune removes a failed, a leaving and a left node."""
    bench = Bench()
    bench.bring("b", status)
    event = bench.m.prune("b")
    assert isinstance(event, MemberReaped)
    assert event.member.status is status
    assert "b" not in bench.m.table.members


def test_pruning_spares_who_has_turned_out_to_be_alive() -> None:
    bench = Bench()
    bench.bring("b", Status.ALIVE)
    assert bench.m.prune("b") is None
    assert bench.m.prune("unknown") is None
    assert bench.status("b") is Status.ALIVE


def test_a_member_pruned_while_it_was_there_comes_back_with_its_contradiction() -> None:
    bench = Bench()
    bench.bring("b", Status.LEAVING)
    bench.m.prune("b")
    assert bench.m.on_node_updated(node(meta=b"\xff\x81\xa1a\xa1c")) is None
    assert bench.m.on_join_intent("b", 4, 1.0) == PASS_ON, "older than the leave: buffered"
    assert "b" not in bench.m.table.members
    verdict = bench.m.on_join_intent("b", 6, 1.0)
    assert verdict.rebroadcast
    assert isinstance(verdict.event, MemberJoined)
    assert verdict.event.member.tags == {"a": "c"}
    assert (bench.status("b"), bench.ltime("b")) == (Status.ALIVE, 6)
    assert not bench.m.ghosts


def test_a_contradiction_as_old_as_the_leave_brings_a_pruned_member_back() -> None:
    """A member contradicts the leave it heard; a later one may carry the time of its answer."""
    bench = Bench()
    bench.bring("b", Status.LEAVING)
    bench.m.prune("b")
    assert bench.m.on_join_intent("b", 5, 1.0, is_implied=True).event is None
    assert "b" not in bench.m.table.members, "a push/pull lists those who leave, too"
    verdict = bench.m.on_join_intent("b", 5, 1.0)
    assert verdict.rebroadcast
    assert isinstance(verdict.event, MemberJoined)
    assert (bench.status("b"), bench.ltime("b")) == (Status.ALIVE, 5)
    assert not bench.m.ghosts


@pytest.mark.parametrize("fate", ["gone", "back"])
def test_a_pruned_member_that_the_gossip_layer_speaks_of_again_is_no_ghost(fate: str) -> None:
    bench = Bench()
    bench.bring("b", Status.LEAVING)
    bench.m.prune("b")
    if fate == "gone":
        assert bench.m.on_node_left(node(), 1.0) is None
    else:
        bench.m.on_node_joined(node(), 1.0)
    assert not bench.m.ghosts
    assert ("b" in bench.m.table.members) is (fate == "back")


def test_a_join_of_the_same_time_as_a_leave_ends_leaving_but_not_if_it_is_only_implied() -> None:
    bench = Bench()
    bench.bring("b", Status.LEAVING)
    assert bench.m.on_join_intent("b", 5, 1.0, is_implied=True) == IGNORE
    assert bench.status("b") is Status.LEAVING
    assert bench.m.on_join_intent("b", 5, 1.0) == PASS_ON
    assert bench.m.on_join_intent("b", 5, 1.0) == IGNORE
    assert (bench.status("b"), bench.ltime("b")) == (Status.ALIVE, 5)


@pytest.mark.parametrize("is_pruned", [False, True])
def test_who_leaves_by_a_leave_of_a_time_is_found_by_it(is_pruned: bool) -> None:
    bench = Bench()
    bench.bring("b", Status.LEAVING)
    if is_pruned:
        bench.m.prune("b")
    found = bench.m.find_tied("b", 5)
    assert found is not None
    assert (found.name, found.status_ltime) == ("b", 5)
    assert bench.m.find_tied("b", 4) is bench.m.find_tied("b", 6) is None
    assert bench.m.find_tied("unknown", 5) is None
    bench.bring("c", Status.ALIVE)
    assert bench.m.find_tied("c", bench.ltime("c")) is None


def test_upstream_lets_ties_stand_and_prunes_whoever_is_there_for_good() -> None:
    bench = Bench(compat="upstream")
    bench.bring("b", Status.LEAVING)
    assert bench.m.on_join_intent("b", 5, 1.0) == IGNORE
    bench.m.on_join_intent("me", 6, 1.0)
    assert bench.m.on_leave_intent("me", 6, 1.0, is_alive=True) == IGNORE
    assert bench.m.on_leave_intent("me", 7, 1.0, is_alive=True) == Verdict(refute=True)
    assert isinstance(bench.m.prune("b"), MemberReaped)
    assert bench.m.on_join_intent("b", 9, 1.0) == PASS_ON
    assert "b" not in bench.m.table.members, "it is only buffered"
    bench.bring("c", Status.ALIVE)
    assert isinstance(bench.m.prune("c"), MemberReaped)


def test_only_members_older_than_the_limit_are_reaped() -> None:
    """serf 35.16: reaps only members older than the limit."""
    bench = Bench(reconnect_timeout=10.0, tombstone_timeout=20.0)
    bench.bring("f-old", Status.FAILED, now=0.0)
    bench.bring("f-new", Status.FAILED, now=1.0)
    bench.bring("l-old", Status.LEFT, now=0.0)
    bench.bring("alive", Status.ALIVE, now=0.0)
    assert bench.m.reap(10.0, None) == [], "exactly as old as the limit is kept"
    assert [e.member.name for e in bench.m.reap(10.5, None)] == ["f-old"]
    assert [e.member.name for e in bench.m.reap(20.5, None)] == ["f-new", "l-old"]
    assert list(bench.m.table.members) == ["me", "alive"]


def test_reaping_removes_old_buffered_intents_of_both_kinds() -> None:
    """serf 35.16: reaps buffered intents older than RecentIntentTimeout, both types."""
    bench = Bench(recent_intent_timeout=10.0)
    bench.m.on_join_intent("x", 3, 0.0)
    bench.m.on_leave_intent("y", 3, 0.0)
    bench.m.on_leave_intent("z", 3, 5.0)
    bench.m.reap(10.5, None)
    assert len(bench.m.intents) == 1


def test_the_application_may_set_the_limit_for_each_member() -> None:
    """serf 35.36: the per-member timeout hook can force an early reap, in both lists."""
    bench = Bench(reconnect_timeout=10.0, tombstone_timeout=20.0)
    bench.bring("f", Status.FAILED)
    bench.bring("l", Status.LEFT)
    bench.bring("kept", Status.LEFT)
    limits: list[tuple[str, float]] = []

    def timeout(member: object, limit: float) -> float:
        name = getattr(member, "name", "")
        limits.append((name, limit))
        return limit if name == "kept" else 0.5

    assert [e.member.name for e in bench.m.reap(1.0, timeout)] == ["f", "l"]
    assert limits == [("f", 10.0), ("l", 20.0), ("kept", 20.0)]


def test_the_own_record_is_reaped_only_after_its_own_leave_and_remembered() -> None:
    bench = Bench(tombstone_timeout=1.0)
    assert bench.m.reap(100.0, None) == []
    bench.m.on_leave_intent("me", 9, 0.0)
    bench.m.on_node_left(node("me"), 0.0)
    (event,) = bench.m.reap(100.0, None)
    assert isinstance(event, MemberReaped)
    assert bench.m.departed == event.member
    assert event.member.status is Status.LEFT


def test_a_full_table_gives_up_the_longest_gone_for_a_newcomer() -> None:
    bench = Bench(nodes_max=3)
    bench.bring("gone", Status.FAILED)
    bench.bring("b", Status.ALIVE)
    reaped, joined = bench.m.on_node_joined(node("c"), 1.0)
    assert isinstance(reaped, MemberReaped)
    assert reaped.member.name == "gone"
    assert isinstance(joined, MemberJoined)
    # Nobody is left to give up: the gossip layer is the one that bounds the living.
    assert [type(e) for e in bench.m.on_node_joined(node("d"), 1.0)] == [MemberJoined]
