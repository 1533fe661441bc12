"""Any bytes into a whole node: never an exception, always accounted for."""

from __future__ import annotations

import random
from functools import cache

from hypothesis import given, settings
from hypothesis import strategies as st

from swimnomad.names import Stream, ip_of_host
from swimnomad.swim.effects import CloseStream, Emit, SendDatagram
from swimnomad.swim.events import InputDropped
from swimnomad.swim.inputs import DatagramReceived, StreamEnded, StreamOpened, StreamReceived
from swimnomad.wire.codec import encode
from swimnomad.wire.compound import make_compound
from swimnomad.wire.frames import StreamCodec, StreamSettings
from swimnomad.wire.keyring import Keyring
from swimnomad.wire.messages import (
    Ack,
    Dead,
    IndirectPing,
    Nack,
    Ping,
    PushPull,
    Suspect,
    UserMessage,
)
from swimnomad.wire.packets import PacketCodec, PacketSettings
from tests.swim.swim_support import OTHER, PEER, Rig, alive, record

DATAGRAM_BYTES_MAX = 65_507


@cache
def datagrams() -> list[bytes]:
    """One of each kind, bare and in every wrapper."""
    ip = ip_of_host(OTHER.host)
    messages = [
        encode(message)
        for message in (
            Ping(1, "a", ip, 7946, "b"),
            IndirectPing(2, "c", ip, 7946, True, ip, 7946, "b"),
            Ack(3, b"payload"),
            Nack(4),
            Suspect("a", 5, "b"),
            Dead("a", 6, "b"),
            Dead("b", 6, "b"),
            alive("b", 7, meta=b"m" * 100),
            UserMessage(b"user"),
        )
    ]
    messages.append(make_compound(messages))
    found = list(messages)
    for compression in (False, True):
        codec = PacketCodec(PacketSettings(compression=compression), Keyring(), lambda: bytes(12))
        found += [codec.pack(message, True) for message in messages]
    return found


@cache
def requests() -> list[bytes]:
    """What a peer may write to a stream, plain and compressed."""
    state = PushPull(True, (record("b"), record("c", 4, 2), record("a", 9, 3)), b"state")
    return [
        StreamCodec(StreamSettings(compression=c), Keyring(), lambda: bytes(12)).pack(m, True)
        for c in (False, True)
        for m in (state, Ping(1, "a"), UserMessage(b"user"))
    ]


def mutated(draw_from: list[bytes], data: st.DataObject) -> bytes:
    """A valid message with a few bytes changed, cut off or put in."""
    message = bytearray(data.draw(st.sampled_from(draw_from)))
    for _ in range(data.draw(st.integers(1, 4))):
        place = data.draw(st.integers(0, max(len(message) - 1, 0)))
        match data.draw(st.integers(0, 3)):
            case 0:
                message[place : place + 1] = bytes((data.draw(st.integers(0, 255)),))
            case 1:
                del message[place:]
            case 2:
                message[place:place] = data.draw(st.binary(max_size=8))
            case _:
                del message[place : place + 1]
    return bytes(message)


def check_datagram(rig: Rig, data: bytes) -> None:
    dropped_before = sum(n for k, n in rig.node.counters.items() if k.startswith("dropped"))
    effects = rig.feed(DatagramReceived(data, PEER))
    announced = [e for e in effects if isinstance(e, Emit) and isinstance(e.event, InputDropped)]
    dropped = sum(n for k, n in rig.node.counters.items() if k.startswith("dropped"))
    assert dropped - dropped_before == len(announced)
    for effect in effects:
        if isinstance(effect, SendDatagram):
            assert 0 < len(effect.data) <= DATAGRAM_BYTES_MAX
    assert rig.own.is_live


@settings(max_examples=150, deadline=None)
@given(st.lists(st.binary(max_size=200), min_size=1, max_size=5), st.booleans())
def test_arbitrary_datagrams_never_raise(many: list[bytes], is_encrypted: bool) -> None:
    rig = Rig(keyring=Keyring(primary=bytes(16)) if is_encrypted else None)
    for data in many:
        check_datagram(rig, data)


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_mutated_datagrams_never_raise(data: st.DataObject) -> None:
    rig = Rig()
    rig.hear(alive("b"), alive("c", host=OTHER.host))
    for _ in range(data.draw(st.integers(1, 5))):
        check_datagram(rig, mutated(datagrams(), data))


@settings(max_examples=150, deadline=None)
@given(st.data())
def test_streams_of_any_bytes_end_and_never_raise(data: st.DataObject) -> None:
    rig = Rig()
    rig.hear(alive("b"))
    is_mutated = data.draw(st.booleans())
    written = mutated(requests(), data) if is_mutated else data.draw(st.binary(max_size=200))
    stream = Stream(True, 1)
    effects = rig.feed(StreamOpened(stream, PEER))
    step = data.draw(st.integers(1, 50))
    for start in range(0, len(written), step):
        effects += rig.feed(StreamReceived(stream, written[start : start + step]))
    effects += rig.feed(StreamEnded(stream))
    assert [e.stream for e in effects if isinstance(e, CloseStream)] == [stream]
    assert not rig.node._streams._open
    assert (rig.node._streams._inbound, rig.node._streams._partial) == (0, 0)


def test_a_long_run_of_mutated_datagrams_leaves_a_working_node() -> None:
    rng = random.Random("mutations")
    rig = Rig(nodes_max=50)
    for _ in range(3000):
        message = bytearray(rng.choice(datagrams()))
        for _ in range(rng.randrange(1, 6)):
            message[rng.randrange(len(message))] = rng.randrange(256)
        check_datagram(rig, bytes(message))
    assert rig.node.node_count <= 50
    rig.hear(Ping(77, "a"))
    assert rig.sent_first() == [(PEER, Ack(77))]
