"""Local health: how much a node trusts its own view (Lifeguard's local health multiplier)."""

from __future__ import annotations


class Awareness:
    """A health score from 0 (healthy) to `max_multiplier` - 1.

    A node that misses acks and nacks it should have seen, or that is accused without reason, is
    probably slow itself; its score rises and it gives others more time.

    Source: gossip.md §22; Lifeguard, LHA-Probe.
    """

    def __init__(self, max_multiplier: int) -> None:
        self._max = max_multiplier
        self.score = 0

    def apply_delta(self, delta: int) -> bool:
        """Add `delta`, clamped; return whether the score changed."""
        score = min(max(self.score + delta, 0), self._max - 1)
        has_changed = score != self.score
        self.score = score
        return has_changed

    def scale(self, timeout: float) -> float:
        """`timeout` (seconds) stretched by the present score: times score + 1."""
        return timeout * (self.score + 1)
