"""Nodes with one rule broken each, to prove that the invariants can fail.

Each function takes a node that was just made and replaces one of its ways. `SABOTAGES` says which
invariant has to notice.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from swimnomad.raft.effects import Answer, Effect, Persist, PersistTerm, Restore
from swimnomad.raft.events import OperationFailed, ProposalDone
from swimnomad.raft.messages import AppendEntries, RequestVote, RequestVoteReply
from swimnomad.raft.node import RaftNode
from swimnomad.raft.proposals import Pending
from swimnomad.raft.stats import State

Parts = Any
"""Nodes are broken from inside."""


def votes_twice(node: Parts) -> None:
    """Gives its vote to everybody who asks."""
    context = node._context

    def on_vote_request(ticket: object, request: RequestVote) -> None:
        if request.term > context.term:
            node._elections.adopt_term(request.term, "")
        granted = request.term == context.term and context.state is not State.LEADER
        context.answer(ticket, RequestVoteReply(context.term, granted))

    node._elections.on_vote_request = on_vote_request


def forgets_its_vote(node: Parts) -> None:
    """Writes its term down, but not whom it voted for."""
    handle_all = node.handle_all

    def forgetful(incoming: object, now: float) -> list[Effect]:
        return [
            PersistTerm(effect.term, None) if isinstance(effect, PersistTerm) else effect
            for effect in handle_all(incoming, now)
        ]

    node.handle_all = forgetful


def votes_for_short_logs(node: Parts) -> None:
    """Does not care what the candidate's log lacks."""
    node._elections._is_up_to_date = lambda _request: True


def lets_its_term_fall(node: Parts) -> None:
    """Follows a leader of an older term."""
    context = node._context
    on_append = node._follower.on_append

    def obedient(ticket: object, request: AppendEntries) -> None:
        if request.term < context.term:
            context.term = request.term
            context._is_term_unwritten = True
        on_append(ticket, request)

    node._follower.on_append = obedient


def ignores_the_previous_term(node: Parts) -> None:
    """Appends wherever the index fits."""
    context = node._context

    def mismatch(request: AppendEntries) -> int | None:
        last = int(context.log.last_index)
        return last if request.previous_index > last else None

    node._follower._mismatch = mismatch


def keeps_contradicting_entries(node: Parts) -> None:
    """Takes its own entries for the leader's if the index is the same."""
    context = node._context

    def take(entries: tuple[Any, ...]) -> None:
        new = [entry for entry in entries if entry.index > context.log.last_index]
        if new:
            context.append(new)

    node._follower._take = take


def believes_the_whole_log(node: Parts) -> None:
    """Commits as far as its log goes, not as far as the message vouches for."""
    context, follower = node._context, node._follower
    on_append = follower.on_append

    def credulous(ticket: object, request: AppendEntries) -> None:
        on_append(ticket, request)
        if request.term == context.term and request.leader == context.leader:
            commit = min(request.commit_index, context.log.last_index)
            if commit > context.commit_index:
                follower._commits.advance(commit)

    follower.on_append = credulous


def commits_alone(node: Parts) -> None:
    """Takes its own copy for a quorum."""
    leadership = node._leadership

    def commit() -> bool:
        last = int(node.log.last_index)
        if last <= node.commit_index:
            return False
        leadership._commits.advance(last)
        return True

    leadership._commit = commit


def commits_old_terms_by_counting(node: Parts) -> None:
    """Counts copies of entries of earlier terms too."""
    leadership, replication = node._leadership, node._replication

    def commit() -> bool:
        index = replication.quorum_match
        if index <= node.commit_index:
            return False
        leadership._commits.advance(index)
        return True

    leadership._commit = commit


def answers_before_writing(node: Parts) -> None:
    """Lets the others know at once, and writes afterwards."""
    handle_all = node.handle_all

    def hasty(incoming: object, now: float) -> list[Effect]:
        effects = handle_all(incoming, now)
        return sorted(effects, key=lambda e: isinstance(e, Persist) and not isinstance(e, Answer))

    node.handle_all = hasty


def reads_without_asking(node: Parts) -> None:
    """Believes that it still leads."""
    reads = node._reads
    settle = reads.settle

    def trusting() -> None:
        reads.note_round(0)
        settle()

    reads.settle = trusting


def calls_the_unknown_certain(node: Parts) -> None:
    """Says of what it has not heard that it has not happened."""
    context = node._context

    def fail(operation: int, text: str, *, may_have_happened: bool = False) -> None:
        context.emit(OperationFailed(operation, text, False))

    context.fail = fail


def reports_before_the_commit(node: Parts) -> None:
    """Says done as soon as it has written."""
    pending = node._proposals
    wait = pending.wait

    def hasty(operation: int, index: int, deadline: float) -> None:
        wait(operation, index, deadline)
        found: Pending = pending._pending.pop(index)
        pending._count -= 1
        node._context.emit(ProposalDone(found.operation, index))

    pending.wait = hasty


def changes_two_servers_at_once(node: Parts) -> None:
    """Begins a membership change while another, or its term, is not committed."""
    node._changes._obstacle = lambda: None


def applies_out_of_turn(node: Parts) -> None:
    """Hands out the newest committed entry only."""
    commits = node._leadership._commits
    advance = commits.advance

    def hasty(index: int) -> None:
        if index > node.commit_index + 1 and node.commit_index > 3:
            node._context.commit_index = index - 1
        advance(index)

    commits.advance = hasty


def takes_back_commits(node: Parts) -> None:
    """Believes the commit index of every message, also a lower one."""
    context, follower = node._context, node._follower
    on_append = follower.on_append

    def credulous(ticket: object, request: AppendEntries) -> None:
        on_append(ticket, request)
        if request.entries and request.leader == context.leader:
            context.commit_index = min(request.commit_index, context.commit_index)

    follower.on_append = credulous


def restores_what_it_has(node: Parts) -> None:
    """Keeps its own state when a leader sends a snapshot, and says that it took it."""
    handle_all = node.handle_all

    def stubborn(incoming: object, now: float) -> list[Effect]:
        return [e for e in handle_all(incoming, now) if not isinstance(e, Restore)]

    node.handle_all = stubborn


RANDOM: tuple[tuple[Callable[[RaftNode], None], tuple[str, ...], int], ...] = (
    (votes_twice, ("one vote a term", "election safety"), 3),
    (forgets_its_vote, ("one vote a term", "election safety"), 32),
    (votes_for_short_logs, ("leader completeness",), 3),
    (lets_its_term_fall, ("terms never fall",), 0),
    (ignores_the_previous_term, ("log matching",), 3),
    (keeps_contradicting_entries, ("log matching", "state machine safety"), 2),
    (believes_the_whole_log, ("state machine safety", "leader completeness"), 31),
    (commits_alone, ("state machine safety", "leader completeness"), 2),
    (answers_before_writing, ("leader completeness", "one vote a term"), 11),
    (calls_the_unknown_certain, ("certainly not",), 0),
    (reports_before_the_commit, ("no acknowledged write lost",), 0),
    (applies_out_of_turn, ("state machine safety",), 0),
    (takes_back_commits, ("commit index",), 0),
    (restores_what_it_has, ("state machine safety",), 0),
)
"""What breaks, which invariants may notice first, and from which seed on to look for it."""
