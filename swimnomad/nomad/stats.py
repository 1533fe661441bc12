"""The `stats` object of `/v1/agent/self`: blocks of strings, read from what runs.

Nomad's blocks `raft`, `vault` and `client` describe parts this version does not have; they are
absent, not invented.

Source: nomad-agent.md §15.
"""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from swimnomad.nomad.config import AgentConfig
    from swimnomad.nomad.core import NomadCore

Stats = dict[str, dict[str, str]]

# What Go calls them, since scripts compare with that.
_GO_ARCH = {"x86_64": "amd64", "aarch64": "arm64", "i686": "386", "armv7l": "arm"}


def describe_stats(config: AgentConfig, core: NomadCore | None, tasks: int) -> Stats:
    """Every block this agent has; `core` is None for an agent that is no server."""
    stats = {"runtime": _runtime(tasks)}
    if core is not None:
        stats["nomad"] = {
            "server": "true",
            "leader": "false",
            "leader_addr": "",
            "bootstrap": "true" if config.server.bootstrap_expect == 1 else "false",
            "known_regions": str(len(core.servers.peers)),
        }
        stats["serf"] = dict(core.serf.stats())
    return stats


def _runtime(tasks: int) -> dict[str, str]:
    """The process. Tasks take the place of goroutines, the interpreter that of Go's version."""
    uname = os.uname()
    processors = str(os.cpu_count() or 1)
    return {
        "kernel.name": uname.sysname.lower(),
        "arch": _GO_ARCH.get(uname.machine, uname.machine),
        "version": f"{sys.implementation.name} {sys.version.split()[0]}",
        "max_procs": processors,
        "goroutines": str(tasks),
        "cpu_count": processors,
    }
