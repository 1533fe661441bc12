"""What to say about hostile input: enough to notice, never enough to fill a disk."""

from __future__ import annotations

from dataclasses import dataclass

SOURCES_MAX = 1024
INTERVAL_DEFAULT = 10.0
_OTHERS = "other sources"


@dataclass(slots=True)
class _Quiet:
    """A source that was reported: not again before `until`; `count` was swallowed since."""

    until: float
    count: int = 0


class HostileLog:
    """Lets one line per source and interval through and counts the rest.

    A source is a host, not a port: ports cost an attacker nothing. Hosts can be forged too, so the
    table is bounded: whoever does not fit shares one entry.
    """

    def __init__(self, interval: float = INTERVAL_DEFAULT, sources_max: int = SOURCES_MAX) -> None:
        self._interval = interval
        self._sources_max = sources_max
        self._sources: dict[str, _Quiet] = {}

    def __len__(self) -> int:
        """Sources in the table."""
        return len(self._sources)

    def note(self, host: str, reason: str, now: float) -> str | None:
        """Take note of dropped input; return the line to log, or None while `host` is quiet."""
        quiet = self._sources.get(host)
        if quiet is None and len(self._sources) >= self._sources_max:
            self._forget_quiet(now)
            if len(self._sources) >= self._sources_max:
                host = _OTHERS
                quiet = self._sources.get(host)
        if quiet is not None and now < quiet.until:
            quiet.count += 1
            return None
        self._sources[host] = _Quiet(now + self._interval)
        swallowed = (
            f" ({quiet.count} more since the last such line)" if quiet and quiet.count else ""
        )
        return f"dropped input from {host}: {reason}{swallowed}"

    def _forget_quiet(self, now: float) -> None:
        """Drop entries that would let their next line through anyway."""
        self._sources = {host: quiet for host, quiet in self._sources.items() if now < quiet.until}
