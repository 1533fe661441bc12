"""Simulated TCP: connections between hosts as a stream of segments in order.

    dial ── SYN ──▶ nobody listens: refused, one round trip later
                    a listener: established one round trip later, data half a round trip on

Each end has a queue of segments (open, data, end, reset). A segment leaves when the link lets it;
on a blocked link it stays and is tried again after a time that doubles, and the rest of the queue
waits behind it. So a blocked link is silent and only the core's own deadline, or a kernel's
patience of minutes, ends a stream. A killed process is not silent: its system resets what it had
open.
"""

from __future__ import annotations

from collections import deque
from enum import Enum
from typing import Protocol

from swimnomad.names import Address, Stream
from swimnomad.sim.network import RETRANSMISSION_TIMEOUT, Endpoint, Network
from swimnomad.swim.inputs import StreamEnded, StreamFailed, StreamOpened, StreamReceived

DIAL_TIMEOUT = 1.0
"""Seconds until an unanswered SYN is sent again, doubled each time (Linux)."""
DIAL_ATTEMPTS_MAX = 7
SEGMENT_ATTEMPTS_MAX = 15
SEGMENT_WAIT_MAX = 120.0
EPHEMERAL_PORT = 32_768
EPHEMERAL_PORTS = 28_232


class Segment(Enum):
    """What travels on an established connection."""

    OPEN = 1
    DATA = 2
    END = 3
    RESET = 4


StreamInput = StreamOpened | StreamReceived | StreamEnded | StreamFailed


class StreamHost(Endpoint, Protocol):
    """What a connection sees of the host at its end."""

    boots: int
    streams: dict[Stream, StreamEnd]

    def can_accept(self) -> bool:
        """Whether a process listens and its backlog has room."""
        ...

    def is_listening(self) -> bool:
        """Whether a process listens at all."""
        ...

    def next_inbound(self) -> Stream:
        """Name for an accepted connection."""
        ...

    def receive_stream(self, incoming: StreamInput) -> None:
        """Take what a connection has to report."""
        ...


class StreamEnd:
    """One end of a connection: its host, its name there, and the queue of what it sends."""

    __slots__ = (
        "attempts",
        "boot",
        "host",
        "is_closed",
        "last_arrival",
        "peer",
        "queue",
        "remote",
        "stream",
        "waits",
    )

    def __init__(self, host: StreamHost, stream: Stream, remote: Address) -> None:
        self.host = host
        self.boot = host.boots
        self.stream = stream
        self.remote = remote
        self.peer: StreamEnd | None = None
        self.queue: deque[tuple[Segment, bytes]] = deque()
        self.waits = False
        """A segment was stopped by a blocked link and will be tried again."""
        self.attempts = 0
        self.last_arrival = 0.0
        self.is_closed = False
        """The process here has closed it, is dead, or was told that it broke."""


class StreamNetwork:
    """Carries connections; the network tells how long segments take and what is blocked."""

    def __init__(self, network: Network) -> None:
        self._network = network
        self._schedule = network.schedule
        self._dialled = 0

    def dial(self, host: StreamHost, stream: Stream, to: Address, data: bytes) -> None:
        """Begin to connect; `data` is written as soon as the connection stands."""
        end = StreamEnd(host, stream, to)
        host.streams[stream] = end
        end.queue.append((Segment.OPEN, b""))
        if data:
            end.queue.append((Segment.DATA, data))
        self._send_syn(end, 1)

    def write(self, end: StreamEnd, data: bytes) -> None:
        """Queue data; on a connection not yet standing it waits for that."""
        if data and not end.is_closed:
            end.queue.append((Segment.DATA, data))
            self._pump(end)

    def close(self, end: StreamEnd) -> None:
        """The process closes its end: what is queued still goes out, then the end of stream."""
        end.host.streams.pop(end.stream, None)
        end.is_closed = True
        end.queue.append((Segment.END, b""))
        self._pump(end)

    def abandon(self, host: StreamHost) -> None:
        """The process is dead: its system resets every connection it had."""
        for end in list(host.streams.values()):
            end.is_closed = True
            end.queue.clear()
            if end.peer is not None:
                self._reset(end, end.peer)
        host.streams.clear()

    def _listener(self, end: StreamEnd) -> StreamHost | None:
        return self._network.endpoint_at(end.remote)  # type: ignore[return-value]  # all are hosts

    def _send_syn(self, end: StreamEnd, attempt: int) -> None:
        if end.is_closed:
            return
        listener = self._listener(end)
        network = self._network
        # The answer to the SYN must come back, too.
        is_blocked = network.blocks_stream(end.host, listener, end.remote) or (
            listener is not None and network.blocks_stream(listener, end.host, end.host.address)
        )
        if is_blocked:
            self._send_syn_again(end, attempt)
            return
        delay = network.stream_delay(end.host, listener, end.remote)
        self._schedule.at(self._schedule.now + delay, self._syn_arrived, end, attempt)

    def _send_syn_again(self, end: StreamEnd, attempt: int) -> None:
        wait = DIAL_TIMEOUT * 2.0 ** (attempt - 1)
        at = self._schedule.now + wait
        if attempt >= DIAL_ATTEMPTS_MAX:
            self._schedule.at(at, self._fail, end, "connection timed out")
        else:
            self._schedule.at(at, self._send_syn, end, attempt + 1)

    def _syn_arrived(self, end: StreamEnd, attempt: int) -> None:
        listener = self._listener(end)
        if listener is not None and listener.is_listening() and not listener.can_accept():
            self._send_syn_again(end, attempt)  # a full backlog drops the SYN in silence
            return
        back = end.host.address
        delay = self._network.stream_delay(listener or end.host, end.host, back)
        at = self._schedule.now + delay
        if listener is None or not listener.is_listening():
            self._schedule.at(at, self._fail, end, "connection refused")
        else:
            self._schedule.at(at, self._established, end, listener)

    def _established(self, end: StreamEnd, listener: StreamHost) -> None:
        if end.is_closed:
            return
        port = EPHEMERAL_PORT + self._dialled % EPHEMERAL_PORTS
        self._dialled += 1
        peer = StreamEnd(listener, Stream(True, 0), Address(end.host.address.host, port))
        peer.peer = end
        end.peer = peer
        self._pump(end)

    def _pump(self, end: StreamEnd) -> None:
        """Send what is queued, up to the first segment that the link does not let through."""
        peer = end.peer
        if peer is None or end.waits:
            return
        schedule, network = self._schedule, self._network
        to = peer.host.address
        while end.queue:
            if network.blocks_stream(end.host, peer.host, to):
                end.attempts += 1
                if end.attempts > SEGMENT_ATTEMPTS_MAX:
                    end.queue.clear()
                    # Not at once: the core may be in the middle of what made it write.
                    schedule.at(schedule.now, self._fail, end, "connection timed out")
                    return
                wait = RETRANSMISSION_TIMEOUT * 2.0 ** (end.attempts - 1)
                end.waits = True
                schedule.at(schedule.now + min(wait, SEGMENT_WAIT_MAX), self._try_again, end)
                return
            end.attempts = 0
            segment, data = end.queue.popleft()
            # Never before what was sent earlier: TCP keeps the order whatever the delays are.
            delay = network.stream_delay(end.host, peer.host, to, data)
            at = max(end.last_arrival, schedule.now + delay)
            end.last_arrival = at
            schedule.at(at, self._arrived, peer, segment, data)

    def _try_again(self, end: StreamEnd) -> None:
        end.waits = False
        self._pump(end)

    def _arrived(self, end: StreamEnd, segment: Segment, data: bytes) -> None:
        host, sender = end.host, end.peer
        assert sender is not None
        if end.is_closed or host.boots != end.boot or not host.is_listening():
            if segment in (Segment.OPEN, Segment.DATA):
                self._reset(end, sender)
            return
        match segment:
            case Segment.OPEN:
                end.stream = host.next_inbound()
                host.streams[end.stream] = end
                host.receive_stream(StreamOpened(end.stream, end.remote))
            case Segment.DATA:
                host.receive_stream(StreamReceived(end.stream, data))
            case Segment.END:
                host.receive_stream(StreamEnded(end.stream))
            case Segment.RESET:
                self._fail(end, "connection reset by peer")

    def _reset(self, end: StreamEnd, other: StreamEnd) -> None:
        """Tell the other end that this one is gone; lost for good if the link is blocked."""
        to = other.host.address
        if not self._network.blocks_stream(end.host, other.host, to):
            delay = self._network.stream_delay(end.host, other.host, to)
            at = max(end.last_arrival, self._schedule.now + delay)
            self._schedule.at(at, self._arrived, other, Segment.RESET, b"")

    def _fail(self, end: StreamEnd, reason: str) -> None:
        if end.is_closed:
            return
        end.is_closed = True
        end.queue.clear()
        end.host.streams.pop(end.stream, None)
        end.host.receive_stream(StreamFailed(end.stream, reason))
