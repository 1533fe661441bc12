"""TLS in front of RPC, over connections in memory."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import trio
from trio.testing import MockClock, memory_stream_pair

from swimnomad.names import Address
from swimnomad.rpc.failures import RpcFailed
from swimnomad.rpc.listener import Door
from swimnomad.rpc.pool import Pool
from swimnomad.rpc.serving import Server
from swimnomad.tls.authority import Role
from swimnomad.tls.contexts import AgentTls
from tests.rpc.rpc_support import (
    LOCAL,
    REMOTE,
    FakeService,
    RecordingLog,
    Visitor,
    a_request,
    an_answer,
    entrance,
)
from tests.tls.pki import EXPIRED, Pki

TO = Address("127.0.0.2", 4647)
STRICT = {"verify_server_hostname": True}


@pytest.fixture
def pki(tmp_path: Path) -> Pki:
    return Pki(tmp_path)


class TlsWorld:
    """A server with TLS and a pool that dials it."""

    def __init__(self, server: AgentTls, client: AgentTls | None) -> None:
        self.service = FakeService()
        self.log = RecordingLog()
        self.door = Door(Server(self.service, log=self.log), server.rpc_server)
        self.pool = Pool(tls=client.rpc_client if client else None, dial=self._dial)
        self.nursery: trio.Nursery

    async def _dial(self, to: Address) -> trio.abc.Stream:
        ours, theirs = memory_stream_pair()
        self.door.enter(REMOTE)
        self.nursery.start_soon(self.door.serve, theirs, REMOTE, LOCAL)
        return ours

    async def call(self, region: str = "global") -> bytes:
        return await self.pool.call(TO, region, "Status.Ping", b"\x80")

    async def failure(self, region: str = "global") -> RpcFailed:
        with pytest.raises(RpcFailed) as caught:
            await self.call(region)
        return caught.value

    @property
    def warning(self) -> str:
        """What the server says of a handshake that failed."""
        (line,) = self.log.lines
        assert line.level == "warn"
        assert line.message == "failed TLS handshake"
        assert line.pairs["remote_addr"] == REMOTE
        return str(line.pairs["error"])


@asynccontextmanager
async def tls_world(server: AgentTls, client: AgentTls | None) -> AsyncIterator[TlsWorld]:
    world = TlsWorld(server, client)
    async with trio.open_nursery() as world.nursery:
        await world.nursery.start(world.pool.run)
        yield world
        world.nursery.cancel_scope.cancel()
    assert world.door.open_count == 0
    assert world.door.handshakes == 0


async def test_calls_and_streams_over_mutual_tls(pki: Pki) -> None:
    tls = AgentTls(pki.config(pki.issue(), **STRICT))
    async with tls_world(tls, tls) as world:
        async with trio.open_nursery() as nursery:
            for _ in range(10):
                nursery.start_soon(world.call)
        large = b"\xdb\x00\x0f\x42\x40" + bytes(1_000_000)
        assert await world.pool.call(TO, "global", "Status.Echo", large) == large
        async with world.pool.stream(TO, "global", "Agent.Monitor", b"\x80") as stream:
            assert [payload async for payload in stream] == [b"{}", None, b"\x80"]
        peer = world.service.calls[0][2]
        assert "server.global.nomad" in peer.certificate_names
        assert world.log.lines == []
        assert world.pool.session_count == 1


async def test_another_region_at_the_same_address_is_another_session(pki: Pki) -> None:
    tls = AgentTls(pki.config(pki.issue(), **STRICT))
    async with tls_world(tls, tls) as world:
        await world.call()
        failure = await world.failure("eu")
        assert failure.text == (
            "rpc error: failed to get conn: tls handshake with 127.0.0.2:4647: "
            "the peer's certificate is not valid for the name server.eu.nomad"
        )
        assert not failure.may_have_happened


async def test_a_region_no_certificate_can_name(pki: Pki) -> None:
    tls = AgentTls(pki.config(pki.issue(), **STRICT))
    async with tls_world(tls, tls) as world:
        failure = await world.failure("x" * 70)
        assert "no certificate can have the name" in failure.text
        assert not failure.may_have_happened


async def test_an_unknown_authority_is_refused_at_both_ends(pki: Pki, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    foreign = Pki(tmp_path / "other", "foreign")
    ours, theirs = AgentTls(pki.config(pki.issue())), AgentTls(foreign.config(foreign.issue()))
    async with tls_world(ours, theirs) as world:
        failure = await world.failure()
        assert "signed by an unknown authority" in failure.text
        assert not failure.may_have_happened
        await trio.testing.wait_all_tasks_blocked()
        assert world.warning == ("the peer does not know the authority that signed our certificate")


async def test_a_caller_whose_certificate_is_refused_learns_why(pki: Pki) -> None:
    # The dialler accepts the server, has sent its request, and then reads that it was refused.
    server = AgentTls(pki.config(pki.issue()))
    client = AgentTls(pki.config(pki.issue(validity=EXPIRED, name="old")))
    async with tls_world(server, client) as world:
        failure = await world.failure()
        assert "certificate has expired" in failure.text
        assert failure.text.startswith("rpc error: failed to get conn: ")
        assert not failure.may_have_happened
        await trio.testing.wait_all_tasks_blocked()
        assert world.warning == "the peer's certificate has expired"
    assert world.service.calls == []


async def test_a_certificate_of_the_wrong_role_is_refused(pki: Pki) -> None:
    server = AgentTls(pki.config(pki.issue(), **STRICT))
    client = AgentTls(pki.config(pki.issue(Role.CLIENT, "eu"), **STRICT))
    async with tls_world(server, client) as world:
        await world.failure()
        assert world.warning == "invalid role or region for certificate"
    assert world.service.calls == []


async def test_plain_connections_are_refused_unless_upgrading(pki: Pki) -> None:
    strict = AgentTls(pki.config(pki.issue()))
    async with tls_world(strict, None) as world:
        assert (await world.failure()).text == "rpc error: EOF"
        text = "non-TLS connection attempted with RequireTLS set"
        assert [(line.level, line.message) for line in world.log.lines] == [("warn", text)]
        assert world.log.lines[0].pairs["remote_addr"] == REMOTE
    lenient = AgentTls(pki.config(pki.issue(), rpc_upgrade_mode=True))
    async with tls_world(lenient, None) as world:
        assert await world.call() == b"\x80"
    async with tls_world(lenient, lenient) as world:
        assert await world.call() == b"\x80"


@pytest.mark.parametrize("first", [b"\x01", b"\x06", b"\x05", b"\x02"])
async def test_plain_first_bytes_on_a_tls_server(first: bytes, pki: Pki) -> None:
    tls, log = AgentTls(pki.config(pki.issue())), RecordingLog()
    async with entrance(Door(Server(FakeService(), log=log), tls.rpc_server)) as gate:
        visitor = gate.visit()
        await visitor.send(first)
        assert await visitor.rest() == b""
    assert log.messages == ["non-TLS connection attempted with RequireTLS set"]


async def test_first_bytes_inside_tls(pki: Pki) -> None:
    tls, log = AgentTls(pki.config(pki.issue())), RecordingLog()
    dialling = tls.rpc_client.context_for("global")
    assert dialling is not None
    async with entrance(Door(Server(FakeService(), log=log), tls.rpc_server)) as gate:
        for inner, expected in (
            (b"\x01" + a_request("Status.Ping"), an_answer("Status.Ping")),
            (b"\x05\x81\xa6Method\xa4Nope", b'\x81\xa5Error\xbaUnknown rpc method: "Nope"'),
            (b"\x04", b""),
        ):
            visitor = gate.visit()
            await visitor.send(b"\x04")
            inside = trio.SSLStream(visitor.stream, dialling.context, https_compatible=True)
            await inside.send_all(inner)
            received = b""
            while len(received) < len(expected):
                received += await inside.receive_some()
            assert received == expected
            if inner[0] != 1:
                assert await Visitor(inside, gate.door).rest() == b""
    assert log.messages == [
        "streaming RPC error",
        "TLS connection attempting to establish inner TLS connection",
    ]


async def test_a_stalled_tls_handshake_is_cut_off(pki: Pki, autojump_clock: MockClock) -> None:
    tls, log = AgentTls(pki.config(pki.issue())), RecordingLog()
    async with entrance(Door(Server(FakeService(), log=log), tls.rpc_server)) as gate:
        begin = trio.current_time()
        visitor = gate.visit()
        await visitor.send(b"\x04")
        assert await visitor.rest() == b""
        assert trio.current_time() - begin == pytest.approx(5)
        assert gate.door.handshakes == 0
    assert log.lines[0].pairs["error"] == "i/o timeout"


async def test_what_is_no_tls_is_named(pki: Pki) -> None:
    tls, log = AgentTls(pki.config(pki.issue())), RecordingLog()
    async with entrance(Door(Server(FakeService(), log=log), tls.rpc_server)) as gate:
        visitor = gate.visit()
        await visitor.send(b"\x04GET / HTTP/1.1\r\n\r\n")
        await visitor.rest()
    assert "HTTP" in str(log.lines[0].pairs["error"])


async def test_a_server_that_stalls_in_the_handshake(pki: Pki, autojump_clock: MockClock) -> None:
    tls = AgentTls(pki.config(pki.issue()))
    ours, _theirs = memory_stream_pair()

    async def dial(to: Address) -> trio.abc.Stream:
        return ours

    pool = Pool(tls=tls.rpc_client, dial=dial)
    async with trio.open_nursery() as nursery:
        await nursery.start(pool.run)
        with pytest.raises(RpcFailed) as caught:
            await pool.call(TO, "global", "Status.Ping", b"\x80")
        assert caught.value.text == (
            "rpc error: failed to get conn: tls handshake with 127.0.0.2:4647: i/o timeout"
        )
        nursery.cancel_scope.cancel()


async def test_tls_that_is_switched_off_is_as_if_there_were_none(pki: Pki) -> None:
    tls = AgentTls(pki.config(pki.issue(), rpc=False))
    async with tls_world(tls, tls) as world:
        assert await world.call() == b"\x80"
