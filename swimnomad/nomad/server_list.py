"""The servers a client agent knows, in the order in which it asks them.

The first one is asked. One that fails goes to the end, so the next request finds another. A new
list is shuffled, as is every list now and then: clients that were all given the same list must not
all ask the same server.

Source: rpc.md §12.3, §12.4; nomad client/servers/manager.go; client/client.go, resolveServer.
"""

from __future__ import annotations

import ipaddress
import random
from collections.abc import Awaitable, Callable, Iterable, Sequence

from swimnomad.names import PORT_MAX, Address
from swimnomad.nomad.joining import BadAddress, find_hosts

RPC_PORT_DEFAULT = 4647
SERVERS_MAX = 1024
"""Most servers in one list; a region has a handful."""

Resolve = Callable[[str, int], Awaitable[list[str]]]


class ServerList:
    """Servers in the order of use; knows nothing of how they are asked."""

    def __init__(self, servers: Iterable[Address], rng: random.Random) -> None:
        self._rng = rng
        self._servers: list[Address] = []
        self.replace(servers)

    @property
    def in_order(self) -> Sequence[Address]:
        """Every server, the one to ask first."""
        return tuple(self._servers)

    def replace(self, servers: Iterable[Address]) -> bool:
        """Know exactly these from now on; False if they are the same set as before.

        The same set in another order changes nothing, not even the order of use.
        """
        new = list(dict.fromkeys(servers))[:SERVERS_MAX]
        if set(new) == set(self._servers):
            return False
        self._rng.shuffle(new)
        self._servers = new
        return True

    def note_failure(self, server: Address) -> None:
        """Ask others before this one. Only the first moves: of the rest nobody was asked."""
        if self._servers and self._servers[0] == server:
            self._servers.append(self._servers.pop(0))

    def candidates(self) -> list[Address]:
        """The servers shuffled, as they are to be tried when the list is rebalanced."""
        shuffled = list(self._servers)
        self._rng.shuffle(shuffled)
        return shuffled

    def use_order(self, servers: Sequence[Address]) -> None:
        """Use the known servers in that order; nothing happens if others are known by now."""
        if sorted(servers) == sorted(self._servers):
            self._servers = list(servers)


async def resolve_server(text: str, resolve: Resolve) -> Address:
    """The RPC address that somebody wrote as `host` or `host:port`; an empty host is this one.

    Raises:
        BadAddress: With the reference's words.
    """
    host, port = split_server(text)
    if not host:
        return Address("127.0.0.1", port)
    return Address((await find_hosts(host, port, resolve))[0], port)


def split_server(text: str) -> tuple[str, int]:
    """Host and port of a server's address; 4647 if it has no port.

    Raises:
        BadAddress: With the reference's words.
    """
    if text.startswith("[") and "]" in text:
        host, _, rest = text[1:].partition("]")
        if rest and not rest.startswith(":"):
            raise BadAddress(f"address {text}: missing port in address")
        return host, _port(rest[1:]) if rest else RPC_PORT_DEFAULT
    if text.count(":") > 1:
        try:
            return str(ipaddress.IPv6Address(text)), RPC_PORT_DEFAULT
        except ValueError:
            raise BadAddress(f"address {text}: too many colons in address") from None
    host, colon, digits = text.partition(":")
    return host, _port(digits) if colon else RPC_PORT_DEFAULT


def _port(digits: str) -> int:
    if not digits:
        return 0
    if not (digits.isascii() and digits.isdigit()):
        raise BadAddress(f"lookup tcp/{digits}: unknown port")
    if len(digits) > 5 or int(digits) > PORT_MAX:
        raise BadAddress(f"address {digits}: invalid port")
    return int(digits)
