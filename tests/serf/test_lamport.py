"""Lamport clocks: the recorded table, and what the reference gets wrong."""

from __future__ import annotations

import json
from pathlib import Path

from swimnomad.serf.lamport import LTIME_MAX, LamportClock

FORMULAS = Path(__file__).parent.parent / "vectors" / "formulas.json"


def test_clock_follows_the_recorded_script() -> None:
    table = next(v for v in json.loads(FORMULAS.read_text()) if v["name"] == "lamport-clock")
    clock = LamportClock()
    for step in table["decoded"]:
        if step["op"] == "increment":
            assert clock.increment() == step["time"]
        else:
            clock.witness(step["value"])
            assert clock.time == step["time"]
    assert len(table["decoded"]) >= 10


def test_clock_stops_at_the_largest_time_instead_of_going_back_to_zero() -> None:
    clock = LamportClock()
    clock.witness(LTIME_MAX)
    assert clock.time == LTIME_MAX
    assert clock.increment() == LTIME_MAX
    clock.witness(LTIME_MAX)
    assert clock.time == LTIME_MAX
