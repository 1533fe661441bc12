"""Faults between socket and core."""

from __future__ import annotations

import random
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
import trio
import trio.testing

from swimnomad.faults import Latency, LinkFault
from swimnomad.live.endpoint import GossipEndpoint, open_endpoint
from swimnomad.live.shim import FaultShim
from swimnomad.names import Address
from swimnomad.swim.effects import CloseStream, SendDatagram, WriteStream
from swimnomad.swim.inputs import DatagramReceived, StreamEnded, StreamOpened, StreamReceived
from tests.live.live_support import Toy, fresh_address, until

pytestmark = pytest.mark.live


def echo() -> Toy:
    return Toy(
        {
            DatagramReceived: lambda one, _: [SendDatagram(one.source, one.data)],
            StreamReceived: lambda one, _: [WriteStream(one.stream, one.data)],
            StreamEnded: lambda one, _: [CloseStream(one.stream)],
        }
    )


class Peer:
    """A plain socket that talks to an endpoint."""

    def __init__(self, sock: trio.socket.SocketType, to: Address) -> None:
        self._sock = sock
        self._to = tuple(to)

    async def say(self, data: bytes) -> None:
        await self._sock.sendto(data, self._to)

    async def hear(self) -> bytes:
        return await self._sock.recv(65_536)


@asynccontextmanager
async def faulty_echo(delayed_max: int = 100) -> AsyncIterator[tuple[Toy, FaultShim, Peer]]:
    core, shim = echo(), FaultShim(random.Random(1), delayed_max)
    with trio.fail_after(20):
        async with open_endpoint(core, fresh_address(), shim=shim) as endpoint:
            with trio.socket.socket(type=socket.SOCK_DGRAM) as sock:
                await sock.bind((fresh_address().host, 0))
                yield core, shim, Peer(sock, endpoint.address)


async def test_without_faults_everything_passes() -> None:
    async with faulty_echo() as (_, shim, peer):
        await peer.say(b"hello")
        assert await peer.hear() == b"hello"
        assert shim.datagrams_faulted == 0


async def test_blocked_datagrams_never_reach_the_core_and_do_again_after_healing() -> None:
    async with faulty_echo() as (core, shim, peer):
        shim.set_fault("partition", LinkFault(blocked=True, direction="in"))
        await peer.say(b"lost")
        await until(lambda: shim.datagrams_faulted == 1)
        assert shim.clear_faults() == 1
        await peer.say(b"heard")
        assert await peer.hear() == b"heard"
        assert [one.data for one in core.seen(DatagramReceived)] == [b"heard"]


async def test_a_block_in_one_direction_leaves_the_other_open() -> None:
    async with faulty_echo() as (core, shim, peer):
        shim.set_fault("mute", LinkFault(blocked=True, direction="out", transport="udp"))
        await peer.say(b"heard")
        await core.wait_for(DatagramReceived)
        shim.clear_faults("mute")
        await peer.say(b"again")
        assert await peer.hear() == b"again"


async def test_a_fault_names_hosts() -> None:
    async with faulty_echo() as (_, shim, peer):
        shim.set_fault("elsewhere", LinkFault(hosts=("10.1.2.3",), blocked=True))
        await peer.say(b"hello")
        assert await peer.hear() == b"hello"


async def test_latency_holds_datagrams_back_and_keeps_their_bytes() -> None:
    async with faulty_echo() as (_, shim, peer):
        shim.set_fault("slow", LinkFault(latency=Latency("constant", 0.03)))
        before = trio.current_time()
        await peer.say(b"hello")
        assert await peer.hear() == b"hello"
        assert trio.current_time() - before >= 0.06


async def test_an_earlier_delivery_overtakes_one_that_is_held_back_longer() -> None:
    async with faulty_echo() as (core, shim, peer):
        shim.set_fault("slow", LinkFault(latency=Latency("constant", 5.0), direction="in"))
        await peer.say(b"late")
        await until(lambda: shim.datagrams_faulted == 1)
        shim.set_fault("slow", LinkFault(latency=Latency("constant", 0.01), direction="in"))
        await peer.say(b"soon")
        assert await peer.hear() == b"soon"
        assert len(core.seen(DatagramReceived)) == 1


async def test_duplicates_and_damage_happen_on_the_way() -> None:
    async with faulty_echo() as (core, shim, peer):
        shim.set_fault("twice", LinkFault(duplicate=1.0, direction="in"))
        await peer.say(b"hello")
        await core.wait_for(DatagramReceived, 2)
        shim.clear_faults()
        shim.set_fault("damage", LinkFault(corrupt=1.0, direction="in"))
        await peer.say(b"hello")
        third = await core.wait_for(DatagramReceived, 3)
        assert third.data != b"hello"
        assert len(third.data) == 5


async def test_what_is_held_back_is_bounded() -> None:
    async with faulty_echo(delayed_max=10) as (_, shim, peer):
        shim.set_fault("slow", LinkFault(latency=Latency("constant", 60.0), direction="in"))
        for _ in range(30):
            await peer.say(b"x")
        await until(lambda: shim.datagrams_overflowed == 20)


async def test_a_blocked_stream_stalls_and_goes_on_after_healing() -> None:
    core, shim = echo(), FaultShim(random.Random(1))
    with trio.fail_after(20):
        async with (
            open_endpoint(core, fresh_address(), shim=shim) as endpoint,
            await trio.open_tcp_stream(*endpoint.address) as peer,
        ):
            await peer.send_all(b"one")
            assert await peer.receive_some(10) == b"one"
            shim.set_fault("partition", LinkFault(blocked=True, transport="tcp"))
            await peer.send_all(b"two")
            assert await hears_nothing(peer)
            assert shim.clear_faults() == 1
            assert await peer.receive_some(10) == b"two"


async def test_a_blocked_connection_is_announced_only_after_healing() -> None:
    core, shim = echo(), FaultShim(random.Random(1))
    with trio.fail_after(20):
        async with open_endpoint(core, fresh_address(), shim=shim) as endpoint:
            shim.set_fault("partition", LinkFault(blocked=True, transport="tcp"))
            async with await trio.open_tcp_stream(*endpoint.address) as peer:
                await peer.send_all(b"hello")
                await settle(endpoint)
                assert core.seen(StreamOpened) == []
                shim.clear_faults()
                assert await peer.receive_some(10) == b"hello"


async def hears_nothing(peer: trio.SocketStream) -> bool:
    with trio.move_on_after(0.05) as waiting:
        await peer.receive_some(10)
    return waiting.cancelled_caught


async def settle(endpoint: GossipEndpoint) -> None:
    """Return once the endpoint has accepted what is waiting and nothing else can run."""
    await until(lambda: endpoint.counters.streams_in > 0)
    await trio.testing.wait_all_tasks_blocked()
