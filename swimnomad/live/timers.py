"""A core's timers under a real clock."""

from __future__ import annotations

import heapq
import math
from collections.abc import Hashable
from typing import Any

_SLACK = 64


class TimerHeap:
    """Deadlines by timer. Setting a timer again replaces it; cancelling an unknown one is fine.

    A replaced or cancelled entry stays in the heap and is recognised by its token when it comes
    up; the heap is rebuilt when most of it is such leftovers, so it stays in proportion.
    """

    def __init__(self) -> None:
        self._heap: list[tuple[float, int, Hashable]] = []
        self._tokens: dict[Hashable, int] = {}
        self._last_token = 0

    def __len__(self) -> int:
        """Timers armed."""
        return len(self._tokens)

    def set(self, timer: Hashable, at: float) -> None:
        """Arm `timer` for `at` (seconds, the node's clock)."""
        self._last_token = token = self._last_token + 1
        self._tokens[timer] = token
        heapq.heappush(self._heap, (at, token, timer))
        if len(self._heap) > 2 * len(self._tokens) + _SLACK:
            self._rebuild()

    def cancel(self, timer: Hashable) -> None:
        """Forget `timer`."""
        self._tokens.pop(timer, None)

    def clear(self) -> None:
        """Forget all of them."""
        self._heap.clear()
        self._tokens.clear()

    def next_deadline(self) -> float:
        """When the next timer is due; infinity if there is none."""
        heap, tokens = self._heap, self._tokens
        while heap:
            at, token, timer = heap[0]
            if tokens.get(timer) == token:
                return at
            heapq.heappop(heap)
        return math.inf

    def pop_due(self, now: float) -> Any | None:  # noqa: ANN401 - each core has its own timers
        """The earliest timer that is due at `now`, disarmed; None if there is none.

        Of two timers with one deadline the one that was set first comes first.
        """
        if self.next_deadline() > now:
            return None
        _, _, timer = heapq.heappop(self._heap)
        del self._tokens[timer]
        return timer

    def _rebuild(self) -> None:
        self._heap = [entry for entry in self._heap if self._tokens.get(entry[2]) == entry[1]]
        heapq.heapify(self._heap)
