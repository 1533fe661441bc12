"""One agent as one nursery: gossip, RPC and HTTP ends, joining; for programs and for tests.

An agent that is a client only has no core, does not gossip and does not listen for RPC.
"""

from __future__ import annotations

import os
import random
from collections.abc import AsyncIterator, Sequence
from contextlib import ExitStack, asynccontextmanager
from functools import partial

import msgspec
import trio

from swimnomad.errors import OperationError, UsageError
from swimnomad.http.app import create_app
from swimnomad.http.serve import serve
from swimnomad.journal.recipe import generator
from swimnomad.live.bind import BoundSockets, bind_pair
from swimnomad.live.client_node import NodeDriver, open_node, read_node
from swimnomad.live.endpoint import GossipEndpoint
from swimnomad.live.event_log import EventLog
from swimnomad.live.identity import load_keyring, node_id
from swimnomad.live.journaling import ENCRYPTED_JOURNAL, LiveJournal, fresh_seed
from swimnomad.live.log import AgentLog, Level, level_of
from swimnomad.live.nurseries import plain_nursery
from swimnomad.live.raft_server import RaftServer
from swimnomad.live.retry_join import Join, retry_join
from swimnomad.live.rpc_ends import RpcEnds
from swimnomad.live.services import LiveServices
from swimnomad.live.shim import FaultShim
from swimnomad.live.stopping import StopSwitch
from swimnomad.names import Address
from swimnomad.nomad.agent import Agent
from swimnomad.nomad.config import AgentConfig, ServerJoin, TlsConfig
from swimnomad.nomad.core import NomadCore
from swimnomad.nomad.joining import JoinReport
from swimnomad.swim.inputs import Start
from swimnomad.tls.contexts import AgentTls

HTTP_END_MAX = 5.0
"""Seconds that the HTTP listener may take to end; it ends connections by itself before that."""
NONCE_BYTES = 12


class LiveAgent:
    """A running agent.

    Attributes:
        config: As given, with the ports that the system chose in place of 0.
        facade: What the HTTP API asks.
        core: The protocol stack of a server; None for an agent that is a client only.
        raft: Raft and the replicated state of a server; None with it.
        endpoint: What drives the core; None with it.
        client: What drives the node of a client; None for a server only.
        http: Where the HTTP API listens.
        log: The agent's log.
        stop: Set when somebody wants the agent to stop.
    """

    def __init__(self, config: AgentConfig, log: AgentLog, resources: ExitStack) -> None:
        """Bind the gossip sockets and put the parts together; nothing runs yet.

        Raises:
            UsageError: If the configuration cannot be followed on this machine.
        """
        config.validate()
        self.log = log
        self.stop = StopSwitch()
        self.core: NomadCore | None = None
        self.endpoint: GossipEndpoint | None = None
        self._tls = AgentTls(config)
        self._rpc = RpcEnds(config, self._tls, log)
        resources.callback(self._rpc.close)
        config = msgspec.structs.replace(config, tls=self._shown_tls(config))
        self.raft: RaftServer | None = None
        shim: FaultShim | None = None
        if config.server.enabled:
            config = _with_port(config, rpc=self._rpc.port)
            sockets = bind_pair(config.bind("serf"))
            resources.callback(sockets.close)
            config = _with_port(config, serf=sockets.address.port)
            shim = FaultShim(random.Random()) if config.gossip.allow_faults else None
            self._make_server(config, sockets, shim, resources)
        self.config = config
        self.http = config.bind("http")
        self.services = LiveServices(
            self.endpoint, shim, self.stop, log=log, remote=self._rpc.remote
        )
        replicated = None if self.raft is None else self.raft.replicated
        node = open_node(config) if config.client.enabled else None
        self.facade = Agent(config, self.core, self.services, replicated=replicated, node=node)
        self.client: NodeDriver | None = None
        if node is not None:
            self.client = NodeDriver(node, self.facade, log.write)
            self.facade.on_answer = self.client.note_answer
        self._http_begun = False
        self._http_stop = trio.Event()
        self._http_done = trio.Event()

    def _make_server(
        self,
        config: AgentConfig,
        sockets: BoundSockets,
        shim: FaultShim | None,
        resources: ExitStack,
    ) -> None:
        """Put the parts together that only servers have: gossip and Raft."""
        log = self.log
        seed = fresh_seed()
        identifier = node_id(config)
        keyring = load_keyring(config, log.write)
        self.core = NomadCore(
            config,
            generator(seed),
            node_id=identifier,
            keyring=keyring,
            nonces=partial(os.urandom, NONCE_BYTES),
        )
        start = Start(config.advertised("serf"))
        witness = None
        if config.gossip.journal:
            if keyring is not None:
                raise UsageError(ENCRYPTED_JOURNAL)
            journal = LiveJournal(config, self.core, seed, start.advertise, log)
            resources.callback(journal.close)
            witness = journal.step
        self.endpoint = GossipEndpoint(self.core, sockets, start=start, shim=shim, journal=witness)
        event_log = EventLog(config.member_name, log.write, trio.current_time)
        self.endpoint.hub.listen(event_log.note)
        self.raft = RaftServer(
            config,
            self.core,
            identifier,
            self._rpc,
            log,
            force_leave=self._force_leave,
            on_failure=self._on_raft_failure,
        )
        resources.callback(self.raft.close)
        self.raft.listen(self.endpoint.hub)

    @property
    def http_url(self) -> str:
        """Root of the HTTP API."""
        return f"{'https' if self.config.tls.http else 'http'}://{self.http}"

    async def start(self, nursery: trio.Nursery) -> None:
        """Start all ends and joining; returns once the API answers and the start-join is done.

        Raises:
            UsageError: If the HTTP address cannot be had.
            OperationError: If none of the addresses to join at the start answered.
        """
        await self._rpc.start(nursery, self.facade)
        if self.endpoint is not None and self.raft is not None:
            await nursery.start(self.endpoint.serve)
            await self.raft.start(nursery)
        self.http = await nursery.start(self._serve_http)
        self._adopt(_with_port(self.config, http=self.http.port))
        if self.client is not None:
            nursery.start_soon(self._run_client, self.client)
        if self.endpoint is None:
            joining = self.config.client.server_join or ServerJoin()
            if joining.retry_join:
                nursery.start_soon(self._retry_join, joining, self._find_servers)
            return
        joining = self.config.server.joining
        if joining.start_join:
            self.log.write(Level.INFO, "agent", "joining cluster")
            report = await self.facade.join(joining.start_join)
            if report.error:
                raise OperationError(report.error, may_have_happened=False)
            self.log.write(Level.INFO, "agent", "join completed. Synced nodes", count=report.joined)
        if joining.retry_join:
            nursery.start_soon(self._retry_join, joining, self.facade.join)

    def reload(self, config: AgentConfig) -> None:
        """Take over of a configuration read again what can change while the agent runs.

        That is the log level and TLS, whose files are read again too; what is connected stays as
        it is.

        Raises:
            ConfigError: The files of TLS cannot be used. TLS stays as it was.
        """
        self.log.level = level_of(config.log_level)
        if self._tls.reload(config):
            self._adopt(msgspec.structs.replace(self.config, tls=self._shown_tls(config)))

    async def shut_down(self) -> None:
        """Stop the HTTP API; requests under way get a moment."""
        self._http_stop.set()
        if not self._http_begun:
            return
        with trio.move_on_after(HTTP_END_MAX):
            await self._http_done.wait()

    async def _serve_http(
        self, *, task_status: trio.TaskStatus[Address] = trio.TASK_STATUS_IGNORED
    ) -> None:
        self._http_begun = True
        try:
            await serve(
                create_app(self.facade),
                self.config.bind("http"),
                shutdown_trigger=self._http_stop.wait,
                connections_max=self.config.limits.http_max_conns_per_client,
                tls=self._tls.http,
                handshake_timeout=self.config.limits.https_handshake_timeout,
                task_status=task_status,
            )
        finally:
            self._http_done.set()

    async def _run_client(self, client: NodeDriver) -> None:
        await client.serve(await read_node(self.config, client.node.node))

    async def _retry_join(self, joining: ServerJoin, join: Join) -> None:
        if not await retry_join(join, joining, self.log.write):
            self.stop.request(leave=False, status=1)

    async def _find_servers(self, addresses: Sequence[str]) -> JoinReport:
        """How a client joins: it keeps those servers that answer."""
        try:
            await self.facade.set_servers(addresses)
        except OperationError as error:
            return JoinReport(0, str(error))
        return JoinReport(len(await self.facade.servers()), "")

    async def _force_leave(self, name: str) -> None:
        await self.facade.force_leave(name, prune=False)

    def _on_raft_failure(self, reason: str) -> None:
        """A server that cannot keep its word stops."""
        self.log.write(Level.ERROR, "agent", "stopping, Raft cannot go on", error=reason)
        self.stop.request(leave=False, status=1)

    def _adopt(self, config: AgentConfig) -> None:
        self.config = config
        self.facade.adopt(config)

    def _shown_tls(self, config: AgentConfig) -> TlsConfig:
        return msgspec.structs.replace(config.tls, checksum=self._tls.checksum)


@asynccontextmanager
async def open_agent(config: AgentConfig, log: AgentLog | None = None) -> AsyncIterator[LiveAgent]:
    """An agent for the length of the block; it stops at the end without leaving.

    Args:
        config: Ports may be 0.
        log: Where it logs; None for nowhere.

    Raises:
        UsageError: If the configuration cannot be followed on this machine.
        OperationError: If none of the addresses to join at the start answered.
    """
    with ExitStack() as resources:
        agent = LiveAgent(config, log or AgentLog(level_of(config.log_level)), resources)
        async with plain_nursery() as nursery:
            try:
                await agent.start(nursery)
                yield agent
            finally:
                with trio.CancelScope(shield=True):
                    await agent.shut_down()
                nursery.cancel_scope.cancel()


def _with_port(config: AgentConfig, **ports: int) -> AgentConfig:
    changed = msgspec.structs.replace(config.ports, **ports)
    return msgspec.structs.replace(config, ports=changed)
