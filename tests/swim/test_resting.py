"""Gossip ticks that have nothing to send may be slept through."""

from __future__ import annotations

import pytest

from swimnomad.swim.inputs import LetTicksRest, Shutdown
from swimnomad.swim.timers import GossipTick
from tests.swim.swim_support import Hooks, Rig, alive, host, rig_with

INTERVAL = 0.2


def resting(delegate: Hooks | None = None) -> Rig:
    """A node that has slept through its last tick."""
    rig = rig_with("b", "c", delegate=delegate)
    rig.feed(LetTicksRest(True))
    rig.fire(GossipTick)
    assert rig.node.is_resting
    assert not rig.has_timer(GossipTick)
    return rig


def test_a_node_does_not_rest_unless_it_may() -> None:
    rig = rig_with("b", "c")
    rig.fire(GossipTick)
    assert not rig.node.is_resting
    assert rig.has_timer(GossipTick)


def test_a_claim_wakes_it_for_the_very_tick_it_would_have_had() -> None:
    waker, restless = rig_with("b", "c"), rig_with("b", "c")
    waker.feed(LetTicksRest(True))
    waker.fire(GossipTick)
    for _ in range(1000):
        restless.fire(GossipTick)
    waker.now = restless.now + INTERVAL / 3
    waker.hear(alive("d", host=host(4)))
    assert not waker.node.is_resting
    assert waker.now + waker.at_of(GossipTick) == pytest.approx(restless.timers[GossipTick()])
    assert waker.timers[GossipTick()] == restless.timers[GossipTick()]
    assert waker.fire(GossipTick)
    assert len(waker.sent()) > 0


def test_a_message_of_the_application_wakes_it_at_the_next_input() -> None:
    hooks = Hooks()
    rig = resting(hooks)
    hooks.payloads.append(b"news")
    rig.feed(LetTicksRest(True))
    assert rig.at_of(GossipTick) > 0
    assert not rig.node.is_resting


def test_it_wakes_when_ticks_may_rest_no_more() -> None:
    rig = resting()
    rig.now += 10 * INTERVAL
    rig.feed(LetTicksRest(False))
    assert 0 < rig.at_of(GossipTick) <= INTERVAL
    rig.feed(LetTicksRest(False))
    assert rig.effects == []
    rig.fire(GossipTick)
    assert rig.has_timer(GossipTick)


def test_a_late_tick_is_followed_by_another() -> None:
    rig = rig_with("b", "c", compression=True)
    rig.feed(LetTicksRest(True))
    rig.now = rig.timers[GossipTick()] + INTERVAL
    rig.fire(GossipTick)
    assert not rig.node.is_resting
    rig.fire(GossipTick)
    assert rig.node.is_resting


def test_a_shutdown_ends_the_rest_for_good() -> None:
    rig = resting()
    rig.feed(Shutdown())
    assert not rig.node.is_resting
    rig.feed(LetTicksRest(False))
    assert rig.effects == []
