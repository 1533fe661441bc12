"""`swimnomad operator raft`: the servers that keep a region's state together."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from swimnomad.cli.options import agent_options, option, stale_option

if TYPE_CHECKING:
    from swimnomad.cli.answers import RaftServer
    from swimnomad.cli.client import AgentClient

CONFIGURATION = "/v1/operator/raft/configuration"


@click.group("raft")
def group() -> None:
    """Show and change who takes part in Raft, and who leads."""


@group.command("list-peers")
@stale_option
@agent_options
def list_peers(*, agent: AgentClient, as_json: bool, stale: bool) -> None:
    """List the servers in Raft's configuration."""
    from swimnomad.cli.answers import RaftAnswer
    from swimnomad.cli.output import echo_table, go_text

    answer = agent.ask(CONFIGURATION, [("stale", "")] if stale else ())
    if as_json:
        click.echo(answer.text())
        return
    rows = [
        (
            server.node,
            server.id,
            server.address,
            "leader" if server.leader else "follower",
            go_text(server.voter),
            server.raft_protocol,
        )
        for server in answer.read(RaftAnswer).servers or ()
    ]
    echo_table(("Node", "ID", "Address", "State", "Voter", "RaftProtocol"), rows)


@group.command("remove-peer")
@option("--peer-address", default="", metavar="IP:PORT", help="The server with this address.")
@option("--peer-id", default="", metavar="ID", help="The server with this id.")
@agent_options
def remove_peer(*, agent: AgentClient, as_json: bool, peer_address: str, peer_id: str) -> None:
    """Take a server out of Raft's configuration.

    For one that is gone and that the leader did not remove by itself, as it does with servers that
    left, were forced out or are long dead. One that is alive in gossip is added again.
    """
    if bool(peer_address) == bool(peer_id):
        raise click.UsageError("exactly one of --peer-address and --peer-id is needed")
    what, value = ("id", peer_id) if peer_id else ("address", peer_address)
    answer = agent.order("/v1/operator/raft/peer", [(what, value)], method="DELETE")
    click.echo(answer.text() if as_json else f"Removed peer with {what} {value}")


@group.command("transfer-leadership")
@click.argument("peer", metavar="[ID]", default="")
@agent_options
def transfer_leadership(*, agent: AgentClient, as_json: bool, peer: str) -> None:
    """Let another server lead.

    ID is a server's id or address, as `list-peers` shows them; without it, the first voter that is
    alive and does not lead already.
    """
    peer = peer or _successor(agent)
    what = "address" if ":" in peer else "id"
    answer = agent.order("/v1/operator/raft/transfer-leadership", [(what, peer)])
    click.echo(answer.text() if as_json else f"Leadership is handed over to {peer}")


def _successor(agent: AgentClient) -> str:
    from swimnomad.cli.answers import MemberList, RaftAnswer
    from swimnomad.errors import OperationError

    def is_fit(server: RaftServer) -> bool:
        return server.voter and not server.leader and server.node in alive

    members = agent.ask("/v1/agent/members").read(MemberList).members
    alive = {member.name for member in members if member.status == "alive"}
    servers = agent.ask(CONFIGURATION).read(RaftAnswer).servers or ()
    successor = next(filter(is_fit, servers), None)
    if successor is None:
        raise OperationError(
            "transfer-leadership: no other voter is alive, so nobody could lead",
            may_have_happened=False,
        )
    return successor.id
