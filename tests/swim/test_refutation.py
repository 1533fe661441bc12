"""Claims about the node itself."""

from __future__ import annotations

import pytest

from swimnomad.swim.config import VERSIONS_PLAIN
from swimnomad.swim.events import HealthChanged, InputDropped, NameConflictSeen, SelfRefuted
from swimnomad.swim.inputs import Leave
from swimnomad.wire.messages import Alive, Dead, NodeState, Suspect
from tests.swim.swim_support import OTHER, OWN, Rig, alive, record, rig_with

MAX = 0xFFFF_FFFF


def own_alive(incarnation: int, **fields: object) -> Alive:
    return alive("a", incarnation, host=OWN.host, **fields)  # type: ignore[arg-type]  # by name


@pytest.mark.parametrize(
    ("claim", "word", "accuser"),
    [
        (Suspect("a", 1, "b"), "suspect", "b"),
        (Dead("a", 1, "b"), "dead", "b"),
        (Dead("a", 1, "a"), "dead", "a"),
        (own_alive(1, meta=b"false"), "alive", "a"),
        (own_alive(1, versions=bytes((1, 5, 2, 1, 1, 1))), "alive", "a"),
    ],
)
def test_wrong_claim_about_ourselves_is_refuted_once(
    claim: Alive | Suspect | Dead, word: str, accuser: str
) -> None:
    """gossip 40.33: stays alive with its own metadata, one alive queued, score up by one."""
    rig = rig_with("b", meta=b"mine")
    rig.hear(claim)
    assert rig.own.state is NodeState.ALIVE
    assert rig.own.meta == b"mine"
    assert rig.own.incarnation == 2
    assert rig.queued() == [own_alive(2, meta=b"mine")]
    assert rig.events(SelfRefuted) == [SelfRefuted(2, word, accuser)]
    assert rig.events(HealthChanged) == [HealthChanged(1)]
    assert rig.node.health_score == 1


def test_refutation_outbids_any_incarnation() -> None:
    rig = rig_with("b")
    rig.hear(Suspect("a", 41, "b"))
    assert rig.own.incarnation == 42
    assert rig.hear(Suspect("a", 41, "b")) == []
    rig.hear(own_alive(50))
    assert rig.own.incarnation == 51


def test_echo_of_our_own_alive_is_ignored() -> None:
    rig = rig_with("b", meta=b"mine")
    assert rig.hear(own_alive(1, meta=b"mine")) == []
    rig.hear(Suspect("a", 1, "b"))
    assert rig.hear(own_alive(1, meta=b"old")) == []


def test_refutation_replaces_an_older_word_of_ourselves_in_the_queue() -> None:
    rig = Rig()
    rig.hear(Suspect("a", 1, "b"))
    # Our own empty metadata is written as empty, not as nil.
    assert rig.queued() == [own_alive(2, meta=b"")]


def test_another_node_under_our_name_is_a_conflict() -> None:
    rig = rig_with("b")
    rig.hear(alive("a", 7, host=OTHER.host))
    (conflict,) = rig.events(NameConflictSeen)
    assert conflict.existing.name == "a"
    assert rig.own.incarnation == 1


def test_unusable_versions_under_our_name_are_outbid() -> None:
    rig = rig_with("b")
    rig.hear(own_alive(5, versions=b""))
    assert rig.own.incarnation == 6
    # Nobody stores a vector of zeros, so nobody needs to be told.
    rig.hear(own_alive(9, versions=bytes(6)))
    assert rig.own.incarnation == 6
    assert [event.kind for event in rig.events(InputDropped)] == ["alive"]


def test_highest_incarnation_cannot_be_outbid() -> None:
    rig = rig_with("b")
    rig.hear(Suspect("a", MAX, "b"))
    assert rig.own.incarnation == 1
    assert [event.kind for event in rig.events(InputDropped)] == ["incarnation"]
    rig.hear(Suspect("a", MAX - 1, "b"))
    assert rig.own.incarnation == MAX


def test_incarnation_wraps_as_in_memberlist_if_asked_to() -> None:
    rig = rig_with("b", compat="upstream")
    rig.hear(Suspect("a", MAX, "b"))
    assert rig.own.incarnation == 0


def test_claims_in_a_push_pull_are_refuted_too() -> None:
    for state in (NodeState.SUSPECT, NodeState.DEAD, NodeState.LEFT):
        rig = rig_with("b")
        rig.merge(record("a", 7, state, host=OWN.host))
        assert rig.own.incarnation == 8
        assert rig.own.state is NodeState.ALIVE
    rig = rig_with("b")
    rig.merge(record("a", 7, host=OWN.host, versions=VERSIONS_PLAIN))
    assert rig.own.incarnation == 8


def test_node_that_has_left_refutes_nothing() -> None:
    rig = rig_with("b")
    rig.feed(Leave(1))
    for claim in (own_alive(9), Suspect("a", 9, "b"), Dead("a", 9, "b")):
        assert rig.hear(claim) == []
    assert rig.own.state is NodeState.LEFT
