from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from swimnomad.errors import ConfigError
from swimnomad.faults import Latency
from swimnomad.scenario.checks import CHECK_CLASSES
from swimnomad.scenario.loader import load_scenario
from swimnomad.scenario.model import Condition, LossArgs, RepeatArgs, StatusArgs, TargetArgs
from swimnomad.scenario.vocabulary import CHECKS, CONDITIONS, STEPS

EXPECT = "expect:\n  - converged:\n"
ALL_STEPS = [
    "start",
    "join",
    "leave",
    "force-leave",
    "kill",
    "restart",
    "pause",
    "resume",
    "starve",
    "partition",
    "heal",
    "loss",
    "latency",
    "duplicate",
    "reorder",
    "corrupt",
    "block",
    "skew",
    "churn",
    "tags",
    "event",
    "query",
    "key-rotate",
    "conflict",
    "flood",
    "repeat",
    "prune",
]
ALL_CHECKS = [
    "status",
    "converged",
    "agree",
    "detected",
    "false-positives",
    "dissemination",
    "load",
    "event-delivered",
    "query-answered",
    "leader",
    "no-errors",
    "health-score",
    "invariants",
]


def written(directory: Path, text: str) -> Path:
    path = directory / "try.yaml"
    path.write_text(text)
    return path


def test_the_vocabulary_is_the_whole_of_the_design() -> None:
    assert set(STEPS) == set(ALL_STEPS)
    assert set(CHECKS) == set(ALL_CHECKS)
    assert set(CHECK_CLASSES) == {word for word, one in CHECKS.items() if one.args}
    assert set(CONDITIONS) <= set(CHECK_CLASSES)


def test_a_file_becomes_typed_values(tmp_path: Path) -> None:
    path = written(
        tmp_path,
        """
name: lesson
cluster: {nodes: 3, profile: lan, scale: 0.5}
network: {latency: {uniform: [1ms, 20ms]}, loss: 1%}
duration: 2m
steps:
  - after: {converged}
    kill: node-1
    id: crash
  - after: {status: {of: node-1, as: failed}}
    timeout: 1m
    loss: 10%
  - repeat: {times: 2, every: 5s, steps: [{pause: random}, {resume: "*", after: 200ms}]}
expect:
  - detected:
    within: 20s
    of: crash
  - status: {of: node-*, as: [alive, failed], seen-by: node-2}
    at: 30s
  - false-positives: 2
    always: true
""",
    )
    scenario = load_scenario(path)
    assert scenario.name == "lesson"
    assert scenario.cluster.node_regions == {f"node-{n}": "global" for n in (1, 2, 3)}
    assert scenario.network.latency == Latency("uniform", 0.001, 0.02)
    assert scenario.network.loss == 0.01
    assert scenario.duration == 120.0
    kill, loss, repeat = scenario.steps
    assert (kill.word, kill.args, kill.id) == ("kill", TargetArgs(("node-1",)), "crash")
    assert isinstance(kill.after, Condition)
    assert loss.after == Condition("status", StatusArgs(("node-1",), ("failed",)))
    assert loss.timeout == 60.0
    assert isinstance(loss.args, LossArgs)
    assert loss.args.share == 0.1
    assert isinstance(repeat.args, RepeatArgs)
    assert (repeat.args.times, repeat.args.every) == (2, 5.0)
    assert [step.after for step in repeat.args.steps] == [None, 0.2]
    detected, status, false = scenario.expect
    assert (detected.within, detected.of) == (20.0, "crash")
    assert status.at == 30.0
    assert status.args == StatusArgs(("node-*",), ("alive", "failed"), ("node-2",))
    assert false.always


@pytest.mark.parametrize(
    ("text", "line", "complaint"),
    [
        (
            "cluster: {nodes: many}\n" + EXPECT,
            1,
            "cluster.nodes: found 'many'; allowed is a whole number, 1 to 10000, or a list",
        ),
        (
            "cluster: {nodes: 1000000000}\n" + EXPECT,
            1,
            "cluster.nodes: found '1000000000'; allowed is a whole number, 1 to 10000, or a list",
        ),
        ("cluster: {nodes: 10001}\n" + EXPECT, 1, "found 10001 nodes; allowed are 1 to 10000"),
        (
            "steps:\n  - flood: {target: node-1, rate: 1000000000}\n" + EXPECT,
            2,
            "flood.rate: found '1000000000'; allowed is a whole number of up to 9 digits",
        ),
        ("cluster: {nodes: 0}\n" + EXPECT, 1, "cluster: found 0 nodes; allowed are 1 to"),
        ("cluster:\n  size: 5\n" + EXPECT, 2, "cluster.size: unknown key; allowed are nodes"),
        ("cluster: {profile: fast}\n" + EXPECT, 1, "found 'fast'; allowed are lan, wan, local"),
        ("cluster: {scale: 0}\n" + EXPECT, 1, "cluster.scale: found 0; allowed is a number above"),
        ("colour: red\n" + EXPECT, 1, "colour: unknown key; allowed are name"),
        ("steps:\n  - at: 5\n    kill: node-1\n" + EXPECT, 2, "found '5'; allowed is a duration"),
        ("steps:\n  - explode: node-1\n" + EXPECT, 2, "unknown step; allowed are start, join"),
        ("steps:\n  - at: 5s\n" + EXPECT, 2, "found none; allowed is one step"),
        ("steps:\n  - kill: node-1\n    pause: node-2\n" + EXPECT, 2, "found kill, pause; allowed"),
        ("steps:\n  - kill: node-9\n" + EXPECT, 2, "steps[0].kill.target: found 'node-9'; allowed"),
        ("steps:\n  - query: {}\n" + EXPECT, 2, "steps[0].query: not available yet"),
        ("steps:\n  - kill:\n" + EXPECT, 2, "target is missing"),
        ("steps:\n  - loss: 150%\n" + EXPECT, 2, "found '150%'; allowed is a share"),
        (
            "steps:\n  - starve: {target: node-1, delay: {uniform: [2ms, 1ms]}}\n" + EXPECT,
            2,
            "2: steps[0].starve.delay.uniform[1]: found 0.001 s; allowed is 0.002 to 3600 s",
        ),
        (
            "steps:\n  - latency: {delay: {trace: [1ms, 2h]}}\n" + EXPECT,
            2,
            "2: steps[0].latency.delay.trace[1]: found 7200 s; allowed is 0 to 3600 s",
        ),
        (
            "steps:\n  - latency: 5h\n" + EXPECT,
            2,
            "2: steps[0].latency.delay: found 18000 s; allowed is 0 to 3600 s",
        ),
        (
            "network: {latency: {pareto: [1s, 0]}}\n" + EXPECT,
            1,
            "1: network.latency.pareto[1]: found 0; allowed is 0.1 to 1000",
        ),
        (
            "network: {bandwidth: 0B}\n" + EXPECT,
            1,
            "1: network.bandwidth.rate: found 0; allowed is 1 to 1e+12",
        ),
        (
            "network: {bandwidth: {rate: 1kB, queue: 9999GB}}\n" + EXPECT,
            1,
            "1: network.bandwidth.queue: found 9.999e+12; allowed is 0 to 1e+12",
        ),
        ("steps:\n  - latency: {delay: {weird: 1}}\n" + EXPECT, 2, "allowed is 5ms or one of"),
        ("steps:\n  - heal: storm\n" + EXPECT, 2, "found 'storm'; allowed are none"),
        ("steps:\n  - start: node-1\n" + EXPECT, 2, "which is there already"),
        ("steps:\n  - start: node-*\n" + EXPECT, 2, "found 'node-*'; allowed is a name"),
        (
            "steps:\n  - at: 5s\n    heal:\n  - at: 2s\n    heal:\n" + EXPECT,
            4,
            "found 2 s after a step at 5 s",
        ),
        ("steps:\n  - {id: a, heal: }\n  - {id: a, heal: }\n" + EXPECT, 3, "found 'a' twice"),
        ("steps:\n  - after: {detected}\n    heal:\n" + EXPECT, 2, "found detected; allowed are"),
        ("steps:\n  - repeat: {times: 0, steps: []}\n" + EXPECT, 2, "repeat.times: found 0"),
        ("steps:\n  - repeat: {times: 2}\n" + EXPECT, 2, "steps is missing"),
        (
            "steps:\n  - repeat:\n      times: 2\n      steps:\n        - at: 1s\n          heal:\n"
            + EXPECT,
            5,
            "in a repeat `after`",
        ),
        ("name: x\n", 1, "expect: missing or empty"),
        ("expect:\n  - leader:\n", 2, "expect[0].leader: not available yet"),
        ("expect:\n  - happy:\n", 2, "unknown check; allowed are status"),
        ("expect:\n  - converged:\n    at: 5s\n    always: true\n", 2, "allowed is one of at"),
        ("expect:\n  - converged:\n    of: storm\n", 3, "found 'storm'; allowed are ids of steps"),
        ("expect:\n  - converged:\n    within: 5s\n", 3, "there is no step to count from"),
        ("steps:\n  - heal:\nexpect:\n  - agree:\n    within: bound\n", 5, "only for converged"),
        ("steps:\n  - kill: node-1\nexpect:\n  - detected:\n", 4, "within is missing"),
        (
            "steps:\n  - heal:\nexpect:\n  - detected:\n    within: 5s\n",
            4,
            "found steps[0] (heal) to count from; allowed is a kill",
        ),
        ("expect:\n  - status: {of: node-1, as: dead}\n", 2, "found 'dead'; allowed are alive"),
        (
            "expect:\n  - converged:\n  - converged:\n    always: yes\n",
            4,
            "allowed are true, false",
        ),
        ("name: a\nname: b\n" + EXPECT, 2, "name: found twice; a key is allowed once"),
        (
            "cluster:\n  nodes: 3\n  nodes: 4\n" + EXPECT,
            3,
            "cluster.nodes: found twice; a key is allowed once",
        ),
        ("[a]: b\n" + EXPECT, 1, "the outermost mapping: found a list as a key; allowed is text"),
        ("cluster: [1, 2]\n" + EXPECT, 1, "found a list; allowed is a mapping"),
        ("name: [\n", 2, "not YAML"),
        ("- a\n", 1, "a scenario is a mapping"),
        ("", 1, "a scenario is a mapping"),
        (
            "cluster: {regions: {eu: 1, us: 1}}\n"
            "network: {links: [{between: [eu, mars]}]}\n" + EXPECT,
            2,
            "found 'mars'; allowed are eu, us",
        ),
    ],
)
def test_a_mistake_is_named_with_file_line_and_what_is_allowed(
    tmp_path: Path, text: str, line: int, complaint: str
) -> None:
    path = written(tmp_path, text)
    with pytest.raises(ConfigError) as caught:
        load_scenario(path)
    assert str(caught.value).startswith(f"{path}:{line}: ")
    assert complaint in str(caught.value)
    assert ": : " not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("steps:\n  - tags: {target: node-1, set: {a: b}}\n" + EXPECT, "not possible on live"),
        ("steps:\n  - event: deploy\n" + EXPECT, "not possible on live"),
        ("steps:\n  - start: node-6\n" + EXPECT, "not possible on live"),
        (
            "steps:\n  - kill: node-1\n  - restart: {target: node-1, address: new}\n" + EXPECT,
            "address: new is not possible on live",
        ),
        ("network: {loss: 1%}\n" + EXPECT, "not possible on live"),
        ("cluster: {regions: {eu: 2}}\n" + EXPECT, "not possible on live"),
        (
            "duration: 5s\nexpect:\n  - load: {messages-per-second: 5}\n",
            "messages-per-second is not possible on live",
        ),
        ("cluster: {overrides: {gossip_nodes: 4}}\n" + EXPECT, "overrides: not possible on live"),
        ("steps:\n  - conflict: node-1\n" + EXPECT, "conflict: not possible on live"),
    ],
)
def test_what_a_backend_cannot_do_is_refused_at_load_and_fine_on_the_simulator(
    tmp_path: Path, text: str, complaint: str
) -> None:
    path = written(tmp_path, text)
    with pytest.raises(ConfigError, match=complaint):
        load_scenario(path, on="live")
    load_scenario(path, on="sim")


def test_an_unknown_or_missing_backend_is_refused(tmp_path: Path) -> None:
    path = written(tmp_path, EXPECT)
    with pytest.raises(ConfigError, match="backend hosts is not available yet"):
        load_scenario(path, on="hosts")
    with pytest.raises(ConfigError, match="unknown backend 'moon'; allowed are sim, live"):
        load_scenario(path, on="moon")


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"nowhere\.yaml: No such file"):
        load_scenario(tmp_path / "nowhere.yaml")


def test_aliases_that_multiply_are_stopped(tmp_path: Path) -> None:
    steps = ["  - &a0 {heal: }"]
    for level in range(1, 8):
        ten = ", ".join([f"*a{level - 1}"] * 10)
        steps.append(f"  - &a{level} {{repeat: {{times: 1, steps: [{ten}]}}}}")
    few = "steps:\n" + "\n".join(steps[:3]) + "\n" + EXPECT
    assert len(load_scenario(written(tmp_path, few)).steps) == 3
    with pytest.raises(ConfigError, match=r":7: more than 100000 values, aliases counted in full"):
        load_scenario(written(tmp_path, "steps:\n" + "\n".join(steps) + "\n" + EXPECT))


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        (
            "steps: &a\n  - repeat: {times: 1, steps: *a}\n",
            ":2: the alias *a stands inside its own",
        ),
        ("name: " + "[" * 100_000, ":1: more than 64 levels deep"),
        ("name: x\n" + "#" * 1024 * 1024, "larger than 1048576 bytes"),
    ],
)
def test_texts_that_ask_for_too_much_are_refused(tmp_path: Path, text: str, complaint: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(complaint)):
        load_scenario(written(tmp_path, text))


def test_a_file_without_end_or_that_is_no_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="larger than"):
        load_scenario(Path("/dev/zero"))
    with pytest.raises(ConfigError, match="Is a directory"):
        load_scenario(tmp_path)


@given(st.text(max_size=200))
@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
def test_any_text_is_a_scenario_or_a_config_error(tmp_path: Path, text: str) -> None:
    path = tmp_path / "any.yaml"
    path.write_bytes(text.encode("utf-8", "surrogatepass"))
    with pytest.raises(ConfigError):
        load_scenario(path)


SHIPPED = sorted((Path(__file__).resolve().parents[2] / "scenarios").glob("*.yaml"))
FIRST_LESSONS = (
    "force-leave",
    "kill-one",
    "leave-gracefully",
    "lossy-network",
    "partition-heal",
    "pause-resume",
)


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_a_shipped_scenario_loads_wherever_its_words_are_possible(path: Path) -> None:
    assert load_scenario(path).expect
    complaint = ""
    try:
        load_scenario(path, "live")
    except ConfigError as error:
        complaint = str(error)
    assert not complaint or path.stem not in FIRST_LESSONS
    assert not complaint or re.search(r":\d+: .* not possible on live", complaint)
