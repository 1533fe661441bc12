"""The compress message: an LZW stream of a whole message, its type byte included.

Source: gossip.md §5.10, §7.3.
"""

from __future__ import annotations

import struct
from typing import Final, NamedTuple

from swimnomad.errors import MalformedMessage
from swimnomad.wire import lzw
from swimnomad.wire.dialect import BYTES, U8, Field, Schema
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
_OVERHEAD_BYTES_MIN = 1 + len(COMPRESSED.encode(Compressed(ALGORITHM_LZW, b"")))

_BOUND_BYTES_MAX = 256
"""Longest message whose outcome is estimated first: beyond it an attempt is rarely in vain."""

_PAIRS = tuple(
    (struct.Struct(f"={length // 2}H"), struct.Struct(f"={(length - 1) // 2}H"))
    for length in range(1, _BOUND_BYTES_MAX + 1)
)


def wrap(message: bytes) -> bytes:
    """A compress message around `message`, even if that makes it longer."""
    return _TYPE + COMPRESSED.encode(Compressed(ALGORITHM_LZW, lzw.compress(message)))


def wrap_if_shorter(message: bytes) -> bytes:
    """A compress message around `message` if that is shorter, else `message` itself."""
    if is_hopeless(message):
        return message
    wrapped = wrap(message)
    return wrapped if len(wrapped) < len(message) else message


def is_hopeless(message: bytes) -> bool:
    """Whether compression certainly makes a message no shorter; False means not known.

    A code stands for several bytes only if every pair of neighbours among them occurred before.
    So each distinct pair costs a code at its first place, and there is one code more at the end.
    With the clear at the start and the end code that makes pairs + 3 codes of at least 9 bits.
    """
    length = len(message)
    if length > _BOUND_BYTES_MAX:
        return False
    if length < _OVERHEAD_BYTES_MIN + 4:
        return True
    even, odd = _PAIRS[length - 1]
    pairs = {*even.unpack_from(message), *odd.unpack_from(message, 1)}
    return _OVERHEAD_BYTES_MIN + (9 * (len(pairs) + 3) + 7) // 8 >= length


def unwrap_untrusted(body: bytes, limit: int) -> bytes:
    """The message inside a compress message; `body` is what follows its type byte.

    Raises:
        MalformedMessage: If the body does not decode, the algorithm is unknown, or the message is
            empty or has more than `limit` bytes.
    """
    algorithm, data = COMPRESSED.decode_untrusted(body)
    if algorithm != ALGORITHM_LZW:
        raise MalformedMessage(f"Cannot decompress unknown algorithm {algorithm}")
    message = lzw.decompress_untrusted(data or b"", limit)
    if not message:
        raise MalformedMessage("compressed message is empty")
    return message
