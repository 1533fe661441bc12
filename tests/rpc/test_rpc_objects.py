"""A stream of bytes is cut into whole MessagePack objects, wherever it was cut before."""

from __future__ import annotations

import msgpack  # type: ignore[import-untyped]  # the package ships no types
import pytest

from swimnomad.errors import MalformedMessage
from swimnomad.rpc.objects import ObjectSplitter

SMALL = msgpack.packb({"Seq": 1, "ServiceMethod": "Status.Ping"})
LONG = msgpack.packb([{"a": number} for number in range(500)])
RAW = msgpack.packb(bytes(5000))
SAMPLES = [SMALL, b"\x80", LONG, RAW, b"\xc0", LONG, SMALL]


def test_all_at_once() -> None:
    splitter = ObjectSplitter()
    assert splitter.receive(b"".join(SAMPLES)) == SAMPLES
    assert splitter.buffered_bytes == 0


@pytest.mark.parametrize("size", [1, 2, 3, 7, 64, 100, 1000, 4096])
def test_in_pieces(size: int) -> None:
    splitter = ObjectSplitter()
    data = b"".join(SAMPLES)
    found = []
    for start in range(0, len(data), size):
        found += splitter.receive(data[start : start + size])
    assert found == SAMPLES
    assert splitter.buffered_bytes == 0


@pytest.mark.parametrize("cut", range(len(SMALL) + 2))
def test_cut_once(cut: int) -> None:
    data = SMALL + b"\x80" + SMALL
    splitter = ObjectSplitter()
    assert splitter.receive(data[:cut]) + splitter.receive(data[cut:]) == [SMALL, b"\x80", SMALL]


@pytest.mark.parametrize("data", [b"\xc1", b"\x93\x01\xc1", b"\x81\xa1a\x91\xc1"])
def test_what_is_no_object(data: bytes) -> None:
    with pytest.raises(MalformedMessage):
        ObjectSplitter().receive(data)
    splitter = ObjectSplitter()
    for byte in data[:-1]:
        assert splitter.receive(bytes((byte,))) == []
    with pytest.raises(MalformedMessage):
        splitter.receive(data[-1:])
    assert splitter.is_broken
    assert splitter.buffered_bytes == 0


def test_garbage_behind_many_parts() -> None:
    with pytest.raises(MalformedMessage, match="not MessagePack"):
        ObjectSplitter().receive(b"\xdc\x01\x00" + b"\x01" * 100 + b"\xc1")


def test_too_long_is_refused_before_it_has_come() -> None:
    splitter = ObjectSplitter(1000)
    assert splitter.receive(b"\xda" + (997).to_bytes(2, "big") + bytes(997))
    with pytest.raises(MalformedMessage, match="1000"):
        splitter.receive(b"\xda" + (998).to_bytes(2, "big"))
    with pytest.raises(MalformedMessage, match="1000"):
        ObjectSplitter(1000).receive(b"\xdb\xff\xff\xff\xff")


def test_too_long_of_many_parts() -> None:
    splitter = ObjectSplitter(1000)
    assert splitter.receive(b"\xdd\xff\xff\xff\xff") == []
    for _ in range(995):
        assert splitter.receive(b"\x01") == []
    with pytest.raises(MalformedMessage, match="1000"):
        splitter.receive(b"\x01")


def test_garbage_does_not_take_away_what_was_whole() -> None:
    splitter = ObjectSplitter()
    assert splitter.receive(SMALL + b"\xc1") == [SMALL]
    assert splitter.is_broken
    for _ in range(2):
        with pytest.raises(MalformedMessage):
            splitter.receive(SMALL)


@pytest.mark.parametrize("first", [SMALL, LONG])
def test_only_the_first(first: bytes) -> None:
    rest = b"\xc1 no object at all"
    assert ObjectSplitter().receive_first(first + rest) == (first, rest)
    splitter = ObjectSplitter()
    for byte in first[:-1]:
        assert splitter.receive_first(bytes((byte,))) is None
    assert splitter.receive_first(first[-1:] + rest) == (first, rest)
    assert splitter.receive_first(first[:100]) in (None, (SMALL, b""))
    if first is LONG:
        assert splitter.receive_first(first[100:] + rest) == (first, rest)
    assert splitter.receive_first(SMALL) == (SMALL, b"")


def test_nesting_has_an_end() -> None:
    splitter = ObjectSplitter()
    with pytest.raises(MalformedMessage):
        splitter.receive(b"\x91" * 100_000)
