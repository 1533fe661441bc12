"""Every recorded stream means what its vector says, however cut, and is written again."""

from __future__ import annotations

import pytest

from swimnomad.wire.frames import StreamCodec, StreamReader, StreamSettings
from swimnomad.wire.messages import PushPull, StreamMessage
from swimnomad.wire.serf_messages import decode_serf_untrusted, encode_serf
from tests.vectors.vector_files import (
    Decoded,
    find_all,
    keyring,
    layers,
    load,
    named,
    some,
    stream_message,
    wire_bytes,
)

STREAMS = named("gossip-tcp")


def is_dialer(vector: Decoded) -> bool:
    """Whether the recorded bytes are those of the dialing side."""
    found: bool = vector["direction"] == "first message of the dialing node"
    return found


def stream_codec(vector: Decoded) -> StreamCodec:
    sealed = find_all(vector["decoded"], "nonce")
    settings = StreamSettings(
        compression="compress" in layers(vector["decoded"]),
        encryption_version=sealed[0]["version"] if sealed else 1,
    )
    return StreamCodec(settings, keyring(vector), [some(found["nonce"]) for found in sealed].pop)


def read(reader: StreamReader, data: bytes, size: int) -> StreamMessage | None:
    """Feed pieces of `size` bytes; only the last one may complete the message."""
    for start in range(0, len(data) - size, size):
        assert reader.feed(data[start : start + size]) is None
    rest = len(data) % size or size
    return reader.feed(data[-rest:])


@pytest.mark.parametrize("vector", STREAMS)
def test_a_stream_holds_the_message_of_its_vector(vector: Decoded) -> None:
    reader = stream_codec(vector).reader(dialer=not is_dialer(vector))
    assert reader.feed(wire_bytes(vector)) == stream_message(vector["decoded"])
    assert reader.is_done
    reader.finish()


@pytest.mark.parametrize("size", [1, 7, 500])
def test_recorded_streams_may_be_cut_anywhere(size: int) -> None:
    for vector in load("gossip-tcp"):
        reader = stream_codec(vector).reader(dialer=not is_dialer(vector))
        assert read(reader, wire_bytes(vector), size) == stream_message(vector["decoded"])


@pytest.mark.parametrize("vector", STREAMS)
def test_a_stream_is_written_again(vector: Decoded) -> None:
    message = stream_message(vector["decoded"])
    assert stream_codec(vector).pack(message, is_dialer(vector)) == wire_bytes(vector)


def test_the_serf_state_of_a_push_pull_is_written_again() -> None:
    states = 0
    for vector in load("gossip-tcp"):
        message = stream_message(vector["decoded"])
        if isinstance(message, PushPull) and message.user_state:
            state = decode_serf_untrusted(message.user_state)
            assert encode_serf(state) == message.user_state
            states += 1
    assert states > 50
