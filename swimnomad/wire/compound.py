"""Several messages in one datagram: a count, their lengths, the parts back to back.

Source: gossip.md §6.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence

from swimnomad.errors import MalformedMessage, UsageError
from swimnomad.wire.messages import MessageType

PARTS_MAX = 127
"""Most parts we send: memberlist up to 0.2.3 misreads 128 and more."""

HEADER_BYTES = 2
PART_OVERHEAD_BYTES = 2
PART_BYTES_MAX = 65_535


def make_compound(parts: Sequence[bytes]) -> bytes:
    """One message out of several.

    Raises:
        UsageError: If there is no part, more than 127, an empty one or one over 65,535 bytes.
    """
    if not 0 < len(parts) <= PARTS_MAX:
        raise UsageError(f"a compound has 1 to {PARTS_MAX} parts, not {len(parts)}")
    lengths = [len(part) for part in parts]
    if not (min(lengths) and max(lengths) <= PART_BYTES_MAX):
        raise UsageError(f"a part of a compound has 1 to {PART_BYTES_MAX} bytes")
    head = struct.pack(f">BB{len(parts)}H", MessageType.COMPOUND, len(parts), *lengths)
    return head + b"".join(parts)


def split_compound_untrusted(data: bytes) -> tuple[list[bytes], int]:
    """The parts of a compound (type byte included) that are whole.

    Returns:
        The whole parts in order, and how many were cut off or are missing.

    Raises:
        MalformedMessage: If the count or the table of lengths is not whole.
    """
    if len(data) < HEADER_BYTES:
        raise MalformedMessage("missing compound length byte")
    count = data[1]
    position = HEADER_BYTES + 2 * count
    if len(data) < position:
        raise MalformedMessage("truncated len slice")
    parts: list[bytes] = []
    for length in struct.unpack_from(f">{count}H", data, HEADER_BYTES):
        end = position + length
        if end > len(data):
            break
        parts.append(data[position:end])
        position = end
    return parts, count - len(parts)
