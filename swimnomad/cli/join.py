"""`swimnomad join`: make an agent join others."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from swimnomad.cli.options import agent_options

if TYPE_CHECKING:
    from swimnomad.cli.client import AgentClient


NOT_REACHED = (
    "Failed to resolve",
    "connection refused",
    "network is unreachable",
    "no route to host",
    "after Leave or Shutdown",
)
"""Parts of an agent's texts for a contact that certainly did not happen. With any other cause (a
deadline, a refusal by the other side) our agent's own record may have arrived there."""


@click.command("join")
@click.argument("addresses", metavar="ADDR...", nargs=-1, required=True)
@agent_options
def command(*, agent: AgentClient, as_json: bool, addresses: tuple[str, ...]) -> None:
    """Make an agent join others.

    ADDR is HOST, HOST:PORT or [IPV6]:PORT of a gossip port (4648 if none is given). One that
    answers is enough.
    """
    from swimnomad.cli.answers import JoinAnswer
    from swimnomad.cli.client import one_line
    from swimnomad.errors import OperationError

    if "" in addresses:
        raise click.UsageError("ADDR is empty: allowed are HOST, HOST:PORT and [IPV6]:PORT")
    answer = agent.order("/v1/agent/join", [("address", address) for address in addresses])
    result = answer.read(JoinAnswer)
    if as_json:
        click.echo(answer.text())
    if result.error:
        raise OperationError(
            f"join: {one_line(result.error)}", may_have_happened=not _is_certain(result.error)
        )
    if not as_json:
        click.echo(_summary(result.num_joined, len(addresses)))


def _is_certain(error: str) -> bool:
    """Whether no address was reached at all, so that nobody can have heard of the agent."""
    causes = [line for line in error.splitlines() if line.startswith("\t* ")] or [error]
    return all(any(words in cause for words in NOT_REACHED) for cause in causes)


def _summary(joined: int, asked: int) -> str:
    """The agent counts contacts: a name with several addresses is several of them."""
    contacts = f"{joined} contact{'' if joined == 1 else 's'} answered"
    if joined < asked:
        return f"Joined: {contacts}; {asked - joined} of the {asked} addresses did not"
    return f"Joined: {contacts}"
