"""Where a request is answered that reached a server: here, or at whom it is passed on to.

Two sets of rules. Most requests belong to a region and, unless they may be stale, to its leader; if
nobody leads just now, they are held for a while, since an election takes about that long. Requests
to one particular agent name it instead.

Source: rpc.md §8.2, §8.3, §11; nomad rpc.go, forward; nomad client_agent_endpoint.go.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec

from swimnomad.names import Address
from swimnomad.nomad.failures import (
    RequestFailed,
    cannot_forward,
    no_leader,
    no_path_to_region,
    node_failure,
)
from swimnomad.nomad.remote import Remote
from swimnomad.nomad.requests import Query

if TYPE_CHECKING:
    import random

    from swimnomad.nomad.core import NomadCore
    from swimnomad.nomad.leadership import Leadership
    from swimnomad.nomad.requests import Targeted, Write
    from swimnomad.nomad.services import Services
    from swimnomad.nomad.tags import Server

HOLD_TIME = 5.0
"""Seconds that a request waits for a leader (Nomad's RPCHoldTimeout)."""
PAUSE_MAX = HOLD_TIME / 16
"""Longest pause between two looks for a leader; random, or all that wait would look at once."""

Reply = TypeVar("Reply")


class Forwarding:
    """The rules as one server applies them."""

    def __init__(self, core: NomadCore, services: Services, leadership: Leadership) -> None:
        self._core = core
        self._services = services
        self._leadership = leadership

    @property
    def _region(self) -> str:
        return self._core.region

    @property
    def _own_name(self) -> str:
        return self._core.serf.local_member.name

    async def to_leader(self, request: Query[Reply], answer: Callable[[], Reply]) -> Reply:
        """Have a request answered by the leader of its region, or by any server if it is stale.

        Args:
            request: What is asked.
            answer: Answers it here.

        Raises:
            OperationError: No region, no way there, no leader; or what the other server said.
        """
        server = await self._who_answers(request)
        return answer() if server is None else await self._ask(server, request)

    async def at_leader(
        self, request: Query[Reply] | Write[Reply], answer: Callable[[], Awaitable[Reply]]
    ) -> Reply:
        """As `to_leader`, for what takes its time, writes included.

        Raises:
            OperationError: As `to_leader`, or from `answer`.
        """
        server = await self._who_answers(request)
        return await (answer() if server is None else self._ask(server, request))

    async def _who_answers(self, request: Query[Any] | Write[Any]) -> Server | None:
        """The server that a request belongs to; None if that is this one."""
        if not request.region:
            raise RequestFailed("missing region for target RPC")
        if request.region != self._region:
            return self._some_server(request.region)
        if isinstance(request, Query) and request.stale:
            return None
        return await self._find_leader()

    def to_target(self, request: Targeted[Reply]) -> Server | None:
        """The other server that must answer a request to one particular agent; None for us.

        Raises:
            RequestFailed: No such agent, or no way there.
        """
        if not request.region:
            raise RequestFailed("missing target RPC")
        if request.region != self._region:
            return self._some_server(request.region)
        if request.node_id:
            raise node_failure(request.node_id)
        return self.named_server(request.server_id, self._region) if request.server_id else None

    def named_server(self, server_id: str, region: str) -> Server | None:
        """The server that an id means; None if that is this one.

        Args:
            server_id: A member name, a server's identifier, or `leader`: that of our own region,
                whatever `region` says.
            region: Where to look for it.

        Raises:
            RequestFailed: There is no such server, no such region or no leader.
        """
        if server_id == "leader":
            if self._leadership.leads:
                return None
            found = self._known_leader()
            if found is None:
                raise no_leader()
        else:
            found = self._look_up(server_id, region)
        return None if found.name == self._own_name else found

    async def pass_on(self, server: Server, request: Query[Reply]) -> Reply:
        """Ask another server in the caller's name.

        Raises:
            OperationError: What it said, or why it could not be asked.
        """
        return await self._ask(server, request)

    @property
    def remote(self) -> Remote:
        """The way to other servers.

        Raises:
            RequestFailed: This agent was started without one.
        """
        if self._services.remote is None:
            raise cannot_forward()
        return self._services.remote

    async def _ask(self, server: Server, request: Query[Reply] | Write[Reply]) -> Reply:
        forwarded = msgspec.structs.replace(request, forwarded=True)
        return await self.remote.ask(server.address, server.region, forwarded)

    def _some_server(self, region: str) -> Server:
        # Members that failed or left are in no table.
        servers = self._core.servers.peers.get(region)
        if not servers:
            raise no_path_to_region()
        return self._rng.choice(list(servers.values()))

    @property
    def _rng(self) -> random.Random:
        return self._services.rng

    def _look_up(self, server_id: str, region: str) -> Server:
        servers = self._core.servers.peers.get(region)
        if not servers:
            raise no_path_to_region()
        for server in servers.values():
            if server_id in (server.name, server.id):
                return server
        raise RequestFailed(f"unknown Nomad server {server_id}")

    def _known_leader(self) -> Server | None:
        leader: Address | None = self._leadership.leader
        found = None if leader is None else self._core.servers.local_peers.get(leader)
        # Who is said to lead, and does not itself, has just lost the lead; asking it goes round.
        return None if found is None or found.name == self._own_name else found

    async def _find_leader(self) -> Server | None:
        """The server that leads; None if that is this one. Waits for one to be elected.

        Raises:
            RequestFailed: There is none after `HOLD_TIME`.
        """
        deadline = self._services.now() + HOLD_TIME
        while True:
            leads = self._leadership.leads
            if leads and self._leadership.is_ready:
                return None
            if not leads and (leader := self._known_leader()) is not None:
                return leader
            if self._services.now() >= deadline:
                break
            await self._services.sleep(self._rng.uniform(0.0, PAUSE_MAX))
        if leads:
            raise RequestFailed("Not ready to serve consistent reads")
        raise no_leader()
