"""`swimnomad members`: who an agent knows."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from swimnomad.cli.options import agent_options

if TYPE_CHECKING:
    from rich.text import Text

    from swimnomad.cli.answers import Member
    from swimnomad.cli.client import AgentClient

HEADINGS = ("Name", "Address", "Port", "Status", "Protocol", "Build", "Datacenter", "Region")


@click.command("members")
@agent_options
def command(*, agent: AgentClient, as_json: bool) -> None:
    """List the members an agent knows.

    Failed and left ones are listed until they are forgotten; sorted by region, datacenter, name.
    """
    from swimnomad.cli.answers import MemberList
    from swimnomad.cli.output import echo_table

    answer = agent.ask("/v1/agent/members")
    if as_json:
        click.echo(answer.text())
    else:
        echo_table(HEADINGS, map(_row, sorted(answer.read(MemberList).members, key=_order)))


def _order(member: Member) -> tuple[str, str, str]:
    return member.tag("region"), member.tag("dc"), member.name


def _row(member: Member) -> tuple[str | Text, ...]:
    from swimnomad.cli.output import styled

    return (
        member.name,
        member.addr or "",
        str(member.port),
        styled(member.status),
        str(member.protocol_cur),
        member.tag("build"),
        member.tag("dc"),
        member.tag("region"),
    )
