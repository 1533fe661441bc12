"""A Serf node that begins in the middle of the life of a pool, and rests while nothing happens."""

from __future__ import annotations

import random

import pytest

from swimnomad.errors import UsageError
from swimnomad.names import Address
from swimnomad.serf.events import Status
from swimnomad.serf.inputs import Converge, LetTicksRest, SendUserEvent, Start, TimerFired
from swimnomad.serf.node import SerfNode
from swimnomad.swim.effects import Effect, SetTimer
from swimnomad.swim.inputs import KnownNode, Roster
from swimnomad.swim.timers import GossipTick
from tests.serf.helpers import serf_config


def pool() -> list[SerfNode]:
    """Three nodes that have just begun converged."""
    nodes = [
        SerfNode(serf_config(name, tags={"role": name}), random.Random(name)) for name in "abc"
    ]
    for number, node in enumerate(nodes, 1):
        node.handle(Start(Address(f"10.0.0.{number}", 7946)), 0.0)
    owns = [node.swim.own for node in nodes]
    roster = Roster(tuple(KnownNode(o.name, o.ip, o.port, o.meta, o.versions) for o in owns))
    for node in nodes:
        assert not [e for e in node.handle(Converge(roster), 0.0) if not isinstance(e, SetTimer)]
    return nodes


def gossip_ticks(effects: list[Effect]) -> list[float]:
    return [
        effect.at
        for effect in effects
        if isinstance(effect, SetTimer) and isinstance(effect.timer, GossipTick)
    ]


def test_everybody_is_a_member_with_tags_and_the_same_records() -> None:
    first, second, _ = pool()
    assert list(first.members) == ["a", "b", "c"]
    assert first.members["b"].tags == {"role": "b"}
    assert {member.status for member in first.members.values()} == {Status.ALIVE}
    assert first.members["b"] is second.members["b"]
    assert first.members is not second.members
    assert first.local_member.name == "a"
    assert first.stats()["member_time"] == "2"


def test_a_refused_roster_leaves_the_members_as_they_were() -> None:
    node = SerfNode(serf_config("a"), random.Random(1))
    node.handle(Start(Address("10.0.0.1", 7946)), 0.0)
    with pytest.raises(UsageError, match="does not name"):
        node.handle(Converge(Roster(())), 0.0)
    assert list(node.members) == ["a"]


def test_an_event_to_tell_wakes_a_node_at_rest() -> None:
    node = SerfNode(serf_config("a"), random.Random(1))
    (tick,) = gossip_ticks(node.handle(Start(Address("10.0.0.1", 7946)), 0.0))
    node.handle(Converge(Roster((KnownNode("a", b"\x0a\0\0\x01", 7946, b"", bytes(6)),))), 0.0)
    node.handle(LetTicksRest(True), 0.0)
    node.handle(TimerFired(GossipTick()), tick)
    assert node.swim.is_resting
    (tick,) = gossip_ticks(node.handle(SendUserEvent(1, "deploy", b""), 5.0))
    assert 5.0 < tick <= 5.1
    assert not node.swim.is_resting
