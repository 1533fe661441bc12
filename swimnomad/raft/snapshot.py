"""What Raft knows of a snapshot; its contents belong to the state machine and its driver."""

from __future__ import annotations

from swimnomad.names import Value
from swimnomad.raft.servers import Configuration


class Snapshot(Value, frozen=True):
    """A snapshot of the state machine, described.

    `last_index` and `last_term` name the last entry it contains; `configuration` is the one in
    force there and `configuration_index` where it stands in the log. `size` is the length of the
    contents in bytes; 0 while nobody has counted them.
    """

    last_index: int
    last_term: int
    configuration: Configuration
    configuration_index: int
    size: int = 0
