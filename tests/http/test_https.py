"""HTTPS on real sockets of loopback: the handshake, its limits and its failures."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from functools import partial
from pathlib import Path

import httpx
import pytest
import trio

from swimnomad.http import serve as serve_module
from swimnomad.http.serve import serve
from swimnomad.names import Address
from swimnomad.nomad.config import AgentConfig
from swimnomad.serf.inputs import SendUserEvent
from swimnomad.tls.authority import Role
from swimnomad.tls.contexts import AgentTls
from swimnomad.tls.failures import describe_failure, is_refusal
from tests.http.http_support import Served, alone, server
from tests.tls.pki import EXPIRED, Pki, user_context

pytestmark = pytest.mark.live

PATIENCE = 20.0
"""Real seconds after which something that should happen has not."""
REQUEST = b"GET /v1/regions HTTP/1.1\r\nHost: x\r\n\r\n"

Secure = trio.SSLStream[trio.SocketStream]


class Listening:
    """An agent behind HTTPS."""

    def __init__(self, served: Served, address: Address, tls: AgentTls, stop: trio.Event) -> None:
        self.served = served
        self.address = address
        self.tls = tls
        self.stop = stop
        self._streams: list[trio.SocketStream] = []

    async def connect(self) -> trio.SocketStream:
        stream = await trio.open_tcp_stream(self.address.host, self.address.port)
        self._streams.append(stream)
        return stream

    async def secure(self, context: ssl.SSLContext, name: str = "127.0.0.1") -> Secure:
        return trio.SSLStream(await self.connect(), context, server_hostname=name)

    def close(self) -> None:
        for stream in self._streams:
            stream.socket.close()


@asynccontextmanager
async def listening(
    config: AgentConfig, *, connections_max: int = 100, handshake_timeout: float = PATIENCE
) -> AsyncIterator[Listening]:
    """Serve one agent with the `tls` of `config`; ends with the listener stopped in good order."""
    served, stop, tls = alone(server(1)), trio.Event(), AgentTls(config)
    start = partial(
        serve,
        served.app,
        Address("127.0.0.1", 0),
        tls=tls.http,
        connections_max=connections_max,
        handshake_timeout=handshake_timeout,
    )
    with trio.fail_after(PATIENCE):
        async with trio.open_nursery() as nursery:
            address = await nursery.start(partial(start, shutdown_trigger=stop.wait))
            one = Listening(served, address, tls, stop)
            try:
                yield one
            finally:
                one.close()
                stop.set()


@pytest.fixture
def pki(tmp_path: Path) -> Pki:
    return Pki(tmp_path)


async def answer_on(stream: Secure) -> bytes:
    """Make a request on an open connection; the answer."""
    await stream.send_all(REQUEST)
    answer = b""
    while not answer.endswith(b'["global"]'):
        part = await stream.receive_some()
        if not part:
            return answer
        answer += part
    return answer


async def everything_from(stream: trio.SocketStream) -> bytes:
    return b"".join([part async for part in stream])


async def failure_on(stream: Secure) -> trio.BrokenResourceError:
    """What a request ends in that must fail."""
    with pytest.raises(trio.BrokenResourceError) as caught:
        await answer_on(stream)
    return caught.value


def handshake_lines(caplog: pytest.LogCaptureFixture) -> list[str]:
    """What was logged about handshakes, without the peer's address."""
    assert all(record.name == "swimnomad.http" for record in caplog.records)
    lines = [record.getMessage() for record in caplog.records]
    assert all(line.startswith("TLS handshake error from 127.0.0.1:") for line in lines), lines
    return [line.split(": ", 1)[1] for line in lines]


async def test_requests_are_answered_on_a_kept_connection(pki: Pki) -> None:
    async with (
        listening(pki.config(pki.issue())) as one,
        httpx.AsyncClient(verify=user_context(pki.ca)) as client,
    ):
        for name in ("127.0.0.1", "localhost"):
            url = f"https://{name}:{one.address.port}/v1/regions"
            for _ in range(3):
                answer = await client.get(url)
                assert (answer.status_code, answer.json()) == (200, ["global"])


async def test_a_certificate_is_asked_for_with_verify_https_client(
    pki: Pki, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """agent A38"""
    (tmp_path / "foreign").mkdir()
    foreign = Pki(tmp_path / "foreign")
    config = pki.config(pki.issue(), verify_https_client=True)
    async with listening(config) as one:
        known = user_context(pki.ca, pki.issue(Role.CLI))
        assert (await answer_on(await one.secure(known))).startswith(b"HTTP/1.1 200")
        without = await failure_on(await one.secure(user_context(pki.ca)))
        assert describe_failure(without) == "the peer wants a certificate and was given none"
        stranger = user_context(pki.ca, foreign.issue(Role.CLI))
        error = await failure_on(await one.secure(stranger))
        assert is_refusal(error)
        assert describe_failure(error).startswith("the peer does not know the authority")
        old = user_context(pki.ca, pki.issue(Role.CLI, validity=EXPIRED, name="old"))
        error = await failure_on(await one.secure(old))
        assert describe_failure(error) == "the peer says that our certificate has expired"
        assert await answer_on(await one.secure(known))
    assert handshake_lines(caplog) == [
        "the peer gave no certificate",
        "the peer's certificate is signed by an unknown authority",
        "the peer's certificate has expired",
    ]


async def test_a_client_that_does_not_know_the_authority_is_one_line(
    pki: Pki, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "foreign").mkdir()
    foreign = Pki(tmp_path / "foreign")
    async with listening(pki.config(pki.issue())) as one:
        stream = await one.secure(user_context(foreign.ca))
        error = await failure_on(stream)
        assert "unknown authority" in describe_failure(error)
        await stream.aclose()
        assert await answer_on(await one.secure(user_context(pki.ca)))
    [line] = handshake_lines(caplog)
    assert line.startswith("the peer closed the connection") or "authority" in line


@pytest.mark.parametrize("method", ["GET", "HEAD", "POST", "PUT", "OPTIONS", "PATCH", "DELETE"])
async def test_a_plain_request_is_answered_as_go_does(
    pki: Pki, caplog: pytest.LogCaptureFixture, method: str
) -> None:
    async with listening(pki.config(pki.issue())) as one:
        stream = await one.connect()
        body = b"x" * 10_000
        await stream.send_all(
            method.encode() + b" /v1/agent/self HTTP/1.1\r\nHost: x\r\n\r\n" + body
        )
        assert await everything_from(stream) == (
            b"HTTP/1.0 400 Bad Request\r\n\r\nClient sent an HTTP request to an HTTPS server.\n"
        )
    assert handshake_lines(caplog) == ["the peer sent a plain HTTP request to a TLS port"]


@pytest.mark.parametrize(
    ("junk", "says"),
    [
        (b"\x06" * 100, "the peer does not speak TLS: what it sent is no TLS record"),
        (b"GE", "the peer does not speak TLS: what it sent is no TLS record"),
        (b"\x16\x03\x01\x00\x05hello", "unexpected message"),
        (b"\x16\x03\x01", "the peer closed the connection during the TLS handshake"),
    ],
)
async def test_junk_ends_its_connection_and_nothing_else(
    pki: Pki, caplog: pytest.LogCaptureFixture, junk: bytes, says: str
) -> None:
    async with listening(pki.config(pki.issue())) as one:
        stream = await one.connect()
        with suppress(trio.BrokenResourceError):  # closed before we are through
            await stream.send_all(junk)
            await stream.send_eof()
            await everything_from(stream)
        assert await answer_on(await one.secure(user_context(pki.ca)))
    assert handshake_lines(caplog) == [says]


async def test_a_probe_of_the_port_is_not_worth_a_line(
    pki: Pki, caplog: pytest.LogCaptureFixture
) -> None:
    async with listening(pki.config(pki.issue())) as one:
        stream = await one.connect()
        await stream.aclose()
        assert await answer_on(await one.secure(user_context(pki.ca)))
    assert handshake_lines(caplog) == []


@pytest.mark.parametrize("start", [b"", b"\x16", b"GET", b"\x16\x03\x01\x00\xff"])
async def test_a_handshake_has_its_time(
    pki: Pki, caplog: pytest.LogCaptureFixture, start: bytes
) -> None:
    async with listening(pki.config(pki.issue()), handshake_timeout=0.05) as one:
        stream = await one.connect()
        if start:
            await stream.send_all(start)
        assert await stream.receive_some() == b""
    assert handshake_lines(caplog) == ["the handshake was not done within 0.05 s"]


async def test_a_timeout_of_zero_waits(pki: Pki) -> None:
    async with listening(pki.config(pki.issue()), handshake_timeout=0) as one:
        idle = await one.connect()
        for _ in range(3):
            assert await answer_on(await one.secure(user_context(pki.ca)))
        stream = trio.SSLStream(idle, user_context(pki.ca), server_hostname="localhost")
        assert await answer_on(stream)


async def test_connections_in_their_handshake_count_for_their_address(pki: Pki) -> None:
    """agent A35"""
    async with listening(pki.config(pki.issue()), connections_max=2) as one:
        await one.connect()
        second = await one.secure(user_context(pki.ca))
        assert await answer_on(second)
        third = await one.connect()
        assert await third.receive_some() == b""


async def test_stopping_ends_handshakes_and_idle_connections_at_once(
    pki: Pki, caplog: pytest.LogCaptureFixture
) -> None:
    async with listening(pki.config(pki.issue())) as one:
        halfway = await one.connect()
        await halfway.send_all(b"\x16\x03\x01")
        idle = await one.secure(user_context(pki.ca))
        assert await answer_on(idle)
        started = trio.current_time()
        one.stop.set()
        # With a close_notify: the client can tell an end from a cut.
        assert await idle.receive_some() == b""
        with suppress(trio.BrokenResourceError):
            assert await halfway.receive_some() == b""
        assert trio.current_time() - started < serve_module.GRACE / 2
    assert handshake_lines(caplog) == []


async def test_stopping_does_not_wait_for_ever_for_a_client_that_reads_nothing(
    pki: Pki, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(serve_module, "GRACE", 0.1)
    async with listening(pki.config(pki.issue())) as one:
        stream = await one.secure(user_context(pki.ca))
        many = REQUEST.replace(b"regions", b"agent/self") * 2000
        with trio.move_on_after(1.0):
            await stream.send_all(many)
        one.stop.set()
    assert handshake_lines(caplog) == []


async def test_events_arrive_one_by_one(pki: Pki) -> None:
    async with listening(pki.config(pki.issue())) as one:
        stream = await one.secure(user_context(pki.ca))
        await stream.send_all(REQUEST.replace(b"regions", b"swimnomad/events"))
        answer = b""
        while b"\r\n1\r\n\n\r\n" not in answer:  # the empty line that opens the stream
            answer += await stream.receive_some()
        services = one.served.agent.services
        for name in ("first", "second"):
            await services.execute(partial(SendUserEvent, name=name, payload=b""))
            while f'"name":"{name}"'.encode() not in answer:
                answer += await stream.receive_some()


async def test_a_reload_counts_for_the_next_connection_and_leaves_others_alone(pki: Pki) -> None:
    config = pki.config(pki.issue())
    async with listening(config) as one:
        user = user_context(pki.ca)
        standing = await one.secure(user)
        assert await answer_on(standing)
        pki.issue(region="eu", name="server-global")  # the same file
        one.tls.reload(config)
        later = await one.secure(user, "server.eu.nomad")
        assert await answer_on(later)
        assert await answer_on(standing)


async def test_switched_off_tls_is_plain_http(pki: Pki) -> None:
    async with listening(AgentConfig()) as one, httpx.AsyncClient() as client:
        assert (await client.get(f"http://{one.address}/v1/regions")).json() == ["global"]
        one.tls.reload(pki.config(pki.issue()))
        assert await answer_on(await one.secure(user_context(pki.ca)))
