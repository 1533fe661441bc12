"""AES-GCM envelopes: version, nonce, ciphertext, tag.

Version 1 is what everybody sends; version 0 (padded to 16) is what protocol 1 sent.

Source: gossip.md §9.1.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache
from typing import TYPE_CHECKING

from swimnomad.errors import MalformedMessage

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

NONCE_BYTES = 12
TAG_BYTES = 16
OVERHEAD_BYTES = {0: 45, 1: 29}
"""Most bytes an envelope adds, by version; also the shortest envelope that is looked at."""

_BLOCK_BYTES = 16


@lru_cache(maxsize=32)
def _cipher(key: bytes) -> AESGCM:
    # Imported late: a node without keys must not pay for the library.
    from cryptography.hazmat.primitives.ciphers.aead import AESGCM

    return AESGCM(key)


def padding_bytes(length: int) -> int:
    """Padding that version 0 adds to `length` bytes: 1 to 16."""
    return _BLOCK_BYTES - length % _BLOCK_BYTES


def seal(key: bytes, nonce: bytes, plaintext: bytes, aad: bytes = b"", version: int = 1) -> bytes:
    """An envelope around `plaintext`; `aad` is authenticated with it but not contained.

    `nonce` is 12 bytes that were never used with this key.
    """
    assert len(nonce) == NONCE_BYTES
    assert version in OVERHEAD_BYTES
    if version == 0:
        padding = padding_bytes(len(plaintext))
        plaintext += bytes((padding,)) * padding
    return bytes((version,)) + nonce + _cipher(key).encrypt(nonce, plaintext, aad)


def open_untrusted(keys: Iterable[bytes], envelope: bytes, aad: bytes = b"") -> bytes:
    """The plaintext of an envelope, by the first key that fits.

    Raises:
        MalformedMessage: If it is too short, of an unknown version, or no key fits. The texts are
            the reference's: a stream is answered with them.
    """
    from cryptography.exceptions import InvalidTag

    if not envelope:
        raise MalformedMessage("Cannot decrypt empty payload")
    version = envelope[0]
    if version not in OVERHEAD_BYTES:
        raise MalformedMessage(f"Unsupported encryption version {version}")
    if len(envelope) < OVERHEAD_BYTES[version]:
        raise MalformedMessage(f"Payload is too small to decrypt: {len(envelope)}")
    nonce, sealed = envelope[1 : 1 + NONCE_BYTES], envelope[1 + NONCE_BYTES :]
    for key in keys:
        try:
            plaintext = _cipher(key).decrypt(nonce, sealed, aad)
        except InvalidTag:
            continue
        return plaintext if version else _unpad_untrusted(plaintext)
    raise MalformedMessage("No installed keys could decrypt the message")


def _unpad_untrusted(plaintext: bytes) -> bytes:
    # At least one block is there: shorter envelopes of version 0 were refused.
    padding = plaintext[-1]
    if not 0 < padding <= _BLOCK_BYTES or plaintext[-padding:] != bytes((padding,)) * padding:
        raise MalformedMessage("wrong padding")
    return plaintext[:-padding]
