"""`swimnomad explore` as users run it."""

from __future__ import annotations

import shlex
from pathlib import Path

import pytest

from swimnomad.cli import main
from swimnomad.explore.search import Report

BASE = Path(__file__).resolve().parents[2] / "scenarios" / "explore-base.yaml"
FEW = ["--runs", "12", "--seed", "11", "--jobs", "2"]
"""Among them are some that break two promises under upstream's rules."""


def test_each_broken_promise_has_a_file_and_the_printed_command_repeats_it(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "found.yaml"
    assert main(["explore", str(BASE), *FEW, "--compat", "upstream", "--out", str(out)]) == 1
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("12 runs, ")
    assert lines[1].startswith("revival: broken in ")
    (repeat,) = (line for line in lines if line.startswith("  repeat: ") and f"{out} " in line)
    text = out.read_text()
    assert text.startswith("# Breaks the promise `revival`; found by\n")
    assert "# revival at node-" in text
    assert [one.name for one in sorted(tmp_path.iterdir())] == ["found-2.yaml", "found.yaml"]
    assert "# Breaks the promise `agreement`" in (tmp_path / "found-2.yaml").read_text()
    command = shlex.split(repeat.removeprefix("  repeat: swimnomad "))
    assert main(command) == 1
    assert "revival at node-" in capsys.readouterr().out


def test_a_search_that_finds_nothing_says_so_and_writes_nothing(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["explore", str(BASE), "--runs", "5", "--jobs", "1"]) == 0
    captured = capsys.readouterr()
    assert captured.out.splitlines()[-1] == "nothing was found"
    assert captured.err == "", "no progress where nobody watches"
    assert list(tmp_path.iterdir()) == []


def test_ctrl_c_says_how_far_it_got(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: object) -> Report:
        return Report(7, 0, 400.0, (), was_interrupted=True)

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("swimnomad.explore.search.search", interrupted)
    assert main(["explore", str(BASE), "--runs", "20"]) == 1
    captured = capsys.readouterr()
    assert captured.err == "swimnomad explore: interrupted after 7 of 20 runs\n"
    assert captured.out.startswith("7 runs, 400 s of cluster time")


@pytest.mark.parametrize(
    ("arguments", "complaint"),
    [
        (["--runs", "0"], "--runs"),
        (["--jobs", "0"], "--jobs"),
        (["--compat", "real"], "safe"),
        (["--out", "/nowhere/at/all.yaml"], "--out"),
    ],
)
def test_bad_usage_is_told_before_anything_runs(
    arguments: list[str], complaint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["explore", str(BASE), *arguments]) == 2
    assert complaint in capsys.readouterr().err


def test_a_file_that_is_no_scenario_is_bad_usage(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["explore", str(tmp_path / "missing.yaml")]) == 2
    assert "missing.yaml" in capsys.readouterr().err
