"""`swimnomad acl policy`: rules under a name."""

from __future__ import annotations

from typing import IO, TYPE_CHECKING
from urllib.parse import quote

import click

from swimnomad.cli.options import agent_options, option

if TYPE_CHECKING:
    from swimnomad.cli.client import AgentClient


@click.group("policy")
def group() -> None:
    """Keep policies: rules under a name. They are kept, not enforced."""


def _path(name: str) -> str:
    if not name:
        raise click.UsageError("NAME is empty: allowed are letters, digits and -")
    return f"/v1/acl/policy/{quote(name, safe='')}"


@group.command("apply")
@click.argument("name")
@click.argument("rules", metavar="FILE", type=click.File("rb"))
@option("--description", default="", metavar="TEXT", help="What it is for.")
@agent_options
def apply(
    *, agent: AgentClient, as_json: bool, name: str, rules: IO[bytes], description: str
) -> None:
    """Write a policy, new or in place of the one of this name.

    FILE holds its rules in HCL or JSON; `-` reads them from standard input.
    """
    try:
        text = rules.read().decode()
    except UnicodeDecodeError:
        raise click.UsageError(f"FILE {rules.name} is not UTF-8 text") from None
    body = {"Name": name, "Description": description, "Rules": text}
    answer = agent.order(_path(name), body=body)
    click.echo(answer.text() if as_json else f"Wrote policy {name}")


@group.command("list")
@agent_options
def list_all(*, agent: AgentClient, as_json: bool) -> None:
    """List all policies."""
    from swimnomad.cli.answers import PolicyStub
    from swimnomad.cli.output import echo_table

    answer = agent.ask("/v1/acl/policies")
    if as_json:
        click.echo(answer.text())
        return
    rows = [(policy.name, policy.description) for policy in answer.read(list[PolicyStub])]
    if rows:
        echo_table(("Name", "Description"), rows)
    else:
        click.echo("No policies found")


@group.command("info")
@click.argument("name")
@agent_options
def info(*, agent: AgentClient, as_json: bool, name: str) -> None:
    """Show one policy."""
    from swimnomad.cli.answers import PolicyAnswer
    from swimnomad.cli.output import echo_pairs

    answer = agent.ask(_path(name))
    if as_json:
        click.echo(answer.text())
        return
    policy = answer.read(PolicyAnswer)
    echo_pairs(
        [
            ("Name", policy.name),
            ("Description", policy.description),
            ("Rules", policy.rules.rstrip("\n")),
            ("CreateIndex", policy.create_index),
            ("ModifyIndex", policy.modify_index),
        ]
    )


@group.command("delete")
@click.argument("name")
@agent_options
def delete(*, agent: AgentClient, as_json: bool, name: str) -> None:
    """Delete a policy. Agents answer in the same way if there is none of this name."""
    answer = agent.order(_path(name), method="DELETE")
    click.echo(answer.text() if as_json else f"Deleted policy {name}")
