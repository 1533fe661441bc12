"""How a host is shown."""

from __future__ import annotations

import msgspec
import pytest

from swimnomad.nomad.host import FileSystem, describe_host, describe_interface
from swimnomad.nomad.requests import DiskUse
from tests.agent_world import FACTS


def test_only_secrets_are_hidden() -> None:
    """agent I12, agent I13"""
    hidden = (
        "VAULT_TOKEN",
        "BOGUS_TOKEN",
        "BOGUS_SECRET",
        "ryanSECRETS",
        "my_token_lower",
        "AWS_ACCESS_KEY_ID",
        "GOOGLE_APPLICATION_CREDENTIALS",
    )
    shown = {"PATH": "/usr/bin:/bin", "DB_PASSWORD": "a=b", "aws_access_key_id": "x", "EMPTY": ""}
    environment = {**dict.fromkeys(hidden, "s3cret"), **shown}
    facts = msgspec.structs.replace(FACTS, environment=environment)
    assert describe_host(facts).environment == {**dict.fromkeys(hidden, "<redacted>"), **shown}


def test_disks_are_counted_in_whole_mib() -> None:
    disks = (FileSystem("/", 10 * 2**20 + 5, 3 * 2**20 + 6), FileSystem("/empty", 0, 0))
    facts = msgspec.structs.replace(FACTS, file_systems=disks)
    assert describe_host(facts).disk == {"/": DiskUse(10, 6), "/empty": DiskUse(0, 0)}


def test_the_system_is_one_line() -> None:
    assert describe_host(FACTS).os == "x86_64 host-1 5.10.0 Linux #1 SMP"


def test_interfaces_are_described_as_recorded() -> None:
    assert describe_interface("127.0.0.1", 8) == {
        "string": "127.0.0.1/8",
        "network": "127.0.0.0",
        "first_usable": "127.0.0.1",
        "uint32": "2130706433",
        "DialStream": '"tcp4" ""',
        "ListenStream": '"tcp4" ""',
        "type": "IPv4",
        "netmask": "255.0.0.0",
        "hex": "7f000001",
        "last_usable": "127.255.255.254",
        "octets": "127 0 0 1",
        "address": "127.0.0.1",
        "port": "0",
        "binary": "01111111000000000000000000000001",
        "host": "127.0.0.1",
        "mask_bits": "8",
        "size": "16777216",
        "broadcast": "127.255.255.255",
        "DialPacket": '"udp4" ""',
        "ListenPacket": '"udp4" ""',
    }
    assert describe_interface("::1", 128) == {
        "size": "1",
        "DialStream": '"tcp6" ""',
        "address": "::1",
        "netmask": "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
        "octets": "0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 1",
        "last_usable": "::1",
        "DialPacket": '"udp6" ""',
        "ListenPacket": '"udp6" "[::1]:0"',
        "type": "IPv6",
        "port": "0",
        "first_usable": "::1",
        "ListenStream": '"tcp6" "[::1]:0"',
        "network": "::1",
        "hex": "0" * 31 + "1",
        "uint128": "1",
        "binary": "0" * 127 + "1",
        "string": "::1",
        "host": "::1",
        "mask_bits": "128",
    }


@pytest.mark.parametrize(
    ("address", "prefix", "first", "last"),
    [
        ("10.0.0.5", 32, "10.0.0.5", "10.0.0.5"),
        ("10.0.0.5", 31, "10.0.0.4", "10.0.0.5"),
        ("10.0.0.5", 30, "10.0.0.5", "10.0.0.6"),
        ("fe80::5", 64, "fe80::", "fe80::ffff:ffff:ffff:ffff"),
    ],
)
def test_the_ends_of_a_network(address: str, prefix: int, first: str, last: str) -> None:
    found = describe_interface(address, prefix)
    assert (found["first_usable"], found["last_usable"]) == (first, last)
