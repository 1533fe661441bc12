"""Every experiment at a small size: the mechanism it measures is really at work."""

from __future__ import annotations

import pytest

from reproduce.effort import Effort
from reproduce.expectations import EXPECTATIONS
from reproduce.experiments import EXPERIMENTS
from reproduce.experiments.detection import (
    Trials,
    gaps_in_step,
    suspicions_free_running,
    wait_in_step,
    waits_free_running,
)
from reproduce.experiments.dissemination import (
    Spread,
    gossip_rounds,
    infection_times,
    least_rounds,
)
from reproduce.experiments.false_detection import Loss, count_accusations
from reproduce.experiments.formulas import suspicion_lasts
from reproduce.experiments.kills import Kill, kill_one
from reproduce.experiments.lifeguard import (
    SWITCHES,
    Anomaly,
    Grid,
    Outcome,
    ablation_rows,
    anomalies,
    dose_rows,
    out_of_order,
    run_anomaly,
)
from reproduce.experiments.probing import message_load, worst_gap
from reproduce.experiments.rapid import Course, watch_views
from reproduce.experiments.tuning import Weather, count_false_deaths
from reproduce.numbers import mean
from reproduce.pool import settings_of
from reproduce.rows import Verdict, judge
from swimnomad.swim.suspicion import suspicion_timeout_min


def test_a_pool_of_two_probes_its_victim_in_the_very_first_round() -> None:
    assert wait_in_step(Trials(2, 20, "two")) == [1.0] * 20


@pytest.mark.parametrize("watch", [wait_in_step, gaps_in_step])
def test_waits_in_common_rounds_are_whole_and_average_as_expected(watch: object) -> None:
    assert watch in (wait_in_step, gaps_in_step)
    waits = watch(Trials(10, 400, "step"))
    assert len(waits) == 400
    assert all(abs(wait - round(wait)) < 1e-6 for wait in waits)
    assert mean(waits) == pytest.approx(1.53, rel=0.2)


def test_free_running_waits_are_fractions_and_suspicion_comes_one_period_later() -> None:
    probed = waits_free_running(Trials(20, 300, "free"))
    suspected = [
        wait for n in range(15) for wait in suspicions_free_running(Trials(20, 20, f"late{n}"))
    ]
    assert any(wait % 1 for wait in probed)
    assert mean(probed) == pytest.approx(0.95, rel=0.2)
    assert min(suspected) > 1.0
    assert mean(suspected) - mean(probed) == pytest.approx(1.0, abs=0.25)


def test_round_robin_never_exceeds_its_bound_and_comes_near_it() -> None:
    assert 9 <= worst_gap(Trials(6, 300, "gap")) <= 11


def test_a_member_sends_and_receives_a_ping_and_an_ack_a_period() -> None:
    assert message_load(Trials(10, 20, "load")) == pytest.approx((2.0, 2.0), rel=0.02)


def test_helpers_save_live_members_from_accusation() -> None:
    alone, helped = (
        count_accusations(Loss(0.9, helpers, 40, "loss")) / (50 * 40) for helpers in (0, 3)
    )
    assert alone == pytest.approx(1 - 0.9**2, rel=0.2)
    assert helped < alone / 5


def test_infection_takes_longer_for_nearly_all_than_for_half() -> None:
    half, most = infection_times(Spread(50, "infect"))
    assert 0 < half < most < 12


def test_gossip_rounds_are_whole_and_never_beat_the_bound() -> None:
    rounds = [gossip_rounds(Spread(16, f"gossip{n}")) for n in range(5)]
    assert all(one == int(one) for one in rounds)
    assert least_rounds(16, 3) <= min(rounds)
    assert max(rounds) < 10


def test_a_suspicion_of_fixed_length_lasts_it() -> None:
    assert suspicion_lasts(5, "fixed") == pytest.approx(6.0)  # 3·⌈ln 6⌉


@pytest.mark.parametrize("with_serf", [False, True])
def test_everybody_reports_a_kill_and_nobody_anything_else(with_serf: bool) -> None:
    settings = settings_of("lan")
    report = kill_one(Kill(8, settings, "kill", with_serf=with_serf))
    assert (len(report.delays), report.false) == (7, 0)
    assert report.delays[0] > suspicion_timeout_min(8, 1.0, 4)
    assert report.delays[-1] - report.delays[0] < 2.0


def test_slow_members_of_swim_accuse_healthy_ones_and_those_of_lifeguard_do_not() -> None:
    swim, lifeguard = (
        run_anomaly(Anomaly(name, 4, 12.0, 0.01, "slow", size=16, run=60.0))
        for name in ("SWIM", "Lifeguard")
    )
    assert swim.false_positives > 10 * lifeguard.false_positives
    assert swim.false_positives >= swim.at_healthy


def test_healthy_members_accuse_nobody() -> None:
    calm = run_anomaly(Anomaly("SWIM", 0, 1.0, 1.0, "calm", size=16, run=20.0))
    assert calm.false_positives == 0


def test_a_grid_runs_every_configuration_on_the_same_anomalies() -> None:
    grid = Grid((1, 2), ((4.0, 0.5), (4.0, 1.0)), 2)
    runs = anomalies(grid, 7)
    assert len(runs) == 2 * 2 * 2 * len(SWITCHES)
    seeds = {name: [one.seed for one in runs if one.configuration == name] for name in SWITCHES}
    assert all(own == seeds["SWIM"] for own in seeds.values())
    assert len(set(seeds["SWIM"])) == 8


def outcome(name: str, count: int, false_positives: int) -> Outcome:
    return Outcome(Anomaly(name, count, 1.0, 1.0, "made"), false_positives, 1, 100, 1000)


def test_rows_of_the_ablation_are_shares_of_plain_swim() -> None:
    counts = {"SWIM": 1000, "Buddy": 900, "LHA-Probe": 600, "LHA-Suspicion": 30, "Lifeguard": 15}
    outcomes = [outcome(name, 1, count) for name, count in counts.items()]
    rows = {row.key: row for row in ablation_rows(outcomes, [])}
    assert rows["lifeguard-order"].value == 0
    assert rows["lifeguard-share"].value == pytest.approx(1.5)
    assert rows["lifeguard-messages"].value == 100
    assert "1.50 / 3.00 / 60.00 / 90.00 / 100.00 % of 1,000" in rows["lifeguard-order"].note


def test_a_share_of_next_to_nothing_is_in_no_band() -> None:
    rows = ablation_rows([outcome(name, 1, 1000) for name in SWITCHES], [])
    healthy = next(row for row in rows if row.key == "lifeguard-healthy")
    assert judge(EXPECTATIONS["lifeguard-healthy"], healthy) is Verdict.MISS


def test_configurations_out_of_order_are_counted() -> None:
    assert out_of_order([15, 30, 600, 900, 1000]) == 0
    assert out_of_order([15, 30, 600, 1001, 1000]) == 1
    assert out_of_order([30, 15, 40, 40, 39]) == 4


def test_a_dose_that_does_not_grow_is_counted() -> None:
    outcomes = [outcome("SWIM", c, f) for c, f in ((1, 10), (2, 10), (4, 90))]
    outcomes += [outcome("Lifeguard", c, 1) for c in (1, 2, 4)]
    dose, apart = dose_rows(outcomes, (1, 2, 4))
    assert dose.value == 1
    assert apart.value == pytest.approx(110 / 3)


def test_loss_alone_kills_nobody_but_loss_and_starvation_do() -> None:
    assert count_false_deaths(Weather(10, 0.05, "drizzle", 30.0)) == 0
    storm = Weather(10, 0.3, "storm", 60.0, retransmit_mult=1, starved=3, pause=9.0, gap=0.1)
    assert count_false_deaths(storm) > 0


def test_views_oscillate_while_links_fail_in_turns() -> None:
    views = watch_views(Course(30, 1.0, is_flapping=True, run=80.0, seed="flap"))
    assert views.cycles == views.cycles_changed == 2
    assert views.removals > 0
    assert views.returns > 0


def test_the_number_of_processes_changes_nothing() -> None:
    alone, two = (
        EXPERIMENTS["swim-probing"](Effort(quick=True, jobs=jobs, seed=3)) for jobs in (1, 2)
    )
    assert alone == two
    cases = [Trials(5, 20, f"spread{n}") for n in range(3)]
    assert Effort(jobs=1).spread(wait_in_step, cases) == Effort(jobs=2).spread(wait_in_step, cases)
