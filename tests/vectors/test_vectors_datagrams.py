"""Every recorded datagram means what its vector says, and is written again byte for byte."""

from __future__ import annotations

import pytest

from swimnomad.errors import MalformedMessage
from swimnomad.wire.codec import decode_untrusted, encode
from swimnomad.wire.compound import make_compound
from swimnomad.wire.coordinates import (
    CoordinatePayload,
    decode_coordinate_untrusted,
    encode_coordinate,
)
from swimnomad.wire.keyring import Keyring
from swimnomad.wire.messages import UserMessage
from swimnomad.wire.packets import PacketCodec, PacketSettings
from swimnomad.wire.serf_messages import (
    NodeFilter,
    QueryFilter,
    TagFilter,
    decode_filter_untrusted,
    decode_serf_untrusted,
    encode_filter,
)
from swimnomad.wire.tags import decode_tags, encode_tags
from tests.vectors.vector_files import (
    Decoded,
    bare_messages,
    build,
    find_all,
    keyring,
    layers,
    load,
    named,
    packet_message,
    raw,
    serf_message,
    some,
    wire_bytes,
)

DATAGRAMS = named("gossip-udp")


def no_nonce() -> bytes:
    raise AssertionError("nothing is encrypted here")


@pytest.mark.parametrize("vector", DATAGRAMS)
def test_a_datagram_holds_the_messages_of_its_vector(vector: Decoded) -> None:
    codec = PacketCodec(PacketSettings(), keyring(vector), no_nonce)
    packet = codec.unpack_untrusted(wire_bytes(vector))
    expected = [packet_message(message) for message in bare_messages(vector["decoded"])]
    assert not packet.problems
    assert [decode_untrusted(message) for message in packet.messages] == expected


@pytest.mark.parametrize("vector", DATAGRAMS)
def test_a_datagram_is_built_again_layer_by_layer(vector: Decoded) -> None:
    assert build(vector["decoded"], keyring(vector).primary) == wire_bytes(vector)


@pytest.mark.parametrize("vector", DATAGRAMS)
def test_the_whole_way_out_gives_the_recorded_datagram(vector: Decoded) -> None:
    """It compresses exactly when the reference did."""
    decoded = vector["decoded"]
    parts = [encode(packet_message(message)) for message in bare_messages(decoded)]
    message = parts[0] if len(parts) == 1 else make_compound(parts)
    nonces = [some(found["nonce"]) for found in find_all(decoded, "nonce")]
    settings = PacketSettings(
        compression="compressed" in vector["name"].split("/")[0],
        encryption_version=next((found["version"] for found in find_all(decoded, "nonce")), 1),
    )
    codec = PacketCodec(settings, keyring(vector), nonces.pop)
    assert codec.pack(message, crc="has-crc" in layers(decoded)) == wire_bytes(vector)
    assert not nonces


@pytest.mark.parametrize("vector", DATAGRAMS)
def test_serf_messages_inside_mean_what_the_vector_says(vector: Decoded) -> None:
    for message in find_all(vector["decoded"], "serf"):
        if isinstance(message["serf"], str):
            continue
        value = packet_message(message)
        assert isinstance(value, UserMessage)
        assert decode_serf_untrusted(value.payload) == serf_message(message["serf"])


def every(key: str) -> list[Decoded]:
    """Every object with `key` in the datagrams and streams, without repetitions."""
    unique: dict[str, Decoded] = {}
    for file in ("gossip-udp", "gossip-tcp"):
        for vector in load(file):
            for found in find_all(vector["decoded"], key):
                unique.setdefault(str(found), found)
    assert unique
    return list(unique.values())


def test_tags_are_read_from_metadata_and_written_again() -> None:
    """serf 35.42."""
    for found in every("Meta_decoded"):
        meta, meaning = raw(found["body"]["Meta"]), found["Meta_decoded"]
        if "magic" in meaning:
            assert decode_tags(meta) == meaning["tags"]
            assert encode_tags(meaning["tags"]) == meta
        else:
            assert decode_tags(meta) == {"role": meaning["role"]}
            assert encode_tags({"role": meaning["role"]}, 2) == (meta or b"")


def test_ack_payloads_are_coordinates() -> None:
    for found in every("Payload_decoded"):
        payload = raw(found["body"]["Payload"])
        meaning = found["Payload_decoded"]
        if "coordinate" not in meaning:
            continue
        assert payload is not None
        numbers = meaning["coordinate"]
        coordinate = CoordinatePayload(
            tuple(numbers["Vec"]), numbers["Error"], numbers["Adjustment"], numbers["Height"]
        )
        assert decode_coordinate_untrusted(payload) == coordinate
        assert encode_coordinate(coordinate) == payload


def test_payloads_of_internal_queries_are_serf_messages_or_a_name() -> None:
    for found in every("Payload_decoded"):
        payload = raw(found["body"]["Payload"])
        meaning = found["Payload_decoded"]
        assert payload is not None
        if "serf" in meaning:
            assert decode_serf_untrusted(payload) == serf_message(meaning)
        elif "node" in meaning:
            assert payload == meaning["node"].encode()
        else:
            assert "coordinate" in meaning


def test_query_filters_are_read_and_written_again() -> None:
    for found in every("Filters_decoded"):
        raws = [some(element) for element in found["body"]["Filters"]]
        for element, meaning in zip(raws, found["Filters_decoded"], strict=True):
            expected: QueryFilter
            if "names" in meaning:
                expected = NodeFilter(tuple(meaning["names"]))
            else:
                expected = TagFilter(meaning["body"]["Tag"], meaning["body"]["Expr"])
            assert decode_filter_untrusted(element) == expected
            assert encode_filter(expected) == element


def test_a_ring_without_the_key_opens_no_recorded_datagram() -> None:
    codec = PacketCodec(PacketSettings(), Keyring(primary=bytes(16)), no_nonce)
    refused = 0
    for vector in load("gossip-udp"):
        with pytest.raises(MalformedMessage):
            codec.unpack_untrusted(wire_bytes(vector))
        refused += 1
    assert refused
