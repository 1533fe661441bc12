"""Keys of the timers. Equal keys are one timer: setting it again replaces it."""

from __future__ import annotations

from swimnomad.names import Value
from swimnomad.raft.servers import ServerAddress


class Timer(Value, frozen=True):
    """Base of timer keys."""


class ElectionTimeout(Timer, frozen=True):
    """Follower: look whether the leader was heard. Candidate: nobody has won, try again."""


class HeartbeatTick(Timer, frozen=True):
    """Leader: send a heartbeat to everybody."""


class LeaseCheck(Timer, frozen=True):
    """Leader: look whether a quorum was heard within the lease."""


class CommitTick(Timer, frozen=True):
    """Leader: tell the commit index to those who have heard no newer one."""


class RetryReplication(Timer, frozen=True):
    """Leader: try again to replicate to a server that failed."""

    to: ServerAddress


class OperationDeadline(Timer, frozen=True):
    """The earliest deadline among the operations that wait."""


class TransferDeadline(Timer, frozen=True):
    """The server that was to take over has not."""


class SnapshotTick(Timer, frozen=True):
    """Look whether the log has grown enough for a snapshot."""
