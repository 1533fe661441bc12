"""Answers what comes in on one connection, stream or session.

A conversation is served by one task: it reads a request, answers it, reads the next. A peer that
stops in the middle of a request, or does not take its answer, is cut off after `stall_timeout`; one
that is silent between two requests may be so for ever, since callers keep streams for later. What
ends a conversation ends nothing else.

Source: rpc.md §1, §6, §7, §11.
"""

from __future__ import annotations

import traceback
from collections.abc import Awaitable, Callable
from typing import Final

import msgspec
import trio

from swimnomad.errors import MalformedMessage
from swimnomad.rpc.calls import CallReceived, ServerCalls
from swimnomad.rpc.failures import RpcFailed, SessionClosed, unknown_streaming_method
from swimnomad.rpc.limits import RpcLimits
from swimnomad.rpc.mux import MuxSession, MuxStream
from swimnomad.rpc.plain import Line
from swimnomad.rpc.service import Peer, RpcLog, RpcService, StreamingHandler, no_log
from swimnomad.rpc.streaming import (
    MethodAsked,
    RequestReceived,
    ServerHandshake,
    StreamFailure,
    StreamPayload,
    encode_wrapper,
)
from swimnomad.rpc.yamux import Role

CALLS: Final = 0x01
RAFT: Final = 0x02
MULTIPLEX: Final = 0x03
TLS: Final = 0x04
STREAMING: Final = 0x05
MULTIPLEX_V2: Final = 0x06
"""First bytes of connections; the streams of `MULTIPLEX_V2` begin with CALLS or STREAMING."""

INTERNAL_ERROR: Final = "internal error"
_SEND_BYTES: Final = 262_144
_GONE: Final = (trio.BrokenResourceError, trio.ClosedResourceError)


class Server:
    """Serves conversations with one service, within limits that hold for all of them together."""

    def __init__(
        self, service: RpcService, limits: RpcLimits | None = None, log: RpcLog = no_log
    ) -> None:
        self.service = service
        self.limits = RpcLimits() if limits is None else limits
        self.log = log
        self._unfinished_bytes = 0

    @property
    def unfinished_bytes(self) -> int:
        """Bytes held of requests that are not whole yet, over all conversations."""
        return self._unfinished_bytes

    # --- requests and responses -------------------------------------------------------------------

    async def serve_calls(self, line: Line, peer: Peer) -> None:
        """Answer requests until the peer closes or must be cut off; closing is the caller's part.

        Raises:
            trio.BrokenResourceError: The line broke.
        """
        calls = ServerCalls(self.limits.message_bytes_max)
        held = 0
        try:
            while True:
                data = await self._receive(line, is_idle=calls.is_idle)
                if not data:
                    return
                received = calls.receive(data)
                # Behind the end of a request there is at most the rest of this piece.
                now_held = 0 if calls.is_idle else len(data) + (0 if received else held)
                self._unfinished_bytes += now_held - held
                held = now_held
                if self._unfinished_bytes > self.limits.unfinished_bytes_max:
                    raise MalformedMessage("too many bytes of unfinished requests")
                for call in received:
                    if not await self._serve_call(calls, call, line, peer):
                        return
                if calls.is_broken:
                    calls.receive(b"")  # raises
        except MalformedMessage as error:
            self.log("error", "RPC error", error=error, connection=peer.address)
        finally:
            self._unfinished_bytes -= held

    async def _serve_call(
        self, calls: ServerCalls, call: CallReceived, line: Line, peer: Peer
    ) -> bool:
        """Answer one call; whether the conversation goes on."""
        answer = b""
        goes_on = True
        with line.until_peer_leaves(self.limits.departure_grace):
            try:
                body = await self.service.answer(call.method, call.arguments, peer)
                answer = calls.answer(call, body)
            except RpcFailed as failure:
                answer = calls.refuse(call, failure)
                if failure.ends_conversation:
                    self.log("error", "RPC error", error=failure, connection=peer.address)
                    goes_on = False
            except Exception:
                self._log_own_mistake(call.method)
                answer = calls.refuse(call, INTERNAL_ERROR)
        if not answer:  # cancelled: the caller has left
            return False
        await self._send(line, answer)
        return goes_on

    def _log_own_mistake(self, method: str) -> None:
        # Whatever a peer makes our methods do must not end the listener.
        self.log("error", "RPC method raised", method=method, trace=traceback.format_exc())

    # --- streaming --------------------------------------------------------------------------------

    async def serve_streaming(self, line: Line, peer: Peer) -> None:
        """Serve one streaming call.

        Raises:
            trio.BrokenResourceError: The line broke.
        """
        handshake = ServerHandshake(self.limits.message_bytes_max)
        method, held = "", 0
        handler: StreamingHandler | None = None
        request: bytes | None = None
        try:
            while request is None:
                data = await self._receive(line, is_idle=False)
                if not data:
                    return
                held += len(data)
                self._unfinished_bytes += len(data)
                if self._unfinished_bytes > self.limits.unfinished_bytes_max:
                    raise MalformedMessage("too many bytes of unfinished requests")
                for event in handshake.receive(data):
                    match event:
                        case MethodAsked(method):
                            handler = self.service.streaming(method)
                            if handler is None:
                                text = unknown_streaming_method(method)
                                await self._send(line, handshake.refuse(text))
                                raise MalformedMessage(text)
                            await self._send(line, handshake.accept())
                        case RequestReceived():
                            request = event.request
        except MalformedMessage as error:
            self.log("error", "streaming RPC error", error=error, connection=peer.address)
            return
        finally:
            self._unfinished_bytes -= held
        assert handler is not None
        await self._run(handler, method, request, line, peer)

    async def _run(
        self, handler: StreamingHandler, method: str, request: bytes, line: Line, peer: Peer
    ) -> None:
        writer = _Writer(self, line)
        with line.until_peer_leaves(0.0):
            try:
                await handler(request, writer, peer)
            except Exception as error:
                match _without_groups(error):
                    case RpcFailed() as failure:
                        await writer.fail(failure.code, failure.text)
                    case trio.BrokenResourceError() | trio.ClosedResourceError():
                        pass
                    case _:
                        self._log_own_mistake(method)
                        await writer.fail(500, INTERNAL_ERROR)
        if writer.has_stalled:
            # The method may have made an ordinary end of it, and the caller must not see one.
            raise _Stalled("the peer takes nothing")

    # --- sessions ---------------------------------------------------------------------------------

    async def serve_session(self, connection: trio.abc.Stream, kind: int, peer: Peer) -> None:
        """Serve a multiplexed connection to its end."""
        session = MuxSession(connection, Role.ACCEPTOR, self.limits)
        peer = msgspec.structs.replace(peer, session=session)
        name = "multiplex" if kind == MULTIPLEX else "multiplex_v2"
        async with trio.open_nursery() as nursery:
            await nursery.start(session.run)
            try:
                while True:
                    stream = await session.accept()
                    first = CALLS if kind == MULTIPLEX else await self._first_byte(stream, name)
                    if first not in (CALLS, STREAMING):
                        if session.ended.is_set():
                            continue  # `accept` will tell why
                        # One stream that is wrong ends them all; that is what Nomad does.
                        session.end("unrecognized stream")
                        return
                    nursery.start_soon(self.serve_stream, stream, first, peer)
            except SessionClosed as closed:
                if closed.text != "EOF":
                    text = f"{name} conn accept failed"
                    self.log("error", text, error=closed, connection=peer.address)

    async def _first_byte(self, stream: MuxStream, name: str) -> int | None:
        """What a stream is for; None if it does not say."""
        try:
            data = await stream.receive_some(1)
        except _GONE:
            return None
        if data and data[0] not in (CALLS, STREAMING):
            self.log("error", f"{name} unrecognized first RPC byte", byte=data[0])
        return data[0] if data else None

    async def serve_stream(self, stream: MuxStream, kind: int, peer: Peer) -> None:
        """Serve one stream of a session to its end and close it."""
        serve = self.serve_calls if kind == CALLS else self.serve_streaming
        await self._serve_stream(serve, stream, peer)

    async def serve_called_back(self, session: MuxSession, peer: Peer) -> None:
        """Serve the streams that the other side opens on a session which we dialled."""
        async with trio.open_nursery() as nursery:
            try:
                while True:
                    stream = await session.accept()
                    nursery.start_soon(self._serve_stream, self._serve_by_first, stream, peer)
            except SessionClosed:
                pass

    async def _serve_by_first(self, line: Line, peer: Peer) -> None:
        first = await self._receive(line, is_idle=False, bytes_max=1)
        if first and first[0] == CALLS:
            await self.serve_calls(line, peer)
        elif first and first[0] == STREAMING:
            await self.serve_streaming(line, peer)

    async def _serve_stream(
        self, serve: Callable[[Line, Peer], Awaitable[None]], stream: MuxStream, peer: Peer
    ) -> None:
        try:
            await serve(stream, peer)
        except _Stalled:
            stream.reset()
        except _GONE:
            pass
        finally:
            stream.close()

    # --- moving bytes -----------------------------------------------------------------------------

    async def _receive(self, line: Line, *, is_idle: bool, bytes_max: int | None = None) -> bytes:
        """The next bytes; within a request they have to come in time."""
        if is_idle:
            return await line.receive_some(bytes_max)
        with trio.move_on_after(self.limits.stall_timeout):
            return await line.receive_some(bytes_max)
        raise _Stalled("the peer stopped within a request")

    async def _send(self, line: Line, data: bytes) -> None:
        """Send all; the peer has to take some of it in time."""
        view = memoryview(data) if len(data) > _SEND_BYTES else data
        for begin in range(0, len(data), _SEND_BYTES):
            with trio.move_on_after(self.limits.stall_timeout) as sending:
                await line.send_all(view[begin : begin + _SEND_BYTES])
            if sending.cancelled_caught:
                raise _Stalled("the peer takes nothing")


class _Stalled(trio.BrokenResourceError):
    """The peer makes no progress."""


class _Writer:
    """Sends wrappers to one caller."""

    def __init__(self, server: Server, line: Line) -> None:
        self._server = server
        self._line = line
        self._has_failed = False
        self.has_stalled = False

    async def send(self, payload: bytes | None) -> None:
        assert not self._has_failed, "an error is the last thing"
        await self._send(StreamPayload(payload))

    async def fail(self, code: int | None, message: str) -> None:
        assert not self._has_failed, "an error is the last thing"
        self._has_failed = True
        await self._send(StreamFailure(code, message))

    async def _send(self, wrapper: StreamPayload | StreamFailure) -> None:
        try:
            await self._server._send(self._line, encode_wrapper(wrapper))
        except _Stalled:
            self.has_stalled = True
            raise


def _without_groups(error: Exception) -> Exception:
    """What a nursery of a method put into a group, if it is one thing."""
    while isinstance(error, ExceptionGroup) and len(error.exceptions) == 1:
        error = error.exceptions[0]
    return error
