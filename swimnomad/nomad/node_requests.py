"""Client nodes at a server: registrations, heartbeats, and what is asked about them.

The order of the checks and their words are Nomad's.

Source: rpc.md §9, §10; nomad node_endpoint.go.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import msgspec

from swimnomad.nomad.failures import RequestFailed
from swimnomad.nomad.identifiers import prefix_flaw, uuid_flaw
from swimnomad.nomad.requests import (
    ClientAllocs,
    NodeDeregister,
    NodeFound,
    NodeGetClientAllocs,
    NodeGetNode,
    NodeList,
    NodeRegister,
    NodesFound,
    NodeStub,
    NodeUpdate,
    NodeUpdateStatus,
    ServerInfo,
)
from swimnomad.nomad.state.commands import DeregisterNodes, RegisterNode, SetNodeStatus
from swimnomad.nomad.state.outcomes import Unchanged, Written
from swimnomad.nomad.state.records import (
    DOWN,
    INITIALIZING,
    NODE_STATUSES,
    READY,
    Node,
    NodeEvent,
    computed_class,
)
from swimnomad.nomad.state.store import NANOSECONDS, NODE_NOT_FOUND, WRONG_SECRET
from swimnomad.nomad.state.tables import Table

if TYPE_CHECKING:
    from swimnomad.nomad.core import NomadCore
    from swimnomad.nomad.forwarding import Forwarding
    from swimnomad.nomad.leadership import Leadership
    from swimnomad.nomad.node_links import NodeLink
    from swimnomad.nomad.replicated import Replicated
    from swimnomad.nomad.services import Services

ALLOCS_INDEX = 1
"""Index of allocations where there are none: 0 would not let anybody wait."""


class NodeRequests:
    """What one server answers about client nodes."""

    def __init__(
        self,
        core: NomadCore,
        services: Services,
        leadership: Leadership,
        forwarding: Forwarding,
        replicated: Replicated,
    ) -> None:
        self._core = core
        self._services = services
        self._leadership = leadership
        self._forwarding = forwarding
        self._replicated = replicated
        self._state = replicated.state

    # --- writes -------------------------------------------------------------------------------

    async def register(self, request: NodeRegister, link: NodeLink | None = None) -> NodeUpdate:
        """Take a node in; `link` is the connection that it asks over."""
        reply = await self._forwarding.at_leader(request, lambda: self._register(request))
        if request.node is not None:
            self._note(request.node.id, link, forwarded=request.forwarded)
        return reply

    async def _register(self, request: NodeRegister) -> NodeUpdate:
        node = self._checked(request.node)
        time = int(self._services.wall_time())
        node = msgspec.structs.replace(
            node, status_updated_at=time, computed_class=computed_class(node), events=None
        )
        written = await self._write(RegisterNode(node))
        ttl = 0.0
        if node.status != DOWN:
            ttl = self._replicated.heartbeats.reset(node.id, self._services.now())
        return self._update(written, ttl)

    def _checked(self, node: Node | None) -> Node:
        """The node with a status.

        Raises:
            RequestFailed: It cannot be registered.
        """
        if node is None:
            raise RequestFailed("missing node for client registration")
        for what, value in (
            ("node ID", node.id),
            ("datacenter", node.datacenter),
            ("node name", node.name),
            ("attributes", node.attributes),
            ("node secret ID", node.secret_id),
        ):
            if not value:
                raise RequestFailed(f"missing {what} for client registration")
        if not node.status:
            node = msgspec.structs.replace(node, status=INITIALIZING)
        if node.status not in NODE_STATUSES:
            raise RequestFailed("invalid status for node")
        known = self._look_up(node.id)
        if known is not None and known.secret_id != node.secret_id:
            raise RequestFailed(WRONG_SECRET)
        return node

    async def update_status(
        self, request: NodeUpdateStatus, link: NodeLink | None = None
    ) -> NodeUpdate:
        """A heartbeat; `link` is the connection that it came over."""
        reply = await self._forwarding.at_leader(request, lambda: self._update_status(request))
        self._note(request.node_id, link, forwarded=request.forwarded)
        return reply

    async def _update_status(self, request: NodeUpdateStatus) -> NodeUpdate:
        if not request.node_id:
            raise RequestFailed("missing node ID for client status update")
        if request.status not in NODE_STATUSES:
            raise RequestFailed("invalid status for node")
        node = self._look_up(request.node_id)
        if node is None:
            raise RequestFailed(NODE_NOT_FOUND)
        written: Written | Unchanged = Unchanged()
        if node.status != request.status:
            time = int(self._services.wall_time())
            event = None
            if (node.status, request.status) == (DOWN, READY):
                event = NodeEvent("Node reregistered by heartbeat", time * NANOSECONDS)
            written = await self._write(SetNodeStatus(node.id, request.status, time, event))
        heartbeats, ttl = self._replicated.heartbeats, 0.0
        if request.status == DOWN:
            heartbeats.forget(node.id)
        else:
            ttl = heartbeats.reset(node.id, self._services.now())
        return self._update(written, ttl)

    async def deregister(self, request: NodeDeregister) -> NodeUpdate:
        """Forget a node."""
        return await self._forwarding.at_leader(request, lambda: self._deregister(request))

    async def _deregister(self, request: NodeDeregister) -> NodeUpdate:
        if not request.node_id:
            raise RequestFailed("missing node ID for client deregistration")
        if self._look_up(request.node_id) is None:
            raise RequestFailed(NODE_NOT_FOUND)
        written = await self._write(DeregisterNodes((request.node_id,)))
        self._replicated.heartbeats.forget(request.node_id)
        index = written.index if isinstance(written, Written) else 0
        return NodeUpdate(index=index, node_modify_index=index)

    async def _write(
        self, command: RegisterNode | SetNodeStatus | DeregisterNodes
    ) -> Written | Unchanged:
        return await self._replicated.write(command, self._services.now())

    def _update(self, outcome: Written | Unchanged, ttl: float) -> NodeUpdate:
        """What a client is told of the servers."""
        index = outcome.index if isinstance(outcome, Written) else 0
        leader = self._leadership.leader
        servers = self._core.servers.local_peers.values()
        return NodeUpdate(
            heartbeat_ttl=ttl,
            index=index,
            node_modify_index=index,
            leader="" if leader is None else str(leader),
            node_count=self._state.node_count,
            servers=tuple(
                ServerInfo(
                    str(server.rpc_address),
                    server.datacenter,
                    server.major_version,
                    server.minor_version,
                )
                for server in servers
            ),
        )

    # --- reads --------------------------------------------------------------------------------

    async def get(self, request: NodeGetNode) -> NodeFound:
        """One node."""
        return await self._forwarding.at_leader(
            request,
            lambda: self._replicated.read(
                request, (Table.NODES,), lambda: self._get(request), self._services
            ),
        )

    def _get(self, request: NodeGetNode) -> NodeFound:
        node = self._look_up(request.node_id)
        if node is None:
            return NodeFound(**self._replicated.about(self._state.index_of(Table.NODES)))
        shown = msgspec.structs.replace(node, secret_id="")
        return NodeFound(node=shown, **self._replicated.about(node.modify_index))

    async def list(self, request: NodeList) -> NodesFound:
        """Nodes whose identifiers begin so."""
        return await self._forwarding.at_leader(
            request,
            lambda: self._replicated.read(
                request, (Table.NODES,), lambda: self._list(request), self._services
            ),
        )

    def _list(self, request: NodeList) -> NodesFound:
        if request.prefix and (flaw := prefix_flaw(request.prefix)):
            raise RequestFailed(f"node lookup failed: index error: {flaw}")
        nodes = self._state.nodes(request.prefix)
        return NodesFound(
            nodes=tuple(stub_of(node, resources=request.resources) for node in nodes),
            **self._replicated.about(self._state.index_of(Table.NODES)),
        )

    async def client_allocs(
        self, request: NodeGetClientAllocs, link: NodeLink | None = None
    ) -> ClientAllocs:
        """What a node shall run: nothing, which is told at once and then held back."""
        return await self._forwarding.at_leader(
            request,
            lambda: self._replicated.read(
                request, (), lambda: self._client_allocs(request, link), self._services
            ),
        )

    def _client_allocs(self, request: NodeGetClientAllocs, link: NodeLink | None) -> ClientAllocs:
        if not request.node_id:
            raise RequestFailed("missing node ID")
        node = self._look_up(request.node_id)
        if node is not None:
            if not request.secret_id:
                raise RequestFailed("missing node secret ID for client status update")
            if request.secret_id != node.secret_id:
                raise RequestFailed("node secret ID does not match")
            self._note(node.id, link, forwarded=request.forwarded)
        about = self._replicated.about(ALLOCS_INDEX)
        return ClientAllocs(allocs={}, migrate_tokens={}, **about)

    def _look_up(self, node_id: str) -> Node | None:
        if flaw := uuid_flaw(node_id):
            raise RequestFailed(f"node lookup failed: index error: {flaw}")
        return self._state.node(node_id)

    def _note(self, node_id: str, link: NodeLink | None, *, forwarded: bool) -> None:
        if link is not None and not forwarded:
            self._replicated.links.note(node_id, link)


def stub_of(node: Node, *, resources: bool = False) -> NodeStub:
    """A node as listings show it."""
    details: Mapping[str, object] = node.details
    return NodeStub(
        address=node.http_addr.rpartition(":")[0].strip("[]"),
        id=node.id,
        datacenter=node.datacenter,
        name=node.name,
        node_class=node.node_class,
        version=(node.attributes or {}).get("nomad.version", ""),
        drain=node.drain,
        eligibility=node.eligibility,
        status=node.status,
        status_description=node.status_description,
        drivers=details.get("Drivers"),
        host_volumes=details.get("HostVolumes"),
        node_resources=details.get("NodeResources") if resources else None,
        reserved_resources=details.get("ReservedResources") if resources else None,
        create_index=node.create_index,
        modify_index=node.modify_index,
    )
