"""Deadlines of client nodes: when they are set, and when nobody may be taken for down."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from swimnomad.errors import OperationError
from swimnomad.nomad.duties.heartbeats import (
    RETRY_INTERVAL,
    TICK_INTERVAL,
    HeartbeatDeadlines,
    HeartbeatSettings,
)
from swimnomad.nomad.identifiers import key_of
from tests.nomad.state.state_support import uuid

ONE = key_of(uuid(1))


def deadlines(*numbers: int, now: float = 0.0) -> HeartbeatDeadlines:
    made = HeartbeatDeadlines(HeartbeatSettings(), random.Random(7))
    made.arm(map(uuid, numbers), now)
    return made


def tick(made: HeartbeatDeadlines, start: float, end: float) -> float | None:
    """Look every second; when the first node is overdue."""
    now = start
    while now <= end:
        if made.overdue(now):
            return now
        now += TICK_INTERVAL
    return None


def test_the_ttl_grows_with_the_number_of_nodes() -> None:
    few = deadlines()
    assert all(10 <= few.reset(uuid(1), 0.0) < 20 for _ in range(100))
    many = deadlines(*range(2000))
    ttls = [many.reset(uuid(1), 0.0) for _ in range(100)]
    assert all(40 <= ttl < 80 for ttl in ttls)
    assert len(set(ttls)) == 100


def test_a_silent_node_is_overdue_after_ttl_and_grace() -> None:
    """agent O07"""
    made = deadlines()
    ttl = made.reset(uuid(1).upper(), 0.0)
    found = tick(made, 0.0, 100.0)
    assert found is not None
    assert ttl + 10 <= found <= ttl + 10 + TICK_INTERVAL
    assert made.expire((ONE,), found) == (ONE,)
    assert made.overdue(found) == ()


def test_a_new_leader_gives_every_node_five_minutes() -> None:
    """agent O09"""
    made = deadlines(1, 2, now=50.0)
    assert tick(made, 50.0, 349.0) is None
    assert tick(made, 350.0, 351.0) == 350.0


def test_a_node_that_was_heard_meanwhile_is_not_expired() -> None:
    made = deadlines(1, 2)
    late = tick(made, 0.0, 400.0)
    assert late is not None
    overdue = made.overdue(late)
    made.reset(uuid(1), late)
    assert made.expire(overdue, late) == (key_of(uuid(2)),)


def test_only_a_leader_counts() -> None:
    made = HeartbeatDeadlines(HeartbeatSettings(), random.Random(7))
    assert made.overdue(1e9) == ()
    with pytest.raises(OperationError, match="since server is not leader") as caught:
        made.reset(uuid(1), 0.0)
    assert caught.value.may_have_happened
    made.arm((uuid(1),), 0.0)
    made.disarm()
    assert not made.is_armed
    made.try_again(ONE, 0.0)
    made.arm((), 0.0)
    assert tick(made, 0.0, 1000.0) is None


def test_forgotten_nodes_are_not_watched() -> None:
    made = deadlines(1)
    made.forget(uuid(1))
    made.forget(uuid(2))
    assert tick(made, 0.0, 1000.0) is None


def test_a_status_that_could_not_be_written_is_tried_again() -> None:
    made = deadlines(1)
    late = tick(made, 0.0, 400.0)
    assert late is not None
    made.expire((ONE,), late)
    made.try_again(ONE, late)
    assert tick(made, late, late + 100) == late + RETRY_INTERVAL


@pytest.mark.parametrize("first", ["tick", "heartbeat"])
def test_a_frozen_leader_marks_nobody_down_on_waking(first: str) -> None:
    """nomad#4666; whatever it does first, and however long it slept."""
    made = deadlines()
    for number in range(1, 20):
        made.reset(uuid(number), 0.0)
    assert tick(made, 0.0, 5.0) is None
    woke = 5_000.0
    if first == "heartbeat":
        made.reset(uuid(1), woke)
    assert made.overdue(woke) == ()
    # What was left to each before is left to it now.
    silent = tick(made, woke, woke + 100.0)
    assert silent is not None
    assert silent >= woke + 10.0


@given(st.lists(st.tuples(st.booleans(), st.floats(0.0, 40.0)), max_size=40))
def test_nobody_is_overdue_who_was_heard_while_the_server_ran(
    steps: list[tuple[bool, float]],
) -> None:
    """Whatever the gaps: as much running time as TTL and grace has to pass in silence."""
    made = deadlines()
    now, ran, ttl = 0.0, 0.0, made.reset(uuid(1), 0.0)
    for is_heartbeat, seconds in steps:
        now += seconds
        ran += seconds if seconds <= 2.5 * TICK_INTERVAL else 0.0
        if is_heartbeat:
            ran, ttl = 0.0, made.reset(uuid(1), now)
        elif made.overdue(now):
            assert ran >= ttl + 10 - 1e-6
            return
