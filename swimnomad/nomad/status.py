"""What one server answers about itself and its region.

Source: rpc.md §9; nomad status_endpoint.go, regions_endpoint.go.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from swimnomad.nomad.failures import RequestFailed
from swimnomad.nomad.requests import Members, NodeConnection, StatusHasNodeConn, Version
from swimnomad.nomad.tags import NOMAD_VERSION

if TYPE_CHECKING:
    from swimnomad.nomad.config import AgentConfig
    from swimnomad.nomad.core import NomadCore
    from swimnomad.nomad.leadership import Leadership
    from swimnomad.nomad.replicated import Replicated

VERSION = Version(NOMAD_VERSION, {"protocol": 1, "api.major": 1, "api.minor": 1})


class Status:
    """The answers of a server, read from its core at the moment of asking."""

    def __init__(
        self,
        config: AgentConfig,
        core: NomadCore,
        leadership: Leadership,
        replicated: Replicated,
    ) -> None:
        self._links = replicated.links
        self._config = config
        self._core = core
        self._leadership = leadership

    def leader(self) -> str:
        """Raft address of the leader; empty if there is none."""
        leader = self._leadership.leader
        return "" if leader is None else str(leader)

    def peers(self) -> tuple[str, ...]:
        """Raft addresses of the voters."""
        return tuple(map(str, self._leadership.voters))

    def members(self) -> Members:
        """Every member that is remembered, whatever its status or region."""
        config = self._config
        known = tuple(self._core.serf.members.values())
        return Members(config.node_name, config.region, config.datacenter, known)

    def regions(self) -> tuple[str, ...]:
        """Regions with at least one server that is neither failed nor left, sorted."""
        return tuple(self._core.servers.regions)

    def node_connection(self, request: StatusHasNodeConn) -> NodeConnection:
        """Whether a node is connected here."""
        if not request.node_id:
            raise RequestFailed("Must provide the NodeID")
        link = self._links.newest(request.node_id)
        if link is None:
            return NodeConnection(False)
        return NodeConnection(True, link.established)
