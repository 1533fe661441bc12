"""The life of streams: requests, refusals, limits and deadlines."""

from __future__ import annotations

import pytest

from swimnomad.names import Address, Stream
from swimnomad.swim.effects import CloseStream, WriteStream
from swimnomad.swim.events import (
    InputDropped,
    JoinFinished,
    NodeJoined,
    UserMessageReceived,
)
from swimnomad.swim.inputs import (
    Join,
    JoinTarget,
    StreamEnded,
    StreamFailed,
    StreamOpened,
    StreamReceived,
    TimerFired,
)
from swimnomad.swim.timers import StreamDeadline
from swimnomad.wire.frames import StreamCodec, StreamSettings
from swimnomad.wire.keyring import Keyring
from swimnomad.wire.messages import Ack, ErrorReply, Ping, PushPull, UserMessage
from tests.swim.swim_support import OTHER, PEER, Rig, record, rig_with

CODEC = StreamCodec(StreamSettings(compression=False), Keyring(), lambda: bytes(12))
STATE = CODEC.pack(PushPull(False, (record("b"),)), True)


def test_stream_ping_is_answered_and_the_stream_closed() -> None:
    """gossip 40.6: a stream ping is answered with an ack of equal sequence number."""
    rig = rig_with()
    rig.request(Ping(9, "a"))
    assert rig.written() == [Ack(9)]
    assert rig.closed() == [Stream(True, 1)]
    assert not rig.has_timer(StreamDeadline)


def test_stream_ping_for_another_is_closed_without_answer() -> None:
    rig = rig_with()
    rig.request(Ping(9, "b"))
    assert rig.of(WriteStream) == []
    assert rig.closed() == [Stream(True, 1)]
    assert [event.kind for event in rig.events(InputDropped)] == ["ping"]


def test_user_message_on_a_stream_is_announced_without_answer() -> None:
    rig = rig_with()
    rig.request(UserMessage(b"x" * 5000))
    assert rig.events(UserMessageReceived) == [UserMessageReceived(b"x" * 5000, PEER, True)]
    assert rig.of(WriteStream) == []
    assert rig.closed() == [Stream(True, 1)]


@pytest.mark.parametrize("data", [b"\x0d\x80", b"\x02\x80", b"\x63", b"\x06\x00"])
def test_what_is_no_request_closes_the_stream_in_silence(data: bytes) -> None:
    rig = rig_with()
    stream = rig.accept()
    rig.feed(StreamReceived(stream, data))
    assert rig.of(WriteStream) == []
    assert rig.closed() == [stream]
    assert [event.kind for event in rig.events(InputDropped)] == ["stream"]


@pytest.mark.parametrize("data", [b"\x0a\x00\x00\x00\x2e", b"\x09\xc1", b"\x09\x00"])
def test_what_cannot_be_unwrapped_is_told_so(data: bytes) -> None:
    rig = rig_with()
    stream = rig.accept()
    rig.feed(StreamReceived(stream, data))
    (answer,) = rig.written()
    assert isinstance(answer, ErrorReply)
    assert rig.closed() == [stream]
    assert rig.feed(StreamReceived(stream, b"more")) == []


def test_plain_stream_is_refused_where_encryption_is_required() -> None:
    rig = rig_with(keyring=Keyring(primary=bytes(16)))
    stream = rig.accept()
    rig.feed(StreamReceived(stream, STATE))
    (effect,) = rig.of(WriteStream)
    assert effect.data[0] == 10
    assert rig.closed() == [stream]


@pytest.mark.parametrize(
    "head",
    [
        "0683a44a6f696ec3a54e6f646573ce00989680ac5573657253746174654c656e00",
        "0683a44a6f696ec3a54e6f64657301ac5573657253746174654c656ece01c9c380",
        "0881aa557365724d73674c656ece01c9c380",
    ],
)
def test_huge_announcements_close_the_stream(head: str) -> None:
    """gossip 40.21: 10,000,000 nodes, 30,000,000 bytes of state or of message: closed."""
    rig = rig_with()
    stream = rig.accept()
    # What is over a limit is refused as soon as it is announced, or where it would begin.
    rig.feed(StreamReceived(stream, bytes.fromhex(head)))
    assert rig.closed() == [stream]
    assert rig.of(WriteStream) == []


def test_request_in_pieces_is_served_once_it_is_whole() -> None:
    rig = rig_with()
    stream = rig.accept()
    for byte in STATE[:-1]:
        assert rig.feed(StreamReceived(stream, bytes((byte,)))) == []
    rig.feed(StreamReceived(stream, STATE[-1:]))
    assert len(rig.written()) == 1
    assert len(rig.events(NodeJoined)) == 1


def test_silent_peer_is_closed_at_the_deadline() -> None:
    rig = rig_with()
    stream = rig.accept()
    assert rig.at_of(StreamDeadline) == 10.0
    rig.feed(StreamReceived(stream, STATE[:5]))
    # A peer that dribbles gets no more time for it.
    assert rig.at_of(StreamDeadline) == 10.0
    rig.fire(StreamDeadline)
    assert rig.closed() == [stream]
    assert rig.node.counters["dropped.timeout"] == 1


def test_knock_at_the_port_is_no_news() -> None:
    rig = rig_with()
    stream = rig.accept(1)
    rig.feed(StreamEnded(stream))
    assert rig.closed() == [stream]
    assert rig.events(InputDropped) == []
    stream = rig.accept(2)
    rig.feed(StreamFailed(stream, "reset by peer"))
    assert rig.of(CloseStream) == []
    assert rig.events(InputDropped) == []


def test_request_that_breaks_off_is_dropped() -> None:
    rig = rig_with()
    stream = rig.accept(1)
    rig.feed(StreamReceived(stream, STATE[:5]))
    rig.feed(StreamEnded(stream))
    assert rig.closed() == [stream]
    assert len(rig.events(InputDropped)) == 1
    stream = rig.accept(2)
    rig.feed(StreamReceived(stream, STATE[:5]))
    rig.feed(StreamFailed(stream, "reset by peer"))
    assert [event.reason for event in rig.events(InputDropped)] == ["reset by peer"]


def test_unknown_streams_are_ignored() -> None:
    rig = rig_with()
    stream = Stream(True, 5)
    assert rig.feed(StreamReceived(stream, b"x")) == []
    assert rig.feed(StreamEnded(stream)) == []
    assert rig.feed(StreamFailed(stream, "x")) == []
    assert rig.feed(TimerFired(StreamDeadline(stream))) == []


def test_inbound_streams_are_limited() -> None:
    rig = rig_with(streams_max=1)
    first = rig.accept(1)
    second = rig.accept(2)
    assert rig.closed() == [second]
    assert rig.node.counters["dropped.full"] == 1
    rig.feed(StreamEnded(first))
    third = rig.accept(3)
    assert rig.closed() == []
    assert rig.feed(StreamReceived(third, STATE))


def test_exchanges_under_way_are_limited_but_pings_are_served() -> None:
    rig = rig_with(inflight_push_pulls_max=1)
    first, second = rig.accept(1), rig.accept(2)
    rig.feed(StreamReceived(first, STATE[:9]))
    rig.feed(StreamReceived(second, STATE[:9]))
    assert rig.closed() == [second]
    assert rig.of(WriteStream) == []
    assert rig.node.counters["dropped.full"] == 1
    rig.request(Ping(1, ""), 3)
    assert rig.written() == [Ack(1)]
    rig.feed(StreamReceived(first, STATE[9:]))
    assert len(rig.written()) == 1
    fourth = rig.accept(4)
    rig.feed(StreamReceived(fourth, STATE[:9]))
    assert rig.closed() == []


# --- outbound -------------------------------------------------------------------------------------


def joining(*targets: Address) -> Rig:
    rig = rig_with()
    rig.feed(Join(1, tuple(map(JoinTarget, targets))))
    return rig


def test_deadline_of_a_request_is_renewed_once_when_the_answer_begins() -> None:
    rig = joining(PEER)
    stream = rig.opened()
    answer = CODEC.pack(PushPull(True, (record("b"),)), False)
    assert rig.at_of(StreamDeadline) == 10.0
    rig.now += 9
    rig.feed(StreamReceived(stream, answer[:3]))
    assert rig.at_of(StreamDeadline) == 10.0
    rig.now += 9
    rig.feed(StreamReceived(stream, answer[3:5]))
    assert rig.at_of(StreamDeadline) == 1.0
    rig.feed(StreamReceived(stream, answer[5:]))
    assert rig.closed() == [stream]
    assert not rig.has_timer(StreamDeadline)
    assert [event.joined for event in rig.events(JoinFinished)] == [1]


@pytest.mark.parametrize("data", [b"\x0a\x00\x00\x00\x2e", b"\x06\x00", b"\x08\x80"])
def test_unusable_answer_fails_the_exchange_without_a_word_to_the_peer(data: bytes) -> None:
    rig = joining(PEER)
    stream = rig.opened()
    rig.feed(StreamReceived(stream, data))
    assert rig.of(WriteStream) == []
    assert rig.closed() == [stream]
    (finished,) = rig.events(JoinFinished)
    assert finished.joined == 0
    assert finished.failures[0][0] == JoinTarget(PEER)


def test_stream_numbers_are_not_used_again() -> None:
    rig = joining(PEER, OTHER)
    first = rig.opened()
    rig.feed(StreamFailed(first, "refused"))
    assert rig.opened() == Stream(False, first.number + 1)


def test_peer_that_connects_is_accepted_with_its_address() -> None:
    rig = rig_with()
    rig.feed(StreamOpened(Stream(True, 1), OTHER))
    rig.feed(StreamReceived(Stream(True, 1), b"\x63"))
    assert [event.source for event in rig.events(InputDropped)] == [OTHER]
