"""Opening connections to servers: TCP, TLS on it where that is on, then the byte that says why.

Source: rpc.md §1, §2, §12.
"""

from __future__ import annotations

import ipaddress
import os
import socket
from collections.abc import Awaitable, Callable
from typing import Final

import trio

from swimnomad.names import Address
from swimnomad.rpc.secure import secure
from swimnomad.rpc.serving import TLS
from swimnomad.tls.contexts import TlsClient
from swimnomad.tls.failures import CertificateRefused, describe_failure

_IP_BIND_ADDRESS_NO_PORT: Final = 24  # linux/in.h; the socket module does not name it

Dial = Callable[[Address], Awaitable[trio.abc.Stream]]
"""Connects; raises OSError."""


class DialFailed(Exception):
    """There is no connection; the text tells why."""


class Dialler:
    """Opens connections.

    Args:
        tls: How to speak TLS; None for plain connections.
        source_host: Address to call from, if the system's choice will not do.
        timeout: Seconds to connect; the TLS handshake gets as much again.
        dial: Connects instead of TCP, in tests.
    """

    def __init__(
        self,
        tls: TlsClient | None,
        source_host: str | None,
        timeout: float,
        dial: Dial | None = None,
    ) -> None:
        self._tls = tls
        self._source_host = source_host
        self._timeout = timeout
        self._dial: Dial = self._dial_tcp if dial is None else dial

    async def open(self, to: Address, region: str, first: int) -> trio.abc.Stream:
        """A connection that has said what it is.

        Args:
            to: The server.
            region: Its region: with TLS, its certificate may have to name it.
            first: The byte that says what the connection is for.

        Raises:
            DialFailed: There is none.
        """
        try:
            with trio.fail_after(self._timeout):
                connection = await self._dial(to)
        except OSError as error:
            raise DialFailed(f"dial tcp {to}: connect: {_words(error)}") from None
        except trio.TooSlowError:
            raise DialFailed(f"dial tcp {to}: i/o timeout") from None
        try:
            with trio.fail_after(self._timeout):
                if self._tls is not None:
                    connection = await _secure(connection, self._tls, to, region)
                try:
                    await connection.send_all(bytes((first,)))
                except trio.BrokenResourceError:
                    # With TLS 1.3 a refusal comes when we believe to be through.
                    await connection.receive_some(1)
                    raise
        except BaseException as error:
            await trio.aclose_forcefully(connection)
            if isinstance(error, trio.TooSlowError):
                raise DialFailed(f"tls handshake with {to}: i/o timeout") from None
            if isinstance(error, trio.BrokenResourceError):
                raise DialFailed(f"connection to {to}: {describe_failure(error)}") from None
            raise
        return connection

    async def _dial_tcp(self, to: Address) -> trio.abc.Stream:
        family = socket.AF_INET6 if ":" in to.host else socket.AF_INET
        sock = trio.socket.socket(family, socket.SOCK_STREAM)
        try:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            if self._source_host is not None and reaches(self._source_host, to.host):
                await _bind_source(sock, self._source_host)
            await sock.connect((to.host, to.port))
        except BaseException:
            sock.close()
            raise
        return trio.SocketStream(sock)


async def _secure(
    connection: trio.abc.Stream, tls: TlsClient, to: Address, region: str
) -> trio.abc.Stream:
    """Put TLS on a connection, if it is switched on."""
    name: str | None = None
    try:
        dialling = tls.context_for(region)
        if dialling is None:
            return connection
        context, name = dialling
        await connection.send_all(bytes((TLS,)))
        return await secure(connection, context, server_hostname=name)
    except (trio.BrokenResourceError, CertificateRefused) as error:
        why = describe_failure(error, name=name or "")
        raise DialFailed(f"tls handshake with {to}: {why}") from None


def reaches(source: str, host: str) -> bool:
    """Whether a connection from one address can reach the other: loopback stays on loopback."""
    one, other = ipaddress.ip_address(source), ipaddress.ip_address(host)
    return one.version == other.version and one.is_loopback <= other.is_loopback


async def _bind_source(sock: trio.socket.SocketType, host: str) -> None:
    try:
        sock.setsockopt(socket.IPPROTO_IP, _IP_BIND_ADDRESS_NO_PORT, 1)
        await sock.bind((host, 0))
    except OSError:
        pass  # The source address is a courtesy; the system's choice works as well.


def _words(error: OSError) -> str:
    """The error in Go's spelling, for instance `connection refused`."""
    return os.strerror(error.errno).lower() if error.errno else str(error)
