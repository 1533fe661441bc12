"""One alarm clock for all endpoints of a process.

A trio deadline costs several times what a core needs to handle a timer, and hundreds of endpoints
in one process have thousands of timers a second. So deadlines are rounded up to a grid, and one
task sleeps for all of them: it wakes everybody whose moment has come at once. Timers may be late
by the width of the grid; they are never early.
"""

from __future__ import annotations

import heapq
import math
from collections.abc import Callable

import trio

Ring = Callable[[float], None]
"""Is told the moment that `AlarmClock.set` returned for it."""

TICK = 0.005
"""Width of the grid, in seconds: 40 times below the shortest timeout of any profile."""


class AlarmClock:
    """Calls back at the first tick after a moment. Get the one of this trio run by `current`."""

    def __init__(self) -> None:
        self._alarms: list[tuple[float, int, Ring]] = []
        self._sequence = 0
        self._sleeping_until = -math.inf
        self._earlier = trio.Event()

    @classmethod
    def current(cls) -> AlarmClock:
        """The clock of this trio run, started when it is first asked for."""
        try:
            return _current.get()
        except LookupError:
            clock = cls()
            _current.set(clock)
            trio.lowlevel.spawn_system_task(clock._run, name="alarm clock")
            return clock

    def set(self, at: float, ring: Ring) -> float:
        """Call `ring` once, soon after `at` (trio's clock); return the moment of its tick.

        `ring` must be quick and must not raise.
        """
        tick = math.ceil(at / TICK) * TICK
        if tick < at:  # rounding of the product
            tick += TICK
        self._sequence += 1
        heapq.heappush(self._alarms, (tick, self._sequence, ring))
        if tick < self._sleeping_until:
            self._sleeping_until = -math.inf  # one wake-up is enough for all who come now
            self._earlier.set()
        return tick

    async def _run(self) -> None:
        while True:
            self._earlier = trio.Event()
            self._sleeping_until = self._alarms[0][0] if self._alarms else math.inf
            with trio.move_on_at(self._sleeping_until):
                await self._earlier.wait()
            self._sleeping_until = -math.inf
            now = trio.current_time()
            while self._alarms and self._alarms[0][0] <= now:
                tick, _, ring = heapq.heappop(self._alarms)
                ring(tick)


_current: trio.lowlevel.RunVar[AlarmClock] = trio.lowlevel.RunVar("swimnomad alarm clock")
