"""Opening the UDP socket and the TCP listener of an endpoint on one port."""

from __future__ import annotations

import errno
import socket
from typing import NamedTuple

from swimnomad.errors import UsageError
from swimnomad.live.oserrors import error_text
from swimnomad.names import Address

SOCKET_BUFFER_BYTES = 2 * 1024 * 1024
BACKLOG = 512
_TRIES_MAX = 10


class BoundSockets(NamedTuple):
    """A UDP socket and a TCP listener, both non-blocking, on one address and port."""

    udp: socket.socket
    listener: socket.socket
    address: Address

    def close(self) -> None:
        """Close both."""
        self.udp.close()
        self.listener.close()


def family_of(host: str) -> socket.AddressFamily:
    """The address family of an IP address in text form."""
    return socket.AF_INET6 if ":" in host else socket.AF_INET


def address_of(name: tuple[str, int] | tuple[str, int, int, int]) -> Address:
    """An address as the socket module gives it; IPv4-mapped ones in their IPv4 form."""
    host = name[0]
    if host.startswith("::ffff:") and "." in host:
        host = host[7:]
    return Address(host, name[1])


def bind_pair(wanted: Address, buffer_bytes: int = SOCKET_BUFFER_BYTES) -> BoundSockets:
    """Open both sockets. With port 0 TCP picks the port and UDP takes the same one.

    Raises:
        UsageError: If the address or port cannot be had; it names protocol, address and port.

    Source: gossip.md §2; with port 0 the pair is tried up to ten times, since the port that TCP
    was given may be taken for UDP.
    """
    tries = _TRIES_MAX if wanted.port == 0 else 1
    for attempt in range(1, tries + 1):
        listener = _bind(socket.SOCK_STREAM, wanted)
        address = address_of(listener.getsockname())
        try:
            udp = _bind(socket.SOCK_DGRAM, Address(wanted.host, address.port))
        except _PortTaken:
            listener.close()
            if attempt == tries:
                raise
            continue
        except BaseException:
            listener.close()
            raise
        enlarge_buffers(udp, buffer_bytes)
        return BoundSockets(udp, listener, address)
    raise AssertionError("unreachable: the last try returns or raises")


class _PortTaken(UsageError):
    """The port is in use."""


def _bind(kind: socket.SocketKind, wanted: Address) -> socket.socket:
    protocol = "tcp" if kind == socket.SOCK_STREAM else "udp"
    sock = socket.socket(family_of(wanted.host), kind)
    try:
        sock.setblocking(False)
        if kind == socket.SOCK_STREAM:
            # As Go does: a restart must not wait for connections in TIME_WAIT.
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind((wanted.host, wanted.port))
        if kind == socket.SOCK_STREAM:
            sock.listen(BACKLOG)
    except OSError as error:
        sock.close()
        text = f"cannot listen on {protocol} {wanted}: bind: {error_text(error)}"
        raise (_PortTaken if error.errno == errno.EADDRINUSE else UsageError)(text) from None
    return sock


def enlarge_buffers(sock: socket.socket, wanted_bytes: int) -> None:
    """Ask for large kernel buffers, halving the request until the system accepts it."""
    for option in (socket.SO_RCVBUF, socket.SO_SNDBUF):
        size = wanted_bytes
        while size > 0:
            try:
                sock.setsockopt(socket.SOL_SOCKET, option, size)
                break
            except OSError:
                size //= 2
