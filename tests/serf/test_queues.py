"""The three broadcast queues: order of service, depth, pruning."""

from __future__ import annotations

import msgspec
import pytest

from swimnomad.serf.config import SerfConfig
from swimnomad.serf.events import QueueTooLong
from swimnomad.serf.queues import BroadcastQueues, queue_depth_max
from swimnomad.swim.config import SwimConfig


def config(**settings: int) -> SerfConfig:
    return msgspec.structs.replace(SerfConfig(SwimConfig(name="a")), **settings)


@pytest.mark.parametrize(
    ("depth_min", "members", "expected"),
    [(0, 100, 4096), (1024, 100, 1024), (16, 100, 200), (16, 101, 202)],
)
def test_the_maximum_depth_grows_with_the_pool_if_a_minimum_is_set(
    depth_min: int, members: int, expected: int
) -> None:
    """serf 35.8: 4096 by default; minimum 1024: 1024; minimum 16: 200, with 101 members 202."""
    assert queue_depth_max(config(queue_depth_min=depth_min), members) == expected


def test_intents_go_before_queries_and_queries_before_events() -> None:
    queues = BroadcastQueues(config())
    queues.events.queue(b"event")
    queues.queries.queue(b"query")
    queues.intents.queue(b"intent")
    assert queues.fetch(2, 1000, 3) == [b"intent", b"query", b"event"]


def test_each_queue_gets_the_room_that_the_one_before_has_left() -> None:
    queues = BroadcastQueues(config())
    queues.intents.queue(bytes(10))
    queues.queries.queue(bytes(10))
    queues.events.queue(bytes(3))
    assert queues.fetch(2, 12 + 11, 3) == [bytes(10), bytes(3)]


def test_a_message_is_sent_as_often_as_the_number_of_members_demands() -> None:
    queues = BroadcastQueues(config())
    queues.intents.queue(b"x", notify=7)
    sent = sum(len(queues.fetch(2, 100, 9)) for _ in range(10))
    assert sent == 4
    assert queues.take_finished() == [7]
    assert queues.take_finished() == []


def test_a_long_queue_is_reported_and_an_overlong_one_cut() -> None:
    queues = BroadcastQueues(config(queue_depth_warning=2, queue_depth_max=3))
    queues.intents.queue(b"1")
    assert queues.check(members=1) == []
    queues.intents.queue(b"2")
    assert queues.check(members=1) == [QueueTooLong("intent", 2, 0)]
    for i in range(5):
        queues.events.queue(b"%d" % i)
    assert queues.check(members=1) == [QueueTooLong("intent", 2, 0), QueueTooLong("event", 5, 2)]
    assert len(queues.events) == 3


def test_a_cut_is_reported_even_below_the_warning_depth() -> None:
    queues = BroadcastQueues(config(queue_depth_warning=100, queue_depth_max=1))
    queues.queries.queue(b"1")
    queues.queries.queue(b"2")
    assert queues.check(members=1) == [QueueTooLong("query", 2, 1)]


def test_a_pruned_intent_counts_as_out_so_nobody_waits_for_it() -> None:
    queues = BroadcastQueues(config(queue_depth_max=0))
    queues.intents.queue(b"1", notify=1)
    queues.check(members=1)
    assert queues.take_finished() == [1]
