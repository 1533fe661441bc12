"""Nomad's endpoints: each handler reads its parameters and asks the agent, nothing else.

Source: agent-http.md §4, §5.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

from swimnomad.http.calls import TEXT, Answer, Call
from swimnomad.http.dialect import encode_json
from swimnomad.nomad.failures import RequestFailed
from swimnomad.nomad.members_view import describe_members
from swimnomad.nomad.requests import (
    Query,
    RegionList,
    StatusLeader,
    StatusMembers,
    StatusPeers,
)

if TYPE_CHECKING:
    from swimnomad.nomad.agent import Agent, Health


Asked = TypeVar("Asked", bound=Query[Any])


def _read(kind: type[Asked], agent: Agent, call: Call) -> Asked:
    """A reading request with what every one of them takes from the call.

    `index` and `wait` were checked at the door; nothing here waits for a change.
    """
    query = call.query
    return kind(
        region=query.first("region") or agent.config.region,
        namespace=query.first("namespace") or "default",
        stale=query.has("stale"),
        prefix=query.first("prefix"),
        token=call.token,
    )


async def members(agent: Agent, call: Call) -> object:
    """GET /v1/agent/members: everybody a server remembers, whatever the region."""
    return describe_members(await agent.ask(_read(StatusMembers, agent, call)))


async def describe_self(agent: Agent, call: Call) -> object:
    """GET /v1/agent/self: configuration, own member, statistics."""
    return agent.describe_self()


async def join(agent: Agent, call: Call) -> object:
    """PUT /v1/agent/join: contact the addresses; the outcome is in the body."""
    agent.require_server()
    addresses = call.query.all("address")
    if not addresses:
        raise RequestFailed("missing address to join", status=400)
    outcome = await agent.join(addresses)
    return {"error": outcome.error, "num_joined": outcome.joined}


async def force_leave(agent: Agent, call: Call) -> object:
    """PUT /v1/agent/force-leave: declare a failed member left, or forget it with `prune`."""
    agent.require_server()
    node = call.query.first("node")
    if not node:
        raise RequestFailed("missing node to force leave", status=400)
    await agent.force_leave(node, prune=_is_true(call.query.first("prune")))
    return Answer()


def _is_true(text: str) -> bool:
    """A boolean as Go's ParseBool takes it; anything else is false."""
    return text in ("1", "t", "T", "TRUE", "true", "True")


async def servers(agent: Agent, call: Call) -> object:
    """GET /v1/agent/servers: the servers that the client role knows; PUT: know others."""
    agent.require_client()
    if call.method == "GET":
        return await agent.servers()
    if not call.query.has("address"):
        raise RequestFailed("missing server address", status=400)
    await agent.set_servers(call.query.all("address"))
    return Answer()


async def health(agent: Agent, call: Call) -> object:
    """GET /v1/agent/health: 200 if all that was asked about is well, else 500."""
    query = call.query
    found = await agent.health(query.all("type"), query.first("region"), stale=query.has("stale"))
    if found.ok:
        return _parts(found)
    # Nomad writes this body by other means: other order of fields, and typed as text.
    return Answer(500, encode_json(_parts(found), keep_order=True), TEXT)


def _parts(found: Health) -> dict[str, object]:
    parts = {"client": found.client, "server": found.server}
    return {
        role: {"ok": part.ok, "message": part.message}
        for role, part in parts.items()
        if part is not None
    }


async def leader(agent: Agent, call: Call) -> object:
    """GET /v1/status/leader: Raft address of the leader."""
    return await agent.ask(_read(StatusLeader, agent, call))


async def raft_peers(agent: Agent, call: Call) -> object:
    """GET /v1/status/peers: Raft addresses of the voters."""
    return await agent.ask(_read(StatusPeers, agent, call))


async def regions(agent: Agent, call: Call) -> object:
    """GET /v1/regions: regions with a live server."""
    return await agent.ask(_read(RegionList, agent, call))
