"""The 12-byte header of a yamux frame.

| offset | size | field |
|---|---|---|
| 0 | 1 | version, 0 |
| 1 | 1 | type |
| 2 | 2 | flags |
| 4 | 4 | stream, 0 for ping and go-away |
| 8 | 4 | data: bytes that follow; window update: credit; ping: any value; go-away: reason |

Only data frames have a payload. All integers are big-endian.

Source: rpc.md §4.1.
"""

from __future__ import annotations

import struct
from typing import Final, NamedTuple

HEADER_BYTES: Final = 12
VERSION: Final = 0
U32_MAX: Final = 0xFFFF_FFFF

# Plain integers and not enums: these are compared for every frame.
DATA: Final = 0
WINDOW_UPDATE: Final = 1
PING: Final = 2
GO_AWAY: Final = 3

SYN: Final = 1
ACK: Final = 2
FIN: Final = 4
RST: Final = 8

NORMAL: Final = 0
PROTOCOL_ERROR: Final = 1
INTERNAL_ERROR: Final = 2

_HEADER: Final = struct.Struct(">BBHII")

pack_header: Final = _HEADER.pack
"""Version, type, flags, stream, length to 12 bytes."""
unpack_header: Final = _HEADER.unpack_from
"""Version, type, flags, stream, length of the 12 bytes at a position."""


class Header(NamedTuple):
    """One frame header, for tests and tools; the session reads the bare numbers."""

    version: int
    kind: int
    flags: int
    stream: int
    length: int

    @classmethod
    def from_bytes(cls, data: bytes) -> Header:
        """The header at the beginning of `data`, which has at least 12 bytes."""
        return cls(*unpack_header(data, 0))

    def to_bytes(self) -> bytes:
        """The 12 bytes."""
        return pack_header(*self)
