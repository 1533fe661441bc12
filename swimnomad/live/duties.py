"""Carries out what a server does on its own: bootstrapping, and the leader's duties.

The rules are in `nomad.duties`. Here they are fed what gossip and Raft tell, at the moment it is
told, and what they ask for is done in tasks beside each other.

Source: nomad-agent.md §5, §6.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any, Final, TypeVar

import trio

from swimnomad.errors import OperationError
from swimnomad.live.consensus import LeadershipReady, LiveConsensus
from swimnomad.live.hub import EventHub
from swimnomad.live.log import LogWriter, level_of
from swimnomad.live.timers import TimerHeap
from swimnomad.nomad.duties.messages import (
    AskPeers,
    AskStats,
    BootstrapRaft,
    CancelTimer,
    ChangePeer,
    ConfirmLead,
    DutyInput,
    Finished,
    ForceLeave,
    LeadBegan,
    LeadEnded,
    Log,
    MemberChanged,
    PeersReported,
    Propose,
    SetTimer,
    Started,
    StatsReported,
    TimerFired,
)
from swimnomad.nomad.duties.node import DutyNode
from swimnomad.nomad.remote import Remote
from swimnomad.nomad.replicated import READ_TIME, WRITE_TIME
from swimnomad.nomad.requests import Request, StatusPeers, StatusRaftStats
from swimnomad.nomad.state.commands import encode_command
from swimnomad.nomad.tags import Server
from swimnomad.raft.events import LostLeadership
from swimnomad.serf.events import MemberEvent
from swimnomad.swim.effects import Event

Reply = TypeVar("Reply")

MODULE: Final = "nomad"
PEERS_TIME: Final = 5.0
"""Seconds that a server may take to tell its peers."""
STATS_TIME: Final = 2.0
"""Seconds that a server may take to tell how far it is."""
BOOTSTRAP_TIME: Final = 10.0
"""Seconds that the disk may take for the first entry."""


class Duties:
    """Drives the duties of one server.

    Attributes:
        node: The core.
    """

    def __init__(
        self,
        node: DutyNode,
        consensus: LiveConsensus,
        remote: Remote,
        region: str,
        force_leave: Callable[[str], Awaitable[None]],
        write_log: LogWriter,
    ) -> None:
        """Put it together; nothing is done before `serve`.

        Args:
            node: The rules.
            consensus: Raft at this server.
            remote: The way to other servers.
            region: Ours.
            force_leave: Turns a failed member into a left one; raises OperationError.
            write_log: Where log lines go.
        """
        self.node = node
        self._consensus = consensus
        self._remote = remote
        self._region = region
        self._force_leave = force_leave
        self._write_log = write_log
        self._timers = TimerHeap()
        self._changed = trio.Event()
        self._nursery: trio.Nursery | None = None
        self._carry_out: dict[type[Any], Callable[[Any], None]] = {
            SetTimer: self._set_timer,
            CancelTimer: lambda effect: self._timers.cancel(effect.timer),
            Log: lambda effect: self._log(effect.level, effect.message),
            AskPeers: lambda effect: self._start(self._ask_peers, effect),
            AskStats: lambda effect: self._start(self._ask_stats, effect),
            BootstrapRaft: lambda effect: self._start(self._bootstrap, effect),
            ForceLeave: lambda effect: self._start(self._leave, effect),
            ConfirmLead: lambda effect: self._start(
                self._finish,
                effect.number,
                lambda: consensus.read_index(trio.current_time() + READ_TIME),
            ),
            Propose: lambda effect: self._start(
                self._finish,
                effect.number,
                lambda: consensus.propose(
                    encode_command(effect.command), trio.current_time() + WRITE_TIME
                ),
            ),
            ChangePeer: lambda effect: self._start(
                self._finish, effect.number, lambda: self._change_peer(effect)
            ),
        }

    def listen(self, gossip: EventHub) -> None:
        """Hear what gossip and Raft tell."""
        gossip.listen(self._on_gossip)
        self._consensus.hub.listen(self._on_raft)

    async def serve(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Do the duties until cancelled. Gossip and Raft run already."""
        try:
            async with trio.open_nursery() as self._nursery:
                self.feed(Started())
                if self._consensus.is_ready:
                    self.feed(LeadBegan())
                task_status.started()
                await self._keep_time()
        finally:
            self._nursery = None

    def feed(self, incoming: DutyInput) -> None:
        """Give the rules an input and begin what they ask for."""
        if self._nursery is None:
            return
        for effect in self.node.handle(incoming, trio.current_time()):
            self._carry_out[type(effect)](effect)

    def _on_gossip(self, event: Event) -> None:
        if isinstance(event, MemberEvent):
            self.feed(MemberChanged(event))

    def _on_raft(self, event: object) -> None:
        if isinstance(event, LeadershipReady):
            self.feed(LeadBegan())
        elif isinstance(event, LostLeadership):
            self.feed(LeadEnded())

    # --- time -------------------------------------------------------------------------------------

    def _set_timer(self, effect: SetTimer) -> None:
        self._timers.set(effect.timer, effect.at)
        self._changed.set()

    async def _keep_time(self) -> None:
        while True:
            self._changed = trio.Event()
            with trio.move_on_at(self._timers.next_deadline()):
                await self._changed.wait()
            now = trio.current_time()
            while (timer := self._timers.pop_due(now)) is not None:
                self.feed(TimerFired(timer))

    # --- what is asked for ------------------------------------------------------------------------

    def _log(self, level: str, message: str) -> None:
        self._write_log(level_of(level), MODULE, message)

    def _start(self, work: Callable[..., Awaitable[None]], *arguments: object) -> None:
        assert self._nursery is not None
        self._nursery.start_soon(work, *arguments)

    async def _finish(self, number: int, work: Callable[[], Awaitable[object]]) -> None:
        error = ""
        try:
            await work()
        except OperationError as failed:
            error = str(failed) or type(failed).__name__
        self.feed(Finished(number, error))

    async def _change_peer(self, effect: ChangePeer) -> None:
        deadline = trio.current_time() + WRITE_TIME
        if effect.action == "add":
            await self._consensus.add_server(effect.peer, deadline)
        else:
            await self._consensus.remove_server(effect.peer.id, deadline)

    async def _bootstrap(self, effect: BootstrapRaft) -> None:
        try:
            deadline = trio.current_time() + BOOTSTRAP_TIME
            await self._consensus.bootstrap(effect.peers, deadline)
        except OperationError as error:
            self._log("error", f"failed to bootstrap cluster: {error}")

    async def _leave(self, effect: ForceLeave) -> None:
        try:
            await self._force_leave(effect.name)
        except OperationError as error:
            self._log("error", f"failed to force out {effect.name}: {error}")

    async def _ask_peers(self, effect: AskPeers) -> None:
        request = StatusPeers(region=self._region, stale=True)
        answers = await self._ask_all(effect.servers, request, PEERS_TIME)
        self.feed(PeersReported(effect.number, answers))

    async def _ask_stats(self, effect: AskStats) -> None:
        answers = await self._ask_all(effect.servers, StatusRaftStats(), STATS_TIME)
        self.feed(StatsReported(effect.number, answers, time.time()))

    async def _ask_all(
        self, servers: tuple[Server, ...], request: Request[Reply], seconds: float
    ) -> dict[str, Reply | None]:
        """What each server answers, by name; None where nothing came in time."""
        answers: dict[str, Reply | None] = dict.fromkeys(server.name for server in servers)

        async def ask(server: Server) -> None:
            with trio.move_on_after(seconds), suppress(OperationError):
                answers[server.name] = await self._remote.ask(server.address, self._region, request)

        async with trio.open_nursery() as nursery:
            for server in servers:
                nursery.start_soon(ask, server)
        return answers
