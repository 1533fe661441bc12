from __future__ import annotations

import math
import random

import pytest

from swimnomad.errors import UsageError
from swimnomad.scenario.bounds import convergence_bound, push_pull_scale
from swimnomad.scenario.facts import ALIVE, Facts
from swimnomad.scenario.result import detection_of
from swimnomad.scenario.targets import resolve
from swimnomad.scenario.units import parse_duration, parse_share

GRACE = 10.0


@pytest.fixture
def facts() -> Facts:
    """Three running nodes that see each other as alive."""
    facts = Facts(GRACE)
    facts.set_lives(0.0, dict.fromkeys("abc", "running"))
    for observer in "abc":
        for subject in "abc":
            facts.saw(1.0, observer, subject, "alive")
    return facts


def test_views_have_converged_from_the_last_report_that_was_missing(facts: Facts) -> None:
    assert facts.converged.holds_since == 1.0
    assert facts.converged.wrong == 0


def test_detection_is_each_observers_time_since_the_kill(facts: Facts) -> None:
    facts.set_lives(5.0, {"c": "killed"})
    assert facts.converged.wrong == 2
    facts.saw(8.0, "a", "c", "failed")
    facts.saw(9.5, "b", "c", "failed")
    facts.saw(9.9, "b", "c", "failed")  # once is enough
    assert facts.detections == [3.0, 4.5]
    assert facts.kills["c"].reported == {"a": 3.0, "b": 4.5}
    assert facts.converged.holds_since == 9.5
    assert facts.false_positives == []


def test_a_report_about_a_running_member_is_a_false_positive(facts: Facts) -> None:
    facts.saw(5.0, "a", "b", "failed")
    assert [(one.observer, one.subject, one.time) for one in facts.false_positives] == [
        ("a", "b", 5.0)
    ]
    assert facts.detections == []


def test_a_paused_member_is_excused_until_grace_is_over_and_views_agree(facts: Facts) -> None:
    facts.set_lives(2.0, {"b": "paused"})
    facts.saw(5.0, "a", "b", "failed")
    facts.set_lives(6.0, {"b": "running"})
    facts.saw(7.0, "c", "b", "failed")
    facts.saw(20.0, "c", "b", "alive")
    facts.saw(20.5, "c", "b", "failed")  # grace is over, but a still has the old view
    assert facts.false_positives == []
    facts.saw(21.0, "c", "b", "alive")
    facts.saw(21.0, "a", "b", "alive")
    facts.saw(22.0, "a", "b", "failed")
    assert len(facts.false_positives) == 1


def test_a_member_that_is_cut_off_is_excused_and_one_that_is_not_is_not(facts: Facts) -> None:
    facts.disturb(["b"])
    facts.saw(100.0, "a", "b", "failed")
    facts.saw(100.0, "a", "c", "failed")
    assert [one.subject for one in facts.false_positives] == ["c"]


def test_what_a_dead_or_paused_observer_says_does_not_count(facts: Facts) -> None:
    facts.set_lives(2.0, {"a": "paused", "b": "killed"})
    facts.saw(3.0, "a", "c", "failed")
    facts.saw(3.0, "b", "c", "failed")
    assert facts.false_positives == []


def test_a_late_report_of_an_earlier_death_is_not_false_after_the_restart(facts: Facts) -> None:
    facts.set_lives(2.0, {"c": "killed"})
    facts.set_lives(3.0, {"c": "running"})
    facts.saw(4.0, "a", "c", "failed")
    assert facts.false_positives == []
    assert facts.views["c"] == {}


def test_only_observers_that_ran_at_the_kill_count_as_detecting(facts: Facts) -> None:
    facts.set_lives(2.0, {"c": "killed"})
    facts.set_lives(3.0, {"d": "running"})
    facts.saw(4.0, "d", "c", "failed")
    assert facts.detections == []


def test_a_member_that_left_may_be_seen_as_anything_but_alive(facts: Facts) -> None:
    facts.set_lives(2.0, {"c": "left"})
    assert facts.converged.wrong == 2
    facts.saw(3.0, "a", "c", "left")
    facts.saw(3.0, "b", "c", "none")
    assert facts.converged.holds_since == 3.0


def test_a_watch_counts_as_a_recount_does_whatever_happens() -> None:
    rng = random.Random(4)
    facts = Facts(GRACE)
    names = "abcde"
    facts.set_lives(0.0, dict.fromkeys(names, "running"))
    watch = facts.watch(facts.expected_view, 0.0)
    for step in range(2000):
        if rng.random() < 0.1:
            life = rng.choice(["running", "paused", "killed", "left"])
            facts.set_lives(step, {rng.choice(names): life})  # type: ignore[dict-item]  # a life
        seen = rng.choice(["alive", "failed", "left", "none"])
        facts.saw(step, rng.choice(names), rng.choice(names), seen)  # type: ignore[arg-type]  # a view
        assert watch.wrong == facts.converged.wrong == len(list(watch.differences(names)))
        assert (watch.holds_since is None) == (watch.wrong > 0)


def test_percentiles_are_by_nearest_rank() -> None:
    detection = detection_of([float(n) for n in range(100, 0, -1)])
    assert (detection.count, detection.p50_s, detection.p90_s) == (100, 50.0, 90.0)
    assert (detection.p99_s, detection.max_s) == (99.0, 100.0)
    assert detection_of([]).p50_s is None


def test_the_bound_adds_up_its_terms() -> None:
    bound = convergence_bound(5, "local")
    assert bound.probing == 4.0
    assert bound.suspicion_max == 18.0  # 6 * 3 * max(1, log10 5) * 1 s
    assert bound.spread == pytest.approx(0.5)  # ceil(log_4 5 + ln 5 / 3 + 3) = 5 rounds of 0.1 s
    assert bound.push_pull == 15.0
    assert bound.total == pytest.approx(4 + 18 + 0.5 + 15 + 30)
    assert convergence_bound(100, "lan").suspicion_max == pytest.approx(48.0)
    assert convergence_bound(5, "local", 0.5).suspicion_max == 9.0
    assert convergence_bound(1, "nomad").spread == pytest.approx(0.5 * 3)


def test_the_push_pull_interval_grows_with_the_cluster() -> None:
    assert [push_pull_scale(n) for n in (1, 32, 33, 64, 65, 128, 1000)] == [1, 1, 2, 2, 3, 3, 6]


@pytest.mark.parametrize(
    ("text", "seconds"), [("200ms", 0.2), ("5s", 5.0), ("1.5m", 90.0), ("1h", 3600.0), ("0", 0.0)]
)
def test_durations_are_read(text: str, seconds: float) -> None:
    assert parse_duration(text) == seconds


@pytest.mark.parametrize("text", ["5", "s", "-1s", "1d", "9999h", "", "1e3s", "5 s s"])
def test_what_is_no_duration_is_refused(text: str) -> None:
    with pytest.raises(UsageError, match="allowed is a duration"):
        parse_duration(text)


def test_shares_are_read_with_and_without_a_per_cent_sign() -> None:
    assert (parse_share("5%"), parse_share("0.05"), parse_share("100%")) == (0.05, 0.05, 1.0)
    for text in ("101%", "1.1", "-1", "half"):
        with pytest.raises(UsageError, match="allowed is a share"):
            parse_share(text)


def test_targets_are_names_globs_or_so_many_at_random() -> None:
    names = ["node-1", "node-2", "node-3", "eu-1"]
    rng = random.Random(1)
    assert resolve(["node-2"], names, [], rng) == ["node-2"]
    assert resolve(["node-*", "node-1"], names, names, rng) == names[:3]
    assert resolve(["node-*"], names, ["node-3", "eu-1"], rng) == ["node-3"]
    chosen = resolve(["random 3"], names, names, rng)
    assert len(set(chosen)) == 3
    assert set(resolve(["node-1", "random 3"], names, names, rng)) == set(names)
    with pytest.raises(UsageError, match="only 1 nodes"):
        resolve(["random 2"], names, ["eu-1"], rng)
    with pytest.raises(UsageError, match="no such node"):
        resolve(["us-*"], names, names, rng)


def test_seconds_are_finite() -> None:
    assert math.isfinite(convergence_bound(10_000, "wan").total)


def test_a_check_may_speak_of_a_node_that_appears_later(facts: Facts) -> None:
    watch = facts.watch(lambda _, subject: ALIVE if subject == "late" else None, 1.0)
    assert (watch.pairs, watch.wrong) == (0, 0)
    facts.set_lives(2.0, {"late": "running"})
    assert (watch.pairs, watch.wrong) == (4, 4)  # itself included, which a check leaves out
    for observer in "abc":
        facts.saw(3.0, observer, "late", "alive")
    assert (watch.pairs, watch.wrong) == (4, 1)
