"""Beginning in the middle of the life of a pool."""

from __future__ import annotations

from typing import Any

import pytest

from swimnomad.errors import UsageError
from swimnomad.names import ip_of_host
from swimnomad.swim.config import VERSIONS_PLAIN
from swimnomad.swim.inputs import Converge, KnownNode, Roster
from swimnomad.swim.timers import GossipTick, ProbeTick, PushPullTick
from swimnomad.wire.messages import NodeState
from tests.swim.swim_support import OWN, Rig, alive, host


def known(name: str, number: int) -> KnownNode:
    return KnownNode(name, ip_of_host(host(number)), OWN.port, b"", VERSIONS_PLAIN, 3)


def roster(size: int) -> Roster:
    """a, b, c … at their addresses."""
    return Roster(tuple(known(chr(96 + number), number) for number in range(1, size + 1)))


def converged(size: int = 5, seed: str = "rig", **settings: Any) -> Rig:  # noqa: ANN401 - by name
    rig = Rig(seed=seed, **settings)
    rig.feed(Converge(roster(size)))
    return rig


def test_a_converged_node_knows_everybody_alive_and_says_nothing() -> None:
    rig = converged(5)
    assert sorted(entry.name for entry in rig.node.table) == ["a", "b", "c", "d", "e"]
    assert {entry.state for entry in rig.node.table} == {NodeState.ALIVE}
    assert (rig.node.node_count, rig.node.live_count, rig.node.queue_length) == (5, 5, 0)
    assert rig.entry("c").incarnation == 3
    assert rig.entry("c").address.host == host(3)
    assert rig.entry("a") is rig.node.own
    assert not rig.sent()
    assert not rig.dialed()
    assert rig.has_timer(ProbeTick)
    assert rig.has_timer(GossipTick)


def test_nodes_that_share_a_roster_share_no_state_and_no_order() -> None:
    shared = roster(9)
    first, second = Rig(seed="1"), Rig(seed="2")
    first.feed(Converge(shared))
    second.feed(Converge(shared))
    orders = [[entry.name for entry in rig.node.table] for rig in (first, second)]
    assert orders[0] != orders[1]
    first.hear(alive("c", 9, host(3), OWN.port))
    assert (first.entry("c").incarnation, second.entry("c").incarnation) == (9, 3)


def test_the_first_exchange_comes_at_any_time_of_an_interval_and_is_made() -> None:
    waits = [converged(100, seed=f"{n}").at_of(PushPullTick) for n in range(40)]
    interval = 30.0 * 3  # stretched for a hundred nodes
    assert all(0 <= wait < interval for wait in waits)
    assert min(waits) < 0.2 * interval
    assert max(waits) > 0.8 * interval
    rig = converged(100)
    rig.fire(PushPullTick)
    assert len(rig.dialed()) == 1


def test_exchanges_that_are_off_stay_off() -> None:
    assert not converged(5, push_pull_interval=0.0).has_timer(PushPullTick)


def test_who_knows_others_already_cannot_begin_converged() -> None:
    rig = converged(3)
    with pytest.raises(UsageError, match="knows others already"):
        rig.feed(Converge(roster(3)))


def test_a_roster_names_the_node_itself_and_nobody_twice() -> None:
    rig = Rig(name="stranger")
    with pytest.raises(UsageError, match="does not name this node, 'stranger'"):
        rig.feed(Converge(roster(3)))
    with pytest.raises(UsageError, match="names each node once"):
        rig.feed(Converge(Roster((known("stranger", 1), known("b", 2), known("b", 3)))))
    assert rig.node.node_count == 1
