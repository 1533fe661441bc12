"""A follower's side of replication: is it the leader, do the logs agree, what is new.

Where the logs differ the follower names the place to go on from: behind its last entry, or before
the term that does not fit, so that the leader passes over a whole term at once. HashiCorp's
leaders understand that as well.

The commit index is believed up to the last entry that this message vouches for. HashiCorp's raft
takes it up to the last entry held, which may be one that the leader would replace.

Source: nomad-agent.md §16.4; thesis §3.5, §3.8.
"""

from __future__ import annotations

from swimnomad.raft.commits import Commits
from swimnomad.raft.context import Context
from swimnomad.raft.elections import Elections
from swimnomad.raft.inputs import Ticket
from swimnomad.raft.log import LogEntry
from swimnomad.raft.messages import AppendEntries, AppendEntriesReply, InstallSnapshot
from swimnomad.raft.stats import State

STEPS_BACK_MAX = 4096
"""Entries looked at to find where a term begins."""


def problem_with_leader(context: Context, request: AppendEntries | InstallSnapshot) -> str | None:
    """Why this cannot be the leader of its term, as one term has one leader."""
    if request.term != context.term:
        return None
    if context.state is State.LEADER:
        return f"this server leads term {context.term}"
    if context.leader not in (None, request.leader):
        return f"{context.leader} leads term {context.term}"
    return None


class Follower:
    """Takes what leaders send."""

    def __init__(self, context: Context, elections: Elections, commits: Commits) -> None:
        self._context = context
        self._elections = elections
        self._commits = commits

    def on_append(self, ticket: Ticket, request: AppendEntries) -> None:
        """A leader sends entries, or a heartbeat. Its bounds were checked."""
        context = self._context
        if request.term < context.term:
            context.refuse(request.leader, request, f"the term here is {context.term}")
            self._answer(ticket, context.log.last_index, success=False)
            return
        problem = problem_with_leader(context, request)
        if problem is not None:
            context.reject(ticket, request.leader, request, problem)
            return
        self._elections.follow(request.term, request.leader)
        if request.entries is None:
            self._answer(ticket, context.log.last_index, success=True)
            return
        hint = self._mismatch(request)
        if hint is not None:
            self._answer(ticket, hint, success=False, retry_at_once=True)
            return
        self._take(request.entries)
        self._answer(ticket, context.log.last_index, success=True)
        vouched = request.previous_index + len(request.entries)
        commit = min(request.commit_index, vouched)
        if commit > context.commit_index:
            self._commits.advance(commit)

    def _answer(
        self, ticket: Ticket, last_index: int, *, success: bool, retry_at_once: bool = False
    ) -> None:
        context = self._context
        context.write_entries()
        reply = AppendEntriesReply(context.term, last_index, success, retry_at_once)
        context.answer(ticket, reply)

    def _mismatch(self, request: AppendEntries) -> int | None:
        """Behind which entry the leader may go on, if not where it did; None if that fits."""
        context = self._context
        previous = request.previous_index
        if previous <= context.commit_index:
            return None  # Committed entries are the same everywhere; what is known was compared.
        last = context.log.last_index
        if previous > last:
            return last
        held = context.term_at(previous)
        if held == request.previous_term:
            return None
        hint = previous - 1
        floor = max(context.commit_index, previous - STEPS_BACK_MAX)
        while hint > floor and context.term_at(hint) == held:
            hint -= 1
        return hint

    def _take(self, entries: tuple[LogEntry, ...]) -> None:
        """Append what is new, after taking out what contradicts it."""
        context = self._context
        if not entries:
            return
        last = context.log.last_index
        if entries[0].index > last:
            context.append(list(entries))
            return
        for place, entry in enumerate(entries):
            if entry.index > last:
                context.append(list(entries[place:]))
                return
            held = context.log.term_at(entry.index)
            # Not held: compacted, so committed.
            if held is not None and held != entry.term:
                context.truncate(entry.index)
                context.append(list(entries[place:]))
                return
