"""`swimnomad node`: one client node."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from swimnomad.cli.options import agent_options

if TYPE_CHECKING:
    from swimnomad.cli.answers import NodeAnswer
    from swimnomad.cli.client import AgentClient


@click.command("node")
@click.argument("node_id", metavar="ID")
@agent_options
def command(*, agent: AgentClient, as_json: bool, node_id: str) -> None:
    """Show one client node.

    ID is a node's id or its beginning, two characters at least. The latest event stands first.
    """
    from swimnomad.cli.answers import NodeAnswer
    from swimnomad.cli.output import echo_table

    answer = agent.ask(f"/v1/node/{_whole_id(agent, node_id.lower())}")
    if as_json:
        click.echo(answer.text())
        return
    node = answer.read(NodeAnswer)
    _describe(node)
    if node.events:
        click.echo("\nNode Events")
        rows = [(event.timestamp, event.subsystem, event.message) for event in node.events]
        echo_table(("Time", "Subsystem", "Message"), reversed(rows))


def _whole_id(agent: AgentClient, beginning: str) -> str:
    """The id of the one node whose id begins so."""
    from swimnomad.cli.answers import NodeStub
    from swimnomad.cli.failures import QuestionFailed

    if len(beginning) < 2:
        raise click.UsageError("ID must contain at least two characters")
    # Agents look up whole bytes only: two digits each.
    odd = len(beginning.replace("-", "")) % 2
    prefix = beginning[: len(beginning) - odd]
    nodes = agent.ask("/v1/nodes", [("prefix", prefix)]).read(list[NodeStub])
    found = [node for node in nodes if node.id.startswith(beginning)]
    if not found:
        raise QuestionFailed(
            f"node: agent at {agent.address} knows no node whose id begins with {beginning!r}"
        )
    if len(found) > 1:
        names = ", ".join(f"{node.id} ({node.name})" for node in found)
        raise QuestionFailed(f"node: {beginning!r} is the beginning of several ids: {names}")
    return found[0].id


def _describe(node: NodeAnswer) -> None:
    from swimnomad.cli.output import echo_pairs

    pairs = [
        ("ID", node.id),
        ("Name", node.name),
        ("Class", node.node_class),
        ("DC", node.datacenter),
        ("Address", node.http_addr),
        ("Version", (node.attributes or {}).get("nomad.version", "")),
        ("Drain", node.drain),
        ("Eligibility", node.scheduling_eligibility),
        ("Status", node.status),
    ]
    if node.status_description:
        pairs.append(("Description", node.status_description))
    echo_pairs(pairs)
