"""One agent as one nursery: gossip endpoint, HTTP API, joining; for programs and for tests.

An agent that is a client only has no core and does not gossip. Nothing serves the RPC port yet:
its number is part of a server's tags all the same, so with port 0 one is reserved.
"""

from __future__ import annotations

import os
import random
import socket
from collections.abc import AsyncIterator
from contextlib import ExitStack, asynccontextmanager
from functools import partial

import msgspec
import trio

from swimnomad.errors import OperationError, UsageError
from swimnomad.http.app import create_app
from swimnomad.http.serve import serve
from swimnomad.journal.recipe import generator
from swimnomad.live.bind import bind_pair
from swimnomad.live.endpoint import GossipEndpoint
from swimnomad.live.event_log import EventLog
from swimnomad.live.identity import load_keyring, node_id
from swimnomad.live.journaling import ENCRYPTED_JOURNAL, LiveJournal, fresh_seed
from swimnomad.live.log import AgentLog, Level, level_of
from swimnomad.live.nurseries import plain_nursery
from swimnomad.live.oserrors import error_text
from swimnomad.live.retry_join import retry_join
from swimnomad.live.services import LiveServices
from swimnomad.live.shim import FaultShim
from swimnomad.live.stopping import StopSwitch
from swimnomad.names import Address
from swimnomad.nomad.agent import Agent
from swimnomad.nomad.config import AgentConfig
from swimnomad.nomad.core import NomadCore
from swimnomad.swim.inputs import Start

HTTP_END_MAX = 5.0
"""Seconds that the HTTP listener may take to end; it ends connections by itself before that."""
NONCE_BYTES = 12


class LiveAgent:
    """A running agent.

    Attributes:
        config: As given, with the ports that the system chose in place of 0.
        facade: What the HTTP API asks.
        core: The protocol stack of a server; None for an agent that is a client only.
        endpoint: What drives the core; None with it.
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
        shim: FaultShim | None = None
        if config.server.enabled:
            config = _reserve_rpc_port(config, resources)
            sockets = bind_pair(config.bind("serf"))
            resources.callback(sockets.close)
            config = _with_port(config, serf=sockets.address.port)
            seed = fresh_seed()
            keyring = load_keyring(config, log.write)
            self.core = NomadCore(
                config,
                generator(seed),
                node_id=node_id(config),
                keyring=keyring,
                nonces=partial(os.urandom, NONCE_BYTES),
            )
            shim = FaultShim(random.Random()) if config.gossip.allow_faults else None
            start = Start(config.advertised("serf"))
            witness = None
            if config.gossip.journal:
                if keyring is not None:
                    raise UsageError(ENCRYPTED_JOURNAL)
                journal = LiveJournal(config, self.core, seed, start.advertise, log)
                resources.callback(journal.close)
                witness = journal.step
            self.endpoint = GossipEndpoint(
                self.core, sockets, start=start, shim=shim, journal=witness
            )
            event_log = EventLog(config.member_name, log.write, trio.current_time)
            self.endpoint.hub.listen(event_log.note)
        self.config = config
        self.http = config.bind("http")
        self.services = LiveServices(self.endpoint, shim, self.stop)
        self.facade = Agent(config, self.core, self.services)
        self._http_stop = trio.Event()
        self._http_done = trio.Event()

    @property
    def http_url(self) -> str:
        """Root of the HTTP API."""
        return f"http://{self.http}"

    async def start(self, nursery: trio.Nursery) -> None:
        """Start gossip, HTTP and joining; returns once the API answers and the start-join is done.

        Raises:
            UsageError: If the HTTP address cannot be had.
            OperationError: If none of the addresses to join at the start answered.
        """
        if self.endpoint is not None:
            await nursery.start(self.endpoint.serve)
        self.http = await nursery.start(self._serve_http)
        self.config = self.facade.config = _with_port(self.config, http=self.http.port)
        if self.endpoint is None:
            return
        joining = self.config.server.joining
        if joining.start_join:
            self.log.write(Level.INFO, "agent", "joining cluster")
            report = await self.facade.join(joining.start_join)
            if report.error:
                raise OperationError(report.error, may_have_happened=False)
            self.log.write(Level.INFO, "agent", "join completed. Synced nodes", count=report.joined)
        if joining.retry_join:
            nursery.start_soon(self._retry_join)

    async def shut_down(self) -> None:
        """Stop the HTTP API; requests under way get a moment."""
        self._http_stop.set()
        with trio.move_on_after(HTTP_END_MAX):
            await self._http_done.wait()

    async def _serve_http(
        self, *, task_status: trio.TaskStatus[Address] = trio.TASK_STATUS_IGNORED
    ) -> None:
        try:
            await serve(
                create_app(self.facade),
                self.config.bind("http"),
                shutdown_trigger=self._http_stop.wait,
                connections_max=self.config.limits.http_max_conns_per_client,
                task_status=task_status,
            )
        finally:
            self._http_done.set()

    async def _retry_join(self) -> None:
        if not await retry_join(self.facade, self.config.server.joining, self.log.write):
            self.stop.request(leave=False, status=1)


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


def _reserve_rpc_port(config: AgentConfig, resources: ExitStack) -> AgentConfig:
    """Replace RPC port 0 by one that nobody else is given while the agent runs."""
    wanted = config.bind("rpc")
    if wanted.port:
        return config
    sock = resources.enter_context(
        socket.socket(socket.AF_INET6 if ":" in wanted.host else socket.AF_INET)
    )
    try:
        sock.bind(tuple(wanted))
    except OSError as error:
        text = f"cannot reserve an RPC port on {wanted.host}: bind: {error_text(error)}"
        raise UsageError(text) from None
    return _with_port(config, rpc=sock.getsockname()[1])


def _with_port(config: AgentConfig, **ports: int) -> AgentConfig:
    changed = msgspec.structs.replace(config.ports, **ports)
    return msgspec.structs.replace(config, ports=changed)
