"""What servers ask each other and answer: HashiCorp's raft as Nomad carries it on port 4647.

Field for field the messages of nomad-agent.md §16.2 under our own names. `ProtocolVersion` and
`Peers` are a matter of the codec, as are the bytes of a configuration. The contents of a snapshot
travel behind their request, see `ReceiveSnapshot`. `PreVote` is ours: servers of HashiCorp's raft
as of Nomad 1.0.4 do not know it.
"""

from __future__ import annotations

from swimnomad.names import Value
from swimnomad.raft.log import LogEntry
from swimnomad.raft.servers import ServerAddress
from swimnomad.raft.snapshot import Snapshot


class AppendEntries(Value, frozen=True):
    """A leader's claim to lead `term`, and entries to follow the one at `previous_index`.

    `entries` None makes it a heartbeat: then `previous_…` and `commit_index` are 0 and mean
    nothing. An empty tuple is a question whether the logs agree so far, and news of the commit
    index.
    """

    term: int
    leader: ServerAddress
    previous_index: int = 0
    previous_term: int = 0
    entries: tuple[LogEntry, ...] | None = None
    commit_index: int = 0


class AppendEntriesReply(Value, frozen=True):
    """Whether the follower has the entries now, or heard the heartbeat.

    If not, `last_index` is where the leader may try next: behind the follower's last entry, or
    earlier if that one cannot fit. `retry_at_once` (NoRetryBackoff) says that the logs differ and
    the leader need not wait.
    """

    term: int
    last_index: int
    success: bool
    retry_at_once: bool = False


class RequestVote(Value, frozen=True):
    """A candidate asks for a vote in `term`; its log ends with `last_index` of `last_term`.

    `is_transfer`: the leader told it to, so that it is asked though there is a leader.
    """

    term: int
    candidate: ServerAddress
    last_index: int
    last_term: int
    is_transfer: bool = False


class RequestVoteReply(Value, frozen=True):
    """The vote. `term` is the voter's, after the question."""

    term: int
    granted: bool


class PreVote(Value, frozen=True):
    """Would you vote for me in `term`? Nobody's term or vote changes by it. Not in HashiCorp's."""

    term: int
    candidate: ServerAddress
    last_index: int
    last_term: int


class PreVoteReply(Value, frozen=True):
    """Whether it would. `term` is its present one."""

    term: int
    granted: bool


class InstallSnapshot(Value, frozen=True):
    """The leader of `term` sends a snapshot, because its log does not reach back far enough."""

    term: int
    leader: ServerAddress
    snapshot: Snapshot


class InstallSnapshotReply(Value, frozen=True):
    """Whether the follower has what the snapshot contains."""

    term: int
    success: bool


class TimeoutNow(Value, frozen=True):
    """The leader hands over: stand for election at once. It names neither sender nor term."""


class TimeoutNowReply(Value, frozen=True):
    """The server will."""


class Refusal(Value, frozen=True):
    """The request is not carried out, and nothing is said about term or log.

    On the wire it is the error string before an empty answer.
    """

    text: str


Request = AppendEntries | RequestVote | PreVote | InstallSnapshot | TimeoutNow
Reply = (
    AppendEntriesReply
    | RequestVoteReply
    | PreVoteReply
    | InstallSnapshotReply
    | TimeoutNowReply
    | Refusal
)
