"""Where a core's events go: to listeners at once, to subscribers through bounded buffers."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager

import trio

from swimnomad.nomad.services import EventsLost
from swimnomad.swim.effects import Event

BUFFER_DEFAULT = 1024


class Subscription:
    """One subscriber's events, oldest first, each with the wall time of its announcement.

    When the buffer is full the oldest events are lost, and the next one read is an `EventsLost`.
    Iteration ends when the hub is closed and everything buffered was read.
    """

    def __init__(self, buffer: int) -> None:
        self._buffer = buffer
        self._events: deque[tuple[float, Event]] = deque()
        self._lost = 0
        self._lost_at = 0.0
        self._is_closed = False
        self._readers = trio.lowlevel.ParkingLot()

    def __aiter__(self) -> AsyncIterator[tuple[float, Event]]:
        """Itself."""
        return self

    async def __anext__(self) -> tuple[float, Event]:
        """The next event; waits for it."""
        while not self._events and not self._lost:
            if self._is_closed:
                raise StopAsyncIteration
            await self._readers.park()
        if self._lost:
            lost, self._lost = self._lost, 0
            return self._lost_at, EventsLost(lost)
        return self._events.popleft()

    def add(self, wall_time: float, event: Event) -> None:
        """Buffer an event; for the hub."""
        if len(self._events) >= self._buffer:
            self._events.popleft()
            self._lost += 1
            self._lost_at = wall_time
        self._events.append((wall_time, event))
        self._readers.unpark_all()

    def close(self) -> None:
        """No more will come; for the hub."""
        self._is_closed = True
        self._readers.unpark_all()


class EventHub:
    """Passes each event on to everyone who asked. Publishing never waits."""

    def __init__(self) -> None:
        self._listeners: list[Callable[[Event], None]] = []
        self._subscriptions: list[Subscription] = []
        self._is_closed = False

    def listen(self, listener: Callable[[Event], None]) -> None:
        """Call `listener` for every event, inside the owner's turn: it must be quick."""
        self._listeners.append(listener)

    @contextmanager
    def subscribe(self, buffer: int = BUFFER_DEFAULT) -> Iterator[Subscription]:
        """Events from now on, at most `buffer` of them waiting to be read.

        After the block what was buffered may still be read; then iteration ends.
        """
        subscription = Subscription(buffer)
        if self._is_closed:
            subscription.close()
        self._subscriptions.append(subscription)
        try:
            yield subscription
        finally:
            self._subscriptions.remove(subscription)
            subscription.close()

    def publish(self, event: Event) -> None:
        """Announce an event to everyone."""
        for listener in self._listeners:
            listener(event)
        if self._subscriptions:
            wall_time = time.time()
            for subscription in self._subscriptions:
                subscription.add(wall_time, event)

    def close(self) -> None:
        """End every subscription, present and future."""
        self._is_closed = True
        for subscription in self._subscriptions:
            subscription.close()
