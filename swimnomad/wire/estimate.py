"""How many LZW codes a short message needs at least, found without compressing it.

Most datagrams are pings and acks that no compression makes shorter. Upstream tries and throws the
result away; that would be the most expensive part of sending here. Both functions are sound: the
stream never has fewer codes, so who skips an attempt because of them changes nothing.

Source: the encoder of gossip.md §7.1.
"""

from __future__ import annotations

import struct
from functools import lru_cache

from swimnomad.wire import lzw

_NUMBER_KEY = b"\xa5SeqNo"
_NUMBER_BYTES = {0xCC: 2, 0xCD: 3, 0xCE: 5, 0xCF: 9}
"""Length of an integer by its first byte, where it is not 1."""


@lru_cache(maxsize=512)
def _pairs(length: int) -> tuple[struct.Struct, struct.Struct]:
    """Neighbours from even and from odd positions of `length` bytes, as numbers."""
    return struct.Struct(f"={length // 2}H"), struct.Struct(f"={(length - 1) // 2}H")


def codes_min(message: bytes) -> int:
    """A lower bound: the number of distinct pairs of neighbouring bytes, plus one.

    A code stands for several bytes only if every pair among them occurred before. So each pair
    costs a code at its first place, and there is one code more at the end.
    """
    even, odd = _pairs(len(message))
    return len({*even.unpack_from(message), *odd.unpack_from(message, 1)}) + 1


def ping_codes_min(ping: bytes) -> int:
    """The number of codes of a ping if its sequence number has nothing in common with the rest.

    Pings to one node differ only in that number. If no pair of neighbours that touches the number
    occurs elsewhere, no code spans its edges and nothing behind it can refer to it. Then the rest
    is encoded the same way whatever the number, which needs to be done once only.

    Returns:
        The exact number of codes in that case, else 0.
    """
    start = ping.find(_NUMBER_KEY) + len(_NUMBER_KEY)
    if start < len(_NUMBER_KEY) or start == len(ping):
        return 0
    size = _NUMBER_BYTES.get(ping[start], 1)
    end = start + size
    if end > len(ping):
        return 0
    for position in range(start - 1, min(end, len(ping) - 1)):
        pair = ping[position : position + 2]
        if ping.find(pair) != position or ping.rfind(pair) != position:
            return 0
    return _codes_around(ping[:start], ping[end:]) + size


@lru_cache(maxsize=8192)
def _codes_around(head: bytes, tail: bytes) -> int:
    """Codes of head and tail if something unlike both stands between them."""
    return lzw.count_codes((*head, lzw.UNLIKE, *tail)) - 1
