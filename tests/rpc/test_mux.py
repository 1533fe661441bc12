"""Sessions over streams of bytes in memory; time is virtual."""

from __future__ import annotations

import random
from typing import Any

import pytest
import trio
from trio.testing import (
    MockClock,
    check_half_closeable_stream,
    lockstep_stream_pair,
    memory_stream_pair,
    wait_all_tasks_blocked,
)

from swimnomad.rpc.failures import SessionClosed
from swimnomad.rpc.limits import RpcLimits
from swimnomad.rpc.mux import OUTPUT_BYTES_MAX, MuxSession, MuxStream
from swimnomad.rpc.yamux import Role
from swimnomad.rpc.yamux_frames import ACK, SYN
from swimnomad.rpc.yamux_streams import WINDOW_BYTES
from tests.rpc.rpc_support import ChoppingStream, data, fin, ping, rst, session_pair, syn


async def read_all(stream: trio.abc.ReceiveStream) -> bytes:
    received = b""
    while piece := await stream.receive_some():
        received += piece
    return received


async def take(stream: trio.abc.ReceiveStream, size: int) -> bytes:
    received = b""
    while len(received) < size:
        piece = await stream.receive_some(size - len(received))
        assert piece
        received += piece
    return received


async def test_streams_keep_trios_rules(autojump_clock: MockClock) -> None:
    async with session_pair() as (dialler, acceptor):

        async def make() -> tuple[MuxStream, MuxStream]:
            opened = await dialler.open()
            return opened, await acceptor.accept()

        async def make_clogged() -> tuple[MuxStream, MuxStream]:
            one, two = await make()
            await one.send_all(bytes(WINDOW_BYTES))
            await two.send_all(bytes(WINDOW_BYTES))
            return one, two

        await check_half_closeable_stream(make, make_clogged)


async def test_many_streams_at_once_over_a_chopped_connection() -> None:
    rng = random.Random(5)
    one, two = memory_stream_pair()
    pair = ChoppingStream(one, rng), ChoppingStream(two, rng)
    texts = [rng.randbytes(rng.randint(0, 3000)) for _ in range(40)]

    async def echo(stream: MuxStream) -> None:
        async with stream:
            await stream.send_all(await read_all(stream))

    async def ask(session: MuxSession, text: bytes) -> None:
        async with await session.open() as stream:
            await stream.send_all(text)
            await stream.send_eof()
            assert await read_all(stream) == text

    async with session_pair(pair=pair) as (dialler, acceptor), trio.open_nursery() as nursery:
        for text in texts:
            nursery.start_soon(ask, dialler, text)
        for _ in texts:
            nursery.start_soon(echo, await acceptor.accept())
    assert dialler.stream_count == acceptor.stream_count == 0


async def test_large_data_flows_both_ways_through_windows() -> None:
    text = random.Random(1).randbytes(3 * WINDOW_BYTES + 17)
    async with session_pair() as (dialler, acceptor), trio.open_nursery() as nursery:
        here = await dialler.open()
        there = await acceptor.accept()
        nursery.start_soon(here.send_all, text)
        nursery.start_soon(there.send_all, text)
        assert await take(here, len(text)) == text
        assert await take(there, len(text)) == text


async def test_a_stalled_stream_does_not_hold_up_the_others() -> None:
    async with session_pair() as (dialler, acceptor):
        stalled, lively = await dialler.open(), await dialler.open()
        await acceptor.accept()  # never read
        other = await acceptor.accept()
        async with trio.open_nursery() as nursery:
            nursery.start_soon(stalled.send_all, bytes(2 * WINDOW_BYTES))
            await wait_all_tasks_blocked()
            assert stalled.sent_bytes == WINDOW_BYTES
            for number in range(5):
                text = bytes((number,)) * 200_000
                nursery.start_soon(lively.send_all, text)
                assert await take(other, len(text)) == text
            nursery.cancel_scope.cancel()


async def test_a_sender_goes_on_when_the_reader_reads() -> None:
    async with session_pair() as (dialler, acceptor):
        here, finished = await dialler.open(), False

        async def send() -> None:
            nonlocal finished
            await here.send_all(bytes(WINDOW_BYTES + 1))
            finished = True

        async with trio.open_nursery() as nursery:
            nursery.start_soon(send)
            there = await acceptor.accept()
            await wait_all_tasks_blocked()
            await take(there, WINDOW_BYTES // 2 - 1)
            await wait_all_tasks_blocked()
            assert not finished, "less than half a window is not given back"
            await take(there, 1)
        assert finished


async def test_small_frames_of_many_streams_share_a_write() -> None:
    one, two = memory_stream_pair()
    counting = ChoppingStream(one, random.Random(1), 100_000)
    async with session_pair(pair=(counting, two)) as (dialler, _):
        streams = [await dialler.open() for _ in range(50)]
        await wait_all_tasks_blocked()
        before = counting.sends
        async with trio.open_nursery() as nursery:
            for stream in streams:
                nursery.start_soon(stream.send_all, b"x" * 100)
        await wait_all_tasks_blocked()
        assert counting.sends - before <= 3


async def test_an_idle_session_stays_alive_by_pings(autojump_clock: MockClock) -> None:
    async with session_pair() as (dialler, acceptor):
        await trio.sleep(1000)
        assert dialler.is_open
        assert acceptor.is_open


async def test_a_peer_that_answers_no_ping_ends_the_session(autojump_clock: MockClock) -> None:
    ours, theirs = memory_stream_pair()
    session = MuxSession(ours, Role.ACCEPTOR)
    begin = trio.current_time()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(session.run)
        assert await theirs.receive_some() == ping(0)
        assert trio.current_time() - begin == pytest.approx(30)
        await session.ended.wait()
        assert trio.current_time() - begin == pytest.approx(40)
    assert session.reason == "keepalive timeout"


async def test_answers_to_pings_count_up(autojump_clock: MockClock) -> None:
    ours, theirs = memory_stream_pair()
    session = MuxSession(ours, Role.DIALLER)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(session.run)
        for value in range(4):
            assert await theirs.receive_some() == ping(value)
            await theirs.send_all(ping(value, ACK))
        await theirs.send_all(ping(77))
        assert await theirs.receive_some() == ping(77, ACK)
        session.end()


async def test_a_write_that_takes_too_long_ends_the_session(autojump_clock: MockClock) -> None:
    ours, _theirs = lockstep_stream_pair()
    session = MuxSession(ours, Role.DIALLER)
    begin = trio.current_time()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(session.run)
        stream = await session.open()
        with pytest.raises(trio.BrokenResourceError, match="connection write timeout"):
            await stream.receive_some()
        assert trio.current_time() - begin == pytest.approx(10)
    assert session.reason == "connection write timeout"


async def test_senders_wait_while_the_connection_takes_nothing() -> None:
    ours, theirs = lockstep_stream_pair()
    session = MuxSession(ours, Role.DIALLER)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(session.run)
        streams = [await session.open() for _ in range(20)]
        for stream in streams:
            nursery.start_soon(stream.send_all, bytes(WINDOW_BYTES))
        await wait_all_tasks_blocked()
        queued = sum(stream.sent_bytes for stream in streams)
        assert queued < 3 * OUTPUT_BYTES_MAX
        drained = 0
        while drained < 20 * WINDOW_BYTES:
            drained += len(await theirs.receive_some(1_000_000))
        session.end()


@pytest.mark.parametrize("how", ["peer closes", "peer breaks a rule", "we end it"])
async def test_the_end_of_a_session_wakes_everybody(how: str, autojump_clock: MockClock) -> None:
    ours, theirs = memory_stream_pair()
    session = MuxSession(ours, Role.DIALLER, RpcLimits())
    woken: list[str] = []

    async def expect(error: type[Exception], call: Any, *arguments: Any) -> None:  # noqa: ANN401
        with pytest.raises(error):
            await call(*arguments)
        woken.append(call.__name__)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(session.run)
        streams = [await session.open() for _ in range(256)]
        nursery.start_soon(expect, trio.BrokenResourceError, streams[0].receive_some)
        sending = streams[1].send_all, bytes(WINDOW_BYTES + 1)
        nursery.start_soon(expect, trio.BrokenResourceError, *sending)
        nursery.start_soon(expect, SessionClosed, session.open)
        nursery.start_soon(expect, SessionClosed, session.accept)
        await wait_all_tasks_blocked()
        assert woken == []
        if how == "peer closes":
            await theirs.aclose()
        elif how == "peer breaks a rule":
            await theirs.send_all(b"\x07" * 12)
        else:
            session.end()
        await session.ended.wait()
    assert sorted(woken) == ["accept", "open", "receive_some", "send_all"]
    with pytest.raises(SessionClosed):
        await session.open()
    with pytest.raises(trio.BrokenResourceError):
        await streams[2].send_all(b"x")


async def test_what_came_before_the_end_can_still_be_read() -> None:
    ours, theirs = memory_stream_pair()
    session = MuxSession(ours, Role.ACCEPTOR)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(session.run)
        await theirs.send_all(syn() + data(b"all") + syn(3) + data(b"half", 3) + fin())
        one, three = await session.accept(), await session.accept()
        await theirs.aclose()
        await session.ended.wait()
    assert await one.receive_some() == b"all"
    assert await one.receive_some() == b""
    assert await three.receive_some() == b"half"
    with pytest.raises(trio.BrokenResourceError):
        await three.receive_some()


async def test_opening_waits_while_too_many_are_not_acknowledged() -> None:
    async with session_pair() as (dialler, acceptor):
        opened = [await dialler.open() for _ in range(256)]
        async with trio.open_nursery() as nursery:
            nursery.start_soon(dialler.open)
            await wait_all_tasks_blocked()
            assert dialler.stream_count == 256
            await acceptor.accept()
        assert dialler.stream_count == 257
        opened[5].reset()
        await dialler.open()


async def test_an_opener_learns_that_the_peer_goes_away() -> None:
    async with session_pair() as (dialler, acceptor):
        for _ in range(256):
            await dialler.open()
        async with trio.open_nursery() as nursery:

            async def open_in_vain() -> None:
                with pytest.raises(SessionClosed, match="not accepting"):
                    await dialler.open()

            nursery.start_soon(open_in_vain)
            await wait_all_tasks_blocked()
            acceptor.refuse_streams()
        assert not dialler.is_open
        assert not dialler.ended.is_set()


async def test_a_reset_stream_fails_at_once_on_both_sides() -> None:
    async with session_pair() as (dialler, acceptor):
        here, other = await dialler.open(), await dialler.open()
        there, its_other = await acceptor.accept(), await acceptor.accept()
        await here.send_all(b"unread")
        await wait_all_tasks_blocked()
        here.reset()
        with pytest.raises(trio.BrokenResourceError, match="stream reset"):
            await take(there, 100)
        with pytest.raises(trio.BrokenResourceError):
            await there.send_all(b"x")
        with pytest.raises(trio.ClosedResourceError):
            await here.receive_some()
        await other.send_all(b"goes on")
        assert await its_other.receive_some() == b"goes on"


async def test_a_close_the_peer_does_not_answer_becomes_a_reset(autojump_clock: MockClock) -> None:
    async with session_pair() as (dialler, acceptor):
        here = await dialler.open()
        there = await acceptor.accept()
        await here.aclose()
        assert await there.receive_some() == b""
        assert dialler.stream_count == 1
        await trio.sleep(11)
        assert dialler.stream_count == acceptor.stream_count == 0


async def test_an_id_used_again_is_another_stream(autojump_clock: MockClock) -> None:
    ours, theirs = memory_stream_pair()
    session = MuxSession(ours, Role.ACCEPTOR)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(session.run)
        await theirs.send_all(syn() + data(b"old") + rst() + syn() + data(b"new"))
        old, new = await session.accept(), await session.accept()
        with pytest.raises(trio.BrokenResourceError):
            await old.receive_some()
        old.close()
        old.reset()
        assert await new.receive_some() == b"new"
        await new.aclose()
        await theirs.send_all(fin() + syn() + data(b"newer"))
        newer = await session.accept()
        await trio.sleep(11)  # past the time when the closed one would be cut off
        assert await newer.receive_some() == b"newer"
        await newer.send_all(b"answer")
        session.end()


async def test_unread_bytes_of_all_streams_are_bounded() -> None:
    limits = RpcLimits(unread_bytes_max=1_000_000)
    ours, theirs = memory_stream_pair()
    session = MuxSession(ours, Role.ACCEPTOR, limits)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(session.run)
        for number in range(1, 11, 2):
            await theirs.send_all(syn(number) + data(bytes(200_001), number))
    assert session.reason == "too much unread data"


async def test_a_peer_that_pings_and_does_not_read_is_cut_off(autojump_clock: MockClock) -> None:
    rng = random.Random(3)
    ours, theirs = lockstep_stream_pair()
    session = MuxSession(ours, Role.ACCEPTOR)
    sent = 0
    async with trio.open_nursery() as nursery:
        nursery.start_soon(session.run)
        try:
            for _ in range(1000):
                await theirs.send_all(ping(rng.getrandbits(32)) * 100)
                sent += 100
        except trio.BrokenResourceError:
            pass
    assert session.reason == "the peer does not read its answers"
    assert sent < 30_000


async def test_more_streams_than_allowed_are_reset() -> None:
    async with session_pair(RpcLimits(streams_per_session=2)) as (dialler, acceptor):
        streams = [await dialler.open() for _ in range(3)]
        with pytest.raises(trio.BrokenResourceError, match="stream reset"):
            await streams[2].receive_some()
        assert acceptor.stream_count == 2
        await acceptor.accept()


async def test_the_order_in_which_tasks_run_does_not_matter() -> None:
    # Everybody writes, reads and closes at once, in whatever order trio runs them.
    rng = random.Random(11)

    async def talk(session: MuxSession, number: int) -> None:
        async with await session.open() as stream:
            await stream.send_all(bytes((number,)) * rng.randint(1, 70_000))
            await stream.send_eof()
            assert set(await read_all(stream)) == {number}

    async def answer(stream: MuxStream) -> None:
        async with stream, trio.open_nursery() as nursery:
            while piece := await stream.receive_some():
                await stream.send_all(piece)
            nursery.start_soon(trio.lowlevel.checkpoint)

    async def serve(session: MuxSession, nursery: trio.Nursery) -> None:
        for _ in range(30):
            nursery.start_soon(answer, await session.accept())

    async with session_pair() as sessions, trio.open_nursery() as nursery:
        for session in sessions:
            nursery.start_soon(serve, session, nursery)
            for number in range(30):
                nursery.start_soon(talk, session, number)
    assert [session.stream_count for session in sessions] == [0, 0]


async def test_a_syn_may_come_with_data() -> None:
    ours, theirs = memory_stream_pair()
    session = MuxSession(ours, Role.ACCEPTOR)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(session.run)
        await theirs.send_all(data(b"at once", 7, SYN))
        stream = await session.accept()
        assert (stream.number, await stream.receive_some()) == (7, b"at once")
        session.end()
