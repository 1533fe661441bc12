"""Hostile peers against a live endpoint: it serves on, and everything returns to where it was."""

from __future__ import annotations

import os
import random
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import psutil
import pytest
import trio

from swimnomad.live.connection import StreamLimits
from swimnomad.live.endpoint import EndpointLimits, GossipEndpoint, open_endpoint
from swimnomad.swim.effects import CancelTimer, CloseStream, SendDatagram, SetTimer, WriteStream
from swimnomad.swim.inputs import (
    DatagramReceived,
    StreamEnded,
    StreamFailed,
    StreamOpened,
    StreamReceived,
    Timer,
    TimerFired,
)
from tests.live.live_support import Toy, fresh_address, until

pytestmark = pytest.mark.live


class Deadline(Timer, frozen=True):
    stream: object


def guarded_echo(seconds: float) -> Toy:
    """Echoes; ends each stream when the peer does, or after `seconds`, as a real core would."""

    def end(one: StreamEnded) -> list[CloseStream | CancelTimer]:
        return [CloseStream(one.stream), CancelTimer(Deadline(one.stream))]

    return Toy(
        {
            DatagramReceived: lambda one, _: [SendDatagram(one.source, one.data)],
            StreamOpened: lambda one, now: [SetTimer(Deadline(one.stream), now + seconds)],
            StreamReceived: lambda one, _: [WriteStream(one.stream, one.data[:1])],
            StreamEnded: lambda one, _: end(one),  # type: ignore[dict-item,return-value]  # invariance
            StreamFailed: lambda one, _: [CancelTimer(Deadline(one.stream))],
            TimerFired: lambda one, _: [CloseStream(one.timer.stream)],
        }
    )


def usage() -> tuple[int, int]:
    """Open files of this process and tasks of this loop."""
    tasks = trio.lowlevel.current_statistics().tasks_living
    return psutil.Process(os.getpid()).num_fds(), tasks


@asynccontextmanager
async def watched(core: Toy, limits: EndpointLimits) -> AsyncIterator[GossipEndpoint]:
    """An endpoint that must be as idle after the block as it was before."""
    async with open_endpoint(core, fresh_address(), limits=limits) as endpoint:
        await assert_alive(endpoint)
        before = usage()
        yield endpoint
        await assert_alive(endpoint)
        await until(lambda: not endpoint.stream_count and not endpoint.timer_count)
        await until(lambda: usage() == before)
        assert endpoint.inbox_length == 0


async def assert_alive(endpoint: GossipEndpoint) -> None:
    """The endpoint answers a datagram among whatever else is under way."""
    with trio.socket.socket(type=socket.SOCK_DGRAM) as peer:
        await peer.bind((endpoint.address.host, 0))
        while True:
            await peer.sendto(b"are you there?", tuple(endpoint.address))
            with trio.move_on_after(1):
                assert await peer.recv(100) == b"are you there?"
                return


async def test_a_storm_of_garbage_datagrams() -> None:
    rng = random.Random(1)
    core = guarded_echo(1)
    with trio.fail_after(30):
        async with watched(core, EndpointLimits(inbox_items=32)) as endpoint:
            with socket.socket(type=socket.SOCK_DGRAM) as peer:
                peer.bind((endpoint.address.host, 0))
                peer.setblocking(False)
                for number in range(20_000):
                    peer.sendto(rng.randbytes(rng.randrange(64)), tuple(endpoint.address))
                    if number % 500 == 0:
                        await trio.lowlevel.checkpoint()


async def test_half_open_streams_end_at_the_deadline_of_the_core() -> None:
    core = guarded_echo(0.1)
    with trio.fail_after(30):
        async with watched(core, EndpointLimits()) as endpoint:
            peers = [await trio.open_tcp_stream(*endpoint.address) for _ in range(100)]
            for peer in peers:
                assert await peer.receive_some(1) == b""
                await peer.aclose()


async def test_endless_streams_do_not_stop_others_and_end_at_the_limit() -> None:
    limits = EndpointLimits(streams=StreamLimits(read_bytes_max=4_000_000))
    core = guarded_echo(20)

    async def pour(endpoint: GossipEndpoint) -> None:
        async with await trio.open_tcp_stream(*endpoint.address) as peer:
            with pytest.raises(trio.BrokenResourceError):
                await peer.send_all(bytes(100_000_000))

    with trio.fail_after(30):
        async with watched(core, limits) as endpoint, trio.open_nursery() as tasks:
            for _ in range(10):
                tasks.start_soon(pour, endpoint)
            await assert_alive(endpoint)
    failures = core.seen(StreamFailed)
    assert len(failures) == 10
    assert all("too many bytes" in one.reason or "reset" in one.reason for one in failures)


async def test_slow_senders_cost_a_task_each_and_end_at_the_deadline_of_the_core() -> None:
    core = guarded_echo(0.3)

    async def dribble(endpoint: GossipEndpoint) -> None:
        async with await trio.open_tcp_stream(*endpoint.address) as peer:
            try:
                while True:
                    await peer.send_all(b"x")
                    await trio.sleep(0.02)
            except trio.BrokenResourceError:
                pass

    with trio.fail_after(30):
        async with watched(core, EndpointLimits()) as endpoint, trio.open_nursery() as tasks:
            for _ in range(30):
                tasks.start_soon(dribble, endpoint)


async def test_a_peer_that_never_reads_its_answers() -> None:
    limits = EndpointLimits(streams=StreamLimits(linger=0.1, write_bytes_max=1_000_000))
    core = guarded_echo(0.5)
    core.reactions[StreamReceived] = lambda one, _: [WriteStream(one.stream, bytes(400_000))]

    async def demand(endpoint: GossipEndpoint) -> None:
        async with await trio.open_tcp_stream(*endpoint.address) as peer:
            try:
                while True:
                    await peer.send_all(b"more")
                    await trio.sleep(0.01)
            except trio.BrokenResourceError:
                pass

    with trio.fail_after(30):
        async with watched(core, limits) as endpoint, trio.open_nursery() as tasks:
            for _ in range(5):
                tasks.start_soon(demand, endpoint)


async def test_ten_thousand_connections_a_hundred_at_a_time() -> None:
    core = guarded_echo(20)
    limits = EndpointLimits(streams=StreamLimits(streams_max=64))
    total = 10_000
    done = 0

    async def knock(endpoint: GossipEndpoint) -> None:
        nonlocal done
        while done < total:
            done += 1
            try:
                async with await trio.open_tcp_stream(*endpoint.address) as peer:
                    await peer.send_all(b"x")
                    await peer.receive_some(1)
            except (trio.BrokenResourceError, OSError):
                continue  # refused above the limit

    with trio.fail_after(120):
        async with watched(core, limits) as endpoint, trio.open_nursery() as tasks:
            for _ in range(100):
                tasks.start_soon(knock, endpoint)
    counters = endpoint.counters
    assert counters.streams_in + counters.streams_refused == total
    assert counters.streams_in == len(core.seen(StreamOpened))
    assert counters.accept_errors == 0


async def test_the_listener_recovers_when_the_system_has_no_files_left() -> None:
    import resource

    core = guarded_echo(20)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with trio.fail_after(30):
        async with watched(core, EndpointLimits()) as endpoint:
            peer = socket.socket()
            try:
                resource.setrlimit(resource.RLIMIT_NOFILE, (peer.fileno() + 1, hard))
                peer.setblocking(False)
                peer.connect_ex(tuple(endpoint.address))
                await until(lambda: endpoint.counters.accept_errors >= 3)
                resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
                await core.wait_for(StreamOpened)
            finally:
                resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
                peer.close()
