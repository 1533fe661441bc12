"""Reads that are as new as the last write, without a log entry for each: the read index.

A leader notes its commit index when a read arrives, and answers once a quorum has answered to a
heartbeat sent afterwards: nobody can have led a later term before that moment, so nothing newer
was acknowledged by then (thesis §6.4). A new leader first has to commit an entry of its own term;
its commit index may be old before that.

One round of heartbeats serves all reads that came before it.
"""

from __future__ import annotations

from swimnomad.names import Operation
from swimnomad.raft.context import Context
from swimnomad.raft.events import ReadReady
from swimnomad.raft.inputs import ReadIndex
from swimnomad.raft.proposals import NOT_LEADER, STOPPED, TIMED_OUT, Deadlines
from swimnomad.raft.replication import Replication
from swimnomad.raft.stats import State

UNCONFIRMED = "timed out waiting for a quorum to confirm the leader"
DEPOSED = "leadership lost while waiting for a quorum"


class _Read:
    __slots__ = ("deadline", "index", "operation", "round")

    def __init__(self, operation: Operation, deadline: float, index: int) -> None:
        self.operation = operation
        self.deadline = deadline
        self.index = index
        self.round: int | None = None


class Reads:
    """The reads that wait, in the order of their arrival."""

    def __init__(self, context: Context, replication: Replication, deadlines: Deadlines) -> None:
        self._context = context
        self._replication = replication
        self._deadlines = deadlines
        self._waiting: list[_Read] = []
        self._round_asked = 0

    def add(self, read: ReadIndex) -> None:
        """Take a read, or say why it fails."""
        context = self._context
        refusal: str | None = None
        if context.state is not State.LEADER:
            refusal = STOPPED if context.state is State.STOPPED else NOT_LEADER
        elif read.deadline <= context.now:
            refusal = TIMED_OUT
        elif len(self._waiting) >= context.config.reads_max:
            refusal = f"{len(self._waiting)} reads wait already"
        if refusal is not None:
            context.fail(read.operation, refusal)
            return
        # Entries of earlier terms below our first may be committed and we do not know it yet.
        index = max(context.commit_index, context.term_start)
        self._waiting.append(_Read(read.operation, read.deadline, index))
        self._deadlines.watch(read.deadline)

    def note_round(self, number: int) -> None:
        """A round of heartbeats begins: it is for all that came before."""
        for read in reversed(self._waiting):
            if read.round is not None:
                break
            read.round = self._round_asked = number

    def settle(self) -> None:
        """Begin a round if reads wait for one and none is on its way; report those confirmed."""
        waiting = self._waiting
        if not waiting:
            return
        confirmed = self._replication.quorum_round
        if waiting[-1].round is None and confirmed >= self._round_asked:
            self.note_round(self._replication.send_heartbeats())
            confirmed = self._replication.quorum_round
        done = 0
        for read in waiting:
            if read.round is None or read.round > confirmed:
                break
            if read.index > self._context.commit_index:
                break
            self._context.emit(ReadReady(read.operation, read.index))
            done += 1
        del waiting[:done]

    def expire(self) -> None:
        """Report the reads that have waited long enough."""
        kept: list[_Read] = []
        for read in self._waiting:
            if read.deadline <= self._context.now:
                self._context.fail(read.operation, UNCONFIRMED)
            else:
                kept.append(read)
        self._waiting = kept
        if kept:
            self._deadlines.watch(min(read.deadline for read in kept))

    def give_up(self, text: str) -> None:
        """The node leads no more: a read has no effect, so none has happened."""
        reads, self._waiting = self._waiting, []
        self._round_asked = 0
        for read in reads:
            self._context.fail(read.operation, text)
