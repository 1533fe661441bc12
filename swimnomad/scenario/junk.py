"""Junk as strangers send it."""

from __future__ import annotations

import random

MESSAGE_TYPES = 16
"""First bytes that are, or nearly are, message types: junk that begins so gets further in."""


def junk(rng: random.Random, size: int) -> bytes:
    """Random bytes; half of them begin with what could be the type of a message."""
    data = rng.randbytes(size)
    return bytes((rng.randrange(MESSAGE_TYPES),)) + data[1:] if rng.getrandbits(1) else data
