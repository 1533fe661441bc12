"""`swimnomad acl token`: secrets, and the policies each stands for."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import quote

import click

from swimnomad.cli.options import agent_options, option

if TYPE_CHECKING:
    from swimnomad.cli.client import AgentClient, Answer


@click.group("token")
def group() -> None:
    """Keep tokens: secrets that stand for policies. They are kept, not enforced."""


def _path(accessor_id: str) -> str:
    if not accessor_id:
        raise click.UsageError("ACCESSOR is empty: it is a token's id, a UUID of 36 characters")
    return f"/v1/acl/token/{quote(accessor_id, safe='')}"


def show(answer: Answer, *, as_json: bool) -> None:
    """Print a token with its secret."""
    from swimnomad.cli.answers import TokenAnswer
    from swimnomad.cli.output import echo_pairs

    if as_json:
        click.echo(answer.text())
        return
    token = answer.read(TokenAnswer)
    may_do_all = token.type == "management"
    echo_pairs(
        [
            ("Accessor ID", token.accessor_id),
            ("Secret ID", token.secret_id),
            ("Name", token.name),
            ("Type", token.type),
            ("Global", token.is_global),
            ("Policies", "n/a" if may_do_all else f"[{' '.join(token.policies or ())}]"),
            ("Create Time", token.create_time),
            ("Create Index", token.create_index),
            ("Modify Index", token.modify_index),
        ]
    )


@group.command("create")
@option("--name", default="", metavar="TEXT", help="What it is for.")
@option(
    "--type",
    "kind",
    type=click.Choice(["client", "management"]),
    default="client",
    show_default=True,
    help="A client may do what its policies say, management everything.",
)
@option("--policy", "policies", multiple=True, metavar="NAME", help="One of its policies.")
@option("--global", "is_global", is_flag=True, help="For all regions.")
@agent_options
def create(
    *,
    agent: AgentClient,
    as_json: bool,
    name: str,
    kind: str,
    policies: tuple[str, ...],
    is_global: bool,
) -> None:
    """Make a token."""
    if kind == "client" and not policies:
        raise click.UsageError("a client token needs --policy NAME, once or several times")
    if kind == "management" and policies:
        raise click.UsageError("--policy is for client tokens: management may do everything")
    body = {"Name": name, "Type": kind, "Policies": policies or None, "Global": is_global}
    show(agent.order("/v1/acl/token", body=body), as_json=as_json)


@group.command("list")
@agent_options
def list_all(*, agent: AgentClient, as_json: bool) -> None:
    """List all tokens, without their secrets."""
    from swimnomad.cli.answers import TokenStub
    from swimnomad.cli.output import echo_table, go_text

    answer = agent.ask("/v1/acl/tokens")
    if as_json:
        click.echo(answer.text())
        return
    rows = [
        (token.name, token.type, go_text(token.is_global), token.accessor_id)
        for token in answer.read(list[TokenStub])
    ]
    if rows:
        echo_table(("Name", "Type", "Global", "Accessor ID"), rows)
    else:
        click.echo("No tokens found")


@group.command("info")
@click.argument("accessor_id", metavar="ACCESSOR")
@agent_options
def info(*, agent: AgentClient, as_json: bool, accessor_id: str) -> None:
    """Show one token with its secret."""
    show(agent.ask(_path(accessor_id)), as_json=as_json)


@group.command("self")
@agent_options
def own(*, agent: AgentClient, as_json: bool) -> None:
    """Show the token that --token or NOMAD_TOKEN is the secret of."""
    if not click.get_current_context().params["token"]:
        raise click.UsageError("--token or NOMAD_TOKEN is needed: whose token is to be shown?")
    show(agent.ask("/v1/acl/token/self"), as_json=as_json)


@group.command("delete")
@click.argument("accessor_id", metavar="ACCESSOR")
@agent_options
def delete(*, agent: AgentClient, as_json: bool, accessor_id: str) -> None:
    """Delete a token."""
    answer = agent.order(_path(accessor_id), method="DELETE")
    click.echo(answer.text() if as_json else f"Deleted token {accessor_id}")
