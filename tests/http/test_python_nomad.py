"""The client library python-nomad against our listener: what its users see."""

from __future__ import annotations

import importlib
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import pytest
import requests
import trio

from swimnomad.http.serve import serve
from swimnomad.names import Address
from tests.agent_world import AgentWorld
from tests.http.http_support import serve as served_by
from tests.http.http_support import server

pytestmark = pytest.mark.live

# By name: to a type checker, `nomad` is the folder of tests beside this one.
library: Any = importlib.import_module("nomad")
Refused: type[Exception] = importlib.import_module("nomad.api.exceptions").BaseNomadException

Ask = Callable[[Callable[[Any], Any]], Any]


@asynccontextmanager
async def talking() -> AsyncIterator[tuple[AgentWorld, Ask]]:
    """Two agents; the library talks to the first, in a thread as its users' programs do."""
    world, stop = AgentWorld(), trio.Event()
    first, _ = await world.cluster(server(1), server(2))
    with trio.fail_after(20):
        async with trio.open_nursery() as nursery:
            start = partial(serve, served_by(first).app, Address("127.0.0.1", 0))
            address = await nursery.start(partial(start, shutdown_trigger=stop.wait))
            session = requests.Session()
            client = library.Nomad(
                host=address.host, port=address.port, timeout=10, session=session
            )

            async def ask(question: Callable[[Any], Any]) -> object:
                return await trio.to_thread.run_sync(question, client)

            yield world, ask
            session.close()
            stop.set()


async def test_members() -> None:
    """agent R15"""
    async with talking() as (_, ask):
        found = await ask(lambda client: client.agent.get_members())
        assert {member["Name"] for member in found["Members"]} == {"s1.global", "s2.global"}
        agent = await ask(lambda client: client.agent.get_agent())
        assert agent["config"]["Region"] == "global"
        assert agent["config"]["Datacenter"] == "dc1"
        assert agent["member"]["Name"] == "s1.global"


async def test_join() -> None:
    """agent R16"""
    async with talking() as (_, ask):
        good = await ask(lambda client: client.agent.join_agent("127.0.61.2"))
        assert good == {"error": "", "num_joined": 1}
        bad = await ask(lambda client: client.agent.join_agent("nope"))
        assert bad["num_joined"] == 0
        assert "Failed to resolve nope" in bad["error"]


async def test_force_leave() -> None:
    """agent R17"""
    async with talking() as (_, ask):
        assert await ask(lambda client: client.agent.force_leave("nope"))
        with pytest.raises(Refused, match="missing node to force leave"):
            await ask(lambda client: client.agent.force_leave(""))


async def test_health() -> None:
    """agent R18"""
    async with talking() as (_, ask):
        with pytest.raises(Refused, match="No cluster leader"):
            await ask(lambda client: client.agent.request("health", method="get"))


async def test_servers() -> None:
    async with talking() as (_, ask):
        with pytest.raises(Refused, match="Invalid method"):
            await ask(lambda client: client.agent.get_servers())


async def test_regions_and_status() -> None:
    async with talking() as (_, ask):
        assert await ask(lambda client: client.regions.get_regions()) == ["global"]
        with pytest.raises(Refused, match="No cluster leader"):
            await ask(lambda client: client.status.leader.get_leader())
