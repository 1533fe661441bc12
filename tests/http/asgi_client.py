"""Requests to an ASGI application in this process, exact to the byte and readable as a stream."""

from __future__ import annotations

import gzip
import json
from collections.abc import AsyncIterator, Mapping, MutableMapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote

import trio
from starlette.applications import Starlette

Json = Any  # whatever a JSON text holds
Message = dict[str, Any]


@dataclass
class Response:
    """A whole answer. Header names are in lower case; `body` is decompressed."""

    status: int
    headers: dict[str, str]
    raw: bytes

    @property
    def body(self) -> bytes:
        """The body as a client sees it."""
        if self.headers.get("content-encoding") == "gzip":
            return gzip.decompress(self.raw)
        return self.raw

    @property
    def text(self) -> str:
        return self.body.decode()

    @property
    def json(self) -> Json:
        return json.loads(self.body)


@dataclass
class Stream:
    """An answer under way: its pieces as they are sent."""

    status: int
    headers: dict[str, str]
    pieces: trio.MemoryReceiveChannel[bytes]
    _rest: bytes = field(default=b"")

    async def line(self) -> bytes:
        """The next line that is no heartbeat."""
        while True:
            while b"\n" not in self._rest:
                self._rest += await self.pieces.receive()
            line, _, self._rest = self._rest.partition(b"\n")
            if line:
                return line

    async def event(self) -> dict[str, Any]:
        """The next line as an object."""
        decoded = json.loads(await self.line())
        assert isinstance(decoded, dict)
        return decoded


def _scope(method: str, target: str, headers: Mapping[str, str]) -> Message:
    path, _, query = target.partition("?")
    return {
        "type": "http",
        "asgi": {"version": "3.0"},
        "http_version": "1.1",
        "scheme": "http",
        "method": method,
        "path": unquote(path),
        "raw_path": path.encode(),
        "root_path": "",
        "query_string": query.encode(),
        "headers": [(k.lower().encode(), v.encode()) for k, v in headers.items()],
        "client": ("127.0.0.1", 50_000),
        "server": ("127.0.0.1", 4646),
    }


async def call(
    app: Starlette,
    method: str,
    target: str,
    *,
    headers: Mapping[str, str] | None = None,
    body: bytes = b"",
) -> Response:
    """Make a request and take the whole answer.

    The target goes to the application as it is: nobody cleans the path on the way.
    """
    incoming = [{"type": "http.request", "body": body, "more_body": False}]
    sent: list[Message] = []

    async def receive() -> Message:
        if not incoming:
            await trio.sleep_forever()
        return incoming.pop()

    async def send(message: MutableMapping[str, Json]) -> None:
        sent.append(dict(message))

    await app(_scope(method, target, headers or {}), receive, send)
    start, *rest = sent
    assert not rest[-1].get("more_body")
    found = {name.decode(): value.decode() for name, value in start["headers"]}
    return Response(start["status"], found, b"".join(part.get("body", b"") for part in rest))


@asynccontextmanager
async def stream(
    app: Starlette, target: str, *, headers: Mapping[str, str] | None = None
) -> AsyncIterator[Stream]:
    """Make a GET request whose answer is read piece by piece; leaving disconnects."""
    sender, receiver = trio.open_memory_channel[bytes](100)
    started = trio.Event()
    gone = trio.Event()
    start: Message = {}

    async def receive() -> Message:
        if not start:
            return {"type": "http.request", "body": b"", "more_body": False}
        await gone.wait()
        return {"type": "http.disconnect"}

    async def send(message: MutableMapping[str, Json]) -> None:
        if message["type"] == "http.response.start":
            start.update(message)
            started.set()
        elif message.get("body"):
            await sender.send(message["body"])

    async def run() -> None:
        async with sender:
            await app(_scope("GET", target, headers or {}), receive, send)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(run)
        await started.wait()
        found = {name.decode(): value.decode() for name, value in start["headers"]}
        with receiver:
            yield Stream(start["status"], found, receiver)
            gone.set()
