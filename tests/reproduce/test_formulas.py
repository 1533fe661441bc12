"""The formulas that experiments are held against give the published figures."""

from __future__ import annotations

import pytest

from reproduce.effort import Effort
from reproduce.expectations import EXPECTATIONS, first_detection
from reproduce.experiments.dissemination import infection_model, least_rounds, push_model
from reproduce.experiments.false_detection import expected_rate
from reproduce.experiments.formulas import (
    is_as_published,
    paper_suspicion,
    published_formulas,
    rounds_to_share,
)
from reproduce.numbers import mean, median, percentile, ratio
from reproduce.rows import Verdict, judge


@pytest.mark.parametrize(
    ("size", "periods"), [(10, 1.530), (50, 1.573), (100, 1.577), (1000, 1.582)]
)
def test_first_detection_is_what_swim_publishes(size: int, periods: float) -> None:
    assert first_detection(size) == pytest.approx(periods, abs=0.0006)


@pytest.mark.parametrize(
    ("arrival", "helpers", "rate"),
    [
        (0.95, 0, 0.154),
        (0.95, 1, 0.0286),
        (0.95, 3, 9.8e-4),
        (0.90, 0, 0.301),
        (0.90, 1, 0.103),
        (0.90, 3, 0.0122),
    ],
)
def test_false_detection_is_what_swim_publishes(arrival: float, helpers: int, rate: float) -> None:
    assert expected_rate(arrival, helpers) == pytest.approx(rate, rel=0.006)


def test_the_infection_model_starts_with_one_and_passes_half() -> None:
    assert infection_model(100, 0.01) == pytest.approx(0.0)
    assert infection_model(100, 0.5) == pytest.approx(2.309, abs=0.001)
    assert infection_model(1000, 0.99) > infection_model(100, 0.99) > infection_model(100, 0.5)


def test_no_protocol_is_expected_to_beat_the_bound() -> None:
    assert [least_rounds(size, 3) for size in (4, 16, 17, 64, 1000)] == [1, 2, 3, 3, 5]
    assert all(push_model(size, 3) > least_rounds(size, 3) - 1 for size in (30, 100, 1000))


def test_rounds_of_the_convergence_page() -> None:
    assert [rounds_to_share(100, share) for share in (0.5, 0.99, 0.9999)] == [4, 7, 10]


def test_suspicions_of_the_first_implementation_step_at_their_sizes() -> None:
    assert [paper_suspicion(size) for size in (19, 20, 53, 54)] == [9, 12, 12, 15]


def test_a_figure_off_by_one_in_the_third_digit_is_not_as_published() -> None:
    assert is_as_published(35.448, 35.4)
    assert not is_as_published(35.3, 35.4)
    assert not is_as_published(8.1, 8)


def test_the_program_computes_every_published_formula() -> None:
    for row in published_formulas(Effort(quick=True)):
        assert judge(EXPECTATIONS[row.key], row) is Verdict.IN_BAND, row


def test_percentiles_lie_between_neighbours_and_nothing_has_none() -> None:
    assert percentile([4, 1, 3, 2], 0.5) == median([1, 2, 3, 4]) == 2.5
    assert percentile([1, 2, 3], 1.0) == 3
    assert mean([1, 2, 6]) == 3
    for nothing in (mean([]), median([]), ratio(1, 0)):
        assert nothing != nothing
