"""What a row of the table is made of: an expectation with its band, and what was measured."""

from __future__ import annotations

import math
from enum import Enum

from swimnomad.names import Value


class Band(Value, frozen=True):
    """The values that count as reproduced: `low` … `high`, both included."""

    low: float = -math.inf
    high: float = math.inf

    def holds(self, value: float) -> bool:
        """Whether a value lies in the band; a value that is no number never does."""
        return self.low <= value <= self.high

    def __str__(self) -> str:
        """As the report shows it."""
        if self.low == self.high:
            return f"exactly {self.low:g}"
        if self.low == -math.inf:
            return f"≤ {self.high:.4g}"
        if self.high == math.inf:
            return f"≥ {self.low:.4g}"
        return f"{self.low:.4g} … {self.high:.4g}"


def around(value: float, share: float) -> Band:
    """The band `value` ± `share` of it."""
    return Band(value * (1 - share), value * (1 + share))


def near(value: float, distance: float) -> Band:
    """The band `value` ± `distance`."""
    return Band(value - distance, value + distance)


EXACT = Band(0.0, 0.0)
"""For rows whose value counts what differs from the figures expected, or is out of order."""


class Expectation(Value, frozen=True):
    """One row of the table: a quantity and what others published or measured for it.

    `expected` is text for people; `band` judges. `remark` says what the source leaves open.
    """

    key: str
    quantity: str
    source: str
    expected: str
    band: Band
    remark: str = ""


class Measurement(Value, frozen=True):
    """What an experiment saw for one row.

    `value` is what the band judges, `shown` what the report prints.
    """

    key: str
    value: float
    shown: str
    trials: str
    note: str = ""


class Verdict(Enum):
    """How a measurement stands to its band."""

    IN_BAND = "in band"
    MISS = "MISS"


def judge(expectation: Expectation, measurement: Measurement) -> Verdict:
    """Hold a measurement against the band of its row."""
    assert expectation.key == measurement.key
    return Verdict.IN_BAND if expectation.band.holds(measurement.value) else Verdict.MISS
