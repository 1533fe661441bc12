"""The stream side of an endpoint: the listener and every connection the core knows."""

from __future__ import annotations

import ipaddress
import socket

import trio

from swimnomad.live.bind import address_of
from swimnomad.live.connection import Connection, StreamFaults, StreamLimits
from swimnomad.live.counters import EndpointCounters
from swimnomad.live.inbox import Inbox
from swimnomad.names import Address, Stream

ACCEPT_PAUSE_MIN = 0.005
ACCEPT_PAUSE_MAX = 1.0
_ACCEPTS_PER_WAKE = 16


class StreamTable:
    """Connections by stream, from the moment the core may know of one until it is done with it."""

    def __init__(
        self,
        local: Address,
        inbox: Inbox,
        counters: EndpointCounters,
        limits: StreamLimits,
        faults: StreamFaults | None,
    ) -> None:
        self._inbox = inbox
        self._counters = counters
        self._limits = limits
        self._faults = faults
        self._known: dict[Stream, Connection] = {}
        self._inbound_open = 0
        self._inbound_numbers = 0
        # The reference connects from whatever address the system picks; on loopback that hides
        # which agent is calling, and fault rules name hosts. Elsewhere we do as the reference.
        self._loopback_source = local.host if _is_loopback(local.host) else None

    def __len__(self) -> int:
        """Connections known."""
        return len(self._known)

    def __contains__(self, stream: Stream) -> bool:
        """Whether the core may still hear of `stream`."""
        return stream in self._known

    @property
    def inbound_open(self) -> int:
        """Accepted connections that are not closed yet, those that linger included."""
        return self._inbound_open

    def open(self, stream: Stream, to: Address, data: bytes, nursery: trio.Nursery) -> None:
        """Start connecting to `to`; `data` goes out first."""
        assert not stream.inbound
        assert stream not in self._known, "stream numbers are not used again"
        connection = self._connection(stream, to)
        self._counters.streams_out += 1
        if data:
            connection.write(data)
        source = self._loopback_source if _is_loopback(to.host) else None
        nursery.start_soon(connection.run_outbound, source)

    def write(self, stream: Stream, data: bytes) -> None:
        """Queue bytes; nothing happens if the stream is gone."""
        connection = self._known.get(stream)
        if connection is not None:
            connection.write(data)

    def close(self, stream: Stream) -> None:
        """Close after the last byte; nothing happens if the stream is gone."""
        connection = self._known.pop(stream, None)
        if connection is not None:
            connection.close()

    def forget(self, stream: Stream) -> None:
        """The core has been told that the stream failed."""
        self._known.pop(stream, None)

    async def accept_forever(self, listener: socket.socket, nursery: trio.Nursery) -> None:
        """Accept connections; ends only by cancellation.

        After an error the listener pauses, doubling from 5 ms to 1 s; a success resets the pause
        (gossip.md §2). Errors here mean that the system is out of files or memory.
        """
        pause = 0.0
        while True:
            await trio.lowlevel.wait_readable(listener)
            for _ in range(_ACCEPTS_PER_WAKE):
                try:
                    sock, peer = listener.accept()
                except (BlockingIOError, ConnectionAbortedError):
                    break
                except OSError:
                    self._counters.accept_errors += 1
                    pause = min(max(2 * pause, ACCEPT_PAUSE_MIN), ACCEPT_PAUSE_MAX)
                    await trio.sleep(pause)
                    break
                pause = 0.0
                self._accept(sock, address_of(peer), nursery)

    def _accept(self, sock: socket.socket, peer: Address, nursery: trio.Nursery) -> None:
        if self._inbound_open >= self._limits.streams_max:
            self._counters.streams_refused += 1
            sock.close()
            return
        sock.setblocking(False)
        self._counters.streams_in += 1
        self._inbound_open += 1
        self._inbound_numbers += 1
        connection = self._connection(Stream(True, self._inbound_numbers), peer)
        nursery.start_soon(self._serve_inbound, connection, sock)

    async def _serve_inbound(self, connection: Connection, sock: socket.socket) -> None:
        try:
            await connection.run_inbound(sock)
        finally:
            self._inbound_open -= 1

    def _connection(self, stream: Stream, remote: Address) -> Connection:
        connection = Connection(
            stream, remote, self._inbox, self._counters, self._limits, self._faults
        )
        self._known[stream] = connection
        return connection


def _is_loopback(host: str) -> bool:
    return ipaddress.ip_address(host).is_loopback
