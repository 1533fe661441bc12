"""The node that a client agent registers, made from what its host says.

Only what this program knows is said: it runs nothing, so there are no drivers, and what it has of
resources is what the host has.

Source: rpc.md §10.2; nomad client/fingerprint.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from swimnomad.names import Address, Value
from swimnomad.nomad.state.records import ELIGIBLE, INITIALIZING, Node
from swimnomad.nomad.tags import NOMAD_VERSION

CONNECT_META = {
    "connect.sidecar_image": "envoyproxy/envoy:v${NOMAD_envoy_version}",
    "connect.gateway_image": "envoyproxy/envoy:v${NOMAD_envoy_version}",
    "connect.log_level": "info",
    "connect.proxy_concurrency": "1",
}
"""What a client's metadata holds unless told otherwise."""


class NodeFacts(Value, frozen=True, kw_only=True):
    """What the host of a node says of itself. Nothing is said of what is 0 or empty.

    `ip` and `interface` are those that the node is reached at. `cpu_mhz` is that of one core.
    """

    kernel: str = ""
    kernel_version: str = ""
    arch: str = ""
    os: str = ""
    os_version: str = ""
    hostname: str = ""
    ip: str = "127.0.0.1"
    interface: str = "lo"
    cpu_count: int = 1
    cpu_mhz: int = 0
    cpu_model: str = ""
    memory_bytes: int = 0
    disk_volume: str = ""
    disk_bytes: int = 0
    disk_free_bytes: int = 0
    cgroup_mountpoint: str = ""


class NodeIdentity(Value, frozen=True, kw_only=True):
    """Who a node is: what its configuration and its data directory say."""

    id: str
    secret_id: str
    name: str
    datacenter: str
    http: Address
    node_class: str = ""
    meta: Mapping[str, str] = msgspec.field(default_factory=dict)
    tls_enabled: bool = False


def make_node(identity: NodeIdentity, facts: NodeFacts) -> Node:
    """The node as it registers."""
    return Node(
        id=identity.id,
        secret_id=identity.secret_id,
        datacenter=identity.datacenter,
        name=identity.name,
        http_addr=str(identity.http),
        node_class=identity.node_class,
        attributes=_attributes(identity, facts),
        meta={**CONNECT_META, **identity.meta},
        status=INITIALIZING,
        eligibility=ELIGIBLE,
        tls_enabled=identity.tls_enabled,
        details=_details(facts),
    )


def _attributes(identity: NodeIdentity, facts: NodeFacts) -> dict[str, str]:
    megahertz = facts.cpu_mhz * facts.cpu_count
    given = {
        "nomad.version": NOMAD_VERSION,
        "nomad.advertise.address": str(identity.http),
        "kernel.name": facts.kernel,
        "kernel.version": facts.kernel_version,
        "cpu.arch": facts.arch,
        "cpu.numcores": _number(facts.cpu_count),
        "cpu.frequency": _number(facts.cpu_mhz),
        "cpu.modelname": facts.cpu_model,
        "cpu.totalcompute": _number(megahertz),
        "memory.totalbytes": _number(facts.memory_bytes),
        "os.name": facts.os,
        "os.version": facts.os_version,
        "unique.hostname": facts.hostname,
        "unique.network.ip-address": facts.ip,
        "unique.storage.volume": facts.disk_volume,
        "unique.storage.bytestotal": _number(facts.disk_bytes),
        "unique.storage.bytesfree": _number(facts.disk_free_bytes),
        "unique.cgroup.mountpoint": facts.cgroup_mountpoint,
    }
    return {key: text for key, text in given.items() if text}


def _number(number: int) -> str:
    return str(number) if number else ""


def _details(facts: NodeFacts) -> dict[str, object]:
    """Resources in Nomad's two forms."""
    megahertz = facts.cpu_mhz * facts.cpu_count
    memory_mb, disk_mb = facts.memory_bytes >> 20, facts.disk_free_bytes >> 20
    family, bits = ("ipv6", 128) if ":" in facts.ip else ("ipv4", 32)

    def networks() -> list[Any]:
        return [
            {
                "CIDR": f"{facts.ip}/{bits}",
                "DNS": None,
                "Device": facts.interface,
                "DynamicPorts": None,
                "IP": facts.ip,
                "MBits": 1000,
                "Mode": "host",
                "ReservedPorts": None,
            }
        ]

    address = {
        "Address": facts.ip,
        "Alias": "default",
        "Family": family,
        "Gateway": "",
        "ReservedPorts": "",
    }
    return {
        "NodeResources": {
            "Cpu": {"CpuShares": megahertz},
            "Devices": None,
            "Disk": {"DiskMB": disk_mb},
            "Memory": {"MemoryMB": memory_mb},
            "Networks": networks(),
            "NodeNetworks": [
                {
                    "Addresses": [address],
                    "Device": facts.interface,
                    "MacAddress": "",
                    "Mode": "host",
                    "Speed": 1000,
                }
            ],
        },
        "Reserved": _old_resources(0, 0, 0, None),
        "ReservedResources": {
            "Cpu": {"CpuShares": 0},
            "Disk": {"DiskMB": 0},
            "Memory": {"MemoryMB": 0},
            "Networks": {"ReservedHostPorts": ""},
        },
        "Resources": _old_resources(megahertz, memory_mb, disk_mb, networks()),
        "Drivers": {},
    }


def _old_resources(
    megahertz: int, memory_mb: int, disk_mb: int, networks: list[Any] | None
) -> dict[str, object]:
    return {
        "CPU": megahertz,
        "Devices": None,
        "DiskMB": disk_mb,
        "IOPS": 0,
        "MemoryMB": memory_mb,
        "Networks": networks,
    }
