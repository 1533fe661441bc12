"""The tags by which Nomad servers know each other: writing ours, reading theirs.

Source: nomad-agent.md §1, §3.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

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
