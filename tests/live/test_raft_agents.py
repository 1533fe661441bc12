"""Server agents that bootstrap, elect, take others in and come back, on loopback sockets."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import msgspec
import pytest
import trio

from swimnomad.errors import OperationError, UsageError
from swimnomad.live.agent import LiveAgent, open_agent
from swimnomad.live.raft_database import FILE
from swimnomad.live.raft_server import multiplier_of, raft_config
from swimnomad.names import Address
from swimnomad.nomad.config import AgentConfig, ServerConfig
from swimnomad.nomad.consensus import RaftPeer
from swimnomad.nomad.requests import OperatorRaftGetConfiguration, StatusLeader, StatusPeers
from swimnomad.nomad.state.commands import UpsertPolicies
from swimnomad.nomad.state.outcomes import Written
from swimnomad.nomad.state.records import Policy
from swimnomad.raft.messages import RequestVote
from swimnomad.rpc.raft_codec import encode_request
from swimnomad.serf.events import Status
from swimnomad.tls.authority import Role
from tests.live.live_support import until
from tests.live.rpc_clusters import logged_agent, server_config
from tests.tls.pki import Pki, user_context

FAST = {"server.raft_multiplier": 0.2}


def expecting(count: int, name: str, data_dir: Path | None = None) -> AgentConfig:
    return server_config(
        name,
        server=ServerConfig(enabled=True, bootstrap_expect=count),
        data_dir=str(data_dir / name) if data_dir else "",
        foreign=FAST,
    )


@asynccontextmanager
async def region_of(configs: Sequence[AgentConfig]) -> AsyncIterator[list[LiveAgent]]:
    """Agents that know each other."""
    async with AsyncExitStack() as stack:
        agents: list[LiveAgent] = []
        for config in configs:
            agents.append(await stack.enter_async_context(open_agent(config)))
            await agents[-1].facade.join([str(agents[0].config.bind("serf"))])
        yield agents


def known_leader(agents: Sequence[LiveAgent]) -> Address | None:
    """The leader that all of these know, itself ready."""
    leaders = {agent.raft.consensus.leader for agent in agents if agent.raft}
    leader = leaders.pop()
    is_ready = any(agent.raft and agent.raft.consensus.is_ready for agent in agents)
    return leader if not leaders and is_ready else None


def at(agents: Sequence[LiveAgent], address: Address | None) -> LiveAgent:
    return next(agent for agent in agents if agent.config.advertised("rpc") == address)


async def write_policy(agent: LiveAgent, name: str) -> None:
    assert agent.raft is not None
    command = UpsertPolicies((Policy(name=name, rules='node { policy = "read" }'),))
    outcome = await agent.raft.replicated.write(command, trio.current_time())
    assert isinstance(outcome, Written)


def policies_of(agent: LiveAgent) -> list[str]:
    assert agent.raft is not None
    return [policy.name for policy in agent.raft.state.policies()]


@pytest.mark.live
async def test_three_servers_that_expect_each_other_elect_a_leader() -> None:
    """agent P04"""
    configs = [expecting(3, name) for name in ("s1", "s2", "s3")]
    async with region_of(configs) as agents:
        await until(lambda: known_leader(agents) is not None)
        leader = known_leader(agents)
        for agent in agents:
            assert await agent.facade.ask(StatusLeader(region="global")) == str(leader)
            peers = await agent.facade.ask(StatusPeers(region="global"))
            assert sorted(peers) == sorted(str(a.config.advertised("rpc")) for a in agents)
        follower = next(a for a in agents if a.config.advertised("rpc") != leader)
        found = await follower.facade.ask(OperatorRaftGetConfiguration(region="global"))
        assert {server.node for server in found.servers or ()} == {
            "s1.global",
            "s2.global",
            "s3.global",
        }
        await write_policy(at(agents, leader), "readers")
        await until(lambda: all(policies_of(agent) == ["readers"] for agent in agents))


@pytest.mark.live
async def test_a_server_alone_leads_itself_and_keeps_what_it_was_given(tmp_path: Path) -> None:
    config = expecting(1, "s1", tmp_path)
    for names in (["one"], ["one", "two"]):
        async with open_agent(config) as agent:
            await until(lambda agent=agent: known_leader([agent]) is not None)  # type: ignore[misc]
            await write_policy(agent, names[-1])
            assert policies_of(agent) == sorted(names)
            # The address is part of what Raft keeps.
            config = msgspec.structs.replace(config, ports=agent.config.ports)


@pytest.mark.live
async def test_a_server_that_joins_later_becomes_a_peer() -> None:
    async with region_of([expecting(1, "s1"), expecting(0, "s2")]) as agents:
        await until(lambda: known_leader(agents) is not None)
        first, second = agents
        assert first.raft is not None
        await until(lambda: len(first.raft.consensus.configuration) == 2)  # type: ignore[union-attr]
        await write_policy(first, "readers")
        await until(lambda: policies_of(second) == ["readers"])


@pytest.mark.live
async def test_a_new_server_listens_to_a_leader_of_which_gossip_has_not_told_it() -> None:
    async with open_agent(expecting(1, "s1")) as first, open_agent(expecting(0, "s2")) as second:
        await until(lambda: known_leader([first]) is not None)
        assert first.raft is not None
        address = second.config.advertised("rpc")
        peer = RaftPeer(str(address), address)
        await first.raft.consensus.add_server(peer, trio.current_time() + 5)
        await until(lambda: known_leader([first, second]) is not None)


@pytest.mark.live
async def test_a_failed_server_that_is_forced_out_is_no_peer_any_more() -> None:
    """agent G04"""
    async with region_of([expecting(3, name) for name in ("s1", "s2")]) as agents:
        first, second = agents
        async with open_agent(expecting(3, "s3")) as third:
            await third.facade.join([str(first.config.bind("serf"))])
            await until(lambda: known_leader([*agents, third]) is not None)
        await until(lambda: known_leader(agents) is not None)
        leader = at(agents, known_leader(agents))
        assert leader.core is not None
        members = leader.core.serf.members
        await until(lambda: members["s3.global"].status is Status.FAILED)
        await second.facade.force_leave("s3.global", prune=False)
        for agent in (first, second):
            assert agent.raft is not None
            consensus = agent.raft.consensus
            await until(lambda consensus=consensus: len(consensus.configuration) == 2)  # type: ignore[misc]


@pytest.mark.live
async def test_a_damaged_log_keeps_a_server_from_starting(tmp_path: Path) -> None:
    config = expecting(1, "s1", tmp_path)
    async with open_agent(config) as agent:
        await until(lambda: known_leader([agent]) is not None)
    log = tmp_path / "s1" / "server" / "raft" / FILE
    log.write_bytes(log.read_bytes()[:-1000])
    with pytest.raises(UsageError, match="is damaged") as caught:
        async with open_agent(config):
            pass
    assert str(log) in str(caught.value)


@pytest.mark.live
async def test_a_disk_that_fails_stops_the_agent(tmp_path: Path) -> None:
    async with open_agent(expecting(1, "s1", tmp_path)) as agent:
        await until(lambda: known_leader([agent]) is not None)
        assert agent.raft is not None
        agent.raft.consensus._store._database._connected.execute(  # type: ignore[attr-defined]
            "PRAGMA max_page_count = 1"
        ).fetchone()
        command = UpsertPolicies((Policy(name="big", rules="x" * 5000),))
        with pytest.raises(OperationError, match=r"storage failed|already shutdown"):
            await agent.raft.replicated.write(command, trio.current_time())
        with trio.fail_after(10):
            await agent.stop.wait()
        assert agent.stop.status == 1


@pytest.mark.live
async def test_a_client_of_the_region_has_no_part_in_raft(tmp_path: Path) -> None:
    pki = Pki(tmp_path)
    server_files = pki.issue(name="s1")
    tls = pki.config(server_files, verify_server_hostname=True).tls
    config = msgspec.structs.replace(expecting(1, "s1"), tls=tls)
    async with logged_agent(config) as server:
        to = server.agent.config.advertised("rpc")
        for role, is_let_in in ((Role.CLIENT, False), (Role.SERVER, True)):
            files = pki.issue(role=role, name=role.value)
            context = user_context(pki.ca, files)
            stream = await trio.open_tcp_stream(to.host, to.port)
            await stream.send_all(b"\x04")
            secured = trio.SSLStream(
                stream, context, server_hostname="server.global.nomad", https_compatible=True
            )
            vote = RequestVote(1, "127.9.9.9:4647", 0, 0)
            async with secured:
                await secured.send_all(b"\x02" + encode_request(vote, 2))
                with trio.fail_after(10):
                    answer = await secured.receive_some()
            assert bool(answer) is is_let_in
        assert [text for text in server.texts("nomad.rpc") if "Raft connection refused" in text]


def test_settings_come_from_the_configuration() -> None:
    config = server_config("s1", foreign={"server.raft_multiplier": 5})
    config = msgspec.structs.replace(config, ports=msgspec.structs.replace(config.ports, rpc=4647))
    address = str(config.advertised("rpc"))
    made = raft_config(config, "a-uuid")
    assert (made.id, made.address, made.heartbeat_timeout) == (address, address, 5.0)
    third = msgspec.structs.replace(config, server=ServerConfig(enabled=True, raft_protocol=3))
    assert raft_config(third, "a-uuid").id == "a-uuid"
    assert multiplier_of(server_config("s1")) == 1.0
    assert multiplier_of(server_config("s1", foreign={"server.raft_multiplier": 0})) == 1.0
