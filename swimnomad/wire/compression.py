"""The compress message: an LZW stream of a whole message, its type byte included.

Source: gossip.md §5.10, §7.3.
"""

from __future__ import annotations

from functools import lru_cache
from typing import Final, NamedTuple

from swimnomad.errors import MalformedMessage
from swimnomad.wire import estimate, lzw
from swimnomad.wire.dialect import BYTES, U8, Field, Schema
from swimnomad.wire.lzw import ExpandsTooFar
from swimnomad.wire.memory import Recent
from swimnomad.wire.messages import MessageType

ALGORITHM_LZW = 0


class Compressed(NamedTuple):
    """Body of a compress message; `data` is a stream of `algorithm`."""

    algorithm: int
    data: bytes | None


COMPRESSED: Final = Schema(
    Compressed,
    "Algo Buf",
    Field("Algo", "algorithm", U8),
    Field("Buf", "data", BYTES),
)

_TYPE = bytes((MessageType.COMPRESS,))

_PING = int(MessageType.PING)

# The type byte is one more, the length of an empty stream one less.
_HEAD_BYTES = len(COMPRESSED.encode(Compressed(ALGORITHM_LZW, b"")))
"""Bytes of a compress message besides the stream and its length."""

_SHORT_BYTES_MAX = 200
"""Longest message whose outcome is estimated first: beyond it an attempt is rarely in vain."""

_REPEATED_BYTES_MAX = 2048
"""Longest datagram whose compression is remembered."""

_REPEATED_COUNT = 256

_streams: Final[Recent[bytes]] = Recent()
_messages: Final[Recent[bytes]] = Recent()
_datagrams: Final[Recent[bytes]] = Recent(1024)
"""What datagrams expand to that this process has compressed: some may be long on their way."""
_REMEMBERED_BYTES_MAX = 16_384


def wrap(message: bytes) -> bytes:
    """A compress message around `message`, even if that makes it longer."""
    stream = _streams.recall(message)
    if stream is None:
        stream = lzw.compress(message)
        _streams.remember(message, stream)
        _messages.remember(stream, message)
    return _wrapped(stream)


def wrap_if_shorter(message: bytes) -> bytes:
    """A compress message around `message` if that is shorter, else `message` itself."""
    length = len(message)
    if length <= _SHORT_BYTES_MAX:
        codes_max = _CODES_MAX[length]
        if codes_max < 1 or _needs_more_codes(message, codes_max):
            return message
    return _wrap_repeated(message) if length <= _REPEATED_BYTES_MAX else _try_to_wrap(message)


def _needs_more_codes(message: bytes, codes_max: int) -> bool:
    """Whether it is certain that the stream has more codes than that; the cheapest way first."""
    if message[0] != _PING:
        return estimate.codes_min(message) > codes_max
    return (
        estimate.ping_codes_known(message) > codes_max
        or estimate.codes_min(message) > codes_max
        or estimate.ping_codes_min(message) > codes_max
    )


def _try_to_wrap(message: bytes) -> bytes:
    stream = lzw.compress_within(message, _stream_bytes_max(len(message)))
    if stream is None:
        return message
    if len(message) <= _REPEATED_BYTES_MAX:
        _datagrams.remember(stream, message)
    return _wrapped(stream)


# Gossip sends the same datagram to several nodes within a tick.
_wrap_repeated = lru_cache(maxsize=_REPEATED_COUNT)(_try_to_wrap)


def _wrapped(stream: bytes) -> bytes:
    return _TYPE + COMPRESSED.encode(Compressed(ALGORITHM_LZW, stream))


def _stream_bytes_max(length: int) -> int:
    """Longest stream with which a compress message is shorter than `length` bytes."""
    room = length - 1 - _HEAD_BYTES  # for the stream and its length
    # The length of the stream takes 1, 3 or 5 bytes, by its size.
    return max(min(room - 1, 31), min(room - 3, 0xFFFF), room - 5)


_CODES_MAX = tuple(
    lzw.code_count_max(_stream_bytes_max(length)) for length in range(_SHORT_BYTES_MAX + 1)
)
"""By the length of a message: most codes its stream may have so that compression pays."""


def unwrap_untrusted(body: bytes, limit: int) -> bytes:
    """The message inside a compress message; `body` is what follows its type byte.

    Raises:
        MalformedMessage: If the body does not decode, the algorithm is unknown, or the message is
            empty or has more than `limit` bytes.
    """
    algorithm, data = COMPRESSED.decode_untrusted(body)
    if algorithm != ALGORITHM_LZW:
        raise MalformedMessage(f"Cannot decompress unknown algorithm {algorithm}")
    message = _decompress_untrusted(data or b"", limit)
    if not message:
        raise MalformedMessage("compressed message is empty")
    return message


def _decompress_untrusted(data: bytes, limit: int) -> bytes:
    """The same as `lzw.decompress_untrusted`, which remembers what is small and was just read."""
    message = _datagrams.recall(data) or _messages.recall(data)
    if message is not None and len(message) <= limit:
        return message
    if len(data) > _REPEATED_BYTES_MAX or limit < _REMEMBERED_BYTES_MAX:
        return lzw.decompress_untrusted(data, limit)
    message = _decompress_repeated(data)
    return lzw.decompress_untrusted(data, limit) if message is None else message


@lru_cache(maxsize=_REPEATED_COUNT)
def _decompress_repeated(data: bytes) -> bytes | None:
    """None if the result is too long to be kept; many nodes of one process read the same gossip."""
    try:
        return lzw.decompress_untrusted(data, _REMEMBERED_BYTES_MAX)
    except ExpandsTooFar:
        return None
