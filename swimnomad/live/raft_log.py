"""What an agent's log says about Raft.

Source: nomad-agent.md §12, §16; the wording is that of HashiCorp's raft where it has one.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from swimnomad.live.hostile import HostileLog
from swimnomad.live.log import Level, LogWriter
from swimnomad.raft.effects import Event
from swimnomad.raft.events import (
    BecameLeader,
    ConfigurationChanged,
    ElectionStarted,
    LeaderChanged,
    LostLeadership,
    PeerFailed,
    PeerForgot,
    PeerRecovered,
    ReplyRefused,
    RequestRefused,
    VoteDenied,
)

MODULE = "nomad.raft"
NOMAD = "nomad"


class RaftLog:
    """Turns events into log lines; what strangers ask fills no disk."""

    def __init__(self, write: LogWriter, now: Callable[[], float]) -> None:
        """Make it; `now` reads the clock."""
        self._write = write
        self._now = now
        self._hostile = HostileLog()
        self._writers: dict[type[Event], Callable[[Any], None]] = {
            ElectionStarted: self._election,
            BecameLeader: self._became_leader,
            LostLeadership: self._lost_leadership,
            LeaderChanged: self._leader,
            VoteDenied: self._vote_denied,
            ConfigurationChanged: self._configuration,
            RequestRefused: lambda event: self._refused(
                event.sender, f"{event.request}: {event.reason}"
            ),
            ReplyRefused: lambda event: self._refused(event.sender, f"an answer: {event.reason}"),
            PeerFailed: lambda event: self._say(
                Level.ERROR, "failed to appendEntries to", peer=event.address, error=event.reason
            ),
            PeerRecovered: lambda event: self._say(
                Level.INFO, "pipelining replication", peer=event.address
            ),
            PeerForgot: lambda event: self._say(
                Level.ERROR,
                "a server has lost entries that it acknowledged; was its disk emptied?",
                peer=event.address,
                acknowledged=event.acknowledged_index,
            ),
        }

    def note(self, event: Event) -> None:
        """Log an event if there is something to say about it."""
        writer = self._writers.get(type(event))
        if writer is not None:
            writer(event)

    def _say(self, level: Level, text: str, **pairs: object) -> None:
        self._write(level, MODULE, text, **pairs)

    def _election(self, event: ElectionStarted) -> None:
        if event.is_pre_vote:
            self._say(Level.DEBUG, "asking whether an election could be won", term=event.term)
        else:
            self._say(Level.INFO, "entering candidate state", term=event.term)

    def _became_leader(self, event: BecameLeader) -> None:
        self._say(Level.INFO, "election won", term=event.term)
        self._write(Level.INFO, NOMAD, "cluster leadership acquired")

    def _lost_leadership(self, event: LostLeadership) -> None:
        self._say(Level.INFO, "entering follower state", term=event.term, reason=event.reason)
        self._write(Level.INFO, NOMAD, "cluster leadership lost")

    def _leader(self, event: LeaderChanged) -> None:
        if event.leader is None:
            self._say(Level.WARN, "no leader is heard", term=event.term)
        else:
            self._say(Level.INFO, "following a leader", leader=event.leader, term=event.term)

    def _vote_denied(self, event: VoteDenied) -> None:
        self._say(
            Level.DEBUG,
            "rejecting vote request",
            candidate=event.candidate,
            term=event.term,
            reason=event.reason,
        )

    def _configuration(self, event: ConfigurationChanged) -> None:
        text = "configuration is committed" if event.is_committed else "updating configuration"
        self._say(Level.INFO, text, servers=event.configuration, index=event.index)

    def _refused(self, sender: str, reason: str) -> None:
        line = self._hostile.note(sender, reason, self._now())
        if line is not None:
            self._say(Level.WARN, line)
