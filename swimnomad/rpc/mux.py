"""A yamux session over any stream of bytes: one task reads, one writes, streams come out.

The protocol is `YamuxSession`'s; here its bytes are moved and its streams become trio streams.

**Writing.** Whoever sends leaves frames with the core and wakes the writer; the writer takes all
there is and writes it in one go, so small frames of many streams share a system call. A sender
waits while the peer's window is used up, which concerns its own stream alone, or while much waits
to be written, which concerns all: then the connection itself is slow. A connection that takes
nothing for `write_timeout` seconds ends the session, so nobody waits for it longer.

**Reading.** What arrives is put on the stream it belongs to and its reader woken. Nobody waits for
a stream that is not read: the window bounds what it holds.

**The end.** The connection breaks, the peer breaks a rule, or somebody calls `end`: in each case
the core is told, every stream wakes whoever waits on it, and `run` returns. What was received
before can still be read. Frames already queued get a second to go out.

Stream ids may come again while an old stream's object is still held by its user. So an object
touches the core only as long as it is the one in the session's table.

Source: rpc.md §4.
"""

from __future__ import annotations

import operator
from collections import deque
from contextlib import AbstractContextManager
from typing import Final

import trio

from swimnomad.rpc.departure import Departure
from swimnomad.rpc.failures import SessionClosed, StreamsExhausted
from swimnomad.rpc.limits import RpcLimits
from swimnomad.rpc.waiter import Waiter
from swimnomad.rpc.yamux import (
    DataReceived,
    GoAwayReceived,
    PingAnswered,
    Role,
    SessionEnded,
    StreamAcked,
    StreamEnded,
    StreamOpened,
    StreamReset,
    WindowGrew,
    YamuxEvent,
    YamuxSession,
)

READ_BYTES: Final = 65_536
WRITE_BYTES: Final = 262_144
"""Most that one write carries, and so what has to go out within one `write_timeout`."""
OUTPUT_BYTES_MAX: Final = 524_288
"""Senders wait while this much has not been handed to the connection."""
FRAME_BYTES: Final = 65_536
"""Most payload one sender queues at a time, so that a small call is not behind a large one."""
END_LINGER: Final = 1.0
"""Seconds that queued frames may take to go out once the session has ended."""
CLOSE_LINGER: Final = 10.0
"""Seconds after which a stream that only we have closed is reset."""
CLOSING_MAX: Final = 4096
"""Streams that wait for that at one time; the oldest is reset to make room."""


class MuxStream(trio.abc.HalfCloseableStream):
    """One stream of a session. One task may send and one receive at a time.

    Errors are trio's: `BrokenResourceError` if the peer reset the stream or the session ended,
    `ClosedResourceError` after we closed it.

    Attributes:
        session: The session it belongs to.
        number: Its id there.
        sent_bytes: Bytes handed to the session.
    """

    __slots__ = (
        "_chunks",
        "_closed",
        "_departure",
        "_ended",
        "_finished",
        "_is_sending",
        "_lost",
        "_receiving",
        "_sending",
        "number",
        "sent_bytes",
        "session",
    )

    def __init__(self, session: MuxSession, number: int) -> None:
        self.session = session
        self.number = number
        self.sent_bytes = 0
        self._chunks: deque[bytes] = deque()
        self._receiving = Waiter()
        self._sending = Waiter()
        self._is_sending = False
        self._ended = False  # the peer sends no more
        self._finished = False  # we send no more
        self._closed = False  # our user has closed it
        self._lost = ""  # why it is gone, if it broke
        self._departure = Departure()

    @property
    def is_usable(self) -> bool:
        """Whether both directions are open and everything received has been read."""
        return not (self._ended or self._finished or self._closed or self._lost or self._chunks)

    # --- receiving --------------------------------------------------------------------------------

    async def receive_some(self, max_bytes: int | None = None) -> bytes:
        """The next bytes, at most `max_bytes`; none at all if the peer has ended its side."""
        if max_bytes is not None and operator.index(max_bytes) < 1:
            raise ValueError("max_bytes must be >= 1")
        if self._receiving.is_taken:
            raise trio.BusyResourceError("another task is receiving on this stream")
        if self._chunks or self._ended or self._lost or self._closed:
            await trio.lowlevel.checkpoint()
        else:
            await self._receiving.wait()
        if self._closed:
            raise trio.ClosedResourceError("this stream was closed")
        if self._chunks:
            data = self._take(max_bytes)
            self.session._consumed(self, len(data))
            return data
        if self._ended:
            return b""
        assert self._lost, "woken for a reason"
        raise trio.BrokenResourceError(self._lost)

    def _take(self, max_bytes: int | None) -> bytes:
        chunks = self._chunks
        if max_bytes is None and len(chunks) > 1:
            data = b"".join(chunks)
            chunks.clear()
            return data
        data = chunks.popleft()
        if max_bytes is not None and len(data) > max_bytes:
            chunks.appendleft(data[max_bytes:])
            data = data[:max_bytes]
        return data

    # --- sending ----------------------------------------------------------------------------------

    async def send_all(self, data: bytes | bytearray | memoryview) -> None:
        """Send all of `data`; waits for the peer's window and for the connection."""
        self._begin_sending()
        try:
            await trio.lowlevel.checkpoint_if_cancelled()
            sent = self._send_now(data)
            if sent < len(data):
                view = memoryview(data)
                while sent < len(data):
                    await self._wait_sendable()
                    sent += self._send_now(view[sent:])
            else:
                await trio.lowlevel.cancel_shielded_checkpoint()
        finally:
            self._is_sending = False

    async def wait_send_all_might_not_block(self) -> None:
        """Wait until at least one byte could be sent."""
        self._begin_sending()
        try:
            await trio.lowlevel.checkpoint()
            self._check_sendable()
            session = self.session
            while session._is_congested or not session._core.send_credit(self.number):
                await self._wait_sendable()
        finally:
            self._is_sending = False

    def _begin_sending(self) -> None:
        if self._is_sending:
            raise trio.BusyResourceError("another task is sending on this stream")
        self._is_sending = True

    def _send_now(self, data: bytes | bytearray | memoryview) -> int:
        """Queue what can be queued at once; the number of bytes."""
        self._check_sendable()
        session = self.session
        if session._is_congested:
            return 0
        piece = data if len(data) <= FRAME_BYTES else memoryview(data)[:FRAME_BYTES]
        sent = session._send(self.number, piece)
        self.sent_bytes += sent
        return sent

    async def _wait_sendable(self) -> None:
        self._check_sendable()
        session = self.session
        if session._is_congested:
            await session._room.park()
        elif not session._core.send_credit(self.number):
            await self._sending.wait()
        else:
            await trio.lowlevel.checkpoint()
        self._check_sendable()

    def _check_sendable(self) -> None:
        if self._closed or self._finished:
            raise trio.ClosedResourceError("this stream was closed")
        if self._lost:
            raise trio.BrokenResourceError(self._lost)

    # --- the end ----------------------------------------------------------------------------------

    async def send_eof(self) -> None:
        """Send no more; what the peer sends can still be received."""
        if self._is_sending:
            raise trio.BusyResourceError("another task is sending on this stream")
        if self._closed:
            raise trio.ClosedResourceError("this stream was closed")
        await trio.lowlevel.checkpoint()
        if not self._finished:
            self._check_sendable()
            self._finished = True
            self.session._finish(self)

    async def aclose(self) -> None:
        """As `close`, then let other tasks run."""
        self.close()
        await trio.lowlevel.checkpoint()

    def close(self) -> None:
        """Say that we are done; a peer that does not answer that is cut off later."""
        if not self._closed:
            self._set_closed()
            self.session._close(self)

    def reset(self) -> None:
        """Cut the stream off in both directions at once."""
        if not self._closed:
            self._set_closed()
            self.session._reset(self)

    def _set_closed(self) -> None:
        self._closed = True
        self._chunks.clear()
        self._wake()

    def until_peer_leaves(self, grace: float) -> AbstractContextManager[trio.CancelScope]:
        """Cancel the body once nobody can want its outcome.

        At once if the stream breaks; `grace` seconds after the peer has ended its side.
        """
        return self._departure.watch(grace, is_gone=bool(self._lost), has_ended=self._ended)

    def _judge(self) -> None:
        self._departure.judge(is_gone=bool(self._lost), has_ended=self._ended)

    # --- what the session tells -------------------------------------------------------------------

    def _feed(self, data: bytes) -> None:
        self._chunks.append(data)
        self._receiving.wake()

    def _on_end(self) -> None:
        self._ended = True
        self._receiving.wake()
        self._judge()

    def _on_lost(self, reason: str) -> None:
        if not self._lost:
            self._lost = reason
            self._wake()
            self._judge()

    def _wake(self) -> None:
        self._receiving.wake()
        self._sending.wake()


class MuxSession:
    """One side of a session over `connection`, which it owns and closes.

    Args:
        connection: Where the frames go. For the dialler, the first byte has been sent.
        role: Whether we dialled or accepted it.
        limits: See `RpcLimits`.

    Attributes:
        ended: Set once the session is over.
        failure: What the connection raised, if that ended it.
    """

    def __init__(
        self, connection: trio.abc.Stream, role: Role, limits: RpcLimits | None = None
    ) -> None:
        self._limits = RpcLimits() if limits is None else limits
        self._connection = connection
        self._core = YamuxSession(role, self._limits.of_session(), trio.current_time())
        self._streams: dict[int, MuxStream] = {}
        self._incoming: deque[MuxStream] = deque()
        self._closing: deque[tuple[float, int]] = deque()  # when to reset which stream
        self._accepting = trio.lowlevel.ParkingLot()
        self._opening = trio.lowlevel.ParkingLot()
        self._room = trio.lowlevel.ParkingLot()
        self._writer = Waiter()
        self._reading = trio.CancelScope()
        self._writing = trio.CancelScope()
        self.ended = trio.Event()
        self.failure: Exception | None = None

    @property
    def reason(self) -> str:
        """Why the session ended; empty while it goes on."""
        return self._core.reason

    @property
    def is_open(self) -> bool:
        """Whether new streams can be opened, now or when earlier ones are acknowledged."""
        return not self._core.is_closed and not self._core.is_refused

    @property
    def stream_count(self) -> int:
        """Live streams of both sides."""
        return self._core.stream_count

    # --- what the user calls ----------------------------------------------------------------------

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Drive the session to its end and close the connection; raises nothing of the peer's."""
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._write_until_ended)
                task_status.started()
                with self._reading:
                    await self._read_until_ended()
        finally:
            self.end()
            await trio.aclose_forcefully(self._connection)

    async def open(self) -> MuxStream:
        """Open a stream; waits while too many are not acknowledged.

        Raises:
            SessionClosed: The session has ended or the peer takes no new streams.
        """
        await trio.lowlevel.checkpoint_if_cancelled()
        while True:
            try:
                number = self._core.open_stream()
                break
            except StreamsExhausted:
                await self._opening.park()
        stream = self._streams[number] = MuxStream(self, number)
        self._wake_writer()
        await trio.lowlevel.cancel_shielded_checkpoint()
        return stream

    async def accept(self) -> MuxStream:
        """The next stream the peer has opened; it may be reset already.

        Raises:
            SessionClosed: The session has ended.
        """
        await trio.lowlevel.checkpoint()
        while not self._incoming or self._core.is_closed:
            if self._core.is_closed:
                raise SessionClosed(self._core.reason)
            await self._accepting.park()
        stream = self._incoming.popleft()
        self._core.accepted(stream.number)
        self._wake_writer()
        return stream

    def refuse_streams(self) -> None:
        """Tell the peer to open no more streams."""
        self._core.go_away()
        self._wake_writer()

    def end(self, reason: str = "session shutdown") -> None:
        """End the session; nothing happens if it has ended."""
        self._core.end(reason)
        if self.ended.is_set():
            return
        self.ended.set()
        self._reading.cancel()
        self._writing.deadline = trio.current_time() + END_LINGER
        streams, self._streams = self._streams, {}
        for stream in streams.values():
            stream._on_lost(self._core.reason)
        self._incoming.clear()
        self._closing.clear()
        for lot in (self._accepting, self._opening, self._room):
            lot.unpark_all()
        self._writer.wake()

    def _break(self, error: Exception) -> None:
        if self.failure is None and not self._core.is_closed:
            self.failure = error
        self.end("connection reset by peer")

    # --- reading ----------------------------------------------------------------------------------

    async def _read_until_ended(self) -> None:
        connection, core = self._connection, self._core
        while not core.is_closed:
            try:
                data = await connection.receive_some(READ_BYTES)
            except (trio.BrokenResourceError, trio.ClosedResourceError) as error:
                self._break(error)
                return
            if not data:
                self.end("EOF")
                return
            self._apply(core.receive(data, trio.current_time()))
            if core.output_bytes:
                self._writer.wake()

    def _apply(self, events: list[YamuxEvent]) -> None:
        streams = self._streams
        for event in events:
            kind = type(event)
            if kind is DataReceived:
                assert isinstance(event, DataReceived)
                stream = streams.get(event.stream)
                if stream is not None:
                    stream._feed(event.data)
            else:
                self._apply_rare(event)

    def _apply_rare(self, event: YamuxEvent) -> None:
        streams = self._streams
        match event:
            case WindowGrew(number):
                if number in streams:
                    streams[number]._sending.wake()
            case StreamOpened(number):
                stream = streams[number] = MuxStream(self, number)
                self._incoming.append(stream)
                self._accepting.unpark()
            case StreamAcked():
                self._wake_openers()
            case StreamEnded(number):
                if number in streams:
                    stream = streams[number]
                    stream._on_end()
                    if stream._finished:
                        del streams[number]
            case StreamReset(number):
                if number in streams:
                    stream = streams.pop(number)
                    stream._chunks.clear()
                    stream._on_lost("stream reset")
                self._wake_openers()
            case GoAwayReceived():
                self._wake_openers()  # they learn that they wait in vain
            case SessionEnded(reason):
                self.end(reason)
            case DataReceived() | PingAnswered():
                pass

    def _wake_openers(self) -> None:
        if self._opening:
            self._opening.unpark_all()

    # --- what the streams call --------------------------------------------------------------------

    @property
    def _is_congested(self) -> bool:
        return self._core.output_bytes >= OUTPUT_BYTES_MAX

    def _send(self, number: int, data: bytes | bytearray | memoryview) -> int:
        sent = self._core.send(number, data)
        if sent:
            self._writer.wake()
        return sent

    def _consumed(self, stream: MuxStream, count: int) -> None:
        if self._streams.get(stream.number) is stream:
            self._core.consumed(stream.number, count)
            self._wake_writer()

    def _finish(self, stream: MuxStream) -> None:
        if self._streams.get(stream.number) is stream:
            self._core.finish(stream.number)
            if stream._ended:
                del self._streams[stream.number]
            self._wake_writer()

    def _close(self, stream: MuxStream) -> None:
        if self._streams.get(stream.number) is not stream:
            return
        del self._streams[stream.number]
        if stream._ended:
            self._core.finish(stream.number)
        else:
            self._core.abandon(stream.number)
            self._closing.append((trio.current_time() + CLOSE_LINGER, stream.number))
            if len(self._closing) > CLOSING_MAX:
                self._cut_off(self._closing.popleft()[1])
        self._wake_writer()

    def _reset(self, stream: MuxStream) -> None:
        if self._streams.get(stream.number) is stream:
            del self._streams[stream.number]
            self._core.reset(stream.number)
            self._wake_openers()
            self._wake_writer()

    def _cut_off(self, number: int) -> None:
        if number not in self._streams:  # else the peer has used the id again
            self._core.reset(number)
            self._wake_openers()

    # --- writing ----------------------------------------------------------------------------------

    def _wake_writer(self) -> None:
        if self._core.output_bytes:
            self._writer.wake()

    async def _write_until_ended(self) -> None:
        core = self._core
        with self._writing:
            while True:
                self._on_time()
                data = core.take_output()
                if data:
                    if self._room:
                        self._room.unpark_all()
                    if not await self._write(data):
                        return
                elif core.is_closed:
                    return
                else:
                    with trio.move_on_at(self._next_deadline()):
                        await self._writer.wait()

    async def _write(self, data: bytes) -> bool:
        """Write all of it; False if the connection is broken or too slow."""
        view = memoryview(data)
        for begin in range(0, len(data), WRITE_BYTES):
            with trio.move_on_after(self._limits.write_timeout) as writing:
                try:
                    await self._connection.send_all(view[begin : begin + WRITE_BYTES])
                except (trio.BrokenResourceError, trio.ClosedResourceError) as error:
                    # What the peer said last, a TLS alert for instance, tells more.
                    with trio.move_on_after(END_LINGER):
                        await self.ended.wait()
                    self._break(error)
                    return False
            if writing.cancelled_caught:
                self.end("connection write timeout")
                return False
        return True

    def _next_deadline(self) -> float:
        deadline = self._core.next_deadline
        return min(deadline, self._closing[0][0]) if self._closing else deadline

    def _on_time(self) -> None:
        now = trio.current_time()
        while self._closing and self._closing[0][0] <= now:
            self._cut_off(self._closing.popleft()[1])
        if self._core.next_deadline <= now:
            self._apply(self._core.on_time(now))
