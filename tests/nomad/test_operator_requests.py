"""What operators ask about Raft and autopilot, and tell them."""

from __future__ import annotations

import msgspec

from swimnomad.names import Address
from swimnomad.nomad.consensus import RaftPeer, RaftStatus
from swimnomad.nomad.leadership import RaftLeadership
from swimnomad.nomad.requests import (
    Done,
    OperatorAutopilotGetConfiguration,
    OperatorAutopilotSetConfiguration,
    OperatorRaftGetConfiguration,
    OperatorRaftRemovePeerByAddress,
    OperatorRaftRemovePeerByID,
    OperatorServerHealth,
    OperatorTransferLeadershipToPeer,
    RegionHealth,
    StatusLeader,
    StatusPeers,
    StatusRaftStats,
)
from swimnomad.nomad.state.commands import SetAutopilot
from swimnomad.nomad.state.records import AutopilotConfig
from tests.agent_world import AgentWorld
from tests.http.http_support import server
from tests.nomad.consensus_fakes import LoneRaft, apply
from tests.nomad.request_support import ADDRESSES, Region, region

STRANGER = RaftPeer("old", Address("127.0.61.9", 4647), is_voter=False)


async def test_the_raft_configuration_is_shown_with_what_gossip_knows() -> None:
    found = await region(2)
    found.rafts[0].configuration += (STRANGER,)
    reply = await found.ask(OperatorRaftGetConfiguration(region="global"), at=2)
    one, two, unknown = reply.servers
    assert (one.id, one.node, one.address) == ("127.0.61.1:4647", "s1.global", "127.0.61.1:4647")
    assert (one.leads, one.is_voter, one.raft_protocol) == (True, True, "2")
    assert (two.node, two.leads) == ("s2.global", False)
    assert (unknown.id, unknown.node, unknown.raft_protocol) == ("old", "(unknown)", "unknown")
    assert not unknown.is_voter
    assert reply.index == 0


async def test_an_empty_configuration_is_none() -> None:
    world = AgentWorld()
    lonely = Region(world, [world.start(server(1))], [], [])
    request = OperatorRaftGetConfiguration(region="global", stale=True)
    assert (await lonely.ask(request)).servers is None
    request = msgspec.structs.replace(request, stale=False)
    assert await lonely.refusal(request) == "No cluster leader"


async def test_peers_are_removed_by_id_or_address() -> None:
    """agent M07"""
    found = await region(3)
    by_address = OperatorRaftRemovePeerByAddress(region="global", address="127.0.61.3:4647")
    assert await found.ask(by_address, at=2) == Done()
    by_id = OperatorRaftRemovePeerByID(region="global", id="127.0.61.2:4647")
    assert await found.ask(by_id) == Done()
    assert found.rafts[0].calls == [("remove", "127.0.61.3:4647"), ("remove", "127.0.61.2:4647")]
    assert await found.refusal(by_address) == (
        'address "127.0.61.3:4647" was not found in the Raft configuration'
    )
    assert await found.refusal(OperatorRaftRemovePeerByID(region="global", id="x")) == (
        'id "x" was not found in the Raft configuration'
    )


async def test_leadership_is_handed_over() -> None:
    found = await region(2)
    for request in (
        OperatorTransferLeadershipToPeer(region="global"),
        OperatorTransferLeadershipToPeer(region="global", id="127.0.61.2:4647"),
        OperatorTransferLeadershipToPeer(region="global", address="127.0.61.2:4647"),
    ):
        assert await found.ask(request, at=2) == Done()
    assert found.rafts[0].calls == [
        ("transfer", None),
        ("transfer", "127.0.61.2:4647"),
        ("transfer", "127.0.61.2:4647"),
    ]
    request = OperatorTransferLeadershipToPeer(region="global", id="x")
    assert await found.refusal(request) == 'id "x" was not found in the Raft configuration'


async def test_autopilot_is_told_and_asked() -> None:
    found = await region()
    get = OperatorAutopilotGetConfiguration(region="global")
    assert await found.refusal(get) == "autopilot config not initialized yet"
    apply(found.state, SetAutopilot(AutopilotConfig(), initial=True))
    config = await found.ask(get)
    assert (config.cleanup_dead_servers, config.modify_index) == (True, 1)
    changed = msgspec.structs.replace(config, min_quorum=3)
    for request, outcome in (
        (OperatorAutopilotSetConfiguration(region="global", config=changed, cas=True), True),
        (OperatorAutopilotSetConfiguration(region="global", config=changed, cas=True), False),
        (OperatorAutopilotSetConfiguration(region="global", config=changed), True),
    ):
        assert await found.ask(request) is outcome
    config = await found.ask(msgspec.structs.replace(get, stale=True))
    assert (config.min_quorum, config.create_index, config.modify_index) == (3, 1, 4)


async def test_health_is_known_where_all_servers_speak_raft_3() -> None:
    """agent M09"""
    old = await region()
    request = OperatorServerHealth(region="global")
    text = "all servers must have raft_protocol set to 3 or higher to use this endpoint"
    assert await old.refusal(request) == text
    health = RegionHealth(is_healthy=True, failure_tolerance=1)
    new = await region(raft_protocol=3, health=lambda: health)
    assert await new.ask(request) == health


async def test_status_is_what_raft_says() -> None:
    """agent M01, agent M02, agent N15, agent N16"""
    found = await region(2)
    assert await found.ask(StatusLeader(), at=2) == "127.0.61.1:4647"
    found.rafts[0].configuration += (STRANGER,)
    assert await found.ask(StatusPeers(), at=2) == ("127.0.61.1:4647", "127.0.61.2:4647")
    assert (await found.ask(StatusRaftStats())).last_contact == "0"
    stats = await found.ask(StatusRaftStats(), at=2)
    assert (stats.last_contact, stats.last_index) == ("20ms", 5)


def test_a_leader_never_heard_is_said_so() -> None:
    raft = LoneRaft.at(ADDRESSES[0])
    raft.status = RaftStatus()
    assert RaftLeadership(raft).raft_stats.last_contact == "never"


async def test_the_statistics_tell_of_raft() -> None:
    """agent E16"""
    found = await region(2)
    stats = found.agents[1].agent.describe_self()["stats"]
    assert isinstance(stats, dict)
    assert stats["nomad"]["leader"] == "false"
    assert stats["nomad"]["leader_addr"] == "127.0.61.1:4647"
    raft = stats["raft"]
    assert (raft["state"], raft["num_peers"], raft["last_contact"]) == ("Follower", "1", "20ms")
    assert raft["latest_configuration"] == (
        "[{Suffrage:Voter ID:127.0.61.1:4647 Address:127.0.61.1:4647} "
        "{Suffrage:Voter ID:127.0.61.2:4647 Address:127.0.61.2:4647}]"
    )
    assert set(raft) == RECORDED_KEYS
    stats = found.agents[0].agent.describe_self()["stats"]
    assert isinstance(stats, dict)
    assert (stats["nomad"]["leader"], stats["raft"]["last_contact"]) == ("true", "0")
    found.rafts[0].configuration = (STRANGER,)
    stats = found.agents[0].agent.describe_self()["stats"]
    assert isinstance(stats, dict)
    assert stats["raft"]["num_peers"] == "0"
    assert "Suffrage:Nonvoter" in stats["raft"]["latest_configuration"]


RECORDED_KEYS = {
    "applied_index",
    "commit_index",
    "fsm_pending",
    "last_contact",
    "last_log_index",
    "last_log_term",
    "last_snapshot_index",
    "last_snapshot_term",
    "latest_configuration",
    "latest_configuration_index",
    "num_peers",
    "protocol_version",
    "protocol_version_max",
    "protocol_version_min",
    "snapshot_version_max",
    "snapshot_version_min",
    "state",
    "term",
}
