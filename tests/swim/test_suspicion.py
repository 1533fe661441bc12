from __future__ import annotations

import math
from typing import Any

import pytest

from swimnomad.errors import UsageError
from swimnomad.swim.config import SwimConfig, profile_settings
from swimnomad.swim.suspicion import (
    Suspicion,
    confirmations_needed,
    remaining_suspicion,
    suspicion_timeout_min,
)
from tests.swim.swim_vectors import table


def build(nodes: int = 100, accuser: str | None = "a", **settings: Any) -> Suspicion:  # noqa: ANN401 - settings by name
    config = SwimConfig(name="n", **settings)
    return Suspicion(config, nodes, accuser, 0.0)


def test_shortest_timeout_equals_the_reference_in_every_row() -> None:
    for row in table("suspicion-timeout"):
        found = suspicion_timeout_min(row["nodes"], row["probe_interval_ns"] / 1e9, row["mult"])
        assert round(found * 1e9) == row["timeout_ns"], row


def test_remaining_time_equals_the_reference_in_every_row() -> None:
    for row in table("remaining-suspicion"):
        found = remaining_suspicion(
            row["confirmations"],
            row["k"],
            row["elapsed_ns"] / 1e9,
            row["min_ns"] / 1e9,
            row["max_ns"] / 1e9,
        )
        assert math.isclose(found * 1e9, row["remaining_ns"], abs_tol=5), row


@pytest.mark.parametrize(
    ("profile", "nodes", "shortest", "longest"),
    [
        ("lan", 3, 4.0, 24.0),
        ("lan", 30, 5.908, 35.448),
        ("lan", 100, 8.0, 48.0),
        ("lan", 1000, 12.0, 72.0),
        ("lan", 10_000, 16.0, 96.0),
        ("wan", 3, 30.0, 180.0),
        ("wan", 30, 44.31, 265.86),
        ("nomad", 100, 60.0, 360.0),
    ],
)
def test_published_timeouts_of_the_profiles(
    profile: str, nodes: int, shortest: float, longest: float
) -> None:
    config = SwimConfig(name="n", **profile_settings(profile))  # type: ignore[arg-type]  # by name
    found = suspicion_timeout_min(nodes, config.probe_interval, config.suspicion_mult)
    assert found == pytest.approx(shortest)
    assert found * config.suspicion_max_timeout_mult == pytest.approx(longest)


def test_negative_sizes_are_refused() -> None:
    with pytest.raises(UsageError, match="must not be negative"):
        suspicion_timeout_min(-1, 1.0, 4)
    with pytest.raises(UsageError, match="must not be negative"):
        suspicion_timeout_min(3, -1.0, 4)


def test_timeouts_by_pool_size_and_confirmations() -> None:
    """gossip 40.24: m=5, x=2, P=100 ms by pool size and by confirmations."""
    settings: dict[str, Any] = {
        "suspicion_mult": 5,
        "suspicion_max_timeout_mult": 2,
        "probe_interval": 0.1,
    }
    for nodes, timeout in ((2, 0.5), (3, 0.5), (4, 0.5), (5, 1.0), (6, 1.0)):
        assert build(nodes, **settings).deadline == timeout
    suspicion = build(6, **settings)
    # With k = 3 a fourth accuser finds the suspicion at its shortest already.
    for accuser, timeout in (("b", 0.75), ("c", 0.604), ("d", 0.5), ("e", 0.5)):
        suspicion.confirm(accuser)
        # 603.76 ms is cut to whole milliseconds; the checklist rounds it.
        assert suspicion.deadline == pytest.approx(timeout, abs=0.0015)


def test_remaining_time_of_the_worked_example() -> None:
    """gossip 40.25: k=3 from 30 s down to 2 s; first accuser and repeats are no news."""
    for confirmations, elapsed, remaining in ((0, 0, 30), (1, 2, 14), (2, 3, 4.810), (3, 4, -2)):
        found = remaining_suspicion(confirmations, 3, elapsed, 2, 30)
        assert found == pytest.approx(remaining)
    suspicion = build(100, suspicion_mult=5)
    assert not suspicion.confirm("a")
    assert suspicion.confirm("b")
    assert not suspicion.confirm("b")
    before = suspicion.deadline
    assert suspicion.is_degraded
    assert suspicion.confirm("c")
    assert suspicion.confirm("d")
    assert not suspicion.is_degraded
    assert not suspicion.confirm("e")
    assert suspicion.deadline < before


def test_in_a_small_pool_the_minimum_is_used_and_nothing_confirms() -> None:
    """gossip 40.25: with k=0 the minimum is used and no confirmation is new."""
    suspicion = build(3)
    assert suspicion.deadline == 4.0
    assert not suspicion.confirm("b")
    assert not suspicion.is_degraded


def test_hearsay_has_no_accuser_and_its_first_named_one_does_not_confirm() -> None:
    suspicion = build(100, accuser=None)
    longest = suspicion.deadline
    assert not suspicion.confirm(None)
    assert suspicion.confirm("a")
    assert suspicion.deadline == longest
    assert suspicion.confirm("b")
    assert suspicion.deadline < longest


def test_lifeguard_switches_set_confirmations_and_minimum() -> None:
    config = SwimConfig(name="n", suspicion_mult=6)
    assert confirmations_needed(config, 100) == 4
    assert confirmations_needed(SwimConfig(name="n", suspicion_mult=1), 100) == 0
    assert confirmations_needed(SwimConfig(name="n", suspicion_confirmations=7), 100) == 7
    assert confirmations_needed(SwimConfig(name="n", lha_suspicion=False), 100) == 0
    assert build(100, lha_suspicion=False).deadline == 8.0
    assert build(100, suspicion_min_fixed=9.0).deadline == 54.0
    assert build(100, suspicion_min_fixed=9.0, lha_suspicion=False).deadline == 9.0
