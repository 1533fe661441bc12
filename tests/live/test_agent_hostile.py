"""Hostile input against a whole agent: counted, logged rarely, and everybody else is served on."""

from __future__ import annotations

import random
import socket

import pytest
import trio

from swimnomad.live.agent import LiveAgent, open_agent
from swimnomad.live.http_probe import alive_members
from swimnomad.live.log import AgentLog, Level, LogLine
from swimnomad.nomad.config import AgentConfig, GossipConfig, Ports, ServerConfig
from tests.live.live_support import fresh_host, until

pytestmark = pytest.mark.live

LIMIT = 60.0


def config(name: str, *join: str) -> AgentConfig:
    return AgentConfig(
        name=name,
        bind_addr=fresh_host(),
        ports=Ports(0, 0, 0),
        server=ServerConfig(enabled=True, start_join=join),
        gossip=GossipConfig(profile="local"),
    )


def gossip_address(agent: LiveAgent) -> str:
    assert agent.endpoint is not None
    return str(agent.endpoint.address)


async def flood(agent: LiveAgent, count: int) -> None:
    """Datagrams that begin as real messages do and go wrong later, from one source."""
    assert agent.endpoint is not None
    rng = random.Random(5)
    with socket.socket(type=socket.SOCK_DGRAM) as sock:
        sock.bind((agent.endpoint.address.host, 0))
        for number in range(count):
            start = bytes([rng.choice((0, 2, 3, 4, 5, 7, 8, 9, 10, 12, 99, 244))])
            sock.sendto(start + rng.randbytes(rng.randrange(200)), tuple(agent.endpoint.address))
            if number % 50 == 0:
                await trio.lowlevel.checkpoint()


async def test_junk_datagrams_are_counted_logged_once_and_harm_nobody() -> None:
    lines: list[LogLine] = []
    log = AgentLog(Level.WARN, lines.append)
    with trio.fail_after(LIMIT):
        async with (
            open_agent(config("s1"), log) as first,
            open_agent(config("s2", gossip_address(first))),
        ):
            assert first.endpoint is not None
            await flood(first, 3000)
            counters = first.endpoint.counters
            await until(lambda: counters.inputs_dropped > 1000)
            assert await alive_members(first.http) == 2
    dropped = [line for line in lines if "dropped input from" in line.message]
    assert 1 <= len(dropped) <= 2  # one a source and 10 s; what Serf drops is a source of its own


@pytest.mark.parametrize("start", [b"", b"\x06", b"\x0a\xff\xff\xff\xff", b"\x06\x83\xa5Nodes"])
async def test_streams_that_never_finish_end_with_the_stream_timeout(start: bytes) -> None:
    with trio.fail_after(LIMIT):
        async with open_agent(config("s1")) as agent:
            assert agent.endpoint is not None
            async with await trio.open_tcp_stream(*agent.endpoint.address) as peer:
                if start:
                    await peer.send_all(start)
                before = trio.current_time()
                while await peer.receive_some(1000):
                    pass
                assert trio.current_time() - before < 3.0  # `local` allows a stream one second
            await until(lambda: agent.endpoint is not None and agent.endpoint.stream_count == 0)


async def test_an_endless_push_pull_is_cut_off_while_others_join() -> None:
    with trio.fail_after(LIMIT):
        async with open_agent(config("s1")) as first, trio.open_nursery() as nursery:

            async def pour() -> None:
                assert first.endpoint is not None
                async with await trio.open_tcp_stream(*first.endpoint.address) as peer:
                    try:
                        await peer.send_all(b"\x0a\x01\x00\x00\x00")  # 16 MiB announced
                        while True:
                            await peer.send_all(bytes(65_536))
                    except trio.BrokenResourceError:
                        return

            for _ in range(5):
                nursery.start_soon(pour)
            async with open_agent(config("s2", gossip_address(first))):
                assert await alive_members(first.http) == 2
