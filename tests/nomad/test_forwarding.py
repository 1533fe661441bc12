"""Where requests are answered: by a leader, in a region, at one particular agent."""

from __future__ import annotations

import msgspec
import pytest

from swimnomad.errors import OperationError
from swimnomad.names import Address
from swimnomad.nomad.config import AgentConfig
from swimnomad.nomad.forwarding import HOLD_TIME, PAUSE_MAX
from swimnomad.nomad.remote import StreamFailed
from swimnomad.nomad.requests import (
    AgentHost,
    AgentMonitor,
    AgentProfile,
    Request,
    StatusHasNodeConn,
    StatusLeader,
    StatusPeers,
    StatusPing,
    StatusRaftStats,
    StatusVersion,
)
from tests.agent_world import COMMAND_LINE, AgentWorld, FakeRaft, SimAgent
from tests.http.http_support import client, server

S1, S2, S3 = (Address(f"127.0.61.{number}", 4647) for number in (1, 2, 3))
NOBODY = "00000000-1111-2222-3333-444444444444"


def debuggable(config: AgentConfig) -> AgentConfig:
    return msgspec.structs.replace(config, enable_debug=True)


async def region_of(
    *rafts: FakeRaft | None, debug: bool = True
) -> tuple[AgentWorld, list[SimAgent]]:
    """Servers s1, s2, … of one region with these parts of Raft."""
    world = AgentWorld()
    configs = [server(number) for number in range(1, len(rafts) + 1)]
    if debug:
        configs = [debuggable(config) for config in configs]
    agents = [world.start(config, raft) for config, raft in zip(configs, rafts, strict=True)]
    await world.join(*agents)
    return world, agents


async def refusal(agent: SimAgent, request: Request[object]) -> str:
    """The words with which a request is refused."""
    with pytest.raises(OperationError) as caught:
        await agent.agent.ask(request)
    return str(caught.value)


async def test_a_leader_answers_itself() -> None:
    """agent N13, agent N15, agent N16"""
    world, (one,) = await region_of(FakeRaft.alone(S1))
    assert await one.agent.ask(StatusLeader()) == "127.0.61.1:4647"
    assert await one.agent.ask(StatusPeers(region="global")) == ("127.0.61.1:4647",)
    version = await one.agent.ask(StatusVersion(region="global"))
    assert version.build == "1.0.4"
    assert version.versions == {"protocol": 1, "api.major": 1, "api.minor": 1}
    assert not world.calls


async def test_a_request_must_name_its_region() -> None:
    """agent N14"""
    _, (one,) = await region_of(FakeRaft.alone(S1))
    assert await refusal(one, StatusVersion()) == "missing region for target RPC"


async def test_a_follower_asks_the_leader_once() -> None:
    """agent N19"""
    follower, leader = FakeRaft(leader=S2), FakeRaft.alone(S2)
    world, (first, _) = await region_of(follower, leader)
    assert await first.agent.ask(StatusLeader(token="s3cret")) == "127.0.61.2:4647"
    assert world.calls == [(S2, "global", "Status.Leader")]
    (asked,) = world.requests
    assert (asked.forwarded, asked.region, asked.token) == (True, "global", "s3cret")
    # What is stale is answered by whoever was asked.
    assert await first.agent.ask(StatusLeader(stale=True)) == "127.0.61.2:4647"
    assert len(world.calls) == 1


async def test_what_the_leader_says_gets_a_prefix() -> None:
    world, (first, second) = await region_of(FakeRaft(leader=S2), FakeRaft())
    assert await refusal(first, StatusLeader()) == "rpc error: No cluster leader"
    world.kill(second)
    assert await refusal(first, StatusLeader()) == (
        "rpc error: failed to get conn: dial tcp 127.0.61.2:4647: connect: connection refused"
    )


async def test_a_leader_that_is_not_ready_is_waited_for() -> None:
    """agent N21"""
    raft = FakeRaft.alone(S1)
    raft.is_ready = False
    _, (one,) = await region_of(raft)
    assert await refusal(one, StatusLeader()) == "Not ready to serve consistent reads"
    slept = one.services.slept
    assert HOLD_TIME <= sum(slept) <= HOLD_TIME + PAUSE_MAX
    assert len(set(slept)) == len(slept) > 16
    slept.clear()

    def become_ready(seconds: float) -> None:
        raft.is_ready = len(slept) > 3

    one.services.on_sleep = become_ready
    assert await one.agent.ask(StatusLeader()) == "127.0.61.1:4647"
    assert sum(slept) < HOLD_TIME


async def test_a_leader_that_appears_meanwhile_is_asked() -> None:
    raft = FakeRaft()
    _, (first, _) = await region_of(raft, FakeRaft.alone(S2))

    def elect(seconds: float) -> None:
        raft.leader = S2

    first.services.on_sleep = elect
    assert await first.agent.ask(StatusLeader()) == "127.0.61.2:4647"
    assert len(first.services.slept) == 1


async def test_a_leader_that_gossip_does_not_know_is_none() -> None:
    _, (one,) = await region_of(FakeRaft(leader=Address("127.0.61.9", 4647)))
    assert await refusal(one, StatusLeader()) == "No cluster leader"


async def test_any_server_of_a_region_may_be_asked() -> None:
    """agent N20"""
    world = AgentWorld()
    agents = [world.start(config) for config in (server(1), server(2, "eu"), server(3, "eu"))]
    await world.join(*agents)
    for _ in range(30):
        assert await agents[0].agent.ask(StatusPeers(region="eu", stale=True)) == ()
    assert {to for to, *_ in world.calls} == {S2, S3}
    assert all(request.forwarded for request in world.requests)
    assert await refusal(agents[0], StatusPeers(region="EU")) == "No path to region"


async def test_what_never_travels() -> None:
    """agent N18"""
    world, (one,) = await region_of(None)
    await one.agent.ask(StatusPing())
    assert (await one.agent.ask(StatusRaftStats())).last_contact == "never"
    assert await refusal(one, StatusHasNodeConn()) == "Must provide the NodeID"
    found = await one.agent.ask(StatusHasNodeConn(region="nowhere", node_id=NOBODY))
    assert (found.is_connected, found.since) == (False, None)
    assert not world.calls


async def test_a_server_is_found_by_name_by_id_and_by_leading() -> None:
    """agent N22, agent N26"""
    world, (first, second) = await region_of(FakeRaft(leader=S2), FakeRaft.alone(S2))
    assert second.core is not None
    identifier = second.core.serf.local_member.tags["id"]
    for server_id in ("s2.global", identifier, "leader"):
        for agent in (first, second):
            request = AgentHost(region="global", server_id=server_id)
            assert (await agent.agent.ask(request)).agent_id == "s2.global"
    assert (await first.agent.ask(AgentHost(region="global"))).agent_id == "s1.global"
    assert [to for to, *_ in world.calls] == [S2] * 3
    host = await first.agent.ask(AgentHost(region="global", server_id="s1.global"))
    assert host.data.environment["VAULT_TOKEN"] == "<redacted>"


async def test_a_target_in_another_region_is_looked_up_there() -> None:
    """agent N24"""
    world = AgentWorld()
    near, far = world.start(debuggable(server(1))), world.start(debuggable(server(2, "eu")))
    await world.join(near, far)
    for server_id in ("", "s2.eu"):
        host = await near.agent.ask(AgentHost(region="eu", server_id=server_id))
        profile = AgentProfile(region="eu", server_id=server_id, kind="cmdline")
        assert host.agent_id == (await near.agent.ask(profile)).agent_id == "s2.eu"
    words = await refusal(near, AgentHost(region="eu", server_id="s1.global"))
    assert words == "rpc error: unknown Nomad server s1.global"
    # Coded errors need no prefix to be told from those of the way.
    words = await refusal(near, AgentProfile(region="eu", kind="lookup", profile="nope"))
    assert words == "RPC Error:: 404,Pprof profile not found profile: nope"


async def test_what_no_target_is() -> None:
    """agent N24"""
    _, (one,) = await region_of(None)
    for kind in (AgentHost, AgentProfile):
        for request, words in (
            (kind(), "missing target RPC"),
            (kind(region="nowhere"), "No path to region"),
            (kind(region="nowhere", server_id="leader"), "No path to region"),
            (kind(region="global", server_id="s1"), "unknown Nomad server s1"),
            (kind(region="global", server_id="leader"), "No cluster leader"),
            (kind(region="global", node_id=NOBODY), f'RPC Error:: 404,Unknown node "{NOBODY}"'),
            (
                kind(region="global", node_id="abc", server_id="nope"),
                "RPC Error:: 500,node lookup failed: index error: UUID must be 36 characters",
            ),
        ):
            assert await refusal(one, request) == words


@pytest.mark.parametrize(
    ("node_id", "flaw"),
    [
        ("é" * 18, "Invalid UUID: encoding/hex: invalid byte: U+00E9 'é'"),
        ("-" * 36, 'UUID should have maximum of 4 "-"; got 36'),
        ("0" * 35 + "-", "Input (without hyphens) must be even length"),
        (
            "zz000000-1111-2222-3333-444444444444",
            "Invalid UUID: encoding/hex: invalid byte: U+007A 'z'",
        ),
    ],
)
async def test_an_identifier_that_is_none_is_told_so(node_id: str, flaw: str) -> None:
    _, (one,) = await region_of(None)
    words = await refusal(one, AgentHost(region="global", node_id=node_id))
    assert words == f"RPC Error:: 500,node lookup failed: index error: {flaw}"


async def test_without_debugging_the_host_is_shown_to_nobody() -> None:
    """agent N26"""
    _, (one,) = await region_of(None, debug=False)
    for request in (AgentHost(), AgentHost(region="nowhere"), AgentHost(node_id="abc")):
        assert await refusal(one, request) == "Permission denied"


async def test_a_profile_is_refused_by_whoever_would_take_it() -> None:
    world = AgentWorld()
    closed, opened = world.start(server(1)), world.start(debuggable(server(2)))
    await world.join(closed, opened)
    asked = AgentProfile(region="global", kind="cmdline", server_id="s2.global")
    assert (await closed.agent.ask(asked)).agent_id == "s2.global"
    asked = AgentProfile(region="global", kind="cmdline", server_id="s1.global")
    assert await refusal(opened, asked) == "rpc error: Permission denied"
    host = AgentHost(region="global", server_id="s2.global")
    assert await refusal(closed, host) == "Permission denied"


async def test_profiles_are_taken_or_named_as_missing() -> None:
    """agent N25"""
    _, (one,) = await region_of(None)

    def profile(kind: str, name: str = "") -> AgentProfile:
        return AgentProfile(region="global", kind=kind, profile=name)

    taken = await one.agent.ask(profile("cmdline"))
    assert taken.payload == "\0".join(COMMAND_LINE).encode()
    assert taken.headers == {
        "Content-Type": "text/plain; charset=utf-8",
        "X-Content-Type-Options": "nosniff",
    }
    for request, words in (
        (profile("lookup", "unknown"), "404,Pprof profile not found profile: unknown"),
        (profile("lookup"), "404,Pprof profile not found profile: "),
        (profile("bogus"), "500,RPC Error:: 404,Unknown profile request type"),
        (profile(""), "500,RPC Error:: 404,Unknown profile request type"),
        (profile("cpu"), "501,this version takes no cpu profile"),
        (profile("lookup", "heap"), "501,this version takes no heap profile"),
    ):
        assert await refusal(one, request) == f"RPC Error:: {words}"


async def monitor_refusal(agent: SimAgent, request: AgentMonitor) -> tuple[int | None, str]:
    try:
        async with agent.agent.monitor(request) as pieces:
            piece = await anext(pieces)
    except StreamFailed as error:
        return error.code, str(error)
    raise AssertionError(piece)


async def test_the_log_is_refused_in_the_order_of_the_checks() -> None:
    """agent N27"""
    _, (one,) = await region_of(None)
    for request, failure in (
        (AgentMonitor(level="bogus", node_id="abc"), (400, "Unknown log level")),
        (AgentMonitor(node_id=NOBODY), (500, f'RPC Error:: 404,Unknown node "{NOBODY}"')),
        (AgentMonitor(server_id="nope"), (400, "missing target RPC")),
        (AgentMonitor(region="global", server_id="nope"), (400, "unknown Nomad server nope")),
        (AgentMonitor(region="nowhere", server_id="nope"), (400, "No path to region")),
        (AgentMonitor(region="nowhere", server_id="leader"), (400, "No cluster leader")),
    ):
        assert await monitor_refusal(one, request) == failure


async def test_the_log_of_another_server_is_passed_through() -> None:
    world, (first, second) = await region_of(None, None)
    request = AgentMonitor(region="global", level="debug", plain=True, server_id="s2.global")
    async with first.agent.monitor(request) as pieces:
        heard = [await anext(pieces), await anext(pieces)]
        assert second.services.log is not None
        second.services.log.lines.append(b"hello\n")
        while b"hello\n" not in heard:
            heard.append(await anext(pieces))
    assert set(heard) == {None, b"hello\n"}
    assert (second.services.log.level, first.services.log) == ("debug", None)
    (asked,) = world.requests
    assert (asked.server_id, asked.forwarded) == ("", True)


async def test_a_region_alone_does_not_move_the_log() -> None:
    _, (one,) = await region_of(None)
    async with one.agent.monitor(AgentMonitor(region="nowhere")) as pieces:
        assert await anext(pieces) == b"{}"


async def test_a_server_that_is_gone_is_why_there_is_no_log() -> None:
    world, (first, second) = await region_of(None, None)
    world.kill(second)
    request = AgentMonitor(region="global", server_id="s2.global")
    assert await monitor_refusal(first, request) == (
        500,
        "rpc error: failed to get conn: dial tcp 127.0.61.2:4647: connect: connection refused",
    )


async def test_a_client_has_no_log_to_offer_yet() -> None:
    one = AgentWorld().start(client("127.0.61.1"))
    with pytest.raises(OperationError, match="Invalid method"):
        one.agent.monitor(AgentMonitor())


async def test_without_rpc_nothing_is_forwarded() -> None:
    _, (first, _) = await region_of(FakeRaft(leader=S2), None)
    first.services.remote = None
    words = "rpc error: this agent cannot forward requests to other agents"
    assert await refusal(first, StatusLeader()) == words
    request = AgentMonitor(region="global", server_id="s2.global")
    assert await monitor_refusal(first, request) == (500, words)
    one = AgentWorld().start(client("127.0.61.1"))
    one.services.remote = None
    assert await refusal(one, StatusLeader()) == words


async def test_a_server_that_lost_the_lead_does_not_ask_itself() -> None:
    raft = FakeRaft.alone(S1)
    raft.leads = False
    world, (one,) = await region_of(raft)
    assert await refusal(one, StatusLeader()) == "No cluster leader"
    assert not world.calls
