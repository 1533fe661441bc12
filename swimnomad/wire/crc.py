"""The checksum header of a datagram: type 12, CRC-32 of what follows, big-endian.

Source: gossip.md §8.
"""

from __future__ import annotations

import zlib

from swimnomad.errors import MalformedMessage

HEADER_BYTES = 5
_TYPE = b"\x0c"


def add_crc(message: bytes) -> bytes:
    """The message behind a checksum header."""
    return _TYPE + zlib.crc32(message).to_bytes(4, "big") + message


def strip_crc_untrusted(data: bytes) -> bytes:
    """What is behind the checksum header; `data` itself if it has none.

    A header that is not whole is none: its type byte is refused later as unknown.

    Raises:
        MalformedMessage: If the checksum is wrong.
    """
    if len(data) < HEADER_BYTES or data[0] != 12:
        return data
    message = data[HEADER_BYTES:]
    if zlib.crc32(message) != int.from_bytes(data[1:HEADER_BYTES], "big"):
        raise MalformedMessage("wrong CRC")
    return message
