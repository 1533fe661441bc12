from __future__ import annotations

from typing import Any

import pytest

from swimnomad.raft.effects import Apply, PersistEntries, Send, SetTimer
from swimnomad.raft.events import PeerFailed, PeerForgot, PeerRecovered, ReplyRefused
from swimnomad.raft.inputs import Failure, Propose
from swimnomad.raft.log import MemoryLog
from swimnomad.raft.messages import AppendEntries, AppendEntriesReply, Refusal
from swimnomad.raft.timers import CommitTick, HeartbeatTick, RetryReplication
from tests.raft.raft_support import Rig, leading


def propose(rig: Rig, count: int = 1, data: bytes = b"x") -> None:
    """Writes that arrive together."""
    rig.feed(*(Propose(1000 + n, data, rig.now + 1e3) for n in range(count)))


def no(rig: Rig, number: int, last_index: int, *, at_once: bool = True) -> None:
    rig.answer(number, AppendEntriesReply(rig.node.term, last_index, False, at_once))


def test_a_write_goes_to_everybody_while_it_is_written_here() -> None:
    rig = leading()
    propose(rig)
    kinds = [type(effect) for effect in rig.effects if not isinstance(effect, SetTimer)]
    assert kinds[:3] == [Send, Send, PersistEntries]
    (request,) = {request for _, request in rig.appends().values()}
    assert (request.previous_index, request.previous_term, request.commit_index) == (2, 2, 2)
    assert [entry.index for entry in request.entries or ()] == [3]


def test_a_majority_commits_behind_the_writing() -> None:
    rig = leading()
    propose(rig)
    rig.yes(*rig.appends()["b"])
    assert rig.applied() == [3]


def test_entries_of_older_terms_are_committed_with_the_first_of_the_own() -> None:
    rig = Rig("abc", 1, 1)
    rig.become_leader()
    no(rig, rig.first["b"][0], 1)
    rig.answer(rig.appends()["b"][0], AppendEntriesReply(2, 3, True))
    # Entries 2 to 4 went in one message: all are there.
    assert rig.applied() == [1, 2, 3, 4]


def test_old_entries_alone_are_not_committed_by_counting() -> None:
    rig = Rig("abc", 1, 1, append_entries_max=1)
    rig.become_leader()
    no(rig, rig.first["b"][0], 2)
    rig.yes(*rig.appends()["b"])
    assert rig.applied() == []
    assert rig.node.commit_index == 0


def test_many_writes_share_messages_and_one_writing() -> None:
    rig = leading()
    propose(rig, 150)
    assert [len(e.entries) for e in rig.of(PersistEntries)] == [150]
    sizes = [
        len(e.request.entries or ())
        for e in rig.of(Send)
        if e.to == "b" and isinstance(e.request, AppendEntries)
    ]
    assert sizes == [64, 64, 22]


def test_messages_keep_to_a_size_but_take_one_entry_always() -> None:
    rig = leading(append_bytes_max=500)
    propose(rig, 4, bytes(150))
    assert len(rig.appends()["b"][1].entries or ()) == 2
    propose(rig, 1, bytes(5000))
    assert len(rig.appends()["b"][1].entries or ()) == 1


def test_no_more_than_a_window_is_in_flight() -> None:
    rig = leading(append_entries_max=2, appends_in_flight_max=3)
    propose(rig, 20)
    numbers = [(e.number, e.request) for e in rig.of(Send) if e.to == "b"]
    assert len(numbers) == 3
    rig.yes(*numbers[0])  # type: ignore[arg-type]
    assert len([e for e in rig.of(Send) if e.to == "b"]) == 1
    rig.yes(*numbers[2])  # type: ignore[arg-type]
    assert len([e for e in rig.of(Send) if e.to == "b"]) == 1


def test_who_says_no_is_asked_where_it_says_but_in_any_case_before() -> None:
    rig = Rig("abc", *[1] * 20, append_entries_max=4)
    rig.become_leader()
    no(rig, rig.first["b"][0], 12)
    number, request = rig.appends()["b"]
    assert request.previous_index == 12
    no(rig, number, 400)
    number, request = rig.appends()["b"]
    assert request.previous_index == 11
    no(rig, number, -5)
    number, request = rig.appends()["b"]
    assert (request.previous_index, request.previous_term) == (0, 0)
    no(rig, number, 0)
    assert [event.sender for event in rig.events(ReplyRefused)] == ["b"]
    assert RetryReplication("b") in rig.timers


def test_a_no_without_reason_is_waited_for() -> None:
    rig = Rig("abc", 1, 1)
    rig.become_leader()
    no(rig, rig.first["b"][0], 1, at_once=False)
    assert not rig.appends()
    rig.fire(RetryReplication)
    assert rig.appends()["b"][1].previous_index == 1


def test_a_gap_in_the_stream_goes_back_to_probing() -> None:
    rig = leading(append_entries_max=1)
    propose(rig, 3)
    sends = [(e.number, e.request) for e in rig.of(Send) if e.to == "b"]
    no(rig, sends[1][0], 2)
    (number, request) = rig.appends()["b"]
    assert request.previous_index == 2
    # The others are not waited for, but a yes is welcome.
    no(rig, sends[2][0], 2)
    assert not rig.appends()
    rig.yes(*sends[0])  # type: ignore[arg-type]
    assert rig.node.commit_index == 3
    no(rig, number, 1)
    assert not rig.events(PeerForgot)


def test_an_overtaken_no_is_no_news() -> None:
    rig = leading(append_entries_max=1)
    propose(rig, 2)
    sends = [(e.number, e.request) for e in rig.of(Send) if e.to == "b"]
    rig.yes(*sends[1])  # type: ignore[arg-type]
    no(rig, sends[0][0], 1)
    assert not rig.appends()


def test_failures_are_tried_again_after_growing_pauses() -> None:
    rig = leading()
    propose(rig)
    number, _ = rig.appends()["b"]
    rig.fail(number, Failure.UNREACHABLE, "connection refused")
    assert rig.events(PeerFailed) == [PeerFailed("b", "connection refused")]
    waits = []
    for _ in range(9):
        waits.append(round(rig.timers[RetryReplication("b")] - rig.now, 3))
        rig.fire(RetryReplication)
        rig.fail(rig.appends()["b"][0], Failure.LOST)
        assert not rig.events(PeerFailed)
    assert waits == [0.01, 0.02, 0.04, 0.08, 0.16, 0.32, 0.64, 1.0, 1.0]
    rig.fire(RetryReplication)
    rig.yes(*rig.appends()["b"])
    assert rig.events(PeerRecovered) == [PeerRecovered("b")]


def test_an_answered_heartbeat_ends_the_pause() -> None:
    rig = leading()
    propose(rig)
    rig.fail(rig.appends()["b"][0])
    rig.fire(HeartbeatTick)
    rig.answer(rig.heartbeats()["b"][0], AppendEntriesReply(2, 2, True))
    assert "b" in rig.appends()
    assert RetryReplication("b") not in rig.timers


def test_a_message_without_answer_holds_nothing_up_for_long() -> None:
    rig = leading()
    propose(rig)
    lost, _ = rig.appends()["b"]
    for _ in range(20):
        rig.fire(HeartbeatTick)
        beats = rig.heartbeats()
        again: dict[str, Any] = {}
        for voter in "bc":
            rig.answer(beats[voter][0], AppendEntriesReply(2, 2, True))
            again.update(rig.appends())
        if "b" in again:
            break
    assert again["b"][1].previous_index == 2
    # The old one was answered after all.
    rig.answer(lost, AppendEntriesReply(2, 3, True))
    assert rig.node.commit_index == 3
    rig.fail(again["b"][0])
    assert not rig.events(PeerFailed)


def test_a_refusal_is_a_failure() -> None:
    rig = leading()
    propose(rig)
    rig.answer(rig.appends()["b"][0], Refusal("operation not supported"))
    assert rig.events(PeerFailed) == [PeerFailed("b", "operation not supported")]


def test_a_follower_with_an_emptied_disk_is_sent_all_anew() -> None:
    rig = leading()
    rig.now += 5.0
    rig.fire(HeartbeatTick)
    number, request = rig.appends()["b"]
    assert (request.previous_index, request.entries) == (2, ())
    no(rig, number, 0)
    number, request = rig.appends()["b"]
    no(rig, number, 0)
    assert rig.events(PeerForgot) == [PeerForgot("b", 2)]
    assert rig.appends()["b"][1].previous_index == 0


def test_unanswered_heartbeats_are_limited() -> None:
    rig = leading(heartbeats_in_flight_max=2, leader_lease=1.0)
    numbers = []
    for _ in range(4):
        rig.fire(HeartbeatTick)
        numbers.append(rig.heartbeats()["b"][0])
    rig.answer(numbers[0], AppendEntriesReply(9, 2, False))
    assert rig.node.term == 2
    rig.answer(numbers[3], AppendEntriesReply(9, 2, False))
    assert rig.node.term == 9


def test_a_heartbeat_that_fails_or_is_refused_is_no_contact_with_the_log() -> None:
    rig = leading()
    rig.fire(HeartbeatTick)
    beats = rig.heartbeats()
    rig.fail(beats["b"][0])
    rig.answer(beats["c"][0], AppendEntriesReply(2, 2, False))
    assert rig.effects == []


def test_followers_hear_of_a_commit_soon_and_until_they_say_so() -> None:
    rig = leading()
    propose(rig)
    both = rig.appends()
    rig.yes(*both["b"])
    rig.yes(*both["c"])
    assert 0.05 <= rig.timers[CommitTick()] - rig.now <= 0.1
    rig.fire(CommitTick)
    told = rig.appends()
    assert {request.commit_index for _, request in told.values()} == {3}
    assert {request.entries for _, request in told.values()} == {()}
    rig.yes(*told["b"])
    rig.fire(CommitTick)
    assert not rig.appends()
    rig.yes(*told["c"])
    rig.fire(CommitTick)
    assert CommitTick() not in rig.timers


def test_a_late_yes_ends_the_pause() -> None:
    rig = leading(append_entries_max=1)
    propose(rig, 2)
    first, second = [(e.number, e.request) for e in rig.of(Send) if e.to == "b"]
    rig.fail(second[0])
    assert RetryReplication("b") in rig.timers
    rig.yes(*first)  # type: ignore[arg-type]
    assert RetryReplication("b") not in rig.timers
    assert rig.appends()["b"][1].previous_index == 3


def test_failed_and_late_ones_beyond_a_window_are_forgotten() -> None:
    rig = leading(append_entries_max=1, appends_in_flight_max=2)
    propose(rig, 2)
    for _ in range(5):
        (number, _) = rig.appends()["b"]
        rig.fail(number)
        rig.fire(RetryReplication)
    assert len(rig.node._context.in_flight) < 10


@pytest.mark.parametrize("count", [1, 5])
def test_a_log_in_memory_gives_at_least_one_entry(count: int) -> None:
    rig = leading()
    propose(rig, count, bytes(100))
    log = rig.node.log
    assert isinstance(log, MemoryLog)
    assert len(log.entries(3, 10, 1)) == 1
    assert len(log.entries(3, 10)) == count
    assert log.term_at(99) is None
    assert rig.of(Apply) == []
