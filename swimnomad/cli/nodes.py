"""`swimnomad nodes`: the client nodes of a region."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from swimnomad.cli.options import agent_options, option, stale_option

if TYPE_CHECKING:
    from rich.text import Text

    from swimnomad.cli.answers import NodeStub
    from swimnomad.cli.client import AgentClient

SHORT_ID = 8
"""Characters of an id that lists show; enough to name a node by."""


@click.command("nodes")
@option("--verbose", is_flag=True, help="Whole ids, addresses and versions too.")
@stale_option
@agent_options
def command(*, agent: AgentClient, as_json: bool, verbose: bool, stale: bool) -> None:
    """List the client nodes of a region.

    What its servers keep of them: a node is ready while its heartbeats arrive, and down after.
    """
    from swimnomad.cli.answers import NodeStub
    from swimnomad.cli.output import echo_table

    answer = agent.ask("/v1/nodes", [("stale", "")] if stale else ())
    if as_json:
        click.echo(answer.text())
        return
    more = ("Address", "Version") if verbose else ()
    headings = ("ID", "DC", "Name", "Class", *more, "Drain", "Eligibility", "Status")
    nodes = sorted(answer.read(list[NodeStub]), key=lambda node: (node.datacenter, node.name))
    if nodes:
        echo_table(headings, [_row(node, verbose=verbose) for node in nodes])
    else:
        click.echo("No nodes registered")


def _row(node: NodeStub, *, verbose: bool) -> tuple[str | Text, ...]:
    from swimnomad.cli.output import go_text, styled

    return (
        node.id if verbose else node.id[:SHORT_ID],
        node.datacenter,
        node.name,
        node.node_class or "<none>",
        *((node.address, node.version) if verbose else ()),
        go_text(node.drain),
        node.scheduling_eligibility,
        styled(node.status),
    )
