"""The host of an agent as Nomad reports it: masked, counted and described.

What the host says of itself is read by the driver (`HostFacts`); here it gets Nomad's shape.

Source: agent-http.md §4.7; nomad command/agent/host; go-sockaddr.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Mapping

from swimnomad.names import Value
from swimnomad.nomad.requests import DiskUse, HostData
from swimnomad.nomad.self_config import REDACTED

SKIPPED_FILE_SYSTEMS = frozenset(
    [
        "autofs",
        "binfmt_misc",
        "cgroup",
        "debugfs",
        "devpts",
        "devtmpfs",
        "fusectl",
        "fuse.lxcfs",
        "hugetlbfs",
        "mqueue",
        "proc",
        "pstore",
        "rpc_pipefs",
        "securityfs",
        "sysfs",
        "tmpfs",
        "vboxsf",
    ]
)
"""Types of file systems that are no disks. They must not be asked for their size: an automounter
would begin to mount."""

_SECRET_NAMES = frozenset(
    [
        "CONSUL_TOKEN",
        "CONSUL_HTTP_TOKEN",
        "VAULT_TOKEN",
        "AWS_ACCESS_KEY_ID",
        "AWS_SECRET_ACCESS_KEY",
        "AWS_SESSION_TOKEN",
        "GOOGLE_APPLICATION_CREDENTIALS",
    ]
)
_MIB = 1024 * 1024


class FileSystem(Value, frozen=True):
    """A mounted file system: its size, and what of it is available to unprivileged users."""

    path: str
    total_bytes: int
    available_bytes: int


class HostFacts(Value, frozen=True):
    """A host as it describes itself.

    `uname` is machine, node name, release, system and version. `interfaces` are addresses with the
    lengths of their prefixes. The texts are those of the files, or why they cannot be read.
    """

    uname: tuple[str, str, str, str, str]
    interfaces: tuple[tuple[str, int], ...]
    resolv_conf: str
    hosts: str
    environment: Mapping[str, str]
    file_systems: tuple[FileSystem, ...]


def describe_host(facts: HostFacts) -> HostData:
    """The host as it may be shown."""
    return HostData(
        os=" ".join(facts.uname),
        network=tuple(describe_interface(*interface) for interface in facts.interfaces),
        resolv_conf=facts.resolv_conf,
        hosts=facts.hosts,
        environment={name: _masked(name, text) for name, text in facts.environment.items()},
        disk={
            disk.path: DiskUse(
                disk.total_bytes // _MIB, (disk.total_bytes - disk.available_bytes) // _MIB
            )
            for disk in facts.file_systems
        },
    )


def _masked(name: str, value: str) -> str:
    upper = name.upper()
    if name in _SECRET_NAMES or "TOKEN" in upper or "SECRET" in upper:
        return REDACTED
    return value


def describe_interface(address: str, prefix: int) -> dict[str, str]:
    """One interface address and what can be computed from it, all as text."""
    interface = ipaddress.ip_interface(f"{address}/{prefix}")
    network, ip = interface.network, interface.ip
    bits, version = ip.max_prefixlen, ip.version
    number, is_whole = int(ip), prefix == bits
    first, last = network.network_address, network.broadcast_address
    if version == 4 and prefix < 31:
        first, last = first + 1, last - 1
    shown = f"{'[' * (version == 6)}{ip}{']' * (version == 6)}:0"
    listen = shown if is_whole else ""
    described = {
        "type": f"IPv{version}",
        "string": str(ip) if is_whole else str(interface),
        "host": str(ip),
        "address": str(ip),
        "port": "0",
        "netmask": str(network.netmask),
        "network": str(network.network_address),
        "mask_bits": str(prefix),
        "binary": f"{number:0{bits}b}",
        "hex": f"{number:0{bits // 4}x}",
        "first_usable": str(first),
        "last_usable": str(last),
        "octets": " ".join(map(str, ip.packed)),
        "size": str(network.num_addresses),
        "DialPacket": f'"udp{version}" ""',
        "DialStream": f'"tcp{version}" ""',
        "ListenPacket": f'"udp{version}" "{listen}"',
        "ListenStream": f'"tcp{version}" "{listen}"',
        f"uint{bits}": str(number),
    }
    if version == 4:
        described["broadcast"] = str(network.broadcast_address)
    return described
