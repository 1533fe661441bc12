"""What an agent with a node of its own answers itself, and what it asks its servers."""

from __future__ import annotations

import random

import msgspec
import pytest

from swimnomad.errors import OperationError
from swimnomad.names import Address
from swimnomad.nomad.agent import Agent
from swimnomad.nomad.client_node import ClientNode
from swimnomad.nomad.config import AgentConfig, ClientConfig
from swimnomad.nomad.remote import StreamFailed
from swimnomad.nomad.requests import AgentHost, AgentMonitor, AgentProfile, StatusPing
from tests.agent_world import AgentWorld
from tests.http.http_support import server
from tests.nomad.state.state_support import node, uuid

SERVER = "127.0.61.1:4647"


def client_in(world: AgentWorld, *servers: str, debug: bool = True) -> Agent:
    """A client only whose node is the first."""
    config = AgentConfig(
        name="c1", client=ClientConfig(enabled=True, servers=servers), enable_debug=debug
    )
    services = world.start(config).services
    core = ClientNode(node(), config.region, random.Random(0))
    return Agent(config, None, services, node=core)


async def first_piece(agent: Agent, request: AgentMonitor) -> bytes | None:
    async with agent.monitor(request) as pieces:
        async for piece in pieces:
            return piece
    raise AssertionError("no piece")


async def test_a_client_answers_for_its_own_node() -> None:
    client = client_in(AgentWorld())
    for request in (AgentHost(), AgentHost(region="global", node_id=uuid(1).upper())):
        assert (await client.ask(request)).agent_id == uuid(1)
    profile = AgentProfile(node_id=uuid(1), kind="cmdline")
    assert (await client.ask(profile)).agent_id == uuid(1)
    for asked in (AgentMonitor(), AgentMonitor(node_id=uuid(1)), AgentMonitor(server_id="s1")):
        assert await first_piece(client, asked) == b"{}"
    with pytest.raises(StreamFailed, match=r"^Unknown log level$"):
        await first_piece(client, AgentMonitor(level="loud"))


async def test_a_client_without_debugging_shows_no_host() -> None:
    client = client_in(AgentWorld(), debug=False)
    with pytest.raises(OperationError, match=r"^Permission denied$"):
        await client.ask(AgentHost())


async def test_a_client_asks_its_servers_for_the_rest() -> None:
    world = AgentWorld()
    one = world.start(msgspec.structs.replace(server(1), enable_debug=True))
    client = client_in(world, SERVER)
    answers: list[int] = []
    client.on_answer = lambda: answers.append(1)
    await client.ask_servers(StatusPing())
    assert not answers
    name = one.agent.config.member_name
    asked = AgentHost(region="global", server_id=name)
    assert (await client.ask(asked)).agent_id == name
    assert (await client.ask(AgentProfile(region="global", kind="cmdline"))).agent_id == name
    assert len(answers) == 2
    await client.set_servers([SERVER])
    assert len(answers) == 3
    with pytest.raises(OperationError, match="404,Unknown node"):
        await client.ask(AgentHost(region="global", node_id=uuid(2)))


async def test_a_client_without_servers_reaches_no_other_node() -> None:
    client = client_in(AgentWorld())
    with pytest.raises(StreamFailed, match=r"^no servers$"):
        await first_piece(client, AgentMonitor(node_id=uuid(2)))
    client.pass_over_server()  # there is none
    with pytest.raises(OperationError, match=r"^no servers$"):
        await client.ask_servers(StatusPing())


async def test_servers_that_a_heartbeat_names_replace_the_configured_ones() -> None:
    client = client_in(AgentWorld(), SERVER)
    new = (Address("127.0.61.2", 4647), Address("127.0.61.3", 4647))
    client.use_servers(new)
    assert await client.servers() == ["127.0.61.2:4647", "127.0.61.3:4647"]
    first = client._known.known[0]
    client.pass_over_server()
    assert client._known.known[1] == first


async def test_the_stats_of_a_client_have_its_block() -> None:
    client = client_in(AgentWorld(), SERVER)
    assert await client.servers() == [SERVER]
    found = client.describe_self()
    stats = found["stats"]
    assert isinstance(stats, dict)
    assert set(stats) == {"runtime", "client"}
    assert stats["client"] == {
        "node_id": uuid(1),
        "known_servers": SERVER,
        "num_allocations": "0",
        "last_heartbeat": stats["client"]["last_heartbeat"],
        "heartbeat_ttl": "0s",
    }
