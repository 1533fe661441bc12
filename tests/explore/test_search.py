"""The search: finds what real memberlist is known to do, and nothing under the safe rules."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import msgspec
import pytest

from swimnomad.explore.search import Report, schedule_of, search
from swimnomad.explore.trial import BUG, run_trial
from swimnomad.scenario import sim_backend
from swimnomad.scenario.loader import load_scenario, load_text
from swimnomad.scenario.model import Scenario
from swimnomad.scenario.run import run_scenario
from swimnomad.scenario.writing import to_yaml

ROOT = Path(__file__).resolve().parents[2]
RUNS = 60
RUNS_FEW = 12
"""Enough for both findings of this seed."""
SEED = 11
STEPS_MAX = 8


def base(compat: str = "safe") -> Scenario:
    scenario = load_scenario(ROOT / "scenarios" / "explore-base.yaml")
    cluster = msgspec.structs.replace(scenario.cluster, compat=compat)
    return msgspec.structs.replace(scenario, cluster=cluster)


@pytest.fixture(scope="module")
def upstream() -> Report:
    return search(base("upstream"), RUNS, SEED, jobs=2)


def test_the_revival_by_a_stale_alive_is_found_and_shown_in_a_few_steps(upstream: Report) -> None:
    first = upstream.found[0]
    assert first.invariant == "revival"
    shrunk = first.shrunk
    assert len(shrunk.scenario.steps) <= STEPS_MAX
    result = run_scenario(load_text(to_yaml(shrunk.scenario)), shrunk.seed)
    assert not result.passed
    assert "comes back only by a higher incarnation" in result.checks[0].measured


def test_what_was_found_does_not_happen_under_safe_rules(upstream: Report) -> None:
    for found in upstream.found:
        cluster = msgspec.structs.replace(found.shrunk.scenario.cluster, compat="safe")
        scenario = msgspec.structs.replace(found.shrunk.scenario, cluster=cluster)
        assert run_scenario(scenario, found.shrunk.seed).passed, found.invariant


def test_the_findings_do_not_depend_on_the_number_of_processes() -> None:
    one, three = (search(base("upstream"), RUNS_FEW, SEED, jobs) for jobs in (1, 3))
    assert one == three
    assert [found.invariant for found in one.found] == ["revival", "agreement"]


def test_under_safe_rules_nothing_is_found() -> None:
    told: list[int] = []
    report = search(base(), RUNS, SEED, jobs=2, on_progress=told.append)
    assert report.found == ()
    assert report.cut_short == 0
    assert told == list(range(1, RUNS + 1))


def ctrl_c_at(number: int) -> Callable[..., None]:
    """What is told of progress, and gets impatient."""

    def told(*told: object) -> None:
        if told[-1] == number:
            raise KeyboardInterrupt

    return told


@pytest.mark.parametrize("jobs", [1, 2])
def test_what_was_found_before_ctrl_c_is_reported_and_fails_by_itself(jobs: int) -> None:
    report = search(base("upstream"), RUNS, SEED, jobs, on_progress=ctrl_c_at(RUNS_FEW))
    assert report.was_interrupted
    assert report.runs == RUNS_FEW
    assert [found.invariant for found in report.found] == ["revival", "agreement"]
    for found in report.found:
        shrunk = found.shrunk
        assert shrunk.runs == 0, "nothing was made short"
        assert not run_scenario(load_text(to_yaml(shrunk.scenario)), shrunk.seed).passed


def test_ctrl_c_ends_the_shrinking_and_keeps_what_it_has_reached(upstream: Report) -> None:
    report = search(base("upstream"), RUNS_FEW, SEED, jobs=1, on_shrink=ctrl_c_at(20))
    assert report.was_interrupted
    assert report.runs == RUNS_FEW
    first, second = report.found
    assert (first.shrunk.runs, second.shrunk.runs) == (20, 0)
    whole = schedule_of(base("upstream"), SEED, first.runs[0])
    assert len(first.shrunk.scenario.steps) < len(whole.steps)
    assert not run_scenario(first.shrunk.scenario, first.shrunk.seed).passed


def test_runs_of_one_search_differ_and_those_of_another_seed_too() -> None:
    made = [schedule_of(base(), seed, number).steps for seed in (1, 2) for number in (1, 2, 3)]
    assert all(one not in made[:place] for place, one in enumerate(made))


def test_a_run_whose_steps_cannot_be_done_is_counted_and_no_finding() -> None:
    text = "steps: [{kill: node-1}, {kill: node-1}]\nexpect: [{invariants: , always: true}]"
    outcome = run_trial(load_text(f"cluster: {{nodes: 3}}\nduration: 5s\n{text}"), 1)
    assert outcome.failure is None
    assert outcome.cut_short.startswith("step 2 (kill)")


def test_an_exception_outside_every_core_is_a_finding(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(self: object, name: str) -> None:
        raise AssertionError("a mistake of ours")

    monkeypatch.setattr(sim_backend.SimBackend, "kill", broken)
    text = "steps: [{kill: node-1}]\nexpect: [{invariants: , always: true}]"
    outcome = run_trial(load_text(f"cluster: {{nodes: 3}}\nduration: 5s\n{text}"), 1)
    assert outcome.failure is not None
    assert (outcome.failure.invariant, outcome.cut_short) == (BUG, "")
    assert outcome.failure.text == "AssertionError: a mistake of ours"
