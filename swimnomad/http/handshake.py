"""What happens at the door of the HTTP listener before HTTP: the TLS handshake.

Whoever knocks in the clear with an HTTP request is told so in the clear, in the words of Go's
server; anything else that is no handshake is closed unanswered. Each failure is one line of the
log, but for peers that connect and go away without a byte, as probes of a port do.

Source: agent-http.md §1.8; Go's net/http, for the answer to a plain request.
"""

from __future__ import annotations

import logging
import math
import socket
import ssl
from typing import TYPE_CHECKING

import trio

from swimnomad.tls.failures import NOT_TLS, PLAIN_HTTP, describe_failure, last_words

if TYPE_CHECKING:
    from swimnomad.tls.contexts import TlsServer

logger = logging.getLogger("swimnomad.http")

PLAIN_ANSWER = b"HTTP/1.0 400 Bad Request\r\n\r\nClient sent an HTTP request to an HTTPS server.\n"
FAREWELL_MAX = 1.0
"""Seconds that a peer gets to take note of why it is turned away."""
_FAREWELL_BYTES_MAX = 64 * 1024
_RECORD_TYPES = frozenset((0x15, 0x16))
"""First bytes of an alert and of a handshake: nothing else opens a TLS connection."""
_HTTP_STARTS = (b"GET /", b"HEAD ", b"POST ", b"PUT /", b"OPTIO", b"PATCH", b"DELET")
_START_BYTES = 5
"""As many as Go looks at."""

Entered = trio.SocketStream | trio.SSLStream[trio.SocketStream]


class Door:
    """Lets connections in, through a handshake if TLS is on."""

    def __init__(self, tls: TlsServer | None, timeout: float) -> None:
        """Nothing happens yet.

        Args:
            tls: Asked for each connection; None for never TLS.
            timeout: Seconds a handshake may take; 0 for no limit.
        """
        self._tls = tls
        self._timeout = timeout or math.inf
        self._closing = trio.Event()
        self._scopes: set[trio.CancelScope] = set()

    def close(self) -> None:
        """End the handshakes under way, and all that are still to come."""
        self._closing.set()
        for scope in self._scopes:
            scope.cancel()

    async def enter(self, stream: trio.SocketStream) -> Entered | None:
        """The stream to speak HTTP on; None if the peer was turned away.

        Whoever calls closes the stream.
        """
        context = self._tls.context if self._tls else None
        if context is None:
            return stream
        outcome: Entered | bytes = b""
        with trio.move_on_after(self._timeout) as scope:
            self._scopes.add(scope)
            try:
                if not self._closing.is_set():
                    outcome = await _shake_hands(stream, context)
            finally:
                self._scopes.discard(scope)
        if scope.cancelled_caught and not self._closing.is_set():
            _log(stream, f"the handshake was not done within {self._timeout:g} s")
        if not isinstance(outcome, bytes):
            return outcome
        if outcome:
            await _farewell(stream, outcome)
        return None


async def _shake_hands(stream: trio.SocketStream, context: ssl.SSLContext) -> Entered | bytes:
    """The stream inside, or the last words to a peer that is turned away."""
    try:
        first = await stream.socket.recv(1, socket.MSG_PEEK)
    except (OSError, trio.ClosedResourceError):  # reset, or closed by us
        return b""
    if not first:
        return b""
    if first[0] not in _RECORD_TYPES:
        return await _plain_answer(stream)
    inside = trio.SSLStream(stream, context, server_side=True)
    try:
        await inside.do_handshake()
    except trio.BrokenResourceError as error:
        _log(stream, describe_failure(error))
        # Trio keeps back the alert in which OpenSSL tells the peer what was wrong.
        return last_words(inside)
    except trio.ClosedResourceError:  # the listener has ended
        return b""
    return inside


async def _plain_answer(stream: trio.SocketStream) -> bytes:
    start = b""
    try:
        while len(start) < _START_BYTES:
            part = await stream.receive_some(_START_BYTES - len(start))
            if not part:
                break
            start += part
    except (trio.BrokenResourceError, trio.ClosedResourceError):
        return b""
    is_http = start in _HTTP_STARTS
    _log(stream, PLAIN_HTTP if is_http else NOT_TLS)
    return PLAIN_ANSWER if is_http else b""


async def _farewell(stream: trio.SocketStream, words: bytes) -> None:
    """Say a last thing, and read what the peer still sends.

    If a socket is closed with something unread, the kernel may take back what was sent.
    """
    left = _FAREWELL_BYTES_MAX
    with trio.move_on_after(FAREWELL_MAX):
        try:
            await stream.send_all(words)
            await stream.send_eof()
            while left > 0 and (part := await stream.receive_some()):
                left -= len(part)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            pass


def _log(stream: trio.SocketStream, why: str) -> None:
    try:
        host, port = stream.socket.getpeername()[:2]
    except OSError:  # gone
        host, port = "?", 0
    peer = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    logger.warning("TLS handshake error from %s: %s", peer, why)
