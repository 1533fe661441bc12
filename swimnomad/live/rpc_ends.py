"""The RPC ends of one agent: a server's listener, and the pool of sessions with other servers.

Source: rpc.md §1, §12; nomad-agent.md §9.
"""

from __future__ import annotations

import ipaddress
import socket
import time
from functools import partial

import msgspec
import trio

from swimnomad.live.log import AgentLog, level_of
from swimnomad.names import Address
from swimnomad.nomad.agent import Agent
from swimnomad.nomad.config import AgentConfig
from swimnomad.rpc.limits import RpcLimits
from swimnomad.rpc.links import PeerLinks
from swimnomad.rpc.listener import open_listener, serve_rpc
from swimnomad.rpc.methods import OF_CLIENTS, AgentMethods
from swimnomad.rpc.pool import Pool
from swimnomad.rpc.raft_transport import RaftInbox, RaftTransport
from swimnomad.rpc.remote import PoolRemote
from swimnomad.rpc.service import Level
from swimnomad.tls.contexts import AgentTls
from swimnomad.tls.names import names_of, role_name

MODULE = "nomad.rpc"
CLIENT_MODULE = "client.rpc"
RAFT_MODULE = "nomad.raft"

IDLE_STREAMS_OF_CLIENT = 2
IDLE_TIMEOUT_OF_CLIENT = 300.0


class RpcEnds:
    """Listener and pool; nothing runs before `start`.

    Attributes:
        port: Where a server listens; 0 for an agent that is a client only.
        remote: The way to other agents, for the facade.
    """

    def __init__(self, config: AgentConfig, tls: AgentTls, log: AgentLog) -> None:
        """Bind a server's port.

        Raises:
            UsageError: The RPC address cannot be listened on.
        """
        self._tls = tls
        self._agent_log = log
        self._module = MODULE if config.server.enabled else CLIENT_MODULE
        self._limits = limits_of(config)
        self._listener: socket.socket | None = None
        bind = config.bind("rpc")
        self.port = 0
        if config.server.enabled:
            self._listener = open_listener(bind)
            self.port = self._listener.getsockname()[1]
        # The system would call everybody on loopback from 127.0.0.1: that hides which agent
        # calls, and all of them together would share one limit on connections.
        is_loopback = ipaddress.ip_address(bind.host).is_loopback
        self._source_host = bind.host if is_loopback else None
        self._region = config.region
        self._checks_roles = config.tls.verify_server_hostname
        self._raft: RaftTransport | None = None
        self._pool = Pool(
            self._limits, tls.rpc_client, source_host=self._source_host, log=self._log
        )
        self.remote = PoolRemote(self._pool)

    def raft_transport(self, inbox: RaftInbox, protocol: int) -> RaftTransport:
        """How Raft speaks over this agent's port; `serve_raft` is the other half.

        Args:
            inbox: Where inputs for the node go.
            protocol: The version of Raft's protocol, 2 or 3.
        """
        self._raft = RaftTransport(
            inbox,
            protocol=protocol,
            region=self._region,
            tls=self._tls.rpc_client,
            source_host=self._source_host,
            log=self._log_raft,
        )
        return self._raft

    async def start(self, nursery: trio.Nursery, facade: Agent) -> None:
        """Serve and call in the background from now on; a client's servers are kept in order.

        Servers can call a client back over the sessions that it has with them.
        """
        if self._listener is None and facade.client is not None:
            self._pool.offer(AgentMethods(facade.client, methods=OF_CLIENTS))
        await nursery.start(self._pool.run)
        if self._listener is None:
            nursery.start_soon(facade.keep_servers_balanced)
            return
        links = PeerLinks(facade.forget_link, self._limits, time.time)
        await nursery.start(links.run)
        serve = partial(
            serve_rpc,
            self._listener,
            AgentMethods(facade, links.link_of),
            self._limits,
            self._tls.rpc_server,
            raft=None if self._raft is None else self._serve_raft,
            log=self._log,
        )
        await nursery.start(serve)

    def close(self) -> None:
        """Give the port back."""
        if self._listener is not None:
            self._listener.close()

    async def _serve_raft(self, connection: trio.abc.Stream, remote: Address) -> None:
        """Serve a Raft connection, unless its certificate says that it is not from a server.

        The listener lets clients of the region in, which may call but have no part in Raft. Nomad
        1.0.4 lets them; later versions do not (CVE-2021-37218).
        """
        assert self._raft is not None
        if self._checks_roles and isinstance(connection, trio.SSLStream):
            wanted = role_name("server", self._region)
            if wanted not in names_of(connection.getpeercert()):
                text = "Raft connection refused: its certificate is not that of a server"
                self._log("warn", text, remote_addr=remote, wanted=wanted)
                return
        await self._raft.serve(connection, remote)

    def _log(self, level: Level, message: str, **pairs: object) -> None:
        self._agent_log.write(level_of(level), self._module, message, **pairs)

    def _log_raft(self, level: Level, message: str, **pairs: object) -> None:
        self._agent_log.write(level_of(level), RAFT_MODULE, message, **pairs)


def limits_of(config: AgentConfig) -> RpcLimits:
    """The limits that a configuration sets; a client keeps fewer streams, and sessions longer."""
    limits = RpcLimits(
        handshake_timeout=config.limits.rpc_handshake_timeout,
        connections_per_client=config.limits.rpc_max_conns_per_client,
        connections_max=config.rpc.connections_max,
        handshakes_max=config.rpc.handshakes_max,
        streams_per_session=config.rpc.streams_per_session,
        message_bytes_max=config.rpc.message_bytes_max,
    )
    if config.server.enabled:
        return limits
    return msgspec.structs.replace(
        limits, idle_streams=IDLE_STREAMS_OF_CLIENT, idle_timeout=IDLE_TIMEOUT_OF_CLIENT
    )
