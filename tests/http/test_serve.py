"""The listener on real sockets of loopback."""

from __future__ import annotations

import gzip
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial

import httpx
import pytest
import trio

from swimnomad.errors import UsageError
from swimnomad.http import serve as serve_module
from swimnomad.http.serve import serve
from swimnomad.names import Address
from swimnomad.serf.inputs import SendUserEvent
from tests.http.http_support import Served, alone, server

pytestmark = pytest.mark.live

LOOPBACK = Address("127.0.0.1", 0)
PATIENCE = 10.0
"""Real seconds after which something that should happen has not."""


class Listening:
    """An agent behind a real socket."""

    def __init__(self, served: Served, address: Address, stop: trio.Event) -> None:
        self.served = served
        self.address = address
        self.stop = stop
        self._streams: list[trio.SocketStream] = []

    async def connect(self) -> trio.SocketStream:
        stream = await trio.open_tcp_stream(self.address.host, self.address.port)
        self._streams.append(stream)
        return stream

    def close(self) -> None:
        for stream in self._streams:
            stream.socket.close()


@asynccontextmanager
async def listening(connections_max: int = 100) -> AsyncIterator[Listening]:
    """Serve one agent; ends with the listener stopped in good order."""
    served, stop = alone(server(1)), trio.Event()
    start = partial(serve, served.app, LOOPBACK, connections_max=connections_max)
    with trio.fail_after(PATIENCE):
        async with trio.open_nursery() as nursery:
            address = await nursery.start(partial(start, shutdown_trigger=stop.wait))
            one = Listening(served, address, stop)
            try:
                yield one
            finally:
                one.close()
                stop.set()


REQUEST = b"GET /v1/regions HTTP/1.1\r\nHost: x\r\n\r\n"


async def answer_on(stream: trio.SocketStream) -> bytes:
    """Make a request on an open connection; the answer, or nothing if there is none."""
    answer = b""
    try:
        await stream.send_all(REQUEST)
        while not answer.endswith(b'["global"]'):
            part = await stream.receive_some()
            if not part:
                return answer
            answer += part
    except trio.BrokenResourceError:
        return b""
    return answer


async def test_requests_are_answered_on_a_kept_connection() -> None:
    plain = {"Accept-Encoding": "identity"}
    async with listening() as one, httpx.AsyncClient(headers=plain) as client:
        url = f"http://{one.address}"
        for _ in range(3):
            answer = await client.get(f"{url}/v1/regions")
            assert (answer.status_code, answer.json()) == (200, ["global"])
            assert answer.headers["content-length"] == "10"
            assert "server" not in answer.headers
        assert (await client.head(f"{url}/v1/regions")).status_code == 405


async def test_port_0_becomes_a_port_of_its_own() -> None:
    async with listening() as one:
        assert one.address.host == "127.0.0.1"
        assert one.address.port > 0


async def test_a_port_in_use_is_a_usage_error_that_names_it() -> None:
    async with listening() as one:
        app = one.served.app
        with pytest.raises(UsageError) as caught:
            await serve(app, one.address, shutdown_trigger=trio.sleep_forever)
        assert (
            str(caught.value) == f"cannot listen for HTTP on {one.address}: address already in use"
        )


@pytest.mark.parametrize(
    ("address", "why"),
    [
        (Address("192.0.2.1", 0), "cannot assign requested address"),
        (Address("::ffff:0:0:1", 0), "cannot assign requested address"),
    ],
)
async def test_a_foreign_address_is_a_usage_error(address: Address, why: str) -> None:
    app = alone(server(1)).app
    with pytest.raises(UsageError) as caught:
        await serve(app, address, shutdown_trigger=trio.sleep_forever)
    assert str(caught.value) == f"cannot listen for HTTP on {address}: {why}"


async def test_one_client_address_holds_only_so_many_connections() -> None:
    """agent A35"""
    async with listening(connections_max=2) as one:
        first, second = await one.connect(), await one.connect()
        assert await answer_on(first)
        assert await answer_on(second)
        third = await one.connect()
        assert await answer_on(third) == b""
        await first.aclose()
        answer = b""
        while not answer:  # until the listener has seen the end of the first
            fourth = await one.connect()
            answer = await answer_on(fourth)
        assert answer.startswith(b"HTTP/1.1 200")


async def test_zero_connections_means_no_limit() -> None:
    """agent A36"""
    async with listening(connections_max=0) as one:
        streams = [await one.connect() for _ in range(120)]
        assert all([await answer_on(stream) for stream in streams])


@pytest.mark.parametrize(
    "junk",
    [b"\x00" * 100, b"GET / HTTP/9.9\r\n\r\n", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\nxxxxxxxxxxxxxxxx"],
)
async def test_junk_ends_its_connection_and_nothing_else(junk: bytes) -> None:
    async with listening() as one:
        stream = await one.connect()
        await stream.send_all(junk)
        await stream.send_eof()
        async for _ in stream:
            pass
        assert await answer_on(await one.connect())


async def test_stopping_closes_idle_connections_at_once() -> None:
    async with listening() as one:
        stream = await one.connect()
        assert await answer_on(stream)
        started = trio.current_time()
        one.stop.set()
        assert await stream.receive_some() == b""
        assert trio.current_time() - started < serve_module.GRACE / 2


async def test_stopping_does_not_wait_for_ever_for_a_reader_of_events() -> None:
    async with listening() as one:
        stream = await one.connect()
        await stream.send_all(REQUEST.replace(b"regions", b"swimnomad/events"))
        assert await stream.receive_some()
        one.stop.set()
        started = trio.current_time()
        while await stream.receive_some():
            pass
        assert trio.current_time() - started < serve_module.GRACE + 3


async def test_a_client_that_reads_nothing_cannot_hold_up_the_end(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(serve_module, "GRACE", 0.1)
    async with listening() as one:
        stream = await one.connect()
        many = REQUEST.replace(b"regions", b"agent/self") * 2000
        with trio.move_on_after(1.0):
            await stream.send_all(many)
        one.stop.set()


async def test_cancelling_closes_every_socket() -> None:
    served = alone(server(1))
    with trio.fail_after(PATIENCE):
        async with trio.open_nursery() as nursery:
            start = partial(serve, served.app, LOOPBACK, shutdown_trigger=trio.sleep_forever)
            address = await nursery.start(start)
            stream = await trio.open_tcp_stream(*address)
            assert await answer_on(stream)
            nursery.cancel_scope.cancel()
        assert await stream.receive_some() == b""
        await stream.aclose()


async def test_events_arrive_one_by_one() -> None:
    async with listening() as one:
        stream = await one.connect()
        await stream.send_all(REQUEST.replace(b"regions", b"swimnomad/events"))
        answer = await stream.receive_some()
        assert b"transfer-encoding: chunked" in answer.lower()
        while b"\r\n1\r\n\n\r\n" not in answer:  # the empty line that opens the stream
            answer += await stream.receive_some()
        services = one.served.agent.services
        for name in ("first", "second"):
            await services.execute(partial(SendUserEvent, name=name, payload=b""))
            while f'"name":"{name}"'.encode() not in answer:
                answer += await stream.receive_some()
            assert b'"second"' not in answer or name == "second"


async def test_errors_are_compressed_on_the_wire() -> None:
    """agent A19"""
    async with listening() as one:
        stream = await one.connect()
        await stream.send_all(
            b"GET /v1/agent/join HTTP/1.1\r\nHost: x\r\nAccept-Encoding: gzip\r\n"
            b"Connection: close\r\n\r\n"
        )
        answer = b"".join([part async for part in stream])
        head, _, body = answer.partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 405")
        assert gzip.decompress(body) == b"Invalid method"


async def test_a_body_that_nobody_wants_does_not_cost_the_connection() -> None:
    """agent F12"""
    async with listening() as one:
        stream = await one.connect()
        line = b"PUT /v1/agent/join?address=127.0.61.1 HTTP/1.1\r\n"
        await stream.send_all(line + b"Host: x\r\nContent-Length: 4\r\n\r\nno")
        await stream.send_all(b"pe")
        answer = b""
        while not answer.endswith(b"}"):
            answer += await stream.receive_some()
        assert answer.endswith(b'{"error":"","num_joined":1}')
        assert await answer_on(stream)
