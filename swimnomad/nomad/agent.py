"""The agent as its APIs see it: one facade that answers from the core and commands it.

It holds no state of its own; what it says is read from the core at that moment. Everything that
waits goes through `Services`. What a request cannot have is a `RequestFailed` with Nomad's words.

Source: agent-http.md §3-5.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import AbstractAsyncContextManager
from functools import cached_property
from typing import TYPE_CHECKING, TypeVar

from swimnomad.errors import OperationError, UsageError
from swimnomad.names import Address, Value
from swimnomad.nomad.client import KnownServers
from swimnomad.nomad.client_requests import ClientRequests, OwnLink
from swimnomad.nomad.failures import RequestFailed, role_missing
from swimnomad.nomad.gossip_view import Json, describe_event, describe_gossip
from swimnomad.nomad.joining import JoinReport, errors_text, find_targets, report
from swimnomad.nomad.leadership import Leaderless, Leadership, RaftLeadership
from swimnomad.nomad.members_view import NO_MEMBER, describe_member
from swimnomad.nomad.node_links import NodeLink
from swimnomad.nomad.remote import Pieces
from swimnomad.nomad.requests import (
    AgentHost,
    AgentMonitor,
    Request,
    StatusLeader,
    Targeted,
)
from swimnomad.nomad.self_config import describe_config
from swimnomad.nomad.server import ServerRequests
from swimnomad.nomad.stats import describe_client, describe_stats
from swimnomad.serf.events import ForceLeaveFinished
from swimnomad.serf.inputs import ForceLeave, Join, Leave
from swimnomad.serf.lifecycle import Lifecycle
from swimnomad.swim.events import JoinFinished, LeaveFinished
from swimnomad.swim.inputs import JoinTarget

if TYPE_CHECKING:
    from swimnomad.nomad.client_node import ClientNode
    from swimnomad.nomad.config import AgentConfig
    from swimnomad.nomad.core import NomadCore
    from swimnomad.nomad.replicated import Replicated
    from swimnomad.nomad.services import FaultPort, Services

Reply = TypeVar("Reply")


class HealthPart(Value, frozen=True):
    """Health of one role."""

    ok: bool
    message: str


class Health(Value, frozen=True):
    """Health of the roles that were asked about; None for the others."""

    client: HealthPart | None = None
    server: HealthPart | None = None

    @property
    def ok(self) -> bool:
        """Whether nothing that was asked about is unhealthy."""
        return all(part.ok for part in (self.client, self.server) if part is not None)


class Agent:
    """Everything that can be asked of one agent, over HTTP or RPC.

    Attributes:
        config: As the agent goes by it now.
        on_answer: Called when servers have answered something that its node did not ask.
    """

    def __init__(
        self,
        config: AgentConfig,
        core: NomadCore | None,
        services: Services,
        leadership: Leadership | None = None,
        replicated: Replicated | None = None,
        node: ClientNode | None = None,
    ) -> None:
        """Make the facade.

        Args:
            config: As the agent was started.
            core: The protocol stack of a server; None for an agent that is a client only.
            services: The world.
            leadership: Raft as this server sees it; None for that of `replicated`, if any.
            replicated: The replicated state; None if there is none.
            node: The node of an agent that is a client; None for one that does not register.
        """
        self.config = config
        self._core = core
        self._services = services
        self._server: ServerRequests | None = None
        self._leadership: Leadership | None = None
        self._consensus = None if replicated is None else replicated.consensus
        if core is not None:
            if leadership is None:
                leadership = RaftLeadership(replicated.consensus) if replicated else Leaderless()
            self._leadership = leadership
            self._server = ServerRequests(config, core, services, leadership, replicated)
        self._known = KnownServers(_servers_of(config), config.region, services)
        self._node = node
        self._client: ClientRequests | None = None
        self._own_link: OwnLink | None = None
        if node is not None:
            self._client = ClientRequests(config, node.node.id, services)
            self._own_link = OwnLink(self._client, services.wall_time())
        self.on_answer: Callable[[], None] = lambda: None

    @property
    def is_server(self) -> bool:
        """Whether this agent runs the server role, and so gossips."""
        return self._core is not None

    @property
    def is_client(self) -> bool:
        """Whether this agent runs the client role."""
        return self.config.client.enabled

    def require_server(self) -> None:
        """Refuse what only servers do.

        Raises:
            RequestFailed: This agent is no server.
        """
        self._server_core()

    async def ask(self, request: Request[Reply], link: NodeLink | None = None) -> Reply:
        """Have a request answered: here, by the leader, in another region, by one of our servers.

        Args:
            request: What is asked.
            link: The connection of another agent that it came over, if that can be called back.

        Raises:
            OperationError: It was refused, or there is no way to whoever must answer it.
        """
        if self._client is not None and self._is_for_client(request):
            return await self._client.ask(request)
        if self._server is not None:
            return await self._server.answer(request, link)
        reply = await self._known.ask(request)
        self.on_answer()
        return reply

    async def ask_servers(self, request: Request[Reply]) -> Reply:
        """Ask for the node of this agent: the servers, or the one in the same agent.

        Raises:
            OperationError: It was refused, or no server can be reached.
        """
        if self._server is not None:
            return await self._server.answer(request, self._own_link)
        return await self._known.ask(request)

    def use_servers(self, servers: Sequence[Address]) -> None:
        """Know exactly these servers from now on, as a heartbeat was answered."""
        self._known.use(servers)

    def pass_over_server(self) -> None:
        """Ask other servers first: this one has kept the node waiting too long."""
        self._known.pass_over()

    def forget_link(self, link: NodeLink) -> None:
        """A connection that requests came over is closed."""
        if self._server is not None:
            self._server.forget_link(link)

    @property
    def client(self) -> ClientRequests | None:
        """What servers may ask of the node of this agent; None if it has none."""
        return self._client

    def _is_for_client(self, request: Request[Reply]) -> bool:
        """Whether a request is for the node of this agent."""
        assert self._node is not None
        if not isinstance(request, Targeted):
            return False
        if request.node_id:
            return request.node_id.lower() == self._node.node.id
        return self._server is None and isinstance(request, AgentHost) and not request.server_id

    def monitor(self, request: AgentMonitor) -> AbstractAsyncContextManager[Pieces]:
        """The log of an agent, piece by piece, for the length of the block.

        Raises:
            StreamFailed: From the block's entry or from the pieces.
        """
        if self._client is not None and self._node is not None:
            is_own = request.node_id.lower() == self._node.node.id
            if is_own or (self._server is None and not request.node_id):
                return self._client.monitor(request)
            if self._server is None:
                return self._known.stream(request)
        if self._server is None:
            raise role_missing()
        return self._server.monitor(request)

    def describe_self(self) -> Json:
        """Configuration, own member and statistics."""
        core = self._core
        stats = describe_stats(
            self.config, core, self._services.task_count(), self._leadership, self._consensus
        )
        if self._node is not None:
            now = self._services.now()
            stats["client"] = describe_client(self._node, self._known.known, now)
        return {
            "config": self._described_config,
            "member": NO_MEMBER if core is None else describe_member(core.serf.local_member),
            "stats": stats,
        }

    def adopt(self, config: AgentConfig) -> None:
        """Go by this configuration from now on, as after a reload."""
        self.config = config
        self.__dict__.pop("_described_config", None)

    @cached_property
    def _described_config(self) -> Json:
        # Half a millisecond of work; only `adopt` changes its outcome.
        return describe_config(self.config)

    async def join(self, addresses: Sequence[str]) -> JoinReport:
        """Contact every address and exchange states; an outcome without success is no failure."""
        core = self._server_core()
        if core.serf.lifecycle != Lifecycle.ALIVE:
            return JoinReport(0, "Serf can't Join after Leave or Shutdown")
        # Port 0 let the system choose: then what was chosen stands for it.
        port = self.config.ports.serf or core.serf.swim.address.port
        found = await find_targets(addresses, port, self._services.resolve)
        targets = tuple(item for item in found if isinstance(item, JoinTarget))
        outcome: JoinFinished | None = None
        if targets:
            try:
                # Old user events are news to a joiner only if it asks for them: Nomad does not.
                event = await self._services.execute(lambda op: Join(op, targets, ignore_old=True))
            except (OperationError, UsageError) as error:
                return JoinReport(0, errors_text([str(error)]))
            assert isinstance(event, JoinFinished)
            outcome = event
        return report(found, outcome)

    async def force_leave(self, node: str, *, prune: bool) -> None:
        """Turn a failed member into a left one, or with `prune` forget it.

        An unknown name is no failure. Pruning is what Nomad does from 1.1 on.

        Raises:
            RequestFailed: The role is missing, or the others could not be told in time.
        """
        self._server_core()
        event = await self._services.execute(lambda op: ForceLeave(op, node, prune))
        assert isinstance(event, ForceLeaveFinished)
        if event.error:
            raise RequestFailed(event.error, may_have_happened=event.may_have_happened)

    async def servers(self) -> list[str]:
        """RPC addresses of the servers that the client role knows, sorted.

        Raises:
            RequestFailed: This agent is no client.
        """
        self.require_client()
        return await self._known.addresses()

    async def set_servers(self, addresses: Sequence[str]) -> None:
        """Know exactly those of these servers, written `host` or `host:port`, that answer a ping.

        Raises:
            RequestFailed: This agent is no client, or none of them answers: then nothing changes.
        """
        self.require_client()
        await self._known.replace(addresses)
        self.on_answer()

    async def keep_servers_balanced(self) -> None:
        """Reorder the servers of a client now and then; never returns."""
        await self._known.keep_balanced()

    def require_client(self) -> None:
        """Refuse what only clients do.

        Raises:
            RequestFailed: This agent is no client.
        """
        if not self.is_client:
            raise role_missing()

    async def health(self, kinds: Sequence[str], region: str, *, stale: bool) -> Health:
        """Check the roles named in `kinds`, or those that run if it is empty."""
        wants_client = "client" in kinds if kinds else self.is_client
        wants_server = "server" in kinds if kinds else self.is_server
        return Health(
            client=await self._client_health() if wants_client else None,
            server=await self._server_health(region, stale) if wants_server else None,
        )

    async def _client_health(self) -> HealthPart:
        if not self.is_client:
            return HealthPart(False, "client not enabled")
        if not await self.servers():
            return HealthPart(False, "no known servers")
        return HealthPart(True, "ok")

    async def _server_health(self, region: str, stale: bool) -> HealthPart:
        if not self.is_server:
            return HealthPart(False, "server not enabled")
        try:
            leader = await self.ask(StatusLeader(region=region, stale=stale))
        except OperationError as error:
            return HealthPart(False, str(error))
        return HealthPart(True, "ok") if leader else HealthPart(False, "no leader")

    def gossip(self) -> Json:
        """The gossip layer as it is now: our own extension."""
        return describe_gossip(self._server_core().serf)

    async def events(self) -> AsyncGenerator[Json, None]:
        """Events from now on as objects, each with its wall time; our own extension."""
        name = self._server_core().serf.local_member.name
        source = self._services.events()
        try:
            async for time, event in source:
                described = describe_event(event, name)
                if described is not None:
                    yield {"time": time, **described}
        finally:
            if isinstance(source, AsyncGenerator):
                await source.aclose()

    async def leave(self) -> bool:
        """Leave the pool on purpose and let the agent stop; our own extension.

        Returns:
            Whether the broadcast was out in time, so that the others heard it.
        """
        self._server_core()
        event = await self._services.execute(Leave)
        assert isinstance(event, LeaveFinished)
        self._services.request_stop(leave=False)
        return event.heard

    @property
    def faults(self) -> FaultPort:
        """The fault shim; our own extension.

        Raises:
            RequestFailed: The agent was not started with fault injection allowed.
        """
        port = self._services.faults
        if port is None:
            raise RequestFailed(
                "fault injection is not allowed on this agent: "
                "start it with allow_faults = true in its gossip block",
                status=403,
            )
        return port

    def _server_core(self) -> NomadCore:
        if self._core is None:
            raise role_missing()
        return self._core


def _servers_of(config: AgentConfig) -> Sequence[str]:
    """What the client role is told of servers: in an agent that is one, itself."""
    if config.server.enabled:
        own = (config.bind("rpc"), config.advertised("rpc"))
        return [str(address) for address in dict.fromkeys(own)]
    return config.client.servers
