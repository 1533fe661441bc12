"""Client agents at real servers: ready, down, elsewhere, called back; on loopback sockets."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, cast

import msgspec
import pytest
import trio

from swimnomad.errors import OperationError
from swimnomad.live.agent import LiveAgent, open_agent
from swimnomad.names import Address
from swimnomad.nomad.config import AgentConfig, ServerConfig, ServerJoin, dev_config
from swimnomad.nomad.node_reach import NodeReach
from swimnomad.nomad.requests import (
    AgentHost,
    AgentMonitor,
    AgentProfile,
    StatusHasNodeConn,
    StatusLeader,
)
from swimnomad.nomad.state.records import DOWN, READY, Node
from swimnomad.nomad.stats import Stats
from tests.live.live_support import fresh_host, until
from tests.live.rpc_clusters import client_config, server_config

TTL, GRACE = 1.0, 1.0
FAST = {
    "server.raft_multiplier": 0.2,
    "server.min_heartbeat_ttl": TTL,
    "server.heartbeat_grace": GRACE,
}
PATIENCE = 30.0

pytestmark = pytest.mark.live


def rpc_of(agent: LiveAgent) -> Address:
    return agent.config.advertised("rpc")


class Servers:
    """Servers that can be ended one by one."""

    def __init__(self) -> None:
        self.agents: list[LiveAgent] = []
        self._ends: dict[Address, tuple[trio.Event, trio.Event]] = {}

    async def run(
        self, config: AgentConfig, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED
    ) -> None:
        """Run one more until it is told to end."""
        stop, stopped = trio.Event(), trio.Event()
        async with open_agent(config) as agent:
            self.agents.append(agent)
            self._ends[rpc_of(agent)] = stop, stopped
            await agent.facade.join([str(self.agents[0].config.bind("serf"))])
            task_status.started()
            await stop.wait()
        stopped.set()

    async def end(self, address: Address) -> None:
        """End one without a word to anybody."""
        stop, stopped = self._ends[address]
        stop.set()
        await stopped.wait()
        self.agents = [agent for agent in self.agents if rpc_of(agent) != address]


@asynccontextmanager
async def servers(count: int) -> AsyncIterator[Servers]:
    """So many servers with a leader."""
    block = ServerConfig(enabled=True, bootstrap_expect=count)
    region = Servers()
    with trio.fail_after(2 * PATIENCE):
        async with trio.open_nursery() as nursery:
            for number in range(1, count + 1):
                config = server_config(f"s{number}", server=block, foreign=FAST, enable_debug=True)
                await nursery.start(region.run, config)
            await until(
                lambda: any(one.raft and one.raft.consensus.is_ready for one in region.agents)
            )
            yield region
            nursery.cancel_scope.cancel()


def client_of(known: Sequence[LiveAgent], name: str = "c1", **changes: object) -> AgentConfig:
    """A client without the pauses that keep many apart."""
    basis = client_config(name, [str(rpc_of(agent)) for agent in known])
    return msgspec.structs.replace(basis, dev_mode=True, enable_debug=True, **changes)


def id_of(client: LiveAgent) -> str:
    assert client.client is not None
    return client.client.node.node.id


def seen_by(agent: LiveAgent, node_id: str) -> Node:
    assert agent.raft is not None
    return agent.raft.state.node(node_id) or Node()


def statuses(agents: Sequence[LiveAgent], node_id: str) -> set[str]:
    return {seen_by(agent, node_id).status for agent in agents}


def stats_of(agent: LiveAgent) -> Stats:
    stats: Any = agent.facade.describe_self()["stats"]
    return cast(Stats, stats)


async def until_ready(agents: Sequence[LiveAgent], node_id: str) -> None:
    await until(lambda: statuses(agents, node_id) == {READY})


async def test_a_client_is_ready_everywhere_and_down_when_it_has_stopped() -> None:
    """agent M13, agent O07, agent O11"""
    async with servers(3) as region:
        agents = region.agents
        async with open_agent(client_of(agents)) as client:
            node_id = id_of(client)
            await until_ready(agents, node_id)
            assert client.client is not None
            node = client.client.node
            await until(lambda: sorted(client.facade._known.known) == sorted(map(rpc_of, agents)))
            assert TTL <= node.heartbeat_ttl <= 2 * TTL
            stats = stats_of(client)["client"]
            assert stats["node_id"] == node_id
            assert stats["known_servers"] == ",".join(sorted(str(rpc_of(a)) for a in agents))
            assert stats["heartbeat_ttl"].startswith("1.") or stats["heartbeat_ttl"] == "2s"
            found = seen_by(agents[0], node_id)
            assert found.http_addr == str(client.http)
            assert found.attributes is not None
            assert found.attributes["nomad.version"]
        stopped = trio.current_time()
        await until(lambda: statuses(agents, node_id) == {DOWN})
        assert trio.current_time() - stopped < 2 * TTL + GRACE + 1.0
        assert [e.message for e in seen_by(agents[0], node_id).events or ()][-1] == (
            "Node heartbeat missed"
        )


async def test_a_client_whose_server_is_killed_heartbeats_elsewhere_in_time() -> None:
    async with servers(3) as region, open_agent(client_of(region.agents)) as client:
        node_id = id_of(client)
        await until_ready(region.agents, node_id)
        await until(lambda: len(client.facade._known.known) == 3)
        first = client.facade._known.known[0]
        await region.end(first)
        assert client.client is not None
        node, heard = client.client.node, set[float]()

        def has_been_heard() -> bool:
            now = trio.current_time()
            heard.add(round(now - node.since_heartbeat(now), 3))
            assert node.since_heartbeat(now) < node.heartbeat_ttl + GRACE
            return len(heard) >= 4

        await until(has_been_heard)
        assert statuses(region.agents, node_id) == {READY}
        for agent in region.agents:
            messages = [event.message for event in seen_by(agent, node_id).events or ()]
            assert "Node heartbeat missed" not in messages
        assert client.facade._known.known[0] != first


async def test_a_client_is_called_back_through_whichever_server_is_asked() -> None:
    """agent N28"""
    async with servers(3) as region, open_agent(client_of(region.agents)) as client:
        agents, node_id = region.agents, id_of(client)
        await until_ready(agents, node_id)
        question = StatusHasNodeConn(region="global", node_id=node_id)
        connected = [(await agent.facade.ask(question)).is_connected for agent in agents]
        assert any(connected)
        for agent in agents:
            host = await agent.facade.ask(AgentHost(region="global", node_id=node_id))
            assert host.agent_id == node_id
            asked = AgentProfile(region="global", node_id=node_id, kind="cmdline")
            assert (await agent.facade.ask(asked)).agent_id == node_id
            with trio.fail_after(PATIENCE):
                async with agent.facade.monitor(
                    AgentMonitor(region="global", node_id=node_id, level="debug")
                ) as pieces:
                    async for piece in pieces:
                        if piece == b"{}":
                            break
        # A client answers for itself, and asks for another through its servers.
        assert (await client.facade.ask(AgentHost(region="global"))).agent_id == node_id
        async with open_agent(client_of(agents[:1], "c2")) as other:
            await until_ready(agents, id_of(other))
            host = await other.facade.ask(AgentHost(region="global", node_id=node_id))
            assert host.agent_id == node_id
            async with other.facade.monitor(AgentMonitor(node_id=node_id)) as pieces:
                async for _ in pieces:
                    break
            other_id = id_of(other)
        for agent in agents:
            with pytest.raises(OperationError, match="No path to node"):
                await agent.facade.ask(AgentHost(region="global", node_id=other_id))


async def test_a_client_keeps_its_id_in_its_data_directory(tmp_path: Path) -> None:
    async with servers(1) as region:
        agents = region.agents
        seen = []
        for _ in range(2):
            config = msgspec.structs.replace(
                client_of(agents), dev_mode=False, data_dir=str(tmp_path)
            )
            async with open_agent(config) as client:
                seen.append(id_of(client))
                assert client.client is not None
                node = client.client.node
                await until(lambda node=node: node.is_registered)  # type: ignore[misc]
        assert seen[0] == seen[1]
        assert agents[0].raft is not None
        assert agents[0].raft.state.node_count == 1


async def test_a_client_that_joins_later_finds_its_servers() -> None:
    async with servers(1) as region:
        agents = region.agents
        joining = ServerJoin(retry_join=(str(rpc_of(agents[0])),), retry_interval=0.1)
        config = client_of([])
        block = msgspec.structs.replace(config.client, server_join=joining)
        async with open_agent(msgspec.structs.replace(config, client=block)) as client:
            await until_ready(agents, id_of(client))
            assert await client.facade.ask(StatusLeader(region="global")) == str(rpc_of(agents[0]))


async def test_an_agent_that_is_both_registers_with_itself() -> None:
    config = msgspec.structs.replace(
        dev_config(),
        name="d1",
        bind_addr=fresh_host(),
        ports=msgspec.structs.replace(dev_config().ports, http=0, rpc=0, serf=0),
    )
    with trio.fail_after(PATIENCE):
        async with open_agent(config) as agent:
            node_id = id_of(agent)
            await until_ready([agent], node_id)
            host = await agent.facade.ask(AgentHost(region="global", node_id=node_id))
            assert host.agent_id == node_id
            stats = stats_of(agent)
            assert (stats["client"]["node_id"], stats["nomad"]["server"]) == (node_id, "true")
            assert agent.facade._server is not None
            reach: NodeReach = agent.facade._server._reach
            own = await reach.ask(AgentProfile(region="global", node_id=node_id, kind="cmdline"))
            assert own.agent_id == node_id
            async with reach.monitor(AgentMonitor(node_id=node_id)) as pieces:
                async for _ in pieces:
                    break
