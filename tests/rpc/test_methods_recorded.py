"""The calls of real agents and tools, recorded, played against our methods.

The answers must mean the same: same fields, same values but for names, addresses and what lies in
the nature of another implementation. Servers whose recorded answer needs a leader have one here.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

import msgspec
import pytest
import trio

from swimnomad.names import Address
from swimnomad.nomad.config import AgentConfig, ServerConfig
from swimnomad.nomad.consensus import RaftPeer
from swimnomad.nomad.replicated import Replicated
from swimnomad.nomad.requests import RaftStats
from swimnomad.nomad.state.commands import RegisterNode, SetAutopilot, SetNodeStatus
from swimnomad.nomad.state.records import AutopilotConfig, computed_class
from swimnomad.nomad.state.store import StateStore
from swimnomad.rpc.failures import RpcFailed
from swimnomad.rpc.methods import BY_NAME, AgentMethods
from tests.agent_world import PEER, AgentWorld, FakeRaft
from tests.http.http_support import QUICK
from tests.nomad.consensus_fakes import LoneRaft, WatchedState, apply, replicated
from tests.vectors.rpc_vectors import bare, is_from_client, plain, take, take_all

VECTORS: list[dict[str, Any]] = json.loads(
    (Path(__file__).parent.parent / "vectors" / "nomad-rpc.json").read_text()
)
S2 = Address("127.0.61.2", 4647)
SERVERS = ("s1", "s2", "s3", "s-leader", "s-follower", "g1", "e1", "a1", "d1", "nl1")
"""Recorded servers that are played here; the others need TLS, Raft or a client's node."""

PLAYED_AT = {"agents/Status.Peers": "nl1"}
"""Calls that were recorded before the server had a leader, and who is in that state here."""

NOT_RECORDED = {
    "ACL.DeletePolicies",
    "ACL.DeleteTokens",
    "ACL.GetPolicy",
    "ACL.GetToken",
    "ACL.ListPolicies",
    "ACL.ListTokens",
    "ACL.UpsertPolicies",
    "ACL.UpsertTokens",
    "Node.Deregister",
    "Operator.AutopilotSetConfiguration",
    "Operator.RaftRemovePeerByID",
    "Operator.TransferLeadershipToPeer",
}
"""Methods that are not among the recorded calls at these servers."""

NO_ACLS = "this version has no access control"
NO_NODES = "no node registers with this version"
DIFFERENT = {
    "agents/Status.Members error": NO_ACLS,
    "agents/Status.Members error #2": NO_ACLS,
    "agents/Status.Members error #3": NO_ACLS,
    "agents/Agent.Profile error #3": NO_ACLS,
    "client-ours/Status.Members token none": NO_ACLS,
    "client-ours/Status.Members token unknown": NO_ACLS,
    "client-ours/Agent.Profile token none": NO_ACLS,
    "client-ours/streaming permission denied": NO_ACLS,
    "client-ours/streaming unknown token": NO_ACLS,
    "agents/Agent.Host error": NO_NODES,
}
"""Recorded exchanges whose answer is another one here, and why."""


def config_of(node: str, host: str, region: str = "global", *, debug: bool = False) -> AgentConfig:
    expect = 3 if node.startswith("s") else 1
    return AgentConfig(
        name=node,
        region=region,
        bind_addr=host,
        enable_debug=debug,
        server=ServerConfig(enabled=True, bootstrap_expect=expect),
        gossip=QUICK,
    )


async def servers() -> dict[str, AgentMethods]:
    """The recorded servers by name, in their pools."""
    voters = tuple(Address(f"127.0.61.{number}", 4647) for number in (3, 2, 1))
    follower = FakeRaft(leader=S2, voters=voters, raft_stats=_stats("10.869087ms"))
    leading = FakeRaft(leads=True, leader=S2, voters=voters)
    pools: list[list[tuple[AgentConfig, FakeRaft | None]]] = [
        [
            (config_of("s1", "127.0.61.1"), follower),
            (config_of("s2", "127.0.61.2"), leading),
            (config_of("s3", "127.0.61.3"), follower),
        ],
        [
            (config_of("g1", "127.0.62.1"), FakeRaft.alone(Address("127.0.62.1", 4647))),
            (config_of("e1", "127.0.62.2", "eu"), FakeRaft.alone(Address("127.0.62.2", 4647))),
        ],
        [(config_of("a1", "127.0.63.1", debug=True), FakeRaft.alone(Address("127.0.63.1", 4647)))],
        [(config_of("d1", "127.0.64.1", debug=True), FakeRaft.alone(Address("127.0.64.1", 4647)))],
        [(config_of("nl1", "127.0.68.1"), None)],
    ]
    found: dict[str, AgentMethods] = {}
    for pool in pools:
        world = AgentWorld()
        agents = []
        for config, raft in pool:
            if raft is None:
                agents.append(world.start(config, raft))
                continue
            kept = replicated_at(config.name, raft)
            agents.append(world.start(config, raft, kept))
            assert isinstance(kept.watch, WatchedState)
            kept.watch.sleep = agents[-1].services.sleep
        await world.join(*agents)
        found |= {agent.agent.config.name: AgentMethods(agent.agent) for agent in agents}
    return found | {"s-leader": found["s2"], "s-follower": found["s1"]}


def arguments_of(name: str) -> bytes:
    """What somebody asked in a recorded call."""
    vector = next(vector for vector in VECTORS if vector["name"] == name)
    data = bare(vector["messages"][0])[1]
    return data[take(data)[1] :]


NODES = {"global": "agents/Node.Register", "eu": "agents/Node.Register region eu"}
"""The registrations of the recorded nodes, by region."""


def recorded_state(region: str) -> StateStore:
    """The state of the recorded servers of a region, as their indexes tell of it."""
    state = StateStore()
    request = BY_NAME["Node.Register"].arguments.decode_untrusted(arguments_of(NODES[region]))
    node = msgspec.structs.replace(request.node, computed_class=computed_class(request.node))
    apply(state, SetAutopilot(AutopilotConfig(), initial=True), 4)
    apply(state, RegisterNode(node), 7)
    apply(state, SetNodeStatus(node.id, "ready", 1_795_426_203), 8)
    registered = msgspec.structs.replace(node, status="ready", status_updated_at=1_795_426_208)
    apply(state, RegisterNode(registered), 9)
    return state


def replicated_at(name: str, raft: FakeRaft) -> Replicated:
    """The replicated state of a recorded server."""
    state = recorded_state("eu" if name == "e1" else "global")
    peers = tuple(RaftPeer(str(address), address) for address in raft.voters)
    lone = LoneRaft(state, leads=raft.leads, leader=raft.leader, configuration=peers)
    services = WatchedState(state, never)
    return replicated(lone, services, acl_enabled=name == "a1")


async def never(seconds: float) -> None:
    """As much time as one likes, and nothing changes."""
    await trio.lowlevel.checkpoint()


def _stats(contact: str) -> RaftStats:
    return RaftStats(contact, 21, 2)


class Recorded(NamedTuple):
    """One recorded call: at which server, its method and arguments, the error and the reply."""

    name: str
    server: str
    method: str
    arguments: bytes
    error: str
    reply: object


def recorded_calls() -> Iterator[Recorded]:
    """Every recorded call whose method exists here, or whose answer is that it does not exist."""
    for vector in VECTORS:
        name, server = vector["name"], vector.get("server")
        messages = vector.get("messages") or []
        if server not in SERVERS or len(messages) != 2 or "frames" in messages[0]:
            continue
        if not is_from_client(messages[0]):
            continue
        kind, data = bare(messages[0])
        response: Any = plain(messages[1]["decoded"])
        if kind not in ("", "0x01") or not messages[0]["decoded"] or len(response) != 2:
            continue
        header, end = take(data)
        if not isinstance(header, dict) or b"ServiceMethod" not in header:
            continue
        method, error = header[b"ServiceMethod"].decode(), response[0][b"Error"].decode()
        if method in BY_NAME or "can't find" in error or "ill-formed" in error:
            server = PLAYED_AT.get(name, server)
            yield Recorded(name, server, method, data[end:], error, response[1])


CALLS = list(recorded_calls())


def test_enough_is_recorded() -> None:
    assert len(CALLS) >= 60
    assert {call.method for call in CALLS} & set(BY_NAME) == set(BY_NAME) - NOT_RECORDED
    names = {call.name for call in CALLS} | {stream.name for stream in STREAMS}
    assert set(DIFFERENT) <= names


@pytest.mark.parametrize("call", CALLS, ids=lambda call: call.name)
async def test_the_answer_means_the_same(call: Recorded) -> None:
    known = await servers()
    error, reply = "", None
    try:
        reply = take(await known[call.server].answer(call.method, call.arguments, PEER))[0]
    except RpcFailed as failure:
        error = str(failure)
    is_same = at_any_position(error) == at_any_position(call.error)
    if call.name in DIFFERENT:
        assert not is_same, DIFFERENT[call.name]
        return
    assert is_same, f"{error!r} and not {call.error!r}"
    if not error:
        assert comparable(call.method, reply) == comparable(call.method, call.reply)


def at_any_position(text: str) -> str:
    return re.sub(r"\[pos \d+\]", "[pos]", text)


def comparable(method: str, body: Any) -> object:  # noqa: ANN401  # as it comes
    """A reply without what is another one in another cluster."""
    change = _COMPARABLE.get(method)
    return change(body) if change else body


def _members(body: dict[bytes, Any]) -> object:
    members = sorted(body[b"Members"], key=lambda member: member[b"Name"])
    tags = [{**member[b"Tags"], b"id": b""} for member in members]
    shown = [{**member, b"Tags": each} for member, each in zip(members, tags, strict=True)]
    return {**body, b"Members": shown}


def _profile(body: dict[bytes, Any]) -> object:
    assert b"\0" in body[b"Payload"]
    return {**body, b"Payload": b""}


def _host(body: dict[bytes, Any]) -> object:
    data = dict(body[b"HostData"])
    interface = next(each for each in data[b"Network"] if each[b"address"] == b"127.0.0.1")
    assert set(data[b"Disk"][b"/"]) == {b"DiskMB", b"UsedMB"}
    assert data[b"Environment"][b"VAULT_TOKEN"] == b"<redacted>"
    return body[b"AgentID"], sorted(data), interface


_UTC = b"\xff\xff"


def _in_utc(time: bytes) -> bytes:
    """A time without its zone: real servers write that of the machine."""
    return time[:-2] + _UTC


def _node(body: dict[bytes, Any]) -> object:
    """A reply with a node: times differ, and the class is a digest of our own."""
    node = body[b"Node"]
    if node is None:
        return body
    assert node[b"ComputedClass"].startswith(b"v1:")
    events = [{**event, b"Timestamp": _in_utc(event[b"Timestamp"])} for event in node[b"Events"]]
    del events[0][b"Timestamp"]  # of the first registration, which is recorded elsewhere
    other = {b"ComputedClass": b"", b"Events": events, b"StatusUpdatedAt": 0}
    return {**body, b"Node": {**node, **other}}


def _update(body: dict[bytes, Any]) -> object:
    """A reply to a registration or heartbeat: TTLs are drawn, logs differ in length."""
    assert 10e9 <= body[b"HeartbeatTTL"] <= 20e9
    assert body[b"Index"] == body[b"NodeModifyIndex"]
    servers = sorted(body[b"Servers"], key=lambda server: server[b"RPCAdvertiseAddr"])
    other = {b"HeartbeatTTL": 0, b"Index": 0, b"NodeModifyIndex": 0, b"Servers": servers}
    return {**body, **other}


def _without_index(body: dict[bytes, Any]) -> object:
    assert body[b"Index"] >= 1
    return {**body, b"Index": 0}


def _bootstrap(body: dict[bytes, Any]) -> object:
    (token,) = body[b"Tokens"]
    assert token[b"CreateIndex"] == token[b"ModifyIndex"] == body[b"Index"]
    assert len(token[b"AccessorID"]) == len(token[b"SecretID"]) == 36
    drawn = (b"AccessorID", b"SecretID", b"CreateIndex", b"ModifyIndex", b"CreateTime")
    return {key: value for key, value in token.items() if key not in drawn}


def _allocs(body: dict[bytes, Any]) -> object:
    # Some were recorded before there was a leader.
    return {**body, b"KnownLeader": True, b"LastContact": 0}


_COMPARABLE: dict[str, Callable[[Any], object]] = {
    "Status.Members": _members,
    "Status.Peers": sorted,
    "Status.HasNodeConn": sorted,  # the names of the fields: no node is connected here
    "Agent.Profile": _profile,
    "Agent.Host": _host,
    "Node.GetNode": _node,
    "Node.Register": _update,
    "Node.UpdateStatus": _update,
    "Node.GetClientAllocs": _allocs,
    "ACL.Bootstrap": _bootstrap,
    "ACL.GetPolicies": _without_index,
    "ACL.ResolveToken": _without_index,
}


BY_AGENTS = [call for call in CALLS if call.name.startswith("agents/") and call.method in BY_NAME]


@pytest.mark.parametrize("call", BY_AGENTS, ids=lambda call: call.name)
def test_what_real_agents_wrote_is_written_back(call: Recorded) -> None:
    method = BY_NAME[call.method]
    assert method.arguments.encode(method.arguments.decode_untrusted(call.arguments)) == (
        call.arguments
    )


class RecordedStream(NamedTuple):
    """One recorded streaming call: what was sent, and the wrappers that came."""

    name: str
    server: str
    sent: bytes
    wrappers: list[Any]


def recorded_streams() -> Iterator[RecordedStream]:
    """Every recorded streaming call, but for those inside other things."""
    for vector in VECTORS:
        messages = vector.get("messages") or []
        if vector.get("server") not in SERVERS or not messages or "frames" in messages[0]:
            continue
        if bare(messages[0])[0] != "0x05" or not vector["name"].startswith("client-ours/"):
            continue
        sent = b"".join(bare(each)[1] for each in messages if is_from_client(each))
        got = b"".join(bare(each)[1] for each in messages if not is_from_client(each))
        yield RecordedStream(vector["name"], vector["server"], sent, take_all(got)[1:])


STREAMS = list(recorded_streams())


@pytest.mark.parametrize("stream", STREAMS, ids=lambda stream: stream.name)
async def test_streams_mean_the_same(stream: RecordedStream) -> None:
    asked, begin = take(stream.sent)
    assert isinstance(asked, dict)
    handler = (await servers())[stream.server].streaming(asked[b"Method"].decode())
    if not stream.sent[begin:]:  # the method was refused
        assert handler is None
        return
    assert handler is not None
    writer = Recorder(len(stream.wrappers))
    with suppress(Enough):
        await handler(stream.sent[begin:], writer, PEER)
    if stream.name in DIFFERENT:
        assert writer.wrappers != stream.wrappers, DIFFERENT[stream.name]
    else:
        assert writer.wrappers == stream.wrappers


class Enough(Exception):
    """As much was sent as was recorded."""


class Recorder:
    """A `StreamWriter` that keeps what it is given, up to a number of wrappers."""

    def __init__(self, limit: int) -> None:
        self.wrappers: list[dict[bytes, object]] = []
        self._limit = limit

    async def send(self, payload: bytes | None) -> None:
        self.wrappers.append({b"Error": None, b"Payload": payload})
        if len(self.wrappers) == self._limit:
            raise Enough

    async def fail(self, code: int | None, message: str) -> None:
        error = {b"Code": code, b"Message": message.encode()}
        self.wrappers.append({b"Error": error, b"Payload": None})
