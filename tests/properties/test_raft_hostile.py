"""Arbitrary messages never raise, and what is refused leaves no trace."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from swimnomad.raft.effects import Answer, Persist
from swimnomad.raft.events import RequestRefused
from swimnomad.raft.inputs import (
    AddServer,
    Failure,
    Propose,
    RaftInput,
    ReadIndex,
    RemoveServer,
    ReplyReceived,
    RequestFailed,
    RequestReceived,
    SnapshotNotReceived,
    SnapshotReceived,
    Ticket,
    TimerFired,
    TransferLeadership,
)
from swimnomad.raft.log import EntryKind, LogEntry
from swimnomad.raft.messages import (
    AppendEntries,
    AppendEntriesReply,
    InstallSnapshot,
    InstallSnapshotReply,
    PreVote,
    PreVoteReply,
    Refusal,
    RequestVote,
    RequestVoteReply,
    TimeoutNow,
    TimeoutNowReply,
)
from swimnomad.raft.servers import Configuration, Server, Suffrage
from swimnomad.raft.snapshot import Snapshot
from tests.raft.raft_support import Rig, leading

NUMBERS = st.one_of(
    st.integers(-2, 12), st.sampled_from((2**31, 2**62, 2**62 + 1, 2**63, 2**64, -(2**63), 2**100))
)
SMALL = st.integers(-1, 12)
NAMES = st.one_of(st.sampled_from("abcx"), st.text(max_size=3), st.just("y" * 600))
SERVERS = st.builds(Server, NAMES, NAMES, st.sampled_from(Suffrage))
CONFIGURATIONS = st.builds(Configuration, st.lists(SERVERS, max_size=4).map(tuple))
ENTRIES = st.builds(
    LogEntry,
    SMALL,
    SMALL,
    st.sampled_from(EntryKind),
    st.binary(max_size=8),
    st.one_of(st.none(), CONFIGURATIONS),
)


@st.composite
def runs(draw: st.DrawFn) -> tuple[LogEntry, ...]:
    """Entries as a correct leader might send them, so that some get through."""
    first, term = draw(st.integers(1, 8)), draw(st.integers(1, 6))
    count = draw(st.integers(0, 6))
    return tuple(LogEntry(first + place, term, data=b"x") for place in range(count))


SNAPSHOTS = st.one_of(
    st.builds(Snapshot, NUMBERS, NUMBERS, CONFIGURATIONS, NUMBERS, NUMBERS),
    st.builds(
        Snapshot,
        st.integers(1, 14),
        st.integers(1, 6),
        st.just(Configuration((Server("a", "a"), Server("b", "b")))),
        st.just(1),
        st.just(4),
    ),
)
APPENDS = st.one_of(
    st.builds(
        AppendEntries,
        NUMBERS,
        NAMES,
        NUMBERS,
        NUMBERS,
        st.one_of(st.none(), st.lists(ENTRIES, max_size=4).map(tuple)),
        NUMBERS,
    ),
    runs().flatmap(
        lambda run: st.builds(
            AppendEntries,
            st.integers(1, 9),
            st.sampled_from("bc"),
            st.just(run[0].index - 1 if run else 1),
            st.integers(0, 6),
            st.just(run),
            st.integers(0, 14),
        )
    ),
)
REQUESTS = st.one_of(
    APPENDS,
    st.builds(RequestVote, NUMBERS, NAMES, NUMBERS, NUMBERS, st.booleans()),
    st.builds(PreVote, NUMBERS, NAMES, NUMBERS, NUMBERS),
    st.builds(InstallSnapshot, SMALL, NAMES, SNAPSHOTS),
    st.just(TimeoutNow()),
)
REPLIES = st.one_of(
    st.builds(AppendEntriesReply, SMALL, NUMBERS, st.booleans(), st.booleans()),
    st.builds(AppendEntriesReply, NUMBERS, NUMBERS, st.booleans(), st.booleans()),
    st.builds(RequestVoteReply, NUMBERS, st.booleans()),
    st.builds(PreVoteReply, NUMBERS, st.booleans()),
    st.builds(InstallSnapshotReply, NUMBERS, st.booleans()),
    st.just(TimeoutNowReply()),
    st.builds(Refusal, st.text(max_size=5)),
)
TICKETS = st.builds(Ticket, st.integers(1, 5))
INPUTS: st.SearchStrategy[RaftInput] = st.one_of(
    st.builds(RequestReceived, TICKETS, REQUESTS, NAMES),
    st.builds(RequestReceived, TICKETS, REQUESTS, NAMES),
    st.builds(ReplyReceived, st.integers(1, 60), REPLIES),
    st.builds(ReplyReceived, st.integers(1, 60), REPLIES),
    st.builds(RequestFailed, st.integers(1, 60), st.sampled_from(Failure), st.just("no")),
    st.builds(SnapshotReceived, TICKETS),
    st.builds(SnapshotNotReceived, TICKETS, st.just("no")),
    st.builds(Propose, st.integers(), st.binary(max_size=4), st.floats(90.0, 130.0)),
    st.builds(ReadIndex, st.integers(), st.floats(90.0, 130.0)),
    st.builds(AddServer, st.integers(), SERVERS, st.just(130.0)),
    st.builds(RemoveServer, st.integers(), NAMES, st.just(130.0)),
    st.builds(TransferLeadership, st.integers(), st.one_of(st.none(), NAMES)),
)
STEPS = st.lists(st.one_of(INPUTS, st.none()), max_size=25)


def rig_in(state: str) -> Rig:
    settings: dict[str, Any] = {"append_entries_max": 2, "appends_in_flight_max": 2}
    if state == "new":
        return Rig("", **settings)
    if state == "leader":
        return leading("abc", 1, 2, **settings)
    rig = Rig("abc", 1, 2, 2, **settings)
    rig.append("b", 2, (2, 1), commit=2)
    if state == "candidate":
        rig.time_out()
    return rig


def feed(rig: Rig, incoming: RaftInput | None) -> None:
    """An input, or (None) the next timer."""
    before = len(rig.timers)
    if incoming is not None:
        rig.feed(incoming)
    elif before:
        timer = min(rig.timers, key=rig.timers.__getitem__)
        rig.now = max(rig.now, rig.timers.pop(timer))
        rig.feed(TimerFired(timer))


@given(st.sampled_from(("new", "follower", "candidate", "leader")), STEPS)
@settings(deadline=None, max_examples=400)
def test_nothing_raises_and_terms_and_commits_never_fall(
    state: str, steps: list[RaftInput | None]
) -> None:
    rig = rig_in(state)
    term, commit = rig.node.term, rig.node.commit_index
    committed = {i: rig.node.log.term_at(i) for i in range(1, commit + 1)}
    for step in steps:
        feed(rig, step)
        node = rig.node
        assert node.term >= term
        assert node.commit_index >= commit
        term, commit = node.term, node.commit_index
        snapshot = node._context.snapshot
        covered = 0 if snapshot is None else snapshot.last_index
        assert commit <= node.log.last_index
        for index in range(covered + 1, commit + 1):
            held = node.log.term_at(index)
            assert committed.setdefault(index, held) == held
        assert len(node._context.in_flight) < 200
        node.stats(rig.now)


@given(st.sampled_from(("new", "follower", "candidate", "leader")), REQUESTS)
@settings(deadline=None, max_examples=400)
def test_what_is_refused_changes_nothing(state: str, request: Any) -> None:  # noqa: ANN401
    rig = rig_in(state)

    def look() -> object:
        node = rig.node
        log = [node.log.term_at(index) for index in range(1, node.log.last_index + 1)]
        known = node.state, node.term, node.voted_for, node.leader, node.commit_index
        return known, log, node.configuration, dict(rig.timers)

    before = look()
    rig.ask(request, "somebody")
    if rig.events(RequestRefused):
        assert look() == before
        assert not any(isinstance(effect, Persist) for effect in rig.effects)
        (answer,) = rig.of(Answer)
        granted = getattr(answer.reply, "granted", False) or getattr(answer.reply, "success", False)
        assert not granted
