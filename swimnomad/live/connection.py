"""One TCP connection: bytes in as inputs, bytes out within bounds, an end that always comes.

The task that owns the core opens, writes and closes, never waiting; one task connects and reads,
another writes. A connection ends in one of two ways. The core closes it: nothing more comes in,
what was written may still go out for a bounded time. Or it breaks: `StreamFailed` is posted, once.
The end of what the peer sends (`StreamEnded`) ends nothing: we may still write.
"""

from __future__ import annotations

import errno
import math
import os
import socket
from collections import deque
from typing import Protocol

import trio

from swimnomad.live.bind import address_of, family_of
from swimnomad.live.counters import EndpointCounters
from swimnomad.live.inbox import Inbox
from swimnomad.live.oserrors import dial_text, transfer_text
from swimnomad.names import Address, Stream, Value
from swimnomad.swim.inputs import StreamEnded, StreamFailed, StreamOpened, StreamReceived

_IP_BIND_ADDRESS_NO_PORT = 24  # linux/in.h; the socket module does not name it
_UNREAD_READS_MAX = 16


class StreamLimits(Value, frozen=True):
    """Bounds of one connection, and of all of them together."""

    streams_max: int = 1024
    """Inbound connections at one time; the next is closed at once."""
    chunk_bytes: int = 65_536
    """Most that one read passes on."""
    read_bytes_max: int = 64 * 1024 * 1024
    """Most that a peer may send on one connection; well above any message of the protocol, so
    that the core's own limits strike first."""
    write_bytes_max: int = 64 * 1024 * 1024
    """Most that may wait to be written on one connection."""
    linger: float = 10.0
    """Seconds that a closed connection may take to get its last bytes out."""
    hold_max: float = 60.0
    """Seconds that fault rules may hold an accepted connection back before it is dropped."""


class StreamFaults(Protocol):
    """What the fault shim does to connections."""

    async def hold_stream(self, inbound: bool, remote: str, data: bytes) -> None:
        """Return when the fault rules let these bytes (none: the connection itself) pass."""
        ...


class Connection:
    """One TCP connection of an endpoint."""

    def __init__(
        self,
        stream: Stream,
        remote: Address,
        inbox: Inbox,
        counters: EndpointCounters,
        limits: StreamLimits,
        faults: StreamFaults | None,
    ) -> None:
        self.stream = stream
        self.remote = remote
        self._inbox = inbox
        self._counters = counters
        self._limits = limits
        self._faults = faults
        self._local = Address("?", 0)
        self._output: deque[bytes] = deque()
        self._output_bytes = 0
        self._output_changed = trio.Event()
        self._is_over = False
        # Scopes may be cancelled before they are entered: closing works at any moment.
        self._opening = trio.CancelScope()
        self._reading = trio.CancelScope()
        self._writing = trio.CancelScope()

    # What the owner of the core calls.

    def write(self, data: bytes) -> None:
        """Queue bytes; a peer that lets too much pile up breaks the connection."""
        if self._is_over:
            return
        if self._output_bytes + len(data) > self._limits.write_bytes_max:
            self._fail(f"write tcp {self._local}->{self.remote}: too many bytes waiting")
            return
        self._output.append(data)
        self._output_bytes += len(data)
        self._output_changed.set()

    def close(self) -> None:
        """Take in nothing more; end once the output is out, or after the linger time."""
        self._is_over = True
        self._opening.cancel()
        self._reading.cancel()
        self._writing.deadline = min(
            self._writing.deadline, trio.current_time() + self._limits.linger
        )
        self._output_changed.set()

    # The connection's own task.

    async def run_outbound(self, source: str | None) -> None:
        """Connect, from the address `source` if given, and serve the connection to its end."""
        sock: socket.socket | None = None
        try:
            with self._opening:
                if self._faults is not None:
                    await self._faults.hold_stream(False, self.remote.host, b"")
                sock = open_towards(self.remote, source)
                await _connect(sock, self.remote)
            if sock is not None and not self._opening.cancelled_caught:
                await self._transfer(sock)
        except _DialError as error:
            self._fail(str(error))
        finally:
            if sock is not None:
                sock.close()

    async def run_inbound(self, sock: socket.socket) -> None:
        """Announce an accepted connection and serve it to its end."""
        with sock:
            if self._faults is not None:
                with trio.move_on_after(self._limits.hold_max) as waiting:
                    await self._faults.hold_stream(True, self.remote.host, b"")
                if waiting.cancelled_caught:
                    return
            await self._inbox.put(StreamOpened(self.stream, self.remote))
            await self._transfer(sock)

    async def _transfer(self, sock: socket.socket) -> None:
        try:
            self._local = address_of(sock.getsockname())
            # Answers are written whole; waiting for more to send would only delay them.
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        except OSError as error:
            self._fail(transfer_text("read", self._local, self.remote, error))
            return
        async with trio.open_nursery() as nursery:
            nursery.start_soon(self._write_until_closed, sock)
            with self._reading:
                await self._read_to_end(sock)

    async def _read_to_end(self, sock: socket.socket) -> None:
        total = 0
        while True:
            await trio.lowlevel.wait_readable(sock)
            try:
                data = sock.recv(self._limits.chunk_bytes)
            except BlockingIOError:
                continue
            except OSError as error:
                self._fail(transfer_text("read", self._local, self.remote, error))
                return
            if not data:
                if not self._is_over:
                    self._inbox.post(StreamEnded(self.stream))
                return
            total += len(data)
            self._counters.stream_bytes_in += len(data)
            if total > self._limits.read_bytes_max:
                self._fail(f"read tcp {self._local}->{self.remote}: too many bytes")
                return
            if self._faults is not None:
                await self._faults.hold_stream(True, self.remote.host, data)
            await self._inbox.put(StreamReceived(self.stream, data), len(data))

    async def _write_until_closed(self, sock: socket.socket) -> None:
        with self._writing:
            try:
                while self._output or not self._is_over:
                    if self._output:
                        await self._write_piece(sock, self._output[0])
                        self._output_bytes -= len(self._output.popleft())
                    else:
                        self._output_changed = trio.Event()
                        await self._output_changed.wait()
            except OSError as error:
                self._fail(transfer_text("write", self._local, self.remote, error))
        if self._output:
            self._counters.streams_aborted += 1
        _discard_unread(sock)

    async def _write_piece(self, sock: socket.socket, data: bytes) -> None:
        if self._faults is not None:
            await self._faults.hold_stream(False, self.remote.host, data)
        rest = memoryview(data)
        while rest:
            try:
                sent = sock.send(rest)
            except BlockingIOError:
                await trio.lowlevel.wait_writable(sock)
                continue
            self._counters.stream_bytes_out += sent
            rest = rest[sent:]

    def _fail(self, reason: str) -> None:
        """Report the connection broken, unless it is over already, and let its tasks end."""
        if not self._is_over:
            self._is_over = True
            self._counters.stream_failures += 1
            self._inbox.post(StreamFailed(self.stream, reason))
        self._reading.cancel()
        self._writing.deadline = -math.inf
        self._output.clear()
        self._output_changed.set()


class _DialError(Exception):
    """Connecting failed; the text is for people."""


def open_towards(to: Address, source: str | None) -> socket.socket:
    """A non-blocking TCP socket for a connection to `to`, from the address `source` if possible."""
    try:
        sock = socket.socket(family_of(to.host), socket.SOCK_STREAM)
    except OSError as error:
        raise _DialError(dial_text(to, "socket", error)) from None
    sock.setblocking(False)
    if source is not None:
        try:
            # The port is chosen on connecting, when the whole four-tuple is known: otherwise
            # all connections of this machine would share one range of ports.
            sock.setsockopt(socket.IPPROTO_IP, _IP_BIND_ADDRESS_NO_PORT, 1)
            sock.bind((source, 0))
        except OSError:
            pass  # The source address is a courtesy; the system's choice works as well.
    return sock


async def _connect(sock: socket.socket, to: Address) -> None:
    try:
        code = sock.connect_ex((to.host, to.port))
        if code == errno.EINPROGRESS:
            await trio.lowlevel.wait_writable(sock)
            code = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if code != 0:
            raise OSError(code, os.strerror(code))
    except OSError as error:
        raise _DialError(dial_text(to, "connect", error)) from None


def _discard_unread(sock: socket.socket) -> None:
    """Read away what the peer sent in vain.

    Closing a socket with unread bytes resets the connection, and the reset may overtake our last
    answer. Bounded: an endless stream is cut off all the same.
    """
    try:
        for _ in range(_UNREAD_READS_MAX):
            if not sock.recv(65_536):
                return
    except OSError:
        return
