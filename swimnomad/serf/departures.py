"""The commands to leave and to force others to: how their phases follow each other.

Source: serf.md §11.3, §11.4, §12.
"""

from __future__ import annotations

from swimnomad.names import Operation
from swimnomad.serf.context import Context
from swimnomad.serf.events import ForceLeaveFinished
from swimnomad.serf.inputs import ForceLeave
from swimnomad.serf.intent_traffic import IntentTraffic
from swimnomad.serf.leave import (
    BroadcastWaits,
    ForceLeaveOut,
    LeaveIntentOut,
    LeavePhase,
    Leaving,
    Purpose,
)
from swimnomad.serf.lifecycle import Lifecycle
from swimnomad.serf.text import is_writable
from swimnomad.serf.timers import BroadcastTimeout, PropagationOver
from swimnomad.swim.events import LeaveFinished
from swimnomad.swim.inputs import Leave


class Departures:
    """The leave and the force-leaves that are under way."""

    def __init__(self, context: Context, intents: IntentTraffic) -> None:
        self._context = context
        self._intents = intents
        self._leaving: Leaving | None = None
        self._waits = BroadcastWaits()

    # -- our own leave

    def leave(self, operation: Operation, now: float) -> None:
        """Leave the pool; `LeaveFinished` tells when the others had time to hear of it."""
        context = self._context
        if context.lifecycle is Lifecycle.LEFT:
            context.emit(LeaveFinished(operation, heard=True))
            return
        if self._leaving is not None:
            # The reference refuses; to wait for the leave that is under way serves callers better.
            self._leaving.operations.append(operation)
            return
        context.lifecycle = Lifecycle.LEAVING
        self._leaving = Leaving(operation)
        message, _ = self._intents.make_leave(context.name, now, prune=False)
        if context.table.has_alive_besides(context.name):
            self._announce(message, LeaveIntentOut(), now)
        else:
            self._advance(now)

    def on_gossip_leave_finished(self, event: LeaveFinished, now: float) -> None:
        """The layer below has left."""
        self._advance(now, heard=event.heard)

    def on_propagation_over(self, now: float) -> None:
        """The others had time to tell each other."""
        self._advance(now)

    def _advance(self, now: float, *, heard: bool = True) -> None:
        context, leaving = self._context, self._leaving
        assert leaving is not None
        match leaving.advance(heard=heard):
            case LeavePhase.GOSSIP:
                context.orders.append(Leave(context.own_operation()))
            case LeavePhase.PROPAGATION:
                delay = context.config.leave_propagate_delay
                context.set_timer(PropagationOver(), now + delay)
            case _:  # Done: a leave does not return to its intent.
                context.lifecycle = Lifecycle.LEFT
                self._finish(leaving, heard=leaving.heard)

    def _finish(self, leaving: Leaving, *, heard: bool) -> None:
        self._leaving = None
        for operation in leaving.operations:
            self._context.emit(LeaveFinished(operation, heard=heard))

    # -- leaves in the name of others

    def force_leave(self, command: ForceLeave, now: float) -> None:
        """Tell the pool that a member left; `ForceLeaveFinished` tells when they heard of it."""
        context = self._context
        error = ""
        if len(self._waits) >= context.config.waits_max:
            error = "too many force-leaves are waiting for their broadcast"
        elif not is_writable(command.node):
            error = f"the node name {command.node!r} is not text"
        if error:
            context.emit(ForceLeaveFinished(command.operation, error))
            return
        message, verdict = self._intents.make_leave(command.node, now, prune=command.prune)
        # Nobody needs to hear that this node leaves if it contradicts in the same breath.
        if context.table.has_alive_besides(context.name) and not verdict.refute:
            self._announce(message, ForceLeaveOut(command.operation), now)
        else:
            context.emit(ForceLeaveFinished(command.operation))

    # -- broadcasts that somebody waits for

    def _announce(self, message: bytes, purpose: Purpose, now: float) -> None:
        """Broadcast an intent and wait until it is out, or has had its time."""
        context = self._context
        ticket = self._waits.open(purpose)
        context.set_timer(BroadcastTimeout(ticket), now + context.config.broadcast_timeout)
        context.queues.intents.queue(message, notify=ticket)

    def on_broadcast_over(self, ticket: int, now: float, *, heard: bool) -> None:
        """A broadcast is out, or timed out if it was not `heard`."""
        self._context.cancel_timer(BroadcastTimeout(ticket))
        match self._waits.close(ticket):
            case LeaveIntentOut():
                self._advance(now, heard=heard)
            case ForceLeaveOut(operation):
                error = "" if heard else "timed out waiting for the broadcast to get out"
                outcome = ForceLeaveFinished(operation, error, may_have_happened=not heard)
                self._context.emit(outcome)
            case _:  # Out after its timeout: whoever waited was told so.
                pass

    def give_up(self) -> None:
        """The node is shut down: report whatever is under way as not heard."""
        for purpose in self._waits.close_all():
            if isinstance(purpose, ForceLeaveOut):
                error = "this node was shut down before the broadcast was out"
                outcome = ForceLeaveFinished(purpose.operation, error, may_have_happened=True)
                self._context.emit(outcome)
        if self._leaving is not None:
            self._finish(self._leaving, heard=False)
