"""How often loss alone makes the failure detector accuse a live member."""

from __future__ import annotations

import math

from reproduce.effort import Effort
from reproduce.pool import BARE, Pool, settings_of
from reproduce.rows import Measurement
from swimnomad.faults import Latency
from swimnomad.names import Value
from swimnomad.sim.network import Link

SIZE = 50
EVENTS = 1_200
"""Accusations that a full run waits for: with more than 1,000 chance moves a rate by 3 %."""
PERIODS_TO_DETECT = math.e / (math.e - 1)
"""SWIM states the rate for the time in which a crash is noticed on average, in periods."""


class Loss(Value, frozen=True):
    """A world in which each packet arrives with probability `arrival`; `helpers` are asked."""

    arrival: float
    helpers: int
    periods: int
    seed: str


CASES = tuple((arrival, helpers) for arrival in (0.95, 0.90) for helpers in (0, 1, 3))


def expected_rate(arrival: float, helpers: int) -> float:
    """Wrong accusations of one member in the time of one detection (SWIM, DSN 2002, §3)."""
    return (1 - arrival**2) * (1 - arrival**4) ** helpers * PERIODS_TO_DETECT


def count_accusations(case: Loss) -> int:
    """Probes of live members that failed."""
    settings = settings_of(
        "paper", **BARE, round_robin=False, indirect_checks=case.helpers, nack_fraction=1.0
    )
    link = Link(Latency("uniform", 0.0002, 0.0008), loss=1 - case.arrival)
    pool = Pool(SIZE, settings, case.seed, link=link)
    pool.world.run_for(2.0)
    before = pool.total("probe.failed")
    pool.world.run_for(case.periods)
    return pool.total("probe.failed") - before


def swim_false_detection(effort: Effort) -> list[Measurement]:
    """The rows on false detection."""
    rows = []
    for arrival, helpers in CASES:
        expected = expected_rate(arrival, helpers)
        wanted = effort.pick(EVENTS, 40)
        periods = math.ceil(wanted / (expected / PERIODS_TO_DETECT * SIZE))
        worlds = 1 if periods < 100 else 2 * effort.jobs if periods > 2000 else 2
        cases = [
            Loss(arrival, helpers, -(-periods // worlds), f"{effort.seed}/{arrival}/{helpers}/{n}")
            for n in range(worlds)
        ]
        events = sum(effort.spread(count_accusations, cases))
        probes = SIZE * sum(case.periods for case in cases)
        rate = events / probes
        rows.append(
            Measurement(
                f"false-detection-{arrival:.2f}-{helpers}",
                rate * PERIODS_TO_DETECT,
                f"{rate * PERIODS_TO_DETECT:.3g}",
                f"{events:,} accusations, {probes:,} probes",
                f"{rate:.3g} a period",
            )
        )
    return rows
