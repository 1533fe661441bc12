"""Addresses as people write them, and lists of allowed networks.

Source: gossip.md §16.1, §30.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence

from swimnomad.errors import UsageError
from swimnomad.names import PORT_MAX, host_of_ip

_CACHE_MAX = 4096


def split_address(text: str, default_port: int) -> tuple[str, str, int]:
    """Take apart `[name/]host[:port]`, as join addresses are written.

    An IPv6 address needs brackets if a port follows. The host is not resolved.

    Returns:
        Node name (empty if not given), host without brackets, port.

    Raises:
        UsageError: If the name before a slash, the host or the port is missing or wrong.
    """
    name, slash, rest = text.rpartition("/")
    if slash and not name:
        raise UsageError(f"address {text!r} has an empty node name before the slash")
    host, port_text = _split_port(rest)
    if not host:
        raise UsageError(f"address {text!r} has no host")
    if port_text is None:
        return name, host, default_port
    if not (port_text.isascii() and port_text.isdigit() and 0 < int(port_text) <= PORT_MAX):
        raise UsageError(f"address {text!r} has port {port_text!r}; allowed is 1 to {PORT_MAX}")
    return name, host, int(port_text)


def _split_port(text: str) -> tuple[str, str | None]:
    """Host without brackets and the text of the port, None if there is none."""
    if text.startswith("["):
        host, bracket, tail = text[1:].partition("]")
        if not bracket or (tail and not tail.startswith(":")):
            raise UsageError(f"address {text!r} has brackets that do not match")
        return host, tail[1:] if tail else None
    if text.count(":") > 1:
        return text, None  # A bare IPv6 address: its last part is no port.
    host, colon, port = text.partition(":")
    return host, port if colon else None


class AllowedNetworks:
    """The networks that members may come from. None or an empty list allows all.

    IPv4 addresses mapped into IPv6 count as IPv4.

    Raises:
        UsageError: If an entry is not a network in CIDR form.
    """

    def __init__(self, cidrs: Sequence[str] | None) -> None:
        try:
            self._networks = [ipaddress.ip_network(cidr, strict=False) for cidr in cidrs or ()]
        except ValueError as error:
            raise UsageError(f"cidrs_allowed: {error}") from None
        self.is_restricted = bool(self._networks)
        self._answers: dict[str, bool] = {}

    def allow_host(self, host: str) -> bool:
        """Whether a node may have this IP address, given as text."""
        if not self.is_restricted:
            return True
        answer = self._answers.get(host)
        if answer is None:
            address = ipaddress.ip_address(host)
            answer = any(address in network for network in self._networks)
            if len(self._answers) >= _CACHE_MAX:
                self._answers.clear()
            self._answers[host] = answer
        return answer

    def allow_ip(self, ip: bytes) -> bool:
        """Whether a node may have this IP address, given as 4 or 16 bytes."""
        return not self.is_restricted or self.allow_host(host_of_ip(ip))
