"""Peers called back over the sessions that they opened."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import msgspec
import pytest
import trio
import trio.testing

from swimnomad.errors import OperationError
from swimnomad.nomad.client_requests import ClientRequests
from swimnomad.nomad.config import AgentConfig
from swimnomad.nomad.node_links import NodeLink, NodeLinks
from swimnomad.nomad.remote import StreamFailed
from swimnomad.nomad.requests import AgentHost, AgentMonitor, AgentProfile, StatusPing
from swimnomad.rpc.limits import RpcLimits
from swimnomad.rpc.links import PeerLinks
from swimnomad.rpc.methods import OF_CLIENTS, AgentMethods
from swimnomad.rpc.service import Peer, RpcService
from swimnomad.rpc.serving import Server
from tests.agent_world import COMMAND_LINE, AgentWorld
from tests.rpc.rpc_support import LOCAL, REMOTE, FakeService, Sessions, session_pair

NODE = "2bb5f1a4-1f9a-4bd1-9d2c-8a3c6ad3f0f1"


@dataclass
class World:
    """A server's links, and one session that a client has with the server."""

    sessions: Sessions
    links: PeerLinks
    forgotten: list[NodeLink] = field(default_factory=list)

    @property
    def peer(self) -> Peer:
        """The client as the server sees it."""
        return Peer(REMOTE, self.sessions.acceptor)

    @property
    def link(self) -> NodeLink:
        """The way to the client."""
        link = self.links.link_of(self.peer)
        assert link is not None
        return link


def client_methods(*, debug: bool = True) -> AgentMethods:
    """A client node that can be called."""
    world = AgentWorld()
    config = AgentConfig(name="c1", enable_debug=debug)
    config = msgspec.structs.replace(
        config, client=msgspec.structs.replace(config.client, enabled=True)
    )
    services = world.start(config).services
    return AgentMethods(ClientRequests(config, NODE, services), methods=OF_CLIENTS)


@asynccontextmanager
async def world(service: RpcService | None = None) -> AsyncIterator[World]:
    forgotten: list[NodeLink] = []
    links = PeerLinks(forgotten.append, RpcLimits(), lambda: 77.0)
    server = Server(service or client_methods())
    with trio.fail_after(20):
        async with trio.open_nursery() as nursery:
            await nursery.start(links.run)
            async with session_pair() as sessions:
                dialler = sessions.dialler
                nursery.start_soon(server.serve_called_back, dialler, Peer(LOCAL, dialler))
                yield World(sessions, links, forgotten)
            nursery.cancel_scope.cancel()


async def read(link: NodeLink, request: AgentMonitor) -> list[bytes | None]:
    async with link.stream(request) as pieces:
        return [piece async for piece in pieces]


async def test_a_client_answers_over_its_own_connection() -> None:
    async with world() as one:
        assert one.links.link_of(one.peer) is one.link
        assert (one.link.established, one.link.is_open, one.link.is_callable) == (77.0, True, True)
        host = await one.link.ask(AgentHost(node_id=NODE))
        assert (host.agent_id, host.data.hosts) == (NODE, "127.0.0.1 localhost\n")
        profile = await one.link.ask(AgentProfile(node_id=NODE, kind="cmdline"))
        assert profile.payload == "\0".join(COMMAND_LINE).encode()
        await trio.testing.wait_all_tasks_blocked()
        assert one.sessions.acceptor.stream_count == 0  # no stream is kept


async def test_errors_come_as_the_client_said_them() -> None:
    async with world(client_methods(debug=False)) as one:
        for request in (AgentHost(), AgentProfile(kind="cmdline")):
            with pytest.raises(OperationError, match=r"^Permission denied$"):
                await one.link.ask(request)
        with pytest.raises(OperationError, match=r"^rpc: can't find service Status\.Ping$"):
            await one.link.ask(StatusPing())
        with pytest.raises(StreamFailed, match=r"^Unknown log level$") as caught:
            await read(one.link, AgentMonitor(level="loud"))
        assert caught.value.code == 400


async def test_the_log_of_a_client_is_streamed() -> None:
    async with world(FakeService()) as one:
        got = await read(one.link, AgentMonitor(node_id=NODE))
        assert got[:2] == [b"{}", None]


async def test_an_answer_that_is_none_is_told() -> None:
    class Nonsense(FakeService):
        async def answer(self, method: str, arguments: bytes, peer: Peer) -> bytes:
            return b"\x01"

    async with world(Nonsense()) as one:
        with pytest.raises(OperationError, match=r"answered Agent\.Host with nonsense") as caught:
            await one.link.ask(AgentHost())
        assert caught.value.may_have_happened


async def test_a_session_that_ends_is_forgotten() -> None:
    async with world() as one:
        link = one.link
        nodes = NodeLinks()
        nodes.note(NODE, link)
        assert nodes.newest(NODE) is link
        one.sessions.dialler.end()
        await one.sessions.acceptor.ended.wait()
        with pytest.raises(OperationError, match=r"^session open: "):
            await link.ask(AgentHost())
        await trio.testing.wait_all_tasks_blocked()
        assert (one.forgotten, len(one.links)) == ([link], 0)
        assert not link.is_open
        assert one.links.link_of(one.peer) is None
        nodes.forget(link)
        nodes.note(NODE, link)  # its registration took longer than its connection
        assert nodes.newest(NODE) is None


async def test_a_connection_with_one_stream_is_no_link() -> None:
    async with world() as one:
        assert one.links.link_of(Peer(REMOTE)) is None
