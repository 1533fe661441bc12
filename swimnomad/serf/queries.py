"""The ring of recent queries: enough to pass each one on once.

This node neither asks nor answers queries yet; a pool in which others do still relies on it to
spread them.
"""

from __future__ import annotations

from enum import Enum
from typing import NamedTuple

IDS_PER_LTIME_MAX = 1024
"""Different queries remembered under one Lamport time; honest nodes reach a handful."""


class QueryReception(Enum):
    """What became of a received query; the text says why it was dropped."""

    NEW = ""
    DUPLICATE = "a repeat"
    BEFORE_MINIMUM = "older than what was asked for"
    TOO_OLD = "older than the query buffer reaches back"
    FULL = "too many queries under one Lamport time"


class QuerySlot(NamedTuple):
    """The queries of one Lamport time by ID. Only ever asked "in", so a set does no harm."""

    ltime: int
    ids: set[int]


class QueryBuffer:
    """Ring of `size` slots; a Lamport time has the slot `ltime mod size`.

    Source: serf.md §15.2.
    """

    def __init__(self, size: int) -> None:
        self._slots: list[QuerySlot | None] = [None] * size
        self.ltime_min = 0
        """Queries before this Lamport time are of no interest."""

    def receive(self, ltime: int, query_id: int, clock: int) -> QueryReception:
        """Remember a query unless it is old or known; `clock` is the query clock's time."""
        size = len(self._slots)
        if ltime < self.ltime_min:
            return QueryReception.BEFORE_MINIMUM
        slot = self._slots[ltime % size]
        if clock - size > ltime or (slot is not None and slot.ltime > ltime):
            return QueryReception.TOO_OLD
        if slot is None or slot.ltime != ltime:
            slot = self._slots[ltime % size] = QuerySlot(ltime, set())
        if query_id in slot.ids:
            return QueryReception.DUPLICATE
        if len(slot.ids) >= IDS_PER_LTIME_MAX:
            return QueryReception.FULL
        slot.ids.add(query_id)
        return QueryReception.NEW
