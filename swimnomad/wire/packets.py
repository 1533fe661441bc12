"""Datagrams: the layers around messages, put on and peeled off.

Outgoing: compress (if shorter), checksum, encrypt, label. Incoming: the reverse; below the
checksum, compounds and compress messages may nest in any order.

Source: gossip.md §9 to §11.
"""

from __future__ import annotations

from collections.abc import Callable

from swimnomad.errors import MalformedMessage, UsageError
from swimnomad.names import Value
from swimnomad.wire import encryption
from swimnomad.wire.compound import split_compound_untrusted
from swimnomad.wire.compression import unwrap_untrusted, wrap_if_shorter
from swimnomad.wire.crc import add_crc, strip_crc_untrusted
from swimnomad.wire.keyring import Keyring
from swimnomad.wire.labels import (
    check_label_untrusted,
    label_bytes,
    label_header,
    strip_label_untrusted,
)
from swimnomad.wire.messages import MessageType

_COMPOUND = int(MessageType.COMPOUND)
_COMPRESS = int(MessageType.COMPRESS)
_HAS_CRC = int(MessageType.HAS_CRC)
_HAS_LABEL = int(MessageType.HAS_LABEL)


class PacketSettings(Value, frozen=True):
    """What the layers of a datagram need to know.

    `verify_incoming` and `verify_outgoing` matter only while the keyring holds a key.
    """

    compression: bool = True
    label: str = ""
    skip_inbound_label_check: bool = False
    verify_incoming: bool = True
    verify_outgoing: bool = True
    encryption_version: int = 1
    """Version of what we send, 0 or 1; both are always read."""
    decompressed_bytes_max: int = 40 * 1024 * 1024
    """What all compressed parts of one datagram may expand to, together."""
    nesting_max: int = 8
    """Compounds and compress messages inside one another."""
    messages_max: int = 4096
    """Messages taken out of one datagram."""


class Packet(Value, frozen=True):
    """What was in a datagram.

    `messages`: the bare messages in order, none empty, of any type but compound and compress.
    `problems`: what was lost on the way, one text for each loss.
    """

    messages: tuple[bytes, ...]
    problems: tuple[str, ...] = ()


class PacketCodec:
    """Packs and unpacks datagrams. The keyring may change between calls.

    Args:
        settings: See `PacketSettings`.
        keyring: Keys; empty means that encryption is off.
        nonces: Returns 12 bytes never used before, at each call.

    Raises:
        UsageError: If the label is too long or the encryption version unknown.
    """

    def __init__(
        self, settings: PacketSettings, keyring: Keyring, nonces: Callable[[], bytes]
    ) -> None:
        if settings.encryption_version not in encryption.OVERHEAD_BYTES:
            raise UsageError(f"encryption version is 0 or 1, not {settings.encryption_version}")
        self._settings = settings
        self._keyring = keyring
        self._nonces = nonces
        self._compression = settings.compression
        self._label = label_bytes(settings.label)
        self._label_header = label_header(self._label)
        self._must_check_label = bool(self._label) or settings.skip_inbound_label_check

    @property
    def overhead(self) -> int:
        """Bytes to leave free for label and encryption when a datagram is filled to a budget."""
        overhead = len(self._label_header)
        if self._settings.verify_outgoing and self._keyring.enabled:
            overhead += encryption.OVERHEAD_BYTES[self._settings.encryption_version]
        return overhead

    def pack(self, message: bytes, crc: bool = False) -> bytes:
        """The datagram for one message (which may be a compound); never pass an empty one."""
        assert message
        data = wrap_if_shorter(message) if self._compression else message
        if crc:
            data = add_crc(data)
        primary = self._keyring.primary
        if primary is not None and self._settings.verify_outgoing:
            version = self._settings.encryption_version
            data = encryption.seal(primary, self._nonces(), data, self._label, version)
        return self._label_header + data

    def unpack_untrusted(self, data: bytes) -> Packet:
        """The messages in a datagram.

        Raises:
            MalformedMessage: If nothing of it can be used: it is empty, the label is not ours,
                it cannot be decrypted, or the checksum is wrong.
        """
        if not data:
            raise MalformedMessage("empty datagram")
        if self._must_check_label or data[0] == _HAS_LABEL:
            label, data = strip_label_untrusted(data)
            check_label_untrusted(label, self._label, self._settings.skip_inbound_label_check)
        if self._keyring.enabled:
            data = self._decrypt_untrusted(data)
        if data and data[0] == _HAS_CRC:
            data = strip_crc_untrusted(data)
        if not data:
            raise MalformedMessage("missing message type byte")
        if data[0] != _COMPOUND and data[0] != _COMPRESS:
            return Packet((data,))
        unpacking = _Unpacking(self._settings)
        unpacking.take(data, 0)
        return Packet(tuple(unpacking.messages), tuple(unpacking.problems))

    def _decrypt_untrusted(self, data: bytes) -> bytes:
        try:
            return encryption.open_untrusted(self._keyring.keys, data, self._label)
        except MalformedMessage:
            if self._settings.verify_incoming:
                raise
            return data


class _Unpacking:
    """One datagram being unpacked: what was found so far, and what it may still expand to."""

    def __init__(self, settings: PacketSettings) -> None:
        self._settings = settings
        self._expansion_left = settings.decompressed_bytes_max
        self.messages: list[bytes] = []
        self.problems: list[str] = []

    def take(self, data: bytes, depth: int) -> None:
        """Take the messages out of one part; what is wrong with it is noted, never raised."""
        if not data:
            self.problems.append("empty message")
        elif data[0] != _COMPOUND and data[0] != _COMPRESS:
            self.messages.append(data)
        elif depth >= self._settings.nesting_max:
            self.problems.append(f"nested more than {self._settings.nesting_max} deep")
        else:
            try:
                for part in self._open_untrusted(data):
                    if self._is_full():
                        return
                    self.take(part, depth + 1)
            except MalformedMessage as error:
                self.problems.append(str(error))

    def _open_untrusted(self, data: bytes) -> list[bytes]:
        if data[0] == _COMPRESS:
            part = unwrap_untrusted(data[1:], self._expansion_left)
            self._expansion_left -= len(part)
            return [part]
        parts, lost = split_compound_untrusted(data)
        if lost:
            self.problems.append(f"compound was truncated, {lost} messages lost")
        return parts

    def _is_full(self) -> bool:
        limit = self._settings.messages_max
        found = len(self.messages) + len(self.problems)
        if found == limit:
            self.problems.append(f"more than {limit} messages in a datagram")
        return found >= limit
