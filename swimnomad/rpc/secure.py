"""Putting TLS on a connection, so that each end learns why the other refuses it.

Source: rpc.md §2.
"""

from __future__ import annotations

import ssl
from contextlib import suppress
from typing import Final

import trio

ALERT_TIME: Final = 1.0
"""Seconds that the words of a refusal may take to go out."""


async def secure(
    connection: trio.abc.Stream,
    context: ssl.SSLContext,
    *,
    server_hostname: str | None = None,
    is_server: bool = False,
) -> trio.SSLStream[trio.abc.Stream]:
    """The connection with TLS on it, the handshake done.

    A missing end of TLS is taken for an end: what is inside knows where messages end.

    Raises:
        trio.BrokenResourceError: The handshake failed; the cause tells why. The connection is of
            no more use.
    """
    secured = trio.SSLStream(
        connection,
        context,
        server_hostname=server_hostname,
        server_side=is_server,
        https_compatible=True,
    )
    try:
        await secured.do_handshake()
    except trio.BrokenResourceError:
        await _send_alert(secured, connection)
        raise
    return secured


async def _send_alert(
    secured: trio.SSLStream[trio.abc.Stream], connection: trio.abc.Stream
) -> None:
    # Trio raises as soon as OpenSSL fails, and leaves the alert which tells the peer why where
    # OpenSSL has put it. There is no public way to it.
    outgoing: ssl.MemoryBIO | None = getattr(secured, "_outgoing", None)
    alert = b"" if outgoing is None else outgoing.read()
    if not alert:
        return
    gone = (trio.BrokenResourceError, trio.ClosedResourceError, trio.BusyResourceError)
    with trio.move_on_after(ALERT_TIME), suppress(*gone):
        await connection.send_all(alert)
