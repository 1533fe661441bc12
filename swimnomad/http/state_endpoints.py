"""Endpoints on the replicated state: nodes, Raft and autopilot, ACL policies and tokens.

Source: agent-http.md §5; nomad command/agent/node_endpoint.go, operator_endpoint.go,
acl_endpoint.go.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeVar

import msgspec

from swimnomad.errors import UsageError
from swimnomad.http.calls import JSON, TEXT, Answer, Call
from swimnomad.http.dialect import encode_json
from swimnomad.http.state_json import (
    autopilot_json,
    health_json,
    node_json,
    policy_json,
    raft_json,
    read_autopilot,
    read_policy,
    read_token,
    stub_json,
    token_json,
    whole_policy_json,
    whole_token_json,
)
from swimnomad.nomad.durations import parse_duration
from swimnomad.nomad.failures import RequestFailed
from swimnomad.nomad.requests import (
    ACLBootstrap,
    ACLDeletePolicies,
    ACLDeleteTokens,
    ACLGetPolicy,
    ACLGetToken,
    ACLListPolicies,
    ACLListTokens,
    ACLResolveToken,
    ACLUpsertPolicies,
    ACLUpsertTokens,
    Answered,
    NodeDeregister,
    NodeGetNode,
    NodeList,
    NodeUpdate,
    OperatorAutopilotGetConfiguration,
    OperatorAutopilotSetConfiguration,
    OperatorRaftGetConfiguration,
    OperatorRaftRemovePeerByAddress,
    OperatorRaftRemovePeerByID,
    OperatorServerHealth,
    OperatorTransferLeadershipToPeer,
    Query,
    TokenFound,
    Write,
)

if TYPE_CHECKING:
    from swimnomad.nomad.agent import Agent

Asked = TypeVar("Asked", bound=Query[Any])
Written = TypeVar("Written", bound=Write[Any])

LAST_CONTACT_MS_MAX = 9_223_372_036_854
"""Milliseconds of the longest duration that Go can count: nobody was heard yet."""


def _read(kind: type[Asked], agent: Agent, call: Call, **fields: Any) -> Asked:  # noqa: ANN401
    """A reading request; `index` and `wait` were checked at the door."""
    query = call.query
    index = query.first("index")
    wait = query.first("wait")
    given: dict[str, Any] = {
        "region": query.first("region") or agent.config.region,
        "namespace": query.first("namespace") or "default",
        "stale": query.has("stale"),
        "prefix": query.first("prefix"),
        "token": call.token,
        "min_index": int(index) if index.isdecimal() else 0,
        "wait": _seconds(wait),
    }
    return kind(**given | fields)


def _seconds(wait: str) -> float:
    try:
        return parse_duration(wait) if wait else 0.0
    except UsageError:  # this endpoint does not look at it
        return 0.0


def _write(kind: type[Written], agent: Agent, call: Call, **fields: Any) -> Written:  # noqa: ANN401
    """A writing request."""
    query = call.query
    region = query.first("region") or agent.config.region
    namespace = query.first("namespace") or "default"
    return kind(region=region, namespace=namespace, token=call.token, **fields)


def _meta(found: Answered) -> dict[str, str]:
    """The headers that tell how new an answer is."""
    contact_ms = min(int(found.last_contact * 1000), LAST_CONTACT_MS_MAX)
    return {
        "x-nomad-index": str(found.index),
        "x-nomad-knownleader": "true" if found.known_leader else "false",
        "x-nomad-lastcontact": str(contact_ms),
    }


def _found(call: Call, value: object, found: Answered) -> Answer:
    return Answer(200, encode_json(value, pretty=call.query.pretty), JSON, _meta(found))


def _missing(text: str, found: Answered) -> Answer:
    return Answer(404, text.encode(), TEXT, _meta(found))


def _written(index: int, call: Call, value: object = None) -> Answer:
    headers = {"x-nomad-index": str(index)}
    if value is None:
        return Answer(200, headers=headers)
    return Answer(200, encode_json(value, pretty=call.query.pretty), JSON, headers)


def _ordered(call: Call, value: object, status: int = 200) -> Answer:
    """JSON whose keys stand in Nomad's own order."""
    pretty = call.query.pretty
    return Answer(status, encode_json(value, pretty=pretty, keep_order=True), JSON)


def _invalid(status: int) -> RequestFailed:
    return RequestFailed("Invalid method", status=status)


# --- nodes ----------------------------------------------------------------------------------------


async def nodes(agent: Agent, call: Call) -> object:
    """GET /v1/nodes: all nodes, or those whose ids begin so; waits for a change with `index`."""
    resources = _boolean(call, "resources")
    found = await agent.ask(_read(NodeList, agent, call, resources=resources))
    return _found(call, [stub_json(stub) for stub in found.nodes or ()], found)


def _boolean(call: Call, name: str) -> bool:
    text = call.query.first(name)
    if text in ("", "0", "f", "F", "FALSE", "false", "False"):
        return False
    if text in ("1", "t", "T", "TRUE", "true", "True"):
        return True
    raise RequestFailed(
        f'Failed to parse value of "{name}" ({text}) as a bool: '
        f'strconv.ParseBool: parsing "{text}": invalid syntax'
    )


async def node(agent: Agent, call: Call) -> object:
    """GET /v1/node/<id>: one node. PUT /v1/node/<id>/purge: forget it."""
    if call.name.endswith("/purge"):
        if call.method not in ("PUT", "POST"):
            raise _invalid(405)
        node_id = call.name.removesuffix("/purge")
        update = await agent.ask(_write(NodeDeregister, agent, call, node_id=node_id))
        return _written(update.index, call, _update_json(update))
    if call.method != "GET":
        raise _invalid(405)
    found = await agent.ask(_read(NodeGetNode, agent, call, node_id=call.name))
    if found.node is None:
        return _missing("node not found", found)
    return _found(call, node_json(found.node), found)


def _update_json(update: NodeUpdate) -> dict[str, object]:
    return {
        "EvalCreateIndex": 0,
        "EvalIDs": None,
        "Index": update.index,
        "NodeModifyIndex": update.node_modify_index,
    }


# --- operators ------------------------------------------------------------------------------------


async def raft(agent: Agent, call: Call) -> object:
    """GET configuration, DELETE peer, PUT transfer-leadership, under /v1/operator/raft/."""
    if call.name.startswith("configuration"):
        if call.method != "GET":
            return Answer(405)
        return raft_json(await agent.ask(_read(OperatorRaftGetConfiguration, agent, call)))
    if call.name.startswith("peer") and call.method == "DELETE":
        return await _remove_peer(agent, call)
    if call.name == "transfer-leadership" and call.method in ("PUT", "POST"):
        server_id, address = _one_server(call)
        request = _write(
            OperatorTransferLeadershipToPeer, agent, call, id=server_id, address=address
        )
        await agent.ask(request)
        return Answer()
    raise _invalid(404)


async def _remove_peer(agent: Agent, call: Call) -> Answer:
    server_id, address = _one_server(call)
    if server_id:
        await agent.ask(_write(OperatorRaftRemovePeerByID, agent, call, id=server_id))
    else:
        await agent.ask(_write(OperatorRaftRemovePeerByAddress, agent, call, address=address))
    return Answer()


def _one_server(call: Call) -> tuple[str, str]:
    """The id or the address that a request names; the other one is empty."""
    server_id, address = call.query.first("id"), call.query.first("address")
    if not server_id and not address:
        what = "peer to remove" if call.method == "DELETE" else "target peer"
        raise RequestFailed(
            f"Must specify either ?id with the server's ID or ?address with IP:port of {what}",
            status=400,
        )
    if server_id and address:
        raise RequestFailed("Must specify only one of ?id or ?address", status=400)
    return server_id, address


async def autopilot(agent: Agent, call: Call) -> object:
    """GET /v1/operator/autopilot/configuration; PUT it, on condition with `cas`."""
    if call.method == "GET":
        config = await agent.ask(_read(OperatorAutopilotGetConfiguration, agent, call))
        return _ordered(call, autopilot_json(config))
    config = read_autopilot(call.body)
    cas = call.query.first("cas")
    if cas and not (cas.isdecimal() and cas.isascii() and len(cas) <= 19):
        raise RequestFailed(
            f'Error parsing cas value: strconv.ParseUint: parsing "{cas}": invalid syntax',
            status=400,
        )
    config = msgspec.structs.replace(config, modify_index=int(cas or 0))
    request = _write(OperatorAutopilotSetConfiguration, agent, call, config=config, cas=bool(cas))
    return await agent.ask(request)


async def server_health(agent: Agent, call: Call) -> object:
    """GET /v1/operator/autopilot/health: 429 with the same body if somebody is not well."""
    if call.method != "GET":
        raise _invalid(404)
    health = await agent.ask(_read(OperatorServerHealth, agent, call))
    return _ordered(call, health_json(health), 200 if health.is_healthy else 429)


# --- ACL ------------------------------------------------------------------------------------------


async def acl_bootstrap(agent: Agent, call: Call) -> object:
    """PUT /v1/acl/bootstrap: the first token."""
    reply = await agent.ask(_write(ACLBootstrap, agent, call))
    return _written(reply.index, call, whole_token_json((reply.tokens or ())[0]))


async def acl_policies(agent: Agent, call: Call) -> object:
    """GET /v1/acl/policies."""
    found = await agent.ask(_read(ACLListPolicies, agent, call))
    return _found(call, [policy_json(policy) for policy in found.policies or ()], found)


async def acl_policy(agent: Agent, call: Call) -> object:
    """GET, PUT, DELETE /v1/acl/policy/<name>."""
    name = call.name
    if not name:
        raise RequestFailed("Missing Policy Name", status=400)
    if call.method == "GET":
        found = await agent.ask(_read(ACLGetPolicy, agent, call, name=name))
        if found.policy is None:
            return _missing("ACL policy not found", found)
        return _found(call, whole_policy_json(found.policy), found)
    if call.method == "DELETE":
        reply = await agent.ask(_write(ACLDeletePolicies, agent, call, names=(name,)))
        return _written(reply.index, call)
    policy = read_policy(call.body)
    if policy.name != name:
        raise RequestFailed("ACL policy name does not match request path", status=400)
    reply = await agent.ask(_write(ACLUpsertPolicies, agent, call, policies=(policy,)))
    return _written(reply.index, call)


async def acl_tokens(agent: Agent, call: Call) -> object:
    """GET /v1/acl/tokens; with `global` only those for all regions."""
    global_only = _boolean(call, "global")
    found = await agent.ask(_read(ACLListTokens, agent, call, global_only=global_only))
    return _found(call, [token_json(token) for token in found.tokens or ()], found)


async def new_acl_token(agent: Agent, call: Call) -> object:
    """PUT /v1/acl/token: make one."""
    return await _put_token(agent, call, "")


async def acl_token(agent: Agent, call: Call) -> object:
    """GET, PUT, DELETE /v1/acl/token/<accessor>; `self` is the caller's own, to be read."""
    accessor_id = call.name
    if accessor_id == "self":
        if call.method != "GET":
            raise _invalid(405)
        request = _read(ACLResolveToken, agent, call, secret_id=call.token)
        return _token_found(call, await agent.ask(request))
    if not accessor_id:
        raise RequestFailed("Missing Token Accessor ID", status=400)
    if call.method == "GET":
        asked = _read(ACLGetToken, agent, call, accessor_id=accessor_id)
        return _token_found(call, await agent.ask(asked))
    if call.method == "DELETE":
        deletion = _write(ACLDeleteTokens, agent, call, accessor_ids=(accessor_id,))
        return _written((await agent.ask(deletion)).index, call)
    return await _put_token(agent, call, accessor_id)


def _token_found(call: Call, found: TokenFound) -> Answer:
    if found.token is None:
        return _missing("ACL token not found", found)
    return _found(call, whole_token_json(found.token), found)


async def _put_token(agent: Agent, call: Call, accessor_id: str) -> Answer:
    token = read_token(call.body)
    if token.accessor_id != accessor_id:
        text = "Token accessor ID does not match request path"
        if not accessor_id:
            text = "Accessor ID must not be given for a new token"
        raise RequestFailed(text, status=400)
    reply = await agent.ask(_write(ACLUpsertTokens, agent, call, tokens=(token,)))
    return _written(reply.index, call, whole_token_json((reply.tokens or ())[0]))
