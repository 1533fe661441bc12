"""The encryption keys of a node: the primary encrypts, every key decrypts.

Texts of errors are the reference's: the answer to a key query carries them to other nodes.

Source: gossip.md §9.2.
"""

from __future__ import annotations

from collections.abc import Iterable

from swimnomad.errors import KeyringError

KEY_BYTES = (16, 24, 32)


def check_key(key: bytes) -> None:
    """Check the length of a key.

    Raises:
        KeyringError: If it is none of 16, 24 and 32 bytes (AES-128, AES-192, AES-256).
    """
    if len(key) not in KEY_BYTES:
        raise KeyringError("key size must be 16, 24 or 32 bytes")


class Keyring:
    """An ordered set of keys, the primary first. Changes take effect with the next message.

    Args:
        keys: All keys; the primary may be among them.
        primary: The key that encrypts. Without keys and primary encryption is off.

    Raises:
        KeyringError: If there are keys but no primary, or a key has a wrong length.
    """

    def __init__(self, keys: Iterable[bytes] = (), primary: bytes | None = None) -> None:
        others = tuple(keys)
        if others and not primary:
            raise KeyringError("a keyring with keys needs a primary key")
        self._keys: tuple[bytes, ...] = ()
        for key in (primary, *others) if primary else ():
            self.add(key)

    @property
    def keys(self) -> tuple[bytes, ...]:
        """All keys, the primary first."""
        return self._keys

    @property
    def primary(self) -> bytes | None:
        """The key that encrypts, None if the ring is empty."""
        return self._keys[0] if self._keys else None

    @property
    def enabled(self) -> bool:
        """Whether there is a key, which means that encryption is on."""
        return bool(self._keys)

    def add(self, key: bytes) -> None:
        """Append a key; a known one changes nothing, the first one becomes the primary.

        Raises:
            KeyringError: If its length is wrong.
        """
        check_key(key)
        if key not in self._keys:
            self._keys += (key,)

    def use(self, key: bytes) -> None:
        """Make a known key the primary; the order of the others stays.

        Raises:
            KeyringError: If the key is unknown.
        """
        if key not in self._keys:
            raise KeyringError("Requested key is not in the keyring")
        self._keys = (key, *(other for other in self._keys if other != key))

    def remove(self, key: bytes) -> None:
        """Forget a key; an unknown one changes nothing.

        Raises:
            KeyringError: If it is the primary.
        """
        if key == self.primary:
            raise KeyringError("Removing the primary key is not allowed")
        self._keys = tuple(other for other in self._keys if other != key)
