"""The tags by which Nomad servers know each other: writing ours, reading theirs.

Source: nomad-agent.md §1, §3.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from swimnomad.errors import UsageError
from swimnomad.names import Address, Value, host_of_ip, ip_of_host
from swimnomad.serf.events import Member, Status

if TYPE_CHECKING:
    from swimnomad.nomad.config import AgentConfig

NOMAD_VERSION = "1.0.4"
"""The version of Nomad whose behaviour this agent has; peers read it in the tag `build`."""


def server_tags(config: AgentConfig, node_id: str) -> dict[str, str]:
    """Tags of this agent as a server; `node_id` empty leaves `id` out."""
    rpc = config.advertised("rpc")
    server = config.server
    tags = {
        "role": "nomad",
        "region": config.region,
        "dc": config.datacenter,
        "vsn": "1",
        "mvn": "1",
        "build": NOMAD_VERSION,
        "raft_vsn": str(server.raft_protocol or 2),
        "id": node_id,
        "rpc_addr": rpc.host,
        "port": str(rpc.port),
        # Both stand there together for a single server, as Nomad does it.
        "bootstrap": "1" if server.bootstrap_expect == 1 else "",
        "expect": str(server.bootstrap_expect or ""),
        "nonvoter": "1" if server.non_voting_server else "",
        "ap_zone": server.redundancy_zone,
        "ap_version": server.upgrade_version,
    }
    optional = ("id", "bootstrap", "expect", "nonvoter", "ap_zone", "ap_version")
    return {key: value for key, value in tags.items() if value or key not in optional}


class Server(Value, frozen=True):
    """A member that is a Nomad server, as its tags describe it.

    `address` is where servers reach it: its gossip address with the RPC port. `rpc_address` is
    where client agents reach it.
    """

    name: str
    id: str
    region: str
    datacenter: str
    address: Address
    rpc_address: Address
    status: Status
    build: str
    major_version: int
    minor_version: int
    raft_version: int
    expect: int
    is_bootstrap: bool
    is_nonvoter: bool


def parse_server(member: Member) -> Server | None:
    """Read a member's tags; None if it is not a Nomad server.

    Tags come from peers: whatever they hold, nothing is raised.
    """
    tags = member.tags
    port, major = _integer(tags.get("port")), _integer(tags.get("vsn"))
    expect, raft = _integer(tags.get("expect", "0")), _integer(tags.get("raft_vsn", "0"))
    build = tags.get("build", "")
    if tags.get("role") != "nomad" or not _VERSION.fullmatch(build):
        return None
    if port is None or major is None or expect is None or raft is None:
        return None
    host = host_of_ip(member.ip) if len(member.ip) in (4, 16) else ""
    return Server(
        name=member.name,
        id=tags.get("id", "unknown"),
        region=tags.get("region", ""),
        datacenter=tags.get("dc", ""),
        address=Address(host, port),
        rpc_address=Address(_ip_text(tags.get("rpc_addr", "")) or host, port),
        status=member.status,
        build=build,
        major_version=major,
        minor_version=_integer(tags.get("mvn")) or 0,
        raft_version=raft,
        expect=expect,
        # Their presence alone counts, whatever the value: so Nomad.
        is_bootstrap="bootstrap" in tags,
        is_nonvoter="nonvoter" in tags,
    )


# What Go's version library takes: numbers, then a prerelease and metadata, both optional.
_VERSION = re.compile(
    r"v?[0-9]+(\.[0-9]+)*"
    r"(-[0-9]+[0-9A-Za-z~-]*(\.[0-9A-Za-z~-]+)*|-?[A-Za-z~-]+[0-9A-Za-z~-]*(\.[0-9A-Za-z~-]+)*)?"
    r"(\+[0-9A-Za-z~-]+(\.[0-9A-Za-z~-]+)*)?"
)
_INTEGER = re.compile(r"[+-]?[0-9]{1,19}")


def _integer(text: str | None) -> int | None:
    """A decimal integer of at most 64 bits, as Go reads it; None if it is not one."""
    if text is None or not _INTEGER.fullmatch(text):
        return None
    value = int(text)
    return value if -(2**63) <= value < 2**63 else None


def _ip_text(text: str) -> str:
    """An IP address in its usual form; empty if the text is not one."""
    try:
        return host_of_ip(ip_of_host(text))
    except UsageError:
        return ""
