"""Raft and the replicated state of one server agent, put together.

Without a data directory all of it is in memory, and a restarted server is a new one.

Source: nomad-agent.md §10, §13, §16; nomad server.go, setupRaft.
"""

from __future__ import annotations

import random
import time
import uuid
from collections.abc import Awaitable, Callable
from typing import Final

import msgspec
import trio

from swimnomad.live.consensus import LiveConsensus
from swimnomad.live.duties import Duties
from swimnomad.live.hub import EventHub
from swimnomad.live.log import AgentLog
from swimnomad.live.raft_store import open_store
from swimnomad.live.rpc_ends import RpcEnds
from swimnomad.live.state_watch import StateWatch
from swimnomad.nomad.config import AgentConfig
from swimnomad.nomad.core import NomadCore
from swimnomad.nomad.duties.heartbeats import HeartbeatDeadlines
from swimnomad.nomad.duties.node import DutyNode
from swimnomad.nomad.duties.settings import autopilot_config, heartbeat_settings
from swimnomad.nomad.duties.view import UUID_PROTOCOL, ServerView
from swimnomad.nomad.peers import ServerAdded, ServerRemoved
from swimnomad.nomad.replicated import Replicated
from swimnomad.nomad.state.store import StateStore
from swimnomad.nomad.tags import parse_server
from swimnomad.raft.config import RaftConfig, timings
from swimnomad.raft.events import ConfigurationChanged
from swimnomad.serf.events import MemberReaped

PROTOCOL_DEFAULT: Final = 2


class RaftServer:
    """Raft at one server agent; nothing runs before `start`.

    Attributes:
        state: The replicated state.
        consensus: Raft.
        replicated: Both, for the facade.
        duties: What the server does on its own.
    """

    def __init__(
        self,
        config: AgentConfig,
        core: NomadCore,
        node_id: str,
        rpc: RpcEnds,
        log: AgentLog,
        *,
        force_leave: Callable[[str], Awaitable[None]],
        on_failure: Callable[[str], None],
    ) -> None:
        """Take up what the data directory holds.

        Args:
            config: With the ports that were bound.
            core: Whose members may be servers of the region.
            node_id: The server's UUID.
            rpc: Where Raft listens.
            log: The agent's log.
            force_leave: Turns a failed member into a left one; raises OperationError.
            on_failure: Told when the disk failed; Raft has stopped then.

        Raises:
            UsageError: What the directory holds cannot be used; names the file and how to recover.
        """
        self._config = config
        self._core = core
        protocol = config.server.raft_protocol or PROTOCOL_DEFAULT
        self.state = StateStore()
        self.consensus = LiveConsensus(
            raft_config(config, node_id),
            open_store(config.data_dir),
            self.state,
            lambda inbox: rpc.raft_transport(inbox, protocol),
            write_log=log.write,
            protocol=protocol,
            on_failure=on_failure,
        )
        rng = random.Random()
        heartbeats = HeartbeatDeadlines(heartbeat_settings(config), rng)
        node = DutyNode(
            config.server.bootstrap_expect,
            ServerView(core, self.consensus, self.state),
            heartbeats,
            rng,
            time.time,
            autopilot_config(config),
        )
        self.duties = Duties(
            node, self.consensus, rpc.remote, config.region, force_leave, log.write
        )
        self.replicated = Replicated(
            state=self.state,
            consensus=self.consensus,
            watch=StateWatch(self.state),
            heartbeats=heartbeats,
            new_id=lambda: str(uuid.uuid4()),
            health=node.health,
            acl_enabled=bool(config.foreign.get("acl.enabled")),
        )

    def listen(self, gossip: EventHub) -> None:
        """Hear what gossip tells."""
        gossip.listen(self._note)
        self.consensus.hub.listen(self._note)
        self.duties.listen(gossip)

    async def start(self, nursery: trio.Nursery) -> None:
        """Run from now on; RPC and gossip do already."""
        self.introduce()
        await nursery.start(self.consensus.serve)
        await nursery.start(self.duties.serve)

    def close(self) -> None:
        """Let go of the files of a server that never started."""
        self.consensus.close()

    def _note(self, event: object) -> None:
        """What servers there are, or whom Raft counts, may have changed."""
        if isinstance(event, ServerAdded | ServerRemoved | MemberReaped | ConfigurationChanged):
            self.introduce()

    def introduce(self) -> None:
        """Tell Raft which servers of the region gossip knows, whatever their status.

        Not before it has a configuration: until then it listens to whoever brings one. The leader
        may be a server of which gossip has not told yet, and that can take a push/pull.
        """
        if not self.consensus.configuration:
            return
        servers = map(parse_server, self._core.serf.members.values())
        self.consensus.introduce(
            server.address
            for server in servers
            if server is not None and server.region == self._config.region
        )


def raft_config(config: AgentConfig, node_id: str) -> RaftConfig:
    """Settings of the node of a server whose UUID is `node_id`: its name if all speak protocol 3.

    Raises:
        UsageError: The multiplier is not allowed.
    """
    address = str(config.advertised("rpc"))
    protocol = config.server.raft_protocol or PROTOCOL_DEFAULT
    basis = RaftConfig(address if protocol < UUID_PROTOCOL else node_id, address)
    return msgspec.structs.replace(basis, **timings(multiplier_of(config)))


def multiplier_of(config: AgentConfig) -> float:
    """What all timings of Raft are multiplied with; 0 in a file means 1."""
    found = config.foreign.get("server.raft_multiplier")
    return float(found) if isinstance(found, int | float) and found > 0 else 1.0
