"""Durations as Go writes and reads them: `1h2m3.5s`, `250ms`, `0s`.

Source: agent-http.md §1.6; nomad-agent.md §15.
"""

from __future__ import annotations

import re

from swimnomad.errors import UsageError

_UNITS = {
    "h": 3600.0,
    "m": 60.0,
    "s": 1.0,
    "ms": 1e-3,
    "us": 1e-6,
    "µs": 1e-6,
    "\u03bcs": 1e-6,  # the Greek letter, which Go takes as well as the sign above
    "ns": 1e-9,
}
_PART = re.compile("([0-9]+(?:[.][0-9]*)?|[.][0-9]+)(h|ms|m|s|us|µs|\u03bcs|ns)")
_SECONDS_MAX = 2**63 / 1e9
"""What fits the 64-bit nanoseconds that Go counts in: about 292 years."""


def parse_duration(text: str) -> float:
    """Seconds of a duration: decimal numbers with a unit each, an optional sign, or `0`.

    Raises:
        UsageError: If the text is not a duration, or longer than Go can count.
    """
    rest = text[1:] if text[:1] in ("+", "-") else text
    if rest == "0":
        return 0.0
    total, end = 0.0, 0
    for part in _PART.finditer(rest):
        if part.start() != end:
            break
        total += float(part[1]) * _UNITS[part[2]]
        end = part.end()
    if not rest or end != len(rest) or total >= _SECONDS_MAX:
        raise UsageError(f'{text!r} is not a duration; allowed are "30s", "1.5h", "2m30s"')
    return -total if text[0] == "-" else total


def duration_text(seconds: float) -> str:
    """A duration as Go prints it, to the nanosecond."""
    nanoseconds = round(seconds * 1e9)
    if nanoseconds == 0:
        return "0s"
    sign, nanoseconds = ("-", -nanoseconds) if nanoseconds < 0 else ("", nanoseconds)
    for unit, size in (("ns", 1), ("µs", 1_000), ("ms", 1_000_000)):
        if nanoseconds < size * 1000:
            return f"{sign}{_decimal(nanoseconds, size)}{unit}"
    minutes, rest = divmod(nanoseconds, 60 * 10**9)
    hours, minutes = divmod(minutes, 60)
    text = f"{hours}h{minutes}m" if hours else f"{minutes}m" if minutes else ""
    return f"{sign}{text}{_decimal(rest, 10**9)}s"


def _decimal(value: int, size: int) -> str:
    whole, fraction = divmod(value, size)
    digits = f"{fraction:0{len(str(size)) - 1}d}".rstrip("0") if size > 1 else ""
    return f"{whole}.{digits}" if digits else str(whole)
