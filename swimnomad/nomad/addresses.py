"""Addresses as operators write them: advertise values, join targets, the host's own.

Source: nomad-agent.md §8, §9; gossip.md §30.
"""

from __future__ import annotations

import ipaddress
import re

from swimnomad.errors import ConfigError
from swimnomad.names import PORT_MAX, Address


def is_unspecified(host: str) -> bool:
    """Whether an address means all interfaces (0.0.0.0, ::)."""
    try:
        return ipaddress.ip_address(host).is_unspecified
    except ValueError:
        return False


def split_advertise(text: str, default_port: int, key: str) -> Address:
    """Address of an `advertise` value: an IP address, with a port or without.

    An IPv6 address without a port may stand bare or in brackets.

    Raises:
        ConfigError: Naming `key`, if it is neither.
    """
    host, port = text, default_port
    if text.startswith("["):
        host, _, rest = text[1:].partition("]")
        port = _port(rest.removeprefix(":"), text, key) if rest else default_port
    elif text.count(":") == 1:
        host, _, digits = text.partition(":")
        port = _port(digits, text, key)
    try:
        ipaddress.ip_address(host)
    except ValueError:
        raise ConfigError(
            f"{key} is {text!r}; allowed are an IP address and IP:port, IPv6 with a port in "
            "brackets"
        ) from None
    return Address(host, port)


def _port(digits: str, text: str, key: str) -> int:
    if not (digits.isascii() and digits.isdigit() and int(digits) <= PORT_MAX):
        raise ConfigError(f"{key} is {text!r}; its port must be a number from 0 to {PORT_MAX}")
    return int(digits)


_TEMPLATE = re.compile(r"\{\{\s*(?P<function>\w+)(?:\s+\"(?P<interface>[^\"]+)\")?\s*\}\}")


def resolve_template(text: str, key: str) -> str:
    """An address as configured, its template (`{{ GetPrivateIP }}`) put in.

    Args:
        text: An IP address, with a port where `key` is an `advertise` value; or a template. Empty
            stays empty.
        key: For messages.

    Raises:
        ConfigError: Naming the key, what was found and what is allowed.
    """
    text = text.strip()
    match = _TEMPLATE.match(text)
    if match is not None:
        host = _host_of_template(match["function"], match["interface"] or "")
        if not host:
            raise ConfigError(f"{key} is {text!r}: this host has no such address")
        text = (f"[{host}]" if ":" in host and match.end() < len(text) else host) + text[
            match.end() :
        ]
    if text and key.startswith("advertise."):
        split_advertise(text, 0, key)
    elif text:
        try:
            ipaddress.ip_address(text)
        except ValueError:
            raise ConfigError(
                f"{key} is {text!r}; allowed are an IP address, "
                '"{{ GetPrivateIP }}" and "{{ GetInterfaceIP \\"NAME\\" }}"'
            ) from None
    return text


def _host_of_template(function: str, interface: str) -> str:
    if function == "GetPrivateIP" and not interface:
        return first_private_address()
    if function == "GetInterfaceIP" and interface:
        return first_private_address(interface)
    return ""


def first_private_address(interface: str = "") -> str:
    """First private IP address of this host, IPv4 before IPv6; empty if it has none.

    Args:
        interface: Look at this network interface only, and take its first address of any kind.
    """
    import psutil  # heavy, and only agents bound to all interfaces need it

    found: list[str] = []
    for name, entries in psutil.net_if_addrs().items():
        if interface and name != interface:
            continue
        for entry in entries:
            try:
                ip = ipaddress.ip_address(entry.address)
            except ValueError:  # a hardware address, or one with a scope
                continue
            if interface or (ip.is_private and not ip.is_loopback and not ip.is_link_local):
                found.append(entry.address)
    found.sort(key=lambda host: ":" in host)
    return found[0] if found else ""
