"""Where the agents of a local cluster listen.

The standard ports on neighbouring loopback addresses where the system has those (Linux answers on
all of 127.0.0.0/8), else one address with shifted ports.
"""

from __future__ import annotations

import ipaddress
import socket

from swimnomad.errors import UsageError
from swimnomad.live.bind import family_of
from swimnomad.live.oserrors import error_text
from swimnomad.names import PORT_MAX, Address, Value
from swimnomad.nomad.config import Ports

PORT_SHIFT = 10
"""Distance between the ports of two agents that share an address."""


class Place(Value, frozen=True):
    """One agent's address and ports."""

    host: str
    ports: Ports = Ports()

    @property
    def http(self) -> Address:
        """Where its HTTP API listens."""
        return Address(self.host, self.ports.http)

    @property
    def serf(self) -> Address:
        """Where it gossips."""
        return Address(self.host, self.ports.serf)


def plan_places(base: str, count: int, ports: Ports | None = None) -> list[Place]:
    """A place for each of `count` agents, the first at `base`.

    Raises:
        UsageError: If `base` is no IP address, or there is no room for so many.
    """
    standard = ports or Ports()
    try:
        first = ipaddress.ip_address(base)
    except ValueError:
        raise UsageError(f"the base address must be an IP address, not {base!r}") from None
    try:
        hosts = [str(first + number) for number in range(count)]
    except ipaddress.AddressValueError:
        raise UsageError(f"there are no {count} addresses from {base} on") from None
    if all(map(_is_ours, hosts)):
        return [Place(host, standard) for host in hosts]
    places = [Place(base, _shifted(standard, number * PORT_SHIFT)) for number in range(count)]
    last = places[-1].ports
    if max(last.http, last.rpc, last.serf) > PORT_MAX:
        raise UsageError(f"there are no ports for {count} agents on {base}")
    return places


def check_free(place: Place, name: str) -> None:
    """Check that an agent could listen at a place.

    Raises:
        UsageError: Naming the node, protocol, address and port that cannot be had.
    """
    for kind, address in (
        (socket.SOCK_STREAM, place.http),
        (socket.SOCK_STREAM, place.serf),
        (socket.SOCK_DGRAM, place.serf),
    ):
        with socket.socket(family_of(address.host), kind) as probe:
            if kind == socket.SOCK_STREAM:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(tuple(address))
            except OSError as error:
                protocol = "tcp" if kind == socket.SOCK_STREAM else "udp"
                raise UsageError(
                    f"node {name} cannot listen on {protocol} {address}: {error_text(error)}; "
                    "is another cluster or agent running?"
                ) from None


def _is_ours(host: str) -> bool:
    """Whether this machine answers on an address."""
    with socket.socket(family_of(host), socket.SOCK_DGRAM) as probe:
        try:
            probe.bind((host, 0))
        except OSError:
            return False
    return True


def _shifted(ports: Ports, by: int) -> Ports:
    return Ports(ports.http + by, ports.rpc + by, ports.serf + by)
