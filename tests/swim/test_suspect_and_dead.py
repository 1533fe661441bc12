"""Accusations and deaths, as a node hears them."""

from __future__ import annotations

import pytest

from swimnomad.swim.effects import CancelTimer
from swimnomad.swim.events import NodeJoined, NodeLeft, NodeSuspected
from swimnomad.swim.inputs import TimerFired
from swimnomad.swim.timers import SuspicionTimeout
from swimnomad.wire.messages import Alive, Dead, NodeState, Suspect
from tests.swim.swim_support import Rig, alive, rig_with


def crowd(**settings: object) -> Rig:
    """A node that knows nine others, so that suspicions wait for confirmations."""
    return rig_with(*"bcdefghij", **settings)


def test_unknown_or_old_suspicion_is_ignored() -> None:
    """gossip 40.35: a suspicion of an unknown node or of an old incarnation is ignored."""
    rig = rig_with()
    assert rig.hear(Suspect("b", 1, "c")) == []
    rig.hear(alive("b", 5))
    rig.drain()
    assert rig.hear(Suspect("b", 4, "c")) == []
    assert rig.entry("b").state is NodeState.ALIVE
    assert rig.queued() == []


def test_first_suspicion_marks_the_node_and_is_passed_on_once() -> None:
    """gossip 40.35: state, time stamp and one broadcast; a second identical one changes nothing."""
    rig = rig_with("b", "c")
    rig.now += 5
    rig.hear(Suspect("b", 1, "c"))
    entry = rig.entry("b")
    assert (entry.state, entry.state_change) == (NodeState.SUSPECT, rig.now)
    (event,) = rig.events(NodeSuspected)
    assert (event.name, event.accuser) == ("b", "c")
    assert rig.queued() == [Suspect("b", 1, "c")]
    rig.drain()
    rig.now += 1
    assert rig.hear(Suspect("b", 1, "c")) == []
    assert entry.state_change == rig.now - 1
    assert rig.queued() == []


def test_expired_suspicion_turns_dead_and_replaces_the_queued_suspect() -> None:
    """gossip 40.35: expiry turns it dead and replaces the queued suspect by a dead."""
    rig = rig_with("b", "c")
    rig.hear(Suspect("b", 1, "c"))
    assert rig.at_of(SuspicionTimeout) == 4.0
    rig.fire(SuspicionTimeout)
    assert rig.entry("b").state is NodeState.DEAD
    assert [event.on_purpose for event in rig.events(NodeLeft)] == [False]
    assert rig.queued() == [Dead("b", 1, "a")]
    assert "degraded.timeout" not in rig.node.counters


def test_expiry_with_too_few_confirmations_is_counted() -> None:
    rig = crowd()
    rig.hear(Suspect("b", 1, "c"))
    assert rig.at_of(SuspicionTimeout) == 24.0
    rig.fire(SuspicionTimeout)
    assert rig.node.counters["degraded.timeout"] == 1


def test_confirmations_shorten_the_deadline_and_are_passed_on() -> None:
    rig = crowd()
    rig.hear(Suspect("b", 1, "c"))
    rig.drain()
    rig.hear(Suspect("b", 2, "d"))
    assert rig.at_of(SuspicionTimeout) == pytest.approx(11.381)
    assert rig.entry("b").incarnation == 1
    assert rig.queued() == [Suspect("b", 2, "d")]
    rig.drain()
    rig.hear(Suspect("b", 1, "d"))
    rig.hear(Suspect("b", 1, "c"))
    assert rig.queued() == []
    rig.hear(Suspect("b", 1, "e"))
    assert rig.at_of(SuspicionTimeout) == pytest.approx(4.0)
    rig.drain()
    assert rig.hear(Suspect("b", 1, "f")) == []


def test_late_confirmation_fires_at_once_and_only_once() -> None:
    """gossip 40.26: a confirmation that leaves no time fires at once, and only once."""
    rig = crowd()
    rig.hear(Suspect("b", 1, "c"))
    rig.hear(Suspect("b", 1, "d"))
    rig.now += 5.0
    rig.hear(Suspect("b", 1, "e"))
    assert rig.entry("b").state is NodeState.DEAD
    assert len(rig.events(NodeLeft)) == 1
    assert rig.queued() == [Dead("b", 1, "a")]
    assert not rig.has_timer(SuspicionTimeout)
    assert rig.feed(TimerFired(SuspicionTimeout("b", 1))) == []


def test_refuted_suspicion_does_not_fire() -> None:
    rig = rig_with("b", "c")
    rig.hear(Suspect("b", 1, "c"))
    rig.hear(alive("b", 2))
    assert rig.of(CancelTimer) == [CancelTimer(SuspicionTimeout("b", 1))]
    # A driver may have it on the way already.
    assert rig.feed(TimerFired(SuspicionTimeout("b", 1))) == []
    rig.hear(Suspect("b", 2, "c"))
    assert rig.feed(TimerFired(SuspicionTimeout("b", 1))) == []
    assert rig.feed(TimerFired(SuspicionTimeout("nobody", 1))) == []
    assert rig.entry("b").state is NodeState.SUSPECT


def test_unknown_or_old_death_is_ignored() -> None:
    """gossip 40.36: the death of an unknown node or of an old incarnation is ignored."""
    rig = rig_with()
    assert rig.hear(Dead("b", 1, "c")) == []
    rig.hear(alive("b", 5))
    rig.drain()
    assert rig.hear(Dead("b", 4, "c")) == []
    assert rig.entry("b").state is NodeState.ALIVE


@pytest.mark.parametrize(
    ("accuser", "state"), [("b", NodeState.LEFT), ("c", NodeState.DEAD), ("a", NodeState.DEAD)]
)
def test_death_by_its_own_word_is_a_departure(accuser: str, state: NodeState) -> None:
    """gossip 40.36: From=Node means left, anything else dead."""
    rig = rig_with("b")
    rig.now += 1
    rig.hear(Dead("b", 4, accuser))
    entry = rig.entry("b")
    assert (entry.state, entry.incarnation, entry.state_change) == (state, 4, rig.now)
    assert [event.on_purpose for event in rig.events(NodeLeft)] == [state is NodeState.LEFT]
    assert rig.queued() == [Dead("b", 4, accuser)]
    assert rig.node.live_count == 1


@pytest.mark.parametrize("second", ["b", "c"])
def test_second_death_is_ignored(second: str) -> None:
    """gossip 40.36: a second dead is ignored without event."""
    rig = rig_with("b")
    rig.hear(Dead("b", 1, "c"))
    rig.drain()
    assert rig.hear(Dead("b", 2, second)) == []
    assert rig.entry("b").state is NodeState.DEAD
    assert rig.queued() == []


def test_replayed_alive_does_not_revive() -> None:
    """gossip 40.36: a replayed alive of equal incarnation does not revive."""
    rig = rig_with("b")
    rig.hear(Dead("b", 1, "c"))
    rig.drain()
    rig.hear(alive("b", 1))
    assert rig.entry("b").state is NodeState.DEAD
    assert rig.events(NodeJoined) == []
    assert not [m for m in rig.queued() if isinstance(m, Alive)]


def test_death_ends_a_suspicion() -> None:
    rig = rig_with("b", "c")
    rig.hear(Suspect("b", 1, "c"))
    rig.hear(Dead("b", 1, "c"))
    assert not rig.has_timer(SuspicionTimeout)
    assert rig.hear(Suspect("b", 1, "c")) == []


def test_suspicion_switches_reach_the_node() -> None:
    rig = crowd(lha_suspicion=False)
    rig.hear(Suspect("b", 1, "c"))
    assert rig.at_of(SuspicionTimeout) == 4.0
    rig = crowd(suspicion_min_fixed=9.0, suspicion_confirmations=1)
    rig.hear(Suspect("b", 1, "c"))
    assert rig.at_of(SuspicionTimeout) == 54.0
    rig.hear(Suspect("b", 1, "d"))
    assert rig.at_of(SuspicionTimeout) == 9.0
