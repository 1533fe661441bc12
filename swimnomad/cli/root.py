"""The root command: a table of subcommands whose modules are imported when they are called."""

from __future__ import annotations

import importlib
from collections.abc import Mapping

import click

from swimnomad import __version__

SECTIONS: Mapping[str, Mapping[str, str]] = {
    "Run agents": {
        "agent": "Run one agent until it is told to stop.",
        "cluster": "Start, show and stop a cluster of agents on this machine.",
        "demo": "Watch five agents notice a crash, a leave and a return.",
        "run": "Run a scenario file and judge it by its checks.",
        "replay": "Replay a node from a journal and compare what it does.",
        "explore": "Search for a schedule of faults that breaks a promise.",
    },
    "Ask an agent": {
        "members": "List the members an agent knows.",
        "join": "Make an agent join others.",
        "force-leave": "Move a failed member to left.",
        "leave": "Make an agent leave its cluster and stop.",
        "info": "Show an agent's statistics.",
        "health": "Ask an agent whether it is healthy.",
        "servers": "Show or replace a client agent's list of servers.",
    },
    "Ask a region": {
        "nodes": "List the client nodes of a region.",
        "node": "Show one client node.",
        "operator": "See to the servers of a region: Raft and autopilot.",
        "acl": "Keep ACL policies and tokens.",
    },
    "Keys": {
        "keygen": "Print a new gossip encryption key.",
        "tls": "Make an authority and certificates for TLS.",
    },
}
"""Heading -> command -> its one line. The command `force-leave` is in `force_leave.py`, as the
click command `command`. The lines stand here so that `--help` imports none of the modules."""

CONTEXT = {"help_option_names": ["-h", "--help"], "max_content_width": 100}

LINES = {name: line for section in SECTIONS.values() for name, line in section.items()}


class LazyGroup(click.Group):
    """A group that knows its commands by name and imports one only when it is called."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Every command, in the order of the table."""
        return list(LINES)

    def get_command(self, ctx: click.Context, name: str) -> click.Command | None:
        """Import the module of one command; None if there is no such command."""
        if name not in LINES:
            return None
        module = importlib.import_module(f"swimnomad.cli.{name.replace('-', '_')}")
        command: click.Command = module.command
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the table of commands from the lines above."""
        width = max(map(len, LINES))
        for heading, commands in SECTIONS.items():
            with formatter.section(heading):
                formatter.write_dl([(name.ljust(width), line) for name, line in commands.items()])


@click.group(cls=LazyGroup, context_settings=CONTEXT)
@click.version_option(__version__, message="swimnomad %(version)s")
def root() -> None:
    """Clusters of Nomad-shaped agents that gossip for real.

    Exit status: 0 done, 1 failed or unknown (the message says which), 2 bad usage.
    """
