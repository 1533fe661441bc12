"""Shrinking: what is left breaks the same promise, and nothing more can be taken away."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from swimnomad.explore.shrink import RUNS_MAX, Shrinker, Shrunk, _plainer_delays
from swimnomad.explore.trial import run_trial
from swimnomad.faults import Latency
from swimnomad.scenario.loader import check_scenario, load_text
from swimnomad.scenario.model import (
    HealArgs,
    LossArgs,
    RestartArgs,
    SkewArgs,
    StarveArgs,
    Step,
    TargetArgs,
)
from swimnomad.scenario.run import run_scenario
from swimnomad.scenario.writing import to_yaml

LONG = """
name: long
cluster: {nodes: 5, profile: lan, scale: 0.7, compat: upstream}
network: {latency: 2ms}
duration: 45s
steps:
  - {after: 2.3s, loss: 3%}
  - {after: 1.7s, event: {name: deploy, target: node-1}}
  - {after: 0.4s, pause: node-5}
  - {after: 1.1s, leave: node-4}
  - {after: 0.9s, latency: {delay: {uniform: [3ms, 7ms]}, target: node-2}}
  - {after: 2.1s, resume: node-5}
  - {after: 1.3s, restart: {target: node-4, data: empty, address: new}}
  - {after: 4.7s, tags: {target: node-1, set: {mood: good}}}
  - {after: 3.3s, heal: }
expect:
  - {invariants: , always: true}
"""


def shrink(text: str, seed: int = 3) -> Shrunk:
    scenario = load_text(text)
    outcome = run_trial(scenario, seed)
    assert outcome.failure is not None
    return Shrinker(scenario, seed, outcome.failure, outcome.cluster_seconds).shrink()


@pytest.fixture(scope="module")
def found() -> Shrunk:
    return shrink(LONG)


def test_a_long_schedule_becomes_the_two_steps_that_matter(found: Shrunk) -> None:
    assert found.failure.invariant == "revival"
    assert [step.word for step in found.scenario.steps] == ["leave", "restart"]
    leave, restart = (step.args for step in found.scenario.steps)
    assert isinstance(leave, TargetArgs)
    assert isinstance(restart, RestartArgs)
    assert restart == RestartArgs(leave.target, address="new"), "the data does not matter"
    assert found.scenario.cluster.nodes == 2
    assert (found.scenario.cluster.profile, found.scenario.cluster.scale) == ("local", 1.0)
    assert found.scenario.cluster.compat == "upstream", "without it nothing breaks"
    assert found.scenario.network.latency is None
    assert all(step.after is None for step in found.scenario.steps)
    assert found.runs <= RUNS_MAX


def test_what_is_left_fails_by_itself_when_written_and_read_again(found: Shrunk) -> None:
    check_scenario(found.scenario, "sim")
    result = run_scenario(load_text(to_yaml(found.scenario)), found.seed)
    (check,) = result.checks
    assert (check.name, check.passed) == ("invariants", False)
    assert check.measured.startswith(found.failure.text)


def test_shrinking_gives_the_same_every_time(found: Shrunk) -> None:
    assert shrink(LONG) == found


def test_who_is_left_takes_the_numbers_of_those_that_went() -> None:
    text = LONG.replace("nodes: 5", "regions: {east: 2, west: 3}")
    for number, name in enumerate(("east-1", "east-2", "west-1", "west-2", "west-3"), 1):
        text = text.replace(f"node-{number}", name)
    found = shrink(text)
    names = list(found.scenario.cluster.node_regions)
    assert len(names) == 2
    for step in found.scenario.steps:
        assert set(getattr(step.args, "target", ())) <= set(names)


def test_nodes_with_names_of_their_own_keep_them() -> None:
    text = LONG.replace("nodes: 5", "nodes: [ann, ben, cid, dot, eve]")
    for number, name in enumerate(("ann", "ben", "cid", "dot", "eve"), 1):
        text = text.replace(f"node-{number}", name)
    found = shrink(text)
    assert [getattr(step.args, "target", ()) for step in found.scenario.steps] == [("dot",)] * 2
    assert len(found.scenario.cluster.node_regions) == 2


@pytest.mark.parametrize(
    "step",
    [
        Step("loss", LossArgs(share=0.0)),
        Step("starve", StarveArgs(("node-1",), Latency("constant", 0.0))),
        Step("skew", SkewArgs(("node-1",))),
        Step("heal", HealArgs(("gone",))),
    ],
    ids=lambda step: step.word,
)
def test_what_the_loader_would_refuse_is_not_kept_though_it_fails(step: Step) -> None:
    scenario = load_text(LONG)
    outcome = run_trial(scenario, 3)
    assert outcome.failure is not None
    shrinker = Shrinker(scenario, 3, outcome.failure, outcome.cluster_seconds)
    before = shrinker.shrunk.scenario
    assert not shrinker._attempt(replace(before, steps=(*before.steps, step)))
    assert shrinker.shrunk == Shrunk(before, 3, outcome.failure, 0)
    assert shrinker._attempt(before), "without that step the same counts"


@pytest.mark.parametrize(
    ("delay", "seconds"),
    [
        (Latency("uniform", 0.25, 0.75), 0.75),
        (Latency("normal", 0.5, 0.1), 0.5),
        (Latency("trace", values=(0.25, 4.0, 2.0)), 4.0),
        (Latency("trace", values=(0.25, 4.0, 2.0), shuffled=True), 4.0),
    ],
)
def test_a_distribution_becomes_one_long_delay(delay: Latency, seconds: float) -> None:
    assert list(_plainer_delays(delay)) == [Latency("constant", seconds)]
