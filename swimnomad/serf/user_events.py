"""User events: sent, received once each, passed on, and kept for newcomers in a ring.

Source: serf.md §14.
"""

from __future__ import annotations

from collections.abc import Iterator
from enum import Enum
from typing import NamedTuple

from swimnomad.serf.context import Context
from swimnomad.serf.events import MessageDropped, UserEventFinished, UserEventReceived
from swimnomad.serf.inputs import SendUserEvent
from swimnomad.serf.text import is_writable
from swimnomad.wire.serf_messages import UserEvent, encode_serf

USER_EVENT_BYTES_CAP = 9216
"""No event may be larger, whatever the configured limit: the reference's own "sane limit"."""

EVENTS_PER_LTIME_MAX = 512
"""Different events remembered under one Lamport time; honest nodes reach a handful."""


class Reception(Enum):
    """What became of a received event; the text says why it was dropped."""

    NEW = ""
    DUPLICATE = "a repeat"
    BEFORE_MINIMUM = "older than what was asked for"
    TOO_OLD = "older than the event buffer reaches back"
    TOO_LARGE = "larger than any node may send"
    FULL = "the event buffer is full"


class RingSlot(NamedTuple):
    """The events of one Lamport time, (name, payload) each; a dict for order and quick look-up."""

    ltime: int
    events: dict[tuple[str, bytes], None]


def size_of(name: str, payload: bytes) -> int:
    """Bytes of an event as the limits count them: name and payload."""
    return len(name.encode("utf-8", "surrogateescape")) + len(payload)


def why_too_large(name: str, payload: bytes, message: bytes, limit: int) -> str:
    """Why an event of our own must not be sent, judged by its parts and as encoded; else empty.

    Args:
        name: Name of the event.
        payload: Its payload.
        message: The event as it would be gossiped.
        limit: Bytes that the configuration allows, at most `USER_EVENT_BYTES_CAP`.
    """
    for size, what in ((size_of(name, payload), "name and payload"), (len(message), "message")):
        if size > limit:
            return f"user event exceeds the limit of {limit} bytes: its {what} has {size}"
    return ""


class UserEventBuffer:
    """Ring of `size` slots; a Lamport time has the slot `ltime mod size`.

    Holds at most `bytes_max` bytes of names and payloads, and `EVENTS_PER_LTIME_MAX` events a slot.
    `version` grows with every change.
    """

    def __init__(self, size: int, bytes_max: int) -> None:
        self._slots: list[RingSlot | None] = [None] * size
        self._bytes_max = bytes_max
        self._bytes = 0
        self.ltime_min = 0
        """Events before this Lamport time are of no interest (a join that ignores old ones)."""
        self.version = 0

    def __iter__(self) -> Iterator[RingSlot | None]:
        """Every slot of the ring, the empty ones as None."""
        return iter(self._slots)

    def receive(self, ltime: int, name: str, payload: bytes, clock: int) -> Reception:
        """Remember an event unless it is old or known; `clock` is the event clock's time."""
        size = len(self._slots)
        if ltime < self.ltime_min:
            return Reception.BEFORE_MINIMUM
        slot = self._slots[ltime % size]
        # A newer event in the slot can only mean a clock at its very end, which moves no further;
        # replacing it would let two messages displace each other, and be passed on, for ever.
        if clock - size > ltime or (slot is not None and slot.ltime > ltime):
            return Reception.TOO_OLD
        if slot is not None and slot.ltime == ltime and (name, payload) in slot.events:
            return Reception.DUPLICATE
        event_bytes = size_of(name, payload)
        if event_bytes > USER_EVENT_BYTES_CAP:
            return Reception.TOO_LARGE
        if slot is None or slot.ltime != ltime:
            slot = self._renew(ltime)
        if len(slot.events) >= EVENTS_PER_LTIME_MAX or self._bytes + event_bytes > self._bytes_max:
            return Reception.FULL
        slot.events[name, payload] = None
        self._bytes += event_bytes
        self.version += 1
        return Reception.NEW

    def _renew(self, ltime: int) -> RingSlot:
        """Give the slot of `ltime` to it; what stood there is forgotten."""
        index = ltime % len(self._slots)
        replaced = self._slots[index]
        if replaced is not None:
            for name, payload in replaced.events:
                self._bytes -= size_of(name, payload)
        slot = self._slots[index] = RingSlot(ltime, {})
        self.version += 1
        return slot


class UserEvents:
    """The user events of one node."""

    def __init__(self, context: Context) -> None:
        config = context.config
        self._context = context
        self.buffer = UserEventBuffer(config.event_buffer, config.event_buffer_bytes_max)

    def send(self, command: SendUserEvent) -> None:
        """Broadcast an event of our own; `UserEventFinished` tells whether it is on its way."""
        context = self._context
        error = "" if is_writable(command.name) else f"the name {command.name!r} is not text"
        if not error:
            clock = context.clocks.event
            event = UserEvent(clock.time, command.name, command.payload, command.coalesce)
            message = encode_serf(event)
            limit = context.config.user_event_bytes_max
            error = why_too_large(command.name, command.payload, message, limit)
        if not error:
            clock.increment()
            self.receive(event)
            context.queues.events.queue(message)
        context.emit(UserEventFinished(command.operation, error))

    def on_event(self, event: UserEvent, payload: bytes, now: float) -> None:
        """An event came by gossip; `payload` is passed on byte for byte."""
        if self.receive(event):
            self._context.queues.events.queue(payload)

    def receive(self, event: UserEvent) -> bool:
        """Witness, remember and announce an event; tell whether it is new."""
        context = self._context
        clock = context.clocks.event
        clock.witness(event.ltime)
        payload = event.payload or b""  # Nil and empty are equal.
        reception = self.buffer.receive(event.ltime, event.name, payload, clock.time)
        if reception is Reception.NEW:
            context.emit(UserEventReceived(event.ltime, event.name, payload, event.coalesce))
            return True
        if reception not in (Reception.DUPLICATE, Reception.BEFORE_MINIMUM):
            context.emit(MessageDropped(f"user event {event.name!r}: {reception.value}"))
        return False
