"""How far one follower is, as its leader knows: plain data.

    PROBE ──yes──▶ REPLICATE        one message at a time, until the logs are known to agree
    REPLICATE ──no, failure, silence──▶ PROBE       many messages in flight, each sent on the
                                                    assumption that those before it arrive
    PROBE, REPLICATE ──log compacted──▶ SNAPSHOT ──yes or failure──▶ PROBE

A failure makes it wait, longer each time; a heartbeat that is answered ends the wait.

Source: etcd raft, tracker/progress.go.
"""

from __future__ import annotations

import enum
from collections import deque

from swimnomad.raft.servers import Server


class Mode(enum.Enum):
    """How entries are sent to a follower."""

    PROBE = "probe"
    REPLICATE = "replicate"
    SNAPSHOT = "snapshot"


class Progress:
    """One follower.

    Attributes:
        server: The follower, as in the configuration in force.
        next: Index of the next entry to send.
        match: Up to here its log is known to be ours.
        appends: Numbers of the messages with entries that we wait for, oldest first.
        obsolete: Numbers of those that we do not wait for any more.
        heartbeats: Numbers of the heartbeats that we wait for, oldest first.
        contact: When it answered last (seconds).
        round: Newest round of heartbeats that it answered.
        asked_at: When it was sent entries, or none, last (seconds).
        told_commit: The commit index that it was sent last.
        known_commit: Newest commit index that it has acknowledged.
        failures: Since the last success.
        is_waiting: Whether the timer for the next attempt is armed.
        until: It was taken out of the configuration at this index, and is served until it knows
            that this is committed.
    """

    __slots__ = (
        "appends",
        "asked_at",
        "contact",
        "failures",
        "heartbeats",
        "is_waiting",
        "known_commit",
        "match",
        "mode",
        "next",
        "obsolete",
        "round",
        "server",
        "told_commit",
        "until",
    )

    def __init__(self, server: Server, next_index: int, now: float) -> None:
        self.server = server
        self.mode = Mode.PROBE
        self.next = next_index
        self.match = 0
        self.appends: deque[int] = deque()
        self.obsolete: deque[int] = deque()
        self.heartbeats: deque[int] = deque()
        self.contact = now
        self.round = 0
        self.asked_at = now
        self.told_commit = 0
        self.known_commit = 0
        self.failures = 0
        self.is_waiting = False
        self.until: int | None = None
