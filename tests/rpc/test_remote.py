"""Requests as calls through a pool."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from swimnomad.names import Address
from swimnomad.nomad.remote import StreamFailed
from swimnomad.nomad.requests import AgentMonitor, RegionList, StatusLeader
from swimnomad.rpc.failures import RpcFailed
from swimnomad.rpc.pool import Pool
from swimnomad.rpc.remote import Caller, PoolRemote

THERE = Address("127.0.0.9", 4647)


class FakePool:
    """Answers every call alike."""

    def __init__(self, body: bytes = b"\xc0", error: RpcFailed | None = None) -> None:
        self.body, self.error = body, error
        self.pieces: list[bytes | RpcFailed | None] = []
        self.asked: list[tuple[Address, str, str, bytes]] = []

    async def call(
        self,
        to: Address,
        region: str,
        method: str,
        arguments: bytes,
        *,
        timeout: float | None = None,
    ) -> bytes:
        self.asked.append((to, region, method, arguments))
        if self.error is not None:
            raise self.error
        return self.body

    @asynccontextmanager
    async def stream(
        self, to: Address, region: str, method: str, request: bytes
    ) -> AsyncIterator[AsyncIterator[bytes | None]]:
        self.asked.append((to, region, method, request))
        if self.error is not None:
            raise self.error
        yield self._pieces()

    async def _pieces(self) -> AsyncIterator[bytes | None]:
        for piece in self.pieces:
            if isinstance(piece, RpcFailed):
                raise piece
            yield piece


def test_the_pool_is_one() -> None:
    caller: Caller = Pool()
    assert PoolRemote(caller)


async def test_a_request_becomes_a_call() -> None:
    pool = FakePool(b"\x92\xa2eu\xa6global")
    assert await PoolRemote(pool).ask(THERE, "eu", RegionList(region="eu")) == ("eu", "global")
    ((to, region, method, arguments),) = pool.asked
    assert (to, region, method) == (THERE, "eu", "Region.List")
    assert b"\xa6Region\xa2eu" in arguments


async def test_a_refusal_is_passed_on() -> None:
    error = RpcFailed("rpc error: No cluster leader")
    with pytest.raises(RpcFailed) as caught:
        await PoolRemote(FakePool(error=error)).ask(THERE, "eu", StatusLeader())
    assert caught.value is error


async def test_a_reply_of_another_kind_is_a_failure_of_the_call() -> None:
    with pytest.raises(RpcFailed) as caught:
        await PoolRemote(FakePool(b"\x07")).ask(THERE, "eu", StatusLeader())
    assert str(caught.value) == (
        "rpc error: 127.0.0.9:4647 answered Status.Leader with nonsense: expected text"
    )
    assert caught.value.may_have_happened


async def test_a_stream_brings_pieces() -> None:
    pool = FakePool()
    pool.pieces = [b"{}", None, b"x"]
    async with PoolRemote(pool).stream(THERE, "eu", AgentMonitor(level="debug")) as pieces:
        assert [piece async for piece in pieces] == pool.pieces
    ((_, _, method, request),) = pool.asked
    assert method == "Agent.Monitor"
    assert b"\xa8LogLevel\xa5debug" in request


async def test_a_stream_that_cannot_be_had_has_a_number() -> None:
    for error, code in (
        (RpcFailed("rpc error: failed to get conn: x"), 500),
        (RpcFailed("RPC Error:: 404,No path to node"), 404),
    ):
        with pytest.raises(StreamFailed) as caught:
            async with PoolRemote(FakePool(error=error)).stream(THERE, "eu", AgentMonitor()):
                raise AssertionError
        assert (caught.value.code, str(caught.value)) == (code, error.text)


async def test_an_error_in_the_stream_keeps_what_number_it_has() -> None:
    for error in (RpcFailed("ACL token not found"), RpcFailed("Permission denied", code=403)):
        pool = FakePool()
        pool.pieces = [b"{}", error]
        async with PoolRemote(pool).stream(THERE, "eu", AgentMonitor()) as pieces:
            assert await anext(pieces) == b"{}"
            with pytest.raises(StreamFailed) as caught:
                await anext(pieces)
        assert (caught.value.code, str(caught.value)) == (error.code, error.text)


async def test_an_error_of_the_block_is_not_taken_for_one_of_the_stream() -> None:
    error = RpcFailed("the reader is gone")
    with pytest.raises(RpcFailed) as caught:
        async with PoolRemote(FakePool()).stream(THERE, "eu", AgentMonitor()):
            raise error
    assert caught.value is error
