"""A machine's own clock: what it shows while world time passes, and when it will show something.

It may run fast or slow, jump ahead, or stand still for a while; it never goes back, as the
monotonic clocks that processes take their timeouts from never do. A wish to set it back by some
seconds makes it stand until the world has caught up.
"""

from __future__ import annotations

from swimnomad.errors import UsageError

RATE_MIN = 0.01
RATE_MAX = 100.0
JUMP_MAX = 86_400.0


class Clock:
    """Shows `own` seconds since the world began; all other times here are the world's."""

    __slots__ = ("_base", "_own_base", "rate")

    def __init__(self) -> None:
        self.rate = 1.0
        """Own seconds that pass in one of the world."""
        self._base = 0.0
        self._own_base = 0.0

    def own(self, now: float) -> float:
        """What it shows at `now`."""
        return self._own_base + max(now - self._base, 0.0) * self.rate

    def world(self, own: float) -> float:
        """When it shows, or showed, `own`."""
        return self._base + (own - self._own_base) / self.rate

    def set_rate(self, rate: float, now: float) -> None:
        """Let it run fast or slow from now on.

        Raises:
            UsageError: If the rate is not `RATE_MIN` to `RATE_MAX`.
        """
        if not RATE_MIN <= rate <= RATE_MAX:
            raise UsageError(f"a clock's rate must be {RATE_MIN:g} to {RATE_MAX:g}, not {rate:g}")
        self._own_base = self.own(now)
        self._base = max(now, self._base)  # one that stands stands on
        self.rate = rate

    def jump(self, seconds: float, now: float) -> None:
        """Show `seconds` more at once; below 0, stand still until that much less is right.

        Raises:
            UsageError: If it is more than a day either way.
        """
        if not -JUMP_MAX <= seconds <= JUMP_MAX:
            raise UsageError(f"a clock jumps -{JUMP_MAX:g} to {JUMP_MAX:g} s, not {seconds:g}")
        self._own_base = self.own(now)
        standing = max(self._base - now, 0.0)
        if seconds >= 0:
            self._own_base += seconds
            self._base = now + standing
        else:
            self._base = now + standing - seconds / self.rate
