"""The Serf part of a push/pull, out and in."""

from __future__ import annotations

import pytest

from swimnomad.errors import MalformedMessage
from swimnomad.serf.events import Member, Status
from swimnomad.serf.lamport import LTIME_MAX, Clocks
from swimnomad.serf.members import MemberTable
from swimnomad.serf.pushpull import (
    StateWriter,
    buffered_events,
    implied_intents,
    read_state_untrusted,
    witness_clocks,
)
from swimnomad.serf.user_events import UserEventBuffer
from swimnomad.wire.serf_messages import (
    BufferedEvent,
    EventSlot,
    JoinIntent,
    LeaveIntent,
    MemberState,
    UserEvent,
    encode_serf,
)


def member(name: str, status: Status, ltime: int) -> Member:
    return Member(name, b"\x0a\0\0\1", 7946, {}, status, bytes(6), ltime)


class Bench:
    def __init__(self, slots: int = 512) -> None:
        self.clocks = Clocks()
        self.table = MemberTable()
        self.ghosts: dict[str, Member] = {}
        self.events = UserEventBuffer(slots, 10_000)
        self.writer = StateWriter(self.clocks, self.table, self.ghosts, self.events)


def test_the_state_carries_clocks_status_times_left_members_and_the_whole_buffer() -> None:
    """serf 35.43: clocks, all status ltimes, left members and the full event buffer."""
    bench = Bench()
    bench.clocks.member.witness(10)
    bench.clocks.query.witness(30)
    bench.table.store(member("a", Status.ALIVE, 4))
    bench.table.store(member("gone", Status.LEFT, 7))
    bench.table.store(member("lost", Status.FAILED, 2))
    bench.clocks.event.witness(20)
    bench.events.receive(20, "deploy", b"x", 21)
    state = read_state_untrusted(bench.writer.write())
    assert (state.ltime, state.event_ltime, state.query_ltime) == (11, 21, 31)
    assert dict(state.status_ltimes) == {"a": 4, "gone": 7, "lost": 2}
    assert state.left_members == ("gone",)
    assert len(state.events) == 512
    assert state.events[20] == EventSlot(20, (BufferedEvent("deploy", b"x"),))
    assert sum(slot is not None for slot in state.events) == 1


def test_the_state_of_an_idle_node_has_512_empty_slots() -> None:
    assert b"\xdc\x02\x00" + b"\xc0" * 512 in Bench().writer.write()


def test_the_state_shows_who_was_pruned_although_it_is_there() -> None:
    bench = Bench()
    bench.table.store(member("a", Status.ALIVE, 4))
    bench.ghosts["b"] = member("b", Status.LEAVING, 8)
    state = read_state_untrusted(bench.writer.write())
    assert dict(state.status_ltimes) == {"a": 4, "b": 8}
    assert state.left_members == ()


def test_an_unchanged_state_is_not_encoded_again() -> None:
    bench = Bench()
    written = bench.writer.write()
    assert bench.writer.write() is written
    changes = (
        lambda: bench.clocks.member.witness(10),
        lambda: bench.clocks.event.witness(10),
        lambda: bench.clocks.query.witness(10),
        lambda: bench.table.store(member("a", Status.ALIVE, 4)),
        lambda: bench.events.receive(9, "deploy", b"", 11),
        lambda: bench.table.erase("a"),
        lambda: bench.ghosts.update(a=member("a", Status.LEAVING, 5)),
        lambda: bench.ghosts.clear(),
    )
    for change in changes:
        change()
        assert bench.writer.write() != written
        written = bench.writer.write()


@pytest.mark.parametrize(
    "data",
    [b"", b"\x02", b"\x02\xc1", b"\x63\x80", encode_serf(JoinIntent(1, "a"))],
    ids=["empty", "no body", "no MessagePack", "unknown type", "another message"],
)
def test_anything_but_a_state_is_malformed(data: bytes) -> None:
    with pytest.raises(MalformedMessage):
        read_state_untrusted(data)


def test_clocks_move_to_the_senders_and_never_back() -> None:
    clocks = Clocks()
    witness_clocks(MemberState(42, event_ltime=50, query_ltime=100), clocks)
    assert (clocks.member.time, clocks.event.time, clocks.query.time) == (42, 50, 100)
    witness_clocks(MemberState(0, event_ltime=1, query_ltime=99), clocks)
    assert (clocks.member.time, clocks.event.time, clocks.query.time) == (42, 50, 100)


def test_those_who_left_come_before_the_others() -> None:
    state = MemberState(1, {"a": 3, "gone": 5, "b": 4}, left_members=("gone", "unlisted", "gone"))
    assert list(implied_intents(state)) == [
        LeaveIntent(6, "gone"),
        LeaveIntent(1, "unlisted"),
        JoinIntent(3, "a"),
        JoinIntent(4, "b"),
    ]


def test_a_leave_at_the_end_of_time_still_fits_the_wire() -> None:
    state = MemberState(1, {"gone": LTIME_MAX}, left_members=("gone",))
    assert list(implied_intents(state)) == [LeaveIntent(LTIME_MAX, "gone")]


def test_buffered_events_come_in_the_order_of_the_ring_and_cannot_be_coalesced() -> None:
    events = (None, EventSlot(9, (BufferedEvent("a", b"1"), BufferedEvent("b"))), None)
    assert list(buffered_events(MemberState(1, events=events))) == [
        UserEvent(9, "a", b"1", coalesce=False),
        UserEvent(9, "b", None, coalesce=False),
    ]
