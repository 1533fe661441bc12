"""Random schedules: possible, various, and repaired at their end."""

from __future__ import annotations

import random

import pytest

from swimnomad.explore.schedules import STEPS_MAX, TROUBLE, random_scenario
from swimnomad.scenario.loader import check_scenario, load_text
from swimnomad.scenario.model import HealArgs, Scenario, Step, TargetArgs
from swimnomad.scenario.vocabulary import STEPS
from swimnomad.scenario.writing import to_yaml

BASE = load_text("name: base\ncluster: {nodes: 3}\nduration: 5s\nexpect: [converged: ]")
BECOMES = {"kill": "dead", "leave": "dead", "pause": "paused", "resume": "running"}
BECOMES |= {"restart": "running", "start": "running"}
ALLOWED = {
    "kill": ("running", "paused"),
    "leave": ("running",),
    "pause": ("running",),
    "resume": ("paused",),
    "restart": ("dead",),
    "start": ("absent",),
    "tags": ("running",),
    "event": ("running",),
}


def schedule(seed: int, base: Scenario = BASE) -> Scenario:
    return random_scenario(base, random.Random(seed), 15.0)


def test_every_word_of_trouble_is_a_step_of_scenario_files() -> None:
    assert set(TROUBLE) <= set(STEPS)


def test_the_same_generator_gives_the_same_schedule() -> None:
    assert schedule(7) == schedule(7)
    assert schedule(7) != schedule(8)


@pytest.mark.parametrize("seed", range(60))
def test_every_step_of_a_schedule_is_possible_when_it_comes(seed: int) -> None:
    lives = dict.fromkeys(BASE.cluster.node_regions, "running")
    for step in schedule(seed).steps:
        for name in getattr(step.args, "target", ()):
            if step.word in ALLOWED:
                assert lives.get(name, "absent") in ALLOWED[step.word], step
            lives.update({name: BECOMES[step.word]} if step.word in BECOMES else {})
        assert "running" in lives.values(), "somebody is there whom others can join"


@pytest.mark.parametrize("seed", range(30))
def test_a_schedule_can_be_written_and_reads_back_as_itself(seed: int) -> None:
    made = schedule(seed)
    check_scenario(made, "sim")
    assert load_text(to_yaml(made)) == made


@pytest.mark.parametrize("seed", range(30))
def test_at_its_end_a_schedule_repairs_links_and_wakes_whom_it_paused(seed: int) -> None:
    steps = schedule(seed).steps
    assert steps[-1].word == "heal"
    assert steps[-1].args == HealArgs()
    paused: dict[str, None] = {}
    for step in steps:
        for name in getattr(step.args, "target", ()):
            if step.word == "pause":
                paused[name] = None
            elif step.word in ("resume", "kill"):
                paused.pop(name, None)
    assert not paused


def test_schedules_differ_in_the_words_they_use() -> None:
    used = [frozenset(step.word for step in schedule(seed).steps) for seed in range(300)]
    assert frozenset[str]().union(*used) == set(TROUBLE)
    assert len(set(used)) > 200
    assert max(len(schedule(seed).steps) for seed in range(300)) <= STEPS_MAX + 2


def test_the_steps_of_the_base_come_first_and_its_expectations_are_left_out() -> None:
    pause = Step("pause", TargetArgs(("node-2",)), at=3.0)
    base = Scenario("b", "", BASE.cluster, BASE.network, (pause,), BASE.expect)
    for seed in range(30):
        made = schedule(seed, base)
        assert made.steps[0] == pause
        assert [one.word for one in made.expect] == ["invariants", "converged"]
        touched = [s.word for s in made.steps[1:] if "node-2" in getattr(s.args, "target", ())]
        assert "pause" not in touched[:1], "it knows that the node is paused already"
