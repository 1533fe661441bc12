"""How a server answers requests, whichever way they came: each by its own rules, then by itself.

Source: rpc.md §7-9.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any, TypeVar, cast

import msgspec

from swimnomad.nomad.acl_requests import ACLRequests
from swimnomad.nomad.failures import RequestFailed, permission_denied
from swimnomad.nomad.forwarding import Forwarding
from swimnomad.nomad.host import describe_host
from swimnomad.nomad.leadership import Leadership
from swimnomad.nomad.monitor import known_level, own_log
from swimnomad.nomad.node_links import NodeLink
from swimnomad.nomad.node_reach import NodeReach
from swimnomad.nomad.node_requests import NodeRequests
from swimnomad.nomad.operator_requests import OperatorRequests
from swimnomad.nomad.profiles import take_profile
from swimnomad.nomad.remote import Pieces, StreamFailed
from swimnomad.nomad.replicated import Replicated
from swimnomad.nomad.requests import (
    ACLBootstrap,
    ACLDeletePolicies,
    ACLDeleteTokens,
    ACLGetPolicies,
    ACLGetPolicy,
    ACLGetToken,
    ACLListPolicies,
    ACLListTokens,
    ACLResolveToken,
    ACLUpsertPolicies,
    ACLUpsertTokens,
    AgentHost,
    AgentMonitor,
    AgentProfile,
    Done,
    Host,
    Members,
    NodeConnection,
    NodeDeregister,
    NodeGetClientAllocs,
    NodeGetNode,
    NodeList,
    NodeRegister,
    NodeUpdateStatus,
    OperatorAutopilotGetConfiguration,
    OperatorAutopilotSetConfiguration,
    OperatorRaftGetConfiguration,
    OperatorRaftRemovePeerByAddress,
    OperatorRaftRemovePeerByID,
    OperatorServerHealth,
    OperatorTransferLeadershipToPeer,
    Profile,
    Query,
    RaftStats,
    RegionList,
    Request,
    StatusHasNodeConn,
    StatusLeader,
    StatusMembers,
    StatusPeers,
    StatusPing,
    StatusRaftStats,
    StatusVersion,
    Targeted,
    Version,
)
from swimnomad.nomad.status import VERSION, Status

if TYPE_CHECKING:
    from swimnomad.nomad.config import AgentConfig
    from swimnomad.nomad.core import NomadCore
    from swimnomad.nomad.services import Services

Reply = TypeVar("Reply")
Asked = TypeVar("Asked", bound=Query[Any])
Handler = Callable[[Any], Awaitable[object]]
LinkedHandler = Callable[[Any, NodeLink | None], Awaitable[object]]


class ServerRequests:
    """The requests that one server takes.

    Access control does not exist yet: tokens are carried and change nothing, as with a Nomad whose
    ACLs are off.
    """

    def __init__(
        self,
        config: AgentConfig,
        core: NomadCore,
        services: Services,
        leadership: Leadership,
        replicated: Replicated | None = None,
    ) -> None:
        if replicated is None:
            replicated = Replicated.nothing(services)
        self._config = config
        self._name = config.member_name
        self._services = services
        self._leadership = leadership
        self._links = replicated.links
        self._status = Status(config, core, leadership, replicated)
        self._forwarding = forwarding = Forwarding(core, services, leadership)
        self._reach = NodeReach(core, forwarding, replicated)
        nodes = NodeRequests(core, services, leadership, forwarding, replicated)
        acl = ACLRequests(services, forwarding, replicated)
        operators = OperatorRequests(core, services, forwarding, replicated)
        self._handlers: Mapping[type, Handler] = {
            StatusPing: self._ping,
            StatusVersion: self._version,
            StatusLeader: self._leader,
            StatusPeers: self._peers,
            StatusMembers: self._members,
            StatusRaftStats: self._raft_stats,
            StatusHasNodeConn: self._node_connection,
            RegionList: self._regions,
            AgentHost: self._host,
            AgentProfile: self._profile,
            **_replicated_handlers(nodes, acl, operators),
        }
        self._linked_handlers: Mapping[type, LinkedHandler] = {
            NodeRegister: nodes.register,
            NodeUpdateStatus: nodes.update_status,
            NodeGetClientAllocs: nodes.client_allocs,
        }

    def forget_link(self, link: NodeLink) -> None:
        """A connection that requests came over is closed."""
        self._links.forget(link)

    async def answer(self, request: Request[Reply], link: NodeLink | None = None) -> Reply:
        """Answer a request here or have it answered where it belongs.

        Args:
            request: What is asked.
            link: The connection that it came over, if the one who asks can be called back on it.

        Raises:
            OperationError: It was refused, here or there, or could not be passed on.
        """
        linked = self._linked_handlers.get(type(request))
        if linked is not None:
            return cast(Reply, await linked(request, link))
        handler = self._handlers.get(type(request))
        if handler is None:
            raise RequestFailed(f"no server answers {type(request).__name__}")
        return cast(Reply, await handler(request))

    async def _ping(self, request: StatusPing) -> Done:
        return Done()

    async def _version(self, request: StatusVersion) -> Version:
        return await self._forwarding.to_leader(request, lambda: VERSION)

    async def _leader(self, request: StatusLeader) -> str:
        return await self._forwarding.to_leader(self._at_home(request), self._status.leader)

    async def _peers(self, request: StatusPeers) -> tuple[str, ...]:
        return await self._forwarding.to_leader(self._at_home(request), self._status.peers)

    async def _members(self, request: StatusMembers) -> Members:
        return self._status.members()

    async def _raft_stats(self, request: StatusRaftStats) -> RaftStats:
        return self._leadership.raft_stats

    async def _node_connection(self, request: StatusHasNodeConn) -> NodeConnection:
        return self._status.node_connection(request)

    async def _regions(self, request: RegionList) -> tuple[str, ...]:
        return self._status.regions()

    async def _host(self, request: AgentHost) -> Host:
        self._check_debug()  # here as well as where it ends: so Nomad
        if self._is_for_node(request):
            return await self._reach.ask(request)
        target = self._forwarding.to_target(request)
        if target is not None:
            return await self._forwarding.pass_on(target, request)
        return Host(self._name, describe_host(await self._services.host_facts()))

    async def _profile(self, request: AgentProfile) -> Profile:
        if self._is_for_node(request):
            return await self._reach.ask(request)
        target = self._forwarding.to_target(request)
        if target is not None:
            return await self._forwarding.pass_on(target, request)
        self._check_debug()
        return take_profile(request, self._name, self._services.command_line())

    @asynccontextmanager
    async def monitor(self, request: AgentMonitor) -> AsyncIterator[Pieces]:
        """The log of this server or of the one the request names, piece by piece.

        Raises:
            StreamFailed: From the entry, before anything was sent, or from the pieces.
        """
        if known_level(request.level) is None:
            raise StreamFailed("Unknown log level", code=400)
        if request.node_id:
            # The region is not looked at, and the coded text travels as it is.
            async with self._reach.monitor(request) as pieces:
                yield pieces
            return
        try:
            if not request.region:
                raise RequestFailed("missing target RPC")
            target = None
            if request.server_id:
                target = self._forwarding.named_server(request.server_id, request.region)
        except RequestFailed as error:
            raise StreamFailed(str(error), code=400) from None
        if target is None:
            async with own_log(self._services, request) as pieces:
                yield pieces
            return
        passed_on = msgspec.structs.replace(request, server_id="", forwarded=True)
        try:
            remote = self._forwarding.remote
        except RequestFailed as error:
            raise StreamFailed(str(error), code=500) from None
        async with remote.stream(target.address, target.region, passed_on) as pieces:
            yield pieces

    def _at_home(self, request: Asked) -> Asked:
        """The request, meant for our own region if it names none."""
        if request.region:
            return request
        return msgspec.structs.replace(request, region=self._config.region)

    def _is_for_node(self, request: Targeted[Any]) -> bool:
        """Whether a request is for a client node of this region."""
        return bool(request.node_id) and request.region == self._config.region

    def _check_debug(self) -> None:
        # Without ACLs nobody has rights; then the operator must have opened this.
        if not self._config.enable_debug:
            raise permission_denied()


def _replicated_handlers(
    nodes: NodeRequests, acl: ACLRequests, operators: OperatorRequests
) -> Mapping[type, Handler]:
    """What answers requests about the replicated state."""
    return {
        NodeDeregister: nodes.deregister,
        NodeGetNode: nodes.get,
        NodeList: nodes.list,
        ACLBootstrap: acl.bootstrap,
        ACLUpsertPolicies: acl.upsert_policies,
        ACLDeletePolicies: acl.delete_policies,
        ACLGetPolicy: acl.get_policy,
        ACLGetPolicies: acl.get_policies,
        ACLListPolicies: acl.list_policies,
        ACLUpsertTokens: acl.upsert_tokens,
        ACLDeleteTokens: acl.delete_tokens,
        ACLGetToken: acl.get_token,
        ACLResolveToken: acl.resolve_token,
        ACLListTokens: acl.list_tokens,
        OperatorRaftGetConfiguration: operators.raft_configuration,
        OperatorRaftRemovePeerByAddress: operators.remove_by_address,
        OperatorRaftRemovePeerByID: operators.remove_by_id,
        OperatorTransferLeadershipToPeer: operators.transfer_leadership,
        OperatorAutopilotGetConfiguration: operators.autopilot,
        OperatorAutopilotSetConfiguration: operators.set_autopilot,
        OperatorServerHealth: operators.health,
    }
