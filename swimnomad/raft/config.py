"""Settings of one Raft node: timings as Nomad sets them, and a limit for everything that grows."""

from __future__ import annotations

from swimnomad.errors import UsageError
from swimnomad.names import Value
from swimnomad.raft.servers import TEXT_BYTES_MAX, ServerAddress, ServerId

MULTIPLIER_MAX = 10


class RaftConfig(Value, frozen=True):
    """Everything the core can be told. Durations are seconds.

    Source: nomad-agent.md §16.5; HashiCorp raft config.go.
    """

    id: ServerId
    address: ServerAddress

    heartbeat_timeout: float = 1.0
    """A follower that hears no leader for one to two times this long stands for election.

    Within once this long after it heard one, it votes for nobody else.
    """
    election_timeout: float = 1.0
    """A candidate tries again after one to two times this long."""
    leader_lease: float = 0.5
    """A leader that has not heard a quorum for this long steps down."""
    commit_interval: float = 0.05
    """Followers hear of a commit within one to two times this long, if nothing else is sent."""
    retry_backoff: float = 0.01
    """First pause after a failed replication; doubles with each further failure."""
    retry_backoff_max: float = 1.0
    snapshot_interval: float = 120.0
    """Every one to two times this long a node looks whether a snapshot is due."""
    snapshot_threshold: int = 8192
    """Entries since the last snapshot that make another due."""
    trailing_entries: int = 10_240
    """Entries kept behind a snapshot, for followers that are a little late."""
    pre_vote: bool = True

    append_entries_max: int = 64
    """Entries in one message."""
    append_bytes_max: int = 1_048_576
    """Data in one message; one entry goes always."""
    appends_in_flight_max: int = 128
    """Unanswered messages with entries to one follower."""
    heartbeats_in_flight_max: int = 16
    """Unanswered heartbeats to one follower; the oldest is forgotten for the next."""
    proposals_max: int = 4096
    """Writes and membership changes that wait; the next is refused."""
    reads_max: int = 4096
    """Reads that wait; the next is refused."""
    entry_bytes_max: int = 8_388_608
    """Data of one entry, proposed or received."""
    received_entries_max: int = 1024
    """Entries accepted in one message."""
    snapshot_bytes_max: int = 1_073_741_824
    """Size of a snapshot accepted."""
    servers_max: int = 64
    """Servers of a configuration."""
    introduced_max: int = 4096
    """Addresses kept of an `Introduce`."""
    apply_entries_max: int = 256
    """Entries handed over in one `Apply`."""

    def validate(self) -> None:
        """Check every field.

        Raises:
            UsageError: Naming the field, what was found and what is allowed.
        """
        for name in ("id", "address"):
            text = getattr(self, name)
            if not 0 < len(text) <= TEXT_BYTES_MAX:
                raise UsageError(f"{name} must have 1 to {TEXT_BYTES_MAX} characters: {text!r}")
        for name in DURATIONS:
            if not getattr(self, name) > 0:
                raise UsageError(f"{name} must be above 0, not {getattr(self, name)}")
        if self.leader_lease > self.heartbeat_timeout:
            # Else another could be elected while this one still believes that it leads.
            raise UsageError(
                f"leader_lease {self.leader_lease} must not exceed"
                f" heartbeat_timeout {self.heartbeat_timeout}"
            )
        for name in COUNTS:
            least = 0 if name == "trailing_entries" else 1
            value = getattr(self, name)
            if value < least:
                raise UsageError(f"{name} must be at least {least}, not {value}")


DURATIONS = (
    "heartbeat_timeout",
    "election_timeout",
    "leader_lease",
    "commit_interval",
    "retry_backoff",
    "retry_backoff_max",
    "snapshot_interval",
)

COUNTS = tuple(
    name
    for name in RaftConfig.__struct_fields__
    if name.endswith(("_max", "_threshold", "_entries")) and name not in DURATIONS
)

NOMAD_TIMINGS = {
    "heartbeat_timeout": 1.0,
    "election_timeout": 1.0,
    "leader_lease": 0.5,
    "commit_interval": 0.05,
    "retry_backoff_max": 1.0,
}
"""What `raft_multiplier` stretches, at multiplier 1."""


def timings(multiplier: float = 1.0) -> dict[str, float]:
    """The timings of Nomad at a `raft_multiplier`, as fields of `RaftConfig`.

    Raises:
        UsageError: If the multiplier is not above 0 and at most 10. Nomad takes 1 to 10; smaller
            ones are for demonstrations.
    """
    if not 0 < multiplier <= MULTIPLIER_MAX:
        raise UsageError(
            f"raft multiplier must be above 0 and at most {MULTIPLIER_MAX}, not {multiplier}"
        )
    return {name: seconds * multiplier for name, seconds in NOMAD_TIMINGS.items()}
