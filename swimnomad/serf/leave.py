"""Leaving the pool, and declaring a failed member left, as sequences of phases.

    INTENT ──out, or broadcast timeout──> GOSSIP ──gossip layer has left──> PROPAGATION ──> DONE

The leave intent must be out before the gossip layer says goodbye: whoever hears of the departure
first and of the intent later reports a failure. A broadcast that does not get out in time (nobody
answers, the queue is full) does not stop the leave: as of Serf 0.9.7 it goes on.

A force-leave has the first phase only, and there the timeout is an error.

Source: serf.md §11.3, §12.
"""

from __future__ import annotations

import enum

from swimnomad.names import Operation, Value


class LeavePhase(enum.Enum):
    """Where a leave stands."""

    INTENT = "the leave intent is being broadcast"
    GOSSIP = "the gossip layer is leaving"
    PROPAGATION = "the others are given time to tell each other"
    DONE = "the node has left"


LEAVE_SEQUENCE = tuple(LeavePhase)


class Leaving:
    """A leave in progress; later commands to leave wait for the same end."""

    def __init__(self, operation: Operation) -> None:
        self.operations = [operation]
        self.phase = LeavePhase.INTENT
        self.heard = True
        """Whether every broadcast so far was out in time."""

    def advance(self, *, heard: bool = True) -> LeavePhase:
        """End the current phase, and say which one begins."""
        assert self.phase is not LeavePhase.DONE
        self.heard = self.heard and heard
        self.phase = LEAVE_SEQUENCE[LEAVE_SEQUENCE.index(self.phase) + 1]
        return self.phase


class LeaveIntentOut(Value, frozen=True):
    """Whoever waits for a broadcast is the node's own leave."""


class ForceLeaveOut(Value, frozen=True):
    """Whoever waits for a broadcast is a force-leave."""

    operation: Operation


Purpose = LeaveIntentOut | ForceLeaveOut


class BroadcastWaits:
    """Who waits for which broadcast to be out, by ticket."""

    def __init__(self) -> None:
        self._last_ticket = 0
        self._purposes: dict[int, Purpose] = {}

    def __len__(self) -> int:
        """Number of broadcasts waited for."""
        return len(self._purposes)

    def open(self, purpose: Purpose) -> int:
        """A ticket to put on the broadcast."""
        self._last_ticket += 1
        self._purposes[self._last_ticket] = purpose
        return self._last_ticket

    def close(self, ticket: int) -> Purpose | None:
        """Stop waiting; None if that happened before."""
        return self._purposes.pop(ticket, None)

    def close_all(self) -> list[Purpose]:
        """Stop waiting for anything; return who did wait, in order."""
        purposes = list(self._purposes.values())
        self._purposes.clear()
        return purposes
