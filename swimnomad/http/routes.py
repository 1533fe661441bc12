"""Every path this agent serves, as a table."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, NamedTuple

from swimnomad.http import extensions, nomad_endpoints, state_endpoints
from swimnomad.http.calls import Call

if TYPE_CHECKING:
    from swimnomad.nomad.agent import Agent

Handler = Callable[["Agent", Call], Awaitable[object]]
"""Returns an `Answer`, an `EventStream`, or a value to be sent as JSON."""

GET = ("GET",)
WRITE = ("PUT", "POST")
ANY = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")
"""The handler itself has its say about methods."""


class Endpoint(NamedTuple):
    """One path: the methods it takes, and whether it looks at `wait` and `index`."""

    path: str
    methods: tuple[str, ...]
    handler: Handler
    checks_blocking: bool = False


ENDPOINTS = (
    Endpoint("/v1/agent/members", GET, nomad_endpoints.members, True),
    Endpoint("/v1/agent/self", GET, nomad_endpoints.describe_self),
    Endpoint("/v1/agent/join", WRITE, nomad_endpoints.join),
    Endpoint("/v1/agent/force-leave", WRITE, nomad_endpoints.force_leave),
    Endpoint("/v1/agent/servers", (*GET, *WRITE), nomad_endpoints.servers),
    Endpoint("/v1/agent/health", GET, nomad_endpoints.health, True),
    Endpoint("/v1/status/leader", GET, nomad_endpoints.leader, True),
    Endpoint("/v1/status/peers", GET, nomad_endpoints.raft_peers, True),
    Endpoint("/v1/regions", GET, nomad_endpoints.regions, True),
    Endpoint("/v1/nodes", GET, state_endpoints.nodes, True),
    Endpoint("/v1/node/{name:path}", ANY, state_endpoints.node, True),
    Endpoint("/v1/operator/raft/{name:path}", ANY, state_endpoints.raft, True),
    Endpoint(
        "/v1/operator/autopilot/configuration", (*GET, *WRITE), state_endpoints.autopilot, True
    ),
    Endpoint("/v1/operator/autopilot/health", ANY, state_endpoints.server_health, True),
    Endpoint("/v1/acl/bootstrap", WRITE, state_endpoints.acl_bootstrap),
    Endpoint("/v1/acl/policies", GET, state_endpoints.acl_policies, True),
    Endpoint(
        "/v1/acl/policy/{name:path}", (*GET, *WRITE, "DELETE"), state_endpoints.acl_policy, True
    ),
    Endpoint("/v1/acl/tokens", GET, state_endpoints.acl_tokens, True),
    Endpoint("/v1/acl/token", WRITE, state_endpoints.new_acl_token),
    Endpoint(
        "/v1/acl/token/{name:path}", (*GET, *WRITE, "DELETE"), state_endpoints.acl_token, True
    ),
    Endpoint("/v1/swimnomad/gossip", GET, extensions.gossip),
    Endpoint("/v1/swimnomad/events", GET, extensions.events),
    Endpoint("/v1/swimnomad/leave", WRITE, extensions.leave),
    Endpoint("/v1/swimnomad/faults", ("GET", "DELETE"), extensions.all_faults),
    Endpoint("/v1/swimnomad/faults/{name}", ("GET", "PUT", "DELETE"), extensions.one_fault),
)
