from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from swimnomad.swim.broadcasts import TransmitLimitedQueue, retransmit_limit
from tests.swim.swim_vectors import scripts, table

ITEMS_MAX = 1000


def test_retransmit_limit_equals_the_reference_in_every_row() -> None:
    for row in table("retransmit-limit"):
        assert retransmit_limit(row["mult"], row["nodes"]) == row["limit"], row


def test_retransmit_limit_of_small_and_hundred_nodes() -> None:
    """gossip 40.41: mult 3 gives 0, 3 and 6 for 0, 1 and 99 nodes."""
    assert [retransmit_limit(3, nodes) for nodes in (0, 1, 99)] == [0, 3, 6]


@pytest.mark.parametrize("script", scripts("broadcast-queue/"))
def test_queue_follows_every_recorded_script(script: dict[str, Any]) -> None:
    queue = TransmitLimitedQueue(script["retransmit_mult"], ITEMS_MAX)
    names: dict[bytes, str] = {}
    for number, step in enumerate(script["steps"]):
        if step["op"] == "queue":
            message = step["id"].encode().ljust(step["len"], b".")
            names[message] = step["id"]
            queue.queue(message, name=step.get("name"), notify=step["id"])
        elif step["op"] == "get":
            taken = queue.fetch(step["overhead"], step["limit"], script["nodes"])
            assert [names[message] for message in taken] == step["result"], number
        else:
            queue.prune(step["retain"])
        # The reference announces several at once in no certain order.
        assert sorted(map(str, queue.take_finished())) == sorted(step.get("finished", [])), number
        assert len(queue) == step["queued_after"], number


def test_budget_overhead_limit_and_prune() -> None:
    """gossip 40.40: replacing, order, four or three messages of 18 bytes, yields 3,3,2,0, prune."""
    for overhead, count in ((2, 4), (3, 3)):
        queue = TransmitLimitedQueue(3, ITEMS_MAX)
        for number in range(4):
            queue.queue(f"{number}. this is a test".encode()[:18].ljust(18), name=str(number))
        assert len(queue.fetch(overhead, 80, 10)) == count
    queue = TransmitLimitedQueue(1, ITEMS_MAX)
    for number in range(4):
        queue.queue(f"{number}".encode().ljust(18), name=str(number))
    assert [len(queue.fetch(3, 80, 10)) for _ in range(4)] == [3, 3, 2, 0]
    queue = TransmitLimitedQueue(1, ITEMS_MAX)
    for number in range(4):
        queue.queue(b"x" * 18, name=str(number), notify=number)
    queue.prune(2)
    assert queue.take_finished() == [0, 1]
    assert len(queue) == 2


def test_same_name_replaces_whatever_was_sent_so_far() -> None:
    """gossip 40.40: same-name replaces."""
    queue = TransmitLimitedQueue(4, ITEMS_MAX)
    queue.queue(b"old", name="n", notify="old")
    assert queue.fetch(2, 100, 1) == [b"old"]
    queue.queue(b"new", name="n", notify="new")
    assert queue.take_finished() == ["old"]
    assert [queue.fetch(2, 100, 1) for _ in range(5)] == [[b"new"]] * 4 + [[]]
    assert queue.take_finished() == ["new"]
    # The name is free again, and so is a finished item's.
    queue.queue(b"third", name="n")
    assert len(queue) == 1


def test_unique_items_never_displace_each_other() -> None:
    queue = TransmitLimitedQueue(4, ITEMS_MAX)
    queue.queue(b"same")
    queue.queue(b"same")
    assert queue.fetch(2, 100, 1) == [b"same", b"same"]
    assert queue.take_finished() == []


def test_queue_has_a_maximum_and_drops_the_most_transmitted() -> None:
    queue = TransmitLimitedQueue(4, 2)
    queue.queue(b"sent once", notify="sent once")
    queue.fetch(2, 100, 1)
    queue.queue(b"b")
    queue.queue(b"c")
    assert len(queue) == 2
    assert queue.take_finished() == ["sent once"]


def test_shrinking_pool_finishes_items_that_were_sent_often_enough() -> None:
    queue = TransmitLimitedQueue(4, ITEMS_MAX)
    queue.queue(b"a", notify="a")
    for _ in range(6):
        queue.fetch(2, 100, 99)
    assert queue.fetch(2, 100, 1) == [b"a"]
    assert queue.take_finished() == ["a"]
    assert len(queue) == 0


class ModelQueue:
    """The order of gossip.md §25 done the slow and obvious way: sort everything, each time."""

    def __init__(self, multiplier: int) -> None:
        self.multiplier = multiplier
        self.items: list[tuple[int, int, int, bytes]] = []
        self.number = 0

    def queue(self, message: bytes) -> None:
        self.number += 1
        self.items.append((0, -len(message), -self.number, message))

    def fetch(self, overhead: int, budget: int, nodes: int) -> list[bytes]:
        limit = retransmit_limit(self.multiplier, nodes)
        taken: list[bytes] = []
        free = budget
        for item in sorted(self.items):
            transmits, negative_length, number, message = item
            if overhead + len(message) <= free:
                free -= overhead + len(message)
                taken.append(message)
                self.items.remove(item)
                if transmits + 1 < limit:
                    self.items.append((transmits + 1, negative_length, number, message))
        return taken


@given(
    st.lists(
        st.one_of(
            st.binary(min_size=1, max_size=40),
            st.tuples(st.integers(0, 4), st.integers(0, 120), st.integers(0, 200)),
        ),
        max_size=60,
    )
)
def test_fetch_equals_a_full_sort(steps: list[bytes | tuple[int, int, int]]) -> None:
    queue, model = TransmitLimitedQueue(2, ITEMS_MAX), ModelQueue(2)
    for step in steps:
        if isinstance(step, bytes):
            queue.queue(step)
            model.queue(step)
        else:
            assert queue.fetch(*step) == model.fetch(*step)
        assert len(queue) == len(model.items)
