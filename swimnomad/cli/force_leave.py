"""`swimnomad force-leave`: move a failed member to left, and look whether it happened."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from swimnomad.cli.options import agent_options, option

if TYPE_CHECKING:
    from swimnomad.cli.client import AgentClient


@click.command("force-leave")
@click.argument("name")
@option("--prune", is_flag=True, help="Forget the member altogether.")
@agent_options
def command(*, agent: AgentClient, as_json: bool, name: str, prune: bool) -> None:
    """Move a failed member to left.

    NAME is the full gossip name, as `web1.global`. The agent answers in the same way whether the
    name is known or not, so the member list is read before and after. A member that is alive
    refutes and stays.
    """
    from swimnomad.cli.output import echo_json
    from swimnomad.errors import OperationError

    before = _statuses(agent)
    if name not in before:
        known = ", ".join(sorted(before)) or "nobody"
        raise OperationError(
            f"force-leave: agent at {agent.address} knows no member {name!r}: it knows {known}",
            may_have_happened=False,
        )
    agent.order("/v1/agent/force-leave", [("node", name), *([("prune", "1")] if prune else [])])
    status = _statuses(agent).get(name, "forgotten")
    if as_json:
        echo_json({"node": name, "before": before[name], "after": status})
    if status not in ("left", "forgotten"):
        raise OperationError(
            f"force-leave: {name} was {before[name]} and is {status}: a member that is alive"
            " refutes and stays",
            may_have_happened=True,
        )
    if prune and status != "forgotten":
        raise OperationError(
            f"force-leave: {name} is {status} but not forgotten: the agent did not prune it",
            may_have_happened=True,
        )
    if not as_json:
        click.echo(f"{name} was {before[name]} and is now {status}")


def _statuses(agent: AgentClient) -> dict[str, str]:
    from swimnomad.cli.answers import MemberList

    listed = agent.ask("/v1/agent/members").read(MemberList).members
    return {member.name: member.status for member in listed}
