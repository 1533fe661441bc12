"""Outgoing calls: one session for each server, made when first needed, shared by all callers.

A session is dialled once however many callers wait for it, kept while calls come, and closed after
two minutes without any. If it opens no stream any more, the caller tries once more on a fresh one.
Nothing else is tried twice here: what may have reached the other side is the caller's to judge.

Source: rpc.md §12.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

import trio

from swimnomad.names import Address
from swimnomad.rpc.caller import DEADLINE_REACHED, CallLine, SessionCaller, StreamingCall
from swimnomad.rpc.dialling import Dial, DialFailed, Dialler
from swimnomad.rpc.failures import (
    NO_LEAD_THREAD,
    RpcFailed,
    SessionClosed,
    no_connection,
    no_stream,
)
from swimnomad.rpc.limits import RpcLimits
from swimnomad.rpc.mux import MuxSession
from swimnomad.rpc.service import Peer, RpcLog, RpcService, no_log
from swimnomad.rpc.serving import MULTIPLEX_V2, Server
from swimnomad.rpc.yamux import Role
from swimnomad.tls.contexts import TlsClient


class _Pooled:
    """A session in the pool."""

    def __init__(self, session: MuxSession, caller: SessionCaller) -> None:
        self.session = session
        self.caller = caller
        self.users = 0
        self.idle_since = trio.current_time()

    @property
    def is_idle(self) -> bool:
        return not self.users and self.caller.busy_count <= 0

    def __enter__(self) -> _Pooled:
        self.users += 1
        return self

    def __exit__(self, *details: object) -> None:
        self.users -= 1
        self.idle_since = trio.current_time()


class _Dialling:
    """A connection in the making, for everybody who wants it."""

    def __init__(self) -> None:
        self.done = trio.Event()
        self.pooled: _Pooled | None = None
        self.error = "pool is closed"


_Key = tuple[Address, str]


class Pool:
    """Sessions with servers.

    Args:
        limits: See `RpcLimits`.
        tls: How to speak TLS; None for plain connections.
        source_host: Address to call from, if the system's choice will not do.
        service: Serves the streams that servers open on our sessions; without it they are reset.
        log: Where log lines go.
        dial: Connects instead of TCP, in tests.
    """

    def __init__(
        self,
        limits: RpcLimits | None = None,
        tls: TlsClient | None = None,
        *,
        source_host: str | None = None,
        service: RpcService | None = None,
        log: RpcLog = no_log,
        dial: Dial | None = None,
    ) -> None:
        self._limits = RpcLimits() if limits is None else limits
        self._tls = tls
        self._log = log
        self._server: Server | None = None
        if service is not None:
            self.offer(service)
        self._dialler = Dialler(tls, source_host, self._limits.dial_timeout, dial)
        self._sequences = itertools.count(1)
        self._sessions: dict[_Key, _Pooled] = {}
        self._dials: dict[_Key, _Dialling] = {}
        self._nursery: trio.Nursery | None = None

    def offer(self, service: RpcService) -> None:
        """Serve the streams that servers open on our sessions, those made from now on."""
        self._server = Server(service, self._limits, self._log)

    @property
    def session_count(self) -> int:
        """Sessions that new calls would use."""
        return len(self._sessions)

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Hold the sessions; ends by cancellation, and every session and call with it."""
        assert self._nursery is None, "a pool runs once"
        try:
            async with trio.open_nursery() as self._nursery:
                task_status.started()
                await trio.sleep_forever()
        finally:
            self._nursery = None

    async def call(
        self,
        to: Address,
        region: str,
        method: str,
        arguments: bytes,
        *,
        timeout: float | None = None,
    ) -> bytes:
        """Call a method of a server; the reply, as the bytes of one object.

        Args:
            to: The server.
            region: Its region: with TLS, its certificate may have to name it.
            method: `Service.Method`.
            arguments: One object.
            timeout: Seconds for all of it, connecting included; None for no limit.

        Raises:
            RpcFailed: The call failed; the texts are those of §12.2.
        """
        line: CallLine | None = None
        with trio.move_on_after(math.inf if timeout is None else timeout):
            for attempt in (1, 2):
                with await self._session(to, region) as pooled:
                    try:
                        line = await pooled.caller.line()
                    except SessionClosed as closed:
                        self._retire(pooled)
                        if attempt == 2:
                            raise RpcFailed(no_stream(closed.text)) from None
                    else:
                        return await pooled.caller.call(line, method, arguments)
        happened = line is not None and line.may_have_happened
        raise RpcFailed(f"{DEADLINE_REACHED}: no answer from {to}", may_have_happened=happened)

    @asynccontextmanager
    async def stream(
        self,
        to: Address,
        region: str,
        method: str,
        request: bytes,
        *,
        timeout: float | None = None,
    ) -> AsyncIterator[StreamingCall]:
        """Make a streaming call to a server; leaving the context ends it.

        Args:
            to: The server.
            region: Its region, as for `call`.
            method: A streaming method.
            request: One object.
            timeout: Seconds until the server must have accepted; the stream itself has no limit.

        Raises:
            RpcFailed: The server cannot be reached or does not offer the method. Later failures
                come out of the iteration.
        """
        deadline = trio.current_time() + (math.inf if timeout is None else timeout)
        async with AsyncExitStack() as held:
            for attempt in (1, 2):
                pooled = held.enter_context(await self._session(to, region, deadline))
                opening = pooled.caller.stream(method, request, deadline=deadline)
                try:
                    call = await held.enter_async_context(opening)
                    break
                except SessionClosed as closed:
                    self._retire(pooled)
                    if attempt == 2:
                        raise RpcFailed(no_stream(closed.text)) from None
            yield call

    # --- sessions ---------------------------------------------------------------------------------

    async def _session(self, to: Address, region: str, deadline: float = math.inf) -> _Pooled:
        """The session for a server, dialled if there is none.

        Raises:
            RpcFailed: There is no connection.
        """
        key = (to, region if self._tls is not None else "")
        pooled = self._sessions.get(key)
        if pooled is not None:
            if pooled.session.is_open:
                return pooled
            self._retire(pooled)
        dialling = self._dials.get(key)
        leads = dialling is None
        if dialling is None:
            if self._nursery is None:
                raise RpcFailed(no_connection("pool is closed"))
            dialling = self._dials[key] = _Dialling()
            self._nursery.start_soon(self._connect, key, dialling)
        with trio.move_on_at(deadline):
            await dialling.done.wait()
        if dialling.pooled is not None:
            return dialling.pooled
        if not dialling.done.is_set():
            raise RpcFailed(f"{DEADLINE_REACHED}: no answer from {to}")
        raise RpcFailed(no_connection(dialling.error if leads else NO_LEAD_THREAD))

    def _retire(self, pooled: _Pooled) -> None:
        """Use a session no more for new calls; those under way go on."""
        for key, other in list(self._sessions.items()):
            if other is pooled:
                del self._sessions[key]

    async def _connect(self, key: _Key, dialling: _Dialling) -> None:
        """Dial, then keep the session until it ends."""
        to, region = key
        try:
            connection = await self._dialler.open(to, region, MULTIPLEX_V2)
            session = MuxSession(connection, Role.DIALLER, self._limits)
            caller = SessionCaller(session, self._sequences, self._limits)
            dialling.pooled = self._sessions[key] = _Pooled(session, caller)
        except DialFailed as failed:
            dialling.error = str(failed)
        finally:
            del self._dials[key]
            dialling.done.set()
        if dialling.pooled is not None:
            await self._keep(dialling.pooled, to)

    async def _keep(self, pooled: _Pooled, to: Address) -> None:
        session = pooled.session
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(session.run)
                nursery.start_soon(self._serve_called_back, session, to)
                while not session.ended.is_set():
                    with trio.move_on_at(pooled.idle_since + self._limits.idle_timeout):
                        await session.ended.wait()
                    if not pooled.is_idle:
                        pooled.idle_since = trio.current_time()
                    elif trio.current_time() >= pooled.idle_since + self._limits.idle_timeout:
                        session.end("idle")
        finally:
            session.end()
            self._retire(pooled)

    async def _serve_called_back(self, session: MuxSession, to: Address) -> None:
        if self._server is not None:
            await self._server.serve_called_back(session, Peer(to, session))
            return
        try:
            while True:
                (await session.accept()).reset()
        except SessionClosed:
            pass
