"""What many runs say together, and how sure that is.

Runs differ only in their seed, so they are independent. Reports within one run are not (all wait
for the same suspicion): a percentile is therefore taken over runs, each of which gives one number.

The rate of runs that pass has Wilson's score interval. It stays sensible at 0 % and 100 %, where
the usual p ± 1.96·sqrt(p(1−p)/n) says that there is no doubt at all.

A percentile has the interval between two order statistics: whatever the distribution, the number
of values below the true percentile q is binomial (n, q), so the l-th and the u-th smallest value
enclose it with the probability that this number is at least l and below u. With few runs there may
be no such value on a side.

Source: E. B. Wilson, JASA 1927; H. A. David, Order Statistics, §7.1.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from swimnomad.names import Value

CONFIDENCE = 0.95
Z = 1.959963984540054
"""Quantile of the normal distribution that leaves (1 − CONFIDENCE) / 2 above it."""


class Percentile(Value, frozen=True):
    """A percentile with its interval; an end is None where the values are too few to know it."""

    value: float
    low: float | None
    high: float | None


def wilson_interval(successes: int, count: int) -> tuple[float, float]:
    """Ends of the interval for a rate of which `successes` in `count` were seen; count above 0."""
    rate, z2 = successes / count, Z * Z
    middle = (rate + z2 / (2 * count)) / (1 + z2 / count)
    spread = Z / (1 + z2 / count) * math.sqrt(rate * (1 - rate) / count + z2 / (4 * count * count))
    return max(middle - spread, 0.0), min(middle + spread, 1.0)


def percentile(values: Sequence[float], share: float) -> Percentile:
    """A percentile by nearest rank, of at least one value.

    Args:
        values: In any order.
        share: 0 … 1, both excluded.
    """
    ordered = sorted(values)
    count = len(ordered)
    low, high = order_statistics(count, share)
    return Percentile(
        ordered[math.ceil(share * count) - 1],
        ordered[low - 1] if low >= 1 else None,
        ordered[high - 1] if high <= count else None,
    )


def order_statistics(count: int, share: float) -> tuple[int, int]:
    """Ranks (from 1) of the two values that enclose a percentile; 0 and count + 1 mean none."""
    tail = (1 - CONFIDENCE) / 2
    low, high = 0, count + 1
    below = 0.0
    for successes in range(count + 1):
        below += _binomial(successes, count, share)
        # The l-th smallest is above the percentile if fewer than l values are below it.
        if below <= tail:
            low = successes + 1
        if 1 - below <= tail:
            high = successes + 1
            break
    return low, high


def _binomial(successes: int, count: int, share: float) -> float:
    """Probability of so many successes; by logarithms, for the factors overflow."""
    return math.exp(
        math.lgamma(count + 1)
        - math.lgamma(successes + 1)
        - math.lgamma(count - successes + 1)
        + successes * math.log(share)
        + (count - successes) * math.log1p(-share)
    )
