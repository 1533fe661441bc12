"""How a request reaches a client node: over its connection here, or through a server that has one.

Source: rpc.md §11; nomad client_rpc.go, util.go, findNodeConnAndForward.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, TypeVar

import msgspec

from swimnomad.errors import OperationError
from swimnomad.nomad.failures import coded, node_failure
from swimnomad.nomad.identifiers import uuid_flaw
from swimnomad.nomad.node_links import NodeLink
from swimnomad.nomad.remote import Pieces, StreamFailed
from swimnomad.nomad.requests import AgentMonitor, StatusHasNodeConn, Targeted
from swimnomad.nomad.state.records import Node
from swimnomad.nomad.tags import Server

if TYPE_CHECKING:
    from swimnomad.nomad.core import NomadCore
    from swimnomad.nomad.forwarding import Forwarding
    from swimnomad.nomad.replicated import Replicated

Reply = TypeVar("Reply")

_VERSION = re.compile(r"v?([0-9]+)(?:\.([0-9]+))?")


class NodeReach:
    """The way from one server to the client nodes of its region."""

    def __init__(self, core: NomadCore, forwarding: Forwarding, replicated: Replicated) -> None:
        self._core = core
        self._forwarding = forwarding
        self._replicated = replicated

    async def ask(self, request: Targeted[Reply]) -> Reply:
        """Ask the node that a request names.

        Raises:
            OperationError: There is no such node or no way to it; or what it said.
        """
        node = self._known(request.node_id)
        link = self.link_of(node)
        if link is not None:
            return await link.ask(request)
        return await self._forwarding.pass_on(await self._connected(node), request)

    @asynccontextmanager
    async def monitor(self, request: AgentMonitor) -> AsyncIterator[Pieces]:
        """The log of the node that a request names, for the length of the block.

        Raises:
            StreamFailed: There is no such node or no way to it, or from the pieces.
        """
        try:
            node = self._known(request.node_id)
            link = self.link_of(node)
            if link is not None:
                opening = link.stream(request)
            else:
                server = await self._connected(node)
                passed_on = msgspec.structs.replace(request, forwarded=True)
                remote = self._forwarding.remote
                opening = remote.stream(server.address, server.region, passed_on)
        except OperationError as error:
            raise StreamFailed(str(error), code=500) from None
        async with opening as pieces:
            yield pieces

    def link_of(self, node: Node) -> NodeLink | None:
        """The connection of a node here; None if there is none that it can be asked over."""
        link = self._replicated.links.newest(node.id)
        return link if link is not None and link.is_callable else None

    def _known(self, node_id: str) -> Node:
        """The node, if it can be asked at all."""
        node = None if uuid_flaw(node_id) else self._replicated.state.node(node_id)
        if node is None:
            raise node_failure(node_id)
        version = _VERSION.match((node.attributes or {}).get("nomad.version", ""))
        if version is None:
            raise coded(400, "Unable to determine Nomad version")
        if (int(version[1][:9]), int((version[2] or "0")[:9])) < (0, 8):
            raise coded(400, "Node does not support RPC; requires 0.8 or later")
        return node

    async def _connected(self, node: Node) -> Server:
        """The server that the node connected to last, among all others of the region."""
        own = self._core.serf.local_member.name
        found: tuple[float, Server] | None = None
        failure = ""
        region = self._core.region
        request = StatusHasNodeConn(region=region, node_id=node.id)
        for server in list(self._core.servers.local_peers.values()):
            if server.name == own:
                continue
            try:
                reply = await self._forwarding.remote.ask(server.address, region, request)
            except OperationError as error:
                failure = failure or f'failed querying server "{server.address}": {error}'
                continue
            since = reply.since or 0.0
            if reply.is_connected and (found is None or since > found[0]):
                found = (since, server)
        if found is not None:
            return found[1]
        raise coded(500, failure) if failure else coded(404, "No path to node")
