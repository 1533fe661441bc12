"""The `stats` object of `/v1/agent/self`: blocks of strings, read from what runs.

The block `raft` is there if Raft runs. Nomad's block `vault` describes a part this version does not
have; it is absent, not invented.

Source: nomad-agent.md §15.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING

from swimnomad.names import Address
from swimnomad.nomad.durations import duration_text
from swimnomad.nomad.leadership import contact_text

if TYPE_CHECKING:
    from swimnomad.nomad.client_node import ClientNode
    from swimnomad.nomad.config import AgentConfig
    from swimnomad.nomad.consensus import Consensus
    from swimnomad.nomad.core import NomadCore
    from swimnomad.nomad.leadership import Leadership

Stats = dict[str, dict[str, str]]

# What Go calls them, since scripts compare with that.
_GO_ARCH = {"x86_64": "amd64", "aarch64": "arm64", "i686": "386", "armv7l": "arm"}


def describe_stats(
    config: AgentConfig,
    core: NomadCore | None,
    tasks: int,
    leadership: Leadership | None = None,
    consensus: Consensus | None = None,
) -> Stats:
    """Every block this agent has.

    Args:
        config: Of the agent.
        core: None for an agent that is no server.
        tasks: Tasks alive in the process.
        leadership: Raft as requests see it; None for a server without.
        consensus: Raft itself; None for a server without.
    """
    stats = {"runtime": _runtime(tasks)}
    if core is not None:
        leader = None if leadership is None else leadership.leader
        leads = leadership is not None and leadership.leads
        stats["nomad"] = {
            "server": "true",
            "leader": "true" if leads else "false",
            "leader_addr": "" if leader is None else str(leader),
            "bootstrap": "true" if config.server.bootstrap_expect == 1 else "false",
            "known_regions": str(len(core.servers.peers)),
        }
        if consensus is not None:
            own = Address(core.serf.swim.address.host, config.advertised("rpc").port)
            stats["raft"] = _raft(consensus, own)
        stats["serf"] = dict(core.serf.stats())
    return stats


def describe_client(node: ClientNode, servers: Sequence[Address], now: float) -> dict[str, str]:
    """The block of the client role.

    Args:
        node: What the agent registers.
        servers: Those it knows.
        now: Seconds, on the clock that the node is given.
    """
    return {
        "node_id": node.node.id,
        "known_servers": ",".join(sorted(map(str, servers))),
        "num_allocations": "0",
        "last_heartbeat": duration_text(node.since_heartbeat(now)),
        "heartbeat_ttl": duration_text(node.heartbeat_ttl),
    }


def _raft(consensus: Consensus, own: Address) -> dict[str, str]:
    """Raft; `own` is where this server speaks it."""
    status, peers = consensus.status, consensus.configuration
    voters = [peer.address for peer in peers if peer.is_voter]
    shown = " ".join(
        f"{{Suffrage:{'Voter' if peer.is_voter else 'Nonvoter'} ID:{peer.id} "
        f"Address:{peer.address}}}"
        for peer in peers
    )
    return {
        "state": status.role,
        "term": str(status.term),
        "last_log_index": str(status.last_log_index),
        "last_log_term": str(status.last_log_term),
        "commit_index": str(status.commit_index),
        "applied_index": str(status.applied_index),
        "fsm_pending": str(status.fsm_pending),
        "last_snapshot_index": str(status.last_snapshot_index),
        "last_snapshot_term": str(status.last_snapshot_term),
        "protocol_version": str(status.protocol_version),
        "protocol_version_min": "0",
        "protocol_version_max": "3",
        "snapshot_version_min": "0",
        "snapshot_version_max": "1",
        "latest_configuration_index": "0",
        "latest_configuration": f"[{shown}]",
        "num_peers": str(len(voters) - 1 if own in voters else 0),
        "last_contact": contact_text(status),
    }


def go_arch(machine: str) -> str:
    """Go's name of a processor that uname calls `machine`."""
    return _GO_ARCH.get(machine, machine)


def _runtime(tasks: int) -> dict[str, str]:
    """The process. Tasks take the place of goroutines, the interpreter that of Go's version."""
    uname = os.uname()
    processors = str(os.cpu_count() or 1)
    return {
        "kernel.name": uname.sysname.lower(),
        "arch": go_arch(uname.machine),
        "version": f"{sys.implementation.name} {sys.version.split()[0]}",
        "max_procs": processors,
        "goroutines": str(tasks),
        "cpu_count": processors,
    }
