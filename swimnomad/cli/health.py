"""`swimnomad health`: is an agent healthy?"""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from swimnomad.cli.options import agent_options

if TYPE_CHECKING:
    from swimnomad.cli.client import AgentClient


@click.command("health")
@agent_options
def command(*, agent: AgentClient, as_json: bool) -> None:
    """Ask an agent whether it is healthy.

    Exit status 0 if every role it runs is, 1 if one is not.
    """
    from rich.text import Text

    from swimnomad.cli.answers import RoleHealth
    from swimnomad.cli.failures import CheckFailed
    from swimnomad.cli.output import echo_table

    answer = agent.ask("/v1/agent/health", accept=(500,))
    roles = sorted(answer.read(dict[str, RoleHealth]).items())
    if as_json:
        click.echo(answer.text())
    else:
        words = {True: Text("healthy", "green"), False: Text("unhealthy", "bold red")}
        rows = [(role, words[part.ok], part.message) for role, part in roles]
        echo_table(("Role", "Health", "Message"), rows)
    sick = [f"{role}: {part.message}" for role, part in roles if not part.ok]
    if sick:
        raise CheckFailed(f"agent at {agent.address} is not healthy: {'; '.join(sick)}")
