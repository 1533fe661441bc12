"""What a real server answered to bytes of ours, played against our door.

The methods are played by a service that gives the recorded answers; so this is about connection
types, conversations, frames and closings.
"""

from __future__ import annotations

from typing import Any

import pytest
import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from swimnomad.rpc.failures import BadArguments, RpcFailed, UnknownMethod, unknown_method
from swimnomad.rpc.listener import Door
from swimnomad.rpc.service import Peer, StreamingHandler, StreamWriter
from swimnomad.rpc.serving import Server
from swimnomad.rpc.streaming import StreamFailure, WrapperReader
from swimnomad.rpc.yamux_frames import DATA
from tests.rpc.rpc_support import entrance
from tests.vectors.rpc_vectors import Frame, frames_of, is_from_client, take
from tests.vectors.vector_files import load

Vector = dict[str, Any]

_OUR_PART = "client-ours/"
_NEEDS_TLS = ("tls ", "plain RPC on a server that requires TLS", "multiplex without TLS")
_CLOSED = {"closed by the server": True, "reset": True, "left open by the server": False}


def recorded() -> list[Vector]:
    """The exchanges about connections, without Raft and TLS servers."""
    return [
        vector
        for vector in load("nomad-rpc")
        if vector["name"].startswith(_OUR_PART)
        and not vector["name"].removeprefix(_OUR_PART).startswith(("raft ", *_NEEDS_TLS))
    ]


def parts(vector: Vector) -> list[tuple[bool, bytes]]:
    """Who sent what, in order."""
    return [
        (is_from_client(message), bytes.fromhex(message["hex"])) for message in vector["messages"]
    ]


def is_multiplexed(vector: Vector) -> bool:
    """Whether the recording is of a session."""
    first = next((data for ours, data in parts(vector) if ours), b"")
    return first[:1] in (b"\x03", b"\x06")


class Player:
    """Gives the answers of one recording, whatever is asked."""

    def __init__(self, vector: Vector) -> None:
        self._said = b"".join(data for ours, data in parts(vector) if not ours)
        if is_multiplexed(vector):
            frames = frames_of(self._said)
            self._said = b"".join(frame.payload for frame in frames if frame.header.kind == DATA)

    async def answer(self, method: str, arguments: bytes, peer: Peer) -> bytes:
        position = 0
        while position < len(self._said):
            header, position = take(self._said, position)
            begin = position
            _, position = take(self._said, position)
            assert isinstance(header, dict)
            if header[b"ServiceMethod"] != method.encode():
                continue
            text = header[b"Error"].decode()
            if text.startswith("rpc: "):
                raise UnknownMethod(text)
            if text.startswith("msgpack decode error"):
                raise BadArguments("recorded")
            if text:
                raise RpcFailed(text)
            return self._said[begin:position]
        raise unknown_method(method, {"Status"})

    def streaming(self, method: str) -> StreamingHandler | None:
        return self._stream if method == "Agent.Monitor" else None

    async def _stream(self, request: bytes, writer: StreamWriter, peer: Peer) -> None:
        said = self._said.removeprefix(b"\x81\xa5Error\xa0")
        for wrapper in WrapperReader().receive(said):
            if isinstance(wrapper, StreamFailure):
                raise RpcFailed(wrapper.message, code=wrapper.code)
            await writer.send(wrapper.data)
        await trio.sleep_forever()


def streams_of(data: bytes) -> dict[int, tuple[list[Frame], bytes]]:
    """By stream: its frames without data, and all its data."""
    found: dict[int, tuple[list[Frame], bytes]] = {}
    for frame in frames_of(data):
        others, payload = found.setdefault(frame.header.stream, ([], b""))
        if frame.header.kind == DATA:
            payload += frame.payload
        else:
            others.append(frame)
        found[frame.header.stream] = (others, payload)
    return found


@pytest.mark.parametrize(
    "vector", recorded(), ids=lambda vector: vector["name"].removeprefix(_OUR_PART)
)
async def test_recorded_exchange(vector: Vector, autojump_clock: MockClock) -> None:
    async with entrance(Door(Server(Player(vector)))) as gate:
        visitor = gate.visit()
        received = bytearray()

        async def listen() -> None:
            try:
                while piece := await visitor.stream.receive_some():
                    received.extend(piece)
            except trio.BrokenResourceError:
                pass

        expected = b"".join(data for ours, data in parts(vector) if not ours)
        has_waited = vector["name"].endswith(("keep-alive", "no type byte"))
        async with trio.open_nursery() as nursery:
            nursery.start_soon(listen)
            for ours, data in parts(vector):
                if ours:
                    await visitor.send(data)
                await wait_all_tasks_blocked()
            await trio.sleep(31 if has_waited else 2)
            is_closed = gate.door.open_count == 0
            nursery.cancel_scope.cancel()
    if is_multiplexed(vector):
        got, wanted = streams_of(bytes(received)), streams_of(expected)
        if is_closed:
            # Whether the last frames get out before the end is a matter of luck over there.
            for found in (got, wanted):
                found.pop(0, None)
                for number in [n for n in found if not found[n][1]]:
                    del found[number]
        assert got == wanted
    elif b"msgpack decode error" in expected:
        # Positions and details are the decoder's own.
        begin = expected.index(b"msgpack decode error")
        assert received[3 : begin - 3] == expected[3 : begin - 3]
    else:
        assert received == expected
    if not vector["name"].endswith("keep-alive"):
        assert is_closed is _CLOSED[vector["connection_after"]]


def test_the_recordings_are_the_ones_meant() -> None:
    names = {vector["name"].removeprefix(_OUR_PART) for vector in recorded()}
    assert {"yamux window exceeded", "multiplex v2 two streams", "pipelined"} <= names
    assert len(names) > 80
