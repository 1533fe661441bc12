from __future__ import annotations

import pytest

from swimnomad.faults import Latency, LinkFault
from swimnomad.names import Address, Stream, Value
from swimnomad.sim.host import BACKLOG_MAX, Host
from swimnomad.sim.network import Link
from swimnomad.sim.world import World
from swimnomad.swim.effects import CloseStream, OpenStream, WriteStream
from swimnomad.swim.inputs import (
    StreamEnded,
    StreamFailed,
    StreamOpened,
    StreamReceived,
)
from tests.sim.sim_toys import Command, Toy, outbound, two_hosts

STREAM = outbound(1)
ACCEPTED = Stream(True, 1)
ONE_WAY = 0.1


@pytest.fixture
def world() -> World:
    world = World(1)
    world.network.default_link = Link(Latency("constant", ONE_WAY))
    return world


def answering() -> Toy:
    """Answers the first bytes of a stream and closes."""
    return Toy(
        {
            StreamReceived: lambda one, _: [
                WriteStream(one.stream, b"answer"),
                CloseStream(one.stream),
            ]
        }
    )


def closing() -> Toy:
    """Closes what it dialled once the answer ends."""
    return Toy({StreamEnded: lambda one, _: [CloseStream(one.stream)]})


def dial(a: Host, to: Address, data: bytes = b"question", stream: Stream = STREAM) -> None:
    a.give(Command((OpenStream(stream, to, data),)))


def stream_inputs(toy: Toy) -> list[Value]:
    return toy.inputs(StreamOpened, StreamReceived, StreamEnded, StreamFailed)


def test_question_answer_and_end_arrive_in_order(world: World) -> None:
    a, at_a, b, at_b = two_hosts(world, closing(), answering())
    dial(a, b.address)
    world.run_until(10)
    opened, received, *rest = stream_inputs(at_b)
    assert isinstance(opened, StreamOpened)
    assert opened.stream == ACCEPTED
    assert opened.peer.host == a.address.host
    assert opened.peer.port != a.address.port
    assert received == StreamReceived(ACCEPTED, b"question")
    assert rest == []
    assert stream_inputs(at_a) == [StreamReceived(STREAM, b"answer"), StreamEnded(STREAM)]
    assert a.streams == b.streams == {}


def test_dialling_takes_a_round_trip_before_the_data_goes_out(world: World) -> None:
    a, at_a, b, at_b = two_hosts(world, closing(), answering())
    dial(a, b.address)
    world.run_until(10)
    assert at_b.times(StreamOpened) == at_b.times(StreamReceived) == [pytest.approx(3 * ONE_WAY)]
    assert at_a.times(StreamReceived) == [pytest.approx(4 * ONE_WAY)]


def test_several_writes_keep_their_order_under_random_delays(world: World) -> None:
    world.network.default_link = Link(Latency("uniform", 0.0, 1.0))
    a, _, b, at_b = two_hosts(world)
    dial(a, b.address, b"0")
    for number in range(1, 40):
        world.run_for(0.05)
        a.give(Command((WriteStream(STREAM, b"%d," % number),)))
    world.run_for(10)
    data = b"".join(one.data for one in at_b.inputs() if isinstance(one, StreamReceived))
    assert data == b"0" + b"".join(b"%d," % number for number in range(1, 40))


def test_the_peer_may_still_write_after_the_other_side_ended(world: World) -> None:
    toy = Toy()
    a, at_a, b, _ = two_hosts(world, None, toy)
    dial(a, b.address)
    world.run_for(1)
    b.give(Command((CloseStream(ACCEPTED),)))
    world.run_for(1)
    assert stream_inputs(at_a) == [StreamEnded(STREAM)]
    assert STREAM in a.streams


def test_writing_to_a_side_that_has_closed_is_answered_by_a_reset(world: World) -> None:
    a, at_a, b, _ = two_hosts(world)
    dial(a, b.address)
    world.run_for(1)
    b.give(Command((CloseStream(ACCEPTED),)))
    world.run_for(1)
    a.give(Command((WriteStream(STREAM, b"too late"),)))
    world.run_for(1)
    assert stream_inputs(at_a)[-1] == StreamFailed(STREAM, "connection reset by peer")
    assert a.streams == {}


@pytest.mark.parametrize("nobody", ["never there", "killed"])
def test_a_dial_is_refused_when_nobody_listens(world: World, nobody: str) -> None:
    a, at_a, b, _ = two_hosts(world)
    to = b.address if nobody == "killed" else Address("10.9.9.9", 4648)
    b.kill()
    dial(a, to)
    world.run_until(10)
    assert stream_inputs(at_a) == [StreamFailed(STREAM, "connection refused")]
    assert at_a.times(StreamFailed) == [pytest.approx(2 * ONE_WAY)]


def test_a_stream_breaks_when_the_other_process_dies(world: World) -> None:
    a, at_a, b, _ = two_hosts(world)
    dial(a, b.address)
    world.run_until(1)
    b.kill()
    world.run_until(10)
    assert stream_inputs(at_a) == [StreamFailed(STREAM, "connection reset by peer")]
    assert at_a.times(StreamFailed) == [pytest.approx(1 + ONE_WAY)]


def test_a_stream_to_a_process_that_died_behind_a_blocked_link_stays_silent(world: World) -> None:
    a, at_a, b, _ = two_hosts(world)
    dial(a, b.address)
    world.run_until(1)
    world.partition(["a"], ["b"])
    b.kill()
    world.run_until(60)
    assert stream_inputs(at_a) == []


def test_a_stream_dialled_to_a_former_process_is_reset_by_its_successor(world: World) -> None:
    a, at_a, b, _ = two_hosts(world)
    dial(a, b.address)
    world.run_until(1)
    world.set_fault("b", "cut", LinkFault(blocked=True))
    b.kill()
    new = Toy()
    b.boot(new)
    world.clear_faults("b")
    a.give(Command((WriteStream(STREAM, b"hello?"),)))
    world.run_until(10)
    assert stream_inputs(new) == []
    assert stream_inputs(at_a) == [StreamFailed(STREAM, "connection reset by peer")]


@pytest.mark.parametrize("direction", ["in", "out", "both"])
def test_a_blocked_dial_is_silent_for_as_long_as_the_core_waits(
    world: World, direction: str
) -> None:
    a, at_a, b, at_b = two_hosts(world)
    world.set_fault("a", "cut", LinkFault(blocked=True, transport="tcp", direction=direction))  # type: ignore[arg-type]  # literal
    dial(a, b.address)
    world.run_until(60)
    assert stream_inputs(at_a) == stream_inputs(at_b) == []
    a.give(Command((CloseStream(STREAM),)))
    world.clear_faults("a")
    world.run_until(1000)
    assert stream_inputs(at_a) == stream_inputs(at_b) == []


def test_a_blocked_dial_times_out_when_even_the_kernel_gives_up(world: World) -> None:
    a, at_a, b, _ = two_hosts(world)
    world.set_fault("b", "cut", LinkFault(blocked=True))
    dial(a, b.address)
    world.run_until(1000)
    assert stream_inputs(at_a) == [StreamFailed(STREAM, "connection timed out")]
    assert at_a.times(StreamFailed) == [127.0]  # Linux: 1 + 2 + … + 64 s


def test_a_dial_succeeds_by_its_next_attempt_when_the_link_heals(world: World) -> None:
    a, at_a, b, at_b = two_hosts(world, closing(), answering())
    world.partition(["a"], ["b"])
    dial(a, b.address)
    world.run_until(2)
    world.heal()
    world.run_until(10)
    assert at_b.times(StreamOpened) == [pytest.approx(3 + 3 * ONE_WAY)]
    assert StreamReceived(STREAM, b"answer") in at_a.inputs()


def test_data_on_a_blocked_link_waits_and_comes_in_order_after_healing(world: World) -> None:
    a, _, b, at_b = two_hosts(world)
    dial(a, b.address, b"1")
    world.run_until(1)
    world.partition(["a"], ["b"])
    for data in (b"2", b"3", b"4"):
        a.give(Command((WriteStream(STREAM, data),)))
    a.give(Command((CloseStream(STREAM),)))
    world.run_until(5)
    assert len(at_b.inputs(StreamReceived)) == 1
    world.heal()
    world.run_until(60)
    assert stream_inputs(at_b)[1:] == [
        *(StreamReceived(ACCEPTED, data) for data in (b"1", b"2", b"3", b"4")),
        StreamEnded(ACCEPTED),
    ]


def test_data_that_never_gets_through_fails_in_the_end(world: World) -> None:
    a, at_a, b, _ = two_hosts(world)
    dial(a, b.address)
    world.run_until(1)
    world.partition(["a"], ["b"])
    a.give(Command((WriteStream(STREAM, b"x"),)))
    world.run_until(3000)
    assert stream_inputs(at_a) == [StreamFailed(STREAM, "connection timed out")]


def test_closing_while_dialling_leaves_nothing_behind(world: World) -> None:
    a, at_a, b, at_b = two_hosts(world)
    a.give(Command((OpenStream(STREAM, b.address, b"x"), CloseStream(STREAM))))
    world.run_until(10)
    assert stream_inputs(at_a) == stream_inputs(at_b) == []


def test_writing_or_closing_an_unknown_stream_is_fine(world: World) -> None:
    a, at_a, _, _ = two_hosts(world)
    a.give(Command((WriteStream(outbound(9), b"x"), CloseStream(outbound(9)))))
    world.run_until(10)
    assert stream_inputs(at_a) == []


def test_a_paused_process_accepts_through_its_system_and_reads_later(world: World) -> None:
    a, at_a, b, at_b = two_hosts(world, closing(), answering())
    b.pause()
    dial(a, b.address)
    world.run_until(5)
    assert stream_inputs(at_b) == []
    assert stream_inputs(at_a) == []
    b.resume()
    world.run_until(10)
    assert at_b.times(StreamReceived) == [5.0]
    assert stream_inputs(at_a) == [StreamReceived(STREAM, b"answer"), StreamEnded(STREAM)]


def test_a_full_backlog_keeps_a_dial_waiting(world: World) -> None:
    a, _, b, at_b = two_hosts(world)
    b.pause()
    for number in range(BACKLOG_MAX):
        dial(a, b.address, stream=outbound(number))
    world.run_until(1)
    for number in range(BACKLOG_MAX, BACKLOG_MAX + 3):
        dial(a, b.address, stream=outbound(number))
    world.run_until(1.5)
    b.resume()
    assert len(at_b.inputs(StreamOpened)) == BACKLOG_MAX
    world.run_until(10)
    assert len(at_b.inputs(StreamOpened)) == BACKLOG_MAX + 3


def test_losses_delay_a_segment_and_never_lose_it(world: World) -> None:
    world.network.default_link = Link(Latency("constant", ONE_WAY), loss=0.3)
    a, _, b, at_b = two_hosts(world)
    for number in range(100):
        dial(a, b.address, b"x", outbound(number))
    world.run_until(60)
    assert len(at_b.inputs(StreamReceived)) == 100
    assert max(at_b.times(StreamReceived)) > 3 * ONE_WAY + 0.2
