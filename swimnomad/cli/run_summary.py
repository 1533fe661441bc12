"""What many runs of one scenario say together, as lines of text."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from swimnomad.scenario.statistics import Percentile, percentile, wilson_interval
from swimnomad.scenario.units import show_seconds

if TYPE_CHECKING:
    from swimnomad.scenario.result import Result

SHARES = (0.5, 0.9, 0.99)
LEGEND = (
    "intervals: 95 %; Wilson for the rate, order statistics for percentiles over runs,"
    " – where the runs are too few"
)


def seed_line(result: Result) -> str:
    """One run."""
    if result.passed:
        return f"seed {result.seed}: passed in {result.wall_seconds:.2f} s"
    failed = "; ".join(
        f"{check.name} (expected {check.expected}, measured {check.measured})"
        for check in result.checks
        if not check.passed
    )
    return f"seed {result.seed}: FAILED: {failed}"


def summary_lines(results: Sequence[Result]) -> Iterator[str]:
    """All of them: how many passed, and how long detection took; at least one result."""
    passed, count = sum(result.passed for result in results), len(results)
    low, high = wilson_interval(passed, count)
    yield f"passed: {passed} of {count} seeds ({passed / count:.1%}, {low:.1%} to {high:.1%})"
    medians = [r.detection.p50_s for r in results if r.detection.p50_s is not None]
    lasts = [r.detection.max_s for r in results if r.detection.max_s is not None]
    if medians:
        yield f"detection, median report of a run: {_percentiles(medians)}"
        yield f"detection, last report of a run: {_percentiles(lasts)}"
    false_positives = sum(result.false_positives for result in results)
    if false_positives:
        hit = sum(result.false_positives > 0 for result in results)
        yield f"false positives: {false_positives} in {hit} runs"
    yield LEGEND


def _percentiles(values: Sequence[float]) -> str:
    return ", ".join(f"p{share * 100:g} {_show(percentile(values, share))}" for share in SHARES)


def _show(found: Percentile) -> str:
    low = "–" if found.low is None else show_seconds(found.low)
    high = "–" if found.high is None else show_seconds(found.high)
    return f"{show_seconds(found.value)} ({low} to {high})"
