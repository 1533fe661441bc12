"""Who sees whom as what, and when that changed: the record that the demo is judged by."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple

import trio

UNKNOWN = "unknown"
"""The status of a member that an observer has never told us about."""

STATUS_AFTER: Mapping[str, str] = {
    "member-joined": "alive",
    "node-suspected": "suspect",
    "node-recovered": "alive",
    "member-failed": "failed",
    "member-left": "left",
    "member-reaped": UNKNOWN,
}
"""Event of `/v1/swimnomad/events` -> how its observer sees the node from then on. Events that are
not named here change nobody's status."""


class Sighting(NamedTuple):
    """At `time` (seconds since the epoch) `observer` began to see `member` as `after`."""

    time: float
    observer: str
    member: str
    before: str
    after: str


class Expectation(NamedTuple):
    """`observer` shall see `member` take the statuses of `path`, in this order."""

    observer: str
    member: str
    path: tuple[str, ...]


class Views:
    """The statuses that each observer gives each member, and every change of them.

    Attributes:
        sightings: All changes so far, in the order in which they became known.
        on_sighting: Called with each.
    """

    def __init__(self) -> None:
        self.sightings: list[Sighting] = []
        self.on_sighting: Callable[[Sighting], None] = lambda _: None
        self._statuses: dict[str, dict[str, str]] = {}
        self._changed = trio.Event()

    def status(self, observer: str, member: str) -> str:
        """How `observer` sees `member` now."""
        return self._statuses.get(observer, {}).get(member, UNKNOWN)

    def note(self, observer: str, member: str, status: str, time: float) -> None:
        """Record that `observer` sees `member` as `status` since `time`; no change is no news."""
        before = self.status(observer, member)
        if before == status:
            return
        self._statuses.setdefault(observer, {})[member] = status
        sighting = Sighting(time, observer, member, before, status)
        self.sightings.append(sighting)
        self.on_sighting(sighting)
        self._changed.set()
        self._changed = trio.Event()

    def note_event(self, observer: str, event: str, member: str, time: float) -> None:
        """Record one line of an agent's event stream."""
        if (status := STATUS_AFTER.get(event)) is not None:
            self.note(observer, member, status, time)

    def forget(self, observer: str) -> None:
        """Drop what `observer` saw: its process is gone, its next one begins anew."""
        self._statuses.pop(observer, None)

    def fulfilled_at(self, expectation: Expectation, since: int) -> dict[str, float] | None:
        """When an expectation was fulfilled.

        Args:
            expectation: What shall have been seen.
            since: Number of sightings made before the wait for it began.

        Returns:
            Status of the path -> seconds since the epoch; None if it is not fulfilled yet.
        """
        times: dict[str, float] = {}
        path = list(expectation.path)
        for sighting in self.sightings[since:]:
            seen = (sighting.observer, sighting.member) == expectation[:2]
            if seen and path and sighting.after == path[0]:
                times[path.pop(0)] = sighting.time
        return None if path else times

    def missing(self, expectations: Iterable[Expectation], since: int) -> list[Expectation]:
        """Those of `expectations` that are not fulfilled yet."""
        return [e for e in expectations if self.fulfilled_at(e, since) is None]

    async def wait_for(self, expectations: Iterable[Expectation], since: int) -> None:
        """Wait until all are fulfilled."""
        left = list(expectations)
        while left := self.missing(left, since):
            await self._changed.wait()
