"""Following an agent's events: what is read, and what happens when the stream breaks."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from functools import partial

import trio

from swimnomad.cli.story.views import Expectation, Views
from swimnomad.cli.story.watcher import Watcher

DEADLINE = 10.0


class ScriptedAgent:
    """Answers member lists in turn (the last one for ever), and each stream with its lines."""

    def __init__(self, lists: Sequence[dict[str, str]], streams: Sequence[bytes]) -> None:
        self._lists = list(lists)
        self._streams = list(streams)

    async def answer(self, peer: trio.SocketStream) -> None:
        request = b""
        while b"\r\n\r\n" not in request:
            received = await peer.receive_some()
            if not received:
                return
            request += received
        if b" /v1/swimnomad/events " in request:
            await self._stream(peer)
        else:
            await self._members(peer)
        await peer.aclose()

    async def _members(self, peer: trio.SocketStream) -> None:
        listed = self._lists.pop(0) if len(self._lists) > 1 else self._lists[0]
        members = [
            {"Name": name, "Addr": "", "Port": 0, "Status": status, "ProtocolCur": 2}
            for name, status in listed.items()
        ]
        body = json.dumps({"Members": members}).encode()
        head = f"HTTP/1.1 200 OK\r\nContent-Length: {len(body)}\r\nConnection: close\r\n\r\n"
        await peer.send_all(head.encode() + body)

    async def _stream(self, peer: trio.SocketStream) -> None:
        await peer.send_all(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
        data = b"\n" + (self._streams.pop(0) if self._streams else b"")
        await peer.send_all(b"%x\r\n%s\r\n" % (len(data), data))
        if not self._streams:
            await trio.sleep_forever()


@asynccontextmanager
async def followed(agent: ScriptedAgent) -> AsyncIterator[Views]:
    """The views of a watcher that follows `agent` as `a1`."""
    views = Views()
    async with trio.open_nursery() as nursery:
        serve = partial(trio.serve_tcp, agent.answer, 0, host="127.0.77.5")
        [listener] = await nursery.start(serve)
        port = listener.socket.getsockname()[1]
        nursery.start_soon(Watcher("a1", f"http://127.0.77.5:{port}", views).follow)
        with trio.fail_after(DEADLINE):
            yield views
        nursery.cancel_scope.cancel()


def line(event: str, node: str, time: float) -> bytes:
    return json.dumps({"time": time, "event": event, "node": node}).encode() + b"\n"


async def seen(views: Views, member: str, *path: str) -> None:
    await views.wait_for([Expectation("a1", member, path)], 0)


async def test_events_are_noted_with_the_agents_own_time() -> None:
    events = line("node-suspected", "a3", 7.5) + b"\n" + line("member-failed", "a3", 9.25)
    async with followed(ScriptedAgent([{"a1": "alive", "a3": "alive"}], [events])) as views:
        await seen(views, "a3", "alive", "suspect", "failed")
    times = {s.after: s.time for s in views.sightings if s.member == "a3"}
    assert (times["suspect"], times["failed"]) == (7.5, 9.25)


async def test_what_was_so_before_the_stream_began_comes_from_the_member_list() -> None:
    listed = {"a1": "alive", "a2": "failed", "a3": "left", "a4": "leaving"}
    async with followed(ScriptedAgent([listed], [b""])) as views:
        await seen(views, "a3", "left")
    assert [views.status("a1", name) for name in ("a1", "a2", "a4")] == [
        "alive",
        "failed",
        "unknown",
    ]


async def test_a_suspicion_survives_a_member_list_that_knows_none() -> None:
    first = line("node-suspected", "a3", 1.0)
    second = line("member-failed", "a3", 2.0)
    async with followed(ScriptedAgent([{"a3": "alive"}], [first, second])) as views:
        await seen(views, "a3", "alive", "suspect", "failed")
    assert [s.after for s in views.sightings] == ["alive", "suspect", "failed"]


async def test_a_stream_that_breaks_inside_a_line_is_followed_anew() -> None:
    broken = line("node-suspected", "a3", 1.0) + b'{"time": 2.0, "ev'
    async with followed(ScriptedAgent([{"a3": "alive"}, {"a3": "failed"}], [broken, b""])) as views:
        await seen(views, "a3", "alive", "suspect", "failed")


async def test_events_that_the_agent_lost_are_made_up_from_its_list() -> None:
    lost = b'{"time": 3.0, "event": "events-lost", "count": 4}\n'
    async with followed(ScriptedAgent([{"a3": "alive"}, {"a3": "left"}], [lost])) as views:
        await seen(views, "a3", "alive", "left")


async def test_an_agent_that_is_not_there_yet_is_tried_again() -> None:
    views = Views()
    async with trio.open_nursery() as nursery:
        nursery.start_soon(Watcher("a1", "http://127.0.77.6:4999", views).follow)
        await trio.testing.wait_all_tasks_blocked()
        agent = ScriptedAgent([{"a1": "alive"}], [b""])
        await nursery.start(partial(trio.serve_tcp, agent.answer, 4999, host="127.0.77.6"))
        with trio.fail_after(DEADLINE):
            await seen(views, "a1", "alive")
        nursery.cancel_scope.cancel()
