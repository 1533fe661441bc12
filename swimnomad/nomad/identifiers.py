"""Identifiers as Nomad's tables take them: UUIDs, compared without hyphens and case.

Source: go-memdb index.go, UUIDFieldIndex; agent-http.md §2.
"""

from __future__ import annotations

import random
import re

UUID_LENGTH = 36


def uuid_flaw(text: str) -> str:
    """What is wrong with an identifier, in the words of Nomad's index; empty if nothing is."""
    if len(text.encode("utf-8", "surrogateescape")) != UUID_LENGTH:
        return "UUID must be 36 characters"
    return _flaw(text)


def prefix_flaw(text: str) -> str:
    """What is wrong with the beginning of an identifier; empty if nothing is."""
    length = len(text.encode("utf-8", "surrogateescape"))
    if length > UUID_LENGTH:
        return f"Invalid UUID length. UUID have 36 characters; got {length}"
    return _flaw(text)


def _flaw(text: str) -> str:
    if (hyphens := text.count("-")) > 4:
        return f'UUID should have maximum of 4 "-"; got {hyphens}'
    digits = text.replace("-", "")
    if len(digits) % 2:
        return "Input (without hyphens) must be even length"
    if wrong := re.search(r"[^0-9a-fA-F]", digits):
        shown = wrong[0] if wrong[0].isprintable() else ""
        return f"Invalid UUID: encoding/hex: invalid byte: U+{ord(wrong[0]):04X} '{shown}'"
    return ""


def key_of(text: str) -> str:
    """The form in which identifiers, and beginnings of them, are compared and sorted."""
    return text.replace("-", "").lower()


def uuid_of(rng: random.Random) -> str:
    """An identifier drawn from `rng`. Whether others can guess it depends on that alone."""
    digits = f"{rng.getrandbits(128):032x}"
    return "-".join((digits[:8], digits[8:12], digits[12:16], digits[16:20], digits[20:]))
