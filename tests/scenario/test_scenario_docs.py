"""docs/scenarios.md names the whole language, and its examples are in it."""

from __future__ import annotations

import re
from pathlib import Path

import msgspec
import pytest
import yaml

from swimnomad.scenario.loader import load_text
from swimnomad.scenario.model import ClusterSpec, NetworkSpec
from swimnomad.scenario.reading import LATENCIES, TRACES
from swimnomad.scenario.vocabulary import (
    CHECKS,
    CONDITIONS,
    EXPECT_KEYS,
    STEP_KEYS,
    STEPS,
    TOP_KEYS,
    Word,
)
from swimnomad.scenario.writing import to_yaml

DOCS = Path(__file__).resolve().parents[2] / "docs" / "scenarios.md"
TEXT = DOCS.read_text()
BLOCKS = re.findall(r"```yaml\n(.*?)```", TEXT, re.DOTALL)
ROWS = {
    name: line
    for line in TEXT.splitlines()
    if line.startswith("| `")
    for name in re.findall(r"`([^`]+)`", line.split("|")[1])
}


@pytest.mark.parametrize("word", [*STEPS, *CHECKS])
def test_every_word_of_the_vocabulary_has_a_row(word: str) -> None:
    assert word in ROWS


@pytest.mark.parametrize(
    ("word", "known"),
    [*((word, STEPS[word]) for word in STEPS), *((word, CHECKS[word]) for word in CHECKS)],
)
def test_a_row_names_every_argument_and_says_where_the_word_is_possible(
    word: str, known: Word
) -> None:
    *_, live, _ = ROWS[word].split("|")
    if known.args is None:
        assert "not available yet" in ROWS[word]
        return
    assert ("live" in known.on) == (not live.strip().startswith("no"))
    usual = {"target", "peers", "direction", "max", "name", "region"}  # said once for all
    for field in msgspec.structs.fields(known.args):
        assert field.encode_name in usual or f"`{field.encode_name}" in ROWS[word]


@pytest.mark.parametrize(
    "key",
    [
        *TOP_KEYS,
        *STEP_KEYS,
        *EXPECT_KEYS,
        *CONDITIONS,
        *(field.encode_name for field in msgspec.structs.fields(ClusterSpec)),
        *(field.encode_name for field in msgspec.structs.fields(NetworkSpec)),
    ],
)
def test_every_key_is_named(key: str) -> None:
    assert f"`{key}" in TEXT or f"\n{key}:" in TEXT


def test_every_distribution_is_named() -> None:
    for name in (*LATENCIES, *TRACES):
        assert name in TEXT


def test_every_usable_word_has_an_example() -> None:
    examples = "\n".join(BLOCKS)
    for word, known in (*STEPS.items(), *CHECKS.items()):
        assert known.args is None or f"{word}:" in examples, word


@pytest.mark.parametrize("place", range(len(BLOCKS)))
def test_every_example_loads_and_can_be_written(place: int) -> None:
    """Parts of files are completed: a cluster that fits, and the steps that they speak of."""
    part = yaml.safe_load(BLOCKS[place])
    text = BLOCKS[place]
    if "cluster" not in part:
        regions = "cluster: {regions: {eu: 2, us: 2}}\n"
        text = (regions if "network" in part else "cluster: {nodes: 8}\n") + text
    if "steps" not in part and "expect" in part:
        text += """
steps:
  - {after: 1s, leave: node-4, id: farewell}
  - {after: 1s, kill: node-5, id: crash}
  - {after: 1s, heal: , id: mended}
  - {after: 1s, event: deploy, id: sent}
"""
    if "expect" not in part:
        text += "expect: [{converged: }]\n"
    scenario = load_text(text)
    assert load_text(to_yaml(scenario)) == scenario
