"""Regular ticks that are dropped, never bunched, when somebody is late.

Source: gossip.md §27.
"""

from __future__ import annotations

import math


class Ticker:
    """Times `first`, `first` + `interval`, … (seconds on the node's clock)."""

    def __init__(self, first: float, interval: float) -> None:
        assert interval > 0
        self.due = first
        self._interval = interval

    def catch_up(self, now: float) -> float:
        """The tick after `now` of one who slept: the very float that tick after tick leads to."""
        while self.due <= now:
            self.due += self._interval
        return self.due

    def advance(self, now: float) -> float:
        """The next time after `now`; ticks that were missed are skipped."""
        self.due += self._interval
        if self.due <= now:
            self.due += self._interval * (math.floor((now - self.due) / self._interval) + 1)
        return self.due
