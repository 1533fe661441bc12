"""`swimnomad cluster` where no process is needed; the rest is in test_end_to_end.py."""

from __future__ import annotations

from pathlib import Path

import pytest

from swimnomad.cli.cluster import NODES_MAX
from swimnomad.live import cluster
from swimnomad.swim.config import PROFILES
from tests.cli.cli_support import CommandLine


@pytest.fixture
def swimnomad(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> CommandLine:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    return CommandLine(capsys, monkeypatch)


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (["grow"], ["'grow'", "down, status, up"]),
        (["up", "-n", "0"], ["--nodes", "0", str(NODES_MAX)]),
        (["up", "-n", "x"], ["--nodes", "'x'"]),
        (["up", "--profile", "fast"], ["--profile", "'fast'", *PROFILES]),
        (["up", "--base", "nowhere"], ["base address", "'nowhere'"]),
        (["up", "--nope"], ["--nope", "--detach", "--base"]),
        (["up", "extra"], ["extra"]),
        (["down", "extra"], ["extra"]),
    ],
)
def test_bad_usage_is_one_sentence(
    swimnomad: CommandLine, words: list[str], named: list[str]
) -> None:
    swimnomad("cluster", *words).assert_usage_error(*named)


@pytest.mark.parametrize("word", ["status", "down"])
def test_without_a_cluster_there_is_nothing_to_show_or_stop(
    swimnomad: CommandLine, word: str
) -> None:
    outcome = swimnomad("cluster", word)
    assert (outcome.status, outcome.out) == (1, "")
    outcome.assert_one_line("no cluster is up", "swimnomad cluster up")


def test_a_broken_state_file_is_named(swimnomad: CommandLine, tmp_path: Path) -> None:
    state = cluster.default_directory() / "cluster.json"
    assert tmp_path in state.parents
    state.parent.mkdir(parents=True)
    state.write_text("{")
    swimnomad("cluster", "status").assert_usage_error(str(state))


def test_the_limit_in_the_help_is_that_of_the_cluster() -> None:
    assert NODES_MAX == cluster.NODES_MAX


@pytest.mark.parametrize("word", ["up", "status", "down"])
def test_each_subcommand_has_help(swimnomad: CommandLine, word: str) -> None:
    outcome = swimnomad("cluster", word, "--help")
    assert (outcome.status, outcome.err) == (0, "")
    assert outcome.out.startswith(f"Usage: swimnomad cluster {word} ")
