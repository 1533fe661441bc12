"""The MessagePack dialect of the RPC port: Go's integers, times and nested records."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import msgpack  # type: ignore[import-untyped]  # the package ships no types
import pytest

from swimnomad.errors import MalformedMessage
from swimnomad.wire.dialect import BOOL, BYTES, TEXT, U16, U64, Field, Kind, load_untrusted, pack
from swimnomad.wire.go_dialect import (
    ANY,
    ANY_DEPTH_MAX,
    DURATION,
    INT,
    NO_TIME,
    TIME,
    UNIX_EPOCH,
    GoTime,
    Record,
    Signed,
    list_of,
    map_of,
    optional,
    pack_any,
    pack_signed,
)


class Member(NamedTuple):
    name: str = ""
    port: int = 0
    tags: Mapping[str, str] | None = None


class Reply(NamedTuple):
    members: tuple[Member, ...] | None = None
    leader: Member | None = None
    nodes: int = 0
    modified: int = 0
    contact: float = 0.0
    at: GoTime = NO_TIME
    extra: object = None
    note: str = ""


MEMBER = Record(
    Member,
    "Name Port Tags",
    Field("Name", "name", TEXT),
    Field("Port", "port", U16),
    Field("Tags", "tags", map_of(TEXT)),
)
REPLY = Record(
    Reply,
    "Members Leader NumNodes Index LastContact At Extra Note",
    Field("Members", "members", list_of(MEMBER.nested)),
    Field("Leader", "leader", MEMBER.nullable),
    Field("NumNodes", "nodes", INT),
    Field("Index", "modified", U64),
    Field("LastContact", "contact", DURATION),
    Field("At", "at", TIME),
    Field("Extra", "extra", ANY),
    Field("Note", "note", TEXT, omit_empty=True),
)


def read(kind: Kind, data: bytes) -> Any:  # noqa: ANN401  # whatever the kind gives
    return kind.read(load_untrusted(data))


@pytest.mark.parametrize(
    ("number", "written"),
    [
        (0, "00"),
        (127, "7f"),
        (128, "d10080"),
        (400, "d10190"),
        (32_767, "d17fff"),
        (32_768, "d200008000"),
        (2**31 - 1, "d27fffffff"),
        (2**31, "d30000000080000000"),
        (15_000_000_000, "d3000000037e11d600"),
        (2**63 - 1, "d37fffffffffffffff"),
        (-1, "ff"),
        (-32, "e0"),
        (-33, "d0df"),
        (-200, "d1ff38"),
        (-(2**63), "d38000000000000000"),
    ],
)
def test_signed_integers_keep_their_sign_bit(number: int, written: str) -> None:
    assert pack_signed(number).hex() == written
    assert pack_any(Signed(number)).hex() == written
    assert read(INT, bytes.fromhex(written)) == number
    assert read(INT, pack(number)) == number  # any width and form that fits


def test_unsigned_ones_do_not() -> None:
    assert pack(400).hex() == "cd0190"
    assert pack_any(400).hex() == "cd0190"


def test_integers_that_do_not_fit_are_refused() -> None:
    with pytest.raises(MalformedMessage, match="integer"):
        read(INT, pack(2**63))


def test_durations_are_nanoseconds() -> None:
    assert DURATION.pack is not None
    assert DURATION.pack(15.0).hex() == "d3000000037e11d600"
    assert read(DURATION, bytes.fromhex("d3000000037e11d600")) == 15.0
    assert read(DURATION, b"\xc0") == 0.0
    assert DURATION.pack(1e300) == pack_signed(2**63 - 1)
    assert read(DURATION, DURATION.pack(-0.5)) == -0.5


def test_times_are_fifteen_raw_bytes() -> None:
    assert TIME.pack is not None
    zero = bytes.fromhex("af01000000000000000000000000ffff")
    assert TIME.pack(NO_TIME) == zero
    assert read(TIME, zero) == NO_TIME
    assert NO_TIME.is_zero
    assert read(TIME, b"\xc0") == NO_TIME
    recorded = bytes.fromhex("af010000000ee295fe982481511b0000")
    time = read(TIME, recorded)
    assert time.offset == 0  # a zone of its own, other than UTC
    assert TIME.pack(time) == recorded
    epoch = GoTime.from_unix(0.0)
    assert epoch == GoTime(UNIX_EPOCH, 0)
    assert TIME.pack(epoch).hex() == "af010000000e7791f70000000000ffff"
    assert GoTime.from_unix(1.5).unix == 1.5
    assert GoTime.from_unix(-0.25).unix == -0.25


@pytest.mark.parametrize(
    "data",
    [
        pack(b"\x01" + bytes(13)),
        pack(b"\x02" + bytes(14)),
        pack(b"\x01" + bytes(8) + b"\xff\xff\xff\xff\xff\xff"),
        pack(7),
    ],
)
def test_other_times_are_refused(data: bytes) -> None:
    with pytest.raises(MalformedMessage):
        read(TIME, data)


def test_records_nest() -> None:
    reply = Reply(
        members=(Member("a", 4648, {"x": "1"}), Member("b")),
        leader=Member("a"),
        nodes=300,
        modified=300,
        contact=0.25,
        at=GoTime.from_unix(1e9),
        extra={"list": [1, 2.5, None, True, "text"]},
        note="n",
    )
    data = REPLY.encode(reply)
    assert REPLY.decode_untrusted(data) == reply
    keys = list(msgpack.unpackb(data, raw=True))
    assert keys == sorted(keys)
    assert pack("NumNodes") + bytes.fromhex("d1012c") in data
    assert pack("Index") + bytes.fromhex("cd012c") in data


def test_nil_and_empty_differ_and_empty_may_be_left_out() -> None:
    data = REPLY.encode(Reply())
    assert data[:1] == b"\x87"  # no Note
    assert pack("Members") + b"\xc0" in data
    assert pack("Leader") + b"\xc0" in data
    assert pack("Members") + b"\x90" in REPLY.encode(Reply(members=()))
    assert pack("Tags") + b"\x80" in MEMBER.encode(Member(tags={}))
    assert pack("Tags") + b"\xc0" in MEMBER.encode(Member())
    for reply in (Reply(), Reply(members=()), Reply(leader=Member(tags={}))):
        assert REPLY.decode_untrusted(REPLY.encode(reply)) == reply


def test_reading_is_lenient() -> None:
    assert REPLY.decode_untrusted(b"\xc0") == Reply()
    assert REPLY.decode_untrusted(b"\x80") == Reply()
    in_order = msgpack.packb([[["a", 1, None]], None, 5], use_bin_type=True)
    assert REPLY.decode_untrusted(in_order) == Reply((Member("a", 1),), nodes=5)
    with_bin = msgpack.packb({"Unknown": [{1: 2}], "Note": b"bin"}, use_bin_type=True)
    assert REPLY.decode_untrusted(with_bin) == Reply(note="bin")
    with_str8 = b"\x81\xd9\x04Note\xd9\x01x"
    assert REPLY.decode_untrusted(with_str8) == Reply(note="x")
    nil_inside = msgpack.packb({"Members": [None]})
    assert REPLY.decode_untrusted(nil_inside) == Reply((Member(),))


@pytest.mark.parametrize(
    "record",
    [
        {"Members": {"a": 1}},
        {"Members": [7]},
        {"Members": [{"Tags": [1]}]},
        {"Members": [{"Tags": {"a": 1}}]},
        {"Leader": "x"},
        {"LastContact": 1.5},
        {"Extra": msgpack.ExtType(5, b"x")},
    ],
)
def test_what_does_not_fit_is_refused(record: dict[str, object]) -> None:
    with pytest.raises(MalformedMessage):
        REPLY.decode_untrusted(msgpack.packb(record))


def test_values_of_any_type() -> None:
    value = {"a": [1, -5, 2.5, None, False, {"b": "c"}], "raw\udcff": "\udcfe"}
    assert read(ANY, pack_any(value)) == value
    assert pack_any((b"x", Signed(200))).hex() == "92a178d100c8"
    deep: object = None
    for _ in range(ANY_DEPTH_MAX):
        deep = [deep]
    assert read(ANY, pack_any(deep)) == deep
    with pytest.raises(MalformedMessage, match="levels"):
        read(ANY, pack_any([[deep]]))
    with pytest.raises(MalformedMessage):
        read(ANY, b"\x91" * 900 + b"\xc0")
    with pytest.raises(MalformedMessage):
        read(ANY, b"\x91" * 5000 + b"\xc0")


def test_pointers() -> None:
    for kind, value in ((INT, 400), (BYTES, b"x"), (BOOL, False), (list_of(TEXT), ("a",))):
        pointer = optional(kind)
        assert pointer.pack is not None
        assert read(pointer, pointer.pack(value)) == value
        assert pointer.pack(None) == b"\xc0"
        assert read(pointer, b"\xc0") is None


@pytest.mark.parametrize("count", [0, 15, 16, 31, 65_535, 65_536])
def test_long_lists_and_maps(count: int) -> None:
    entries = {str(number): number for number in range(count)}
    assert pack_any(entries) == pack(entries)
    assert pack_any(list(entries)) == pack(list(entries))
    kind = list_of(TEXT)
    assert kind.pack is not None
    assert read(kind, kind.pack(list(entries))) == tuple(entries)


def test_fields_of_the_gossip_dialect_fit_in() -> None:
    written = Kind(lambda value: value, lambda value: f"<{value}>".encode())
    schema = Record(Member, "Name Port Tags", *fields(written))
    assert schema.encode(Member("a")) == b"\x83" + pack("Name") + pack("<a>") + bytes.fromhex(
        "a4506f727400a454616773c0"
    )


def fields(name: Kind) -> tuple[Field, ...]:
    return (
        Field("Name", "name", name),
        Field("Port", "port", U16),
        Field("Tags", "tags", map_of(TEXT)),
    )
