from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
from enum import IntEnum
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from swimnomad.faults import Latency, LinkFault
from swimnomad.journal.writer import Journal, render
from swimnomad.names import Address, Stream, Value
from swimnomad.sim.world import World
from swimnomad.swim.effects import Emit, SetTimer
from swimnomad.swim.inputs import Start, TimerFired
from tests.sim.sim_toys import Alarm, Gossiper, Noted


class Colour(IntEnum):
    RED = 3


class Empty(Value, frozen=True):
    pass


def run_of(seed: int, journal: Journal | None) -> World:
    """Four gossiping nodes under every kind of fault for twenty seconds."""
    world = World(seed, journal)
    hosts = [world.add_host(f"node-{number}") for number in range(4)]
    addresses = [host.address for host in hosts]
    for host in hosts:
        host.boot(Gossiper(world.rng_for(host.name), addresses))
    world.set_fault(
        "node-1",
        "weather",
        LinkFault(
            loss=0.2, duplicate=0.1, reorder=0.1, corrupt=0.1, latency=Latency("normal", 0.1, 0.05)
        ),
    )
    world.run_until(5)
    world.partition(["node-0"], ["node-2"])
    hosts[3].pause()
    world.run_until(10)
    world.heal()
    hosts[3].resume()
    hosts[2].kill()
    world.run_until(20)
    return world


def journal_hash(seed: int) -> str:
    journal = Journal(seed)
    run_of(seed, journal)
    return journal.sha256()


def test_the_same_seed_gives_the_same_journal_and_another_seed_another() -> None:
    assert journal_hash(1) == journal_hash(1)
    assert journal_hash(1) != journal_hash(2)


@pytest.mark.parametrize("hash_seed", ["0", "1", "4242"])
def test_the_journal_is_the_same_in_another_process_with_another_hash_seed(hash_seed: str) -> None:
    here = Path(__file__).parent
    program = "import test_journal_writer; print(test_journal_writer.journal_hash(7))"
    environment = {**os.environ, "PYTHONHASHSEED": hash_seed, "PYTHONPATH": f"{here}"}
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, env=environment, check=True
    )
    assert done.stdout.strip() == journal_hash(7)


def test_recording_does_not_change_the_run() -> None:
    recorded, plain = run_of(3, Journal(3)), run_of(3, None)
    assert recorded.schedule.executed == plain.schedule.executed
    for name, host in recorded.hosts.items():
        other = plain.hosts[name].traffic
        assert host.traffic.datagram_bytes_received == other.datagram_bytes_received


def test_the_file_holds_what_was_hashed_one_json_object_a_line(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    journal = Journal(3, path)
    run_of(3, journal)
    digest = journal.sha256()
    journal.close()
    data = path.read_bytes()
    assert hashlib.sha256(data).hexdigest() == digest
    first, *lines = [json.loads(line) for line in data.splitlines()]
    assert first == {"journal": 2, "seed": 3}
    assert {"input", "effect", "fault"} == {
        kind for line in lines for kind in ("input", "effect", "fault") if kind in line
    }
    assert [line["time"] for line in lines] == sorted(line["time"] for line in lines)
    assert {line["fault"] for line in lines if "fault" in line} >= {
        "boot",
        "set-fault",
        "clear-faults",
        "pause",
        "resume",
        "kill",
        "datagram-lost",
    }


def test_a_line_shows_time_node_and_fields_in_the_order_of_the_class(tmp_path: Path) -> None:
    path = tmp_path / "journal.jsonl"
    journal = Journal("s", path)
    journal.input(0.5, "a", Start(Address("10.0.0.1", 4648), 1))
    journal.effects(1.0, "a", [SetTimer(Alarm(3), 2.25)])
    journal.effects(1.5, "a", [Emit(Noted('say "hi"'))])
    journal.fault(2.0, "b", "kill")
    journal.close()
    assert path.read_text().splitlines() == [
        '{"journal":2,"seed":"s"}',
        '{"time":0.5,"node":"a","input":"Start","advertise":"10.0.0.1:4648","incarnation":1}',
        '{"time":1.0,"node":"a","effect":"SetTimer","timer":{"type":"Alarm","number":3},"at":2.25}',
        '{"time":1.5,"node":"a","effect":"Emit","event":{"type":"Noted","text":"say \\"hi\\""}}',
        '{"time":2.0,"node":"b","fault":"kill"}',
    ]


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (b"\x00\xff", '"00ff"'),
        (None, "null"),
        (True, "true"),
        (0.1, "0.1"),
        (float("inf"), '"inf"'),
        (float("nan"), '"nan"'),
        (Address("::1", 80), '"[::1]:80"'),
        (Stream(True, 4), '"in-4"'),
        (Stream(False, 5), '"out-5"'),
        (Colour.RED, "3"),
        ((1, "a"), '[1,"a"]'),
        ({"k": b"\x01"}, '{"k":"01"}'),
        (Empty(), '{"type":"Empty"}'),
        (TimerFired(Alarm(2)), '{"type":"TimerFired","timer":{"type":"Alarm","number":2}}'),
        ("é\ud800", '"\\u00e9\\ud800"'),
    ],
)
def test_values_are_written_in_one_way(value: object, text: str) -> None:
    assert render(value) == text


@given(st.text())
def test_any_text_is_written_as_json_in_ascii(text: str) -> None:
    assert render(text).isascii()
    assert json.loads(render(text)) == text
