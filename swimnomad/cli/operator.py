"""`swimnomad operator`: what whoever runs a region does with its servers."""

from __future__ import annotations

import click

from swimnomad.cli import operator_autopilot, operator_raft


@click.group("operator")
def command() -> None:
    """See to the servers of a region: Raft and autopilot.

    Any agent of the region may be asked; the leader answers.
    """


command.add_command(operator_raft.group)
command.add_command(operator_autopilot.group)
