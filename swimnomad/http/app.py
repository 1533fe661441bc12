"""The HTTP API of one agent as an ASGI application.

Every request passes the same door: the path is cleaned, the method checked, parameters checked
where the endpoint does so, the handler asked, its value encoded, compressed if welcome, and sent
with the headers that belong on every answer.

Source: agent-http.md §1.
"""

from __future__ import annotations

import logging
from functools import partial
from typing import TYPE_CHECKING

import trio
from starlette.applications import Starlette
from starlette.routing import Route

from swimnomad.errors import SwimnomadError
from swimnomad.http.calls import JSON, Answer, Call, Query, failure_answer, text_answer
from swimnomad.http.dialect import Gzip, accepts_gzip, encode_json, gzip
from swimnomad.http.paths import clean_path, quoted, redirect
from swimnomad.http.routes import ENDPOINTS, WRITE, Endpoint
from swimnomad.http.streams import CONTENT_TYPE, EventStream
from swimnomad.nomad.durations import duration_text

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from starlette.types import Receive, Scope, Send

    from swimnomad.nomad.agent import Agent

logger = logging.getLogger("swimnomad.http")

BODY_BYTES_MAX = 1024 * 1024
"""Largest request body; only that of a fault matters."""


def create_app(agent: Agent) -> Starlette:
    """The application that serves one agent's HTTP API."""
    routes = [Route("/", _Root())]
    routes += [Route(endpoint.path, _Door(agent, endpoint)) for endpoint in ENDPOINTS]
    app = Starlette(routes=routes)
    app.router.redirect_slashes = False
    app.router.default = _elsewhere
    return app


async def _elsewhere(scope: Scope, receive: Receive, send: Send) -> None:
    """A path that is not in the table: to its cleaned form, or not found."""
    if scope["type"] != "http":  # a WebSocket: refuse it before it opens
        await send({"type": "websocket.close", "code": 1000})
        return
    path = clean_path(scope["path"])
    answer = Answer(404)
    if path != scope["path"]:
        answer = redirect(301, quoted(path, scope["query_string"]), scope["method"])
    await _send(scope, send, answer, {})


class _Root:
    """`/`: to the page for people."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await _send(scope, send, redirect(307, "/ui/", scope["method"]), {})


class _Door:
    """One endpoint as an ASGI application."""

    def __init__(self, agent: Agent, endpoint: Endpoint) -> None:
        self._agent = agent
        self._endpoint = endpoint
        self._headers = agent.config.http_api_response_headers

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        started = trio.current_time()
        query = Query(scope["query_string"])
        try:
            outcome = await self._outcome(scope, receive, query)
        except SwimnomadError as error:
            outcome = failure_answer(error)
            _log_failure(scope, outcome, str(error))
        except Exception as error:
            # Ours, but one request must not take the agent down with it.
            logger.exception("request raised: method=%s path=%s", scope["method"], scope["path"])
            outcome = failure_answer(error)
        if isinstance(outcome, EventStream):
            await _send_stream(scope, receive, send, outcome, self._headers)
        else:
            await _send(scope, send, outcome, self._headers)
        if logger.isEnabledFor(logging.DEBUG):
            took = duration_text(trio.current_time() - started)
            method, path = scope["method"], scope["path"]
            logger.debug("request complete: method=%s path=%s duration=%s", method, path, took)

    async def _outcome(self, scope: Scope, receive: Receive, query: Query) -> Answer | EventStream:
        method = scope["method"]
        if method not in self._endpoint.methods:
            return text_answer(405, "Invalid method")
        if self._endpoint.checks_blocking:
            query.check_blocking()
        name = scope["path_params"].get("name", "")
        # Only faults are made from a body; elsewhere it is ignored, as Nomad does. It is read all
        # the same: a connection with half a request left on it cannot be kept.
        body = await _read_body(receive) if method in WRITE else b""
        if body is None:
            return text_answer(413, f"the body must not exceed {BODY_BYTES_MAX} bytes")
        call = Call(method, query, body, name, _token(scope))
        if self._endpoint.checks_blocking and query.first("index").strip("0"):
            value = await _unless_gone(receive, partial(self._endpoint.handler, self._agent, call))
        else:
            value = await self._endpoint.handler(self._agent, call)
        if isinstance(value, Answer | EventStream):
            return value
        return Answer(200, encode_json(value, pretty=query.pretty), JSON)


async def _unless_gone(receive: Receive, ask: Callable[[], Awaitable[object]]) -> object:
    """What is asked for, which may take minutes; an empty answer if the caller goes away first."""
    value: object = Answer()
    failure: Exception | None = None

    async def watch_caller() -> None:
        while (await receive())["type"] != "http.disconnect":
            pass
        nursery.cancel_scope.cancel()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(watch_caller)
        try:
            value = await ask()
        except Exception as error:  # to be raised outside of the nursery, which would wrap it
            failure = error
        nursery.cancel_scope.cancel()
    if failure is not None:
        raise failure
    return value


def _log_failure(scope: Scope, answer: Answer, text: str) -> None:
    logger.log(
        logging.ERROR if answer.status >= 500 else logging.DEBUG,
        "request failed: method=%s path=%s error=%s code=%d",
        scope["method"],
        scope["path"],
        encode_json(text).decode(),
        answer.status,
    )


async def _read_body(receive: Receive) -> bytes | None:
    """The whole body; None if it is too large."""
    body = bytearray()
    while True:
        message = await receive()
        body += message.get("body", b"")
        if len(body) > BODY_BYTES_MAX:
            return None
        if not message.get("more_body", False):
            return bytes(body)


def _token(scope: Scope) -> str:
    for name, value in scope["headers"]:
        if name == b"x-nomad-token":
            return str(value, "utf-8", "surrogateescape")
    return ""


def _accepts_gzip(scope: Scope) -> bool:
    values = [value for name, value in scope["headers"] if name == b"accept-encoding"]
    return bool(values) and accepts_gzip(b",".join(values).decode("latin-1"))


def _headers(answer: Answer, extra: Mapping[str, str]) -> list[tuple[bytes, bytes]]:
    headers = {"vary": "Accept-Encoding"}
    headers |= {name.lower(): value for name, value in extra.items()}
    headers |= answer.headers
    if answer.content_type:
        headers["content-type"] = answer.content_type
    return [(name.encode("latin-1"), value.encode("latin-1")) for name, value in headers.items()]


async def _send(scope: Scope, send: Send, answer: Answer, extra: Mapping[str, str]) -> None:
    body, headers = answer.body, _headers(answer, extra)
    if body and _accepts_gzip(scope):
        body = gzip(body)
        headers.append((b"content-encoding", b"gzip"))
    headers.append((b"content-length", str(len(body)).encode()))
    await send({"type": "http.response.start", "status": answer.status, "headers": headers})
    await send({"type": "http.response.body", "body": b"" if scope["method"] == "HEAD" else body})


async def _send_stream(
    scope: Scope, receive: Receive, send: Send, stream: EventStream, extra: Mapping[str, str]
) -> None:
    headers = _headers(Answer(content_type=CONTENT_TYPE), extra)
    compression = Gzip() if _accepts_gzip(scope) else None
    if compression:
        headers.append((b"content-encoding", b"gzip"))
    await send({"type": "http.response.start", "status": 200, "headers": headers})

    async def send_piece(data: bytes) -> None:
        piece = compression.piece(data) if compression else data
        await send({"type": "http.response.body", "body": piece, "more_body": True})

    is_read = True

    async def watch_reader() -> None:
        nonlocal is_read
        while (await receive())["type"] != "http.disconnect":
            pass
        is_read = False
        nursery.cancel_scope.cancel()

    async with trio.open_nursery() as nursery:
        nursery.start_soon(watch_reader)
        await stream.run(send_piece)
        nursery.cancel_scope.cancel()
    if is_read:
        end = compression.end() if compression else b""
        await send({"type": "http.response.body", "body": end})
