"""`swimnomad replay`: equal, different, or not to be replayed."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from swimnomad.journal.writer import Journal
from swimnomad.sim.cluster import SimCluster
from swimnomad.sim.world import World
from tests.cli.cli_support import CommandLine


@pytest.fixture
def swimnomad(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> CommandLine:
    return CommandLine(capsys, monkeypatch)


@pytest.fixture
def journal(tmp_path: Path) -> Path:
    """Three servers for ten seconds."""
    path = tmp_path / "journal"
    writer = Journal(1, path)
    cluster = SimCluster(World(1, writer))
    cluster.build_converged({"global": 3}, "local")
    cluster.world.run_for(10)
    writer.close()
    return path


def test_a_node_of_this_program_is_equal(swimnomad: CommandLine, journal: Path) -> None:
    outcome = swimnomad("replay", str(journal), "--node", "node-2")
    assert (outcome.status, outcome.err) == (0, "")
    assert outcome.out.startswith("node-2: equal, ")
    told = json.loads(swimnomad("replay", str(journal), "--node", "node-2", "--json").out)
    assert told["equal"] is True
    assert told["difference"] is None
    assert told["inputs"] > 20


def test_the_first_difference_is_shown_with_its_line(swimnomad: CommandLine, journal: Path) -> None:
    lines = journal.read_text().splitlines()
    number = next(
        at for at, line in enumerate(lines) if '"node":"node-2","effect":"SendDatagram"' in line
    )
    lines[number] = lines[number].replace('"data":"', '"data":"ff')
    journal.write_text("\n".join(lines) + "\n")
    outcome = swimnomad("replay", str(journal), "--node", "node-2")
    assert outcome.status == 1
    assert f"node-2: differs at line {number + 1}, after " in outcome.out
    assert f"journal: {lines[number]}" in outcome.out
    told = json.loads(swimnomad("replay", str(journal), "--node", "node-2", "--json").out)
    assert (told["equal"], told["difference"]["line"]) == (False, number + 1)


@pytest.mark.parametrize(
    ("text", "node", "problem"),
    [
        (None, "node-9", "no node 'node-9' boots in this journal"),
        ("", "a", "an empty file is no journal"),
        ('{"journal":1,"seed":1}\n', "a", "line 1: a journal of format 2 is wanted, this has 1"),
        ("[]\n", "a", "line 1: not a line of a journal"),
        ("{\n", "a", "line 1: not a line of a journal"),
    ],
)
def test_what_cannot_be_replayed_is_bad_usage_and_says_why(
    swimnomad: CommandLine, journal: Path, text: str | None, node: str, problem: str
) -> None:
    if text is not None:
        journal.write_text(text)
    outcome = swimnomad("replay", str(journal), "--node", node)
    assert (outcome.status, outcome.out) == (2, "")
    assert f"{journal}: {problem}" in outcome.err


def test_bytes_that_are_no_text_are_no_journal(swimnomad: CommandLine, journal: Path) -> None:
    journal.write_bytes(b"\xff\xfe")
    outcome = swimnomad("replay", str(journal), "--node", "a")
    assert outcome.status == 2
    assert "it is not text" in outcome.err
