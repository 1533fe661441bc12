"""The ring of recent queries."""

from __future__ import annotations

from swimnomad.serf.lamport import LTIME_MAX
from swimnomad.serf.queries import IDS_PER_LTIME_MAX, QueryBuffer, QueryReception


def test_query_repeats_are_recognised_by_lamport_time_and_id() -> None:
    """serf 35.41: query repeats are recognised by ltime+ID."""
    queries = QueryBuffer(4)
    assert queries.receive(1, 77, 2) is QueryReception.NEW
    assert queries.receive(1, 78, 2) is QueryReception.NEW
    assert queries.receive(2, 77, 3) is QueryReception.NEW
    assert queries.receive(1, 77, 3) is QueryReception.DUPLICATE


def test_a_query_older_than_the_buffer_is_dropped_and_the_oldest_in_it_is_not() -> None:
    """serf 35.41: drops queries older than the buffer."""
    queries = QueryBuffer(4)
    assert queries.receive(5, 1, 10) is QueryReception.TOO_OLD
    assert queries.receive(6, 1, 10) is QueryReception.NEW


def test_a_new_lamport_time_forgets_the_ids_of_the_old_one_in_its_slot() -> None:
    queries = QueryBuffer(4)
    queries.receive(1, 9, 2)
    assert queries.receive(5, 9, 6) is QueryReception.NEW


def test_two_queries_at_the_end_of_time_cannot_displace_each_other_for_ever() -> None:
    queries = QueryBuffer(4)
    assert queries.receive(LTIME_MAX, 1, LTIME_MAX) is QueryReception.NEW
    assert queries.receive(LTIME_MAX - 4, 2, LTIME_MAX) is QueryReception.TOO_OLD


def test_a_flood_of_ids_under_one_lamport_time_stops_at_the_limit() -> None:
    queries = QueryBuffer(4)
    for query_id in range(IDS_PER_LTIME_MAX):
        assert queries.receive(1, query_id, 2) is QueryReception.NEW
    assert queries.receive(1, IDS_PER_LTIME_MAX, 2) is QueryReception.FULL
