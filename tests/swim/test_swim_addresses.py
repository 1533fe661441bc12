"""Addresses as people write them, and lists of networks."""

from __future__ import annotations

import pytest

from swimnomad.errors import UsageError
from swimnomad.names import ip_of_host
from swimnomad.swim.addresses import _CACHE_MAX, AllowedNetworks, split_address
from tests.swim.swim_vectors import scripts


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("node/10.0.0.1:99", ("node", "10.0.0.1", 99)),
        ("10.0.0.1", ("", "10.0.0.1", 7946)),
        ("[::1]:99", ("", "::1", 99)),
        ("[::1]", ("", "::1", 7946)),
        ("::1", ("", "::1", 7946)),
        ("example.com", ("", "example.com", 7946)),
        ("a/example.com:1", ("a", "example.com", 1)),
        ("rack/2/host:65535", ("rack/2", "host", 65_535)),
    ],
)
def test_address_is_taken_apart(text: str, expected: tuple[str, str, int]) -> None:
    """gossip 40.44: name/ip:port, bare IP, bracketed IPv6, host names with default port."""
    assert split_address(text, 7946) == expected


@pytest.mark.parametrize(
    "text",
    [
        "/10.0.0.1",
        "",
        ":99",
        "node/",
        "host:",
        "host:0",
        "host:65536",
        "host:-1",
        "host:x",
        "host:\u0661",
        "[::1",
        "[::1]99",
        "[]:1",
    ],
)
def test_impossible_address_is_refused(text: str) -> None:
    """gossip 40.44: an empty node name before the slash is an error."""
    with pytest.raises(UsageError, match="address"):
        split_address(text, 7946)


def test_default_port_is_added_as_the_reference_does() -> None:
    (rows,) = scripts("address-port")
    for row in rows:
        try:
            _, host, port = split_address(row["in"], 7946)
        except UsageError:
            continue
        written = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
        assert written == row["out"], row
    assert split_address("1.2.3.4", 7946)[2] == 7946


def test_networks_decide_by_address() -> None:
    networks = AllowedNetworks(("10.0.0.0/8", "fd00::/8"))
    assert networks.allow_ip(bytes((10, 1, 2, 3)))
    assert not networks.allow_ip(bytes((11, 1, 2, 3)))
    assert networks.allow_ip(bytes(10) + b"\xff\xff" + bytes((10, 1, 2, 3)))
    assert networks.allow_ip(ip_of_host("fd00::1"))
    assert not networks.allow_host("fe80::1")


@pytest.mark.parametrize("cidrs", [None, ()])
def test_no_list_allows_everything(cidrs: tuple[str, ...] | None) -> None:
    networks = AllowedNetworks(cidrs)
    assert networks.allow_ip(bytes(4))
    assert networks.allow_host("192.0.2.1")


def test_memory_of_answers_is_bounded() -> None:
    networks = AllowedNetworks(("10.0.0.0/8",))
    for number in range(_CACHE_MAX + 10):
        networks.allow_host(f"10.0.{number // 256}.{number % 256}")
    assert len(networks._answers) == 10
