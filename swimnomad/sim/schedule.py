"""Virtual time: a heap of actions, each at its moment, ties in the order they were asked for."""

from __future__ import annotations

from collections.abc import Callable
from heapq import heappop, heappush
from typing import Any


class Schedule:
    """The clock of a simulated world and everything that is yet to happen in it.

    Entries are `(time, sequence, action, arguments)`: the sequence number settles ties, so the
    order never depends on what an action compares like. Nothing is ever taken out of the heap; an
    action that has become pointless finds that out by itself when its time comes.
    """

    __slots__ = ("_heap", "_sequence", "executed", "now")

    def __init__(self) -> None:
        self.now = 0.0
        """Seconds since the world began."""
        self.executed = 0
        """Actions carried out so far."""
        self._heap: list[tuple[float, int, Callable[..., None], tuple[Any, ...]]] = []
        self._sequence = 0

    def at(self, time: float, action: Callable[..., None], *arguments: object) -> None:
        """Call `action(*arguments)` at `time`; a time that has passed means now, after the rest."""
        self._sequence = sequence = self._sequence + 1
        if time < self.now:
            time = self.now
        heappush(self._heap, (time, sequence, action, arguments))

    def next_time(self) -> float | None:
        """When the next action is due; None if nothing is left to happen."""
        return self._heap[0][0] if self._heap else None

    def step(self) -> bool:
        """Carry out the earliest action; False if there is none."""
        if not self._heap:
            return False
        self.now, _, action, arguments = heappop(self._heap)
        self.executed += 1
        action(*arguments)
        return True

    def run_until(self, time: float) -> None:
        """Carry out everything due up to and including `time`, then let it be `time`."""
        heap = self._heap
        executed = 0
        try:
            while heap and heap[0][0] <= time:
                self.now, _, action, arguments = heappop(heap)
                executed += 1
                action(*arguments)
        finally:
            self.executed += executed
        self.now = max(self.now, time)
