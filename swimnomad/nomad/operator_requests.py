"""What operators ask of a server about Raft and autopilot, and tell it.

Source: rpc.md §9; agent-http.md §5; nomad operator_endpoint.go.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

from swimnomad.nomad.consensus import RaftPeer
from swimnomad.nomad.failures import RequestFailed
from swimnomad.nomad.replicated import READ_TIME, WRITE_TIME
from swimnomad.nomad.requests import (
    Done,
    OperatorAutopilotGetConfiguration,
    OperatorAutopilotSetConfiguration,
    OperatorRaftGetConfiguration,
    OperatorRaftRemovePeerByAddress,
    OperatorRaftRemovePeerByID,
    OperatorServerHealth,
    OperatorTransferLeadershipToPeer,
    RaftConfiguration,
    RaftServer,
    RegionHealth,
)
from swimnomad.nomad.state.commands import SetAutopilot
from swimnomad.nomad.state.outcomes import Written
from swimnomad.nomad.state.records import AutopilotConfig
from swimnomad.nomad.tags import Server, parse_server

if TYPE_CHECKING:
    from swimnomad.nomad.core import NomadCore
    from swimnomad.nomad.forwarding import Forwarding
    from swimnomad.nomad.replicated import Replicated
    from swimnomad.nomad.services import Services

OLD_RAFT = "all servers must have raft_protocol set to 3 or higher to use this endpoint"


class OperatorRequests:
    """What one server answers to operators."""

    def __init__(
        self,
        core: NomadCore,
        services: Services,
        forwarding: Forwarding,
        replicated: Replicated,
    ) -> None:
        self._core = core
        self._services = services
        self._forwarding = forwarding
        self._replicated = replicated
        self._consensus = replicated.consensus

    async def raft_configuration(self, request: OperatorRaftGetConfiguration) -> RaftConfiguration:
        """Who takes part in Raft."""
        return await self._forwarding.to_leader(request, self._raft_configuration)

    def _raft_configuration(self) -> RaftConfiguration:
        known = self._known_servers()
        leader = self._consensus.leader
        servers = []
        for peer in self._consensus.configuration:
            server = known.get(str(peer.address))
            servers.append(
                RaftServer(
                    id=peer.id,
                    node="(unknown)" if server is None else server.name,
                    address=str(peer.address),
                    leads=peer.address == leader,
                    is_voter=peer.is_voter,
                    raft_protocol="unknown" if server is None else str(server.raft_version),
                )
            )
        return RaftConfiguration(tuple(servers) or None)

    def _known_servers(self) -> Mapping[str, Server]:
        """Servers of the region by Raft address, whatever their status."""
        servers = map(parse_server, self._core.serf.members.values())
        return {
            str(server.address): server
            for server in servers
            if server is not None and server.region == self._core.region
        }

    async def remove_by_address(self, request: OperatorRaftRemovePeerByAddress) -> Done:
        """Take a server out of Raft by its address."""

        def is_meant(peer: RaftPeer) -> bool:
            return str(peer.address) == request.address

        return await self._forwarding.at_leader(
            request, lambda: self._remove("address", request.address, is_meant)
        )

    async def remove_by_id(self, request: OperatorRaftRemovePeerByID) -> Done:
        """Take a server out of Raft by its id."""

        def is_meant(peer: RaftPeer) -> bool:
            return peer.id == request.id

        return await self._forwarding.at_leader(
            request, lambda: self._remove("id", request.id, is_meant)
        )

    async def _remove(self, what: str, text: str, is_meant: Callable[[RaftPeer], bool]) -> Done:
        peer = self._peer(what, text, is_meant)
        await self._consensus.remove_server(peer.id, self._services.now() + WRITE_TIME)
        return Done()

    def _peer(self, what: str, text: str, is_meant: Callable[[RaftPeer], bool]) -> RaftPeer:
        peer = next(filter(is_meant, self._consensus.configuration), None)
        if peer is None:
            raise RequestFailed(f'{what} "{text}" was not found in the Raft configuration')
        return peer

    async def transfer_leadership(self, request: OperatorTransferLeadershipToPeer) -> Done:
        """Let another server lead."""
        return await self._forwarding.at_leader(request, lambda: self._transfer(request))

    async def _transfer(self, request: OperatorTransferLeadershipToPeer) -> Done:
        target: str | None = None
        if request.id:
            target = self._peer("id", request.id, lambda peer: peer.id == request.id).id
        elif request.address:
            target = self._peer(
                "address", request.address, lambda peer: str(peer.address) == request.address
            ).id
        await self._consensus.transfer_leadership(target, self._services.now() + WRITE_TIME)
        return Done()

    async def autopilot(self, request: OperatorAutopilotGetConfiguration) -> AutopilotConfig:
        """What autopilot was told."""

        async def look() -> AutopilotConfig:
            if not request.stale:
                await self._consensus.read_index(self._services.now() + READ_TIME)
            config = self._replicated.state.autopilot
            if config is None:
                raise RequestFailed("autopilot config not initialized yet")
            return config

        return await self._forwarding.at_leader(request, look)

    async def set_autopilot(self, request: OperatorAutopilotSetConfiguration) -> bool:
        """Tell autopilot; False if somebody else told it meanwhile."""

        async def write() -> bool:
            command = SetAutopilot(request.config, cas=request.cas)
            outcome = await self._replicated.write(command, self._services.now())
            return isinstance(outcome, Written)

        return await self._forwarding.at_leader(request, write)

    async def health(self, request: OperatorServerHealth) -> RegionHealth:
        """How the leader sees the servers."""
        return await self._forwarding.to_leader(request, self._health)

    def _health(self) -> RegionHealth:
        servers = self._core.servers.local_peers.values()
        if any(server.raft_version < 3 for server in servers):
            raise RequestFailed(OLD_RAFT)
        return self._replicated.health()
