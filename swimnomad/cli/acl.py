"""`swimnomad acl`: policies and tokens that the servers of a region keep."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from swimnomad.cli import acl_policy, acl_token
from swimnomad.cli.options import agent_options

if TYPE_CHECKING:
    from swimnomad.cli.client import AgentClient


@click.group("acl")
def command() -> None:
    """Keep ACL policies and tokens.

    Servers with `acl { enabled = true }` keep them as data and show them to anybody. They are not
    enforced: a request with a wrong token, or without one, is served like any other.
    """


@command.command("bootstrap")
@agent_options
def bootstrap(*, agent: AgentClient, as_json: bool) -> None:
    """Make the first token, once.

    It is of type management. As all ACLs it is kept, but not asked for: see `swimnomad acl --help`.
    """
    acl_token.show(agent.order("/v1/acl/bootstrap"), as_json=as_json)


command.add_command(acl_policy.group)
command.add_command(acl_token.group)
