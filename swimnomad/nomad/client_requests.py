"""What a client node answers for itself, whoever asks: this agent's users, or servers.

Source: rpc.md §11; nomad client/agent_endpoint.go.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import TYPE_CHECKING, TypeVar, cast

from swimnomad.nomad.failures import RequestFailed, permission_denied
from swimnomad.nomad.host import describe_host
from swimnomad.nomad.monitor import own_log
from swimnomad.nomad.profiles import take_profile
from swimnomad.nomad.remote import Pieces
from swimnomad.nomad.requests import AgentHost, AgentMonitor, AgentProfile, Host, Request

if TYPE_CHECKING:
    from swimnomad.nomad.config import AgentConfig
    from swimnomad.nomad.node_links import NodeLink
    from swimnomad.nomad.services import Services

Reply = TypeVar("Reply")


class ClientRequests:
    """The requests that one client node takes; its id stands for it in the answers."""

    def __init__(self, config: AgentConfig, node_id: str, services: Services) -> None:
        self._config = config
        self._node_id = node_id
        self._services = services

    async def ask(self, request: Request[Reply], link: NodeLink | None = None) -> Reply:
        """Answer; `link` makes no difference.

        Raises:
            RequestFailed: It is refused.
        """
        reply: object
        match request:
            case AgentHost():
                self._check_debug()
                reply = Host(self._node_id, describe_host(await self._services.host_facts()))
            case AgentProfile():
                self._check_debug()
                reply = take_profile(request, self._node_id, self._services.command_line())
            case _:
                raise RequestFailed(f"no client answers {type(request).__name__}")
        return cast(Reply, reply)

    def monitor(self, request: AgentMonitor) -> AbstractAsyncContextManager[Pieces]:
        """The log of this agent for the length of the block.

        Raises:
            StreamFailed: There is no such level.
        """
        return own_log(self._services, request)

    def _check_debug(self) -> None:
        # Without ACLs nobody has rights; then the operator must have opened this.
        if not self._config.enable_debug:
            raise permission_denied()


class OwnLink:
    """The way from a server to the node of the same agent (`node_links.NodeLink`)."""

    is_open = True
    is_callable = True

    def __init__(self, client: ClientRequests, established: float) -> None:
        self.established = established
        self._client = client

    async def ask(self, request: Request[Reply]) -> Reply:
        """Ask the node."""
        return await self._client.ask(request)

    @asynccontextmanager
    async def stream(self, request: AgentMonitor) -> AsyncIterator[Pieces]:
        """The log of the agent."""
        async with self._client.monitor(request) as pieces:
            yield pieces
