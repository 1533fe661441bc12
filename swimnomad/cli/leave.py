"""`swimnomad leave`: make an agent leave its cluster and stop."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from swimnomad.cli.options import agent_options

if TYPE_CHECKING:
    from swimnomad.cli.client import AgentClient


@click.command("leave")
@agent_options
def command(*, agent: AgentClient, as_json: bool) -> None:
    """Make an agent leave its cluster and stop.

    The others see it as left, not as failed. Real Nomad agents do not offer this over HTTP.
    """
    from swimnomad.cli.answers import LeaveAnswer
    from swimnomad.errors import OperationError

    answer = agent.order("/v1/swimnomad/leave")
    heard = answer.read(LeaveAnswer).heard
    if as_json:
        click.echo(answer.text())
    if not heard:
        raise OperationError(
            f"leave: agent at {agent.address} has left, but whether the others heard it is not"
            " known: they may see it as failed",
            may_have_happened=True,
        )
    if not as_json:
        click.echo(f"Agent at {agent.address} has left and stops")
