from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from swimnomad.scenario.result import Result
from swimnomad.scenario.run import run_file

SCENARIOS = Path(__file__).resolve().parents[2] / "scenarios"
FILES = sorted(SCENARIOS.glob("*.yaml"))
SEEDS = range(1, 6)


def complaint(path: Path, result: Result) -> str:
    """What did not hold, and the one command that repeats it."""
    failed = [
        f"{check.name}: expected {check.expected}; measured {check.measured}"
        for check in result.checks
        if not check.passed
    ]
    command = f"swimnomad run scenarios/{path.name} --on sim --seed {result.seed}"
    return "\n".join([*failed, f"repeat: {command}"])


def test_the_lessons_are_there() -> None:
    assert {path.stem for path in FILES} >= {
        "kill-one",
        "partition-heal",
        "leave-gracefully",
        "force-leave",
        "lossy-network",
        "pause-resume",
    }


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_shipped_scenario_begins_with_its_lesson(path: Path) -> None:
    head = path.read_text().splitlines()
    assert head[0].startswith("# ")
    assert sum(line.startswith("#") for line in head) >= 5


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_a_shipped_scenario_holds(path: Path, seed: int) -> None:
    result = run_file(path, on="sim", seed=seed)
    assert result.passed, complaint(path, result)
    assert result.false_positives == 0, complaint(path, result)


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
