"""The bounded queue between those who read and the one task that owns a core."""

from __future__ import annotations

import math
from collections import deque
from typing import Any

import trio

from swimnomad.live.alarm import AlarmClock


class Inbox:
    """Inputs on their way to a core, in order of arrival; bounded in items and in bytes.

    Any number of tasks add, one takes. Which way of adding fits depends on what may happen when
    the queue is full: a datagram is lost (`offer`), a command or a piece of a stream waits
    (`put`), and what says that a stream is over must come through (`post`; there is at most one
    of those for each stream, so they are bounded elsewhere).
    """

    def __init__(self, items_max: int, bytes_max: int) -> None:
        self._items: deque[tuple[Any, int]] = deque()
        self._items_max = items_max
        self._bytes_max = bytes_max
        self._bytes = 0
        self._taker: trio.lowlevel.Task | None = None
        self._alarm_at = math.inf
        self._waiting = trio.lowlevel.ParkingLot()

    def __len__(self) -> int:
        """Inputs waiting."""
        return len(self._items)

    @property
    def is_full(self) -> bool:
        """Whether `offer` would refuse."""
        return len(self._items) >= self._items_max or self._bytes >= self._bytes_max

    def offer(self, incoming: Any, size: int) -> bool:  # noqa: ANN401 - each core has its own inputs
        """Add an input of `size` bytes if there is room; False if there is none."""
        if len(self._items) >= self._items_max or self._bytes >= self._bytes_max:
            return False
        self._items.append((incoming, size))
        self._bytes += size
        if self._taker is not None:
            self._wake()
        return True

    async def put(self, incoming: Any, size: int = 0) -> None:  # noqa: ANN401 - as above
        """Add an input of `size` bytes; wait for room first. If cancelled, it was not added."""
        while not self.offer(incoming, size):
            await self._waiting.park()

    def post(self, incoming: Any) -> None:  # noqa: ANN401 - as above
        """Add an input even if the queue is full."""
        self._items.append((incoming, 0))
        if self._taker is not None:
            self._wake()

    def take(self) -> Any | None:  # noqa: ANN401 - as above
        """The oldest input, or None."""
        if not self._items:
            return None
        incoming, size = self._items.popleft()
        self._bytes -= size
        if self._waiting and not self.is_full:
            self._waiting.unpark()
        return incoming

    async def wait(self, deadline: float) -> None:
        """Return when there is an input or the clock reads `deadline`; always a checkpoint.

        May return early, when an alarm set for a deadline that is no longer one goes off.
        """
        if self._items or deadline <= trio.current_time():
            await trio.lowlevel.checkpoint()
            return
        assert self._taker is None, "one task owns the core"
        if deadline < self._alarm_at:
            self._alarm_at = AlarmClock.current().set(deadline, self._ring)
        self._taker = trio.lowlevel.current_task()
        await trio.lowlevel.wait_task_rescheduled(self._give_up_waiting)

    def _ring(self, moment: float) -> None:
        if moment != self._alarm_at:
            return  # An earlier alarm was set since; this one counts no more.
        self._alarm_at = math.inf
        if self._taker is not None:
            self._wake()

    def _give_up_waiting(self, _: Any) -> trio.lowlevel.Abort:  # noqa: ANN401 - trio's, unused
        # From here on trio wakes the task; a second wake-up for it would be an error.
        self._taker = None
        return trio.lowlevel.Abort.SUCCEEDED

    def _wake(self) -> None:
        assert self._taker is not None
        trio.lowlevel.reschedule(self._taker)
        self._taker = None
