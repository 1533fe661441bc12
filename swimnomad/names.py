"""Small types that every room shares: addresses, streams, operations."""

from __future__ import annotations

import ipaddress
from functools import lru_cache
from typing import NamedTuple

import msgspec

from swimnomad.errors import UsageError

PORT_MAX = 65_535


class Value(msgspec.Struct, frozen=True):
    """Base of messages, inputs, effects and events: immutable, compared and hashed by content.

    A msgspec struct and not a frozen dataclass: building one is several times cheaper, and a node
    builds a handful for every datagram.
    """


class Address(NamedTuple):
    """Where a datagram or a stream goes.

    `host` is the text of an IP address (no name), `port` is 0…65,535. An IPv4-mapped IPv6 address
    is written in its IPv4 form: that is the form sockets take.
    """

    host: str
    port: int

    def __str__(self) -> str:
        """`host:port`, IPv6 in brackets."""
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


@lru_cache(maxsize=4096)
def host_of_ip(ip: bytes) -> str:
    """Text of a 4-byte or 16-byte IP address as it stands in a message.

    Raises:
        UsageError: If the length is neither 4 nor 16.
    """
    if len(ip) == 4:
        return ".".join(map(str, ip))
    if len(ip) != 16:
        raise UsageError(f"an IP address has 4 or 16 bytes, not {len(ip)}")
    v6 = ipaddress.IPv6Address(ip)
    return str(v6.ipv4_mapped or v6)


@lru_cache(maxsize=4096)
def ip_of_host(host: str) -> bytes:
    """The 4 or 16 bytes of an IP address given as text.

    Raises:
        UsageError: If the text is not an IP address.
    """
    try:
        return ipaddress.ip_address(host).packed
    except ValueError:
        raise UsageError(f"{host!r} is not an IP address") from None


class Stream(Value, frozen=True):
    """Names one TCP connection of a node for as long as it lasts.

    `inbound` ones are numbered by the driver that accepted them, the others by the core that asked
    for them; numbers are not used again while a node lives.
    """

    inbound: bool
    number: int


Operation = int
"""Number that a caller gives to a command; the event that reports its outcome carries it."""
