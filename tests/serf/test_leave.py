"""The leave sequence as data."""

from __future__ import annotations

from swimnomad.serf.leave import BroadcastWaits, ForceLeaveOut, LeaveIntentOut, LeavePhase, Leaving


def test_a_leave_goes_through_its_phases_in_order() -> None:
    leaving = Leaving(1)
    assert leaving.phase is LeavePhase.INTENT
    phases = [leaving.advance() for _ in range(3)]
    assert phases == [LeavePhase.GOSSIP, LeavePhase.PROPAGATION, LeavePhase.DONE]
    assert leaving.heard


def test_one_broadcast_that_was_not_out_in_time_is_remembered() -> None:
    leaving = Leaving(1)
    leaving.advance(heard=False)
    leaving.advance(heard=True)
    assert not leaving.heard


def test_a_ticket_can_be_closed_once() -> None:
    waits = BroadcastWaits()
    first, second = waits.open(LeaveIntentOut()), waits.open(ForceLeaveOut(9))
    assert first != second
    assert len(waits) == 2
    assert waits.close(second) == ForceLeaveOut(9)
    assert waits.close(second) is None
    assert len(waits) == 1
