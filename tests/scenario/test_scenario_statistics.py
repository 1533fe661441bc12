from __future__ import annotations

import math
import random

import pytest

from swimnomad.scenario.statistics import order_statistics, percentile, wilson_interval


@pytest.mark.parametrize(
    ("successes", "count", "low", "high"),
    [  # Newcombe, Statistics in Medicine 1998, table I, method 3
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0, 0.1611),
        (1, 29, 0.0061, 0.1718),
    ],
)
def test_wilson_intervals_are_the_published_ones(
    successes: int, count: int, low: float, high: float
) -> None:
    found = wilson_interval(successes, count)
    assert found == pytest.approx((low, high), abs=5e-5)
    assert wilson_interval(count - successes, count) == pytest.approx((1 - high, 1 - low), abs=5e-5)


@pytest.mark.parametrize(
    ("count", "ranks"), [(5, (0, 6)), (6, (1, 6)), (10, (2, 9)), (20, (6, 15)), (100, (40, 61))]
)
def test_the_ranks_around_a_median_are_those_of_the_tables(
    count: int, ranks: tuple[int, int]
) -> None:
    assert order_statistics(count, 0.5) == ranks


@pytest.mark.parametrize("share", [0.5, 0.9, 0.99])
@pytest.mark.parametrize("count", [10, 50, 400])
def test_the_enclosing_ranks_hold_their_promise_and_no_closer_ones_would(
    count: int, share: float
) -> None:
    def at_most(limit: int) -> float:
        return sum(
            math.comb(count, k) * share**k * (1 - share) ** (count - k) for k in range(limit + 1)
        )

    low, high = order_statistics(count, share)
    if low:
        assert at_most(low - 1) <= 0.025 < at_most(low)
    else:
        assert at_most(0) > 0.025
    if high <= count:
        assert 1 - at_most(high - 1) <= 0.025 < 1 - at_most(high - 2)
    else:
        assert 1 - at_most(count - 1) > 0.025


def test_a_percentile_is_by_nearest_rank_with_the_values_at_those_ranks() -> None:
    values = [float(n) for n in range(1, 101)]
    random.Random(1).shuffle(values)
    found = percentile(values, 0.5)
    assert (found.value, found.low, found.high) == (50.0, 40.0, 61.0)
    few = percentile([3.0, 1.0, 2.0], 0.5)
    assert (few.value, few.low, few.high) == (2.0, None, None)


def test_large_numbers_of_runs_are_no_trouble() -> None:
    low, high = order_statistics(100_000, 0.99)
    assert 98_930 < low < 99_000 < high < 99_070
