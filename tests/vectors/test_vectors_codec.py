"""The tables of the codec file: LZW, MessagePack, compounds, encryption."""

from __future__ import annotations

import hashlib
import math
import struct
from typing import NamedTuple

import pytest

from swimnomad.errors import MalformedMessage, UsageError
from swimnomad.wire import lzw
from swimnomad.wire.compound import PARTS_MAX, make_compound, split_compound_untrusted
from swimnomad.wire.compression import unwrap_untrusted, wrap, wrap_if_shorter
from swimnomad.wire.dialect import (
    BYTES,
    I64,
    TEXT,
    U16,
    Field,
    Schema,
    load_untrusted,
    pack,
    parse_untrusted,
)
from swimnomad.wire.encryption import open_untrusted, seal
from tests.vectors.vector_files import Decoded, expand, keyring, named, raw, some, wire_bytes

LIMIT = 40 * 1024 * 1024


@pytest.mark.parametrize("vector", named("codec", "lzw/"))
def test_lzw_streams_are_written_and_read_as_recorded(vector: Decoded) -> None:
    data = expand(vector["decoded"]["input"])
    assert hashlib.sha256(data).hexdigest() == vector["decoded"]["input_sha256"]
    stream = wire_bytes(vector)
    assert lzw.compress(data) == stream
    assert lzw.decompress_untrusted(stream, LIMIT) == data
    assert lzw.compress_within(data, len(stream)) == stream
    assert lzw.compress_within(data, len(stream) - 1) is None


@pytest.mark.parametrize("vector", named("codec", "lzw-read/"))
def test_odd_lzw_streams_are_read_as_the_reference_does(vector: Decoded) -> None:
    stream, error = wire_bytes(vector), vector["decoded"]["error"]
    if error is None:
        assert lzw.decompress_untrusted(stream, LIMIT) == some(vector["decoded"]["output"])
    else:
        with pytest.raises(MalformedMessage, match=f"^{error}$"):
            lzw.decompress_untrusted(stream, LIMIT)


@pytest.mark.parametrize("vector", named("codec", "compress-message/"))
def test_compress_messages_are_written_and_read_as_recorded(vector: Decoded) -> None:
    data, message = expand(vector["decoded"]["input"]), wire_bytes(vector)
    assert wrap(data) == message
    if not data:
        with pytest.raises(MalformedMessage, match="empty"):
            unwrap_untrusted(message[1:], LIMIT)
        return
    assert unwrap_untrusted(message[1:], LIMIT) == data
    shorter = vector["decoded"]["smaller_than_input"]
    assert wrap_if_shorter(data) == (message if shorter else data)


# --- MessagePack ----------------------------------------------------------------------------------


def plain(kind: str, value: object) -> object:
    """What a vector's value is in Python."""
    if kind.startswith("float"):
        assert isinstance(value, str)
        return float(value)
    match value:
        case list():
            return [plain("", item) for item in value]
        case {"count": count, "repeat": None}:
            return [None] * count
        case dict():
            if {"hex", "repeat"} & set(value):
                return expand(value)
            return {key.encode(): plain("", item) for key, item in value.items()}
        case str():
            return value.encode()
        case _:
            return value


def is_same(found: object, expected: object) -> bool:
    if isinstance(found, float) and isinstance(expected, float):
        return struct.pack(">d", found) == struct.pack(">d", expected) or (
            math.isnan(found) and math.isnan(expected)
        )
    return found == expected and type(found) is type(expected)


@pytest.mark.parametrize("vector", named("codec", "msgpack/"))
def test_both_parsers_read_what_the_reference_writes(vector: Decoded) -> None:
    kind, value = vector["decoded"]["kind"], vector["decoded"]["value"]
    expected = plain(kind, value)
    assert is_same(parse_untrusted(wire_bytes(vector)), expected)
    assert is_same(load_untrusted(wire_bytes(vector)), expected)


@pytest.mark.parametrize(
    "vector",
    [
        parameters
        for parameters in named("codec", "msgpack/gossip/")
        if "float32" not in str(parameters.id)  # no message has one: it is only read
    ],
)
def test_plain_values_are_written_as_the_reference_writes_them(vector: Decoded) -> None:
    kind, value = vector["decoded"]["kind"], vector["decoded"]["value"]
    if "random key order" in vector["name"]:
        expected = load_untrusted(wire_bytes(vector))
    elif value == "NaN":
        expected = struct.unpack(">d", wire_bytes(vector)[1:])[0]
    else:
        expected = plain(kind, value)
    assert pack(expected) == wire_bytes(vector)


class Record(NamedTuple):
    a: int
    b: str
    c: bytes | None
    d: int


RECORD = Schema(
    Record,
    "A B C D",
    Field("A", "a", I64),
    Field("B", "b", TEXT),
    Field("C", "c", BYTES),
    Field("D", "d", U16),
)


@pytest.mark.parametrize("vector", named("codec", "msgpack-read/"))
def test_odd_records_are_read_as_the_reference_does(vector: Decoded) -> None:
    value = vector["decoded"]["value"]
    expected = Record(value["A"], value["B"], raw(value["C"]), value["D"])
    if vector["name"].endswith("/bin for a string field"):
        # Newer codecs of the reference take it, and so do we.
        assert RECORD.decode_untrusted(wire_bytes(vector)) == expected._replace(b="a")
    elif vector["decoded"]["error"]:
        with pytest.raises(MalformedMessage):
            RECORD.decode_untrusted(wire_bytes(vector))
    else:
        assert RECORD.decode_untrusted(wire_bytes(vector)) == expected


# --- compounds ------------------------------------------------------------------------------------


@pytest.mark.parametrize("vector", named("codec", "compound/"))
def test_compounds_are_read_whatever_their_size(vector: Decoded) -> None:
    parts = [some(part) for part in vector["decoded"]["parts"]]
    data = wire_bytes(vector)
    if len(parts) > 255:
        # The count of the sender has wrapped: nobody can tell.
        found, lost = split_compound_untrusted(data)
        assert len(found) + lost == len(parts) % 256
        return
    assert split_compound_untrusted(data) == (parts, 0)


@pytest.mark.parametrize("vector", named("codec", "compound/"))
def test_compounds_are_written_unless_some_version_could_not_read_them(vector: Decoded) -> None:
    """gossip 40.19: 2 bytes, 2 more for each part, and the parts."""
    parts = [some(part) for part in vector["decoded"]["parts"]]
    if 0 < len(parts) <= PARTS_MAX and all(parts):
        assert make_compound(parts) == wire_bytes(vector)
        assert len(make_compound(parts)) == 2 + sum(2 + len(part) for part in parts)
    else:
        with pytest.raises(UsageError, match="part"):
            make_compound(parts)


@pytest.mark.parametrize("vector", named("codec", "compound-read/"))
def test_odd_compounds_are_read_as_the_reference_does(vector: Decoded) -> None:
    """gossip 40.19: whole parts count, the rest is reported, a table cut short is an error."""
    decoded = vector["decoded"]
    if decoded["error"]:
        with pytest.raises(MalformedMessage, match=decoded["error"]):
            split_compound_untrusted(wire_bytes(vector))
    else:
        expected = [some(part) for part in decoded["parts"]]
        found = split_compound_untrusted(wire_bytes(vector))
        assert found == (expected, decoded["truncated"])


# --- encryption -----------------------------------------------------------------------------------


@pytest.mark.parametrize("vector", named("codec", "encrypt/"))
def test_envelopes_are_sealed_and_opened_as_recorded(vector: Decoded) -> None:
    """gossip 40.9: both versions, with their additional data, and their exact lengths."""
    decoded, ring = vector["decoded"], keyring(vector)
    assert ring.primary is not None
    plaintext, aad = expand(decoded["plaintext"]), some(decoded["aad"])
    envelope = wire_bytes(vector)
    version = decoded["version"]
    assert seal(ring.primary, some(decoded["nonce"]), plaintext, aad, version) == envelope
    assert open_untrusted(ring.keys, envelope, aad) == plaintext
    padding = 16 - len(plaintext) % 16 if version == 0 else 0
    assert len(envelope) == 29 + len(plaintext) + padding
    with pytest.raises(MalformedMessage, match="No installed keys"):
        open_untrusted(ring.keys, envelope, aad + b"x")


@pytest.mark.parametrize("vector", named("codec", "decrypt/"))
def test_odd_envelopes_are_opened_as_the_reference_does(vector: Decoded) -> None:
    decoded, ring = vector["decoded"], keyring(vector)
    if decoded["error"]:
        with pytest.raises(MalformedMessage, match=f"^{decoded['error']}$"):
            open_untrusted(ring.keys, wire_bytes(vector))
    else:
        assert open_untrusted(ring.keys, wire_bytes(vector)) == some(decoded["plaintext"])
