"""`swimnomad info`: an agent's statistics."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from swimnomad.cli.options import agent_options

if TYPE_CHECKING:
    from swimnomad.cli.client import AgentClient


@click.command("info")
@agent_options
def command(*, agent: AgentClient, as_json: bool) -> None:
    """Show an agent's statistics.

    With --json the whole answer of the agent: its configuration, its own member record and its
    statistics.
    """
    from swimnomad.cli.answers import SelfAnswer
    from swimnomad.cli.output import console

    answer = agent.ask("/v1/agent/self")
    if as_json:
        click.echo(answer.text())
        return
    screen = console()
    for block, numbers in sorted(answer.read(SelfAnswer).stats.items()):
        screen.print(block, style="bold", markup=False)
        for key, value in sorted(numbers.items()):
            screen.print(f"  {key} = {value}", markup=False)
