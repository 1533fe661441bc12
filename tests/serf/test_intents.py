"""Intents about names nobody has introduced yet."""

from __future__ import annotations

from swimnomad.serf.intents import IntentBuffer, IntentKind

JOIN, LEAVE = IntentKind.JOIN, IntentKind.LEAVE


def test_only_a_strictly_newer_intent_replaces_a_buffered_one() -> None:
    """serf 35.17: newer replaces, older or equal does not, of either kind."""
    buffer = IntentBuffer(limit=10)
    assert buffer.upsert("a", JOIN, 5, now=0.0)
    assert not buffer.upsert("a", JOIN, 5, now=1.0)
    assert not buffer.upsert("a", LEAVE, 4, now=1.0)
    assert buffer.find("a", JOIN) == 5
    assert buffer.upsert("a", LEAVE, 6, now=2.0)
    assert buffer.find("a", LEAVE) == 6


def test_intents_are_looked_up_by_name_and_kind() -> None:
    """serf 35.17: lookup by type."""
    buffer = IntentBuffer(limit=10)
    buffer.upsert("a", JOIN, 5, now=0.0)
    assert buffer.find("a", LEAVE) is None
    assert buffer.find("b", JOIN) is None
    assert buffer.find("a", JOIN) == 5
    assert buffer.find("a", JOIN) == 5, "looking does not consume"


def test_intents_expire_by_their_arrival_not_by_their_lamport_time() -> None:
    """serf 35.17: expiry by wall time."""
    buffer = IntentBuffer(limit=10)
    buffer.upsert("old", JOIN, 1000, now=0.0)
    buffer.upsert("older-leave", LEAVE, 1, now=0.0)
    buffer.upsert("new", LEAVE, 1, now=50.0)
    assert buffer.reap(now=100.0, timeout=100.0) == 0, "exactly as old as the limit is kept"
    assert buffer.reap(now=100.5, timeout=100.0) == 2
    assert buffer.find("new", LEAVE) == 1
    assert len(buffer) == 1


def test_a_newer_intent_renews_the_time_of_arrival() -> None:
    buffer = IntentBuffer(limit=10)
    buffer.upsert("a", JOIN, 1, now=0.0)
    buffer.upsert("a", JOIN, 2, now=90.0)
    assert buffer.reap(now=150.0, timeout=100.0) == 0


def test_a_flood_of_names_stops_at_the_limit_and_known_names_still_renew() -> None:
    buffer = IntentBuffer(limit=3)
    stored = [buffer.upsert(f"n{i}", JOIN, 1, now=0.0) for i in range(5)]
    assert stored == [True, True, True, False, False]
    assert len(buffer) == 3
    assert buffer.upsert("n1", LEAVE, 2, now=0.0)
