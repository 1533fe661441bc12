"""Gossip keys as text: standard base64 of 16, 24 or 32 bytes.

Source: nomad-agent.md §14.
"""

from __future__ import annotations

import base64
import re

from swimnomad.errors import KeyringError

KEY_LENGTHS = (16, 24, 32)

_ALPHABET = re.compile(r"[A-Za-z0-9+/\r\n]*")


def decode_key(text: str) -> bytes:
    """The bytes of a key.

    Raises:
        KeyringError: In Nomad's words, if the text is not base64 or the key has another length.
    """
    good = _ALPHABET.match(text)
    assert good is not None
    rest = text[good.end() :].strip("\r\n")
    digits = len(good[0].replace("\r", "").replace("\n", ""))
    padding = -digits % 4
    if rest != "=" * padding or padding == 3:
        # Where Go says so: at the first wrong character, or where the unfinished group begins.
        at = good.end() if rest else digits - digits % 4
        raise KeyringError(f"Invalid encryption key: illegal base64 data at input byte {at}")
    key = base64.b64decode(text)
    if len(key) not in KEY_LENGTHS:
        raise KeyringError(
            "failed to configure keyring: Invalid key: key size must be 16, 24 or 32 bytes"
        )
    return key


def encode_key(key: bytes) -> str:
    """A key as it stands in files and on command lines."""
    return base64.b64encode(key).decode()
