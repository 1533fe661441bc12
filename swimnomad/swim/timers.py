"""Keys of the gossip layer's timers. Equal keys are one timer: setting it again replaces it.

Each key names what it was armed for (a sequence number, an incarnation, a stream), so a timer that
fires after its reason has passed finds nothing and does no harm.
"""

from __future__ import annotations

from swimnomad.names import Operation, Stream
from swimnomad.swim.inputs import Timer


class ProbeTick(Timer, frozen=True):
    """The next probe round is due."""


class GossipTick(Timer, frozen=True):
    """The next gossip tick is due."""


class PushPullTick(Timer, frozen=True):
    """The next periodic push/pull is due."""


class ProbeTimeout(Timer, frozen=True):
    """The direct probe `sequence` had its time: ask helpers."""

    sequence: int


class ProbeDeadline(Timer, frozen=True):
    """The probe round `sequence` is over, whatever came back."""

    sequence: int


class RelayTimeout(Timer, frozen=True):
    """A node that we probe on behalf of another (our ping `sequence`) did not answer in time."""

    sequence: int


class SuspicionTimeout(Timer, frozen=True):
    """The suspicion against `node`, as of `incarnation`, was not refuted in time."""

    node: str
    incarnation: int


class StreamDeadline(Timer, frozen=True):
    """A stream took too long."""

    stream: Stream


class OperationDeadline(Timer, frozen=True):
    """A leave or metadata update waited long enough for its broadcast."""

    operation: Operation
