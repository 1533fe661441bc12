"""Writes that wait for their commit, and what became of them.

A leader that is deposed does not know whether its entries will be kept. It goes on waiting: once
something is committed at an index, the write there has happened or certainly never will. What is
still open at its deadline is reported as unknown.
"""

from __future__ import annotations

from collections.abc import Iterable

from swimnomad.names import Operation
from swimnomad.raft.context import Context
from swimnomad.raft.events import ProposalDone
from swimnomad.raft.inputs import Propose
from swimnomad.raft.log import EntryKind, LogEntry
from swimnomad.raft.stats import State
from swimnomad.raft.timers import OperationDeadline

NOT_LEADER = "node is not the leader"
TRANSFERRING = "leadership transfer in progress"
TIMED_OUT = "timed out enqueuing operation"
OVERWRITTEN = "leadership lost while committing log"
UNKNOWN = "timed out while committing log"
STOPPED = "raft is already shutdown"


class Deadlines:
    """One timer for the deadlines of all operations that wait."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._armed: float | None = None

    def watch(self, deadline: float) -> None:
        """Be awake at `deadline`, if not earlier."""
        if self._armed is None or deadline < self._armed:
            self._armed = deadline
            self._context.set_timer(OperationDeadline(), deadline)

    def on_fired(self) -> None:
        """The timer fired: whoever waits has to `watch` again."""
        self._armed = None


class Pending:
    """A write that stands in our log. `older` waits for the same index, from another term."""

    __slots__ = ("deadline", "older", "operation", "term")

    def __init__(
        self, operation: Operation, term: int, deadline: float, older: Pending | None
    ) -> None:
        self.operation = operation
        self.term = term
        self.deadline = deadline
        self.older = older


class Proposals:
    """The writes that wait."""

    def __init__(self, context: Context, deadlines: Deadlines) -> None:
        self._context = context
        self._deadlines = deadlines
        self._pending: dict[int, Pending] = {}
        self._count = 0
        self.is_transferring = False
        """Whether leadership is being handed over: then nothing new is taken."""

    def __len__(self) -> int:
        """How many wait."""
        return self._count

    def refusal(self, deadline: float) -> str | None:
        """Why no write can be taken now; None if it can."""
        context = self._context
        if context.state is not State.LEADER:
            return STOPPED if context.state is State.STOPPED else NOT_LEADER
        if self.is_transferring:
            return TRANSFERRING
        if deadline <= context.now:
            return TIMED_OUT
        if self._count >= context.config.proposals_max:
            return f"{self._count} writes wait already"
        return None

    def propose(self, proposal: Propose) -> None:
        """Append a write, or say why it certainly does not happen."""
        context = self._context
        refusal = self.refusal(proposal.deadline)
        if refusal is None and len(proposal.data) > context.config.entry_bytes_max:
            refusal = f"a write of {len(proposal.data)} bytes is too long"
        if refusal is None and proposal.kind not in (EntryKind.COMMAND, EntryKind.BARRIER):
            refusal = f"{proposal.kind.name.lower()} entries are not proposed"
        if refusal is not None:
            context.fail(proposal.operation, refusal)
            return
        index = context.append_own(proposal.kind, proposal.data)
        self.wait(proposal.operation, index, proposal.deadline)

    def wait(self, operation: Operation, index: int, deadline: float) -> None:
        """Report on `operation` once the entry at `index` is committed."""
        older = self._pending.get(index)
        self._pending[index] = Pending(operation, self._context.term, deadline, older)
        self._count += 1
        self._deadlines.watch(deadline)

    def settle(self, entries: Iterable[LogEntry]) -> None:
        """Entries are committed and on their way to be applied."""
        if not self._pending:
            return
        for entry in entries:
            pending = self._pending.pop(entry.index, None)
            while pending is not None:
                self._count -= 1
                if pending.term == entry.term:
                    self._context.emit(ProposalDone(pending.operation, entry.index))
                else:
                    self._context.fail(pending.operation, OVERWRITTEN)
                pending = pending.older

    def skip(self, last: int) -> None:
        """Entries up to `last` came as a snapshot: what stood there is not known."""
        for index in [index for index in self._pending if index <= last]:
            self._drop(index, OVERWRITTEN)

    def expire(self) -> None:
        """Report what has waited long enough."""
        now = self._context.now
        for index, newest in list(self._pending.items()):
            kept: Pending | None = None
            pending: Pending | None = newest
            while pending is not None:
                older = pending.older
                if pending.deadline <= now:
                    self._count -= 1
                    self._context.fail(pending.operation, UNKNOWN, may_have_happened=True)
                else:
                    pending.older, kept = kept, pending
                pending = older
            if kept is None:
                del self._pending[index]
            else:
                self._pending[index] = kept
        left = [pending.deadline for pending in self._all()]
        if left:
            self._deadlines.watch(min(left))

    def _all(self) -> Iterable[Pending]:
        for newest in self._pending.values():
            pending: Pending | None = newest
            while pending is not None:
                yield pending
                pending = pending.older

    def give_up(self, text: str) -> None:
        """The node stops."""
        for index in list(self._pending):
            self._drop(index, text)

    def _drop(self, index: int, text: str) -> None:
        pending: Pending | None = self._pending.pop(index)
        while pending is not None:
            self._count -= 1
            self._context.fail(pending.operation, text, may_have_happened=True)
            pending = pending.older
