"""The recorded sessions of port 4647 played against a session of ours.

Where the recorded side was a real agent, ours has to write the same frames in the same order: on
its own accord the pings, and what an application that does the same causes.
"""

from __future__ import annotations

import pytest

from swimnomad.rpc.yamux import (
    DataReceived,
    GoAwayReceived,
    PingAnswered,
    Role,
    SessionEnded,
    StreamEnded,
    StreamOpened,
    StreamReset,
    YamuxEvent,
    YamuxSession,
)
from swimnomad.rpc.yamux_frames import ACK, DATA, FIN, PING, SYN
from tests.vectors.rpc_vectors import Frame, Vector, bare, frames_of, is_from_client
from tests.vectors.vector_files import load, named

FILE = "nomad-rpc"
GO_AWAY = bytes.fromhex("000300000000000000000001")


def vector_of(name: str) -> Vector:
    (vector,) = [vector for vector in load(FILE) if vector["name"] == name]
    return vector


def sent_bytes(vector: Vector) -> bytes:
    """What the client of a hand-made session sent, without the type byte."""
    return b"".join(bare(message)[1] for message in vector["messages"] if is_from_client(message))


def say(session: YamuxSession, frame: Frame) -> None:
    """Let the application of `session` do what led to this frame."""
    header = frame.header
    if header.kind == DATA:
        assert session.send(header.stream, frame.payload) == len(frame.payload)
    elif header.flags & SYN:
        assert session.open_stream() == header.stream
    elif header.flags & FIN:
        session.finish(header.stream)


def accept_all(session: YamuxSession, events: list[YamuxEvent]) -> None:
    for event in events:
        if isinstance(event, StreamOpened):
            session.accepted(event.stream)


# --- hand-made requests, golden answers -----------------------------------------------------------


@pytest.mark.parametrize("vector", named(FILE, "client-ours/multiplex "))
def test_answers_come_in_the_recorded_frames(vector: Vector) -> None:
    if "requires TLS" in vector["name"] or not is_session(vector):
        return
    session = YamuxSession(Role.ACCEPTOR)
    for message in vector["messages"]:
        _, data = bare(message)
        if is_from_client(message):
            accept_all(session, session.receive(data, 0.0))
            continue
        for frame in frames_of(data):
            say(session, frame)  # the ACKs are there already
        assert session.take_output() == data
    assert not session.is_closed


def is_session(vector: Vector) -> bool:
    return len(vector["messages"]) > 1


QUIET = {
    "client-ours/yamux data on unknown stream",
    "client-ours/yamux window update for unknown stream",
    "client-ours/yamux RST of unknown stream",
    "client-ours/yamux go_away normal",
    "client-ours/yamux stream 0 data",
    "client-ours/yamux session idle",
}
FATAL = {
    "client-ours/yamux bad version": ("invalid protocol version", b""),
    "client-ours/yamux unknown type": ("invalid msg type", b""),
    "client-ours/yamux duplicate SYN": ("duplicate stream initiated", GO_AWAY),
    "client-ours/yamux go_away protocol error": ("yamux protocol error", b""),
    "client-ours/yamux go_away unknown code": ("unexpected go away received", b""),
    "client-ours/yamux window exceeded": ("recv window exceeded", GO_AWAY),
}
"""Why the session ends, and the go-away, which the recorded server did not get out in time."""


@pytest.mark.parametrize("name", sorted(QUIET))
def test_what_is_of_no_concern_gets_no_answer(name: str) -> None:
    session = YamuxSession(Role.ACCEPTOR)
    events = session.receive(sent_bytes(vector_of(name)), 0.0)
    assert events == ([GoAwayReceived(0)] if "go_away" in name else [])
    assert session.take_output() == b""
    assert not session.is_closed
    assert session.receive(Frame.to_bytes(ping(7)), 0.0) == []
    assert session.take_output() == bytes.fromhex("000200020000000000000007")


def ping(value: int) -> Frame:
    return frames_of(bytes.fromhex(f"0002000100000000{value:08x}"))[0]


@pytest.mark.parametrize("name", sorted(FATAL))
def test_a_violation_ends_the_session(name: str) -> None:
    reason, last = FATAL[name]
    session = YamuxSession(Role.ACCEPTOR)
    events = session.receive(sent_bytes(vector_of(name)), 0.0)
    assert events[-1] == SessionEnded(reason)
    assert session.take_output() == last
    assert session.reason == reason


def test_a_stream_may_end_before_it_is_accepted() -> None:
    session = YamuxSession(Role.ACCEPTOR)
    events = session.receive(sent_bytes(vector_of("client-ours/yamux SYN then FIN")), 0.0)
    assert events == [StreamOpened(1), StreamEnded(1)]
    session = YamuxSession(Role.ACCEPTOR)
    events = session.receive(sent_bytes(vector_of("client-ours/yamux SYN then RST")), 0.0)
    assert events == [StreamOpened(1), StreamReset(1)]
    session.accepted(1)
    assert session.take_output() == b""
    assert session.stream_count == 0


def test_an_empty_data_frame_opens_a_stream() -> None:
    vector = vector_of("client-ours/yamux zero-length data")
    session = YamuxSession(Role.ACCEPTOR)
    accept_all(session, session.receive(sent_bytes(vector), 0.0))
    _, answer = bare(vector["messages"][-1])
    for frame in frames_of(answer):
        say(session, frame)
    assert session.take_output() == answer


def test_an_idle_session_pings_after_half_a_minute() -> None:
    vector = vector_of("client-ours/yamux keep-alive")
    session = YamuxSession(Role.ACCEPTOR, now=100.0)
    assert session.next_deadline == 130.0
    assert session.on_time(129.9) == []
    assert session.take_output() == b""
    assert session.on_time(130.0) == []
    assert session.take_output() == bare(vector["messages"][-1])[1]


# --- both sides were real agents ------------------------------------------------------------------


@pytest.mark.parametrize("vector", named(FILE, "agents/session "))
def test_both_sides_of_a_recorded_session(vector: Vector) -> None:
    sides = {True: YamuxSession(Role.DIALLER), False: YamuxSession(Role.ACCEPTOR)}
    recorded: dict[bool, list[bytes]] = {True: [], False: []}
    answered: dict[bool, list[bytes]] = {True: [], False: []}
    for what in vector["frames"]:
        now, is_client = what["t_ms"] / 1000, is_from_client(what)
        ours, theirs = sides[is_client], sides[not is_client]
        frame = frame_of(what)
        if frame.header.flags == ACK:  # written when its cause arrived
            recorded[is_client].append(frame.to_bytes())
            continue
        if frame.header.kind == PING:
            assert 0 <= now - ours.next_deadline < 3.0
            assert ours.on_time(now) == []
        else:
            say(ours, frame)
        written = ours.take_output()
        assert written == frame.to_bytes()
        accept_all(theirs, theirs.receive(written, now))
        if answer := theirs.take_output():
            answered[not is_client].append(answer)
            ours.receive(answer, now)
    for side, answers in recorded.items():
        assert answers == answered[side][: len(answers)]
        assert len(answered[side]) - len(answers) <= 1  # the recording stops behind a ping
        assert not sides[side].is_closed


def frame_of(what: Vector) -> Frame:
    """A recorded frame; zeros stand for machine data that was left out."""
    if what["hex"] is not None:
        return frames_of(bytes.fromhex(what["hex"]))[0]
    header = f"00000000{what['stream']:08x}{what['length']:08x}"
    return frames_of(bytes.fromhex(header) + bytes(what["length"]))[0]


def test_keep_alive_of_both_ends() -> None:
    sides = {True: YamuxSession(Role.DIALLER), False: YamuxSession(Role.ACCEPTOR)}
    frames = vector_of("agents/yamux keep-alive")["frames"]
    for asked, answered in zip(frames[::2], frames[1::2], strict=True):
        asking, answering = sides[is_from_client(asked)], sides[is_from_client(answered)]
        assert asking.next_deadline == asked["t_s"]
        asking.on_time(asked["t_s"])
        output = asking.take_output()
        assert output == bytes.fromhex(asked["hex"])
        assert answering.receive(output, asked["t_s"]) == []
        output = answering.take_output()
        assert output == bytes.fromhex(answered["hex"])
        assert asking.receive(output, answered["t_s"]) == [PingAnswered(0.0)]


@pytest.mark.parametrize("index", range(6))
def test_credit_is_given_back_from_half_a_window_on(index: int) -> None:
    what = vector_of("agents/yamux window update")["frames"][index]
    stream, delta = what["stream"], what["delta"]
    dialler, acceptor = YamuxSession(Role.DIALLER), YamuxSession(Role.ACCEPTOR)
    for _ in range(stream // 2 + 1):
        last = dialler.open_stream()
    assert last == stream
    accept_all(acceptor, acceptor.receive(dialler.take_output(), 0.0))
    dialler.receive(acceptor.take_output(), 0.0)
    sender, receiver = (acceptor, dialler) if is_from_client(what) else (dialler, acceptor)
    assert sender.send(stream, bytes(delta)) == delta
    (event,) = receiver.receive(sender.take_output(), 0.0)
    assert isinstance(event, DataReceived)
    receiver.consumed(stream, 131_071)
    assert receiver.take_output() == b""
    receiver.consumed(stream, delta - 131_071)
    assert receiver.take_output() == bytes.fromhex(what["hex"])
