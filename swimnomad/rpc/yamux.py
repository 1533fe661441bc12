"""One side of a yamux session: many streams, each with its own window, over one connection.

**States of a stream.** It is live from the SYN, sent or received, until both sides have sent FIN
or one has sent RST; then it is forgotten and frames that still name it are skipped. In between
each direction is closed by its own FIN. A stream opened by the peer waits in the backlog until the
driver calls `accepted`, which sends the ACK; one opened by us counts as unacknowledged until the
peer's ACK. Neither side has to wait for the ACK before it sends data.

**Windows.** A direction begins with 262,144 bytes of credit, which each payload byte uses up. The
receiver's session grants more when the application says it has read (`consumed`), and only once
half a window has come together: a frame for every read would cost more than the data. Credit is
checked at the header, before any payload is passed on. The payload itself is passed on as it
comes, so what a session buffers is less than one header.

**What ends a session.** A violation that leaves no common state: unknown version or type, a second
SYN for a live stream, a second FIN, more payload than credit, credit past 32 bits, a go-away with
an error, no answer to a ping. Beyond the protocol, two limits of ours: payload the application has
not read over all streams, and answers the peer provokes without reading them. Everything else a
peer may send is ignored or answered. Texts are those of the reference, since they end up in the
errors of calls.

**Who may do what.** The driver calls from one task at a time, writes `take_output` after each
batch of calls, and closes the connection after `SessionEnded` (what is left to write may be
dropped). Events of one `receive` are in the order of the bytes.

Parity of the peer's ids is not checked, as in the reference; our own ids skip those in use.

Source: rpc.md §4.
"""

from __future__ import annotations

import math
from enum import Enum

from swimnomad.names import Value
from swimnomad.rpc.failures import SessionClosed, StreamClosed, StreamsExhausted
from swimnomad.rpc.yamux_frames import (
    ACK,
    DATA,
    FIN,
    GO_AWAY,
    HEADER_BYTES,
    INTERNAL_ERROR,
    NORMAL,
    PING,
    PROTOCOL_ERROR,
    RST,
    SYN,
    U32_MAX,
    VERSION,
    WINDOW_UPDATE,
    pack_header,
    unpack_header,
)
from swimnomad.rpc.yamux_streams import WINDOW_BYTES, StreamState


class Role(Enum):
    """Which side opened the connection; the value is the first stream id it gives out."""

    DIALLER = 1
    ACCEPTOR = 2


class YamuxLimits(Value, frozen=True):
    """Limits and times of one session. Durations are in seconds."""

    backlog: int = 256
    """Streams opened by the peer and not yet accepted; further ones are reset."""
    streams_max: int = 4096
    """Live streams opened by the peer, accepted or not; further ones are reset."""
    unacked_max: int = 256
    """Streams of ours whose ACK has not come."""
    unread_bytes_max: int = 64 * 1024 * 1024
    """Payload passed on and not yet consumed, over all streams."""
    answers_bytes_max: int = 256 * 1024
    """Frames that only the peer's frames caused, between two calls of `take_output`."""
    ping_interval: float = 30.0
    ping_timeout: float = 10.0


class StreamOpened(Value, frozen=True):
    """The peer opened a stream; call `accepted` once somebody serves it."""

    stream: int


class DataReceived(Value, frozen=True):
    """Payload of a stream, never empty; call `consumed` once it is read."""

    stream: int
    data: bytes


class StreamEnded(Value, frozen=True):
    """The peer sends no more on this stream (FIN)."""

    stream: int


class StreamReset(Value, frozen=True):
    """The stream is gone in both directions (RST); what is unread of it may be dropped."""

    stream: int


class StreamAcked(Value, frozen=True):
    """The peer accepted a stream of ours."""

    stream: int


class WindowGrew(Value, frozen=True):
    """The peer takes more on this stream: try `send` again."""

    stream: int


class GoAwayReceived(Value, frozen=True):
    """The peer wants no new streams; those there are go on."""

    code: int


class PingAnswered(Value, frozen=True):
    """The answer to a keep-alive came after so many seconds."""

    seconds: float


class SessionEnded(Value, frozen=True):
    """The last event: the session is over, all streams with it; `reason` for logs and errors."""

    reason: str


YamuxEvent = (
    StreamOpened
    | DataReceived
    | StreamEnded
    | StreamReset
    | StreamAcked
    | WindowGrew
    | GoAwayReceived
    | PingAnswered
    | SessionEnded
)


class YamuxSession:
    """One side of a session. Knows no socket and no clock.

    Args:
        role: Whether we dialled or accepted the connection.
        limits: See `YamuxLimits`.
        now: Seconds, monotonic; the first keep-alive goes out one interval later.
    """

    def __init__(self, role: Role, limits: YamuxLimits | None = None, now: float = 0.0) -> None:
        self._limits = YamuxLimits() if limits is None else limits
        self._next_id: int = role.value
        self._streams: dict[int, StreamState] = {}
        self._peer_streams = 0
        self._backlog = 0
        self._unacked = 0
        self._unread = 0
        self._output: list[bytes | memoryview] = []
        self._output_bytes = 0
        self._answers_bytes = 0
        self._partial = b""  # the beginning of a header
        self._payload_left = 0
        self._payload_of: StreamState | None = None  # None: it is skipped
        self._payload_ends = False  # the frame carries FIN
        self._end = ""
        self._refuses = False  # we sent a go-away
        self._is_refused = False  # the peer did
        self._ping_at = now + self._limits.ping_interval
        self._ping_sent: float | None = None
        self._ping_value = 0

    # --- what the driver may ask ------------------------------------------------------------------

    @property
    def is_closed(self) -> bool:
        """Whether the session has ended, for whatever reason."""
        return bool(self._end)

    @property
    def reason(self) -> str:
        """Why the session ended; empty while it goes on."""
        return self._end

    @property
    def stream_count(self) -> int:
        """Live streams of both sides."""
        return len(self._streams)

    @property
    def can_open(self) -> bool:
        """Whether `open_stream` would succeed."""
        return (
            not self._end
            and not self._is_refused
            and self._unacked < self._limits.unacked_max
            and self._next_id <= U32_MAX
        )

    @property
    def is_refused(self) -> bool:
        """Whether the peer said it takes no new streams."""
        return self._is_refused

    @property
    def output_bytes(self) -> int:
        """Bytes that wait for `take_output`."""
        return self._output_bytes

    @property
    def next_deadline(self) -> float:
        """When to call `on_time`; infinity after the end."""
        if self._end:
            return math.inf
        if self._ping_sent is not None:
            return self._ping_sent + self._limits.ping_timeout
        return self._ping_at

    def send_credit(self, stream: int) -> int:
        """Bytes the peer takes on this stream at once; 0 if it is gone."""
        entry = self._streams.get(stream)
        return 0 if entry is None else entry.credit

    def take_output(self) -> bytes:
        """Everything to be written since the last call."""
        output = self._output
        if not output:
            return b""
        self._output = []
        self._output_bytes = self._answers_bytes = 0
        return b"".join(output)

    # --- what the application does ----------------------------------------------------------------

    def open_stream(self) -> int:
        """Open a stream; its id.

        Raises:
            SessionClosed: If the session has ended or the peer takes no new streams.
            StreamsExhausted: If too many wait for their ACK, or there are no more ids.
        """
        if self._end:
            raise SessionClosed("session shutdown")
        if self._is_refused:
            raise SessionClosed("remote end is not accepting connections")
        if self._unacked >= self._limits.unacked_max:
            raise StreamsExhausted(f"{self._unacked} streams wait to be accepted")
        while self._next_id in self._streams:  # the peer may have taken it
            self._next_id += 2
        if self._next_id > U32_MAX:
            raise StreamsExhausted("streams exhausted")
        stream = self._next_id
        self._next_id += 2
        self._streams[stream] = StreamState(stream, is_ours=True)
        self._unacked += 1
        self._write(WINDOW_UPDATE, SYN, stream, 0)
        return stream

    def accepted(self, stream: int) -> None:
        """Somebody serves this stream of the peer's: it leaves the backlog, the ACK is sent.

        To be called once for each `StreamOpened`, even if the stream is gone by then.
        """
        if self._end:
            return
        assert self._backlog > 0, "a stream is accepted once"
        self._backlog -= 1
        entry = self._streams.get(stream)
        if entry is not None and entry.owes_ack:
            entry.owes_ack = False
            self._write(WINDOW_UPDATE, ACK, stream, 0)

    def send(self, stream: int, data: bytes | bytearray | memoryview) -> int:
        """Send as much of `data` as the peer's window takes; the number of bytes.

        Less than all means: wait for `WindowGrew`, then send the rest. Bytes are kept by
        reference, anything that can change is copied.

        Raises:
            StreamClosed: If the stream is gone or was finished.
        """
        entry = self._streams.get(stream)
        if entry is None or entry.is_finished:
            raise StreamClosed
        size = min(len(data), entry.credit)
        if not size:
            return 0
        piece: bytes | memoryview
        if type(data) is bytes:
            piece = data if size == len(data) else memoryview(data)[:size]
        elif type(data) is memoryview and type(data.obj) is bytes:
            piece = data[:size]
        else:
            piece = bytes(data[:size])
        entry.credit -= size
        self._write(DATA, self._due_flags(entry), stream, size)
        self._output.append(piece)
        self._output_bytes += size
        return size

    def consumed(self, stream: int, count: int) -> None:
        """The application has read `count` bytes of what `DataReceived` gave it."""
        entry = self._streams.get(stream)
        if entry is None:
            return
        assert 0 <= count <= entry.unread, "more was consumed than received"
        entry.unread -= count
        self._unread -= count
        entry.returnable += count
        if entry.returnable >= WINDOW_BYTES // 2 and not entry.is_ended:
            self._write(WINDOW_UPDATE, self._due_flags(entry), stream, entry.returnable)
            entry.window += entry.returnable
            entry.returnable = 0

    def finish(self, stream: int) -> None:
        """Send no more on this stream (FIN); the peer may. Does nothing the second time."""
        entry = self._streams.get(stream)
        if entry is None or entry.is_finished:
            return
        entry.is_finished = True
        self._write(WINDOW_UPDATE, self._due_flags(entry) | FIN, stream, 0)
        if entry.is_ended:
            self._forget(entry)

    def abandon(self, stream: int) -> None:
        """Finish the stream and read no more: what still comes is dropped without an event.

        The peer gets no more credit, so it cannot go on for ever; its FIN or RST ends the stream.
        """
        self.finish(stream)
        entry = self._streams.get(stream)
        if entry is not None:
            entry.is_abandoned = True
            self._unread -= entry.unread
            entry.unread = 0

    def reset(self, stream: int) -> None:
        """End the stream in both directions at once (RST)."""
        entry = self._streams.get(stream)
        if entry is not None:
            self._forget(entry)
            self._write(WINDOW_UPDATE, RST, stream, 0)

    def go_away(self, code: int = NORMAL) -> None:
        """Tell the peer to open no more streams; those it opens all the same are reset."""
        if not self._end:
            self._refuses = True
            self._write(GO_AWAY, 0, 0, code)

    def end(self, reason: str = "session shutdown") -> None:
        """The connection is gone, or about to be: no more streams, no more events."""
        if not self._end:
            self._end = reason or "session shutdown"
            self._streams.clear()
            self._peer_streams = self._unacked = self._unread = 0

    # --- time -------------------------------------------------------------------------------------

    def on_time(self, now: float) -> list[YamuxEvent]:
        """Send the keep-alive that is due, or end the session if the last one got no answer."""
        events: list[YamuxEvent] = []
        if now < self.next_deadline:
            return events
        if self._ping_sent is not None:
            self._break(events, "keepalive timeout", None)
        else:
            self._ping_sent = now
            self._write(PING, SYN, 0, self._ping_value)
        return events

    # --- what the peer does -----------------------------------------------------------------------

    def receive(self, data: bytes | bytearray | memoryview, now: float) -> list[YamuxEvent]:
        """Take the next bytes of the connection, cut anywhere; what they mean, in order."""
        events: list[YamuxEvent] = []
        if self._end:
            return events
        # Whole slices below are then copies of payload and nothing else.
        data = self._partial + data if self._partial else bytes(data)
        self._partial = b""
        position, size = 0, len(data)
        streams = self._streams
        while position < size:
            if self._payload_left:
                piece = data[position : position + self._payload_left]
                position += len(piece)
                self._payload_left -= len(piece)
                self._on_payload(events, piece)
                continue
            if size - position < HEADER_BYTES:
                self._partial = data[position:]
                break
            version, kind, flags, stream, length = unpack_header(data, position)
            position += HEADER_BYTES
            if version != VERSION:
                return self._break(events, "invalid protocol version", None)
            if kind > WINDOW_UPDATE:
                if not self._on_session_frame(events, kind, flags, length, now):
                    return events
                continue
            if flags & SYN and not self._on_syn(events, stream):
                return events
            entry = streams.get(stream)
            if entry is None:
                self._payload_of, self._payload_ends = None, False
                if kind == DATA:
                    self._payload_left = length
                continue
            if flags > SYN and not self._on_flags(events, entry, kind, flags):
                return events
            if kind == DATA:
                if not self._on_data(events, entry, flags, length):
                    return events
            elif length and not self._on_credit(events, entry, length):
                return events
        return events

    def _on_session_frame(
        self, events: list[YamuxEvent], kind: int, flags: int, value: int, now: float
    ) -> bool:
        """A ping or go-away; whether the session goes on."""
        if kind == PING:
            if flags & SYN:
                return self._answer(events, PING, ACK, 0, value)
            if self._ping_sent is not None and value == self._ping_value:
                events.append(PingAnswered(now - self._ping_sent))
                self._ping_sent = None
                self._ping_value = (self._ping_value + 1) & U32_MAX
                self._ping_at = now + self._limits.ping_interval
        elif kind != GO_AWAY:
            self._break(events, "invalid msg type", None)
        elif value == NORMAL:
            self._is_refused = True
            events.append(GoAwayReceived(value))
        else:
            events.append(GoAwayReceived(value))
            reasons = {
                PROTOCOL_ERROR: "yamux protocol error",
                INTERNAL_ERROR: "remote yamux internal error",
            }
            self._break(events, reasons.get(value, "unexpected go away received"), None)
        return not self._end

    def _on_syn(self, events: list[YamuxEvent], stream: int) -> bool:
        """Open a stream for the peer, or refuse it; whether the session goes on."""
        if stream in self._streams:
            self._break(events, "duplicate stream initiated")
        elif (
            self._refuses
            or self._backlog >= self._limits.backlog
            or self._peer_streams >= self._limits.streams_max
        ):
            self._answer(events, WINDOW_UPDATE, RST, stream, 0)
        else:
            self._streams[stream] = StreamState(stream, is_ours=False)
            self._peer_streams += 1
            self._backlog += 1
            events.append(StreamOpened(stream))
        return not self._end

    def _on_flags(
        self, events: list[YamuxEvent], entry: StreamState, kind: int, flags: int
    ) -> bool:
        """Take ACK, FIN and RST of a frame for a live stream; whether the session goes on.

        The FIN of a data frame takes effect behind its payload.
        """
        if flags & ACK and entry.waits_for_ack:
            entry.waits_for_ack = False
            self._unacked -= 1
            events.append(StreamAcked(entry.id))
        if flags & RST:
            self._forget(entry)
            events.append(StreamReset(entry.id))
        elif flags & FIN:
            if entry.is_ended:
                self._break(events, "unexpected flag")
            elif kind != DATA:
                self._on_end(events, entry)
        return not self._end

    def _on_end(self, events: list[YamuxEvent], entry: StreamState) -> None:
        entry.is_ended = True
        if not entry.is_abandoned:
            events.append(StreamEnded(entry.id))
        if entry.is_finished:
            self._forget(entry)

    def _on_data(
        self, events: list[YamuxEvent], entry: StreamState, flags: int, length: int
    ) -> bool:
        """The header of a data frame for a stream; whether the session goes on."""
        if length > entry.window:
            self._break(events, "recv window exceeded")
            return False
        if self._unread + length > self._limits.unread_bytes_max:
            self._break(events, "too much unread data", INTERNAL_ERROR)
            return False
        entry.window -= length
        ends = bool(flags & FIN)
        if not length:
            if ends and entry.is_live:
                self._on_end(events, entry)
            return True
        self._payload_left = length
        # The reference takes data behind a FIN and never shows it; it is skipped here.
        self._payload_of = None if entry.is_ended else entry
        self._payload_ends = ends
        return True

    def _on_payload(self, events: list[YamuxEvent], piece: bytes) -> None:
        """A piece of the payload of the frame whose header came last."""
        entry = self._payload_of
        if entry is None or not entry.is_live:
            return
        if not entry.is_abandoned:
            entry.unread += len(piece)
            self._unread += len(piece)
            events.append(DataReceived(entry.id, piece))
        if self._payload_ends and not self._payload_left:
            self._on_end(events, entry)

    def _on_credit(self, events: list[YamuxEvent], entry: StreamState, delta: int) -> bool:
        """A window update for a stream; whether the session goes on."""
        entry.credit += delta
        if entry.credit > U32_MAX:
            self._break(events, "send window overflow")
            return False
        if entry.is_live and not entry.is_finished:
            events.append(WindowGrew(entry.id))
        return True

    # --- parts ------------------------------------------------------------------------------------

    def _write(self, kind: int, flags: int, stream: int, length: int) -> None:
        self._output.append(pack_header(VERSION, kind, flags, stream, length))
        self._output_bytes += HEADER_BYTES

    def _answer(
        self, events: list[YamuxEvent], kind: int, flags: int, stream: int, length: int
    ) -> bool:
        """Write a frame that only the peer caused; whether the session goes on."""
        self._answers_bytes += HEADER_BYTES
        if self._answers_bytes > self._limits.answers_bytes_max:
            self._break(events, "the peer does not read its answers", INTERNAL_ERROR)
            return False
        self._write(kind, flags, stream, length)
        return True

    def _due_flags(self, entry: StreamState) -> int:
        """ACK, if the stream waits for it and another frame is sent first."""
        if entry.owes_ack:
            entry.owes_ack = False
            return ACK
        return 0

    def _forget(self, entry: StreamState) -> None:
        del self._streams[entry.id]
        entry.is_live = False
        self._unread -= entry.unread
        entry.unread = 0
        if not entry.is_ours:
            self._peer_streams -= 1
        elif entry.waits_for_ack:
            entry.waits_for_ack = False
            self._unacked -= 1

    def _break(
        self, events: list[YamuxEvent], reason: str, code: int | None = PROTOCOL_ERROR
    ) -> list[YamuxEvent]:
        """End the session; `code` is that of the go-away, None for none."""
        if code is not None:
            self.go_away(code)
        self.end(reason)
        events.append(SessionEnded(reason))
        return events
