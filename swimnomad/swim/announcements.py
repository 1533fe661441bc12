"""Leaving and changing metadata: claims about ourselves that somebody waits for.

Each is done at once here; what takes time is that the others hear of it. The operation is over
when its broadcast was sent often enough, or when the time allowed is up.

Source: gossip.md §32, §33.
"""

from __future__ import annotations

from swimnomad.errors import UsageError
from swimnomad.names import Operation
from swimnomad.swim.config import META_BYTES_MAX
from swimnomad.swim.context import Context
from swimnomad.swim.events import LeaveFinished, NodeUpdated, UpdateFinished
from swimnomad.swim.membership import INCARNATION_MAX, Membership, view_of
from swimnomad.swim.timers import OperationDeadline
from swimnomad.wire.messages import Dead


class Announcements:
    """The leave and the metadata updates that are not heard yet."""

    def __init__(self, context: Context, membership: Membership) -> None:
        self._context = context
        self._membership = membership
        self._waiting: dict[Operation, type[LeaveFinished] | type[UpdateFinished]] = {}

    def leave(self, operation: Operation) -> None:
        """Leave the pool on purpose. We go on answering and gossiping until shut down."""
        context = self._context
        if context.rules.has_left:
            context.emit(LeaveFinished(operation, True))
            return
        context.rules.has_left = True
        own = context.own
        claim = Dead(own.name, own.incarnation, own.name)
        self._membership.hear_dead(claim, own.address, notify=operation)
        self._wait(operation, LeaveFinished)

    def update(self, operation: Operation, meta: bytes) -> None:
        """Replace our metadata.

        Raises:
            UsageError: If it is too long, we have left, or no higher incarnation is left.
        """
        context = self._context
        if len(meta) > META_BYTES_MAX:
            raise UsageError(f"metadata has {len(meta)} bytes; allowed are {META_BYTES_MAX}")
        if context.rules.has_left:
            raise UsageError("a node that has left cannot change its metadata")
        own = context.own
        if own.incarnation >= INCARNATION_MAX:
            raise UsageError("the incarnation of this node cannot be raised any more")
        has_changed = meta != own.meta
        self._membership.announce(own.incarnation + 1, meta, notify=operation)
        if has_changed:
            context.emit(view_of(own, NodeUpdated))
        self._wait(operation, UpdateFinished)

    def _wait(
        self, operation: Operation, outcome: type[LeaveFinished] | type[UpdateFinished]
    ) -> None:
        context = self._context
        if not context.has_others():
            context.emit(outcome(operation, True))
            return
        self._waiting[operation] = outcome
        timeout = context.config.leave_timeout
        if timeout > 0:
            context.set_timer(OperationDeadline(operation), context.now + timeout)

    def on_broadcast_finished(self, token: object) -> None:
        """The broadcast of an operation is gone from the queue."""
        assert isinstance(token, Operation)
        outcome = self._waiting.pop(token, None)
        if outcome is not None:
            self._context.cancel_timer(OperationDeadline(token))
            self._context.emit(outcome(token, True))

    def on_deadline(self, timer: OperationDeadline) -> None:
        """An operation waited long enough."""
        outcome = self._waiting.pop(timer.operation, None)
        if outcome is not None:
            self._context.emit(outcome(timer.operation, False))

    def give_up(self) -> None:
        """Nothing will be sent any more: report every operation as not heard."""
        waiting, self._waiting = self._waiting, {}
        for operation, outcome in waiting.items():
            self._context.emit(outcome(operation, False))
