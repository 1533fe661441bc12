"""Alive claims, as a node hears them."""

from __future__ import annotations

import pytest

from swimnomad.names import Address
from swimnomad.swim.config import VERSIONS_PLAIN
from swimnomad.swim.events import (
    InputDropped,
    NameConflictSeen,
    NodeJoined,
    NodeRecovered,
    NodeUpdated,
)
from swimnomad.swim.timers import SuspicionTimeout
from swimnomad.wire.messages import Alive, Dead, NodeState, Suspect
from tests.swim.swim_support import OTHER, OWN, PEER, Hooks, Rig, alive, rig_with


def test_new_alive_adds_the_node_and_is_passed_on_once() -> None:
    """gossip 40.31: a new alive adds the node, announces a join, queues one broadcast."""
    rig = rig_with()
    rig.hear(alive("b", 3, meta=b"m"))
    entry = rig.entry("b")
    assert (entry.state, entry.incarnation, entry.meta) == (NodeState.ALIVE, 3, b"m")
    assert entry.address == PEER
    assert entry.state_change == rig.now
    (joined,) = rig.events(NodeJoined)
    assert (joined.name, joined.incarnation, joined.meta) == ("b", 3, b"m")
    assert rig.queued() == [alive("b", 3, meta=b"m")]


@pytest.mark.parametrize("incarnation", [1, 2])
def test_older_or_equal_alive_does_nothing(incarnation: int) -> None:
    """gossip 40.31: an older or equal incarnation changes nothing."""
    rig = rig_with()
    rig.hear(alive("b", 2))
    rig.drain()
    assert rig.hear(alive("b", incarnation, meta=b"other")) == []
    assert rig.entry("b").meta == b""
    assert rig.queued() == []


def test_higher_alive_ends_a_suspicion_without_a_join() -> None:
    """gossip 40.31: a higher incarnation resets suspect to alive without join event."""
    rig = rig_with("b", "c")
    rig.hear(Suspect("b", 1, "c"))
    rig.now += 1
    rig.hear(alive("b", 2))
    assert rig.entry("b").state is NodeState.ALIVE
    assert rig.entry("b").state_change == rig.now
    assert rig.entry("b").suspicion is None
    assert not rig.has_timer(SuspicionTimeout)
    assert rig.events(NodeJoined) == []
    assert [event.name for event in rig.events(NodeRecovered)] == ["b"]
    assert rig.events(NodeUpdated) == []


def test_higher_alive_of_an_alive_node_keeps_its_time_of_change() -> None:
    """gossip 40.31: the time of change stays if the node was alive already."""
    rig = rig_with("b")
    changed = rig.entry("b").state_change
    rig.now += 1
    rig.hear(alive("b", 2))
    assert rig.entry("b").incarnation == 2
    assert rig.entry("b").state_change == changed
    assert not rig.events(NodeRecovered)
    assert not rig.events(NodeJoined)


def test_changed_metadata_is_an_update() -> None:
    """gossip 40.32: changed metadata with a higher incarnation is announced as an update."""
    rig = rig_with("b")
    rig.hear(alive("b", 2, meta=b"new"))
    assert [event.meta for event in rig.events(NodeUpdated)] == [b"new"]
    rig.hear(Suspect("b", 2, "c"))
    rig.hear(alive("b", 3, meta=b"newer"))
    assert [event.meta for event in rig.events(NodeUpdated)] == [b"newer"]
    assert len(rig.events(NodeRecovered)) == 1


def test_changed_versions_alone_are_no_event() -> None:
    rig = rig_with("b")
    versions = bytes((1, 5, 2, 2, 5, 4))
    rig.hear(alive("b", 2, versions=versions))
    assert rig.entry("b").versions == versions
    assert rig.events(NodeUpdated) == []


@pytest.mark.parametrize(
    "versions",
    [
        b"\0\0\0",
        bytes(6),
        bytes((0, 5, 2, 0, 0, 0)),
        bytes((3, 2, 2, 0, 0, 0)),
        None,
        b"",
        b"\1\5\2",
    ],
)
def test_impossible_versions_are_never_stored(versions: bytes | None) -> None:
    """gossip 40.30: an alive whose version vector starts 0,0,0 is ignored."""
    rig = rig_with("c")
    rig.hear(alive("b", versions=versions))
    assert "b" not in rig.node.table
    assert [event.kind for event in rig.events(InputDropped)] == ["alive"]
    rig.hear(alive("c", 2, host="10.0.0.2", versions=versions))
    assert rig.entry("c").versions == VERSIONS_PLAIN


@pytest.mark.parametrize(
    ("claim", "reason"),
    [
        (Alive("b", 1, b"\x0a\0\0", 1, None, VERSIONS_PLAIN), "address of 3 bytes"),
        (Alive("b", 1, None, 1, None, VERSIONS_PLAIN), "address of 0 bytes"),
        (alive(""), "name of 0 bytes"),
        (alive("b" * 1025), "name of 1025 bytes"),
        (alive("b", meta=b"m" * 513), "metadata of 513 bytes"),
    ],
)
def test_unusable_alive_is_dropped_and_says_why(claim: Alive, reason: str) -> None:
    rig = rig_with()
    rig.hear(claim)
    assert rig.node.node_count == 1
    (dropped,) = rig.events(InputDropped)
    assert reason in dropped.reason
    assert rig.node.counters["dropped.alive"] == 1


def test_claims_pass_on_address_metadata_and_versions_unchanged() -> None:
    mapped = bytes(10) + b"\xff\xff" + bytes((10, 0, 0, 2))
    claim = Alive("b", 1, mapped, 7946, b"\xff\x80", bytes((1, 5, 2, 2, 5, 4)))
    rig = rig_with()
    rig.hear(claim)
    assert rig.queued() == [claim]
    assert rig.entry("b").ip == mapped
    assert rig.entry("b").address == PEER


def test_received_empty_metadata_is_passed_on_as_nil() -> None:
    rig = rig_with()
    rig.hear(alive("b", meta=b""))
    assert rig.queued() == [alive("b", meta=None)]


def test_port_zero_means_our_own_port() -> None:
    rig = rig_with()
    rig.hear(alive("b", port=0))
    assert rig.entry("b").port == OWN.port


def test_protocol_one_ignores_ports() -> None:
    rig = rig_with(versions=bytes((1, 5, 1, 0, 0, 0)))
    rig.hear(alive("b", port=99))
    assert rig.entry("b").port == OWN.port


def test_other_address_for_a_live_name_is_a_conflict() -> None:
    """gossip 40.34: a conflicting address changes nothing and is announced."""
    rig = rig_with("b")
    rig.hear(alive("b", 9, host=OTHER.host, meta=b"x"))
    assert rig.entry("b").address == PEER
    assert rig.entry("b").incarnation == 1
    assert rig.queued() == []
    (conflict,) = rig.events(NameConflictSeen)
    assert (conflict.existing.ip[-1], conflict.other.ip[-1]) == (2, 3)
    assert (conflict.other.incarnation, conflict.other.meta) == (9, b"x")
    rig.hear(alive("b", 9, port=1))
    assert len(rig.events(NameConflictSeen)) == 1


def test_four_and_sixteen_bytes_of_one_address_are_a_conflict() -> None:
    rig = rig_with("b")
    mapped = bytes(10) + b"\xff\xff" + bytes((10, 0, 0, 2))
    rig.hear(Alive("b", 2, mapped, 7946, None, VERSIONS_PLAIN))
    assert len(rig.events(NameConflictSeen)) == 1


def test_name_that_left_may_come_from_another_address() -> None:
    """gossip 40.34: the same name is accepted at a new address after it left."""
    rig = rig_with("b")
    rig.hear(Dead("b", 1, "b"))
    rig.hear(alive("b", 2, host=OTHER.host))
    assert rig.entry("b").address == OTHER
    assert [event.name for event in rig.events(NodeJoined)] == ["b"]


def test_dead_name_may_be_reclaimed_only_after_its_time() -> None:
    """gossip 40.34: accepted at a new address once dead longer than dead_node_reclaim_time."""
    rig = rig_with("b", dead_node_reclaim_time=10.0)
    rig.hear(Dead("b", 1, "c"))
    rig.now += 10.0
    rig.hear(alive("b", 2, host=OTHER.host))
    assert len(rig.events(NameConflictSeen)) == 1
    rig.now += 0.1
    rig.hear(alive("b", 2, host=OTHER.host))
    assert rig.entry("b").address == OTHER
    assert rig.entry("b").state is NodeState.ALIVE


def test_dead_name_is_never_reclaimed_by_default() -> None:
    rig = rig_with("b")
    rig.hear(Dead("b", 1, "c"))
    rig.now += 1e9
    rig.hear(alive("b", 2, host=OTHER.host))
    assert len(rig.events(NameConflictSeen)) == 1


def test_full_table_takes_no_more_names() -> None:
    rig = rig_with("b", nodes_max=2)
    rig.hear(alive("c", host="10.0.0.3"))
    assert rig.node.node_count == 2
    assert rig.node.counters["dropped.full"] == 1


def test_nodes_outside_the_allowed_networks_never_appear() -> None:
    """gossip 40.47: nodes outside the allowed networks never appear."""
    rig = rig_with(cidrs_allowed=("10.0.0.0/24",))
    outside = Address("192.0.2.1", 7946)
    rig.hear(alive("b"), source=outside)
    assert "b" not in rig.node.table
    rig.hear(alive("b", host=outside.host))
    assert "b" not in rig.node.table
    assert rig.node.counters["dropped.network"] == 2
    rig.hear(alive("b"))
    assert "b" in rig.node.table
    rig.hear(Dead("b", 1, "b"))
    rig.hear(alive("b", 2, host=outside.host))
    assert rig.entry("b").state is NodeState.LEFT


def test_refusing_hook_keeps_a_node_out() -> None:
    """gossip 40.46: a refusing alive hook keeps the peer out."""
    hooks = Hooks()
    hooks.alive_refusal = lambda node: "no b here" if node.name == "b" else ""
    rig = Rig(delegate=hooks)
    rig.hear(alive("b"), alive("c", host=OTHER.host))
    assert "b" not in rig.node.table
    assert "c" in rig.node.table
    assert rig.events(InputDropped)[0].reason == "no b here (alive of 'b')"


def test_incarnation_zero_is_ignored() -> None:
    rig = rig_with()
    rig.hear(alive("b", 0))
    assert "b" not in rig.node.table
