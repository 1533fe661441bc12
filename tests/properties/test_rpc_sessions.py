"""Two ends of a yamux session under any order of calls: every byte arrives, once and in order."""

from __future__ import annotations

from typing import NamedTuple

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from swimnomad.rpc.yamux import (
    DataReceived,
    Role,
    SessionEnded,
    StreamEnded,
    StreamOpened,
    StreamReset,
    YamuxEvent,
    YamuxLimits,
    YamuxSession,
)
from swimnomad.rpc.yamux_streams import WINDOW_BYTES

PATTERN = bytes((value * 7) & 255 for value in range(251)) * 3000
SIDES = st.sampled_from(("a", "b"))
PICK = st.integers(0, 1000)
OTHER = {"a": "b", "b": "a"}
LIMITS = YamuxLimits(backlog=4, unacked_max=6)


class Way(NamedTuple):
    """One direction of a stream: who sends on it, and the stream."""

    sender: str
    stream: int


def data_of(way: Way, start: int, size: int) -> bytes:
    """What is sent on a direction from one byte to another; each has its own."""
    shift = way.stream * 13 + (way.sender == "b") * 5 + start
    return PATTERN[shift % 251 : shift % 251 + size]


class Sessions(RuleBasedStateMachine):
    """Opens, sends, consumes, finishes and delivers in any order, cut anywhere."""

    def __init__(self) -> None:
        super().__init__()
        self.ends = {
            "a": YamuxSession(Role.DIALLER, LIMITS),
            "b": YamuxSession(Role.ACCEPTOR, LIMITS),
        }
        self.on_the_way = {"a": bytearray(), "b": bytearray()}  # by who wrote it
        self.known: dict[str, list[int]] = {"a": [], "b": []}
        self.waiting: dict[str, list[int]] = {"a": [], "b": []}
        self.sent: dict[Way, int] = {}
        self.received: dict[Way, int] = {}
        self.unread: dict[Way, int] = {}
        self.finished: set[Way] = set()
        self.ended: set[Way] = set()
        self.resets: set[int] = set()

    def pick(self, side: str, number: int) -> int | None:
        streams = [stream for stream in self.known[side] if stream not in self.resets]
        return streams[number % len(streams)] if streams else None

    def apply(self, side: str, events: list[YamuxEvent]) -> None:
        for event in events:
            match event:
                case StreamOpened(stream):
                    self.waiting[side].append(stream)
                    self.known[side].append(stream)
                case DataReceived(stream, data):
                    way = Way(OTHER[side], stream)
                    start = self.received.get(way, 0)
                    assert data == data_of(way, start, len(data)), way
                    assert way not in self.ended
                    self.received[way] = start + len(data)
                    self.unread[way] = self.unread.get(way, 0) + len(data)
                    assert self.unread[way] <= WINDOW_BYTES
                case StreamEnded(stream):
                    way = Way(OTHER[side], stream)
                    assert way in self.finished
                    assert self.received.get(way, 0) == self.sent.get(way, 0)
                    self.ended.add(way)
                case StreamReset(stream):
                    is_ours = stream % 2 == (side == "a")
                    assert stream in self.resets or is_ours  # the other's backlog was full
                    self.resets.add(stream)
                case SessionEnded(reason):
                    raise AssertionError(reason)
                case _:
                    pass

    def deliver_to(self, side: str, size: int) -> None:
        writer = OTHER[side]
        pipe = self.on_the_way[writer]
        pipe += self.ends[writer].take_output()
        piece = bytes(pipe[:size])
        del pipe[:size]
        self.apply(side, self.ends[side].receive(piece, 0.0))

    @rule(side=SIDES)
    def opens(self, side: str) -> None:
        if self.ends[side].can_open:
            self.known[side].append(self.ends[side].open_stream())

    @precondition(lambda self: self.waiting["a"] or self.waiting["b"])
    @rule(side=SIDES)
    def accepts(self, side: str) -> None:
        if self.waiting[side]:
            self.ends[side].accepted(self.waiting[side].pop(0))

    @rule(side=SIDES, number=PICK, size=st.one_of(st.integers(0, 40), st.integers(0, 400_000)))
    def sends(self, side: str, number: int, size: int) -> None:
        stream = self.pick(side, number)
        if stream is None or Way(side, stream) in self.finished:
            return
        way = Way(side, stream)
        start = self.sent.get(way, 0)
        done = self.ends[side].send(stream, data_of(way, start, size))
        assert 0 <= done <= size
        self.sent[way] = start + done

    @rule(side=SIDES, size=st.one_of(st.integers(1, 40), st.integers(1, 500_000)))
    def delivers(self, side: str, size: int) -> None:
        self.deliver_to(side, size)

    @rule(side=SIDES, number=PICK, share=st.sampled_from((0.1, 0.5, 1.0)))
    def consumes(self, side: str, number: int, share: float) -> None:
        stream = self.pick(side, number)
        if stream is None:
            return
        way = Way(OTHER[side], stream)
        count = int(self.unread.get(way, 0) * share)
        self.ends[side].consumed(stream, count)
        if count:
            self.unread[way] -= count

    @rule(side=SIDES, number=PICK)
    def finishes(self, side: str, number: int) -> None:
        stream = self.pick(side, number)
        if stream is not None:
            self.finished.add(Way(side, stream))
            self.ends[side].finish(stream)

    @rule(side=SIDES, number=PICK)
    def resets_one(self, side: str, number: int) -> None:
        stream = self.pick(side, number)
        if stream is not None and number % 10 == 0:
            self.resets.add(stream)
            self.ends[side].reset(stream)

    @invariant()
    def nobody_overruns_a_window(self) -> None:
        for way, sent in self.sent.items():
            read = self.received.get(way, 0) - self.unread.get(way, 0)
            assert sent - read <= WINDOW_BYTES

    def teardown(self) -> None:
        """Whatever is on the way arrives in the end, and no stream is left behind."""
        for _ in range(6):
            for side in self.ends:
                while self.waiting[side]:
                    self.ends[side].accepted(self.waiting[side].pop())
                self.deliver_to(side, 1 << 30)
        for way, sent in self.sent.items():
            if way.stream not in self.resets:
                assert self.received.get(way, 0) == sent
        for side, end in self.ends.items():
            for stream in self.known[side]:
                self.finished.add(Way(side, stream))
                end.finish(stream)
        for _ in range(2):
            for side in self.ends:
                self.deliver_to(side, 1 << 30)
        for end in self.ends.values():
            assert end.stream_count == 0
            assert not end.is_closed


Sessions.TestCase.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)
TestSessions = Sessions.TestCase
