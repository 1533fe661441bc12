"""What has to be done in Raft so that it has the servers that gossip has: one step at a time.

Source: nomad-agent.md §6.1; nomad leader.go, reconcileMember, addRaftPeer, removeRaftPeer.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

from swimnomad.nomad.consensus import RaftPeer
from swimnomad.nomad.duties.messages import Log
from swimnomad.nomad.duties.view import DutyView, alive, peer_of, stands_for, uses_uuids
from swimnomad.nomad.tags import Server
from swimnomad.serf.events import Status


class Step(NamedTuple):
    """One change of Raft's configuration; if `more`, look at the same server again afterwards."""

    action: Literal["add", "remove"]
    peer: RaftPeer
    log: Log
    more: bool = False


def next_step(server: Server, view: DutyView, *, is_reaped: bool = False) -> Step | Log | None:
    """What is to be done about one server; None for nothing.

    Args:
        server: As gossip knows it, or knew it last.
        view: The rest.
        is_reaped: Gossip has forgotten it.
    """
    if server.name == view.own_name:
        return None  # a leader that leaves hands over first, and is then removed by the next
    if is_reaped or server.status is Status.LEFT:
        return _removal(server, view)
    return _addition(server, view) if server.status is Status.ALIVE else None


def _addition(server: Server, view: DutyView) -> Step | Log | None:
    servers = view.servers
    if server.is_bootstrap and any(
        other.is_bootstrap for name, other in servers.items() if name != server.name
    ):
        return Log(
            "error",
            "skipping adding Raft peer because an existing peer is in bootstrap mode "
            f"and only one server should be in bootstrap mode: adding_peer={server.name}",
        )
    by_uuid = uses_uuids(alive(servers))
    wanted = peer_of(server, by_uuid=by_uuid, is_voter=not by_uuid)
    for peer in view.peers:
        if not stands_for(peer, server):
            continue
        if not by_uuid and peer.address == server.address:
            return None
        if by_uuid and (peer.id, peer.address) == (wanted.id, wanted.address):
            return None
        # The same server under another id or address: two of it would count twice.
        return Step(
            "remove", peer, Log("info", f"removed server with duplicate: {_shown(peer)}"), more=True
        )
    return Step("add", wanted, Log("info", f"adding server to Raft: {_shown(wanted)}"))


def _removal(server: Server, view: DutyView) -> Step | None:
    others = [other for other in alive(view.servers) if other.name != server.name]
    for peer in view.peers:
        if not stands_for(peer, server):
            continue
        if any(stands_for(peer, other) for other in others):
            continue  # somebody else took its place, and is alive
        how = "address" if peer.id == str(peer.address) else "ID"
        return Step("remove", peer, Log("info", f"removing server by {how}: {_shown(peer)}"))
    return None


def _shown(peer: RaftPeer) -> str:
    return f"id={peer.id} address={peer.address}"
