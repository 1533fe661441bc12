"""One side of a yamux session against frames, and two sides against each other."""

from __future__ import annotations

import math

import pytest

from swimnomad.rpc.failures import SessionClosed, StreamClosed, StreamsExhausted
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
    YamuxLimits,
    YamuxSession,
)
from swimnomad.rpc.yamux_frames import (
    ACK,
    DATA,
    FIN,
    GO_AWAY,
    INTERNAL_ERROR,
    PING,
    PROTOCOL_ERROR,
    RST,
    SYN,
    WINDOW_UPDATE,
    Header,
)
from swimnomad.rpc.yamux_streams import WINDOW_BYTES
from tests.vectors.rpc_vectors import frames_of


def frame(kind: int, flags: int, stream: int, length: int = 0, payload: bytes = b"") -> bytes:
    return Header(0, kind, flags, stream, length or len(payload)).to_bytes() + payload


def headers(data: bytes) -> list[tuple[int, int, int, int]]:
    """Type, flags, stream and length of each frame."""
    return [found.header[1:] for found in frames_of(data)]


OPEN = frame(WINDOW_UPDATE, SYN, 1)
GO_AWAY_PROTOCOL = (GO_AWAY, 0, 0, PROTOCOL_ERROR)
GO_AWAY_INTERNAL = (GO_AWAY, 0, 0, INTERNAL_ERROR)


class Pair:
    """Two ends of one session."""

    def __init__(self, limits: YamuxLimits | None = None) -> None:
        self.a = YamuxSession(Role.DIALLER, limits)
        self.b = YamuxSession(Role.ACCEPTOR, limits)

    def to_b(self) -> list[YamuxEvent]:
        return self.b.receive(self.a.take_output(), 0.0)

    def to_a(self) -> list[YamuxEvent]:
        return self.a.receive(self.b.take_output(), 0.0)

    def opened(self) -> int:
        """A stream of `a` that `b` has accepted."""
        stream = self.a.open_stream()
        assert self.to_b() == [StreamOpened(stream)]
        self.b.accepted(stream)
        assert self.to_a() == [StreamAcked(stream)]
        return stream


# --- streams --------------------------------------------------------------------------------------


def test_ids_are_odd_for_the_dialler_and_even_for_the_acceptor() -> None:
    a, b = YamuxSession(Role.DIALLER), YamuxSession(Role.ACCEPTOR)
    assert [a.open_stream() for _ in range(3)] == [1, 3, 5]
    assert [b.open_stream() for _ in range(3)] == [2, 4, 6]
    assert a.stream_count == 3


def test_an_id_the_peer_has_taken_is_skipped() -> None:
    session = YamuxSession(Role.ACCEPTOR)
    assert session.receive(frame(WINDOW_UPDATE, SYN, 2), 0.0) == [StreamOpened(2)]
    assert session.open_stream() == 4


def test_data_may_come_with_the_syn_and_before_the_ack() -> None:
    pair = Pair()
    stream = pair.a.open_stream()
    assert pair.a.send(stream, b"hello") == 5
    assert pair.to_b() == [StreamOpened(1), DataReceived(1, b"hello")]
    assert YamuxSession(Role.ACCEPTOR).receive(frame(DATA, SYN, 1, payload=b"x"), 0.0) == [
        StreamOpened(1),
        DataReceived(1, b"x"),
    ]


def test_an_answer_before_accepting_carries_the_ack() -> None:
    session = YamuxSession(Role.ACCEPTOR)
    session.receive(OPEN, 0.0)
    session.send(1, b"x")
    assert headers(session.take_output()) == [(DATA, ACK, 1, 1)]
    session.accepted(1)
    assert session.take_output() == b""


def test_half_close() -> None:
    pair = Pair()
    stream = pair.opened()
    pair.a.send(stream, b"ask")
    pair.a.finish(stream)
    pair.a.finish(stream)
    assert pair.to_b() == [DataReceived(1, b"ask"), StreamEnded(1)]
    with pytest.raises(StreamClosed):
        pair.a.send(stream, b"more")
    pair.b.send(stream, b"answer")
    pair.b.finish(stream)
    assert pair.to_a() == [DataReceived(1, b"answer"), StreamEnded(1)]
    assert pair.a.stream_count == pair.b.stream_count == 0
    assert pair.a.send_credit(stream) == 0
    pair.a.finish(stream)
    pair.a.consumed(stream, 6)
    assert pair.a.take_output() == b""


def test_a_fin_on_a_data_frame_comes_behind_its_payload() -> None:
    session = YamuxSession(Role.ACCEPTOR)
    data = frame(DATA, SYN | FIN, 1, payload=b"abc")
    events: list[YamuxEvent] = []
    for byte in data:
        events += session.receive(bytes((byte,)), 0.0)
    assert events == [
        StreamOpened(1),
        DataReceived(1, b"a"),
        DataReceived(1, b"b"),
        DataReceived(1, b"c"),
        StreamEnded(1),
    ]
    empty = YamuxSession(Role.ACCEPTOR)
    assert empty.receive(frame(DATA, SYN | FIN, 1), 0.0) == [StreamOpened(1), StreamEnded(1)]


def test_what_follows_a_fin_is_skipped() -> None:
    session = YamuxSession(Role.ACCEPTOR)
    session.receive(frame(DATA, SYN | FIN, 1), 0.0)
    assert session.receive(frame(DATA, 0, 1, payload=b"more"), 0.0) == []
    assert not session.is_closed


def test_a_second_fin_ends_the_session() -> None:
    session = YamuxSession(Role.ACCEPTOR)
    session.receive(OPEN + frame(WINDOW_UPDATE, FIN, 1), 0.0)
    assert session.receive(frame(WINDOW_UPDATE, FIN, 1), 0.0) == [SessionEnded("unexpected flag")]
    assert headers(session.take_output()) == [GO_AWAY_PROTOCOL]


def test_reset_by_the_peer() -> None:
    pair = Pair()
    stream = pair.opened()
    pair.b.send(stream, b"x")
    pair.b.reset(stream)
    pair.b.reset(stream)
    assert pair.to_a() == [DataReceived(1, b"x"), StreamReset(1)]
    with pytest.raises(StreamClosed):
        pair.a.send(stream, b"y")
    assert pair.a.stream_count == pair.b.stream_count == 0


def test_a_reset_frees_the_place_of_a_stream_nobody_acknowledged() -> None:
    pair = Pair(YamuxLimits(unacked_max=1))
    pair.a.open_stream()
    assert not pair.a.can_open
    with pytest.raises(StreamsExhausted):
        pair.a.open_stream()
    pair.to_b()
    pair.b.reset(1)
    assert pair.to_a() == [StreamReset(1)]
    assert pair.a.can_open
    second = pair.a.open_stream()
    pair.a.reset(second)
    assert pair.a.can_open


def test_a_reset_on_a_data_frame_drops_its_payload() -> None:
    session = YamuxSession(Role.ACCEPTOR)
    session.receive(OPEN, 0.0)
    assert session.receive(frame(DATA, RST, 1, payload=b"abc"), 0.0) == [StreamReset(1)]
    assert session.receive(frame(DATA, SYN, 1, payload=b"d"), 0.0) == [
        StreamOpened(1),
        DataReceived(1, b"d"),
    ]


def test_a_stream_reset_in_the_middle_of_a_payload() -> None:
    session = YamuxSession(Role.ACCEPTOR)
    data = frame(DATA, SYN, 1, payload=b"abcdef")
    session.receive(data[:15], 0.0)
    session.reset(1)
    assert session.receive(data[15:], 0.0) == []
    assert not session.is_closed


def test_an_abandoned_stream_tells_nothing_and_goes_with_the_fin() -> None:
    pair = Pair()
    stream = pair.opened()
    pair.b.send(stream, b"early")
    pair.to_a()
    pair.a.abandon(stream)
    assert pair.to_b() == [StreamEnded(1)]
    pair.b.send(stream, bytes(1000))
    pair.b.finish(stream)
    assert pair.to_a() == []
    assert pair.a.take_output() == b""
    assert pair.a.stream_count == 0
    pair.a.abandon(stream)


def test_streams_of_no_one_are_ignored() -> None:
    session = YamuxSession(Role.DIALLER)
    for data in (
        frame(DATA, 0, 9, payload=b"abc"),
        frame(WINDOW_UPDATE, 0, 9, 5),
        frame(WINDOW_UPDATE, FIN | ACK, 9),
        frame(DATA, RST, 0, payload=b"abc"),
        frame(PING, ACK, 0, 99),
    ):
        assert session.receive(data, 0.0) == []
    session.finish(9)
    session.consumed(9, 1)
    assert session.take_output() == b""
    assert not session.is_closed


# --- windows --------------------------------------------------------------------------------------


def test_a_window_takes_so_much_and_no_more() -> None:
    pair = Pair()
    stream = pair.opened()
    data = bytes(range(256)) * 2048
    assert pair.a.send(stream, data) == WINDOW_BYTES
    assert pair.a.send(stream, data) == 0
    assert pair.a.send_credit(stream) == 0
    (event,) = pair.to_b()
    assert event == DataReceived(1, data[:WINDOW_BYTES])
    pair.b.consumed(stream, WINDOW_BYTES // 2 - 1)
    assert pair.to_a() == []
    pair.b.consumed(stream, 1)
    assert pair.to_a() == [WindowGrew(1)]
    assert pair.a.send_credit(stream) == WINDOW_BYTES // 2
    assert pair.a.send(stream, memoryview(data)[WINDOW_BYTES:]) == WINDOW_BYTES // 2


def test_all_kinds_of_bytes_can_be_sent() -> None:
    pair = Pair()
    stream = pair.opened()
    changing = bytearray(b"abc")
    pair.a.send(stream, changing)
    pair.a.send(stream, memoryview(changing))
    pair.a.send(stream, memoryview(b"xyz")[1:])
    changing[:] = b"..."
    assert pair.a.send(stream, b"") == 0
    assert [event.data for event in pair.to_b() if isinstance(event, DataReceived)] == [
        b"abc",
        b"abc",
        b"yz",
    ]


def test_credit_counts_at_the_header() -> None:
    session = YamuxSession(Role.ACCEPTOR)
    session.receive(OPEN, 0.0)
    session.receive(frame(DATA, 0, 1, payload=bytes(WINDOW_BYTES)), 0.0)
    events = session.receive(Header(0, DATA, 0, 1, 1).to_bytes(), 0.0)
    assert events == [SessionEnded("recv window exceeded")]
    assert headers(session.take_output()) == [GO_AWAY_PROTOCOL]


def test_credit_beyond_what_the_field_holds_ends_the_session() -> None:
    session = YamuxSession(Role.ACCEPTOR)
    session.receive(OPEN, 0.0)
    most = 2**32 - 1 - WINDOW_BYTES
    assert session.receive(frame(WINDOW_UPDATE, 0, 1, most), 0.0) == [WindowGrew(1)]
    assert session.receive(frame(WINDOW_UPDATE, 0, 1, 1), 0.0) == [
        SessionEnded("send window overflow")
    ]


def test_the_surplus_of_a_syn_is_credit() -> None:
    session = YamuxSession(Role.ACCEPTOR)
    events = session.receive(frame(WINDOW_UPDATE, SYN, 1, 1000), 0.0)
    assert events == [StreamOpened(1), WindowGrew(1)]
    assert session.send_credit(1) == WINDOW_BYTES + 1000


def test_no_credit_is_given_back_once_the_peer_has_finished() -> None:
    pair = Pair()
    stream = pair.opened()
    pair.a.send(stream, bytes(200_000))
    pair.a.finish(stream)
    pair.to_b()
    pair.b.consumed(stream, 200_000)
    assert pair.b.take_output() == b""


def test_credit_for_a_finished_direction_concerns_nobody() -> None:
    pair = Pair()
    stream = pair.opened()
    pair.a.finish(stream)
    assert pair.a.receive(frame(WINDOW_UPDATE, 0, stream, 5), 0.0) == []


def test_more_cannot_be_consumed_than_came() -> None:
    pair = Pair()
    stream = pair.opened()
    pair.a.send(stream, b"abc")
    pair.to_b()
    with pytest.raises(AssertionError):
        pair.b.consumed(stream, 4)


# --- limits ---------------------------------------------------------------------------------------


def test_a_full_backlog_resets_further_streams() -> None:
    session = YamuxSession(Role.ACCEPTOR, YamuxLimits(backlog=2))
    data = b"".join(frame(DATA, SYN, stream, payload=b"x") for stream in (1, 3, 5))
    events = session.receive(data, 0.0)
    assert [event for event in events if isinstance(event, StreamOpened)] == [
        StreamOpened(1),
        StreamOpened(3),
    ]
    assert headers(session.take_output()) == [(WINDOW_UPDATE, RST, 5, 0)]
    session.accepted(1)
    assert session.receive(frame(WINDOW_UPDATE, SYN, 7), 0.0) == [StreamOpened(7)]


def test_a_place_in_the_backlog_is_kept_until_it_is_accepted() -> None:
    session = YamuxSession(Role.ACCEPTOR, YamuxLimits(backlog=1))
    session.receive(OPEN + frame(WINDOW_UPDATE, RST, 1), 0.0)
    assert session.receive(frame(WINDOW_UPDATE, SYN, 3), 0.0) == []
    session.accepted(1)
    assert session.receive(frame(WINDOW_UPDATE, SYN, 3), 0.0) == [StreamOpened(3)]


def test_a_peer_has_so_many_streams() -> None:
    session = YamuxSession(Role.ACCEPTOR, YamuxLimits(streams_max=1))
    session.receive(OPEN, 0.0)
    session.accepted(1)
    session.take_output()
    assert session.receive(frame(WINDOW_UPDATE, SYN, 3), 0.0) == []
    assert headers(session.take_output()) == [(WINDOW_UPDATE, RST, 3, 0)]
    session.reset(1)
    assert session.receive(frame(WINDOW_UPDATE, SYN, 5), 0.0) == [StreamOpened(5)]


def test_unread_data_of_all_streams_has_a_limit() -> None:
    session = YamuxSession(Role.ACCEPTOR, YamuxLimits(unread_bytes_max=1000))
    session.receive(frame(DATA, SYN, 1, payload=bytes(600)), 0.0)
    session.receive(frame(DATA, SYN, 3, payload=bytes(400)), 0.0)
    session.consumed(1, 1)
    assert session.receive(frame(DATA, 0, 3, payload=b"x"), 0.0) == [DataReceived(3, b"x")]
    session.reset(1)
    session.receive(frame(DATA, 0, 3, payload=bytes(599)), 0.0)
    assert session.receive(frame(DATA, 0, 3, payload=b"x"), 0.0) == [
        SessionEnded("too much unread data")
    ]
    assert headers(session.take_output())[-1] == GO_AWAY_INTERNAL


@pytest.mark.parametrize("provoking", [frame(PING, SYN, 0, 1), frame(WINDOW_UPDATE, SYN, 9)])
def test_answers_nobody_reads_have_a_limit(provoking: bytes) -> None:
    session = YamuxSession(Role.ACCEPTOR, YamuxLimits(answers_bytes_max=24))
    session.go_away()
    assert session.receive(provoking * 2, 0.0) == []
    session.take_output()
    assert session.receive(provoking * 2, 0.0) == []
    assert session.output_bytes == 24
    assert session.receive(provoking * 5, 0.0) == [
        SessionEnded("the peer does not read its answers")
    ]


def test_ids_end() -> None:
    session = YamuxSession(Role.DIALLER)
    session._next_id = 2**32 - 1
    assert session.can_open
    assert session.open_stream() == 2**32 - 1
    assert not session.can_open
    with pytest.raises(StreamsExhausted, match="streams exhausted"):
        session.open_stream()


# --- the session ----------------------------------------------------------------------------------


def test_go_away_from_the_peer() -> None:
    pair = Pair()
    stream = pair.opened()
    pair.b.go_away()
    assert pair.to_a() == [GoAwayReceived(0)]
    assert pair.a.is_refused
    assert not pair.a.can_open
    with pytest.raises(SessionClosed, match="not accepting"):
        pair.a.open_stream()
    assert pair.a.send(stream, b"goes on") == 7
    assert pair.b.open_stream() == 2  # the other direction is open
    assert pair.to_a() == [StreamOpened(2)]


def test_after_our_go_away_streams_are_reset() -> None:
    session = YamuxSession(Role.ACCEPTOR)
    session.go_away()
    assert session.receive(frame(DATA, SYN, 1, payload=b"x"), 0.0) == []
    assert headers(session.take_output()) == [(GO_AWAY, 0, 0, 0), (WINDOW_UPDATE, RST, 1, 0)]


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        (PROTOCOL_ERROR, "yamux protocol error"),
        (INTERNAL_ERROR, "remote yamux internal error"),
        (77, "unexpected go away received"),
    ],
)
def test_other_go_aways_end_the_session(code: int, reason: str) -> None:
    session = YamuxSession(Role.DIALLER)
    assert session.receive(frame(GO_AWAY, 0, 0, code), 0.0) == [
        GoAwayReceived(code),
        SessionEnded(reason),
    ]
    assert session.take_output() == b""


def test_after_the_end_nothing_happens() -> None:
    pair = Pair()
    stream = pair.opened()
    pair.b.open_stream()
    pair.to_a()
    pair.a.end("EOF")
    pair.a.end("again")
    assert pair.a.reason == "EOF"
    assert pair.a.is_closed
    assert not pair.a.can_open
    assert pair.a.stream_count == 0
    assert pair.a.next_deadline == math.inf
    assert pair.a.receive(OPEN, 0.0) == []
    assert pair.a.on_time(1e9) == []
    pair.a.accepted(2)
    pair.a.consumed(stream, 5)
    pair.a.finish(stream)
    pair.a.abandon(stream)
    pair.a.reset(stream)
    pair.a.go_away()
    assert pair.a.take_output() == b""
    with pytest.raises(SessionClosed, match="session shutdown"):
        pair.a.open_stream()
    with pytest.raises(StreamClosed):
        pair.a.send(stream, b"x")


def test_pings() -> None:
    session = YamuxSession(Role.DIALLER, now=10.0)
    assert session.receive(frame(PING, ACK, 0, 0), 11.0) == []  # nobody asked
    assert session.next_deadline == 40.0
    for value in range(3):
        sent = session.next_deadline
        assert session.on_time(sent) == []
        assert headers(session.take_output()) == [(PING, SYN, 0, value)]
        assert session.next_deadline == sent + 10.0
        assert session.receive(frame(PING, ACK, 0, value + 1), sent) == []
        assert session.receive(frame(PING, ACK, 0, value), sent + 0.5) == [PingAnswered(0.5)]
        assert session.next_deadline == sent + 30.5


def test_no_answer_to_a_ping_ends_the_session() -> None:
    session = YamuxSession(Role.DIALLER)
    session.on_time(30.0)
    assert session.on_time(39.9) == []
    assert session.on_time(40.0) == [SessionEnded("keepalive timeout")]


# --- cut anywhere ---------------------------------------------------------------------------------


def conversation() -> tuple[bytes, bytes]:
    """The bytes of both directions of a session with all kinds of frames."""
    pair = Pair()
    a_bytes, b_bytes = b"", b""
    first, second = pair.a.open_stream(), pair.a.open_stream()
    pair.a.send(first, b"\x01" + bytes(range(100)))
    pair.a.on_time(30.0)
    out = pair.a.take_output()
    a_bytes += out
    pair.b.receive(out, 0.0)
    pair.b.accepted(first)
    pair.b.accepted(second)
    pair.b.send(first, b"answer")
    pair.b.finish(first)
    pair.b.reset(second)
    pair.b.go_away()
    b_bytes += pair.b.take_output()
    pair.a.receive(b_bytes, 0.0)
    pair.a.consumed(first, 6)
    pair.a.finish(first)
    a_bytes += pair.a.take_output()
    return a_bytes, b_bytes


def joined(events: list[YamuxEvent]) -> list[YamuxEvent]:
    """The events with neighbouring pieces of data put together."""
    found: list[YamuxEvent] = []
    for event in events:
        last = found[-1] if found else None
        if (
            isinstance(event, DataReceived)
            and isinstance(last, DataReceived)
            and last.stream == event.stream
        ):
            found[-1] = DataReceived(event.stream, last.data + event.data)
        else:
            found.append(event)
    return found


def test_a_session_may_be_cut_at_every_byte() -> None:
    data, _ = conversation()
    whole = YamuxSession(Role.ACCEPTOR).receive(data, 0.0)
    assert len(whole) == 4
    for cut in range(len(data) + 1):
        session = YamuxSession(Role.ACCEPTOR)
        events = session.receive(data[:cut], 0.0) + session.receive(data[cut:], 0.0)
        assert joined(events) == whole
        assert session.stream_count == 2
    single = YamuxSession(Role.ACCEPTOR)
    events = [event for byte in data for event in single.receive(bytes((byte,)), 0.0)]
    assert joined(events) == whole


def test_the_other_direction_too() -> None:
    _, data = conversation()
    for cut in range(len(data) + 1):
        session = YamuxSession(Role.DIALLER)
        session.open_stream()
        session.open_stream()
        session.on_time(30.0)
        events = session.receive(bytearray(data[:cut]), 31.0)
        events += session.receive(memoryview(data)[cut:], 31.0)
        assert joined(events) == [
            PingAnswered(1.0),
            StreamAcked(1),
            StreamAcked(3),
            DataReceived(1, b"answer"),
            StreamEnded(1),
            StreamReset(3),
            GoAwayReceived(0),
        ]
