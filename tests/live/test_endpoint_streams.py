from __future__ import annotations

import socket

import pytest
import trio

from swimnomad.live.connection import StreamLimits
from swimnomad.live.endpoint import EndpointLimits, open_endpoint
from swimnomad.names import Address, Stream
from swimnomad.swim.effects import CloseStream, OpenStream, SetTimer, WriteStream
from swimnomad.swim.inputs import (
    Start,
    StreamEnded,
    StreamFailed,
    StreamOpened,
    StreamReceived,
    TimerFired,
)
from tests.live.live_support import Alarm, Ask, Toy, fresh_address, outbound, until

pytestmark = pytest.mark.live


def echo() -> Toy:
    """Writes back what it reads and closes when the peer ends."""
    return Toy(
        {
            StreamReceived: lambda one, _: [WriteStream(one.stream, one.data)],
            StreamEnded: lambda one, _: [CloseStream(one.stream)],
        }
    )


def caller(to: Address, data: bytes = b"hello") -> Toy:
    """Opens one stream on every command."""
    return Toy({Ask: lambda one, _: [OpenStream(outbound(one.operation), to, data)]})


def silent_listener() -> socket.socket:
    listener = socket.socket()
    listener.bind((fresh_address().host, 0))
    listener.listen()
    return listener


def address_of(sock: socket.socket) -> Address:
    return Address(*sock.getsockname())


async def test_two_endpoints_exchange_bytes_and_both_sides_end() -> None:
    server = echo()
    with trio.fail_after(10):
        async with open_endpoint(server, fresh_address()) as there:
            client = caller(there.address)
            async with open_endpoint(client, fresh_address()) as here, trio.open_nursery() as tasks:
                tasks.start_soon(here.execute, Ask)
                received = await client.wait_for(StreamReceived)
                assert received == StreamReceived(outbound(1), b"hello")
                client.reactions[Ask] = lambda _, __: [CloseStream(outbound(1))]
                tasks.start_soon(here.execute, Ask)
                await server.wait_for(StreamEnded)
                opened = server.seen(StreamOpened)[0]
                assert opened.stream == Stream(True, 1)
                assert opened.peer.host == here.address.host  # loopback: agents show who they are
                tasks.cancel_scope.cancel()
            await until(lambda: not there.stream_count)


async def test_inbound_numbers_are_never_used_again() -> None:
    server = echo()
    with trio.fail_after(10):
        async with open_endpoint(server, fresh_address()) as there:
            for turn in range(1, 4):
                async with await trio.open_tcp_stream(*there.address) as peer:
                    await peer.send_all(b"x")
                    assert await peer.receive_some(10) == b"x"
                await server.wait_for(StreamEnded, turn)
    assert [one.stream.number for one in server.seen(StreamOpened)] == [1, 2, 3]


async def test_a_refused_connection_is_reported_in_the_words_of_go() -> None:
    with silent_listener() as listener:
        nobody = address_of(listener)
    client = caller(nobody)
    with trio.fail_after(10):
        async with open_endpoint(client, fresh_address()) as here, trio.open_nursery() as tasks:
            tasks.start_soon(here.execute, Ask)
            failed = await client.wait_for(StreamFailed)
            tasks.cancel_scope.cancel()
    assert failed == StreamFailed(outbound(1), f"dial tcp {nobody}: connect: connection refused")


async def test_an_address_that_cannot_be_reached_is_reported() -> None:
    client = caller(Address("255.255.255.255", 4648))
    with trio.fail_after(10):
        async with open_endpoint(client, fresh_address()) as here, trio.open_nursery() as tasks:
            tasks.start_soon(here.execute, Ask)
            failed = await client.wait_for(StreamFailed)
            tasks.cancel_scope.cancel()
    assert failed.reason.startswith("dial tcp 255.255.255.255:4648: connect: ")
    assert here.stream_count == 0


async def test_a_stream_is_closed_while_it_still_connects() -> None:
    """A listener with a full backlog leaves callers connecting until they give up."""
    with socket.socket() as listener:
        listener.bind((fresh_address().host, 0))
        listener.listen(0)
        full = address_of(listener)
        fillers = [socket.socket() for _ in range(4)]
        try:
            for filler in fillers:
                filler.setblocking(False)
                filler.connect_ex(full)
            client = caller(full)

            def give_up(_: TimerFired, __: float) -> list[CloseStream]:
                return [CloseStream(outbound(1))]

            def start(one: Ask, now: float) -> list[OpenStream | SetTimer]:
                return [
                    OpenStream(outbound(one.operation), full, b"hello"),
                    SetTimer(Alarm("enough"), now + 0.05),
                ]

            client.reactions = {Ask: start, TimerFired: give_up}  # type: ignore[dict-item]  # lists of some effects are fine
            with trio.fail_after(10):
                async with (
                    open_endpoint(client, fresh_address()) as here,
                    trio.open_nursery() as tasks,
                ):
                    tasks.start_soon(here.execute, Ask)
                    await client.wait_for(TimerFired)
                    await until(lambda: not here.stream_count)
                    tasks.cancel_scope.cancel()
            assert client.seen(StreamFailed) == []
        finally:
            for filler in fillers:
                filler.close()


async def test_what_was_written_is_out_before_a_stream_closes() -> None:
    answer = bytes(3_000_000)
    server = Toy(
        {
            StreamReceived: lambda one, _: [
                WriteStream(one.stream, answer),
                CloseStream(one.stream),
            ]
        }
    )
    with trio.fail_after(10):
        async with open_endpoint(server, fresh_address()) as there:
            async with await trio.open_tcp_stream(*there.address) as peer:
                await peer.send_all(b"tell me")
                received = 0
                async for chunk in peer:
                    received += len(chunk)
            assert received == len(answer)
            assert there.counters.stream_bytes_out == len(answer)
            assert there.counters.streams_aborted == 0


async def test_an_answer_survives_bytes_the_core_did_not_want() -> None:
    """Closing with unread input resets a connection; the reset must not overtake the answer."""
    server = Toy(
        {
            StreamReceived: lambda one, _: [
                WriteStream(one.stream, b"no"),
                CloseStream(one.stream),
            ]
        }
    )
    limits = EndpointLimits(streams=StreamLimits(chunk_bytes=10))
    with trio.fail_after(10):
        async with (
            open_endpoint(server, fresh_address(), limits=limits) as there,
            await trio.open_tcp_stream(*there.address) as peer,
        ):
            await peer.send_all(bytes(10_000))
            assert await peer.receive_some(10) == b"no"
            assert await peer.receive_some(10) == b""


async def test_nothing_more_comes_about_a_stream_that_was_closed() -> None:
    server = Toy({StreamReceived: lambda one, _: [CloseStream(one.stream)]})
    limits = EndpointLimits(streams=StreamLimits(chunk_bytes=100))
    with trio.fail_after(10):
        async with (
            open_endpoint(server, fresh_address(), limits=limits) as there,
            await trio.open_tcp_stream(*there.address) as peer,
        ):
            await peer.send_all(bytes(10_000))
            await server.wait_for(StreamReceived)
            await until(lambda: not there.stream_count)
    assert len(server.seen(StreamReceived)) == 1
    assert server.seen(StreamEnded) == server.seen(StreamFailed) == []


async def test_a_peer_that_does_not_read_loses_its_connection_after_the_linger_time() -> None:
    server = Toy(
        {
            StreamReceived: lambda one, _: [
                WriteStream(one.stream, bytes(30_000_000)),
                CloseStream(one.stream),
            ]
        }
    )
    limits = EndpointLimits(streams=StreamLimits(linger=0.05))
    with trio.fail_after(10):
        async with (
            open_endpoint(server, fresh_address(), limits=limits) as there,
            await trio.open_tcp_stream(*there.address) as peer,
        ):
            await peer.send_all(b"tell me")
            await server.wait_for(StreamReceived)
            await until(lambda: not there.stream_count)
    assert there.counters.streams_aborted == 1


async def test_too_much_waiting_output_breaks_the_connection() -> None:
    server = Toy({StreamReceived: lambda one, _: [WriteStream(one.stream, bytes(1000))] * 2})
    limits = EndpointLimits(streams=StreamLimits(write_bytes_max=1500))
    with trio.fail_after(10):
        async with (
            open_endpoint(server, fresh_address(), limits=limits) as there,
            await trio.open_tcp_stream(*there.address) as peer,
        ):
            await peer.send_all(b"x")
            failed = await server.wait_for(StreamFailed)
    assert failed.reason.startswith("write tcp ")
    assert failed.reason.endswith(": too many bytes waiting")


async def test_a_peer_that_resets_is_reported_once_with_both_addresses() -> None:
    server = Toy()
    with trio.fail_after(10):
        async with open_endpoint(server, fresh_address()) as there:
            with socket.socket() as peer:
                peer.connect(there.address)
                local = address_of(peer)
                await server.wait_for(StreamOpened)
                peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
            failed = await server.wait_for(StreamFailed)
            await until(lambda: not there.stream_count)
    assert failed.reason == f"read tcp {there.address}->{local}: read: connection reset by peer"
    assert len(server.seen(StreamFailed)) == 1


async def test_connections_above_the_limit_are_closed_at_once_and_counted() -> None:
    server = Toy({Start: lambda _, __: []})
    limits = EndpointLimits(streams=StreamLimits(streams_max=2))
    with trio.fail_after(10):
        async with open_endpoint(server, fresh_address(), limits=limits) as there:
            kept = [await trio.open_tcp_stream(*there.address) for _ in range(2)]
            await server.wait_for(StreamOpened, 2)
            async with await trio.open_tcp_stream(*there.address) as third:
                assert await third.receive_some(1) == b""
            assert there.counters.streams_refused == 1
            for stream in kept:
                await stream.aclose()
    assert len(server.seen(StreamOpened)) == 2
