"""Live agents that write down what their cores do, replayed afterwards."""

from __future__ import annotations

import base64
from pathlib import Path

import msgspec
import pytest
import trio

from swimnomad.errors import UsageError
from swimnomad.journal.recipe import generator
from swimnomad.journal.replay import replay
from swimnomad.live.agent import open_agent
from swimnomad.live.journaling import LiveJournal, fresh_seed
from swimnomad.live.log import AgentLog, Level, LogLine
from swimnomad.names import Address
from swimnomad.nomad.config import AgentConfig, GossipConfig
from swimnomad.nomad.core import NomadCore
from tests.live.test_agent import alive, config, gossip_address

pytestmark = pytest.mark.live

LIMIT = 30.0


def journaled(name: str, path: Path, join: tuple[str, ...] = ()) -> AgentConfig:
    return config(name, join, gossip=GossipConfig(profile="local", journal=str(path)))


async def test_a_live_agent_replays_from_its_journal(tmp_path: Path) -> None:
    path = tmp_path / "s1.jsonl"
    with trio.fail_after(LIMIT):
        async with (
            open_agent(journaled("s1", path)) as first,
            open_agent(config("s2", (gossip_address(first),))) as second,
        ):
            assert sorted(alive(second)) == ["s1.global", "s2.global"]
            await second.facade.leave()
            assert alive(first) == ["s1.global"]
    with path.open() as lines:
        outcome = replay(lines, "s1.global")
    assert outcome.difference is None
    assert outcome.inputs > 10
    assert outcome.effects > 10


async def test_a_journal_that_was_tampered_with_differs_at_that_line(tmp_path: Path) -> None:
    path = tmp_path / "s1.jsonl"
    with trio.fail_after(LIMIT):
        async with open_agent(journaled("s1", path)):
            pass
    lines = path.read_text().splitlines(keepends=True)
    number, line = next((n, text) for n, text in enumerate(lines, 1) if '"effect"' in text)
    lines[number - 1] = line.replace("Emit", "Omit").replace("SetTimer", "UnsetTimer")
    difference = replay(lines, "s1.global").difference
    assert difference is not None
    assert difference.line == number


async def test_a_journal_of_encrypted_gossip_is_refused(tmp_path: Path) -> None:
    wanted = journaled("s1", tmp_path / "s1.jsonl")
    key = base64.b64encode(bytes(32)).decode()
    server = msgspec.structs.replace(wanted.server, encrypt=key)
    with pytest.raises(UsageError, match="journal of encrypted gossip"):
        async with open_agent(msgspec.structs.replace(wanted, server=server)):
            pass


async def test_a_journal_that_cannot_be_written_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "missing" / "s1.jsonl"
    with pytest.raises(UsageError, match="cannot be written: no such file or directory"):
        async with open_agent(journaled("s1", path)):
            pass


async def test_a_full_disk_ends_the_journal_and_not_the_agent() -> None:
    told: list[LogLine] = []
    log = AgentLog(Level.INFO)
    log.add_sink(told.append)
    wanted = journaled("s1", Path("/dev/full"))
    core = NomadCore(wanted, generator("seed"), node_id="id")
    journal = LiveJournal(wanted, core, fresh_seed(), Address("127.0.0.1", 4648), log)
    journal.close()
    journal.step(1.0, object(), [])
    assert [line.message for line in told] == ["the journal ends here"]
