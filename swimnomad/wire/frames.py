"""Streams: the one message each side writes, put into its frame and read back piece by piece.

A frame is the plain message, or a compress message around it, or either in an encrypted envelope
behind type 10 and a length. The dialing side writes its label header first. Nothing marks the end:
the reader stops by itself, so it has to follow the structure of the message as it arrives.

`StreamReader` looks at no byte twice, however small the pieces, and holds at most
`total_bytes_max` bytes. It tells two failures apart: what cannot be unwrapped (`UnwrapFailed`) is
answered with an error message, any other violation closes the stream in silence.

Source: gossip.md §9.1, §12, §13.
"""

from __future__ import annotations

from collections.abc import Callable, Generator
from functools import lru_cache
from typing import Any, Final, NamedTuple

from swimnomad.errors import MalformedMessage, UsageError
from swimnomad.names import Value
from swimnomad.wire import encryption
from swimnomad.wire.codec import ACK, ERROR_REPLY, NODE_RECORD, PING
from swimnomad.wire.compression import unwrap_untrusted, wrap
from swimnomad.wire.dialect import BOOL, I64, Field, Schema, scan_untrusted
from swimnomad.wire.keyring import Keyring
from swimnomad.wire.labels import check_label_untrusted, label_bytes, label_header
from swimnomad.wire.memory import Recent
from swimnomad.wire.messages import (
    Ack,
    ErrorReply,
    MessageType,
    NodeRecord,
    Ping,
    PushPull,
    StreamMessage,
    UserMessage,
)

_MIB = 1024 * 1024
_FRAME_HEADER_BYTES = 5


class UnwrapFailed(MalformedMessage):
    """A stream's message cannot be decrypted or expanded: the peer is told so, in these words."""


class StreamSettings(Value, frozen=True):
    """What the frames of a stream need to know; limits are for what peers send.

    `verify_incoming` and `verify_outgoing` matter only while the keyring holds a key.
    """

    compression: bool = True
    label: str = ""
    skip_inbound_label_check: bool = False
    verify_incoming: bool = True
    verify_outgoing: bool = True
    encryption_version: int = 1
    """Version of what we send, 0 or 1; both are always read."""
    nodes_max: int = 1_048_576
    user_state_bytes_max: int = 20 * _MIB
    user_message_bytes_max: int = 20 * _MIB
    encrypted_bytes_max: int = 20 * _MIB
    decompressed_bytes_max: int = 40 * _MIB
    total_bytes_max: int = 40 * _MIB
    """All bytes of one message, before and again after unwrapping."""


class _PushPullHeader(NamedTuple):
    nodes: int
    user_state_bytes: int
    is_join: bool


class _UserMessageHeader(NamedTuple):
    payload_bytes: int


_PUSH_PULL_HEADER: Final = Schema(
    _PushPullHeader,
    "Nodes UserStateLen Join",
    Field("Nodes", "nodes", I64),
    Field("UserStateLen", "user_state_bytes", I64),
    Field("Join", "is_join", BOOL),
)
_USER_MESSAGE_HEADER: Final = Schema(
    _UserMessageHeader, "UserMsgLen", Field("UserMsgLen", "payload_bytes", I64)
)


# Every node tells the same of most members, and again at its next exchange.
_encode_record = lru_cache(maxsize=8192)(NODE_RECORD.encode)
_push_pulls: Final[Recent[PushPull]] = Recent()


def encode_stream(message: StreamMessage) -> bytes:
    """The bare stream form of a message, type byte first."""
    match message:
        case Ping():
            return b"\x00" + PING.encode(message)
        case Ack():
            return b"\x02" + ACK.encode(message)
        case ErrorReply():
            return b"\x0d" + ERROR_REPLY.encode(message)
        case UserMessage(payload):
            return b"\x08" + _USER_MESSAGE_HEADER.encode(_UserMessageHeader(len(payload))) + payload
        case _:
            state = message.user_state
            header = _PushPullHeader(len(message.nodes), len(state), message.is_join)
            records = map(_encode_record, message.nodes)
            data = b"".join((b"\x06", _PUSH_PULL_HEADER.encode(header), *records, state))
            _push_pulls.remember(data, message)
            return data


class StreamCodec:
    """Writes and reads the messages of streams. The keyring may change between calls.

    Args:
        settings: See `StreamSettings`.
        keyring: Keys; empty means that encryption is off.
        nonces: Returns 12 bytes never used before, at each call.

    Raises:
        UsageError: If the label is too long or the encryption version unknown.
    """

    def __init__(
        self, settings: StreamSettings, keyring: Keyring, nonces: Callable[[], bytes]
    ) -> None:
        if settings.encryption_version not in encryption.OVERHEAD_BYTES:
            raise UsageError(f"encryption version is 0 or 1, not {settings.encryption_version}")
        self._settings = settings
        self._keyring = keyring
        self._nonces = nonces
        self._label = label_bytes(settings.label)

    def pack(self, message: StreamMessage, dialer: bool) -> bytes:
        """All bytes one side writes, as one unit; `dialer` if we opened the stream."""
        data = encode_stream(message)
        if self._settings.compression:
            data = wrap(data)  # on streams even if that makes it longer
        primary = self._keyring.primary
        if primary is not None and self._settings.verify_outgoing:
            data = self._seal(primary, data)
        return label_header(self._label) + data if dialer else data

    def reader(self, dialer: bool) -> StreamReader:
        """A reader for what the peer writes; `dialer` if we opened the stream, so it answers."""
        return StreamReader(self._settings, self._keyring, self._label, dialer)

    def _seal(self, key: bytes, data: bytes) -> bytes:
        version = self._settings.encryption_version
        length = 1 + encryption.NONCE_BYTES + len(data) + encryption.TAG_BYTES
        if version == 0:
            length += encryption.padding_bytes(len(data))
        head = bytes((MessageType.ENCRYPT,)) + length.to_bytes(4, "big")
        return head + encryption.seal(key, self._nonces(), data, head + self._label, version)


Steps = Generator[None, None, StreamMessage]
"""Runs until more bytes are needed, yields, and at last returns the message."""


class StreamReader:
    """Reads the one message that a peer writes to a stream. Made by `StreamCodec.reader`.

    Bytes behind the message, and after an exception, are ignored.
    """

    def __init__(
        self, settings: StreamSettings, keyring: Keyring, label: bytes, dialer: bool
    ) -> None:
        self._settings = settings
        self._keyring = keyring
        self._label = label
        self._dialer = dialer
        self._received = bytearray()
        self._buffer: bytes | bytearray = self._received
        self._is_unwrapped = False  # the buffer holds the whole message, no more will come
        self._position = 0
        self._needed = 1
        self._steps = self._read()
        self._is_empty = True
        self._is_done = False
        self._is_over = False

    @property
    def is_empty(self) -> bool:
        """Whether no byte has come: the end of such a stream is clean and needs no answer."""
        return self._is_empty

    @property
    def is_done(self) -> bool:
        """Whether the message was returned."""
        return self._is_done

    def feed(self, data: bytes) -> StreamMessage | None:
        """Take the next bytes; return the message once it is whole.

        Raises:
            UnwrapFailed: If it cannot be unwrapped: answer with the text of the exception.
            MalformedMessage: On any other violation of protocol or limits: close in silence.
        """
        if self._is_over or not data:
            return None
        self._is_empty = False
        self._received += data
        if len(self._received) < self._needed:
            return None
        self._is_over = True  # unless a step asks for more
        try:
            next(self._steps)
        except StopIteration as stop:
            self._is_done = True
            message: StreamMessage = stop.value
            return message
        self._is_over = False
        return None

    def finish(self) -> None:
        """The peer will write no more.

        Raises:
            MalformedMessage: If the message is not whole. Whether nothing came at all is told by
                `is_empty`.
        """
        if not self._is_done:
            raise MalformedMessage("unexpected EOF" if not self._is_empty else "EOF")

    # --- steps: each returns with the position behind what it read -------------------------------

    def _need(self, end: int) -> Generator[None, None, None]:
        """Wait until the buffer reaches to `end`."""
        if end > self._settings.total_bytes_max:
            raise MalformedMessage(f"more than {self._settings.total_bytes_max} bytes on a stream")
        while len(self._buffer) < end:
            if self._is_unwrapped:
                raise MalformedMessage("unexpected EOF")
            self._needed = end
            yield

    def _take(self, size: int) -> Generator[None, None, bytes]:
        start = self._position
        yield from self._need(start + size)
        self._position = start + size
        return bytes(self._buffer[start : self._position])

    def _take_object(self) -> Generator[None, None, bytes]:
        """The bytes of one MessagePack object."""
        start = end = self._position
        pending = 1
        while pending:
            end, pending = scan_untrusted(self._buffer, end, pending)
            # A head that is not whole yet needs at least one byte more than there is.
            yield from self._need(max(end, len(self._buffer) + 1) if pending else end)
        self._position = end
        return bytes(self._buffer[start:end])

    def _read(self) -> Steps:
        if not self._dialer:
            yield from self._read_label()
        first = (yield from self._take(1))[0]
        if first == MessageType.ENCRYPT:
            first = yield from self._decrypt()
        elif self._keyring.enabled and self._settings.verify_incoming:
            raise UnwrapFailed("Encryption is configured but remote state is not encrypted")
        if first == MessageType.COMPRESS:
            first = yield from self._decompress()
        return (yield from self._read_body(first))

    def _read_label(self) -> Generator[None, None, None]:
        yield from self._need(1)
        label = b""
        if self._buffer[0] == MessageType.HAS_LABEL:
            size = (yield from self._take(2))[1]
            if not size:
                raise MalformedMessage("label header is empty")
            label = yield from self._take(size)
        check_label_untrusted(label, self._label, self._settings.skip_inbound_label_check)

    def _decrypt(self) -> Generator[None, None, int]:
        """Replace the buffer by the plaintext; return its first byte."""
        if not self._keyring.enabled:
            raise UnwrapFailed("Remote state is encrypted and encryption is not configured")
        length_bytes = yield from self._take(4)
        length = int.from_bytes(length_bytes, "big")
        if length > self._settings.encrypted_bytes_max:
            raise UnwrapFailed(f"Remote node state is larger than limit ({length})")
        envelope = yield from self._take(length)
        aad = bytes((MessageType.ENCRYPT,)) + length_bytes + self._label
        try:
            plain = encryption.open_untrusted(self._keyring.keys, envelope, aad)
        except MalformedMessage as error:
            raise UnwrapFailed(str(error)) from None
        return self._continue_in(plain)

    def _decompress(self) -> Generator[None, None, int]:
        """Replace the buffer by the expanded message; return its first byte."""
        try:
            body = yield from self._take_object()
            message = unwrap_untrusted(body, self._settings.decompressed_bytes_max)
        except MalformedMessage as error:
            raise UnwrapFailed(str(error)) from None
        return self._continue_in(message)

    def _continue_in(self, message: bytes) -> int:
        if not message:
            raise UnwrapFailed("message is empty")
        self._received = bytearray()
        self._buffer = message
        self._is_unwrapped = True
        self._position = 1
        return message[0]

    def _read_body(self, first: int) -> Steps:
        body = (_ANSWERS if self._dialer else _REQUESTS).get(first)
        if body is None:
            raise MalformedMessage(f"message type {first} is not expected on this stream")
        return (yield from body(self))

    def _read_push_pull(self) -> Steps:
        if isinstance(self._buffer, bytes):
            written = _push_pulls.recall(self._buffer)
            if written is not None and self._is_within_limits(written):
                return written
        header = _PUSH_PULL_HEADER.decode_untrusted((yield from self._take_object()))
        if not 0 <= header.nodes <= self._settings.nodes_max:
            raise MalformedMessage(f"{header.nodes} nodes are over the limit")
        if not 0 <= header.user_state_bytes <= self._settings.user_state_bytes_max:
            raise MalformedMessage(f"{header.user_state_bytes} bytes of state are over the limit")
        records: list[NodeRecord] = []
        for _ in range(header.nodes):
            record = yield from self._take_object()
            records.append(NODE_RECORD.decode_untrusted(record))
        user_state = yield from self._take(header.user_state_bytes)
        return PushPull(header.is_join, tuple(records), user_state)

    def _is_within_limits(self, message: PushPull) -> bool:
        settings = self._settings
        return (
            len(message.nodes) <= settings.nodes_max
            and len(message.user_state) <= settings.user_state_bytes_max
            and len(self._buffer) <= settings.total_bytes_max
        )

    def _read_user_message(self) -> Steps:
        header = _USER_MESSAGE_HEADER.decode_untrusted((yield from self._take_object()))
        if not 0 <= header.payload_bytes <= self._settings.user_message_bytes_max:
            raise MalformedMessage(f"{header.payload_bytes} bytes of message are over the limit")
        return UserMessage((yield from self._take(header.payload_bytes)))


def _simple(schema: Schema[Any]) -> Callable[[StreamReader], Steps]:
    """Reads a message whose body is one record."""

    def read(reader: StreamReader) -> Steps:
        message: StreamMessage = schema.decode_untrusted((yield from reader._take_object()))
        return message

    return read


_Bodies = dict[int, Callable[[StreamReader], Steps]]

_REQUESTS: Final[_Bodies] = {
    MessageType.PING: _simple(PING),
    MessageType.PUSH_PULL: StreamReader._read_push_pull,
    MessageType.USER: StreamReader._read_user_message,
}
_ANSWERS: Final[_Bodies] = {
    MessageType.ACK: _simple(ACK),
    MessageType.PUSH_PULL: StreamReader._read_push_pull,
    MessageType.ERROR: _simple(ERROR_REPLY),
}
