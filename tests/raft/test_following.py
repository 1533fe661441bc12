from __future__ import annotations

from swimnomad.raft.effects import (
    Answer,
    Apply,
    Emit,
    PersistEntries,
    PersistTerm,
    PersistTruncation,
)
from swimnomad.raft.events import ConfigurationChanged, LeaderChanged, RequestRefused
from swimnomad.raft.inputs import Introduce
from swimnomad.raft.log import EntryKind, LogEntry
from swimnomad.raft.messages import AppendEntries, AppendEntriesReply, Refusal
from tests.raft.raft_support import Rig, configuration_entry, entry, leading, servers


def test_a_heartbeat_makes_a_leader_known_and_says_nothing_of_the_log() -> None:
    rig = Rig("abc", 1, 1)
    assert rig.ask(AppendEntries(4, "b", commit_index=3)) == AppendEntriesReply(4, 3, True)
    assert [type(e) for e in rig.effects if not isinstance(e, Emit)] == [PersistTerm, Answer]
    assert rig.events(LeaderChanged) == [LeaderChanged("b", 4)]
    assert rig.node.commit_index == 0
    stats = rig.node.stats(rig.now + 0.25)
    assert stats.last_contact == 0.25
    assert stats.leader == "b"


def test_entries_are_durable_before_they_are_acknowledged_and_acknowledged_before_applied() -> None:
    rig = Rig()
    new = entry(2, 1), entry(3, 1)
    assert rig.append("b", 1, (1, 1), *new, commit=2) == AppendEntriesReply(1, 3, True)
    kinds = [type(e) for e in rig.effects if isinstance(e, PersistEntries | Answer | Apply)]
    assert kinds == [PersistEntries, Answer, Apply]
    assert rig.of(PersistEntries) == [PersistEntries(new)]
    assert rig.applied() == [1, 2]


def test_a_gap_is_refused_with_the_place_to_go_on_from() -> None:
    rig = Rig()
    assert rig.append("b", 1, (7, 1), entry(8, 1)) == AppendEntriesReply(1, 1, False, True)
    assert not rig.of(PersistEntries)


def test_another_term_before_is_refused_with_the_place_before_that_term() -> None:
    rig = Rig("abc", 1, 2, 2, 2)
    assert rig.append("b", 5, (5, 4), entry(6, 5)) == AppendEntriesReply(5, 2, False, True)
    assert rig.node.log.last_index == 5


def test_the_place_named_is_never_before_what_is_committed() -> None:
    rig = Rig("abc", 2, 2, 2)
    rig.append("b", 2, (3, 2), commit=3)
    assert rig.append("b", 5, (4, 4)) == AppendEntriesReply(5, 3, False, True)


def test_contradicting_entries_are_replaced_and_matching_ones_kept() -> None:
    rig = Rig("abc", 1, 2, 2)
    new = entry(3, 3), entry(4, 3)
    assert rig.append("b", 3, (1, 1), entry(2, 1), *new) == AppendEntriesReply(3, 4, True)
    assert rig.of(PersistTruncation) == [PersistTruncation(3)]
    assert rig.of(PersistEntries) == [PersistEntries(new)]


def test_an_old_message_takes_nothing_back() -> None:
    rig = Rig()
    rig.append("b", 1, (1, 1), entry(2, 1), entry(3, 1))
    assert rig.append("b", 1, (1, 1), entry(2, 1)) == AppendEntriesReply(1, 3, True)
    assert not rig.of(PersistTruncation)
    assert rig.node.log.last_index == 3
    assert rig.append("b", 1, (1, 1)) == AppendEntriesReply(1, 3, True)


def test_the_commit_index_is_believed_as_far_as_the_message_vouches() -> None:
    rig = Rig("abc", 1, 2, 2)
    rig.append("b", 3, (1, 1), entry(2, 1), commit=9)
    # Entries 3 and 4 may be ones that the leader does not have.
    assert rig.applied() == [1, 2]
    rig.append("b", 3, (1, 1), entry(2, 1), commit=1)
    assert rig.applied() == []


def test_long_runs_are_applied_in_pieces() -> None:
    rig = Rig("abc", *[1] * 9, apply_entries_max=4)
    rig.append("b", 1, (10, 1), commit=10)
    assert [len(effect.entries) for effect in rig.of(Apply)] == [4, 4, 2]


def test_a_configuration_is_in_force_at_once_and_falls_back_when_it_is_replaced() -> None:
    rig = Rig()
    rig.append("b", 1, (1, 1), configuration_entry(2, 1, "abcd"))
    assert rig.node.configuration == servers("abcd")
    assert rig.events(ConfigurationChanged) == [ConfigurationChanged(servers("abcd"), 2, False)]
    rig.append("b", 2, (1, 1), entry(2, 2))
    assert rig.node.configuration == servers("abc")
    assert rig.events(ConfigurationChanged) == [ConfigurationChanged(servers("abc"), 1, False)]
    rig.append("b", 2, (2, 2), configuration_entry(3, 2, "ab"), commit=3)
    assert rig.events(ConfigurationChanged) == [
        ConfigurationChanged(servers("ab"), 3, False),
        ConfigurationChanged(servers("abc"), 1, True),
        ConfigurationChanged(servers("ab"), 3, True),
    ]


def test_a_new_server_takes_everything_from_whoever_leads() -> None:
    rig = Rig("")
    first = configuration_entry(1, 1, "abc")
    assert rig.append("b", 3, (0, 0), first, commit=1) == AppendEntriesReply(3, 1, True)
    assert rig.node.configuration == servers("abc")


# --- what is refused, and changes nothing ---------------------------------------------------------


def refused(rig: Rig, request: AppendEntries, reason: str) -> None:
    before = (rig.node.term, rig.node.log.last_index, rig.node.leader, rig.node.commit_index)
    reply = rig.ask(request)
    assert isinstance(reply, Refusal), reply
    assert reason in reply.text
    (event,) = rig.events(RequestRefused)
    assert event.reason == reply.text
    assert len(rig.effects) == 2
    after = (rig.node.term, rig.node.log.last_index, rig.node.leader, rig.node.commit_index)
    assert before == after


def test_an_older_term_is_told_the_newer_one() -> None:
    rig = Rig(term=6)
    assert rig.append("b", 5, (1, 1), entry(2, 5)) == AppendEntriesReply(6, 1, False)
    (event,) = rig.events(RequestRefused)
    assert event == RequestRefused("b", "AppendEntries", "the term here is 6")
    assert rig.node.leader is None


def test_a_deposed_leader_hears_of_the_new_term_though_it_contradicts_what_is_committed() -> None:
    rig = Rig("abc", 2, 3)
    rig.append("b", 3, (3, 3), commit=3)
    assert rig.append("c", 2, (2, 2), entry(3, 2)) == AppendEntriesReply(3, 3, False)
    assert rig.append("c", 2, (3, 2), entry(4, 2)) == AppendEntriesReply(3, 3, False)


def test_strangers_and_impostors_are_refused() -> None:
    rig = Rig()
    refused(rig, AppendEntries(9, "x"), "x is not a server of this region")
    refused(rig, AppendEntries(9, "a"), "from this server itself")
    refused(rig, AppendEntries(9, ""), "a sender of 0 characters")
    refused(rig, AppendEntries(9, "x" * 1000), "a sender of 1000 characters")


def test_an_introduced_server_is_no_stranger() -> None:
    rig = Rig()
    rig.feed(Introduce(frozenset({"x"})))
    assert rig.ask(AppendEntries(9, "x")) == AppendEntriesReply(9, 1, True)
    # A server without configuration listens to those introduced only, once there are any.
    rig = Rig("")
    rig.feed(Introduce(frozenset({"x"})))
    refused(rig, AppendEntries(9, "b"), "not a server")


def test_introductions_are_limited() -> None:
    rig = Rig(introduced_max=2)
    rig.feed(Introduce(frozenset({"x", "y", "z"})))
    refused(rig, AppendEntries(9, "z"), "not a server")


def test_a_removed_server_is_a_stranger_once_that_is_committed() -> None:
    rig = Rig()
    rig.append("b", 1, (1, 1), configuration_entry(2, 1, "ab"))
    assert isinstance(rig.ask(AppendEntries(2, "c")), AppendEntriesReply)
    rig.append("b", 3, (2, 1), commit=2)
    refused(rig, AppendEntries(9, "c"), "not a server")


def test_a_leader_that_removes_itself_is_heard_to_the_end() -> None:
    rig = Rig()
    rig.append("b", 1, (1, 1), configuration_entry(2, 1, "ac"), commit=2)
    assert rig.ask(AppendEntries(1, "b")) == AppendEntriesReply(1, 2, True)


def test_one_term_has_one_leader() -> None:
    rig = Rig()
    rig.ask(AppendEntries(4, "b"))
    refused(rig, AppendEntries(4, "c"), "b leads term 4")
    rig = leading()
    refused(rig, AppendEntries(2, "b"), "this server leads term 2")


def test_committed_entries_never_change() -> None:
    rig = Rig("abc", 2, 3)
    rig.append("b", 3, (3, 3), commit=3)
    refused(rig, AppendEntries(4, "c", 1, 1, (entry(2, 4),)), "committed here in term 2, not 4")
    refused(rig, AppendEntries(4, "c", 3, 4, (entry(4, 4),)), "committed here in term 3, not 4")
    # Entries behind those committed are looked at no more.
    assert rig.append("b", 3, (1, 1), entry(2, 2), entry(3, 3), entry(4, 3)) == (
        AppendEntriesReply(3, 4, True)
    )


def test_impossible_numbers_are_refused() -> None:
    rig = Rig(received_entries_max=3, entry_bytes_max=8, servers_max=3)
    for term in (0, -1, 2**80):
        refused(rig, AppendEntries(term, "b"), "is impossible")
    for previous in (-1, 2**80):
        refused(rig, AppendEntries(5, "b", previous, 1, ()), "previous index")
    for previous_term in (-1, 6):
        refused(rig, AppendEntries(5, "b", 1, previous_term, ()), "previous term")
    for commit in (-1, 2**80):
        refused(rig, AppendEntries(5, "b", 1, 1, (), commit), "commit index")

    def entries(reason: str, *items: LogEntry) -> None:
        refused(rig, AppendEntries(5, "b", 1, 1, items), reason)

    entries("entry 3 stands where 2 belongs", entry(3, 1))
    entries("entry 2 stands where 3 belongs", entry(2, 1), entry(2, 1))
    entries("is of term 9", entry(2, 9))
    entries("is of term 1, after 2", entry(2, 2), entry(3, 1))
    entries("is of term 0", entry(2, 0))
    entries("4 entries", *(entry(index, 1) for index in range(2, 6)))
    entries("9 bytes", entry(2, 1, bytes(9)))
    entries("disagree", LogEntry(2, 1, EntryKind.CONFIGURATION))
    entries("disagree", LogEntry(2, 1, EntryKind.NOOP, configuration=servers("a")))
    entries("at least one voter", configuration_entry(2, 1, ""))
    entries("4 servers", configuration_entry(2, 1, "abcd"))
    assert rig.node.counters["refused.AppendEntries"] > 10
