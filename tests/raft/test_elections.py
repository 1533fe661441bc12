from __future__ import annotations

import pytest

from swimnomad.raft.effects import Answer, Emit, PersistEntries, PersistTerm, Send, SetTimer
from swimnomad.raft.events import (
    BecameLeader,
    ElectionStarted,
    LeaderChanged,
    LostLeadership,
    ReplyRefused,
    RequestRefused,
    VoteDenied,
)
from swimnomad.raft.inputs import Failure
from swimnomad.raft.messages import (
    AppendEntries,
    AppendEntriesReply,
    PreVote,
    PreVoteReply,
    Refusal,
    RequestVote,
    RequestVoteReply,
    TimeoutNow,
    TimeoutNowReply,
)
from swimnomad.raft.stats import State
from swimnomad.raft.timers import ElectionTimeout, HeartbeatTick, LeaseCheck
from tests.raft.raft_support import Rig, configuration_entry, leading, log_of, servers, vote


def test_a_new_node_is_a_follower_with_patience_for_one_to_two_timeouts() -> None:
    rig = Rig()
    assert rig.state() is State.FOLLOWER
    assert 1.0 <= rig.timers[ElectionTimeout()] - rig.now <= 2.0


def test_a_silent_leader_makes_it_ask_before_it_stands() -> None:
    rig = Rig(term=4)
    rig.time_out()
    assert rig.state() is State.PRE_CANDIDATE
    assert rig.state().text == "Candidate"
    assert rig.node.term == 4
    assert not rig.of(PersistTerm)
    assert {to: request for to, (_, request) in rig.sent(PreVote).items()} == {
        "b": PreVote(5, "a", 1, 1),
        "c": PreVote(5, "a", 1, 1),
    }
    assert rig.events(ElectionStarted) == [ElectionStarted(5, True)]


def test_its_own_vote_is_durable_before_it_asks_for_others() -> None:
    rig = Rig()
    rig.time_out()
    rig.grant("b", pre=True)
    assert rig.state() is State.CANDIDATE
    kinds = [type(effect) for effect in rig.effects]
    assert kinds.index(PersistTerm) < kinds.index(Send)
    assert rig.of(PersistTerm) == [PersistTerm(2, "a")]
    assert rig.sent(RequestVote)["c"][1] == RequestVote(2, "a", 1, 1)


def test_a_majority_makes_a_leader_that_writes_its_first_entry() -> None:
    rig = Rig()
    rig.become_leader()
    assert rig.events(BecameLeader) == [BecameLeader(2)]
    assert rig.events(LeaderChanged) == [LeaderChanged("a", 2)]
    assert ElectionTimeout() not in rig.timers
    assert HeartbeatTick() in rig.timers
    assert rig.timers[LeaseCheck()] == rig.now + 0.5
    assert set(rig.heartbeats()) == {"b", "c"}
    # The others may write at the same time.
    kinds = [type(effect) for effect in rig.effects]
    assert kinds.index(Send) < kinds.index(PersistEntries)
    assert rig.appends()["b"][1].entries == rig.of(PersistEntries)[0].entries


def test_one_vote_of_five_is_not_enough() -> None:
    rig = Rig("abcde")
    rig.time_out()
    first = rig.sent(PreVote)
    rig.answer(first["b"][0], PreVoteReply(1, True))
    rig.answer(first["b"][0], PreVoteReply(1, True))
    assert rig.state() is State.PRE_CANDIDATE
    rig.answer(first["c"][0], PreVoteReply(1, False))
    assert rig.state() is State.PRE_CANDIDATE
    rig.answer(first["d"][0], PreVoteReply(1, True))
    assert rig.state() is State.CANDIDATE


def test_a_peer_without_pre_vote_counts_as_agreeing_and_others_that_fail_do_not() -> None:
    rig = Rig()
    rig.time_out()
    sent = rig.sent(PreVote)
    rig.fail(sent["b"][0], Failure.LOST)
    assert rig.state() is State.PRE_CANDIDATE
    rig.fail(sent["c"][0], Failure.UNSUPPORTED)
    assert rig.state() is State.CANDIDATE
    rig.fail(rig.sent(RequestVote)["b"][0], Failure.UNSUPPORTED)
    assert rig.state() is State.CANDIDATE


def test_pre_vote_can_be_turned_off() -> None:
    rig = Rig(pre_vote=False)
    rig.time_out()
    assert rig.state() is State.CANDIDATE


def test_an_only_voter_elects_itself_and_commits_at_once() -> None:
    rig = Rig("a")
    rig.time_out()
    assert rig.state() is State.LEADER
    assert rig.node.term == 2
    assert rig.applied() == [1, 2]
    kinds = [type(effect).__name__ for effect in rig.effects]
    assert kinds.index("PersistEntries") < kinds.index("Apply")


def test_nobody_wins_so_it_asks_again() -> None:
    rig = Rig()
    rig.time_out()
    rig.grant("b", pre=True)
    rig.time_out()
    assert rig.state() is State.PRE_CANDIDATE
    assert rig.node.term == 2
    assert set(rig.sent(PreVote)) == {"b", "c"}


def test_answers_to_an_earlier_question_count_for_nothing() -> None:
    rig = Rig("abcde")
    rig.time_out()
    old = rig.sent(PreVote)
    rig.time_out()
    for voter in "bcde":
        rig.answer(old[voter][0], PreVoteReply(1, True))
    assert rig.state() is State.PRE_CANDIDATE


def test_a_late_timer_that_finds_a_leader_waits_on() -> None:
    rig = Rig()
    rig.now += 0.9
    rig.ask(AppendEntries(1, "b"))
    rig.time_out()
    assert rig.state() is State.FOLLOWER
    assert rig.of(SetTimer)
    rig.time_out()
    assert rig.state() is State.PRE_CANDIDATE
    assert rig.events(LeaderChanged) == [LeaderChanged(None, 1)]


@pytest.mark.parametrize("names", ["bcd", ""])
def test_who_is_no_voter_does_not_stand(names: str) -> None:
    rig = Rig(names)
    rig.time_out()
    assert rig.state() is State.FOLLOWER
    assert not rig.of(Send)
    rig.time_out()


def test_a_nonvoter_does_not_stand() -> None:
    first = configuration_entry(1, 1, "bc")
    rig = Rig(entries=[type(first)(1, 1, first.kind, configuration=servers("bc", "a"))])
    rig.time_out()
    assert rig.state() is State.FOLLOWER


def test_who_alone_has_its_removal_in_the_log_stands_and_needs_the_others() -> None:
    rig = Rig(entries=[*log_of("ab"), configuration_entry(2, 1, "b")])
    rig.time_out()
    assert rig.state() is State.PRE_CANDIDATE
    rig.grant("b", pre=True)
    rig.grant("b")
    assert rig.state() is State.LEADER
    number, request = rig.appends()["b"]
    rig.answer(number, AppendEntriesReply(2, 1, False, True))
    number, request = rig.appends()["b"]
    rig.yes(number, request)
    assert rig.events(LostLeadership) == [LostLeadership(2, "this server is no voter any more")]
    assert rig.node.commit_index == 3
    rig.time_out()
    assert rig.state() is State.FOLLOWER


# --- voting ---------------------------------------------------------------------------------------


def test_a_vote_is_durable_before_it_is_given_and_once_a_term() -> None:
    rig = Rig()
    assert rig.ask(vote("b", 5)) == RequestVoteReply(5, True)
    assert [type(effect) for effect in rig.effects] == [PersistTerm, Answer]
    assert rig.of(PersistTerm) == [PersistTerm(5, "b")]
    assert rig.ask(vote("b", 5)) == RequestVoteReply(5, True)
    assert not rig.of(PersistTerm)
    assert rig.ask(vote("c", 5)) == RequestVoteReply(5, False)
    assert rig.events(VoteDenied) == [VoteDenied("c", 5, "the vote went to b")]
    assert rig.node.voted_for == "b"


def test_a_vote_survives_a_restart() -> None:
    rig = Rig(term=5, voted_for="b")
    assert rig.ask(vote("c", 5)) == RequestVoteReply(5, False)
    assert rig.ask(vote("b", 5)) == RequestVoteReply(5, True)


@pytest.mark.parametrize(
    ("last", "granted"), [((3, 2), True), ((2, 3), True), ((2, 2), False), ((9, 1), False)]
)
def test_the_candidate_needs_a_log_that_is_not_behind(last: tuple[int, int], granted: bool) -> None:
    rig = Rig("abc", 1, 2)
    assert rig.ask(vote("b", 5, last)) == RequestVoteReply(5, granted)
    assert rig.of(PersistTerm) == [PersistTerm(5, "b" if granted else None)]
    assert bool(rig.events(VoteDenied)) is not granted
    assert rig.ask(PreVote(6, "b", *last)) == PreVoteReply(5, granted)


def test_no_vote_while_a_leader_is_heard_and_the_term_stays() -> None:
    rig = Rig()
    rig.ask(AppendEntries(1, "b"))
    rig.now += 0.9
    assert rig.ask(vote("c", 5)) == RequestVoteReply(1, False)
    assert rig.node.term == 1
    assert rig.events(RequestRefused) == [RequestRefused("c", "RequestVote", "b leads")]
    assert rig.ask(PreVote(5, "c", 9, 4)) == PreVoteReply(1, False)
    assert rig.events(VoteDenied) == [VoteDenied("c", 5, "b leads")]
    rig.now += 0.2
    assert rig.ask(PreVote(5, "c", 9, 4)) == PreVoteReply(1, True)
    assert rig.ask(vote("c", 5)) == RequestVoteReply(5, True)


def test_a_candidate_that_the_leader_chose_is_voted_for() -> None:
    rig = Rig()
    rig.ask(AppendEntries(1, "b"))
    assert rig.ask(RequestVote(2, "c", 9, 1, is_transfer=True)) == RequestVoteReply(2, True)


def test_an_older_term_gets_no_vote_but_hears_the_newer() -> None:
    rig = Rig(term=7)
    assert rig.ask(vote("b", 6, (9, 5))) == RequestVoteReply(7, False)
    assert rig.events(RequestRefused)
    assert rig.ask(PreVote(7, "b", 9, 5)) == PreVoteReply(7, False)


def test_a_granted_vote_gives_the_winner_time() -> None:
    rig = Rig()
    rig.now += 0.9
    rig.ask(vote("b", 5))
    rig.time_out()
    assert rig.state() is State.FOLLOWER


def test_a_leader_deposes_itself_only_for_a_transfer() -> None:
    rig = leading()
    assert rig.ask(vote("b", 9)) == RequestVoteReply(2, False)
    assert rig.state() is State.LEADER
    assert rig.ask(RequestVote(9, "b", 9, 2, is_transfer=True)) == RequestVoteReply(9, True)
    assert rig.state() is State.FOLLOWER


# --- stepping down --------------------------------------------------------------------------------


def test_an_answer_from_a_newer_term_deposes() -> None:
    rig = leading()
    rig.fire(HeartbeatTick)
    number, _ = rig.heartbeats()["b"]
    rig.answer(number, AppendEntriesReply(6, 9, False))
    assert rig.state() is State.FOLLOWER
    assert rig.of(PersistTerm) == [PersistTerm(6, None)]
    assert rig.events(LostLeadership) == [LostLeadership(2, "b knows term 6")]
    assert not {HeartbeatTick(), LeaseCheck()} & set(rig.timers)
    assert ElectionTimeout() in rig.timers


def test_a_candidate_yields_to_the_leader_of_its_term() -> None:
    rig = Rig()
    rig.time_out()
    rig.grant("b", pre=True)
    assert rig.ask(AppendEntries(2, "c")) == AppendEntriesReply(2, 1, True)
    assert rig.state() is State.FOLLOWER
    assert rig.node.leader == "c"


def test_a_leader_that_hears_no_quorum_for_its_lease_steps_down() -> None:
    rig = leading("abcde")
    start = rig.now
    while rig.state() is State.LEADER:
        rig.fire(LeaseCheck)
    assert rig.now - start == pytest.approx(0.5)
    assert rig.events(LostLeadership) == [LostLeadership(2, "no quorum was heard for 0.5 s")]
    assert rig.node.leader is None


def test_a_leader_that_hears_a_quorum_goes_on() -> None:
    rig = leading("abcde")
    for _ in range(30):
        rig.fire(HeartbeatTick)
        beats = rig.heartbeats()
        for voter in "bc":
            rig.answer(beats[voter][0], AppendEntriesReply(2, 2, True))
        while rig.timers[LeaseCheck()] <= rig.now:
            rig.fire(LeaseCheck)
    assert rig.state() is State.LEADER
    assert rig.node.stats(rig.now).last_contact == 0.0


def test_answers_that_make_no_sense_change_nothing() -> None:
    rig = Rig()
    rig.time_out()
    sent = rig.sent(PreVote)
    rig.answer(sent["b"][0], AppendEntriesReply(9, 9, True))
    assert rig.events(ReplyRefused) == [ReplyRefused("b", "AppendEntriesReply to PreVote")]
    rig.answer(sent["c"][0], PreVoteReply(2**80, True))
    assert rig.events(ReplyRefused)
    rig.answer(999, PreVoteReply(1, True))
    assert rig.effects == []
    assert (rig.state(), rig.node.term) == (State.PRE_CANDIDATE, 1)


# --- being told to stand --------------------------------------------------------------------------


def test_told_to_stand_it_skips_the_pre_vote() -> None:
    rig = Rig()
    rig.ask(AppendEntries(1, "b"))
    assert rig.ask(TimeoutNow(), "b") == TimeoutNowReply()
    assert rig.state() is State.CANDIDATE
    assert rig.sent(RequestVote)["b"][1].is_transfer
    kinds = [type(effect) for effect in rig.effects if not isinstance(effect, Emit)]
    assert kinds.index(PersistTerm) < kinds.index(Send)


def test_nobody_else_is_told_to_stand() -> None:
    rig = Rig()
    refused = rig.ask(TimeoutNow(), "x")
    assert refused == Refusal("nobody leads who could hand over")
    assert rig.events(RequestRefused)[0].sender == "x"
    rig = Rig("bc")
    rig.ask(AppendEntries(1, "b"))
    assert rig.ask(TimeoutNow()) == Refusal("this server is not a voter")
    rig = leading()
    assert isinstance(rig.ask(TimeoutNow()), Refusal)
