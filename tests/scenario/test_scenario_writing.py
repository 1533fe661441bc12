from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from swimnomad.errors import ConfigError
from swimnomad.faults import Latency
from swimnomad.scenario.loader import check_scenario, load_scenario, load_text
from swimnomad.scenario.model import (
    ClusterSpec,
    Condition,
    Expectation,
    HealArgs,
    LatencyArgs,
    LimitArgs,
    NetworkSpec,
    NoArgs,
    RepeatArgs,
    Scenario,
    StatusArgs,
    Step,
    TargetArgs,
)
from swimnomad.scenario.units import (
    DURATION_MAX,
    parse_duration,
    parse_share,
    write_duration,
    write_share,
)
from swimnomad.scenario.writing import to_yaml

SCENARIOS = sorted((Path(__file__).resolve().parents[2] / "scenarios").glob("*.yaml"))


def scenario(*steps: Step, **fields: object) -> Scenario:
    whole: dict[str, object] = {
        "name": "made",
        "description": "",
        "cluster": ClusterSpec(),
        "network": NetworkSpec(),
        "steps": steps,
        "expect": (Expectation("false-positives", LimitArgs(), always=True),),
        "duration": 10.0,
        **fields,
    }
    return Scenario(**whole)  # type: ignore[arg-type]  # fields of a scenario


@pytest.mark.parametrize("path", SCENARIOS, ids=lambda path: path.stem)
def test_a_shipped_scenario_reads_back_as_itself(path: Path) -> None:
    loaded = load_scenario(path)
    text = to_yaml(loaded, "A head\n\nof some lines")
    assert text.startswith("# A head\n#\n# of some lines\nname: ")
    assert load_text(text) == loaded


def test_every_form_of_a_value_reads_back() -> None:
    made = scenario(
        Step("kill", TargetArgs(("node-1", "node-[23]")), at=0.1),
        Step("heal", HealArgs()),
        Step("latency", LatencyArgs(delay=Latency("lognormal", 0.003, 0.7)), after=1 / 3),
        Step("latency", LatencyArgs(delay=Latency("constant", 0.25)), id="yes"),
        Step("heal", HealArgs(("yes",)), after=Condition("converged", NoArgs()), timeout=7.5),
        Step(
            "repeat",
            RepeatArgs(
                times=2,
                every=2.0000001,
                steps=(
                    Step("pause", TargetArgs(("random 2",)), after=2.0),
                    Step(
                        "resume",
                        TargetArgs(("*",)),
                        after=Condition("status", StatusArgs(("node-1",), ("left", "failed"))),
                    ),
                ),
            ),
        ),
        name="5: #1",
        description="two\nlines, ü and 'quotes'",
        network=NetworkSpec(latency=Latency("uniform", 0.001, 0.02), loss=0.07),
    )
    assert load_text(to_yaml(made)) == made


def test_texts_that_look_like_other_things_stay_texts() -> None:
    for name in ("true", "~", "5s", "null", "", " x", "- a", "{", "2026-01-01", "*a", "on"):
        made = scenario(name=name, description=name)
        assert load_text(to_yaml(made)) == made


@given(st.floats(0, DURATION_MAX))
def test_any_duration_can_be_written(seconds: float) -> None:
    assert parse_duration(write_duration(seconds)) == seconds


@given(st.floats(0, 1))
def test_any_share_can_be_written(share: float) -> None:
    assert parse_share(write_share(share)) == share


def test_common_quantities_are_written_as_people_do() -> None:
    assert [write_duration(s) for s in (0.0, 0.2, 5.0, 75.0, 1.5)] == [
        "0s",
        "200ms",
        "5s",
        "75s",
        "1.5s",
    ]
    assert [write_share(s) for s in (0.05, 1.0, 0.125)] == ["5%", "100%", "12.5%"]


def test_a_scenario_made_in_memory_is_checked_like_a_file() -> None:
    check_scenario(scenario(Step("kill", TargetArgs(("node-1",)), at=1.0)))
    with pytest.raises(ConfigError, match=r"made: steps\[0\]\.kill\.target: found 'node-9'"):
        check_scenario(scenario(Step("kill", TargetArgs(("node-9",)))))
