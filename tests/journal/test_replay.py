"""Nodes replayed from their journals, and the journal's schema."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from swimnomad.errors import UsageError
from swimnomad.journal.replay import replay
from swimnomad.journal.schema import journal_schema, schema_text
from swimnomad.journal.types import INPUTS, read
from swimnomad.journal.writer import Journal
from swimnomad.serf.config import SerfConfig
from swimnomad.serf.node import SerfNode
from swimnomad.sim.cluster import SimCluster, nomad_core
from swimnomad.sim.converged import boot_converged, swim_nodes
from swimnomad.sim.invariants import Invariants
from swimnomad.sim.world import World
from swimnomad.swim.config import SwimConfig
from swimnomad.swim.events import JoinFinished
from swimnomad.swim.inputs import Timer
from tests.sim.sim_toys import two_hosts
from tests.sim.test_sim_converged import eventful_life

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def eventful(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """A journal with restarts, pauses, starvation, clocks and every kind of command."""
    path = tmp_path_factory.mktemp("journal") / "journal"
    eventful_life(True, path)
    return path.read_text().splitlines(keepends=True)


@pytest.mark.parametrize("number", range(1, 7))
def test_every_node_of_an_eventful_life_does_the_same_again(
    eventful: list[str], number: int
) -> None:
    result = replay(eventful, f"node-{number}")
    assert result.difference is None
    mine = [line for line in eventful if f'"node":"node-{number}",' in line]
    assert result.inputs == sum('"input":' in line for line in mine)
    assert result.effects == sum('"effect":' in line for line in mine)


def test_bare_gossip_nodes_serf_nodes_and_watched_cores_replay_too(tmp_path: Path) -> None:
    def gossip(world: World) -> None:
        swim_nodes(world, 3)

    def serf(world: World) -> None:
        names = ("node-1", "node-2", "node-3")
        boot_converged(
            world, {n: SerfNode(SerfConfig(SwimConfig(name=n)), world.rng_for(n)) for n in names}
        )

    def watched(world: World) -> None:
        make_core = Invariants(world, lambda _: 100.0).watch(nomad_core)
        SimCluster(world, make_core).build_converged({"global": 3}, "local")

    for number, build in enumerate((gossip, serf, watched)):
        path = tmp_path / f"{number}"
        journal = Journal(number, path)
        world = World(number, journal)
        build(world)
        world.hosts["node-3"].kill()
        world.run_for(20)
        journal.close()
        result = replay(path.read_text().splitlines(keepends=True), "node-1")
        assert result.difference is None
        assert result.inputs > 20


@pytest.mark.parametrize("what", ["missing", "added", "changed"])
def test_the_first_difference_names_its_line(eventful: list[str], what: str) -> None:
    lines = list(eventful)
    places = [at for at, line in enumerate(lines) if '"node":"node-4","effect"' in line]
    at = places[100]
    if what == "missing":
        del lines[at]
    elif what == "added":
        lines.insert(at, lines[at].replace('"effect"', '"effect"'))
    else:
        lines[at] = lines[at].replace("}\n", " }\n")
    difference = replay(lines, "node-4").difference
    assert difference is not None
    assert at + 1 <= difference.line <= at + 40
    cut = replay(lines[: places[3]], "node-4").difference
    assert cut is not None
    assert (cut.line, cut.expected) == (places[3] + 1, None)


def test_what_cannot_be_made_or_read_again_says_why(tmp_path: Path, eventful: list[str]) -> None:
    path = tmp_path / "toys"
    journal = Journal(1, path)
    two_hosts(World(1, journal))
    journal.close()
    with pytest.raises(UsageError, match="line 2: this node's core is of no kind"):
        replay(path.read_text().splitlines(keepends=True), "a")
    at = next(at for at, line in enumerate(eventful) if '"node-2","input":"DatagramRec' in line)
    for found, put, problem in (
        ("DatagramReceived", "Datagram", "'Datagram' is no input of a core"),
        ('"data":"', '"data":"x', "is not a <class 'bytes'>"),
        ('"source":', '"origin":', "a DatagramReceived without source"),
    ):
        broken = [*eventful[:at], eventful[at].replace(found, put)]
        with pytest.raises(UsageError, match=problem):
            replay(broken, "node-2")
    with pytest.raises(UsageError, match="an input of a node that does not run"):
        replay([eventful[0], eventful[at]], "node-2")


Json = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=5,
)


@given(data=st.data())
@settings(max_examples=150)
def test_a_damaged_line_differs_or_is_refused_and_never_raises_otherwise(
    eventful: list[str], data: st.DataObject
) -> None:
    of_node = [at for at, line in enumerate(eventful) if '"node":"node-2"' in line[:100]]
    at = data.draw(st.sampled_from(of_node[:60]))
    line = json.loads(eventful[at])
    key = data.draw(st.sampled_from(sorted(line)))
    if data.draw(st.booleans()):
        line[key] = data.draw(Json)
    else:
        del line[key]
    damaged = json.dumps(line, separators=(",", ":")) + "\n"
    complaint = f"line {at + 1}: "
    try:
        replay([*eventful[:at], damaged, *eventful[at + 1 : at + 30]], "node-2")
    except UsageError as error:
        complaint = str(error)
    # A boot that is none any more shows at the first input after it, or not at all.
    assert re.match(r"line \d+: |no node 'node-2' boots", complaint)


def test_a_core_that_refuses_an_input_is_told_with_the_line(eventful: list[str]) -> None:
    at = next(at for at, line in enumerate(eventful) if '"node-2","input":"Start"' in line)
    effects = next(
        place for place in range(at + 1, len(eventful)) if '"effect"' not in eventful[place]
    )
    twice = [*eventful[:effects], eventful[at]]
    with pytest.raises(UsageError, match=f"line {effects + 1}: the core refuses this input"):
        replay(twice, "node-2")


def test_values_are_read_by_their_annotations() -> None:
    assert read([[], 1], tuple[tuple[int, ...], int]) == ((), 1)
    assert read("inf", float) == float("inf")
    with pytest.raises(UsageError, match="is not a"):
        read("1", int)
    assert set(INPUTS) > {"Start", "Converge", "ForceLeave", "TimerFired"}


def test_the_shipped_schema_is_what_the_code_writes() -> None:
    """Made by: python -m swimnomad.journal.schema > docs/journal.schema.json"""
    assert (ROOT / "docs" / "journal.schema.json").read_text() == schema_text()


def test_every_line_of_a_journal_has_the_keys_of_the_schema_in_their_order(
    eventful: list[str],
) -> None:
    schema = journal_schema()
    kinds = {
        (what, line["properties"][what]["const"]): line
        for line in schema["oneOf"]
        for what in ("input", "effect")
        if what in line["properties"]
    }
    seen = set()
    for text in eventful[1:]:
        line = json.loads(text)
        what = next(key for key in ("input", "effect", "fault", "roster") if key in line)
        if what in ("fault", "roster"):
            continue
        known = kinds[what, line[what]]
        assert [k for k in known["properties"] if k in line] == list(line)
        assert set(known["required"]) <= set(line)
        seen.add(line[what])
        for value in line.values():
            if isinstance(value, dict):
                inner = schema["$defs"][value["type"]]
                assert list(inner["properties"]) == list(value)
    assert {"ForceLeave", "StreamReceived", "TimerFired", "Emit", "WriteStream"} <= seen
    assert {Timer.__name__, JoinFinished.__name__} & set(schema["$defs"]) == {"JoinFinished"}
