"""Raft without Raft: writes that are kept at once, or are not."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import trio

from swimnomad.errors import OperationError
from swimnomad.names import Address
from swimnomad.nomad.consensus import RaftPeer, RaftStatus
from swimnomad.nomad.duties.heartbeats import HeartbeatDeadlines, HeartbeatSettings
from swimnomad.nomad.failures import no_leader
from swimnomad.nomad.identifiers import uuid_of
from swimnomad.nomad.replicated import Replicated
from swimnomad.nomad.state.commands import Command, encode_command
from swimnomad.nomad.state.outcomes import Outcome
from swimnomad.nomad.state.store import StateStore
from swimnomad.nomad.state.tables import Table


@dataclass
class LoneRaft:
    """`Consensus` that applies whatever is proposed to its state, as long as it leads."""

    state: StateStore
    leads: bool = True
    is_ready: bool = True
    leader: Address | None = None
    configuration: tuple[RaftPeer, ...] = ()
    status: RaftStatus = field(default_factory=lambda: RaftStatus(role="Leader", last_contact=0.0))
    failure: OperationError | None = None
    """What every operation ends with."""
    reads: int = 0
    calls: list[tuple[Any, ...]] = field(default_factory=list)

    @classmethod
    def at(cls, *addresses: Address, state: StateStore | None = None) -> LoneRaft:
        """The leader of a region: the first of these."""
        peers = tuple(RaftPeer(str(address), address) for address in addresses)
        return cls(state or StateStore(), leader=addresses[0], configuration=peers)

    async def _check(self) -> None:
        await trio.lowlevel.checkpoint()
        if self.failure is not None:
            raise self.failure
        if not self.leads:
            raise no_leader()

    async def propose(self, data: bytes, deadline: float) -> Outcome:
        """Apply it."""
        await self._check()
        return self.state.apply(self.state.last_index + 1, data)

    async def read_index(self, deadline: float) -> None:
        """What is there is current."""
        await self._check()
        self.reads += 1

    async def add_server(self, peer: RaftPeer, deadline: float) -> None:
        """Note it."""
        await self._check()
        self.calls.append(("add", peer))

    async def remove_server(self, server_id: str, deadline: float) -> None:
        """Do it."""
        await self._check()
        self.calls.append(("remove", server_id))
        self.configuration = tuple(peer for peer in self.configuration if peer.id != server_id)

    async def transfer_leadership(self, server_id: str | None, deadline: float) -> None:
        """Note it."""
        await self._check()
        self.calls.append(("transfer", server_id))


@dataclass
class WatchedState:
    """A watch that lets virtual time pass, and the state change, while somebody waits."""

    state: StateStore
    sleep: Callable[[float], Any]
    on_wait: Callable[[], Any] = lambda: None
    waits: list[float] = field(default_factory=list)

    async def changed(self, tables: tuple[Table, ...], index: int, seconds: float) -> None:
        """Let something happen; time passes if nothing did."""
        self.waits.append(seconds)
        await trio.lowlevel.checkpoint()
        self.on_wait()
        if self.state.index_of(*tables) <= index:
            await self.sleep(seconds)


def replicated(raft: LoneRaft, watch: Any = None, **fields: Any) -> Replicated:  # noqa: ANN401
    """The replicated state behind a fake Raft, its heartbeats armed if it leads."""
    rng = random.Random("replicated")
    heartbeats = HeartbeatDeadlines(HeartbeatSettings(), rng)
    if raft.leads:
        heartbeats.arm((), 0.0)
    return Replicated(
        state=raft.state,
        consensus=raft,
        watch=watch,
        heartbeats=heartbeats,
        new_id=lambda: uuid_of(rng),
        **fields,
    )


def apply(state: StateStore, command: Command, index: int | None = None) -> Outcome:
    """Apply a command as an entry of the log."""
    return state.apply(state.last_index + 1 if index is None else index, encode_command(command))
