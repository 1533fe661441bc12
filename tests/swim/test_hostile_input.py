"""Bytes that no peer should send: dropped, counted, announced, and never raised."""

from __future__ import annotations

import random

import pytest

from swimnomad.swim.config import SwimConfig
from swimnomad.swim.context import REASON_CHARS_MAX
from swimnomad.swim.core import Core
from swimnomad.swim.effects import SendDatagram
from swimnomad.swim.events import InputDropped
from swimnomad.swim.inputs import DatagramReceived, SendUserMessage, Start
from swimnomad.swim.node import SwimNode
from swimnomad.wire.codec import encode
from swimnomad.wire.keyring import Keyring
from swimnomad.wire.messages import Ack, Ping
from tests.swim.swim_support import OWN, PEER, Rig, alive, rig_with


@pytest.mark.parametrize(
    ("data", "kind"),
    [
        (b"", "datagram"),
        (b"\xf4\x00x", "datagram"),
        (b"\xf4\x01x\x00", "datagram"),
        (b"\x0c\x00\x00\x00\x00x", "datagram"),
        (b"\x63", "message"),
        (b"\x06\x80", "message"),
        (b"\x0d\x80", "message"),
        (b"\x04\xc1", "message"),
        (b"\x07", "message"),
        (b"\x07\x02\x00\x01", "message"),
        (b"\x09\x80", "message"),
    ],
)
def test_useless_datagram_is_counted_and_announced(data: bytes, kind: str) -> None:
    """gossip 40.18: an empty or broken command is dropped without a crash."""
    rig = rig_with()
    rig.feed(DatagramReceived(data, PEER))
    assert {(event.source, event.kind) for event in rig.events(InputDropped)} == {(PEER, kind)}
    assert len(rig.effects) == rig.node.counters[f"dropped.{kind}"]


def test_corrupted_checksum_drops_the_datagram() -> None:
    """gossip 40.15: a datagram with a corrupted checksum is dropped and announced."""
    rig = rig_with()
    data = bytes.fromhex("0cd99326630082a44e6f6465a26e31a55365714e6f2a")
    rig.feed(DatagramReceived(data, PEER))
    assert len(rig.events(InputDropped)) == 1


def test_rest_of_a_compound_is_processed_around_a_bad_part() -> None:
    rig = rig_with()
    good = encode(Ping(1, ""))
    parts = [good, b"\x0c\x00", good]
    data = bytes((7, 3)) + b"".join(len(p).to_bytes(2, "big") for p in parts) + b"".join(parts)
    rig.feed(DatagramReceived(data[:-2], PEER))
    assert rig.sent() == [(PEER, [Ack(1)])]
    assert len(rig.events(InputDropped)) == 2


def test_reason_does_not_grow_with_what_was_sent() -> None:
    rig = rig_with()
    rig.hear(Ping(1, "x" * 10_000))
    assert [len(event.reason) for event in rig.events(InputDropped)] == [REASON_CHARS_MAX]


def test_undecryptable_datagram_is_dropped() -> None:
    rig = rig_with(keyring=Keyring(primary=bytes(16)))
    rig.hear(Ping(1, ""))
    assert rig.sent() == []
    assert rig.node.counters["dropped.datagram"] >= 1


def test_name_that_is_not_unicode_travels_unchanged() -> None:
    rig = rig_with()
    name = b"\xff\xfe".decode(errors="surrogateescape")
    rig.hear(alive(name))
    assert rig.queued() == [alive(name)]


def test_nonces_come_from_the_driver() -> None:
    calls: list[bytes] = []

    def nonces() -> bytes:
        calls.append(bytes((len(calls),)) * 12)
        return calls[-1]

    node: Core = SwimNode(
        SwimConfig(name="a"),
        random.Random(1),
        keyring=Keyring(primary=bytes(16)),
        nonces=nonces,
    )
    node.handle(Start(OWN), 0.0)
    for nonce in (bytes(12), bytes((1,)) * 12):
        (effect,) = node.handle(SendUserMessage(PEER, b"x"), 1.0)
        assert isinstance(effect, SendDatagram)
        assert effect.data[1:13] == nonce
    assert len(calls) == 2


def test_counters_cannot_be_changed_from_outside() -> None:
    with pytest.raises(TypeError):
        Rig().node.counters["x"] = 1  # type: ignore[index]  # that it cannot is the point
