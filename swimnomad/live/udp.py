"""The datagram side of an endpoint."""

from __future__ import annotations

import socket
from collections.abc import Callable

import trio

from swimnomad.live.bind import address_of
from swimnomad.live.counters import EndpointCounters
from swimnomad.names import Address

DATAGRAM_BYTES_MAX = 65_536

Deliver = Callable[[bytes, Address], None]


class DatagramPort:
    """Reads datagrams in batches and sends without waiting.

    One wait serves a whole batch: waiting costs several times what reading does. Sending never
    waits either: when the system does not take a datagram, it is lost, as the network may lose it.
    """

    def __init__(self, sock: socket.socket, counters: EndpointCounters, batch: int) -> None:
        self._sock = sock
        self._counters = counters
        self._batch = batch
        self._is_v6 = sock.family == socket.AF_INET6

    async def read_forever(self, deliver: Deliver) -> None:
        """Pass on every datagram; ends only by cancellation."""
        while True:
            await trio.lowlevel.wait_readable(self._sock)
            self.drain(deliver)

    def drain(self, deliver: Deliver) -> None:
        """Pass on what is waiting in the socket, at most one batch; empty datagrams are ignored."""
        receive, counters = self._sock.recvfrom, self._counters
        for _ in range(self._batch):
            try:
                data, source = receive(DATAGRAM_BYTES_MAX)
            except BlockingIOError:
                return
            except OSError:
                counters.receive_errors += 1
                continue
            if not data:
                continue
            counters.datagrams_in += 1
            counters.datagram_bytes_in += len(data)
            deliver(data, address_of(source) if self._is_v6 else Address(source[0], source[1]))

    def send(self, data: bytes, to: Address) -> None:
        """Send one datagram; a failure is a lost packet and counted."""
        host, port = to
        if self._is_v6 and ":" not in host:
            host = f"::ffff:{host}"
        counters = self._counters
        try:
            self._sock.sendto(data, (host, port))
        except OSError:
            counters.send_errors += 1
        else:
            counters.datagrams_out += 1
            counters.datagram_bytes_out += len(data)
