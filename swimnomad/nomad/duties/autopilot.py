"""What the leader does about servers that died or are new, and how it sees their health.

Source: nomad-agent.md §6.2; agent-http.md §5; nomad vendored consul autopilot.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import msgspec

from swimnomad.errors import UsageError
from swimnomad.names import Value
from swimnomad.nomad.consensus import RaftPeer
from swimnomad.nomad.durations import parse_duration
from swimnomad.nomad.duties.view import DutyView, stands_for
from swimnomad.nomad.requests import RaftStats, RegionHealth, ServerHealth
from swimnomad.nomad.state.records import AutopilotConfig
from swimnomad.nomad.tags import Server
from swimnomad.serf.events import Status


class CleanUp(NamedTuple):
    """Failed members to force out, peers unknown to gossip to remove; `refused` are too many."""

    force_leave: tuple[str, ...] = ()
    remove: tuple[RaftPeer, ...] = ()
    refused: int = 0


def clean_up(view: DutyView, config: AutopilotConfig) -> CleanUp:
    """Which dead servers may go without endangering the quorum."""
    if not config.cleanup_dead_servers:
        return CleanUp()
    servers, peers = view.servers, view.peers
    failed = [server for server in servers.values() if server.status is Status.FAILED]
    stale = tuple(
        peer for peer in peers if not any(stands_for(peer, server) for server in servers.values())
    )
    # Nonvoters do not count, so they may always go.
    nonvoters = {
        server.name
        for server in failed
        if any(stands_for(peer, server) and not peer.is_voter for peer in peers)
    }
    voters = sum(peer.is_voter for peer in peers)
    dead = len(failed) - len(nonvoters) + len(stale)
    if dead <= (voters - 1) // 2 and voters - dead >= config.min_quorum:
        return CleanUp(tuple(server.name for server in failed), stale)
    return CleanUp(tuple(sorted(nonvoters)), (), dead)


class _Seen(Value, frozen=True):
    """One server as it was seen last; `since` is the node's clock."""

    health: ServerHealth
    since: float


class HealthTable:
    """How the servers are, as the leader saw them when it asked last."""

    def __init__(self) -> None:
        self._seen: dict[str, _Seen] = {}

    def clear(self) -> None:
        """Forget it all: somebody else leads."""
        self._seen.clear()

    def update(
        self,
        view: DutyView,
        config: AutopilotConfig,
        answers: Mapping[str, RaftStats | None],
        now: float,
        wall_time: float,
    ) -> None:
        """Take in what servers said; `now` is of the clock, `wall_time` of the epoch."""
        seen: dict[str, _Seen] = {}
        for name, server in view.servers.items():
            peer = next((peer for peer in view.peers if stands_for(peer, server)), None)
            if peer is None and server.status is not Status.ALIVE:
                continue
            health = _health(server, peer, view, config, answers.get(name))
            known = self._seen.get(name)
            since, wall_since = now, wall_time
            if known is not None and known.health.is_healthy == health.is_healthy:
                since, wall_since = known.since, known.health.stable_since
            health = msgspec.structs.replace(health, stable_since=wall_since)
            seen[name] = _Seen(health, since)
        self._seen = seen

    def region(self) -> RegionHealth:
        """The region as a whole."""
        servers = tuple(self._seen[name].health for name in sorted(self._seen))
        voters = [server for server in servers if server.is_voter]
        healthy = sum(server.is_healthy for server in voters)
        return RegionHealth(
            is_healthy=bool(servers) and all(server.is_healthy for server in servers),
            failure_tolerance=max(0, healthy - (len(voters) // 2 + 1)),
            servers=servers,
        )

    def promotable(
        self, view: DutyView, config: AutopilotConfig, now: float
    ) -> tuple[RaftPeer, ...]:
        """Nonvoters that were healthy for long enough to become voters."""
        found = []
        for name, server in view.servers.items():
            seen = self._seen.get(name)
            if server.is_nonvoter or seen is None or not seen.health.is_healthy:
                continue
            if now - seen.since < config.server_stabilization_time:
                continue
            found += [
                RaftPeer(peer.id, peer.address, True)
                for peer in view.peers
                if stands_for(peer, server) and not peer.is_voter
            ]
        return tuple(found)


def _health(
    server: Server,
    peer: RaftPeer | None,
    view: DutyView,
    config: AutopilotConfig,
    stats: RaftStats | None,
) -> ServerHealth:
    leads = server.name == view.own_name
    contact = _contact(stats)
    raft = view.raft
    is_healthy = (
        server.status is Status.ALIVE
        and stats is not None
        and contact is not None
        and contact <= config.last_contact_threshold
        and stats.last_term == raft.last_log_term
        and stats.last_index + config.max_trailing_logs >= raft.last_log_index
    )
    return ServerHealth(
        id=server.id if peer is None else peer.id,
        name=server.name,
        address=str(server.address),
        serf_status=server.status.text,
        version=server.build,
        leads=leads,
        last_contact=contact or 0.0,
        last_term=0 if stats is None else stats.last_term,
        last_index=0 if stats is None else stats.last_index,
        is_healthy=is_healthy,
        is_voter=peer is not None and peer.is_voter,
    )


def _contact(stats: RaftStats | None) -> float | None:
    """Seconds since a server heard the leader; None if never, or it does not say."""
    if stats is None:
        return None
    try:
        contact = parse_duration(stats.last_contact)
    except UsageError:
        return None
    return contact if contact >= 0 else None
