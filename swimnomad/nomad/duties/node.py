"""The duties of one server: it bootstraps its region, and while it leads, looks after it.

While a server leads, four things run, each on a timer:

    heartbeats   nodes that are overdue: confirm the lead, then write that they are down
    sweep        compare all of gossip with Raft's peers; single servers as gossip announces them
    autopilot    force out the dead, take peers out that gossip does not know, promote
    health       ask all servers how far they are

Changes of Raft's configuration go one by one: each is decided anew when its turn comes, on what is
true then. When the lead ends everything is forgotten; the next leader finds it all again, since
nothing here is known that gossip, Raft and the state do not know. Reports about what an earlier
lead asked for are ignored: numbers are never used twice.

Source: nomad-agent.md §5, §6; rpc.md §10.4; nomad leader.go, heartbeat.go.
"""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable
from typing import assert_never

from swimnomad.nomad.duties.autopilot import HealthTable, clean_up
from swimnomad.nomad.duties.bootstrap import Bootstrapping
from swimnomad.nomad.duties.heartbeats import TICK_INTERVAL, HeartbeatDeadlines
from swimnomad.nomad.duties.messages import (
    AskStats,
    CancelTimer,
    ChangePeer,
    ConfirmLead,
    DutyEffect,
    DutyInput,
    DutyTimer,
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
from swimnomad.nomad.duties.reconcile import Step, next_step
from swimnomad.nomad.duties.view import DutyView, alive, stands_for
from swimnomad.nomad.identifiers import uuid_of
from swimnomad.nomad.requests import RegionHealth
from swimnomad.nomad.state.commands import Command, SetAutopilot, SetClusterId, SetNodeStatus
from swimnomad.nomad.state.records import DOWN, AutopilotConfig, ClusterId, NodeEvent
from swimnomad.nomad.state.store import NANOSECONDS
from swimnomad.nomad.tags import Server, parse_server
from swimnomad.serf.events import MemberJoined, MemberReaped, MemberUpdated

SWEEP_INTERVAL = 60.0
AUTOPILOT_INTERVAL = 10.0
HEALTH_INTERVAL = 2.0
QUEUE_MAX = 32
"""Servers that gossip announced and nobody looked at yet; further ones wait for the sweep."""
EXPIRIES_MAX = 64
"""Nodes whose status is being written at one time; the others wait for the next tick."""

_LEADERS_TIMERS = {
    DutyTimer.SWEEP: SWEEP_INTERVAL,
    DutyTimer.AUTOPILOT: AUTOPILOT_INTERVAL,
    DutyTimer.HEALTH: HEALTH_INTERVAL,
    DutyTimer.HEARTBEATS: TICK_INTERVAL,
}


class DutyNode:
    """The duties of one server, sans-I/O.

    Args:
        expect: `bootstrap_expect` of the server.
        view: What it looks at.
        heartbeats: The deadlines, which requests set.
        rng: Draws the cluster's id.
        wall_time: Seconds since the epoch, for what is written; no decision depends on it.
        autopilot: What autopilot is told by the first leader of a region.
    """

    def __init__(
        self,
        expect: int,
        view: DutyView,
        heartbeats: HeartbeatDeadlines,
        rng: random.Random,
        wall_time: Callable[[], float],
        autopilot: AutopilotConfig | None = None,
    ) -> None:
        self._view = view
        self._heartbeats = heartbeats
        self._rng = rng
        self._wall_time = wall_time
        self._initial_autopilot = autopilot or AutopilotConfig()
        self.bootstrapping = Bootstrapping(expect, view)
        self._health = HealthTable()
        self._leads = False
        self._number = 0
        self._announced: dict[str, tuple[Server, bool]] = {}
        self._sweeping: deque[str] = deque()
        self._stale: deque[str] = deque()
        self._promoting: deque[str] = deque()
        self._changing: int | None = None
        self._again: tuple[Server, bool] | None = None
        self._asking_stats: int | None = None
        self._confirming: tuple[int, tuple[str, ...]] | None = None
        self._expiring: dict[int, str] = {}
        self.dropped = 0
        """Announcements that found the queue full."""
        self._effects: list[DutyEffect] = []

    @property
    def leads(self) -> bool:
        """Whether the leader's duties are done here."""
        return self._leads

    def health(self) -> RegionHealth:
        """How the servers are; nothing is known while another leads."""
        return self._health.region()

    def handle(self, incoming: DutyInput, now: float) -> list[DutyEffect]:
        """Apply one input at `now` (seconds, monotonic); return the effects in order."""
        match incoming:
            case Started():
                self._effects += self.bootstrapping.start()
            case MemberChanged():
                self._on_member(incoming)
            case LeadBegan():
                self._on_lead(now)
            case LeadEnded():
                self._on_lead_ended()
            case TimerFired(timer):
                self._on_timer(timer, now)
            case PeersReported():
                self._effects += self.bootstrapping.on_peers(incoming, now)
            case StatsReported():
                self._on_stats(incoming, now)
            case Finished():
                self._on_finished(incoming, now)
            case _:
                assert_never(incoming)
        effects, self._effects = self._effects, []
        return effects

    # --- leading ------------------------------------------------------------------------------

    def _on_lead(self, now: float) -> None:
        self._on_lead_ended()  # of an earlier term, if nobody said so
        self._leads = True
        self.bootstrapping.expect = 0
        state = self._view.state
        ready = (node.id for node in state.nodes() if node.status != DOWN)
        self._heartbeats.arm(ready, now)
        if state.autopilot is None:
            self._propose(SetAutopilot(self._initial_autopilot, initial=True))
        if state.cluster is None:
            time = int(self._wall_time() * NANOSECONDS)
            self._propose(SetClusterId(ClusterId(uuid_of(self._rng), time)))
        for timer, interval in _LEADERS_TIMERS.items():
            self._effects.append(SetTimer(timer, now + interval))
        self._sweep()
        self._ask_stats()

    def _on_lead_ended(self) -> None:
        if not self._leads:
            return
        self._leads = False
        self._heartbeats.disarm()
        self._health.clear()
        self._announced.clear()
        for queue in (self._sweeping, self._stale, self._promoting):
            queue.clear()
        self._changing = self._again = self._asking_stats = self._confirming = None
        self._expiring.clear()
        self._effects += [CancelTimer(timer) for timer in _LEADERS_TIMERS]

    def _on_timer(self, timer: DutyTimer, now: float) -> None:
        if timer is DutyTimer.ASK_AGAIN:
            self._effects += self.bootstrapping.ask_again()
            return
        if not self._leads:
            return
        self._effects.append(SetTimer(timer, now + _LEADERS_TIMERS[timer]))
        match timer:
            case DutyTimer.SWEEP:
                self._sweep()
            case DutyTimer.AUTOPILOT:
                self._autopilot(now)
            case DutyTimer.HEALTH:
                self._ask_stats()
            case DutyTimer.HEARTBEATS:
                self._look_at_deadlines(now)
            case _:
                assert_never(timer)

    def _next_number(self) -> int:
        self._number += 1
        return self._number

    def _propose(self, command: Command) -> int:
        number = self._next_number()
        self._effects.append(Propose(number, command))
        return number

    def _on_finished(self, report: Finished, now: float) -> None:
        number, error = report.number, report.error
        if number == self._changing:
            self._on_changed(error)
        elif self._confirming is not None and number == self._confirming[0]:
            self._on_confirmed(error, now)
        elif (key := self._expiring.pop(number, None)) is not None and error:
            self._effects.append(Log("error", f"failed to set a node down: {error}"))
            self._heartbeats.try_again(key, now)

    # --- Raft's peers -------------------------------------------------------------------------

    def _on_member(self, incoming: MemberChanged) -> None:
        event = incoming.event
        server = parse_server(event.member)
        if server is None or server.region != self._view.region:
            return
        if isinstance(event, MemberJoined) and not self._leads:
            self._effects += self.bootstrapping.attempt()
        if not self._leads or isinstance(event, MemberUpdated):
            return
        if server.name not in self._announced and len(self._announced) >= QUEUE_MAX:
            self.dropped += 1
            return
        self._announced[server.name] = (server, isinstance(event, MemberReaped))
        self._change_next()

    def _sweep(self) -> None:
        self._sweeping = deque(sorted(self._view.servers))
        self._change_next()

    def _change_next(self) -> None:
        """Ask for the next change of Raft's configuration, unless one is under way."""
        while self._changing is None:
            step = self._next_step()
            if step is None:
                return
            if isinstance(step, Log):
                self._effects.append(step)
                continue
            self._changing = self._next_number()
            self._effects += [step.log, ChangePeer(self._changing, step.action, step.peer)]

    def _next_step(self) -> Step | Log | None:
        """The next thing that is to be done; None if nothing is."""
        servers = self._view.servers
        while True:
            if self._again is not None:
                (server, is_reaped), self._again = self._again, None
            elif self._announced:
                name = next(iter(self._announced))
                server, is_reaped = self._announced.pop(name)
            elif self._sweeping:
                name, is_reaped = self._sweeping.popleft(), False
                if name not in servers:
                    continue
                server = servers[name]
            else:
                return self._peer_step()
            # Whoever came back after its record was queued is no longer gone.
            current = servers.get(server.name)
            if current is not None:
                server, is_reaped = current, False
            step = next_step(server, self._view, is_reaped=is_reaped)
            if isinstance(step, Step) and step.more:
                self._again = (server, is_reaped)
            if step is not None:
                return step

    def _peer_step(self) -> Step | None:
        """The next of what autopilot wants, if it still makes sense."""
        peers = {peer.id: peer for peer in self._view.peers}
        while self._stale:
            peer = peers.get(self._stale.popleft())
            if peer is not None and not self._is_known(peer.id):
                log = Log("info", f"removing stale peer: id={peer.id} address={peer.address}")
                return Step("remove", peer, log)
        while self._promoting:
            peer = peers.get(self._promoting.popleft())
            if peer is not None and not peer.is_voter:
                log = Log("info", f"promoting server to voter: id={peer.id}")
                return Step("add", type(peer)(peer.id, peer.address, True), log)
        return None

    def _is_known(self, peer_id: str) -> bool:
        peer = next(peer for peer in self._view.peers if peer.id == peer_id)
        return any(stands_for(peer, server) for server in self._view.servers.values())

    def _on_changed(self, error: str) -> None:
        self._changing = None
        if error:
            self._again = None
            self._effects.append(Log("error", f"failed to change Raft's peers: {error}"))
        self._change_next()

    # --- autopilot ----------------------------------------------------------------------------

    @property
    def _config(self) -> AutopilotConfig:
        return self._view.state.autopilot or self._initial_autopilot

    def _autopilot(self, now: float) -> None:
        promotable = self._health.promotable(self._view, self._config, now)
        self._promoting = deque(peer.id for peer in promotable)
        found = clean_up(self._view, self._config)
        if found.refused:
            text = f"Failed to remove dead servers: too many are dead: {found.refused}"
            self._effects.append(Log("debug", text))
        for name in found.force_leave:
            text = f"Attempting removal of failed server node: name={name}"
            self._effects += [Log("info", text), ForceLeave(name)]
        self._stale = deque(peer.id for peer in found.remove)
        self._change_next()

    def _ask_stats(self) -> None:
        if self._asking_stats is None:
            self._asking_stats = self._next_number()
            self._effects.append(AskStats(self._asking_stats, alive(self._view.servers)))

    def _on_stats(self, report: StatsReported, now: float) -> None:
        if report.number == self._asking_stats:
            self._asking_stats = None
            self._health.update(self._view, self._config, report.answers, now, report.wall_time)

    # --- heartbeats ---------------------------------------------------------------------------

    def _look_at_deadlines(self, now: float) -> None:
        overdue = self._heartbeats.overdue(now)
        if not overdue or self._confirming is not None:
            return
        # A leader that was cut off, or stood still, may have been replaced meanwhile: then the
        # nodes were heard by another.
        number = self._next_number()
        room = EXPIRIES_MAX - len(self._expiring)
        if room > 0:
            self._confirming = (number, overdue[:room])
            self._effects.append(ConfirmLead(number))

    def _on_confirmed(self, error: str, now: float) -> None:
        assert self._confirming is not None
        _, keys = self._confirming
        self._confirming = None
        if error:
            text = f"nodes are overdue, but the lead is not confirmed: {error}"
            self._effects.append(Log("warn", text))
            return
        time = int(self._wall_time())
        for key in self._heartbeats.expire(keys, now):
            node = self._view.state.node(key)
            if node is None or node.status == DOWN:
                continue
            event = NodeEvent("Node heartbeat missed", time * NANOSECONDS)
            self._effects.append(Log("warn", f"node TTL expired: node_id={node.id}"))
            number = self._propose(SetNodeStatus(node.id, DOWN, time, event))
            self._expiring[number] = key
