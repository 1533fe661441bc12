"""Writes, reads, transfers and membership changes: what the caller is told."""

from __future__ import annotations

import pytest

from swimnomad.raft.effects import Emit, Event, Send
from swimnomad.raft.events import (
    BecameLeader,
    ConfigurationChanged,
    LostLeadership,
    NodeStopped,
    OperationFailed,
    ProposalDone,
    ReadReady,
    TransferDone,
)
from swimnomad.raft.inputs import (
    AddServer,
    Bootstrap,
    Introduce,
    PromoteServer,
    Propose,
    RaftInput,
    ReadIndex,
    RemoveServer,
    RequestReceived,
    Shutdown,
    Start,
    StorageFailed,
    Ticket,
    TimerFired,
    TransferLeadership,
)
from swimnomad.raft.log import EntryKind
from swimnomad.raft.messages import (
    AppendEntries,
    AppendEntriesReply,
    Refusal,
    RequestVote,
    TimeoutNow,
    TimeoutNowReply,
)
from swimnomad.raft.servers import Server, Suffrage
from swimnomad.raft.stats import State
from swimnomad.raft.timers import (
    CommitTick,
    ElectionTimeout,
    HeartbeatTick,
    LeaseCheck,
    OperationDeadline,
    RetryReplication,
    TransferDeadline,
)
from tests.raft.raft_support import Rig, configuration_entry, entry, leading, servers

SOON = 1.0


def propose(rig: Rig, operation: int = 1, data: bytes = b"x", wait: float = SOON) -> list[object]:
    rig.feed(Propose(operation, data, rig.now + wait))
    return outcomes(rig)


def outcomes(rig: Rig) -> list[object]:
    kinds = ProposalDone | ReadReady | TransferDone | OperationFailed
    events: list[Event] = [e.event for e in rig.effects if isinstance(e, Emit)]
    return [event for event in events if isinstance(event, kinds)]


def accept(rig: Rig, *followers: str) -> list[object]:
    """These followers take what was just sent, until there is nothing more; all outcomes."""
    found: list[object] = []
    pending = rig.appends()
    while pending:
        fresh: dict[str, tuple[int, AppendEntries]] = {}
        for to, (number, request) in pending.items():
            if to in followers:
                rig.yes(number, request)
                found += outcomes(rig)
                fresh.update(rig.appends())
        pending = fresh
    return found


def beat(rig: Rig, *followers: str) -> list[object]:
    """These followers answer the heartbeats just sent."""
    found: list[object] = []
    for to, (number, _) in rig.heartbeats().items():
        if to in followers:
            rig.answer(number, AppendEntriesReply(rig.node.term, 0, True))
            found += outcomes(rig)
    return found


def failed(text: str, operation: int = 1, *, unknown: bool = False) -> list[object]:
    return [OperationFailed(operation, text, unknown)]


# --- writes ---------------------------------------------------------------------------------------


def test_a_write_is_done_once_it_is_applied() -> None:
    rig = leading()
    assert propose(rig) == []
    (b, _c) = rig.appends().values()
    rig.yes(*b)
    kinds = [type(effect).__name__ for effect in rig.effects]
    assert kinds.index("Apply") < kinds.index("Emit")
    assert outcomes(rig) == [ProposalDone(1, 3)]


def test_a_barrier_is_a_write_without_contents() -> None:
    rig = leading()
    rig.feed(Propose(1, b"", rig.now + SOON, EntryKind.BARRIER))
    assert rig.node.log.entries(3, 1)[0].kind is EntryKind.BARRIER
    assert accept(rig, "b") == [ProposalDone(1, 3)]


def test_who_does_not_lead_refuses_certainly() -> None:
    rig = Rig()
    assert propose(rig) == failed("node is not the leader")
    rig.feed(ReadIndex(1, rig.now + SOON))
    assert outcomes(rig) == failed("node is not the leader")
    rig.feed(TransferLeadership(1))
    assert outcomes(rig) == failed("node is not the leader")
    rig.feed(RemoveServer(1, "b", rig.now + SOON))
    assert outcomes(rig) == failed("node is not the leader")


def test_what_cannot_be_taken_is_refused_certainly() -> None:
    rig = leading(proposals_max=1, entry_bytes_max=4)
    assert propose(rig, wait=0.0) == failed("timed out enqueuing operation")
    assert propose(rig, data=bytes(5)) == failed("a write of 5 bytes is too long")
    rig.feed(Propose(1, b"", rig.now + SOON, EntryKind.CONFIGURATION))
    assert outcomes(rig) == failed("configuration entries are not proposed")
    assert propose(rig, 7) == []
    assert propose(rig) == failed("1 writes wait already")
    assert rig.node.log.last_index == 3


def test_a_write_without_quorum_is_unknown_at_its_deadline_and_not_later() -> None:
    rig = leading(leader_lease=1.0)
    propose(rig, 1, wait=0.3)
    propose(rig, 2, wait=0.2)
    propose(rig, 3, wait=0.6)
    start = rig.now
    found = []
    for _ in range(3):
        rig.fire(OperationDeadline)
        found.append((round(rig.now - start, 3), outcomes(rig)))
    unknown = "timed out while committing log"
    assert found == [
        (0.2, failed(unknown, 2, unknown=True)),
        (0.3, failed(unknown, 1, unknown=True)),
        (0.6, failed(unknown, 3, unknown=True)),
    ]
    # It may be committed still; nobody waits for that any more.
    rig.fire(HeartbeatTick)
    assert OperationDeadline() not in rig.timers


def test_a_deposed_leaders_write_that_is_kept_is_done() -> None:
    rig = leading()
    propose(rig, wait=9.0)
    rig.ask(AppendEntries(3, "c"))
    assert outcomes(rig) == []
    rig.append("c", 3, (3, 2), entry(4, 3), commit=4)
    assert outcomes(rig) == [ProposalDone(1, 3)]


def test_a_deposed_leaders_write_that_is_replaced_certainly_has_not_happened() -> None:
    rig = leading()
    propose(rig, wait=9.0)
    rig.append("c", 3, (2, 2), entry(3, 3))
    assert outcomes(rig) == []  # Replaced here; it may still be committed by somebody else.
    rig.append("c", 3, (3, 3), commit=3)
    assert outcomes(rig) == failed("leadership lost while committing log")


def test_two_writes_for_one_place_each_get_their_own_answer() -> None:
    rig = leading()
    propose(rig, 1, wait=50.0)
    propose(rig, 2, wait=3.0)
    rig.append("c", 3, (2, 2), entry(3, 3))
    for _ in range(2):
        if rig.state() is not State.CANDIDATE:
            rig.time_out()
            rig.grant("b", pre=True)
    rig.grant("b")
    assert rig.node.log.last_index == 4
    rig.feed(Propose(3, b"y", rig.now + 99.0))
    rig.ask(AppendEntries(9, "b"))
    rig.append("b", 9, (3, 3), entry(4, 9))
    rig.now += 5.0
    rig.feed(TimerFired(OperationDeadline()))
    assert outcomes(rig) == failed("timed out while committing log", 2, unknown=True)
    rig.append("b", 9, (4, 9), entry(5, 9), commit=5)
    assert outcomes(rig) == [
        *failed("leadership lost while committing log", 1),
        *failed("leadership lost while committing log", 3),
    ]


def test_an_operation_that_shares_its_place_keeps_its_deadline() -> None:
    rig = leading()
    propose(rig, 1, wait=2.0)
    pending = rig.node._proposals
    rig.node._context.term += 1
    pending.wait(2, 3, rig.now + 5.0)
    rig.now += 3.0
    rig.feed(TimerFired(OperationDeadline()))
    assert outcomes(rig) == failed("timed out while committing log", 1, unknown=True)
    assert len(pending) == 1
    assert rig.timers[OperationDeadline()] == rig.now + 2.0


# --- reads ----------------------------------------------------------------------------------------


def test_a_read_waits_for_a_quorum_that_was_asked_after_it_came() -> None:
    rig = leading()
    rig.fire(HeartbeatTick)
    earlier = rig.heartbeats()
    rig.feed(ReadIndex(1, rig.now + SOON))
    asked = rig.heartbeats()
    assert set(asked) == {"b", "c"}
    rig.answer(earlier["b"][0], AppendEntriesReply(2, 2, True))
    assert outcomes(rig) == []
    rig.answer(asked["b"][0], AppendEntriesReply(2, 2, True))
    assert outcomes(rig) == [ReadReady(1, 2)]


def test_reads_that_come_while_one_waits_share_the_next_round() -> None:
    rig = leading()
    rig.feed(ReadIndex(1, rig.now + SOON))
    first = rig.heartbeats()
    rig.feed(ReadIndex(2, rig.now + SOON))
    rig.feed(ReadIndex(3, rig.now + SOON))
    assert rig.heartbeats() == {}
    rig.answer(first["c"][0], AppendEntriesReply(2, 2, True))
    assert outcomes(rig) == [ReadReady(1, 2)]
    assert beat(rig, "b") == [ReadReady(2, 2), ReadReady(3, 2)]


def test_a_lost_round_is_made_up_for_by_the_next_heartbeat() -> None:
    rig = leading()
    rig.feed(ReadIndex(1, rig.now + SOON))
    rig.feed(ReadIndex(2, rig.now + SOON))
    rig.fire(HeartbeatTick)
    assert beat(rig, "b") == [ReadReady(1, 2), ReadReady(2, 2)]


def test_a_new_leader_reads_only_after_its_first_commit() -> None:
    rig = Rig("abc", 1)
    rig.become_leader()
    first = rig.first
    rig.feed(ReadIndex(1, rig.now + SOON))
    assert beat(rig, "b") == []
    rig.yes(*first["b"])
    assert outcomes(rig) == [ReadReady(1, 3)]


def test_an_only_voter_reads_at_once() -> None:
    rig = leading("a")
    rig.feed(ReadIndex(1, rig.now + SOON))
    assert outcomes(rig) == [ReadReady(1, 2)]


def test_reads_end_with_their_deadline_or_their_leader() -> None:
    rig = leading(reads_max=2)
    rig.feed(ReadIndex(1, rig.now))
    assert outcomes(rig) == failed("timed out enqueuing operation")
    rig.feed(ReadIndex(1, rig.now + 0.1))
    rig.feed(ReadIndex(2, rig.now + 0.4))
    rig.feed(ReadIndex(3, rig.now + 0.4))
    assert outcomes(rig) == failed("2 reads wait already", 3)
    rig.fire(OperationDeadline)
    assert outcomes(rig) == failed("timed out waiting for a quorum to confirm the leader")
    rig.ask(AppendEntries(5, "b"))
    assert outcomes(rig) == failed("leadership lost while waiting for a quorum", 2)


# --- transfer -------------------------------------------------------------------------------------


def test_leadership_goes_to_the_one_asked_for_once_it_has_everything() -> None:
    rig = leading(followers="b")
    rig.feed(TransferLeadership(1, "c"))
    assert not rig.sent(TimeoutNow)
    assert propose(rig, 2) == failed("leadership transfer in progress", 2)
    rig.feed(TransferLeadership(3))
    assert outcomes(rig) == failed("leadership transfer in progress", 3)
    rig.yes(*rig.first["c"])
    number, _ = rig.sent(TimeoutNow)["c"]
    rig.answer(number, TimeoutNowReply())
    rig.ask(RequestVote(3, "c", 2, 2, is_transfer=True))
    assert rig.events(LostLeadership)
    rig.ask(AppendEntries(3, "c"))
    assert outcomes(rig) == [TransferDone(1, "c")]
    assert TransferDeadline() not in rig.timers


def test_without_a_wish_the_voter_that_is_farthest_is_chosen() -> None:
    rig = leading(followers="c")
    rig.feed(TransferLeadership(1))
    assert set(rig.sent(TimeoutNow)) == {"c"}


@pytest.mark.parametrize(("names", "target"), [("a", None), ("abc", "x"), ("abc", "a")])
def test_there_must_be_somebody_to_transfer_to(names: str, target: str | None) -> None:
    rig = leading(names)
    rig.feed(TransferLeadership(1, target))
    (event,) = rig.events(OperationFailed)
    assert "cannot find" in event.text
    assert not event.may_have_happened


def test_a_transfer_that_is_refused_leaves_the_leader_leading() -> None:
    rig = leading()
    rig.feed(TransferLeadership(1, "b"))
    rig.answer(rig.sent(TimeoutNow)["b"][0], Refusal("this server is not a voter"))
    assert outcomes(rig) == failed("b does not take over: this server is not a voter")
    assert propose(rig, 2) == []


def test_a_transfer_takes_no_longer_than_an_election() -> None:
    rig = leading(leader_lease=1.0)
    rig.feed(TransferLeadership(1, "b"))
    rig.fire(TransferDeadline)
    assert outcomes(rig) == failed("leadership transfer timeout")
    assert propose(rig, 2) == []
    rig.feed(TimerFired(TransferDeadline()))
    assert outcomes(rig) == []


def test_a_transfer_whose_end_is_not_seen_may_have_happened() -> None:
    rig = leading()
    rig.feed(TransferLeadership(1, "b"))
    rig.ask(RequestVote(3, "b", 2, 2, is_transfer=True))
    rig.fire(TransferDeadline)
    assert outcomes(rig) == failed("leadership transfer timeout", unknown=True)


def test_a_transfer_that_another_wins_has_failed() -> None:
    rig = leading()
    rig.feed(TransferLeadership(1, "b"))
    rig.ask(AppendEntries(3, "c"))
    assert outcomes(rig) == failed("c was elected instead of b")


# --- membership -----------------------------------------------------------------------------------


def test_a_server_is_added_and_sent_everything() -> None:
    rig = leading()
    rig.feed(AddServer(1, Server("d", "d"), rig.now + SOON))
    assert rig.node.configuration == servers("abcd")
    assert rig.events(ConfigurationChanged) == [ConfigurationChanged(servers("abcd"), 3, False)]
    d = rig.appends()["d"]
    assert accept(rig, "b") == []  # Two of four.
    rig.answer(d[0], AppendEntriesReply(2, 0, False, True))
    number, request = rig.appends()["d"]
    assert [e.index for e in request.entries or ()] == [1, 2, 3]
    rig.yes(number, request)
    assert outcomes(rig) == [ProposalDone(1, 3)]
    assert rig.events(ConfigurationChanged) == [ConfigurationChanged(servers("abcd"), 3, True)]


def test_a_nonvoter_does_not_count_until_it_is_promoted() -> None:
    rig = leading("ab")
    rig.feed(AddServer(1, Server("c", "c", Suffrage.NONVOTER), rig.now + SOON))
    assert accept(rig, "b") == [ProposalDone(1, 3)]
    assert rig.node.stats(rig.now).num_peers == 1
    rig.feed(PromoteServer(2, "c", rig.now + SOON))
    assert rig.node.configuration == servers("abc")
    assert accept(rig, "b") == [ProposalDone(2, 4)]


def test_one_change_at_a_time() -> None:
    rig = leading()
    rig.feed(AddServer(1, Server("d", "d"), rig.now + SOON))
    rig.feed(RemoveServer(2, "c", rig.now + SOON))
    assert outcomes(rig) == failed("another membership change is in progress", 2)


def test_no_change_before_the_first_commit_of_the_term() -> None:
    rig = Rig("abc", 1)
    rig.append("b", 1, (2, 1), commit=2)
    rig.become_leader()
    rig.feed(RemoveServer(1, "c", rig.now + SOON))
    assert outcomes(rig) == failed("the leader has not committed an entry of its term yet")


def test_a_change_that_changes_nothing_is_done() -> None:
    rig = leading()
    rig.feed(AddServer(1, Server("b", "b"), rig.now + SOON))
    assert outcomes(rig) == [ProposalDone(1, 1)]
    rig.feed(AddServer(2, Server("b", "b", Suffrage.NONVOTER), rig.now + SOON))
    assert outcomes(rig) == [ProposalDone(2, 1)]


def test_impossible_changes_are_refused_certainly() -> None:
    rig = leading(servers_max=3)
    rig.feed(AddServer(1, Server("x", "b"), rig.now + SOON))
    assert outcomes(rig) == failed("b is already the address of server 'b'")
    rig.feed(AddServer(1, Server("d", "d"), rig.now + SOON))
    assert outcomes(rig) == failed("4 servers, at most 3 are allowed")
    rig.feed(RemoveServer(1, "x", rig.now + SOON))
    assert outcomes(rig) == failed("server 'x' is not in the configuration")
    rig.feed(PromoteServer(1, "x", rig.now + SOON))
    assert outcomes(rig) == failed("server 'x' is not in the configuration")
    rig = leading("a")
    rig.feed(RemoveServer(1, "a", rig.now + SOON))
    assert outcomes(rig) == failed("'a' is the last voter; one has to stay")


def test_a_removed_server_is_served_until_it_knows() -> None:
    rig = leading()
    rig.feed(RemoveServer(1, "c", rig.now + SOON))
    sent = rig.appends()
    rig.yes(*sent["b"])
    assert outcomes(rig) == [ProposalDone(1, 3)]
    rig.yes(*sent["c"])
    rig.now += 0.1
    rig.feed(TimerFired(next(t for t in rig.timers if type(t).__name__ == "CommitTick")))
    told = rig.appends()
    rig.yes(*told["c"])
    rig.fire(HeartbeatTick)
    assert set(rig.heartbeats()) == {"b"}


def test_a_removed_server_that_fails_is_given_up() -> None:
    for kind in ("appends", "heartbeats"):
        rig = leading()
        rig.feed(RemoveServer(1, "c", rig.now + SOON))
        if kind == "heartbeats":
            rig.fire(HeartbeatTick)
        rig.fail(getattr(rig, kind)()["c"][0])
        rig.fire(HeartbeatTick)
        assert set(rig.heartbeats()) == {"b"}


def test_a_server_that_is_taken_in_again_stays() -> None:
    rig = leading()
    rig.feed(RemoveServer(1, "c", rig.now + SOON))
    rig.yes(*rig.appends()["b"])
    rig.feed(AddServer(2, Server("c", "c"), rig.now + SOON))
    rig.yes(*rig.appends()["b"])
    rig.fire(HeartbeatTick)
    assert set(rig.heartbeats()) == {"b", "c"}


def test_a_new_address_replaces_the_old() -> None:
    rig = leading()
    rig.feed(AddServer(1, Server("c", "c2"), rig.now + SOON))
    assert set(rig.appends()) == {"b", "c", "c2"}
    assert rig.node.configuration.by_id("c") == Server("c", "c2")


def test_a_leader_that_removes_itself_leads_until_that_is_committed() -> None:
    rig = leading()
    rig.feed(RemoveServer(1, "a", rig.now + SOON))
    assert rig.state() is State.LEADER
    assert rig.node.stats(rig.now).num_peers == 0
    sent = rig.appends()
    rig.yes(*sent["b"])
    assert rig.node.commit_index == 2  # b alone is no majority of b and c.
    rig.yes(*sent["c"])
    assert outcomes(rig) == [ProposalDone(1, 3)]
    assert rig.state() is State.FOLLOWER
    # The last word to those who follow: it is committed.
    assert [e.request for e in rig.of(Send)]


# --- bootstrap and the end ------------------------------------------------------------------------


def test_bootstrap_writes_the_first_configuration_in_term_one() -> None:
    rig = Rig("")
    rig.feed(Bootstrap(1, servers("abc")))
    kinds = [type(e).__name__ for e in rig.effects]
    assert kinds == ["Emit", "PersistTerm", "PersistEntries", "Emit"]
    assert outcomes(rig) == [ProposalDone(1, 1)]
    assert rig.node.log.entries(1, 1) == [configuration_entry(1, 1, "abc")]
    rig.become_leader()
    assert rig.events(BecameLeader) == [BecameLeader(2)]
    rig.feed(Bootstrap(2, servers("abc")))
    assert outcomes(rig) == failed("bootstrap only works on new clusters", 2)


def test_bootstrap_needs_a_sensible_configuration() -> None:
    rig = Rig("")
    rig.feed(Bootstrap(1, servers("bc")))
    assert outcomes(rig) == failed("'a' itself is not in the configuration")
    rig.feed(Bootstrap(1, servers("", "a")))
    assert outcomes(rig) == failed("need at least one voter in configuration")


@pytest.mark.parametrize("last", [Shutdown(), StorageFailed("no space left on device")])
def test_the_end_fails_what_waits_and_answers_nobody(last: RaftInput) -> None:
    rig = leading()
    propose(rig, 1)
    rig.feed(ReadIndex(2, rig.now + SOON))
    rig.feed(TransferLeadership(3, "b"))
    rig.feed(Propose(4, b"", rig.now + SOON), last)
    reason = rig.events(NodeStopped)[0].reason
    assert outcomes(rig) == [
        *failed("leadership transfer in progress", 4),
        *failed("leadership lost while waiting for a quorum", 2),
        *failed(reason, 3, unknown=True),
        *failed(reason, 1, unknown=True),
    ]
    assert rig.timers == {}
    assert rig.node.stats(rig.now).state.text == "Shutdown"
    for late in (
        RequestReceived(Ticket(1), AppendEntries(9, "b")),
        TimerFired(ElectionTimeout()),
        Introduce(frozenset()),
        Start(),
    ):
        assert rig.feed(late) == []
    assert propose(rig) == failed("raft is already shutdown")
    rig.feed(ReadIndex(1, rig.now + SOON))
    assert outcomes(rig) == failed("raft is already shutdown")


def test_what_was_not_written_when_storage_failed_never_is() -> None:
    rig = leading()
    rig.feed(Propose(1, b"", rig.now + SOON), StorageFailed("broken"))
    assert [type(e).__name__ for e in rig.effects if "Persist" in type(e).__name__] == []
    assert failed("storage failed: broken", unknown=True)[0] in outcomes(rig)


def test_leader_timers_that_come_late_do_nothing() -> None:
    rig = leading()
    rig.ask(AppendEntries(5, "b"))
    for timer in (HeartbeatTick(), LeaseCheck(), CommitTick(), RetryReplication("b")):
        assert rig.feed(TimerFired(timer)) == []
    rig = leading()
    assert rig.feed(TimerFired(ElectionTimeout())) == []
