"""Quantities as people write them in scenario files: `200ms`, `5s`, `10%`."""

from __future__ import annotations

import re
from decimal import Decimal

from swimnomad.errors import UsageError

UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}
DURATION_MAX = 7 * 24 * 3600.0
_DURATION = re.compile(r"(\d+(?:\.\d+)?|\.\d+)\s*(ms|s|m|h)")
_SHARE = re.compile(r"(\d+(?:\.\d+)?|\.\d+)\s*(%?)")

BYTE_UNITS = {
    "B": 1.0,
    "kB": 1e3,
    "MB": 1e6,
    "GB": 1e9,
    "kbit": 125.0,
    "Mbit": 125e3,
    "Gbit": 125e6,
}
_BYTES = re.compile(r"(\d+(?:\.\d+)?|\.\d+)\s*([kMG]?B|[kMG]bit)")
BYTES_ALLOWED = "a number of bytes (a rate: a second) such as 1500B, 64kB, 1MB, 10Mbit"
DURATION_ALLOWED = "a duration such as 200ms, 5s, 2m or 1h"
SHARE_ALLOWED = "a share such as 5% or 0.05"


def parse_duration(text: str) -> float:
    """Seconds of a text such as `200ms`, `5s`, `2m`, `1h`; `0` needs no unit.

    Raises:
        UsageError: If it is none of these, or longer than a week.
    """
    match = _DURATION.fullmatch(text.strip())
    if match:
        # Rounded so that 200ms is 0.2 and not the product of two rounding errors; plain seconds
        # are exact, so that any duration can be written down.
        number = float(match[1])
        seconds = number if match[2] == "s" else round(number * UNITS[match[2]], 9)
        if seconds <= DURATION_MAX:
            return seconds
    elif text.strip() == "0":
        return 0.0
    raise UsageError(f"found {text!r}; allowed is {DURATION_ALLOWED}, at most a week")


def parse_signed(text: str) -> float:
    """Seconds of a duration that may have a minus sign.

    Raises:
        UsageError: If it is none.
    """
    text = text.strip()
    return -parse_duration(text[1:]) if text.startswith("-") else parse_duration(text)


def write_signed(seconds: float) -> str:
    """A text that `parse_signed` reads as exactly this."""
    return f"-{write_duration(-seconds)}" if seconds < 0 else write_duration(seconds)


def parse_share(text: str) -> float:
    """A probability 0 … 1 of a text such as `5%` or `0.05`.

    Raises:
        UsageError: If it is none or above 1.
    """
    match = _SHARE.fullmatch(text.strip())
    if match:
        share = float(match[1]) / 100 if match[2] else float(match[1])
        if share <= 1:
            return share
    raise UsageError(f"found {text!r}; allowed is {SHARE_ALLOWED}, at most 100%")


def parse_bytes(text: str) -> float:
    """Bytes of a text such as `1500B`, `64kB` or `10Mbit`; a rate is so many of them a second.

    Raises:
        UsageError: If it is none of these.
    """
    match = _BYTES.fullmatch(text.strip())
    if match:
        return float(match[1]) * BYTE_UNITS[match[2]]
    raise UsageError(f"found {text!r}; allowed is {BYTES_ALLOWED}")


def write_bytes(count: float) -> str:
    """A text that `parse_bytes` reads as exactly this."""
    return f"{_positional(float(count))}B"


def write_duration(seconds: float) -> str:
    """A text that `parse_duration` reads as exactly this: milliseconds where these are shorter."""
    plain = f"{_positional(seconds)}s"
    short = f"{_positional(round(seconds * 1000, 6))}ms"
    return short if 0 < seconds < 1 and parse_duration(short) == seconds else plain


def write_share(share: float) -> str:
    """A text that `parse_share` reads as exactly this: per cent where that is possible."""
    percent = f"{_positional(round(share * 100, 6))}%"
    return percent if parse_share(percent) == share else _positional(share)


def _positional(number: float) -> str:
    """The shortest text of a float, without an exponent."""
    text = format(Decimal(repr(number)), "f")
    return text.removesuffix(".0")


def show_seconds(seconds: float) -> str:
    """A duration for people: three decimals below ten seconds, else one."""
    return f"{seconds:.3f} s" if seconds < 10 else f"{seconds:.1f} s"
