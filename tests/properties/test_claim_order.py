"""Nodes that have heard the same claims hold the same, in whatever order these came.

The claims are of honest histories: an incarnation is announced by its own node with one and the
same content, and whoever is accused at an incarnation has announced it. Two accusations of
different ages do not commute at once (a suspicion of a dead member means nothing until its newer
life is known), so gossip and push/pulls repeat claims; after one repetition, in any order, nothing
is left of it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

from hypothesis import given, settings
from hypothesis import strategies as st

from swimnomad.serf.config import SerfConfig
from swimnomad.serf.events import Status
from swimnomad.serf.lamport import LamportClock
from swimnomad.serf.membership import Membership
from swimnomad.swim.config import SwimConfig
from swimnomad.swim.events import NodeView
from swimnomad.wire.messages import Dead, NodeState, Suspect
from tests.swim.swim_support import Rig, alive, record

NAMES = ("b", "c")
INCARNATIONS_MAX = 4
SEVERITY = {NodeState.ALIVE: 0, NodeState.SUSPECT: 1, NodeState.DEAD: 2, NodeState.LEFT: 2}


class Claim(NamedTuple):
    """Somebody says that a member is so at an incarnation, by gossip or in a push/pull."""

    name: str
    incarnation: int
    state: NodeState
    is_merged: bool

    @property
    def meta(self) -> bytes:
        return bytes((self.incarnation,))

    @property
    def weight(self) -> tuple[int, int]:
        """What it amounts to: a dead record in a push/pull is only a suspicion."""
        is_hearsay = self.is_merged and self.state is NodeState.DEAD
        return self.incarnation, SEVERITY[NodeState.SUSPECT if is_hearsay else self.state]

    def tell(self, rig: Rig) -> None:
        name, incarnation, state = self.name, self.incarnation, self.state
        if self.is_merged:
            rig.merge(record(name, incarnation, state, meta=self.meta))
        elif state is NodeState.ALIVE:
            rig.hear(alive(name, incarnation, meta=self.meta))
        elif state is NodeState.SUSPECT:
            rig.hear(Suspect(name, incarnation, "z"))
        else:
            rig.hear(Dead(name, incarnation, name if state is NodeState.LEFT else "z"))


accusations = st.builds(
    Claim,
    st.sampled_from(NAMES),
    st.integers(1, INCARNATIONS_MAX),
    st.sampled_from([NodeState.SUSPECT, NodeState.DEAD, NodeState.LEFT]),
    st.booleans(),
)
announcements = st.builds(
    Claim,
    st.sampled_from(NAMES),
    st.integers(1, INCARNATIONS_MAX),
    st.just(NodeState.ALIVE),
    st.booleans(),
)


@st.composite
def histories(draw: st.DrawFn) -> list[Claim]:
    claims = draw(st.lists(accusations | announcements, min_size=1, max_size=8, unique=True))
    told = {(one.name, one.incarnation) for one in claims if one.state is NodeState.ALIVE}
    for one in claims[:]:
        if (one.name, one.incarnation) not in told:
            told.add((one.name, one.incarnation))
            claims.append(one._replace(state=NodeState.ALIVE, is_merged=draw(st.booleans())))
    return claims


Table = dict[str, tuple[int, int]]


def heard(claims: list[Claim]) -> tuple[Rig, Callable[[], Table]]:
    rig = Rig()
    for name in NAMES:
        rig.hear(alive(name, 1, meta=bytes((1,))))
    for one in claims:
        one.tell(rig)

    def table() -> Table:
        return {
            name: (rig.entry(name).incarnation, SEVERITY[rig.entry(name).state]) for name in NAMES
        }

    return rig, table


@given(data=st.data(), claims=histories())
@settings(max_examples=100)
def test_claims_in_any_order_converge_to_the_same_table(
    data: st.DataObject, claims: list[Claim]
) -> None:
    """The newest incarnation counts, and of that the worst that was said."""
    expected = {
        name: max([(1, 0), *(one.weight for one in claims if one.name == name)]) for name in NAMES
    }
    for _ in range(2):
        first = data.draw(st.permutations(claims))
        again = data.draw(st.permutations(claims))
        _, table = heard([*first, *again])
        assert table() == expected


@given(data=st.data(), claims=histories())
@settings(max_examples=50)
def test_a_last_word_makes_tables_equal_in_every_field(
    data: st.DataObject, claims: list[Claim]
) -> None:
    last = [Claim(name, INCARNATIONS_MAX + 1, NodeState.ALIVE, False) for name in NAMES]
    found = []
    for _ in range(2):
        rig, _ = heard([*data.draw(st.permutations(claims)), *last])
        found.append(
            [
                (one.name, one.incarnation, one.state, one.address, one.meta)
                for name in NAMES
                for one in (rig.entry(name),)
            ]
        )
    assert found[0] == found[1]


@given(
    data=st.data(),
    kinds=st.dictionaries(st.integers(1, 20), st.booleans(), min_size=1, max_size=6),
    is_known=st.booleans(),
)
@settings(max_examples=100)
def test_intents_in_any_order_end_in_the_same_status(
    data: st.DataObject, kinds: dict[int, bool], is_known: bool
) -> None:
    """Also if they overtake the news that the member is there."""
    node = NodeView("b", bytes((10, 0, 0, 2)), 7946, b"", bytes((1, 5, 2, 2, 5, 5)), 1)
    newest = max(kinds)
    for _ in range(2):
        member_table = Membership(SerfConfig(SwimConfig(name="me")), LamportClock())
        if is_known:
            member_table.on_node_joined(node, 0.0)
        for ltime in data.draw(st.permutations(sorted(kinds))):
            intent = member_table.on_join_intent if kinds[ltime] else member_table.on_leave_intent
            intent("b", ltime, 1.0)
        if not is_known:
            member_table.on_node_joined(node, 2.0)
        member = member_table.table.members["b"]
        assert member.status is (Status.ALIVE if kinds[newest] else Status.LEAVING)
        assert member.status_ltime == newest
