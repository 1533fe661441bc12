from __future__ import annotations

import os
import shutil
import subprocess
import sys
from math import pi, sin
from pathlib import Path

import pytest

from swimnomad.scenario.result import Result
from swimnomad.scenario.run import run_file

SCENARIOS = Path(__file__).resolve().parents[2] / "scenarios"
FILES = sorted(SCENARIOS.glob("*.yaml"))
SEEDS = range(1, 4)
LARGE = ("detached-node", "detached-node-without-lifeguard", "flip-flop", "one-lossy-node")
"""Scenarios of many nodes, which take a second or more: they get one seed here."""
UPSTREAM_BUGS = ("mass-restart", "prune-the-living", "stale-alive")
"""Scenarios that real memberlist or Serf would not hold."""


def seeds_of(path: Path) -> range:
    """How many seeds a scenario is worth in every run of the tests."""
    return range(1, 2) if path.stem in LARGE else SEEDS


RUNS = [
    pytest.param(path, seed, id=f"{path.stem}-{seed}") for path in FILES for seed in seeds_of(path)
]


def changed(path: Path, folder: Path, old: str, new: str) -> Path:
    """A copy of a scenario with one text replaced."""
    text = path.read_text()
    assert old in text
    copy = folder / path.name
    copy.write_text(text.replace(old, new, 1))
    return copy


def complaint(path: Path, result: Result) -> str:
    """What did not hold, and the one command that repeats it."""
    failed = [
        f"{check.name}: expected {check.expected}; measured {check.measured}"
        for check in result.checks
        if not check.passed
    ]
    command = f"swimnomad run scenarios/{path.name} --on sim --seed {result.seed}"
    return "\n".join([*failed, f"repeat: {command}"])


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_shipped_scenario_begins_with_its_lesson(path: Path) -> None:
    head = path.read_text().splitlines()
    assert head[0].startswith("# ")
    assert sum(line.startswith("#") for line in head) >= 5
    assert any(line.startswith("description: ") for line in head)


def test_the_table_of_scenarios_names_every_file_and_no_other() -> None:
    rows = (SCENARIOS / "README.md").read_text().splitlines()
    named = [row.split("`")[1] for row in rows if row.startswith("| `")]
    assert sorted(named) == [path.name for path in FILES]


@pytest.mark.parametrize(("path", "seed"), RUNS)
def test_a_shipped_scenario_holds(path: Path, seed: int) -> None:
    result = run_file(path, on="sim", seed=seed)
    assert result.passed, complaint(path, result)


@pytest.mark.parametrize("seed", range(1, 4))
@pytest.mark.parametrize("name", UPSTREAM_BUGS)
def test_the_rules_of_upstream_do_not_hold_what_ours_do(
    name: str, seed: int, tmp_path: Path
) -> None:
    path = changed(
        SCENARIOS / f"{name}.yaml", tmp_path, "cluster:\n", "cluster:\n  compat: upstream\n"
    )
    assert not run_file(path, on="sim", seed=seed).passed


def test_farewells_are_lost_to_the_short_queue_and_to_nothing_else(tmp_path: Path) -> None:
    # With the short queue a run in twenty is lucky: a push/pull repairs it in time.
    def runs_that_lose(depth: int) -> int:
        path = changed(
            SCENARIOS / "intent-overflow.yaml", tmp_path, "as: [left, failed]", "as: [left]"
        )
        path = changed(path, tmp_path, "queue_depth_max: 1,", f"queue_depth_max: {depth},")
        return sum(not run_file(path, on="sim", seed=seed).passed for seed in range(1, 7))

    assert runs_that_lose(1) >= 4
    assert runs_that_lose(4096) == 0


def test_the_trace_is_what_the_formula_at_its_head_makes() -> None:
    text = (SCENARIOS / "traces" / "filling-buffer.txt").read_text()
    head = " ".join(line.strip("# ") for line in text.splitlines() if line.startswith("#"))
    formula = "0.02 + 3 * max(0, sin(2 * pi * (k + 50) / 500)) ** 25"
    assert f"delay k of 0 ... 499 is {formula}, to the millisecond" in head
    delays = [0.02 + 3 * max(0, sin(2 * pi * (k + 50) / 500)) ** 25 for k in range(500)]
    assert [line for line in text.splitlines() if "#" not in line] == [
        f"{one:.3f}" for one in delays
    ]


@pytest.mark.parametrize("seed", range(1, 4))
@pytest.mark.parametrize(("kind", "other"), [("shuffled", "trace"), ("trace", "shuffled")])
def test_the_order_of_the_same_delays_makes_the_difference(
    kind: str, other: str, seed: int, tmp_path: Path
) -> None:
    """In their order from the first they cost a member at once; never in order, they cost none."""
    shutil.copytree(SCENARIOS / "traces", tmp_path / "traces")
    path = changed(SCENARIOS / "filling-buffer.yaml", tmp_path, f"{{{kind}: ", f"{{{other}: ")
    result = run_file(path, on="sim", seed=seed)
    failed = [check.name for check in result.checks if not check.passed]
    assert failed[0] == ("false-positives" if other == "trace" else "step 4 (heal)")


def failed_checks(path: Path, seed: int) -> list[str]:
    checks = run_file(path, on="sim", seed=seed).checks
    return [f"{one.name}: {one.measured}" for one in checks if not one.passed]


@pytest.mark.parametrize("seed", range(1, 4))
def test_without_labels_the_two_clusters_are_one(seed: int, tmp_path: Path) -> None:
    path = SCENARIOS / "two-clusters-labels.yaml"
    path = changed(path, tmp_path, "  labels: {red: a-*, blue: b-*}\n", "")
    path = changed(path, tmp_path, ", label: blue", "")
    failed = failed_checks(path, seed)
    assert "a-1 sees b-1 as alive" in failed[0]
    assert "b-1 sees a-1 as alive" in failed[1]


@pytest.mark.parametrize("seed", range(1, 4))
def test_a_node_that_kept_its_label_stays_in_its_old_cluster(seed: int, tmp_path: Path) -> None:
    path = changed(SCENARIOS / "two-clusters-labels.yaml", tmp_path, ", label: blue", "")
    failed = failed_checks(path, seed)
    assert any("a-3 sees a-1 as alive" in one for one in failed)
    assert any("b-1 sees a-3 as none" in one for one in failed)


@pytest.mark.parametrize("seed", range(1, 4))
def test_with_labels_the_story_of_the_merge_ends_without_one(seed: int, tmp_path: Path) -> None:
    path = SCENARIOS / "two-clusters-merge.yaml"
    assert not failed_checks(path, seed)
    labels = "cluster:\n  labels: {red: a-*, blue: b-*}\n"
    path = changed(path, tmp_path, "cluster:\n", labels)
    path = changed(path, tmp_path, "data: empty,", "data: empty, label: blue,")
    failed = failed_checks(path, seed)
    assert "step 6 (event)" in failed[0]
    assert "a-1 sees b-1 as none" in failed[0]


@pytest.mark.parametrize("name", ["kill-one", "partition-heal"])
def test_a_seed_means_the_same_in_every_process_and_with_every_hash_seed(name: str) -> None:
    path = SCENARIOS / f"{name}.yaml"
    program = (
        "import sys, pathlib; from swimnomad.scenario.run import run_file;"
        "print(run_file(pathlib.Path(sys.argv[1]), seed=3).journal_sha256)"
    )
    found = {
        subprocess.run(
            [sys.executable, "-c", program, str(path)],
            env={**os.environ, "PYTHONHASHSEED": hash_seed},
            capture_output=True,
            text=True,
            check=True,
        ).stdout.strip()
        for hash_seed in ("0", "31337")
    }
    assert found == {run_file(path, seed=3).journal_sha256}
