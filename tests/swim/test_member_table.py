"""The table itself, random selection, and the ticker: the small parts."""

from __future__ import annotations

import random
from collections import Counter

import pytest

from swimnomad.swim.members import MemberTable, NodeEntry
from swimnomad.swim.selection import select_random
from swimnomad.swim.ticker import Ticker
from swimnomad.wire.messages import NodeState


def entry(name: str, state: NodeState = NodeState.ALIVE, since: float = 0.0) -> NodeEntry:
    return NodeEntry(name, bytes((10, 0, 0, 1)), 1, b"", bytes((1, 5, 2, 0, 0, 0)), 1, state, since)


def full(count: int, seed: int = 1) -> MemberTable:
    table = MemberTable(random.Random(seed))
    for number in range(count):
        table.insert(entry(f"n{number}"))
    return table


def test_new_entries_stand_at_random_places() -> None:
    orders = {tuple(e.name for e in full(5, seed)) for seed in range(20)}
    assert len(orders) > 5
    table = full(5)
    assert {e.name for e in table} == {f"n{number}" for number in range(5)}
    assert [table[i] for i in range(5)] == list(table)
    assert "n3" in table
    assert "x" not in table
    assert repr(entry("n")) == "<n ALIVE 1 at 10.0.0.1:1>"


def test_live_count_follows_every_change_of_state() -> None:
    table = full(3)
    first = table[0]
    for state, count in (
        (NodeState.SUSPECT, 3),
        (NodeState.DEAD, 2),
        (NodeState.LEFT, 2),
        (NodeState.ALIVE, 3),
    ):
        table.set_state(first, state, 9.0)
        assert table.live_count == count
        assert first.state_change == 9.0


def test_compaction_forgets_what_is_gone_for_long() -> None:
    table = full(2)
    table.insert(entry("old dead", NodeState.DEAD, 0.0))
    table.insert(entry("old left", NodeState.LEFT, 0.0))
    table.insert(entry("new left", NodeState.LEFT, 50.0))
    table.insert(entry("never", NodeState.DEAD, float("-inf")))
    assert table.compact(60.0, 30.0) == 3
    assert sorted(e.name for e in table) == ["n0", "n1", "new left"]
    assert table.get("old dead") is None
    assert table.live_count == 2


def test_address_follows_a_move() -> None:
    node = entry("n")
    address = node.address
    node.move(node.ip, node.port)
    assert node.address is address
    node.move(bytes((10, 0, 0, 9)), 7)
    assert str(node.address) == "10.0.0.9:7"


@pytest.mark.parametrize("size", [3, 10, 200])
def test_selection_returns_distinct_acceptable_nodes_only(size: int) -> None:
    """gossip 40.43: distinct acceptable nodes only, and all of them when the table is small."""
    table = full(size)
    rng = random.Random(7)
    for _ in range(50):
        chosen = select_random(table, 3, lambda e: e.name not in ("n0", "n1"), rng)
        assert len(set(map(id, chosen))) == len(chosen) == min(3, size - 2)
        assert not {"n0", "n1"} & {e.name for e in chosen}


def test_selection_in_a_small_table_finds_all() -> None:
    """gossip 40.43: all acceptable nodes of a small table are found."""
    table = full(5)
    rng = random.Random(7)
    for _ in range(50):
        assert len(select_random(table, 3, lambda e: e.name > "n2", rng)) == 2


def test_the_only_helper_of_three_members_is_never_missed() -> None:
    """gossip 40.43: memberlist pull request 350."""
    table, rng = full(3), random.Random(7)
    for _ in range(500):
        (helper,) = select_random(table, 1, lambda e: e.name == "n2", rng)
        assert helper.name == "n2"


def test_selection_gives_up_in_a_large_table_without_acceptable_nodes() -> None:
    assert select_random(full(50), 3, lambda _: False, random.Random(7)) == []
    assert select_random(MemberTable(random.Random(1)), 3, lambda _: True, random.Random(7)) == []


def test_selection_is_uniform() -> None:
    table, rng = full(40), random.Random(7)
    counts = Counter(
        e.name for _ in range(20_000) for e in select_random(table, 3, lambda _: True, rng)
    )
    assert len(counts) == 40
    assert max(counts.values()) < 1.25 * min(counts.values())


def test_ticker_skips_what_was_missed() -> None:
    ticker = Ticker(10.0, 2.0)
    assert ticker.due == 10.0
    assert ticker.advance(10.0) == 12.0
    assert ticker.advance(12.5) == 14.0
    assert ticker.advance(21.0) == 22.0
    assert ticker.advance(24.0) == 26.0
