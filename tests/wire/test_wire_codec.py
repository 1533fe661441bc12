"""Packet forms of the messages: the published examples, the dispatcher, lenient details."""

from __future__ import annotations

import pytest

from swimnomad.errors import MalformedMessage
from swimnomad.wire.codec import NODE_RECORD, decode_untrusted, encode
from swimnomad.wire.messages import (
    Ack,
    Alive,
    Dead,
    IndirectPing,
    Nack,
    NodeRecord,
    PacketMessage,
    Ping,
    Suspect,
    UserMessage,
)

LOOPBACK = bytes((127, 0, 0, 1))
EXAMPLES: list[tuple[PacketMessage, str]] = [
    (Ping(42, "n1"), "0082a44e6f6465a26e31a55365714e6f2a"),
    (
        Ping(42, "n1", LOOPBACK, 7946, "py"),
        "0085a44e6f6465a26e31a55365714e6f2aaa536f7572636541646472a47f000001aa536f757263654e6f6465"
        "a27079aa536f75726365506f7274cd1f0a",
    ),
    (Ack(7), "0282a75061796c6f6164c0a55365714e6f07"),
    (Nack(901), "0b81a55365714e6fcd0385"),
    (Suspect("b", 1, "a"), "0383a446726f6da161ab496e6361726e6174696f6e01a44e6f6465a162"),
    (Dead("b", 1, "b"), "0583a446726f6da162ab496e6361726e6174696f6e01a44e6f6465a162"),
    (
        Alive("n1", 1, LOOPBACK, 7946, b"\xff\x80", bytes((1, 5, 2, 2, 5, 5))),
        "0486a441646472a47f000001ab496e6361726e6174696f6e01a44d657461a2ff80a44e6f6465a26e31"
        "a4506f7274cd1f0aa356736ea6010502020505",
    ),
    (UserMessage(b"\x01abc"), "0801616263"),
    (UserMessage(b""), "08"),
]


@pytest.mark.parametrize(("message", "wire"), EXAMPLES)
def test_the_published_examples_hold_both_ways(message: PacketMessage, wire: str) -> None:
    assert encode(message).hex() == wire
    assert decode_untrusted(bytes.fromhex(wire)) == message


def test_the_published_node_record_holds_both_ways() -> None:
    record = NodeRecord(
        "n1", 1, bytes((127, 0, 0, 21)), 7946, b"\xff\x80", bytes((1, 5, 2, 2, 5, 5)), 0
    )
    wire = bytes.fromhex(
        "87a441646472a47f000015ab496e6361726e6174696f6e01a44d657461a2ff80a44e616d65a26e31"
        "a4506f7274cd1f0aa5537461746500a356736ea6010502020505"
    )
    assert NODE_RECORD.encode(record) == wire
    assert NODE_RECORD.decode_untrusted(wire) == record


def test_empty_and_nil_bytes_stay_different() -> None:
    for payload in (None, b""):
        assert decode_untrusted(encode(Ack(1, payload))) == Ack(1, payload)


def test_an_empty_source_is_left_out() -> None:
    ping = IndirectPing(1, "t", LOOPBACK, 1, True, b"", 0, "")
    assert b"Source" not in encode(ping)
    assert decode_untrusted(encode(ping)) == IndirectPing(1, "t", LOOPBACK, 1, True)


def test_an_unknown_state_of_a_record_is_kept() -> None:
    record = NodeRecord("n", 1, LOOPBACK, 1, None, None, 77)
    assert NODE_RECORD.decode_untrusted(NODE_RECORD.encode(record)) == record


def test_bytes_behind_the_body_are_ignored() -> None:
    for message, _ in EXAMPLES:
        if not isinstance(message, UserMessage):
            assert decode_untrusted(encode(message) + b"junk") == message


def test_an_empty_message_is_refused() -> None:
    """gossip 40.18."""
    with pytest.raises(MalformedMessage, match="empty"):
        decode_untrusted(b"")


@pytest.mark.parametrize("number", [6, 7, 9, 10, 12, 13, 14, 200, 244, 255])
def test_types_that_do_not_belong_into_a_packet_are_refused(number: int) -> None:
    with pytest.raises(MalformedMessage, match=f"type {number} "):
        decode_untrusted(bytes((number,)) + b"\x80")


def test_a_type_byte_alone_is_refused() -> None:
    for number in (0, 1, 2, 3, 4, 5, 11):
        with pytest.raises(MalformedMessage, match="unexpected EOF"):
            decode_untrusted(bytes((number,)))


def test_claims_too_long_to_be_remembered_decode_all_the_same() -> None:
    claim = Alive("n" * 2000, 1, LOOPBACK, 1, None, None)
    assert decode_untrusted(encode(claim)) == claim


def test_a_refused_claim_is_refused_again() -> None:
    for _ in range(2):
        with pytest.raises(MalformedMessage):
            decode_untrusted(b"\x04\x81\xa4Port\xff")
