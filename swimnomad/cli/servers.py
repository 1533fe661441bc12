"""`swimnomad servers`: the servers a client agent talks to."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from swimnomad.cli.options import agent_options, option

if TYPE_CHECKING:
    from swimnomad.cli.client import AgentClient

PATH = "/v1/agent/servers"


@click.command("servers")
@option("--set", "replace", is_flag=True, help="Replace the list by the addresses given.")
@click.argument("addresses", metavar="[ADDR...]", nargs=-1)
@agent_options
def command(
    *, agent: AgentClient, as_json: bool, replace: bool, addresses: tuple[str, ...]
) -> None:
    """Show or replace a client agent's list of servers.

    ADDR is HOST or HOST:PORT of an RPC port (4647 if none is given). The agent keeps those that
    answer; if none does, its old list stays. Agents that run no client have no such list.
    """
    if replace and not addresses:
        raise click.UsageError("--set needs at least one ADDR: HOST or HOST:PORT of a server")
    if addresses and not replace:
        raise click.UsageError(f"{addresses[0]} is given without --set: only --set takes addresses")
    if replace:
        agent.order(PATH, [("address", address) for address in addresses])
    answer = agent.ask(PATH)
    if as_json:
        click.echo(answer.text())
    else:
        for server in answer.read(list[str]):
            click.echo(server)
