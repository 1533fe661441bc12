"""The MessagePack dialect: what is written, what is taken, and what hostile input may not do."""

from __future__ import annotations

import math
import struct
from typing import Any, NamedTuple

import msgpack  # type: ignore[import-untyped]  # the package ships no types
import pytest

from swimnomad.errors import MalformedMessage
from swimnomad.wire import dialect
from swimnomad.wire.dialect import (
    BOOL,
    BYTES,
    FLOAT,
    I64,
    OBJECTS_MAX,
    TEXT,
    U8,
    U16,
    Field,
    Kind,
    Schema,
    list_of,
    load_untrusted,
    map_of,
    parse_partial_untrusted,
    parse_untrusted,
    scan_untrusted,
)


class Inner(NamedTuple):
    x: int


class Record(NamedTuple):
    flag: bool
    number: int
    ratio: float
    text: str
    data: bytes | None
    names: tuple[str, ...] | None
    counts: dict[str, int]
    inner: Inner
    maybe: Inner | None


INNER = Schema(Inner, "X", Field("X", "x", U8))
RECORD = Schema(
    Record,
    "Flag Number Ratio Text Data Names Counts Inner Maybe",
    Field("Flag", "flag", BOOL),
    Field("Number", "number", I64),
    Field("Ratio", "ratio", FLOAT),
    Field("Text", "text", TEXT),
    Field("Data", "data", BYTES),
    Field("Names", "names", list_of(TEXT)),
    Field("Counts", "counts", map_of(U16)),
    Field("Inner", "inner", INNER.nested),
    Field("Maybe", "maybe", INNER.nullable),
)
ZERO = Record(False, 0, 0.0, "", None, None, {}, Inner(0), None)
FULL = Record(True, -5, 1.5, "żółć", b"\x00\xff", ("a", "b"), {"n": 7}, Inner(1), Inner(2))


def one_field(kind: Kind) -> Schema[tuple[Any]]:
    """A record of the one field F."""
    return Schema(lambda value: (value,), "F", Field("F", "value", kind))


def field(body: bytes) -> bytes:
    """A record whose field F is `body`."""
    return b"\x81\xa1F" + body


def test_keys_are_written_in_ascending_byte_order() -> None:
    """gossip 3.1: LTime stands before LeftMembers."""
    schema = Schema(
        lambda *values: values,
        "LeftMembers LTime",
        Field("LeftMembers", "imag", FLOAT),
        Field("LTime", "real", FLOAT),
    )
    keys = list(msgpack.unpackb(schema.encode(1 + 2j), raw=False))  # type: ignore[arg-type]  # any object with the attributes
    assert keys == ["LTime", "LeftMembers"]


@pytest.mark.parametrize("record", [ZERO, FULL], ids=["zero", "full"])
def test_a_record_with_every_kind_of_field_survives_the_round_trip(record: Record) -> None:
    assert RECORD.decode_untrusted(RECORD.encode(record)) == record


def test_nil_for_any_field_is_its_zero_value() -> None:
    body = dict.fromkeys(RECORD.to_map(FULL))
    assert RECORD.decode_untrusted(msgpack.packb(body)) == ZERO
    assert RECORD.decode_untrusted(b"\x80") == ZERO
    assert RECORD.decode_untrusted(b"\xc0") == ZERO


def test_a_record_may_be_an_array_in_declaration_order() -> None:
    array = [True, -5, 1.5, "żółć", b"\x00\xff", ["a", "b"], {"n": 7}, [1], [2]]
    assert RECORD.decode_untrusted(msgpack.packb(array)) == FULL
    assert RECORD.decode_untrusted(b"\x90") == ZERO
    assert RECORD.decode_untrusted(msgpack.packb([*array, "more"])) == FULL


@pytest.mark.parametrize(
    "body", [b"\x05", b"\xa1a", b"\xc3", b"\xcb" + bytes(8), b"\xd4\x01a"], ids=bytes.hex
)
def test_nothing_else_is_a_record(body: bytes) -> None:
    with pytest.raises(MalformedMessage, match="expected a record"):
        RECORD.decode_untrusted(body)


@pytest.mark.parametrize(
    "number",
    [b"\x07", b"\xcc\x07", b"\xcd\0\x07", b"\xce\0\0\0\x07", b"\xcf" + b"\0" * 7 + b"\x07"],
)
def test_integers_may_have_any_width(number: bytes) -> None:
    assert one_field(U8).decode_untrusted(field(number)) == (7,)
    assert one_field(I64).decode_untrusted(field(number)) == (7,)


@pytest.mark.parametrize(
    "number", [b"\xd0\x07", b"\xd1\0\x07", b"\xd2\0\0\0\x07", b"\xd3" + b"\0" * 7 + b"\x07"]
)
def test_positive_integers_may_be_written_as_signed_ones(number: bytes) -> None:
    """gossip 3.3: codecs 1.1.5 and 2.x do."""
    assert one_field(U16).decode_untrusted(field(number)) == (7,)


@pytest.mark.parametrize("kind", [U8, U16, I64])
@pytest.mark.parametrize(
    "body",
    [b"\xcf" + b"\xff" * 8, b"\xcb" + bytes(8), b"\xa11", b"\xc3", b"\x90", b"\x80"],
    ids=["too large", "float", "text", "bool", "list", "map"],
)
def test_what_does_not_fit_an_integer_is_refused(kind: Kind, body: bytes) -> None:
    with pytest.raises(MalformedMessage, match="integer"):
        one_field(kind).decode_untrusted(field(body))


def test_booleans_may_be_zero_or_one() -> None:
    schema = one_field(BOOL)
    for body, expected in ((b"\x00", False), (b"\x01", True), (b"\xc2", False), (b"\xc3", True)):
        assert schema.decode_untrusted(field(body)) == (expected,)
    for body in (b"\x02", b"\xff", b"\xa0", b"\xcb\x3f\xf0" + bytes(6)):
        with pytest.raises(MalformedMessage, match="boolean"):
            schema.decode_untrusted(field(body))


def test_floats_may_be_short_or_integers() -> None:
    schema = one_field(FLOAT)
    assert schema.decode_untrusted(field(b"\xca" + struct.pack(">f", 0.5))) == (0.5,)
    assert schema.decode_untrusted(field(b"\x03")) == (3.0,)
    assert schema.decode_untrusted(field(b"\xcf" + b"\xff" * 8)) == (float(2**64 - 1),)
    assert math.isnan(schema.decode_untrusted(field(b"\xca\x7f\xc0\0\0"))[0])
    for body in (b"\xc3", b"\xa11", b"\x90"):
        with pytest.raises(MalformedMessage, match="number"):
            schema.decode_untrusted(field(body))


@pytest.mark.parametrize(
    "body",
    [
        b"\xa1a",
        b"\xd9\1a",
        b"\xda\0\1a",
        b"\xdb\0\0\0\1a",
        b"\xc4\1a",
        b"\xc5\0\1a",
        b"\xc6\0\0\0\1a",
    ],
)
def test_text_and_bytes_may_be_raw_str_or_bin(body: bytes) -> None:
    assert one_field(TEXT).decode_untrusted(field(body)) == ("a",)
    assert one_field(BYTES).decode_untrusted(field(body)) == (b"a",)


@pytest.mark.parametrize("body", [b"\x05", b"\xc3", b"\x91\x01", b"\x80", b"\xd4\x01a"])
def test_what_is_no_text_or_bytes_is_refused(body: bytes) -> None:
    with pytest.raises(MalformedMessage, match="text"):
        one_field(TEXT).decode_untrusted(field(body))
    with pytest.raises(MalformedMessage, match="bytes"):
        one_field(BYTES).decode_untrusted(field(body))


def test_lists_and_maps_are_refused_when_they_are_something_else() -> None:
    with pytest.raises(MalformedMessage, match="list"):
        one_field(list_of(TEXT)).decode_untrusted(field(b"\x80"))
    with pytest.raises(MalformedMessage, match="map"):
        one_field(map_of(TEXT)).decode_untrusted(field(b"\x90"))


def test_text_that_is_not_utf8_survives() -> None:
    schema = one_field(TEXT)
    (text,) = schema.decode_untrusted(field(b"\xa3\xff\x80a"))
    assert dialect.pack(text) == b"\xa3\xff\x80a"


def test_lists_of_records_are_written_as_maps() -> None:
    kind = list_of(INNER.nested)
    assert kind.write is not None
    assert kind.write((Inner(1), Inner(2))) == [{"X": 1}, {"X": 2}]
    assert kind.write(None) is None


# --- hostile or odd bytes -------------------------------------------------------------------------

SKIPPED = {
    "int key": b"\x81\x05\x06",
    "list as key": b"\x81\x91\x01\x02",
    "map as key": b"\x81\x80\x02",
    "nil as key": b"\x81\xc0\x02",
    "ext": b"\xc7\x03\x05abc",
    "ext 16": b"\xc8\x00\x03\x05abc",
    "ext 32": b"\xc9\x00\x00\x00\x03\x05abc",
    "fixext": b"\xd8\x01" + bytes(16),
    "broken timestamp": b"\xc7\x03\xffabc",
    "impossible timestamp": b"\xd7\xff" + b"\xff" * 8,
    "deep lists": b"\x91" * 5000 + b"\xc0",
    "deep maps": b"\x81\xa0" * 5000 + b"\xc0",
    "long list": b"\xdc\x08\x00" + b"\x80" * 2048,
    "map 16": b"\xde\x00\x01\xa1a\x01",
    "map 32": b"\xdf\x00\x00\x00\x01\xa1a\x01",
    "list 32": b"\xdd\x00\x00\x00\x01\x01",
}


@pytest.mark.parametrize("value", SKIPPED.values(), ids=SKIPPED)
def test_an_unknown_key_is_skipped_whatever_its_value(value: bytes) -> None:
    record = b"\x82\xa1Z" + value + b"\xa1X\x07"
    assert INNER.decode_untrusted(record) == Inner(7)
    assert INNER.decode_untrusted(record + b"trailing") == Inner(7)


@pytest.mark.parametrize(
    "key", [b"\x05", b"\xc0", b"\x91\x01", b"\x80", b"\xd4\x01a", b"\xcb" + bytes(8)]
)
def test_a_key_that_is_no_text_is_an_unknown_key(key: bytes) -> None:
    assert INNER.decode_untrusted(b"\x82" + key + b"\x01\xa1X\x07") == Inner(7)


@pytest.mark.parametrize("value", SKIPPED.values(), ids=SKIPPED)
def test_a_known_field_with_such_a_value_is_refused(value: bytes) -> None:
    with pytest.raises(MalformedMessage):
        INNER.decode_untrusted(b"\x81\xa1X" + value)


@pytest.mark.parametrize("cut", range(len(RECORD.encode(FULL))))
def test_a_record_that_is_cut_off_is_refused(cut: int) -> None:
    with pytest.raises(MalformedMessage, match="unexpected EOF"):
        RECORD.decode_untrusted(RECORD.encode(FULL)[:cut])


def test_the_byte_c1_is_refused_anywhere() -> None:
    for data in (b"\xc1", b"\x81\xa1Z\xc1", b"\x91\x91\xc1"):
        with pytest.raises(MalformedMessage, match="0xc1"):
            load_untrusted(data)


def test_lengths_beyond_the_data_take_no_memory() -> None:
    for data in (b"\xdd\xff\xff\xff\xff", b"\xdf\xff\xff\xff\xff", b"\xdb\xff\xff\xff\xff"):
        with pytest.raises(MalformedMessage, match="unexpected EOF"):
            load_untrusted(data * 200)


def test_a_record_of_too_many_objects_is_refused() -> None:
    size = OBJECTS_MAX + 8
    with pytest.raises(MalformedMessage, match="objects"):
        load_untrusted(b"\xdd" + size.to_bytes(4, "big") + b"\x80" * size)
    long_text = b"\xdb" + size.to_bytes(4, "big") + b"a" * size
    assert load_untrusted(long_text) == b"a" * size


def test_scanning_in_pieces_walks_over_the_same_bytes() -> None:
    data = (
        RECORD.encode(FULL) + SKIPPED["ext 16"] + SKIPPED["map 32"] + b"\xda\x01\x00" + bytes(256)
    )
    end = len(data)
    position, pending = 0, 4
    for known in range(end + 1):
        position, pending = scan_untrusted(data[:known], position, pending)
    assert (position, pending) == (end, 0)


def test_scanning_stops_behind_the_object() -> None:
    assert scan_untrusted(b"\x92\x01\x02\x03", 0, 1) == (3, 0)


def test_both_parsers_agree_on_numbers() -> None:
    for number in (
        0,
        127,
        128,
        255,
        256,
        65535,
        65536,
        2**32,
        2**64 - 1,
        -1,
        -32,
        -33,
        -129,
        -32769,
        -(2**31) - 1,
        0.5,
    ):
        assert parse_untrusted(msgpack.packb(number)) == number


def test_the_readable_pairs_of_a_damaged_map_are_found() -> None:
    whole = b"\x82\xa1a\xa1b\xa1c\xa1d"
    assert list(parse_partial_untrusted(whole)) == [(b"a", b"b"), (b"c", b"d")]
    assert list(parse_partial_untrusted(whole[:-1])) == [(b"a", b"b")]
    assert list(parse_partial_untrusted(b"\xde\x00\x02" + whole[1:])) == [
        (b"a", b"b"),
        (b"c", b"d"),
    ]
    assert list(parse_partial_untrusted(b"\xdf\x00\x00\x00\x05" + whole[1:5])) == [(b"a", b"b")]
    for nothing in (b"", b"\xde\x00", b"\x90", b"\xc0", b"\xdc\x00\x01\xc0", b"\x81"):
        assert list(parse_partial_untrusted(nothing)) == []


def test_long_lists_are_read_whole_or_not_at_all() -> None:
    data = b"\xdc\xff\xff" + b"\x01" * 65_535
    assert load_untrusted(data) == [1] * 65_535
    with pytest.raises(MalformedMessage, match="EOF"):
        load_untrusted(data[:-1])
    odd = b"\x92" + data + b"\xd4\x05\x00"  # an extension behind it
    assert isinstance(load_untrusted(odd), list)
    deep = b"\x91" * 2000 + b"\xc0"  # too deep for the C parser
    assert isinstance(load_untrusted(deep), list)
