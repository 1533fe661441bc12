"""The table of methods: what it takes, what it refuses, and that both ends read what they write."""

from __future__ import annotations

from typing import Any

import msgpack  # type: ignore[import-untyped]
import pytest
from hypothesis import given
from hypothesis import strategies as st

from swimnomad.errors import MalformedMessage
from swimnomad.names import Address
from swimnomad.nomad.config import AgentConfig
from swimnomad.nomad.requests import (
    AgentHost,
    AgentMonitor,
    AgentProfile,
    DiskUse,
    Done,
    Host,
    HostData,
    Members,
    NodeConnection,
    Profile,
    RaftStats,
    Request,
    StatusHasNodeConn,
    StatusLeader,
    StatusPing,
    Version,
)
from swimnomad.rpc import schemas
from swimnomad.rpc.failures import BadArguments, RpcFailed, UnknownMethod
from swimnomad.rpc.methods import BY_NAME, METHODS, AgentMethods
from swimnomad.rpc.service import RpcService
from swimnomad.serf.events import Member, Status
from tests.agent_world import PEER, AgentWorld, FakeRaft
from tests.http.http_support import server

NOBODY = "00000000-1111-2222-3333-444444444444"


def methods_of(config: AgentConfig | None = None) -> AgentMethods:
    """The methods of a server that leads its region."""
    raft = FakeRaft.alone(Address("127.0.61.1", 4647))
    return AgentMethods(AgentWorld().start(config or server(1), raft).agent)


def packed(value: object) -> bytes:
    data = msgpack.packb(value, use_bin_type=False)
    assert isinstance(data, bytes)
    return data


async def call(method: str, arguments: object, methods: AgentMethods | None = None) -> object:
    """The reply to a call, unpacked."""
    body = await (methods or methods_of()).answer(method, packed(arguments), PEER)
    return msgpack.unpackb(body)


def test_they_are_what_the_port_serves() -> None:
    service: RpcService = methods_of()
    assert service.streaming("Agent.Monitor") is not None
    assert service.streaming("Status.Ping") is None


async def test_every_method_is_answered() -> None:
    assert await call("Status.Ping", {}) == {}
    assert await call("Status.Ping", None) == {}
    assert await call("Status.Leader", {}) == "127.0.61.1:4647"
    assert await call("Status.Peers", {"Region": "global"}) == ["127.0.61.1:4647"]
    assert await call("Region.List", {}) == ["global"]
    assert await call("Status.RaftStats", {}) == {
        "LastContact": "0",
        "LastIndex": 21,
        "LastTerm": 2,
    }
    assert await call("Status.Version", {"Region": "global"}) == {
        "Build": "1.0.4",
        "Index": 0,
        "KnownLeader": False,
        "LastContact": 0,
        "Versions": {"protocol": 1, "api.major": 1, "api.minor": 1},
    }


@pytest.mark.parametrize(
    ("method", "words"),
    [
        ("Nope.Nope", "rpc: can't find service Nope.Nope"),
        ("status.ping", "rpc: can't find service status.ping"),
        ("Status.Nope", "rpc: can't find method Status.Nope"),
        ("Agent.Monitor", "rpc: can't find method Agent.Monitor"),
        ("garbage", "rpc: service/method request ill-formed: garbage"),
        ("", "rpc: service/method request ill-formed: "),
    ],
)
async def test_unknown_methods_end_the_conversation(method: str, words: str) -> None:
    """agent N23"""
    with pytest.raises(UnknownMethod) as caught:
        await call(method, {})
    assert str(caught.value) == words


@pytest.mark.parametrize("arguments", ["global", 7, True, 1.5])
@pytest.mark.parametrize("method", ["Status.Leader", "Status.Ping"])
async def test_arguments_that_are_no_record_end_the_conversation(
    method: str, arguments: object
) -> None:
    with pytest.raises(BadArguments) as caught:
        await call(method, arguments)
    assert str(caught.value) == (
        "msgpack decode error [pos 1]: only encoded map or array can be decoded into a struct"
    )


async def test_fields_of_the_wrong_type_are_bad_arguments() -> None:
    with pytest.raises(BadArguments, match=r"^msgpack decode error \[pos 1\]: expected text$"):
        await call("Status.Leader", {"Region": 7})


async def test_arguments_are_read_leniently() -> None:
    leader = "127.0.61.1:4647"
    assert await call("Status.Leader", ["global"]) == leader
    assert await call("Status.Leader", {"Region": "global", "Nope": [1, {"a": 2}]}) == leader
    assert await call("Status.Leader", {"region": "nowhere"}) == leader
    assert await call("Status.Leader", {"AllowStale": 1, "Region": None}) == leader
    # An envelope that is not flat is not seen.
    nested = {"QueryOptions": {"Region": "global"}}
    with pytest.raises(RpcFailed, match=r"^missing region for target RPC$"):
        await call("Status.Version", nested)


async def test_refusals_leave_the_conversation_usable() -> None:
    with pytest.raises(RpcFailed) as caught:
        await call("Agent.Host", {"Region": "global"})
    assert type(caught.value) is RpcFailed
    assert not caught.value.ends_conversation
    assert str(caught.value) == "Permission denied"


async def test_a_time_that_never_was_is_written_as_go_does() -> None:
    arguments = packed({"NodeID": NOBODY})
    body = await methods_of().answer("Status.HasNodeConn", arguments, PEER)
    assert bytes.fromhex("af01000000000000000000000000ffff") in body


MEMBER = Member(
    "s1.global",
    bytes([127, 0, 0, 11]),
    4648,
    {"dc": "dc1"},
    Status.FAILED,
    bytes([1, 5, 2, 2, 5, 4]),
)
HOST = HostData("Linux", ({"type": "IPv4"},), "", "", {"A": "b"}, {"/": DiskUse(400, 2)})
REPLIES: list[tuple[Any, Any]] = [
    (schemas.DONE, Done()),
    (schemas.ADDRESS, "127.0.0.1:4647"),
    (schemas.NAMES, ()),
    (schemas.NAMES, ("eu", "global")),
    (schemas.VERSION, Version("1.0.4", {"protocol": 1})),
    (schemas.MEMBERS, Members("s1", "global", "dc1", (MEMBER, MEMBER))),
    (schemas.RAFT_STATS, RaftStats("never", 1 << 63, 2)),
    (schemas.NODE_CONNECTION, NodeConnection(False)),
    (schemas.NODE_CONNECTION, NodeConnection(True, 1_700_000_000.5)),
    (schemas.HOST, Host("s1.global", HOST)),
    (schemas.PROFILE, Profile("s1.global", b"\0\xff", {"Content-Type": "text/plain"})),
    (schemas.PROFILE, Profile("c1", None, {})),
]


@pytest.mark.parametrize(("codec", "reply"), REPLIES)
def test_replies_are_read_as_they_were_written(codec: schemas.Codec[Any], reply: object) -> None:
    assert codec.decode_untrusted(codec.encode(reply)) == reply


def test_nil_is_nothing_wherever_it_stands() -> None:
    assert schemas.NAMES.decode_untrusted(b"\xc0") == ()
    assert schemas.MEMBERS.decode_untrusted(b"\xc0") == Members("", "", "", ())
    found = schemas.MEMBERS.decode_untrusted(packed({"Members": [None]})).members
    assert found == (Member("", b"", 0, {}, Status.NONE, bytes(6)),)
    assert schemas.MEMBERS.encode(Members("", "", "", found)).count(b"\xa4Addr\xc0") == 1


REQUESTS: list[tuple[Any, Request[Any]]] = [
    (schemas.STATUS_PING, StatusPing()),
    (schemas.STATUS_LEADER, StatusLeader(region="eu", stale=True, wait=2.5, min_index=7)),
    (schemas.STATUS_HAS_NODE_CONN, StatusHasNodeConn(node_id=NOBODY, secret_id="x")),
    (schemas.AGENT_HOST, AgentHost(server_id="leader", token="t", forwarded=True)),
    (schemas.AGENT_PROFILE, AgentProfile(kind="cpu", seconds=-1, debug=2, gc=300)),
    (schemas.AGENT_MONITOR, AgentMonitor(level="debug", json=True, plain=True, prefix="p")),
]


@pytest.mark.parametrize(("codec", "request_"), REQUESTS)
def test_requests_are_read_as_they_were_written(
    codec: schemas.Codec[Any], request_: Request[Any]
) -> None:
    assert codec.decode_untrusted(codec.encode(request_)) == request_


def test_every_kind_of_request_has_a_method_of_its_own() -> None:
    assert len(BY_NAME) == len(METHODS)
    for kind, method in METHODS.items():
        assert method.name.replace(".", "") == kind.__name__
        assert type(method.arguments.decode_untrusted(b"\xc0")) is kind


ANYTHING = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats()
    | st.binary(max_size=40),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(
                ["Region", "AllowStale", "NodeID", "Members", "Addr", "Tags", "HostData"]
            ),
            inner,
            max_size=4,
        )
    ),
    max_leaves=20,
)
CODECS = [codec for method in METHODS.values() for codec in method[1:]] + [schemas.AGENT_MONITOR]


@given(data=ANYTHING.map(packed) | st.binary(max_size=60), codec=st.sampled_from(CODECS))
def test_whatever_comes_is_read_or_refused(data: bytes, codec: schemas.Codec[Any]) -> None:
    try:
        value = codec.decode_untrusted(data)
    except MalformedMessage:
        return
    again = codec.encode(value)
    assert codec.encode(codec.decode_untrusted(again)) == again
