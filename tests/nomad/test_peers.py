"""Which members are Nomad servers, and the tables that are kept of them."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from swimnomad.names import Address
from swimnomad.nomad.filter import ServersOnly
from swimnomad.nomad.peers import NonServerSeen, ServerAdded, ServerRemoved, ServerTables
from swimnomad.nomad.tags import parse_server
from swimnomad.serf.events import (
    Member,
    MemberFailed,
    MemberJoined,
    MemberLeft,
    MemberReaped,
    MemberUpdated,
    Status,
)

TAGS = {
    "role": "nomad",
    "region": "aws",
    "dc": "east-aws",
    "port": "10000",
    "vsn": "1",
    "build": "0.7.0+ent",
    "rpc_addr": "1.1.1.1",
    "raft_vsn": "2",
    "nonvoter": "1",
}


def member(
    tags: Mapping[str, str] = TAGS, name: str = "s1.aws", ip: bytes = b"\x7f\0\0\1"
) -> Member:
    return Member(name, ip, 4648, tags, Status.ALIVE, bytes((1, 5, 2, 2, 5, 4)))


def test_a_server_is_read_from_its_tags() -> None:
    """agent P10"""
    server = parse_server(member())
    assert server is not None
    assert server.address == Address("127.0.0.1", 10_000)
    assert server.rpc_address == Address("1.1.1.1", 10_000)
    assert (server.region, server.datacenter, server.id) == ("aws", "east-aws", "unknown")
    assert (server.expect, server.is_bootstrap, server.is_nonvoter) == (0, False, True)
    assert (server.major_version, server.minor_version, server.raft_version) == (1, 0, 2)


@pytest.mark.parametrize("key", ["port", "vsn", "build", "role"])
def test_a_member_without_a_required_tag_is_no_server(key: str) -> None:
    """agent P11"""
    assert parse_server(member({k: v for k, v in TAGS.items() if k != key})) is None


@pytest.mark.parametrize(
    "wrong",
    [
        {"role": "consul"},
        {"port": "x"},
        {"port": "\uff11"},
        {"vsn": "1.0"},
        {"expect": "three"},
        {"expect": ""},
        {"raft_vsn": "99999999999999999999"},
        {"build": "one"},
        {"build": "1..0"},
    ],
)
def test_a_member_with_a_wrong_tag_is_no_server(wrong: dict[str, str]) -> None:
    """agent P11"""
    assert parse_server(member({**TAGS, **wrong})) is None


@pytest.mark.parametrize("build", ["1.0.4", "0.8.0-dev", "v1.2", "1.0.0-beta.1+ent", "2"])
def test_builds_are_versions_in_all_their_forms(build: str) -> None:
    assert parse_server(member({**TAGS, "build": build})) is not None


def test_tags_that_may_be_wrong_fall_back() -> None:
    server = parse_server(member({**TAGS, "mvn": "x", "rpc_addr": "nonsense", "bootstrap": ""}))
    assert server is not None
    assert server.minor_version == 0
    assert server.rpc_address == Address("127.0.0.1", 10_000)
    assert server.is_bootstrap


@settings(deadline=None)
@given(
    st.dictionaries(st.sampled_from([*TAGS, "expect", "mvn", "id"]), st.text(max_size=30)),
    st.binary(max_size=17),
)
def test_no_tags_of_a_peer_raise(tags: dict[str, str], ip: bytes) -> None:
    parse_server(member({**TAGS, **tags}, ip=ip))


def test_one_stranger_is_enough_to_refuse_a_pool() -> None:
    """agent F10"""
    stranger = member({"role": "web"}, name="web-1")
    assert ServersOnly().refuse([member()]) == ""
    assert ServersOnly().refuse([member(), stranger]) == "member 'web-1' is not a server"


def test_servers_stand_under_their_region_until_they_leave_or_fail() -> None:
    """agent P01, agent P02"""
    tables = ServerTables("aws")
    near, far = member(), member({**TAGS, "region": "gcp"}, "s2.gcp", b"\x7f\0\0\2")
    assert isinstance(tables.apply(MemberJoined(near)), ServerAdded)
    assert isinstance(tables.apply(MemberJoined(far)), ServerAdded)
    assert tables.regions == ["aws", "gcp"]
    assert list(tables.local_peers) == [Address("127.0.0.1", 10_000)]
    assert isinstance(tables.apply(MemberLeft(far)), ServerRemoved)
    assert tables.regions == ["aws"]
    assert isinstance(tables.apply(MemberFailed(near)), ServerRemoved)
    assert (tables.regions, dict(tables.local_peers)) == ([], {})


def test_a_server_that_comes_back_elsewhere_replaces_its_entry() -> None:
    """agent P22"""
    tables = ServerTables("aws")
    tables.apply(MemberJoined(member()))
    tables.apply(MemberJoined(member(ip=b"\x7f\0\0\x09")))
    assert list(tables.local_peers) == [Address("127.0.0.9", 10_000)]
    assert len(tables.peers["aws"]) == 1


def test_a_server_that_changes_its_region_leaves_the_old_one() -> None:
    tables = ServerTables("aws")
    tables.apply(MemberJoined(member()))
    tables.apply(MemberJoined(member({**TAGS, "region": "gcp"})))
    assert tables.regions == ["gcp"]
    assert dict(tables.local_peers) == {}


def test_strangers_updates_and_reaping_change_no_table() -> None:
    tables = ServerTables("aws")
    stranger = member({"role": "web"}, name="web-1")
    assert tables.apply(MemberJoined(stranger)) == NonServerSeen("web-1")
    assert tables.apply(MemberFailed(stranger)) is None
    tables.apply(MemberJoined(member()))
    updated = msgspec.structs.replace(member(), tags={**TAGS, "dc": "elsewhere"})
    assert tables.apply(MemberUpdated(updated)) is None
    assert tables.apply(MemberReaped(member())) is None
    assert tables.peers["aws"]["s1.aws"].datacenter == "east-aws"
