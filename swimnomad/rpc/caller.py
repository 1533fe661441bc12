"""Calls over one session: each takes a stream, those that worked are kept for the next.

A failure says whether the call may have happened. It certainly has not as long as its request was
not handed to the session whole, since a server acts on nothing less, and if the answer is one that
servers give before they act. In all other cases it may have.

Source: rpc.md §6, §7, §11, §12.
"""

from __future__ import annotations

import math
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from typing import Final

import trio

from swimnomad.errors import MalformedMessage
from swimnomad.rpc import failures
from swimnomad.rpc.calls import ClientCalls, ReplyReceived
from swimnomad.rpc.failures import (
    CONNECTION_LOST,
    RpcFailed,
    no_connection,
    parse_coded,
    relayed,
)
from swimnomad.rpc.limits import RpcLimits
from swimnomad.rpc.mux import MuxSession, MuxStream
from swimnomad.rpc.serving import CALLS, STREAMING
from swimnomad.rpc.streaming import (
    ClientHandshake,
    HandshakeAnswered,
    StreamFailure,
    StreamPayload,
    WrapperReader,
)
from swimnomad.tls.failures import describe_failure, is_refusal

DEADLINE_REACHED: Final = "rpc error: i/o deadline reached"
"""The error of a call that got no answer in its time."""

_GONE: Final = (trio.BrokenResourceError, trio.ClosedResourceError)

_REFUSED_WHOLE: Final = frozenset(
    {
        failures.NO_LEADER,
        failures.NOT_READY,
        failures.NO_PATH_TO_REGION,
        failures.NO_PATH_TO_NODE,
        failures.TOKEN_NOT_FOUND,
        failures.PERMISSION_DENIED,
        failures.UNKNOWN_NODE_VERSION,
        failures.NODE_LACKS_RPC,
        failures.MISSING_REGION,
        failures.MISSING_TARGET,
        failures.INVALID_SERVER_ADDRESS,
        failures.MISSING_NODE_ID,
        failures.NO_SERVERS,
    }
)
_REFUSED_BEGIN: Final = (
    "rpc: can't find ",
    "rpc: service/method request ill-formed",
    "msgpack decode error [pos ",
    "failed to get conn: ",
    "failed to start stream: ",
    failures.UNKNOWN_STREAMING_METHOD,
    "Unknown node ",
    "unknown Nomad server ",
)
_RELAYED: Final = "rpc error: "


def was_refused(text: str) -> bool:
    """Whether an error that a server answered with means that nothing was done.

    Such errors are told before a method acts, by the server or one that it relayed to. Of all
    other texts one cannot know.
    """
    while text.startswith(_RELAYED):
        text = text.removeprefix(_RELAYED)
    parsed = parse_coded(text)
    if parsed is not None:
        text = parsed[1]
    return text in _REFUSED_WHOLE or text.startswith(_REFUSED_BEGIN)


class CallLine:
    """A stream of a session for calls, one after another.

    Attributes:
        stream: Where the bytes go.
        calls: The conversation on it.
    """

    __slots__ = ("_sent_when", "calls", "stream")

    def __init__(self, stream: MuxStream, limits: RpcLimits) -> None:
        self.stream = stream
        self.calls = ClientCalls(limits.message_bytes_max)
        self._sent_when = math.inf

    @property
    def may_have_happened(self) -> bool:
        """Whether the other side may have the whole request of the call under way."""
        return self.stream.sent_bytes >= self._sent_when

    def renew(self) -> None:
        """Another call begins."""
        self._sent_when = math.inf

    async def send_request(self, request: bytes) -> None:
        """Send the bytes after which the other side may act."""
        self._sent_when = self.stream.sent_bytes + len(request)
        await self.stream.send_all(request)


class SessionCaller:
    """Makes calls on one session.

    Args:
        session: Where streams are opened. Somebody else drives it.
        sequences: Numbers for calls; all callers of a process share one counter.
        limits: See `RpcLimits`.
        idle_streams: Streams kept for later calls; 0 to close each after its call, as a server
            does that calls a client back.
    """

    def __init__(
        self,
        session: MuxSession,
        sequences: Iterator[int],
        limits: RpcLimits | None = None,
        *,
        idle_streams: int | None = None,
    ) -> None:
        self.session = session
        self._limits = RpcLimits() if limits is None else limits
        self._sequences = sequences
        self._idle_max = self._limits.idle_streams if idle_streams is None else idle_streams
        self._idle: list[CallLine] = []

    @property
    def idle_count(self) -> int:
        """Streams kept for later calls."""
        return len(self._idle)

    @property
    def busy_count(self) -> int:
        """Streams in use, by either side."""
        return self.session.stream_count - len(self._idle)

    async def line(self) -> CallLine:
        """A stream for a call: a kept one, or a new one.

        Raises:
            SessionClosed: The session opens no streams.
        """
        while self._idle:
            line = self._idle.pop()
            if line.stream.is_usable and self.session.is_open:
                line.renew()
                return line
            line.stream.close()
        return CallLine(await self.session.open(), self._limits)

    async def call(self, line: CallLine, method: str, arguments: bytes) -> bytes:
        """Make a call on a stream and keep or close the stream; the reply.

        Cancellation cuts the stream off; the line's `may_have_happened` tells how far it has come.

        Raises:
            RpcFailed: The call failed.
        """
        reply: ReplyReceived | None = None
        try:
            reply = await self._exchange(line, method, arguments)
        except _GONE as error:
            raise self._lost(line, error) from None
        except MalformedMessage as error:
            text = f"rpc error: bad answer: {error}"
            raise RpcFailed(text, may_have_happened=True) from None
        finally:
            self._settle(line, reply)
        if reply.error:
            happened = not was_refused(reply.error)
            raise RpcFailed(relayed(reply.error), may_have_happened=happened)
        return reply.body

    async def _exchange(self, line: CallLine, method: str, arguments: bytes) -> ReplyReceived:
        stream, calls = line.stream, line.calls
        request = calls.request(next(self._sequences), method, arguments)
        await line.send_request(request if stream.sent_bytes else bytes((CALLS,)) + request)
        while True:
            data = await stream.receive_some()
            if not data:
                raise trio.BrokenResourceError("EOF")
            for reply in calls.receive(data):
                return reply

    def _settle(self, line: CallLine, reply: ReplyReceived | None) -> None:
        """Keep the stream if its call went well, else close it or cut it off."""
        if reply is None:
            line.stream.reset()
        elif (
            not reply.error  # after some errors the other side closes
            and len(self._idle) < self._idle_max
            and line.calls.is_idle
            and line.stream.is_usable
            and self.session.is_open
        ):
            self._idle.append(line)
        else:
            line.stream.close()

    def _lost(self, line: CallLine, error: Exception) -> RpcFailed:
        """The error of a call whose stream broke."""
        failure = self.session.failure
        if failure is not None and is_refusal(failure):
            # With TLS 1.3 a refused dialler has sent before it learns of that.
            return RpcFailed(no_connection(describe_failure(failure)))
        text = str(error)
        if self.session.ended.is_set() or text == "EOF":
            return RpcFailed(CONNECTION_LOST, may_have_happened=line.may_have_happened)
        return RpcFailed(f"rpc error: {text}", may_have_happened=line.may_have_happened)

    @asynccontextmanager
    async def stream(
        self, method: str, request: bytes, *, deadline: float = math.inf
    ) -> AsyncIterator[StreamingCall]:
        """Make a streaming call; leaving the context ends it.

        Args:
            method: A streaming method.
            request: One object.
            deadline: When the other side has to have accepted, in trio's time.

        Raises:
            SessionClosed: The session opens no streams.
            RpcFailed: The other side does not accept the call.
        """
        line = CallLine(await self.session.open(), self._limits)
        try:
            with trio.move_on_at(deadline) as opening:
                try:
                    rest = await self._open_streaming(line, method, request)
                except _GONE as error:
                    raise self._lost(line, error) from None
                except MalformedMessage as error:
                    raise RpcFailed(f"rpc error: bad answer: {error}") from None
            if opening.cancelled_caught:
                raise RpcFailed(DEADLINE_REACHED, may_have_happened=line.may_have_happened)
            yield StreamingCall(line.stream, rest, self._limits)
        finally:
            line.stream.close()

    async def _open_streaming(self, line: CallLine, method: str, request: bytes) -> bytes:
        """Shake hands and send the request; what has come of the answer already."""
        handshake = ClientHandshake()
        await line.stream.send_all(bytes((STREAMING,)) + handshake.header(method))
        answer: HandshakeAnswered | None = None
        while answer is None:
            data = await line.stream.receive_some()
            if not data:
                raise trio.BrokenResourceError("EOF")
            answer = handshake.receive(data)
        if answer.error:
            raise RpcFailed(answer.error)  # told before there was a request
        await line.send_request(request)
        return answer.rest


class StreamingCall:
    """What a streaming call brings: iterate over its payloads.

    A payload of None is a heartbeat of plain streams. The iteration ends when the other side
    closes; an error of the other side, or a lost connection, is an `RpcFailed`.
    """

    def __init__(self, stream: MuxStream, rest: bytes, limits: RpcLimits) -> None:
        self._stream = stream
        self._reader = WrapperReader(limits.message_bytes_max)
        self._ready: list[StreamPayload | StreamFailure] = []
        self._rest = rest

    def __aiter__(self) -> StreamingCall:
        """The call is its own iterator."""
        return self

    async def __anext__(self) -> bytes | None:
        """The next payload."""
        while not self._ready:
            data = self._rest or await self._receive()
            self._rest = b""
            if not data:
                raise StopAsyncIteration
            try:
                self._ready = self._reader.receive(data)[::-1]
            except MalformedMessage as error:
                text = f"rpc error: bad answer: {error}"
                raise RpcFailed(text, may_have_happened=True) from None
        match self._ready.pop():
            case StreamPayload(payload):
                return payload
            case StreamFailure(code, message):
                happened = not was_refused(message)
                raise RpcFailed(message, may_have_happened=happened, code=code)

    async def _receive(self) -> bytes:
        try:
            return await self._stream.receive_some()
        except _GONE as error:
            if self._stream.session.ended.is_set():
                raise RpcFailed(CONNECTION_LOST, may_have_happened=True) from None
            raise RpcFailed(f"rpc error: {error}", may_have_happened=True) from None
