from __future__ import annotations

from typing import Any

import pytest

from swimnomad.errors import UsageError
from swimnomad.raft.effects import (
    Answer,
    DiscardSnapshot,
    PersistCompaction,
    PersistSnapshot,
    PersistTruncation,
    ReceiveSnapshot,
    Restore,
    TakeSnapshot,
)
from swimnomad.raft.events import OperationFailed, PeerFailed, RequestRefused
from swimnomad.raft.inputs import (
    Propose,
    SnapshotFailed,
    SnapshotNotReceived,
    SnapshotReceived,
    SnapshotTaken,
    Ticket,
)
from swimnomad.raft.messages import (
    AppendEntries,
    AppendEntriesReply,
    InstallSnapshot,
    InstallSnapshotReply,
    Refusal,
)
from swimnomad.raft.snapshot import Snapshot
from swimnomad.raft.timers import HeartbeatTick, SnapshotTick
from tests.raft.raft_support import Rig, configuration_entry, entry, leading, log_of, servers


def snapshot(last: int = 5, term: int = 2, names: str = "abc", size: int = 9) -> Snapshot:
    return Snapshot(last, term, servers(names), 1, size)


def follower_at(index: int, **settings: Any) -> Rig:  # noqa: ANN401 - settings by name
    """A follower with entries of term 1 up to 10, committed up to `index`."""
    rig = Rig("abc", *[1] * 9, **settings)
    rig.append("b", 1, (10, 1), commit=index)
    return rig


# --- taking ---------------------------------------------------------------------------------------


def test_a_snapshot_is_asked_for_when_the_log_has_grown() -> None:
    rig = follower_at(7, snapshot_threshold=7, trailing_entries=2)
    rig.fire(SnapshotTick)
    (taking,) = rig.of(TakeSnapshot)
    assert taking.snapshot == Snapshot(7, 1, servers("abc"), 1)
    rig.fire(SnapshotTick)
    assert not rig.of(TakeSnapshot)  # One at a time.
    rig.feed(SnapshotTaken(snapshot(7, 1)))
    assert rig.of(PersistCompaction) == [PersistCompaction(7)]
    assert (rig.node.log.first_index, rig.node.log.last_index) == (8, 10)
    stats = rig.node.stats(rig.now)
    assert (stats.last_snapshot_index, stats.last_snapshot_term) == (7, 1)
    rig.fire(SnapshotTick)
    assert not rig.of(TakeSnapshot)


def test_some_entries_stay_behind_a_snapshot() -> None:
    rig = follower_at(9, snapshot_threshold=5, trailing_entries=6)
    rig.fire(SnapshotTick)
    rig.feed(SnapshotTaken(snapshot(9, 1)))
    assert rig.of(PersistCompaction) == [PersistCompaction(4)]
    rig = follower_at(9, snapshot_threshold=5, trailing_entries=60)
    rig.fire(SnapshotTick)
    rig.feed(SnapshotTaken(snapshot(9, 1)))
    assert rig.effects == []


def test_a_snapshot_that_failed_is_asked_for_again() -> None:
    rig = follower_at(9, snapshot_threshold=5)
    rig.fire(SnapshotTick)
    rig.feed(SnapshotFailed("no space left"))
    rig.fire(SnapshotTick)
    assert rig.of(TakeSnapshot)


def test_a_snapshot_nobody_asked_for_is_the_drivers_mistake() -> None:
    rig = follower_at(3)
    with pytest.raises(UsageError, match="never asked for"):
        rig.feed(SnapshotTaken(snapshot(4, 1)))
    rig.feed(SnapshotTaken(snapshot(3, 1)))
    rig.feed(SnapshotTaken(snapshot(2, 1)))
    assert rig.node.stats(rig.now).last_snapshot_index == 3


def test_the_configuration_in_a_snapshot_is_the_one_committed_there() -> None:
    rig = follower_at(10, snapshot_threshold=5)
    rig.append("b", 1, (10, 1), configuration_entry(11, 1, "abcd"))
    rig.fire(SnapshotTick)
    assert rig.of(TakeSnapshot)[0].snapshot == Snapshot(10, 1, servers("abc"), 1)


# --- sending --------------------------------------------------------------------------------------


def compacted_leader() -> Rig:
    """A leader whose log begins behind its snapshot at 7, and a follower c without anything."""
    rig = Rig("abc", entries=[entry(8, 1), entry(9, 1)], snapshot=snapshot(7, 1), term=1)
    rig.become_leader()
    rig.settle("b")
    rig.answer(rig.first["c"][0], AppendEntriesReply(2, 0, False, True))
    return rig


def test_a_follower_too_far_behind_is_sent_the_snapshot() -> None:
    rig = compacted_leader()
    number, request = rig.sent(InstallSnapshot)["c"]
    assert request == InstallSnapshot(2, "a", snapshot(7, 1))
    rig.feed(Propose(1, b"", rig.now + 1.0))
    assert "c" not in rig.appends()
    rig.answer(number, InstallSnapshotReply(2, True))
    assert rig.appends()["c"][1].previous_index == 7


def test_a_snapshot_that_is_not_taken_is_tried_again() -> None:
    rig = compacted_leader()
    number, _ = rig.sent(InstallSnapshot)["c"]
    rig.answer(number, InstallSnapshotReply(2, False))
    assert rig.events(PeerFailed) == [PeerFailed("c", "it did not take the snapshot")]
    rig.fire(HeartbeatTick)
    rig.answer(rig.heartbeats()["c"][0], AppendEntriesReply(2, 0, True))
    number, _ = rig.sent(InstallSnapshot)["c"]
    rig.fail(number)
    rig.answer(rig.first["c"][0], AppendEntriesReply(2, 0, True))


def test_a_late_yes_does_not_disturb_a_snapshot_on_its_way() -> None:
    rig = Rig("abc", *[1] * 9, snapshot_threshold=5, trailing_entries=2)
    rig.become_leader()
    rig.settle("b")
    late = rig.first["c"][0]
    for _ in range(20):
        rig.fire(HeartbeatTick)
        for voter, (number, _) in rig.heartbeats().items():
            rig.answer(number, AppendEntriesReply(2, 0, True))
            if voter == "c" and rig.appends():
                break
        else:
            continue
        break
    number, _ = rig.appends()["c"]
    rig.fire(SnapshotTick)
    rig.feed(SnapshotTaken(rig.of(TakeSnapshot)[0].snapshot))
    rig.answer(number, AppendEntriesReply(2, 0, False, True))
    install, _ = rig.sent(InstallSnapshot)["c"]
    rig.answer(late, AppendEntriesReply(2, 11, True))
    assert not rig.appends()
    rig.answer(install, InstallSnapshotReply(2, True))


# --- receiving ------------------------------------------------------------------------------------


def test_a_snapshot_is_taken_over_when_its_contents_have_come() -> None:
    rig = Rig("")
    assert rig.ask(InstallSnapshot(3, "b", snapshot())) is None
    assert rig.of(ReceiveSnapshot) == [ReceiveSnapshot(Ticket(1), snapshot())]
    assert rig.node.leader == "b"
    rig.feed(SnapshotReceived(Ticket(1)))
    kinds = [type(effect).__name__ for effect in rig.effects]
    assert kinds == ["PersistSnapshot", "PersistCompaction", "Restore", "Emit", "Answer"]
    assert rig.of(Answer)[0].reply == InstallSnapshotReply(3, True)
    assert rig.node.commit_index == 5
    assert rig.node.configuration == servers("abc")
    assert rig.append("b", 3, (5, 2), entry(6, 3)) == AppendEntriesReply(3, 6, True)


def test_a_log_that_contradicts_a_snapshot_is_thrown_away() -> None:
    rig = follower_at(2)
    rig.ask(InstallSnapshot(3, "b", snapshot(5, 2)))
    rig.feed(SnapshotReceived(Ticket(2)))
    assert rig.of(PersistTruncation) == [PersistTruncation(3)]
    assert rig.of(PersistCompaction) == [PersistCompaction(5)]
    assert (rig.node.log.first_index, rig.node.log.last_index) == (6, 5)


def test_a_log_that_leads_up_to_a_snapshot_keeps_what_is_behind() -> None:
    rig = follower_at(2, trailing_entries=7)
    rig.ask(InstallSnapshot(3, "b", snapshot(5, 1, "ab")))
    rig.feed(SnapshotReceived(Ticket(2)))
    assert rig.of(PersistSnapshot) == [PersistSnapshot(Ticket(2), snapshot(5, 1, "ab"))]
    assert rig.of(Restore)
    assert not rig.of(PersistTruncation)
    assert (rig.node.log.first_index, rig.node.log.last_index) == (4, 10)
    assert rig.node.configuration == servers("ab")


def test_what_is_committed_already_is_not_received() -> None:
    rig = follower_at(7)
    assert rig.ask(InstallSnapshot(1, "b", snapshot(5, 1))) == InstallSnapshotReply(1, True)


def test_a_request_that_no_longer_stands_is_discarded() -> None:
    rig = follower_at(2)
    rig.ask(InstallSnapshot(1, "b", snapshot(5, 1)))
    rig.append("b", 1, (10, 1), commit=8)
    rig.feed(SnapshotReceived(Ticket(2)))
    assert [type(e) for e in rig.effects] == [DiscardSnapshot, Answer]
    assert rig.of(Answer)[0].reply == InstallSnapshotReply(1, True)

    rig = follower_at(2)
    rig.ask(InstallSnapshot(1, "b", snapshot(5, 1)))
    rig.ask(AppendEntries(4, "c"))
    rig.feed(SnapshotReceived(Ticket(2)))
    assert rig.of(Answer)[0].reply == InstallSnapshotReply(4, False)
    rig.feed(SnapshotReceived(Ticket(2)))
    assert rig.effects == []


def test_a_newer_snapshot_takes_the_place_of_the_one_on_its_way() -> None:
    rig = Rig("")
    rig.ask(InstallSnapshot(3, "b", snapshot()))
    rig.ask(InstallSnapshot(3, "b", snapshot(6)))
    kinds = [type(effect) for effect in rig.effects]
    assert kinds == [DiscardSnapshot, Answer, ReceiveSnapshot]
    rig.feed(SnapshotReceived(Ticket(1)))
    assert rig.effects == []
    rig.feed(SnapshotNotReceived(Ticket(1), "late"))
    assert rig.effects == []
    rig.feed(SnapshotNotReceived(Ticket(2), "connection reset"))
    assert rig.events(RequestRefused)[0].reason == "connection reset"
    assert rig.of(Answer)[0].reply == InstallSnapshotReply(3, False)


def test_a_write_that_a_snapshot_passes_over_may_have_happened() -> None:
    rig = leading()
    rig.feed(Propose(1, b"", rig.now + 9.0))
    rig.ask(InstallSnapshot(3, "b", snapshot(5, 3)))
    rig.feed(SnapshotReceived(Ticket(1)))
    assert rig.events(OperationFailed) == [
        OperationFailed(1, "leadership lost while committing log", True)
    ]


@pytest.mark.parametrize(
    ("request_", "reason"),
    [
        (InstallSnapshot(0, "b", snapshot()), "term 0"),
        (InstallSnapshot(3, "b", snapshot(0)), "last index 0"),
        (InstallSnapshot(3, "b", snapshot(5, 4)), "last term 4"),
        (InstallSnapshot(3, "b", Snapshot(5, 2, servers("abc"), 6)), "a configuration at 6"),
        (InstallSnapshot(3, "b", snapshot(size=2**40)), f"{2**40} bytes"),
        (InstallSnapshot(3, "b", snapshot(names="")), "its configuration is impossible"),
        (InstallSnapshot(3, "b", snapshot(2, 2)), "entry 2 is committed here in term 1"),
        (InstallSnapshot(3, "x", snapshot()), "x is not a server of this region"),
        (InstallSnapshot(1, "c", snapshot(5, 1)), "b leads term 1"),
    ],
)
def test_impossible_snapshots_are_refused(request_: InstallSnapshot, reason: str) -> None:
    rig = follower_at(3)
    reply = rig.ask(request_)
    assert isinstance(reply, Refusal)
    assert reason in reply.text
    assert rig.node.term == 1
    assert rig.node.leader == "b"


def test_an_older_leaders_snapshot_is_refused_with_the_term() -> None:
    rig = Rig(term=8)
    assert rig.ask(InstallSnapshot(3, "b", snapshot())) == InstallSnapshotReply(8, False)
    assert rig.events(RequestRefused)


# --- starting -------------------------------------------------------------------------------------


def test_a_node_starts_from_its_snapshot() -> None:
    rig = Rig(entries=[entry(6, 2), configuration_entry(7, 2, "ab")], snapshot=snapshot())
    assert rig.node.commit_index == 5
    assert rig.node.configuration == servers("ab")
    assert rig.node.log.first_index == 6
    rig = Rig(snapshot=snapshot(), entries=[])
    assert rig.node.log.last_index == 5
    assert rig.node.stats(rig.now).last_log_term == 2


def test_a_crash_while_a_snapshot_was_taken_over_is_cleared_up() -> None:
    behind = Rig(entries=log_of("abc", 1, 1), snapshot=snapshot(), term=2)
    assert behind.of(PersistCompaction) == [PersistCompaction(5)]
    assert (behind.node.log.first_index, behind.node.log.last_index) == (6, 5)
    other = Rig(entries=log_of("abc", *[1] * 9), snapshot=snapshot(), term=2)
    assert other.of(PersistTruncation) == [PersistTruncation(6)]
    assert (other.node.log.first_index, other.node.log.last_index) == (6, 5)


@pytest.mark.parametrize(
    ("entries", "held", "term", "reason"),
    [
        ([entry(7, 2)], snapshot(), 2, "entries between are missing"),
        ([entry(3, 2)], None, 2, "the snapshot ends at 0"),
        (log_of("abc", 1, 4), None, 3, "the log or snapshot has a later one"),
        ([], snapshot(5, 9), 3, "the log or snapshot has a later one"),
    ],
)
def test_a_node_does_not_start_on_half_a_log(
    entries: list[object], held: Snapshot | None, term: int, reason: str
) -> None:
    with pytest.raises(UsageError, match=reason):
        Rig(entries=entries, snapshot=held, term=term)  # type: ignore[arg-type]
