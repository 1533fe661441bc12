"""Handing leadership over: bring the target up to date, take no writes, tell it to stand at once.

The target asks for votes without a pre-vote, and its request says that it is a transfer, so that
voters answer though they hear a leader (thesis §3.10). The old leader learns of the new term like
any other; if it does not within an election timeout, it leads on.
"""

from __future__ import annotations

from swimnomad.names import Operation
from swimnomad.raft.context import Context
from swimnomad.raft.events import TransferDone
from swimnomad.raft.inputs import TransferLeadership
from swimnomad.raft.messages import TimeoutNow
from swimnomad.raft.progress import Progress
from swimnomad.raft.proposals import NOT_LEADER, STOPPED, TRANSFERRING, Proposals
from swimnomad.raft.replication import Replication
from swimnomad.raft.servers import ServerAddress
from swimnomad.raft.stats import State
from swimnomad.raft.timers import TransferDeadline

TIMED_OUT = "leadership transfer timeout"


class Transfer:
    """The transfer that runs, if one does. It may outlast our leadership by a moment."""

    def __init__(self, context: Context, replication: Replication, proposals: Proposals) -> None:
        self._context = context
        self._replication = replication
        self._proposals = proposals
        self._operation: Operation | None = None
        self._target: ServerAddress = ""
        self._number: int | None = None

    def start(self, command: TransferLeadership) -> None:
        """Begin, or say why not."""
        context = self._context
        if context.state is not State.LEADER:
            stopped = context.state is State.STOPPED
            context.fail(command.operation, STOPPED if stopped else NOT_LEADER)
            return
        if self._operation is not None:
            context.fail(command.operation, TRANSFERRING)
            return
        peer = self._choose(command)
        if peer is None:
            whom = "a voter to transfer to" if command.target is None else f"{command.target!r}"
            context.fail(command.operation, f"cannot find {whom} among the other voters")
            return
        self._operation = command.operation
        self._target = peer.server.address
        self._number = None
        self._proposals.is_transferring = True
        context.set_timer(TransferDeadline(), context.now + context.config.election_timeout)

    def _choose(self, command: TransferLeadership) -> Progress | None:
        candidates = [
            peer
            for peer in self._replication
            if peer.server.is_voter and peer.until is None
            if command.target in (None, peer.server.id)
        ]
        return max(candidates, key=lambda peer: peer.match, default=None)

    def advance(self) -> None:
        """Tell the target to stand once it has all that we have."""
        if self._operation is None or self._number is not None:
            return
        context = self._context
        peer = self._replication.get(self._target)
        assert peer is not None, "nobody is removed while leadership is handed over"
        if peer.match == context.log.last_index:
            self._number, _ = context.send(self._target, TimeoutNow())

    def on_failure(self, number: int, reason: str) -> None:
        """The target did not hear us, or does not want to."""
        if number == self._number:
            self._fail(f"{self._target} does not take over: {reason}")

    def on_leader(self, leader: ServerAddress) -> None:
        """Somebody else leads."""
        operation = self._operation
        if operation is None:
            return
        if leader == self._target:
            self._clear()
            self._context.emit(TransferDone(operation, leader))
        else:
            self._fail(f"{leader} was elected instead of {self._target}")

    def on_deadline(self) -> None:
        """It took too long."""
        if self._operation is not None:
            # As leader we know that it did not happen; else the target may still be elected.
            deposed = self._context.state is not State.LEADER
            self._fail(TIMED_OUT, may_have_happened=deposed)

    def on_deposed(self) -> None:
        """We lead no more, which is what we wanted; to whom it went is not known yet."""
        self._proposals.is_transferring = False

    def give_up(self, text: str) -> None:
        """The node stops."""
        if self._operation is not None:
            self._fail(text, may_have_happened=True)

    def _fail(self, text: str, *, may_have_happened: bool = False) -> None:
        operation = self._operation
        assert operation is not None
        self._clear()
        self._context.fail(operation, text, may_have_happened=may_have_happened)

    def _clear(self) -> None:
        self._operation = None
        self._number = None
        self._proposals.is_transferring = False
        self._context.cancel_timer(TransferDeadline())
