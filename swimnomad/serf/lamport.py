"""Lamport clocks: logical times that order intents, user events and queries."""

from __future__ import annotations

LTIME_MAX = 2**64 - 1
"""Largest Lamport time: on the wire it is an unsigned 64-bit number."""


class LamportClock:
    """One logical clock; it never goes back.

    It stops at `LTIME_MAX` where the reference wraps round to 0: a single hostile message could
    otherwise throw the clock of a whole pool back to its beginning.

    Source: serf.md §5.
    """

    __slots__ = ("_time",)

    def __init__(self, time: int = 0) -> None:
        self._time = time

    @property
    def time(self) -> int:
        """The current Lamport time."""
        return self._time

    def increment(self) -> int:
        """Advance by one and return the new time."""
        if self._time < LTIME_MAX:
            self._time += 1
        return self._time

    def witness(self, ltime: int) -> None:
        """Move past a time seen in a message; older times change nothing."""
        if ltime >= self._time:
            self._time = min(ltime + 1, LTIME_MAX)


class Clocks:
    """The three clocks of a node, each at 1 from the start.

    Source: serf.md §5.
    """

    __slots__ = ("event", "member", "query")

    def __init__(self) -> None:
        self.member = LamportClock(1)
        """Orders join and leave intents."""
        self.event = LamportClock(1)
        """Orders user events."""
        self.query = LamportClock(1)
        """Orders queries."""
