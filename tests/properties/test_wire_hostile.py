"""Whatever bytes arrive, a reader returns or raises `MalformedMessage`: nothing else, ever."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path
from typing import Any

from hypothesis import example, given
from hypothesis import strategies as st

from swimnomad.errors import MalformedMessage
from swimnomad.wire.codec import decode_untrusted
from swimnomad.wire.compound import split_compound_untrusted
from swimnomad.wire.compression import COMPRESSED, unwrap_untrusted, wrap
from swimnomad.wire.coordinates import decode_coordinate_untrusted
from swimnomad.wire.crc import add_crc, strip_crc_untrusted
from swimnomad.wire.dialect import load_untrusted, parse_partial_untrusted, parse_untrusted
from swimnomad.wire.encryption import open_untrusted, seal
from swimnomad.wire.frames import StreamCodec, StreamSettings
from swimnomad.wire.keyring import Keyring
from swimnomad.wire.labels import strip_label_untrusted
from swimnomad.wire.lzw import decompress_untrusted
from swimnomad.wire.packets import PacketCodec, PacketSettings
from swimnomad.wire.serf_messages import decode_filter_untrusted, decode_serf_untrusted
from swimnomad.wire.tags import decode_tags

VECTORS = Path(__file__).parent.parent / "vectors"
KEY = bytes(16)
LIMIT = 1 << 20


def _load(file: str) -> list[dict[str, Any]]:
    vectors: list[dict[str, Any]] = json.loads((VECTORS / file).read_text())
    return vectors


def _bare(decoded: dict[str, Any], data: bytes) -> bytes:
    """The message inside the envelope, in plain: damage to ciphertext teaches nothing."""
    inner = decoded.get("inner_hex")
    return bytes.fromhex(inner) if decoded["msg"] in ("encrypt", "encrypted") and inner else data


DATAGRAMS = [_bare(v["decoded"], bytes.fromhex(v["hex"])) for v in _load("gossip-udp.json")]
STREAMS = [_bare(v["decoded"], bytes.fromhex(v["hex"])) for v in _load("gossip-tcp.json")]
BODIES = [bytes.fromhex(v["hex"]) for v in _load("codec.json") if v["name"].startswith("msgpack")]


@st.composite
def damaged(draw: st.DrawFn, originals: list[bytes]) -> bytes:
    """Recorded bytes with a few of them changed, taken out, put in, or cut off."""
    data = bytearray(draw(st.sampled_from(originals)))
    for _ in range(draw(st.integers(1, 4))):
        position = draw(st.integers(0, max(0, len(data) - 1)))
        match draw(st.sampled_from(["change", "take", "put", "cut", "repeat"])):
            case "change":
                data[position : position + 1] = draw(st.binary(min_size=1, max_size=1))
            case "take":
                del data[position : position + draw(st.integers(1, 8))]
            case "put":
                data[position:position] = draw(st.binary(min_size=1, max_size=8))
            case "cut":
                del data[position:]
            case _:
                data += data[position : position + 100]
    return bytes(data)


# MessagePack that is whole but not what anybody expects.
objects = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats()
    | st.binary(max_size=9),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.binary(max_size=5), inner),
    max_leaves=12,
)
anything = st.binary(max_size=400)
packets = PacketCodec(PacketSettings(), Keyring(), lambda: bytes(12))
lenient_packets = PacketCodec(
    PacketSettings(verify_incoming=False), Keyring(primary=KEY), lambda: bytes(12)
)
secret_packets = PacketCodec(PacketSettings(label="l"), Keyring(primary=KEY), lambda: bytes(12))
streams = StreamCodec(StreamSettings(), Keyring(), lambda: bytes(12))
secret_streams = StreamCodec(StreamSettings(label="l"), Keyring(primary=KEY), lambda: bytes(12))


def take_datagram(codec: PacketCodec, data: bytes) -> None:
    """All that a node does with a datagram."""
    with contextlib.suppress(MalformedMessage):
        found = codec.unpack_untrusted(data)
        assert all(found.messages)
        for message in found.messages:
            with contextlib.suppress(MalformedMessage):
                decode_untrusted(message)
            with contextlib.suppress(MalformedMessage):
                decode_serf_untrusted(message[1:])


def take_stream(codec: StreamCodec, data: bytes, dialer: bool, cut: int) -> None:
    """All that a node does with a stream; both ways of cutting it must end alike."""
    outcomes = []
    for pieces in ([data], [data[:cut], data[cut:]]):
        reader = codec.reader(dialer)
        outcome: object = None
        try:
            for piece in pieces:
                outcome = outcome or reader.feed(piece)
            reader.finish()
        except MalformedMessage as error:
            outcome = type(error), str(error)
        outcomes.append(outcome)
    assert outcomes[0] == outcomes[1]


@given(anything | damaged(DATAGRAMS))
@example(b"\xf4")
@example(b"\x07\xff")
def test_any_datagram_is_taken_or_refused(data: bytes) -> None:
    for codec in (packets, lenient_packets, secret_packets):
        take_datagram(codec, data)
    take_datagram(packets, add_crc(data))
    take_datagram(packets, wrap(data))
    take_datagram(secret_packets, b"\xf4\x01l" + seal(KEY, bytes(12), data, b"l"))


@given(anything | damaged(STREAMS), st.booleans(), st.integers(0, 400))
@example(b"\x06\x80", False, 1)
def test_any_stream_is_taken_or_refused_however_it_is_cut(
    data: bytes, dialer: bool, cut: int
) -> None:
    take_stream(streams, data, dialer, cut)
    take_stream(secret_streams, data, dialer, cut)
    take_stream(streams, wrap(data), dialer, cut)
    head = b"\x0a" + (29 + len(data)).to_bytes(4, "big")
    frame = head + seal(KEY, bytes(12), data, head + b"l")
    take_stream(secret_streams, frame if dialer else b"\xf4\x01l" + frame, dialer, cut)


@given(anything | damaged(BODIES) | damaged(DATAGRAMS))
def test_any_bytes_are_taken_or_refused_by_every_reader(data: bytes) -> None:
    for take in (
        decode_untrusted,
        decode_serf_untrusted,
        decode_coordinate_untrusted,
        decode_filter_untrusted,
        split_compound_untrusted,
        strip_crc_untrusted,
        strip_label_untrusted,
        COMPRESSED.decode_untrusted,
        load_untrusted,
        parse_untrusted,
    ):
        with contextlib.suppress(MalformedMessage):
            take(data)
    for limited in (decompress_untrusted, unwrap_untrusted):
        with contextlib.suppress(MalformedMessage):
            limited(data, LIMIT)
    with contextlib.suppress(MalformedMessage):
        open_untrusted([KEY], data, b"")
    assert isinstance(decode_tags(data), dict)
    assert isinstance(decode_tags(b"\xff" + data), dict)
    list(parse_partial_untrusted(data))


@given(st.integers(0, 13), objects)
def test_any_objects_are_taken_or_refused_by_every_message(number: int, body: object) -> None:
    from swimnomad.wire.dialect import pack

    data = bytes((number,)) + pack(body)
    take_datagram(packets, data)
    take_stream(streams, data, False, 3)
    take_stream(streams, data, True, 3)
    with contextlib.suppress(MalformedMessage):
        decode_serf_untrusted(data)


@given(anything | damaged(BODIES) | damaged([data[1:] for data in DATAGRAMS]))
def test_the_fast_parser_never_contradicts_the_lenient_one(data: bytes) -> None:
    results: list[object] = []
    for parse in (load_untrusted, parse_untrusted):
        try:
            results.append(repr(parse(data)))
        except MalformedMessage as error:
            results.append(str(error))
    # What no field accepts is written down differently by the two.
    if not any(word in str(results[0]) for word in ("ExtType", "Timestamp", "_Opaque")):
        assert results[0] == results[1]
