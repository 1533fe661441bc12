"""Queries of others: recognised by a ring of recent ones, and passed on once each.

This node neither asks nor answers queries yet; a pool in which others do still relies on it to
spread them.

Source: serf.md §15.2.
"""

from __future__ import annotations

from enum import Enum
from typing import NamedTuple

from swimnomad.serf.context import Context
from swimnomad.serf.events import MessageDropped
from swimnomad.wire.serf_messages import Query, QueryFlag

IDS_PER_LTIME_MAX = 1024
"""Different queries remembered under one Lamport time; honest nodes reach a handful."""


class QueryReception(Enum):
    """What became of a received query; the text says why it was dropped."""

    NEW = ""
    DUPLICATE = "a repeat"
    TOO_OLD = "older than the query buffer reaches back"
    FULL = "too many queries under one Lamport time"


class QuerySlot(NamedTuple):
    """The queries of one Lamport time by ID. Only ever asked "in", so a set does no harm."""

    ltime: int
    ids: set[int]


class QueryBuffer:
    """Ring of `size` slots; a Lamport time has the slot `ltime mod size`."""

    def __init__(self, size: int) -> None:
        self._slots: list[QuerySlot | None] = [None] * size

    def receive(self, ltime: int, query_id: int, clock: int) -> QueryReception:
        """Remember a query unless it is old or known; `clock` is the query clock's time."""
        size = len(self._slots)
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


class Queries:
    """The queries that pass through one node."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self.buffer = QueryBuffer(context.config.query_buffer)

    def on_query(self, query: Query, payload: bytes, now: float) -> None:
        """A query came by gossip; unless it is flagged, `payload` is passed on byte for byte."""
        context = self._context
        clock = context.clocks.query
        clock.witness(query.ltime)
        reception = self.buffer.receive(query.ltime, query.id, clock.time)
        if reception is QueryReception.NEW:
            if not query.flags & QueryFlag.NO_BROADCAST:
                context.queues.queries.queue(payload)
        elif reception is not QueryReception.DUPLICATE:
            context.emit(MessageDropped(f"query {query.name!r}: {reception.value}"))
