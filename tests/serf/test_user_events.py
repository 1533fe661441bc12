"""The ring of recent user events."""

from __future__ import annotations

import itertools

from swimnomad.serf.lamport import LTIME_MAX
from swimnomad.serf.user_events import (
    EVENTS_PER_LTIME_MAX,
    USER_EVENT_BYTES_CAP,
    Reception,
    RingSlot,
    UserEventBuffer,
)


def buffer(size: int = 4, bytes_max: int = 1_000_000) -> UserEventBuffer:
    return UserEventBuffer(size, bytes_max)


def test_events_of_one_lamport_time_are_told_apart_by_name_and_payload() -> None:
    """serf 35.41: accepts several events with one ltime; drops exact repeats."""
    events = buffer()
    assert events.receive(1, "a", b"x", 2) is Reception.NEW
    assert events.receive(1, "a", b"y", 2) is Reception.NEW
    assert events.receive(1, "b", b"x", 2) is Reception.NEW
    assert events.receive(1, "a", b"x", 2) is Reception.DUPLICATE


def test_an_event_older_than_the_buffer_is_dropped_and_the_oldest_in_it_is_not() -> None:
    """serf 35.41: drops events older than the buffer."""
    events = buffer(size=4)
    assert events.receive(5, "a", b"", 10) is Reception.TOO_OLD
    assert events.receive(6, "a", b"", 10) is Reception.NEW


def test_a_small_clock_makes_nothing_too_old() -> None:
    assert buffer(size=4).receive(0, "a", b"", 4) is Reception.NEW


def test_an_event_before_the_minimum_is_dropped() -> None:
    events = buffer()
    events.ltime_min = 3
    assert events.receive(2, "a", b"", 3) is Reception.BEFORE_MINIMUM
    assert events.receive(3, "a", b"", 4) is Reception.NEW


def test_a_new_lamport_time_takes_over_the_slot_of_an_old_one() -> None:
    events = buffer(size=4)
    events.receive(1, "old", b"", 2)
    events.receive(5, "new", b"", 6)
    assert list(events) == [None, RingSlot(5, {("new", b""): None}), None, None]


def test_two_events_at_the_end_of_time_cannot_displace_each_other_for_ever() -> None:
    events = buffer(size=4)
    assert events.receive(LTIME_MAX, "a", b"", LTIME_MAX) is Reception.NEW
    assert events.receive(LTIME_MAX - 4, "b", b"", LTIME_MAX) is Reception.TOO_OLD
    assert events.receive(LTIME_MAX, "a", b"", LTIME_MAX) is Reception.DUPLICATE


def test_no_event_is_larger_than_the_reference_could_send() -> None:
    events = buffer()
    assert events.receive(1, "a", bytes(USER_EVENT_BYTES_CAP), 2) is Reception.TOO_LARGE
    assert events.receive(1, "a", bytes(USER_EVENT_BYTES_CAP - 1), 2) is Reception.NEW


def test_a_flood_under_one_lamport_time_stops_at_the_limit() -> None:
    events = buffer()
    for i in range(EVENTS_PER_LTIME_MAX):
        assert events.receive(1, f"e{i}", b"", 2) is Reception.NEW
    assert events.receive(1, "one more", b"", 2) is Reception.FULL


def test_the_bytes_of_the_buffer_are_limited_and_freed_with_the_slot() -> None:
    events = buffer(size=2, bytes_max=10)
    assert events.receive(1, "a", bytes(8), 2) is Reception.NEW
    assert events.receive(2, "b", bytes(8), 3) is Reception.FULL
    assert events.receive(3, "c", bytes(8), 4) is Reception.NEW, "it replaces the event at 1"


def test_names_that_are_not_text_count_their_bytes() -> None:
    name = b"\xff\xfe".decode("utf-8", "surrogateescape")
    assert buffer(bytes_max=2).receive(1, name, b"", 2) is Reception.NEW
    assert buffer(bytes_max=1).receive(1, name, b"", 2) is Reception.FULL


def test_the_version_moves_with_each_new_event_only() -> None:
    events = buffer()
    versions = [events.version]
    for _ in range(3):
        events.receive(1, "a", b"", 2)
        versions.append(events.version)
    assert len(set(versions)) == 2
    assert all(earlier <= later for earlier, later in itertools.pairwise(versions))
