"""The connections that peers opened, as ways to call them back.

Source: rpc.md §11; nomad client_rpc.go, NodeRpc, NodeStreamingRpc.
"""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from typing import Final, TypeVar

import trio

from swimnomad.names import Address
from swimnomad.nomad.node_links import NodeLink
from swimnomad.nomad.remote import Pieces
from swimnomad.nomad.requests import AgentMonitor, Request
from swimnomad.rpc.caller import SessionCaller
from swimnomad.rpc.failures import RpcFailed, SessionClosed
from swimnomad.rpc.limits import RpcLimits
from swimnomad.rpc.methods import decode_reply, encode_request
from swimnomad.rpc.mux import MuxSession
from swimnomad.rpc.remote import stream_log
from swimnomad.rpc.service import Peer

Reply = TypeVar("Reply")

_RELAYED: Final = "rpc error: "


class SessionLink:
    """One session that a peer opened (`nomad.node_links.NodeLink`).

    A stream is opened for every call and closed after it.

    Attributes:
        established: When the peer first asked something over it (seconds since the epoch).
    """

    def __init__(
        self,
        session: MuxSession,
        peer: Address,
        established: float,
        sequences: Iterator[int],
        limits: RpcLimits,
    ) -> None:
        self.established = established
        self._session = session
        self._peer = peer
        self._caller = SessionCaller(session, sequences, limits, idle_streams=0)

    @property
    def is_open(self) -> bool:
        """Whether the session has not ended."""
        return not self._session.ended.is_set()

    @property
    def is_callable(self) -> bool:
        """Whether streams can be opened."""
        return self._session.is_open

    async def ask(self, request: Request[Reply]) -> Reply:
        """Ask the peer. Its errors come back as it said them, without a prefix.

        Raises:
            RpcFailed: It refused, or is gone.
        """
        name, arguments = encode_request(request)
        try:
            line = await self._caller.line()
        except SessionClosed as closed:
            raise RpcFailed(f"session open: {closed.text}") from None
        try:
            body = await self._caller.call(line, name, arguments)
        except RpcFailed as failed:
            text = failed.text.removeprefix(_RELAYED)
            raise RpcFailed(text, may_have_happened=failed.may_have_happened) from None
        return decode_reply(request, body, self._peer)

    @asynccontextmanager
    async def stream(self, request: AgentMonitor) -> AsyncIterator[Pieces]:
        """The log of the peer; see `nomad.node_links.NodeLink.stream`.

        Raises:
            StreamFailed: From the entry or the pieces.
        """
        async with stream_log(self._caller.stream, request) as pieces:
            yield pieces


class PeerLinks:
    """The links of all sessions that peers have with this agent.

    Args:
        forget: Told of every link whose session has ended.
        limits: See `RpcLimits`.
        wall_time: Seconds since the epoch.
    """

    def __init__(
        self,
        forget: Callable[[NodeLink], None],
        limits: RpcLimits,
        wall_time: Callable[[], float],
    ) -> None:
        self._forget = forget
        self._limits = limits
        self._wall_time = wall_time
        self._sequences = itertools.count(1)
        self._links: dict[MuxSession, SessionLink] = {}
        self._nursery: trio.Nursery | None = None

    def __len__(self) -> int:
        """Sessions that have a link."""
        return len(self._links)

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Watch for sessions that end, until cancelled."""
        try:
            async with trio.open_nursery() as self._nursery:
                task_status.started()
                await trio.sleep_forever()
        finally:
            self._nursery = None

    def link_of(self, peer: Peer) -> SessionLink | None:
        """The link to a peer; None over a connection that carries one stream only.

        A real server goes down when it has to call back over such a one; here the node counts as
        not connected.
        """
        session = peer.session
        if session is None or session.ended.is_set() or self._nursery is None:
            return None
        link = self._links.get(session)
        if link is None:
            now = self._wall_time()
            link = SessionLink(session, peer.address, now, self._sequences, self._limits)
            self._links[session] = link
            self._nursery.start_soon(self._watch, session, link)
        return link

    async def _watch(self, session: MuxSession, link: SessionLink) -> None:
        await session.ended.wait()
        del self._links[session]
        self._forget(link)
