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


def ping_codes_known(ping: bytes) -> int:
    """What `ping_codes_min` found for a ping that differs in its sequence number only, else 0."""
    parts = _around_number(ping)
    codes = None if parts is None else _known.get(parts)
    return 0 if parts is None or codes is None else codes + _number_bytes(ping, parts)


def ping_codes_min(ping: bytes) -> int:
    """The number of codes of a ping if its sequence number has nothing in common with the rest.

    Pings to one node differ only in that number. If no pair of neighbours that touches the number
    occurs elsewhere, no code spans its edges and nothing behind it can refer to it. Then the rest
    is encoded the same way whatever the number, which needs to be done once only.

    Returns:
        The exact number of codes in that case, else 0.
    """
    parts = _around_number(ping)
    if parts is None:
        return 0
    codes = _known.get(parts)
    if codes is None:
        if len(_known) >= _KNOWN_MAX:
            del _known[next(iter(_known))]
        head, tail = parts
        codes = _known[parts] = lzw.count_codes((*head, lzw.UNLIKE, *tail)) - 1
    return codes + _number_bytes(ping, parts)


def _number_bytes(ping: bytes, around: tuple[bytes, bytes]) -> int:
    return len(ping) - len(around[0]) - len(around[1])


_KNOWN_MAX = 8192
_known: dict[tuple[bytes, bytes], int] = {}
"""Codes of what stands before and behind the sequence number of a ping, without the number."""


def _around_number(ping: bytes) -> tuple[bytes, bytes] | None:
    """What stands around the number, if that shares no pair of neighbours with it."""
    start = ping.find(_NUMBER_KEY) + len(_NUMBER_KEY)
    if start < len(_NUMBER_KEY) or start == len(ping):
        return None
    end = start + _NUMBER_BYTES.get(ping[start], 1)
    if end > len(ping):
        return None
    for position in range(start - 1, min(end, len(ping) - 1)):
        pair = ping[position : position + 2]
        if ping.find(pair) != position or ping.rfind(pair) != position:
            return None
    return ping[:start], ping[end:]
