"""What a run has yet to do while its steps go on: the ends of faults with a length, and churn."""

from __future__ import annotations

import math
from collections.abc import Awaitable, Callable
from heapq import heappop, heappush

Action = Callable[[], Awaitable[None]]


class Agenda:
    """Actions with their times (seconds since the cluster stood), and the step each belongs to."""

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, str, Action]] = []
        self._sequence = 0

    @property
    def next_time(self) -> float:
        """When the next one is due; infinity if there is none."""
        return self._heap[0][0] if self._heap else math.inf

    def add(self, time: float, step: str, action: Action) -> None:
        """Do something at a time; `step` stands for it in errors. Ties keep their order."""
        self._sequence += 1
        heappush(self._heap, (time, self._sequence, step, action))

    def clear(self) -> None:
        """Forget what was to be done."""
        self._heap.clear()

    def take(self, now: float) -> tuple[str, Action] | None:
        """Take out the next one if it is due."""
        if self.next_time > now:
            return None
        _, _, step, action = heappop(self._heap)
        return step, action
