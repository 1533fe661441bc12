"""Other agents, asked over RPC: `nomad.remote.Remote` made of a pool and the table of methods."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, aclosing, asynccontextmanager
from functools import partial
from typing import Protocol, TypeVar

from swimnomad.names import Address
from swimnomad.nomad.remote import Pieces, StreamFailed
from swimnomad.nomad.requests import AgentMonitor, Request
from swimnomad.rpc import schemas
from swimnomad.rpc.failures import RpcFailed
from swimnomad.rpc.methods import MONITOR, decode_reply, encode_request

Reply = TypeVar("Reply")


class Caller(Protocol):
    """What is needed of a pool of connections."""

    async def call(
        self,
        to: Address,
        region: str,
        method: str,
        arguments: bytes,
        *,
        timeout: float | None = None,
    ) -> bytes:
        """One call; the reply as one object. Raises `RpcFailed`."""
        ...

    def stream(
        self, to: Address, region: str, method: str, request: bytes
    ) -> AbstractAsyncContextManager[AsyncIterator[bytes | None]]:
        """One streaming call; entry and pieces raise `RpcFailed`."""
        ...


class PoolRemote:
    """Requests as calls through a pool."""

    def __init__(self, pool: Caller) -> None:
        self._pool = pool

    async def ask(self, server: Address, region: str, request: Request[Reply]) -> Reply:
        """Ask one server; see `nomad.remote.Remote.ask`.

        There is no deadline: some requests take long on purpose, and a peer that is gone is
        noticed by the pool.

        Raises:
            RpcFailed: No answer, or a refusal.
        """
        name, arguments = encode_request(request)
        body = await self._pool.call(server, region, name, arguments)
        return decode_reply(request, body, server)

    @asynccontextmanager
    async def stream(
        self, server: Address, region: str, request: AgentMonitor
    ) -> AsyncIterator[Pieces]:
        """A streaming call to one server; see `nomad.remote.Remote.stream`.

        Raises:
            StreamFailed: From the entry or the pieces.
        """
        async with stream_log(partial(self._pool.stream, server, region), request) as pieces:
            yield pieces


@asynccontextmanager
async def stream_log(
    open_stream: Callable[[str, bytes], AbstractAsyncContextManager[AsyncIterator[bytes | None]]],
    request: AgentMonitor,
) -> AsyncIterator[Pieces]:
    """The log that a streaming call brings; `open_stream` takes its method and its request.

    Raises:
        StreamFailed: From the entry or the pieces.
    """
    body = schemas.AGENT_MONITOR.encode(request)
    is_open = False
    try:
        async with open_stream(MONITOR, body) as pieces:
            is_open = True
            async with aclosing(_pieces(pieces)) as checked:
                yield checked
    except RpcFailed as error:
        if is_open:
            raise  # from the block: not ours
        raise _as_stream_failure(error, 500) from None


async def _pieces(pieces: AsyncIterator[bytes | None]) -> AsyncGenerator[bytes | None, None]:
    try:
        async for piece in pieces:
            yield piece
    except RpcFailed as error:
        raise _as_stream_failure(error, None) from None


def _as_stream_failure(error: RpcFailed, code: int | None) -> StreamFailed:
    """The failure with its own number if it has one, else with `code`."""
    if error.code is not None:
        code = error.code
    return StreamFailed(str(error), code=code, may_have_happened=error.may_have_happened)
