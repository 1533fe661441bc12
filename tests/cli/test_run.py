"""`swimnomad run`: outputs, exit status, seeds, and what is refused before anything runs."""

from __future__ import annotations

import json
import os
import re
import shlex
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from tests.cli.cli_support import CommandLine

FIELDS = [
    "scenario",
    "backend",
    "seed",
    "passed",
    "checks",
    "wall_seconds",
    "cluster_seconds",
    "nodes",
    "journal_sha256",
    "detection",
    "false_positives",
    "messages",
    "bytes",
]
HOLDS = """\
cluster: {nodes: 3, profile: lan}
duration: 2s
expect:
  - false-positives: {max: 0}
"""
FAILS = """\
cluster: {nodes: 3, profile: lan}
duration: 2s
expect:
  - status: {of: node-1, as: failed}
    at: 1s
"""
DEPENDS = """\
cluster: {nodes: 3, profile: lan}
duration: 40s
steps:
  - at: 1s
    kill: random
expect:
  - status: {of: node-2, as: alive}
    at: 40s
"""
"""Holds unless chance, which is drawn from the seed, picks node-2."""

DETECTS = """\
cluster: {nodes: 3, profile: lan, start: converged}
steps:
  - at: 1s
    kill: node-3
expect:
  - detected:
    within: 60s
"""


@pytest.fixture
def swimnomad(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> CommandLine:
    return CommandLine(capsys, monkeypatch)


def scenario(tmp_path: Path, text: str, name: str = "case.yaml") -> str:
    path = tmp_path / name
    path.write_text(text)
    return str(path)


def test_a_scenario_that_holds_prints_a_report_and_is_status_0(
    swimnomad: CommandLine, tmp_path: Path
) -> None:
    outcome = swimnomad("run", scenario(tmp_path, HOLDS))
    assert (outcome.status, outcome.err) == (0, "")
    assert "case on sim, seed 1" in outcome.out
    assert "false-positives" in outcome.out
    assert "passed: 3 nodes" in outcome.out


def test_a_check_that_fails_is_status_1_and_named(swimnomad: CommandLine, tmp_path: Path) -> None:
    outcome = swimnomad("run", scenario(tmp_path, FAILS))
    assert outcome.status == 1
    assert "FAILED" in outcome.out
    assert "status" in outcome.out


def test_json_on_standard_output_is_exactly_one_object(
    swimnomad: CommandLine, tmp_path: Path
) -> None:
    for text, status in ((HOLDS, 0), (FAILS, 1)):
        outcome = swimnomad("run", scenario(tmp_path, text), "--seed", "7", "--json", "-")
        assert (outcome.status, outcome.err) == (status, "")
        assert outcome.out.count("\n") == 1
        result = outcome.json()
        assert list(result) == FIELDS
        assert (result["seed"], result["backend"], result["nodes"]) == (7, "sim", 3)
        assert result["passed"] is (status == 0)
        assert set(result["checks"][0]) == {"name", "passed", "expected", "measured"}


def test_json_to_a_file_leaves_the_report_on_standard_output(
    swimnomad: CommandLine, tmp_path: Path
) -> None:
    target = tmp_path / "out.json"
    outcome = swimnomad("run", scenario(tmp_path, HOLDS), "--json", str(target))
    assert "case on sim" in outcome.out
    assert list(json.loads(target.read_text())) == FIELDS


def test_the_same_seed_gives_the_same_journal_and_another_another(
    swimnomad: CommandLine, tmp_path: Path
) -> None:
    path = scenario(tmp_path, HOLDS)
    journals = []
    for number, seed in enumerate(("7", "7", "8")):
        file = tmp_path / f"journal-{number}"
        assert swimnomad("run", path, "--seed", seed, "--journal", str(file)).status == 0
        journals.append(file.read_bytes())
    assert journals[0] == journals[1] != journals[2]
    assert len(journals[0]) > 1000


def test_a_report_folder_keeps_result_text_and_journal(
    swimnomad: CommandLine, tmp_path: Path
) -> None:
    folder = tmp_path / "deep" / "report"
    outcome = swimnomad("run", scenario(tmp_path, HOLDS), "--report", str(folder))
    assert outcome.status == 0
    assert sorted(path.name for path in folder.iterdir()) == [
        "journal",
        "report.txt",
        "result.json",
    ]
    assert json.loads((folder / "result.json").read_text())["passed"] is True
    assert "false-positives" in (folder / "report.txt").read_text()


def test_seeds_are_summed_up_in_their_order(swimnomad: CommandLine, tmp_path: Path) -> None:
    folder = tmp_path / "report"
    outcome = swimnomad(
        "run", scenario(tmp_path, HOLDS), "--seeds", "3..5", "--report", str(folder)
    )
    assert outcome.status == 0
    first, second, third, summary, legend = outcome.out.splitlines()
    assert [line.split(":")[0] for line in (first, second, third)] == ["seed 3", "seed 4", "seed 5"]
    assert summary == "passed: 3 of 3 seeds (100.0%, 43.9% to 100.0%)"
    assert "Wilson" in legend
    assert "order statistics" in legend
    assert sorted(path.name for path in folder.iterdir()) == ["seed-3", "seed-4", "seed-5"]
    for one in folder.iterdir():
        assert sorted(path.name for path in one.iterdir()) == [
            "journal",
            "report.txt",
            "result.json",
        ]


def test_the_lowest_failing_seed_comes_with_the_command_that_repeats_it(
    swimnomad: CommandLine, tmp_path: Path
) -> None:
    path = scenario(tmp_path, FAILS, "with a blank.yaml")
    outcome = swimnomad("run", path, "--seeds", "4..6")
    assert outcome.status == 1
    *_, rate, _, lowest = outcome.out.splitlines()
    assert rate == "passed: 0 of 3 seeds (0.0%, 0.0% to 56.1%)"
    assert lowest.startswith("lowest failing seed: 4; repeat: ")
    words = shlex.split(lowest.partition("repeat: ")[2])
    assert words == ["swimnomad", "run", path, "--on", "sim", "--seed", "4"]
    assert swimnomad(*words[1:]).status == 1


def test_json_of_several_runs_is_a_list_in_the_order_of_the_seeds(
    swimnomad: CommandLine, tmp_path: Path
) -> None:
    path = scenario(tmp_path, DEPENDS)
    outcome = swimnomad("run", path, "--seeds", "1..8", "--json", "-")
    assert outcome.status == 1
    assert outcome.out.count("\n") == 1
    runs = outcome.json()
    assert [run["seed"] for run in runs] == list(range(1, 9))
    assert all(list(run) == FIELDS for run in runs)
    assert {run["passed"] for run in runs} == {True, False}


def test_results_do_not_depend_on_the_number_of_processes(
    swimnomad: CommandLine, tmp_path: Path
) -> None:
    path = scenario(tmp_path, DEPENDS)

    def hashes(*words: str) -> list[tuple[int, str]]:
        runs = swimnomad("run", path, "--seeds", "1..5", "--json", "-", *words).json()
        return [(run["seed"], run["journal_sha256"]) for run in runs]

    assert hashes("--jobs", "1") == hashes("--jobs", "3")


def test_several_files_run_together_and_are_told_apart(
    swimnomad: CommandLine, tmp_path: Path
) -> None:
    good, bad = scenario(tmp_path, HOLDS, "good.yaml"), scenario(tmp_path, FAILS, "bad.yaml")
    folder = tmp_path / "report"
    target = tmp_path / "out.json"
    outcome = swimnomad(
        *("run", good, bad, "--seeds", "1..2", "--report", str(folder), "--json", str(target))
    )
    assert outcome.status == 1
    lines = outcome.out.splitlines()
    assert sum(line.startswith(f"{good}: seed ") for line in lines) == 2
    assert sum(line.startswith(f"{bad}: seed ") for line in lines) == 2
    assert lines.index(f"{good}:") < lines.index(f"{bad}:")
    assert lines[-1].startswith("lowest failing seed: 1; repeat: swimnomad run ")
    assert sorted(path.name for path in folder.iterdir()) == ["bad", "good"]
    runs = json.loads(target.read_text())
    assert [(run["scenario"], run["seed"]) for run in runs] == [
        ("good", 1),
        ("good", 2),
        ("bad", 1),
        ("bad", 2),
    ]


def test_several_files_with_one_seed_are_a_list_too(swimnomad: CommandLine, tmp_path: Path) -> None:
    paths = [scenario(tmp_path, HOLDS, name) for name in ("a.yaml", "b.yaml")]
    outcome = swimnomad("run", *paths, "--seed", "9", "--json", "-")
    assert outcome.status == 0
    assert [(run["scenario"], run["seed"]) for run in outcome.json()] == [("a", 9), ("b", 9)]


def test_detection_over_many_runs_has_intervals(swimnomad: CommandLine, tmp_path: Path) -> None:
    path = scenario(tmp_path, DETECTS)
    lines = swimnomad("run", path, "--seeds", "1..8").out.splitlines()
    median = next(line for line in lines if line.startswith("detection, median report of a run"))
    # Eight values enclose a median with 99 %, but say nothing about the upper end of a p99.
    found = re.search(r"p50 ([\d.]+) s \(([\d.]+) s to ([\d.]+) s\)", median)
    assert found
    value, low, high = map(float, found.groups())
    assert low < value < high
    assert re.search(r"p99 [\d.]+ s \(([\d.]+ s|–) to –\)", median)
    assert any(line.startswith("detection, last report of a run") for line in lines)


ENDLESS = """\
cluster: {nodes: 40, profile: local}
duration: 20h
expect:
  - false-positives: {max: 0}
"""


def test_ctrl_c_shows_what_is_known_and_leaves_no_process(tmp_path: Path) -> None:
    short, long = scenario(tmp_path, HOLDS, "short.yaml"), scenario(tmp_path, ENDLESS, "long.yaml")
    target = tmp_path / "out.json"
    words = [short, long, "--seeds", "1..2", "--jobs", "2", "--json", str(target)]
    with subprocess.Popen(
        [sys.executable, "-m", "swimnomad", "run", *words],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
    ) as process:
        assert process.stdout is not None
        first = [process.stdout.readline() for _ in range(2)]
        workers = psutil.Process(process.pid).children()
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=20)
    assert [line.partition(": passed")[0] for line in first] == [
        f"{short}: seed 1",
        f"{short}: seed 2",
    ]
    assert process.returncode == 1, err
    assert "interrupted after 2 of 4 runs" in err
    assert "Traceback" not in err
    assert "passed: 2 of 2 seeds" in out
    assert len(json.loads(target.read_text())) == 2
    assert workers
    _, alive = psutil.wait_procs(workers, timeout=5)
    assert not alive


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (["--on", "hosts"], ["hosts", "sim, live"]),
        (["--on", "compose"], ["compose", "sim, live"]),
        (["--on", "moon"], ["moon", "sim, live"]),
        (["--seed", "x"], ["--seed", "'x'"]),
        (["--seed", "-1"], ["--seed", "-1"]),
        (["--seeds", "5"], ["--seeds", "'5'", "A..B"]),
        (["--seeds", "5..4"], ["--seeds", "'5..4'", "A not above B"]),
        (["--seeds", "0..9999999999"], ["--seeds", "at most 1000000"]),
        (["--seed", "1", "--seeds", "1..2"], ["--seed and --seeds"]),
        (["--journal", "j", "--seeds", "1..2"], ["--journal", "--report"]),
        (["--journal", "j", "--on", "live"], ["--journal", "sim"]),
        (["--json", "/no/such/place/x.json"], ["--json", "/no/such/place"]),
        (["--json", "/"], ["--json", "directory"]),
        (["--jobs", "0"], ["--jobs", "0"]),
        (["extra"], ["extra"]),
    ],
)
def test_bad_usage_is_one_sentence(
    swimnomad: CommandLine, tmp_path: Path, words: list[str], named: list[str]
) -> None:
    swimnomad("run", scenario(tmp_path, HOLDS), *words).assert_usage_error(*named)


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        (["--json", "/dev/full"], "swimnomad: /dev/full cannot be written: no space left"),
        (["--seeds", "1..2", "--json", "/dev/full"], "swimnomad: /dev/full cannot be written"),
        (["--journal", "/dev/full"], "swimnomad: the journal /dev/full cannot be written: no sp"),
    ],
)
def test_a_full_disk_is_told_in_one_sentence_and_what_came_out_is_shown(
    swimnomad: CommandLine, tmp_path: Path, options: list[str], complaint: str
) -> None:
    path = tmp_path / "holds.yaml"
    path.write_text(HOLDS)
    found = swimnomad("run", str(path), *options)
    assert found.status == 1
    assert found.err.startswith(complaint)
    assert found.err.count("\n") == 1
    assert ("passed" in found.out) is ("--json" in options)


def test_a_missing_scenario_is_named(swimnomad: CommandLine) -> None:
    swimnomad("run").assert_usage_error("SCENARIO is missing")
    swimnomad("run", "/no/such.yaml").assert_usage_error("/no/such.yaml", "No such file")


def test_a_bad_file_is_named_with_its_line_and_leaves_no_folder(
    swimnomad: CommandLine, tmp_path: Path
) -> None:
    path = scenario(tmp_path, "cluster: {nodes: 3}\nsteps:\n  - at: 1s\n    explode: node-1\n")
    folder = tmp_path / "report"
    outcome = swimnomad("run", path, "--report", str(folder))
    outcome.assert_usage_error(f"{path}:4", "explode", "kill")
    assert not folder.exists()
