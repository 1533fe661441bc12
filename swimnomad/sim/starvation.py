"""A starved process: it reads everything, but late and one after the other.

What starves a real one is a processor that others use, a garbage collector, a slow disk. Unlike a
paused process it goes on answering, with delays that look to others like a bad network.
"""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable

from swimnomad.faults import Latency
from swimnomad.sim.schedule import Schedule

Action = Callable[[], None]


class LateReader:
    """A queue whose items are read in order, each no sooner than a drawn delay after it came.

    Args:
        schedule: The world's time.
        rng: Source of the delays.
        delay: Their distribution, in seconds.
    """

    def __init__(self, schedule: Schedule, rng: random.Random, delay: Latency) -> None:
        self._schedule = schedule
        self._rng = rng
        self._delay = delay
        self._turn = 0
        self._last = 0.0
        self._items: deque[Action] = deque()
        self._due = 0
        self.is_held = False
        """Whether what falls due waits, because the process is paused."""

    def add(self, read: Action) -> None:
        """Something came; `read` it when its time comes."""
        delay = self._delay.sample(self._rng, self._turn)
        self._turn += 1
        self._last = max(self._last, self._schedule.now + delay)
        self._items.append(read)
        self._schedule.at(self._last, self._read_next)

    def go_on(self) -> None:
        """Hold no more, and read at once what fell due meanwhile."""
        self.is_held = False
        due, self._due = self._due, 0
        for _ in range(due):
            self._read_next()

    def take_all(self) -> list[Action]:
        """All that is left, which is now the caller's to read."""
        items = list(self._items)
        self._items.clear()
        return items

    def _read_next(self) -> None:
        if self.is_held:
            self._due += 1
        elif self._items:
            self._items.popleft()()
