"""Streaming calls, both sides, without I/O.

The caller names a method; the callee accepts it or tells an error and closes. Then the caller
sends one request object, and the callee any number of wrappers: a payload each, or an error, which
is the last. Either side closes to stop.

    caller  {"Method": "Agent.Monitor"}
    callee  {"Error": ""}
    caller  the request
    callee  {"Error": nil, "Payload": …} …

Source: rpc.md §7.
"""

from __future__ import annotations

from typing import Any, Final, NamedTuple

from swimnomad.errors import MalformedMessage
from swimnomad.names import Value
from swimnomad.rpc.objects import OBJECT_BYTES_MAX, ObjectSplitter
from swimnomad.wire.dialect import BYTES, TEXT, Field, Schema, pack
from swimnomad.wire.go_dialect import INT, Record, optional

HANDSHAKE_BYTES_MAX: Final = 64 * 1024
"""Longest header and longest answer to it."""


class MethodAsked(Value, frozen=True):
    """The caller named a method: answer with `accept` or `refuse`."""

    method: str


class RequestReceived(Value, frozen=True):
    """The request object behind an accepted handshake, as the bytes of one object."""

    request: bytes


class HandshakeAnswered(Value, frozen=True):
    """The callee's answer: an error, or empty for yes. `rest` goes to a `WrapperReader`."""

    error: str
    rest: bytes


class StreamPayload(Value, frozen=True):
    """One wrapper with payload; None is a heartbeat of plain streams."""

    data: bytes | None


class StreamFailure(Value, frozen=True):
    """The wrapper that ends a stream with an error; `code` is of the HTTP kind."""

    code: int | None
    message: str


class _Method(NamedTuple):
    method: str


class _Answer(NamedTuple):
    error: str


class _Wrapper(NamedTuple):
    failure: StreamFailure | None
    payload: bytes | None


_METHOD: Final = Schema(_Method, "Method", Field("Method", "method", TEXT))
_ANSWER: Final = Schema(_Answer, "Error", Field("Error", "error", TEXT))
_FAILURE: Final = Record(
    StreamFailure,
    "Message Code",
    Field("Code", "code", optional(INT)),
    Field("Message", "message", TEXT),
)
_WRAPPER: Final[Record[Any]] = Record(
    _Wrapper,
    "Error Payload",
    Field("Error", "failure", _FAILURE.nullable),
    Field("Payload", "payload", BYTES),
)
_PAYLOAD_PREFIX: Final = b"\x82\xa5Error\xc0\xa7Payload"


def encode_wrapper(wrapper: StreamPayload | StreamFailure) -> bytes:
    """The bytes of one wrapper."""
    if isinstance(wrapper, StreamFailure):
        return _WRAPPER.encode(_Wrapper(wrapper, None))
    return _PAYLOAD_PREFIX + pack(wrapper.data)


class ServerHandshake:
    """The callee's side up to the request; what comes behind that is ignored.

    Args:
        request_bytes_max: Longest object accepted.
    """

    def __init__(self, request_bytes_max: int = OBJECT_BYTES_MAX) -> None:
        self._objects = ObjectSplitter(request_bytes_max)
        self._has_method = False
        self._is_done = False
        self._failure: MalformedMessage | None = None

    def receive(self, data: bytes) -> list[MethodAsked | RequestReceived]:
        """Take the next bytes; a caller who does not wait may send both parts at once.

        Raises:
            MalformedMessage: At what is no handshake: close without an answer. Behind a whole
                header it is raised by the next call.
        """
        if self._failure is not None:
            raise self._failure
        events: list[MethodAsked | RequestReceived] = []
        try:
            while not self._is_done and (found := self._objects.receive_first(data)):
                item, data = found
                events.append(self._read(item))
        except MalformedMessage as error:
            self._failure = error
            if not events:
                raise
        return events

    def _read(self, item: bytes) -> MethodAsked | RequestReceived:
        if self._has_method:
            self._is_done = True
            return RequestReceived(item)
        if len(item) > HANDSHAKE_BYTES_MAX:
            raise MalformedMessage(f"a header of more than {HANDSHAKE_BYTES_MAX} bytes")
        self._has_method = True
        return MethodAsked(_METHOD.decode_untrusted(item).method)

    def accept(self) -> bytes:
        """The answer to a method that is offered."""
        return _ANSWER.encode(_Answer(""))

    def refuse(self, text: str) -> bytes:
        """The answer to one that is not; close behind it."""
        return _ANSWER.encode(_Answer(text or "unknown error"))


class ClientHandshake:
    """The caller's side up to the answer: send `header`, feed `receive`, send the request."""

    def __init__(self) -> None:
        self._objects = ObjectSplitter(HANDSHAKE_BYTES_MAX)

    def header(self, method: str) -> bytes:
        """The bytes that open the conversation."""
        return _METHOD.encode(_Method(method))

    def receive(self, data: bytes) -> HandshakeAnswered | None:
        """Take the next bytes; the answer once it is whole. Not to be called behind it.

        Raises:
            MalformedMessage: At what is no answer.
        """
        found = self._objects.receive_first(data)
        if found is None:
            return None
        return HandshakeAnswered(_ANSWER.decode_untrusted(found[0]).error, found[1])


class WrapperReader:
    """Reads what the callee sends behind the handshake.

    Args:
        wrapper_bytes_max: Longest wrapper accepted.
    """

    def __init__(self, wrapper_bytes_max: int = OBJECT_BYTES_MAX) -> None:
        self._objects = ObjectSplitter(wrapper_bytes_max)
        self._is_over = False
        self._failure: MalformedMessage | None = None

    def receive(self, data: bytes) -> list[StreamPayload | StreamFailure]:
        """Take the next bytes; the wrappers they complete. A failure is the last.

        Raises:
            MalformedMessage: At what is no wrapper. Behind whole ones it is raised by the next
                call.
        """
        wrappers: list[StreamPayload | StreamFailure] = []
        if self._is_over:
            return wrappers
        if self._failure is not None:
            raise self._failure
        try:
            for item in self._objects.receive(data):
                failure, payload = _WRAPPER.decode_untrusted(item)
                if failure is not None:
                    self._is_over = True
                    wrappers.append(failure)
                    break
                wrappers.append(StreamPayload(payload))
        except MalformedMessage as error:
            self._failure = error
            if not wrappers:
                raise
        return wrappers
