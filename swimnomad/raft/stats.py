"""What a node tells of itself: the facts behind Nomad's `raft` stats block."""

from __future__ import annotations

import enum

from swimnomad.names import Value
from swimnomad.raft.servers import Configuration, ServerAddress


class State(enum.Enum):
    """What a node is; the texts are Nomad's. Who may move it: see `node`."""

    FOLLOWER = "Follower"
    PRE_CANDIDATE = "PreCandidate"
    """Asks whether it would be elected; Nomad knows no such state and it shows as candidate."""
    CANDIDATE = "Candidate"
    LEADER = "Leader"
    STOPPED = "Shutdown"

    @property
    def text(self) -> str:
        """As Nomad's stats show it."""
        return "Candidate" if self is State.PRE_CANDIDATE else self.value


class RaftStats(Value, frozen=True):
    """A node at one moment.

    `num_peers` is the number of other voters, 0 if the node itself is none. `last_contact` is the
    seconds since the leader was heard, 0 on the leader, None if never. `commit_index` and
    `applied_index` are equal: what is committed is handed out to be applied at once.
    """

    state: State
    term: int
    leader: ServerAddress | None
    last_log_index: int
    last_log_term: int
    commit_index: int
    applied_index: int
    last_snapshot_index: int
    last_snapshot_term: int
    num_peers: int
    last_contact: float | None
    latest_configuration: Configuration
    latest_configuration_index: int
    is_configuration_committed: bool
