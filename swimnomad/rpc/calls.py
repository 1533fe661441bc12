"""Requests and responses on one connection or stream, both sides, without I/O.

A request is two MessagePack objects, header and arguments; a response is two, header and reply, or
header and an empty map if the header holds an error. There are no lengths and no separators. The
server answers in the order of the requests, one at a time; a caller who wants more opens more
streams. Arguments and replies are not looked into here: they pass as the bytes of one object.

Source: rpc.md §6.
"""

from __future__ import annotations

from collections import deque
from typing import Final, NamedTuple

from swimnomad.errors import MalformedMessage, UsageError
from swimnomad.names import Value
from swimnomad.rpc.failures import BadArguments, RpcFailed
from swimnomad.rpc.objects import OBJECT_BYTES_MAX, ObjectSplitter
from swimnomad.wire.dialect import TEXT, U64, Field, Schema, pack

EMPTY: Final = b"\x80"
"""The empty map: arguments or reply of methods that have none, and the reply behind an error."""

_OUTSTANDING_MAX: Final = 4096


class CallReceived(Value, frozen=True):
    """A peer calls a method.

    `arguments` are the bytes of one MessagePack object, `position` says at which byte of the
    conversation they began.
    """

    sequence: int
    method: str
    arguments: bytes
    position: int = 0


class ReplyReceived(Value, frozen=True):
    """The answer to a request: the bytes of one object, or the text of an error."""

    sequence: int
    method: str
    error: str
    body: bytes


class _RequestHeader(NamedTuple):
    sequence: int
    method: str


class _ResponseHeader(NamedTuple):
    sequence: int
    method: str
    error: str


_REQUEST_HEADER: Final = Schema(
    _RequestHeader,
    "ServiceMethod Seq",
    Field("Seq", "sequence", U64),
    Field("ServiceMethod", "method", TEXT),
)
_RESPONSE_HEADER: Final = Schema(
    _ResponseHeader,
    "ServiceMethod Seq Error",
    Field("Seq", "sequence", U64),
    Field("ServiceMethod", "method", TEXT),
    Field("Error", "error", TEXT),
)


class ServerCalls:
    """The answering side of one connection or stream.

    Args:
        message_bytes_max: Longest header and longest arguments accepted.
    """

    def __init__(self, message_bytes_max: int = OBJECT_BYTES_MAX) -> None:
        self._objects = ObjectSplitter(message_bytes_max)
        self._header: _RequestHeader | None = None
        self._position = 0
        self._failure: MalformedMessage | None = None

    @property
    def is_broken(self) -> bool:
        """Whether what follows the requests given so far is malformed: close behind the answers."""
        return self._failure is not None or self._objects.is_broken

    @property
    def is_idle(self) -> bool:
        """Whether no request is half received: the peer may close without harm."""
        return self._header is None and not self._objects.buffered_bytes and not self.is_broken

    def receive(self, data: bytes) -> list[CallReceived]:
        """Take the next bytes; the requests they complete, to be answered in this order.

        Raises:
            MalformedMessage: At what is no request: close without an answer. Behind whole
                requests it is told by `is_broken` and raised by the next call.
        """
        if self._failure is not None:
            raise self._failure
        calls: list[CallReceived] = []
        try:
            for item in self._objects.receive(data):
                if self._header is None:
                    self._header = _REQUEST_HEADER.decode_untrusted(item)
                else:
                    sequence, method = self._header
                    calls.append(CallReceived(sequence, method, item, self._position))
                    self._header = None
                self._position += len(item)
            if self._objects.is_broken and not calls:
                self._objects.receive(b"")  # raises
        except MalformedMessage as error:
            self._failure = error
            if not calls:
                raise
        return calls

    def answer(self, call: CallReceived, body: bytes) -> bytes:
        """The response; `body` is one object."""
        return b"".join(
            (
                b"\x83\xa5Error\xa0\xa3Seq",
                pack(call.sequence),
                b"\xadServiceMethod",
                pack(call.method),
                body,
            )
        )

    def refuse(self, call: CallReceived, failure: RpcFailed | str) -> bytes:
        """The response that tells an error.

        After one whose `ends_conversation` is true the stream is to be closed.
        """
        if isinstance(failure, BadArguments):
            text = failure.text_at(call.position)
        else:
            text = failure if isinstance(failure, str) else failure.text
        # An empty error would mean success.
        return b"".join(
            (
                b"\x83\xa5Error",
                pack(text or "unknown error"),
                b"\xa3Seq",
                pack(call.sequence),
                b"\xadServiceMethod",
                pack(call.method),
                EMPTY,
            )
        )


class ClientCalls:
    """The calling side of one connection or stream.

    Args:
        message_bytes_max: Longest header and longest reply accepted.
    """

    def __init__(self, message_bytes_max: int = OBJECT_BYTES_MAX) -> None:
        self._objects = ObjectSplitter(message_bytes_max)
        self._header: _ResponseHeader | None = None
        self._outstanding: deque[int] = deque()
        self._failure: MalformedMessage | None = None

    @property
    def is_idle(self) -> bool:
        """Whether every request was answered: the stream may be used for the next call."""
        return not (
            self._outstanding
            or self._objects.buffered_bytes
            or self._objects.is_broken
            or self._failure
        )

    def request(self, sequence: int, method: str, arguments: bytes = EMPTY) -> bytes:
        """The bytes of a request; `arguments` are one object.

        Raises:
            UsageError: If too many requests wait for their answer.
        """
        if len(self._outstanding) >= _OUTSTANDING_MAX:
            raise UsageError(f"at most {_OUTSTANDING_MAX} requests may wait on one stream")
        self._outstanding.append(sequence)
        return b"".join(
            (b"\x82\xa3Seq", pack(sequence), b"\xadServiceMethod", pack(method), arguments)
        )

    def receive(self, data: bytes) -> list[ReplyReceived]:
        """Take the next bytes; the answers they complete.

        Raises:
            MalformedMessage: At what is no response, or answers another request: the stream is
                of no more use. Behind whole answers it is raised by the next call.
        """
        if self._failure is not None:
            raise self._failure
        replies: list[ReplyReceived] = []
        try:
            for item in self._objects.receive(data):
                if self._header is None:
                    self._header = self._read_header(item)
                else:
                    sequence, method, text = self._header
                    self._outstanding.popleft()
                    replies.append(ReplyReceived(sequence, method, text, item))
                    self._header = None
            if self._objects.is_broken and not replies:
                self._objects.receive(b"")  # raises
        except MalformedMessage as error:
            self._failure = error
            if not replies:
                raise
        return replies

    def _read_header(self, item: bytes) -> _ResponseHeader:
        header = _RESPONSE_HEADER.decode_untrusted(item)
        if not self._outstanding or self._outstanding[0] != header.sequence:
            raise MalformedMessage(f"answer {header.sequence} was not asked for")
        return header
