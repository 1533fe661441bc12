"""Streams: frames in every combination, cut anywhere, answered or closed, and their limits."""

from __future__ import annotations

from itertools import count, product

import pytest

from swimnomad.errors import MalformedMessage, UsageError
from swimnomad.wire.compression import wrap
from swimnomad.wire.dialect import pack
from swimnomad.wire.encryption import seal
from swimnomad.wire.frames import StreamCodec, StreamSettings, UnwrapFailed, encode_stream
from swimnomad.wire.keyring import Keyring
from swimnomad.wire.messages import (
    Ack,
    ErrorReply,
    NodeRecord,
    Ping,
    PushPull,
    StreamMessage,
    UserMessage,
)

DEFAULTS = StreamSettings()
KEY = bytes(range(16))
NODES = tuple(
    NodeRecord(f"server-{i}", i, bytes((10, 0, 0, i)), 4648, b"\xff\x80", bytes(6), i % 4)
    for i in range(5)
)
REQUESTS: list[StreamMessage] = [
    Ping(42, "n1", bytes(4), 7946, "n2"),
    PushPull(True, NODES, b"state" * 100),
    PushPull(False, ()),
    UserMessage(b"m" * 300),
    UserMessage(b""),
]
ANSWERS: list[StreamMessage] = [Ack(42), PushPull(False, NODES, b"s"), ErrorReply("no")]


def codec(settings: StreamSettings = DEFAULTS, key: bytes | None = None) -> StreamCodec:
    numbers = count()
    return StreamCodec(settings, Keyring(primary=key), lambda: next(numbers).to_bytes(12, "big"))


PLAIN = StreamSettings(compression=False)


def read(streams: StreamCodec, data: bytes, dialer: bool, size: int) -> StreamMessage | None:
    """Feed pieces of `size` bytes; nothing but the last one may complete the message."""
    reader = streams.reader(dialer)
    assert reader.is_empty
    message = None
    for start in range(0, len(data), size):
        assert message is None
        message = reader.feed(data[start : start + size])
        assert not reader.is_empty
        assert reader.is_done is (message is not None)
    return message


@pytest.mark.parametrize(
    ("compression", "label", "key", "version"),
    list(product((False, True), ("", "pool"), (None, KEY), (0, 1))),
)
def test_every_combination_of_frames_survives_any_cut(
    compression: bool, label: str, key: bytes | None, version: int
) -> None:
    """gossip 40.9, 40.17."""
    settings = StreamSettings(compression=compression, label=label, encryption_version=version)
    streams = codec(settings, key)
    for dialer, messages in ((True, REQUESTS), (False, ANSWERS)):
        for message in messages:
            data = streams.pack(message, dialer)
            assert data.startswith(b"\xf4\x04pool") is (dialer and bool(label))
            for size in (len(data), 1, 3, 64):
                assert read(streams, data, not dialer, size) == message


@pytest.mark.parametrize(
    ("label", "frame"),
    [
        (
            "",
            "0a0000002e01000102030405060708090a0b93ee0380097f92f625e3c4d953d23e6799cf8dc30bea9044dc7bb4ede598e18354",
        ),
        (
            "blah",
            "f404626c61680a0000002e01000102030405060708090a0b93ee0380097f92f625e3c4d953d23e6799451dbbbd60a5783e5867e42f6d0839fc",
        ),
    ],
)
def test_the_published_frames_hold(label: str, frame: str) -> None:
    settings = StreamSettings(compression=False, label=label)
    streams = StreamCodec(settings, Keyring(primary=KEY), lambda: bytes(range(12)))
    assert streams.pack(Ping(42, "n1"), dialer=True).hex() == frame
    assert read(streams, bytes.fromhex(frame), False, 1) == Ping(42, "n1")


@pytest.mark.parametrize("length", ["cd012c", "d1012c"])
def test_headers_of_older_and_newer_codecs_are_read(length: str) -> None:
    """gossip 3.3."""
    header = bytes.fromhex("0683a44a6f696ec3a54e6f64657300ac5573657253746174654c656e" + length)
    found = codec(PLAIN).reader(dialer=False).feed(header + bytes(300))
    assert found == PushPull(True, (), bytes(300))


def test_streams_are_compressed_even_if_that_makes_them_longer() -> None:
    message = Ack(7)
    data = codec().pack(message, dialer=False)
    assert data == wrap(encode_stream(message))
    assert len(data) > len(encode_stream(message))


def test_bytes_behind_the_message_are_ignored() -> None:
    reader = codec(PLAIN).reader(dialer=True)
    assert reader.feed(encode_stream(Ack(1)) + b"junk") == Ack(1)
    assert reader.feed(b"more") is None
    reader.finish()


def test_without_outgoing_verification_nothing_is_encrypted() -> None:
    streams = codec(StreamSettings(compression=False, verify_outgoing=False), KEY)
    assert streams.pack(Ack(1), dialer=False) == encode_stream(Ack(1))


# --- ends -----------------------------------------------------------------------------------------


def test_the_end_before_the_first_byte_is_clean() -> None:
    reader = codec().reader(dialer=False)
    assert reader.feed(b"") is None
    assert reader.is_empty
    with pytest.raises(MalformedMessage, match=r"^EOF$"):
        reader.finish()


def test_the_end_in_the_middle_is_not() -> None:
    for settings, key in ((PLAIN, None), (StreamSettings(), None), (PLAIN, KEY)):
        streams = codec(settings, key)
        data = streams.pack(REQUESTS[1], dialer=True)
        for cut in (1, 2, 6, 40, len(data) - 1):
            reader = streams.reader(dialer=False)
            assert reader.feed(data[:cut]) is None
            assert not reader.is_empty
            with pytest.raises(MalformedMessage, match=r"^unexpected EOF$"):
                reader.finish()


# --- what is answered -----------------------------------------------------------------------------


def failure(streams: StreamCodec, data: bytes, dialer: bool = False) -> MalformedMessage:
    """Why `data` is refused; afterwards the reader takes no notice of anything."""
    reader = streams.reader(dialer)
    with pytest.raises(MalformedMessage) as caught:
        reader.feed(data)
    assert reader.feed(b"\x08") is None
    assert not reader.is_done
    return caught.value


def frame(plain: bytes, key: bytes = KEY) -> bytes:
    """An encrypted frame around any bytes."""
    head = b"\x0a" + (29 + len(plain)).to_bytes(4, "big")
    return head + seal(key, bytes(12), plain, head)


UNWRAP_FAILURES = {
    "encrypted without keys": (
        None,
        frame(b"\x02\x80"),
        "Remote state is encrypted and encryption is not configured",
    ),
    "plain with keys": (
        KEY,
        b"\x00\x80",
        "Encryption is configured but remote state is not encrypted",
    ),
    "another key": (
        KEY,
        frame(b"\x00\x80", bytes(16)),
        "No installed keys could decrypt the message",
    ),
    "unknown version": (KEY, b"\x0a\0\0\0\x01\x07", "Unsupported encryption version 7"),
    "empty envelope": (KEY, b"\x0a\0\0\0\0", "Cannot decrypt empty payload"),
    "short envelope": (KEY, b"\x0a\0\0\0\x05\x01aaaa", "Payload is too small to decrypt: 5"),
    "frame too long": (
        KEY,
        b"\x0a\x7f\xff\xff\xff",
        "Remote node state is larger than limit (2147483647)",
    ),
    "nothing inside": (KEY, frame(b""), "message is empty"),
    "cut compression inside": (KEY, frame(b"\x09\x82\xa4Algo"), "unexpected EOF"),
    "unknown algorithm": (
        None,
        b"\x09\x82\xa4Algo\x01\xa3Buf\xa0",
        "Cannot decompress unknown algorithm 1",
    ),
    "bad code": (None, b"\x09\x82\xa4Algo\x00\xa3Buf\xa2\xff\xff", "lzw: invalid code"),
    "byte c1": (None, b"\x09\xc1", "byte 0xc1 begins no MessagePack object"),
    "compressed nothing": (
        None,
        b"\x09\x82\xa4Algo\x00\xa3Buf\xa3\x00\x03\x02",
        "compressed message is empty",
    ),
}


@pytest.mark.parametrize(("key", "data", "text"), UNWRAP_FAILURES.values(), ids=UNWRAP_FAILURES)
def test_what_cannot_be_unwrapped_is_answered(key: bytes | None, data: bytes, text: str) -> None:
    """gossip 40.12: the texts are those of the reference."""
    error = failure(codec(key=key), data)
    assert isinstance(error, UnwrapFailed)
    assert str(error) == text


def test_refusals_come_with_the_first_byte_where_they_can() -> None:
    assert isinstance(failure(codec(), b"\x0a"), UnwrapFailed)
    assert isinstance(failure(codec(key=KEY), b"\x00"), UnwrapFailed)


def test_without_incoming_verification_plain_streams_pass_but_frames_must_open() -> None:
    """gossip 40.13: the streams of it."""
    streams = codec(StreamSettings(verify_incoming=False), KEY)
    plain = codec().pack(REQUESTS[0], dialer=True)
    assert read(streams, plain, False, 1) == REQUESTS[0]
    assert read(streams, codec(key=KEY).pack(REQUESTS[0], True), False, 1) == REQUESTS[0]
    assert isinstance(failure(streams, frame(b"\x00\x80", bytes(16))), UnwrapFailed)


# --- what is closed in silence --------------------------------------------------------------------


def push_pull(nodes: object, state: object, rest: bytes = b"") -> bytes:
    return b"\x06" + pack({"Join": True, "Nodes": nodes, "UserStateLen": state}) + rest


VIOLATIONS = {
    "answer as a request": b"\x02\x81\xa5SeqNo\x01",
    "unknown type": b"\xc8",
    "checksum": b"\x0c",
    "10 million nodes": push_pull(10_000_000, 0),
    "negative nodes": push_pull(-1, 0),
    "30 MB of state": push_pull(0, 30_000_000),
    "negative state": push_pull(0, -1),
    "no number": push_pull("many", 0),
    "30 MB of message": b"\x08" + pack({"UserMsgLen": 30_000_000}),
    "negative message": b"\x08" + pack({"UserMsgLen": -1}),
    "no record": push_pull(1, 0, b"\x05"),
    "byte c1 in a record": push_pull(1, 0, b"\x81\xc1"),
    "text of 4 GB": b"\x00\xdb\xff\xff\xff\xff",
    "cut inside a frame": wrap(push_pull(2, 0, b"\x80")),
    "cut state inside a frame": wrap(push_pull(0, 5, b"abcd")),
    "empty label": b"\xf4\x00",
    "a label": b"\xf4\x04pool",
}


@pytest.mark.parametrize("data", VIOLATIONS.values(), ids=VIOLATIONS)
def test_violations_close_in_silence(data: bytes) -> None:
    """gossip 40.21: too many nodes, too much state, too long messages among them."""
    assert not isinstance(failure(codec(), data), UnwrapFailed)


@pytest.mark.parametrize("data", [b"\x00\x80", b"\x08\x80", b"\xf4\x04pool"])
def test_an_answer_is_no_request_and_has_no_label(data: bytes) -> None:
    """The answering side writes no label header, so none is looked for."""
    settings = StreamSettings(label="pool")
    assert not isinstance(failure(codec(settings), data, dialer=True), UnwrapFailed)


@pytest.mark.parametrize(("ours", "theirs"), [("", "pool"), ("pool", ""), ("pool", "Pool")])
def test_another_label_is_another_pool(ours: str, theirs: str) -> None:
    """gossip 40.17."""
    for key in (None, KEY):
        data = codec(StreamSettings(label=theirs), key).pack(REQUESTS[0], dialer=True)
        error = failure(codec(StreamSettings(label=ours), key), data)
        assert not isinstance(error, UnwrapFailed)


def test_behind_a_proxy_the_label_is_only_authenticated() -> None:
    behind = codec(StreamSettings(label="pool", skip_inbound_label_check=True), KEY)
    data = codec(StreamSettings(label="pool"), KEY).pack(REQUESTS[0], dialer=True)
    assert "unexpected label" in str(failure(behind, data))
    assert read(behind, data[6:], False, 1) == REQUESTS[0]


def test_limits_are_those_of_the_settings() -> None:
    message = PushPull(True, NODES, b"state")
    data = encode_stream(message)
    fitting = StreamSettings(nodes_max=5, user_state_bytes_max=5, total_bytes_max=len(data))
    assert codec(fitting).reader(dialer=False).feed(data) == message
    for settings in (
        StreamSettings(nodes_max=4),
        StreamSettings(user_state_bytes_max=4),
        StreamSettings(total_bytes_max=len(data) - 1),
    ):
        assert not isinstance(failure(codec(settings), data), UnwrapFailed)
    small = StreamSettings(decompressed_bytes_max=len(data) - 1)
    assert isinstance(failure(codec(small), wrap(data)), UnwrapFailed)
    short = StreamSettings(user_message_bytes_max=2)
    assert codec(short).reader(False).feed(encode_stream(UserMessage(b"ab"))) == UserMessage(b"ab")
    assert "3 bytes" in str(failure(codec(short), encode_stream(UserMessage(b"abc"))))


def test_reading_byte_by_byte_takes_linear_time() -> None:
    """A record that is never whole is looked at once, however small the pieces."""

    class Counting(bytearray):
        looked_at = 0

        def __getitem__(self, index: object) -> object:  # type: ignore[override]  # counts, no more
            Counting.looked_at += 1
            return super().__getitem__(index)  # type: ignore[call-overload]  # any index

    reader = codec().reader(dialer=False)
    reader._buffer = reader._received = Counting()
    reader.feed(b"\x00\xdc\xff\xff")
    for _ in range(2000):
        assert reader.feed(b"\x05") is None
    assert Counting.looked_at < 10_000


def test_impossible_settings_are_refused() -> None:
    with pytest.raises(UsageError, match="encryption version is 0 or 1, not 2"):
        codec(StreamSettings(encryption_version=2))
    with pytest.raises(UsageError, match="at most 255 bytes"):
        codec(StreamSettings(label="l" * 256))
