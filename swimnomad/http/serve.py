"""The HTTP listener: the one place that knows hypercorn.

Hypercorn speaks HTTP on each connection. The listener and the connections are ours and not those
of `hypercorn.trio.serve`, for two things it cannot do: close a connection unanswered when one
client holds too many, and end at a time that is known, whatever a client does. (It writes to a
socket under a shield, so a client that reads nothing could hold up the end for ever.)

With TLS the handshake comes first (`handshake.py`), and hypercorn is given the stream inside.

Source: agent-http.md §1.8.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Awaitable, Callable
from functools import partial
from typing import TYPE_CHECKING, Any

import trio
from hypercorn.config import Config
from hypercorn.trio.tcp_server import TCPServer
from hypercorn.trio.worker_context import WorkerContext
from hypercorn.typing import ConnectionState
from hypercorn.utils import wrap_app

from swimnomad.errors import UsageError
from swimnomad.http.handshake import Door
from swimnomad.names import Address

if TYPE_CHECKING:
    from starlette.applications import Starlette

    from swimnomad.tls.contexts import TlsServer

logger = logging.getLogger("swimnomad.http")

BACKLOG = 512
KEEP_ALIVE = 300.0
"""Seconds an idle connection is kept. Nomad keeps them without limit; a client that is back after
five minutes finds it closed and opens another."""
GRACE = 2.0
"""Seconds that requests under way get to end when the listener stops."""


async def serve(
    app: Starlette,
    address: Address,
    *,
    shutdown_trigger: Callable[[], Awaitable[object]],
    connections_max: int = 100,
    tls: TlsServer | None = None,
    handshake_timeout: float = 5.0,
    task_status: trio.TaskStatus[Address] = trio.TASK_STATUS_IGNORED,
) -> None:
    """Serve an application until `shutdown_trigger` returns; started with the address bound.

    Args:
        app: The application.
        address: Where to listen; port 0 lets the system choose.
        shutdown_trigger: Waits until it is time to stop. Idle connections then close at once,
            requests under way within `GRACE` seconds.
        connections_max: Connections from one client address at one time; one more is closed
            unanswered. 0 for no limit.
        tls: Speak HTTPS as it says; it is asked once for each connection. None, and one that is
            switched off, speak HTTP.
        handshake_timeout: Seconds that a TLS handshake may take; 0 for no limit.
        task_status: Where the address is reported to.

    Raises:
        UsageError: The address cannot be listened on: in use, not ours, or not permitted.
    """
    listener = await _listen(address)
    connections = _Connections(app, connections_max, Door(tls, handshake_timeout))
    try:
        async with trio.open_nursery() as serving:
            async with trio.open_nursery() as accepting:
                accept = partial(trio.serve_listeners, handler_nursery=serving)
                await accepting.start(accept, connections.serve, [listener])
                host, port = listener.socket.getsockname()[:2]
                task_status.started(Address(host, port))
                await shutdown_trigger()
                accepting.cancel_scope.cancel()
            await connections.wind_down()
            serving.cancel_scope.cancel()
    finally:
        # Also when we are cancelled: no peer may be left waiting on a socket nobody serves.
        connections.close()
        listener.socket.close()


async def _listen(address: Address) -> trio.SocketListener:
    try:
        return (await trio.open_tcp_listeners(address.port, host=address.host, backlog=BACKLOG))[0]
    except OSError as error:
        # The system's own words for the number: trio wraps some in sentences of its own.
        why = os.strerror(error.errno).lower() if error.errno else str(error)
        raise UsageError(f"cannot listen for HTTP on {address}: {why}") from None


class _Conversation(TCPServer):
    """Hypercorn's side of one connection."""

    async def _read_data(self) -> None:
        await super()._read_data()
        # The client is gone. Left alone, the idle timer would keep its connection, and its place
        # among those its address may have, for all of `KEEP_ALIVE`.
        await self.idle_task.stop()


class _Connections:
    """The open connections of one listener."""

    def __init__(self, app: Starlette, per_client_max: int, door: Door) -> None:
        framework: Any = app  # hypercorn's type for an application is narrower than ASGI
        self._app = wrap_app(framework, 0, "asgi")
        self._per_client_max = per_client_max
        self._door = door
        self._config = _hypercorn_config()
        self._context = WorkerContext(None)
        self._open: dict[trio.SocketStream, str] = {}
        self._emptied = trio.Event()

    async def serve(self, stream: trio.SocketStream) -> None:
        """Serve one connection until it ends."""
        try:
            client = stream.socket.getpeername()[0]
        except OSError:  # gone before we looked
            await trio.aclose_forcefully(stream)
            return
        held = sum(1 for other in self._open.values() if other == client)
        if self._per_client_max and held >= self._per_client_max:
            await trio.aclose_forcefully(stream)
            return
        self._open[stream] = client
        try:
            # Typed as a TLS stream, looked at and served as either.
            entered: Any = await self._door.enter(stream)
            if entered is not None:
                state = ConnectionState({})
                await _Conversation(self._app, self._config, self._context, state, entered)
        except Exception:
            # Whatever a client sends must not end the listener.
            logger.exception("connection of %s raised", client)
        finally:
            stream.socket.close()
            del self._open[stream]
            if not self._open:
                self._emptied.set()

    async def wind_down(self) -> None:
        """Let requests under way end, for a while; then end them."""
        self._door.close()
        await self._context.terminated.set()
        with trio.move_on_after(GRACE):
            while self._open:
                self._emptied = trio.Event()
                await self._emptied.wait()
        self.close()

    def close(self) -> None:
        """Close every socket; whoever reads or writes on one is told so."""
        for stream in list(self._open):
            stream.socket.close()


def _hypercorn_config() -> Config:
    config = Config()
    config.accesslog = None  # the application logs its requests itself
    config.errorlog = None
    config.include_server_header = False
    config.keep_alive_timeout = KEEP_ALIVE
    # Nothing of ours ends a request by its length: hypercorn's default of 600 s for a read stays
    # off, streams are bounded by their own heartbeat.
    config.read_timeout = None
    config.websocket_ping_interval = None
    return config
