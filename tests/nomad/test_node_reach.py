"""How requests reach client nodes: over a connection here, or through the server that has one."""

from __future__ import annotations

import pytest

from swimnomad.nomad.remote import StreamFailed
from swimnomad.nomad.requests import AgentHost, AgentMonitor, AgentProfile
from tests.nomad.request_support import Region, region
from tests.nomad.state.state_support import uuid
from tests.nomad.test_node_requests import Link, beat, register


def ask(number: int = 1) -> AgentProfile:
    return AgentProfile(region="global", node_id=uuid(number), kind="cmdline")


async def test_a_connected_node_is_asked() -> None:
    found = await region()
    link = Link(5.0)
    await found.agents[0].agent.ask(register(), link)
    assert (await found.ask(ask())).agent_id == "a node"
    assert link.asked == [ask()]


async def test_a_server_that_has_the_connection_passes_it_on() -> None:
    """agent N28"""
    found = await region(3)
    await found.agents[1].agent.ask(register(), Link(5.0))
    newer = Link(9.0)
    await found.agents[2].agent.ask(beat(), newer)
    assert (await found.ask(ask())).agent_id == "a node"
    (asked,) = newer.asked
    assert isinstance(asked, AgentProfile)
    assert (asked.node_id, asked.forwarded) == (uuid(1), True)


@pytest.mark.parametrize(
    ("version", "text"),
    [
        ("", "RPC Error:: 400,Unable to determine Nomad version"),
        ("old", "RPC Error:: 400,Unable to determine Nomad version"),
        ("0.7.1", "RPC Error:: 400,Node does not support RPC; requires 0.8 or later"),
        ("1.0.4", "RPC Error:: 404,No path to node"),
        ("v1", "RPC Error:: 404,No path to node"),
    ],
)
async def test_a_node_that_cannot_be_asked(version: str, text: str) -> None:
    """agent N29"""
    found = await region(2)
    await found.agents[0].agent.ask(
        register(attributes={"nomad.version": version}), Link(5.0, is_callable=False)
    )
    assert await found.refusal(ask()) == text


async def test_ids_that_are_no_node() -> None:
    found = await region()
    assert await found.refusal(ask(4)) == f'RPC Error:: 404,Unknown node "{uuid(4)}"'
    assert await found.refusal(AgentProfile(region="global", node_id="x")) == (
        "RPC Error:: 500,node lookup failed: index error: UUID must be 36 characters"
    )
    assert await found.refusal(AgentHost(region="global", node_id=uuid(1))) == "Permission denied"


async def test_a_server_that_does_not_answer_is_named() -> None:
    """agent N29"""
    found = await region(2)
    await found.ask(register())
    found.world.kill(found.agents[1])
    assert await found.refusal(ask()) == (
        'RPC Error:: 500,failed querying server "127.0.61.2:4647": rpc error: failed to get conn: '
        "dial tcp 127.0.61.2:4647: connect: connection refused"
    )


async def log_of(found: Region, number: int) -> list[bytes | None]:
    asked = AgentMonitor(region="global", node_id=uuid(number))
    async with found.agents[0].agent.monitor(asked) as pieces:
        return [piece async for piece in pieces]


async def test_the_log_of_a_connected_node_is_streamed() -> None:
    found = await region()
    await found.agents[0].agent.ask(register(), Link(5.0))
    assert await log_of(found, 1) == [b"a line"]


async def test_the_log_of_a_node_comes_through_the_server_that_is_connected() -> None:
    found = await region(2)
    link = Link(5.0)
    await found.agents[1].agent.ask(register(), link)
    assert await log_of(found, 1) == [b"a line"]
    (asked,) = link.asked
    assert (asked.node_id, asked.forwarded) == (uuid(1), True)


async def test_the_log_of_a_node_that_cannot_be_asked() -> None:
    found = await region()
    await found.ask(register())
    with pytest.raises(StreamFailed, match="404,No path to node") as caught:
        await log_of(found, 1)
    assert caught.value.code == 500
    with pytest.raises(StreamFailed, match="404,Unknown node"):
        await log_of(found, 7)


async def test_a_connection_that_is_closed_is_no_way_any_more() -> None:
    found = await region()
    link = Link(5.0)
    agent = found.agents[0].agent
    await agent.ask(register(), link)
    agent.forget_link(link)
    assert await found.refusal(ask()) == "RPC Error:: 404,No path to node"
