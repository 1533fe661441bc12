"""Durations as Go writes and reads them."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from swimnomad.errors import UsageError
from swimnomad.nomad.durations import duration_text, parse_duration


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("0", 0.0),
        ("10s", 10.0),
        ("1.5h", 5400.0),
        ("-5s", -5.0),
        ("+1m30s", 90.0),
        (".5s", 0.5),
        ("1us1µs1ns", 2.001e-6),
        ("100ms", 0.1),
    ],
)
def test_numbers_with_units_add_up(text: str, seconds: float) -> None:
    assert parse_duration(text) == pytest.approx(seconds)


@pytest.mark.parametrize(
    "text", ["", "10", "60foo", "s", "-", "1 s", "1s ", "1sx", "300000000h", "."]
)
def test_anything_else_is_no_duration(text: str) -> None:
    with pytest.raises(UsageError):
        parse_duration(text)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.0, "0s"),
        (3723.5, "1h2m3.5s"),
        (60.0, "1m0s"),
        (3600.0, "1h0m0s"),
        (0.023456, "23.456ms"),
        (7.5e-6, "7.5µs"),
        (5e-9, "5ns"),
        (-1.5, "-1.5s"),
        (30.0, "30s"),
    ],
)
def test_durations_are_printed_as_go_does(seconds: float, text: str) -> None:
    assert duration_text(seconds) == text


@settings(deadline=None)
@given(st.integers(-(10**15), 10**15))
def test_what_is_printed_reads_back(nanoseconds: int) -> None:
    seconds = nanoseconds / 1e9
    assert parse_duration(duration_text(seconds)) == pytest.approx(seconds, abs=1e-9, rel=1e-12)
