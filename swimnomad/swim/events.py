"""What the gossip layer announces."""

from __future__ import annotations

from swimnomad.names import Address, Operation
from swimnomad.swim.effects import Event
from swimnomad.swim.inputs import JoinTarget


class NodeView(Event, frozen=True):
    """A member as the gossip layer saw it at the moment of an event; base of the node events.

    `ip` is 4 or 16 bytes exactly as received, `versions` the six bytes PMin PMax PCur DMin DMax
    DCur, `meta` at most 512 bytes (empty if none).
    """

    name: str
    ip: bytes
    port: int
    meta: bytes
    versions: bytes
    incarnation: int


class NodeJoined(NodeView, frozen=True):
    """A member became alive that was unknown, dead or left before."""


class NodeLeft(NodeView, frozen=True):
    """A member became dead or left. `on_purpose` is true for left."""

    on_purpose: bool


class NodeUpdated(NodeView, frozen=True):
    """A live member's metadata changed."""


class NodeSuspected(NodeView, frozen=True):
    """A live member became suspect because of `accuser`. For observers: no rule depends on it."""

    accuser: str


class NodeRecovered(NodeView, frozen=True):
    """A suspect member is alive again. For observers: no rule depends on it."""


class SelfRefuted(Event, frozen=True):
    """A claim about this node was wrong; it answered with `incarnation`."""

    incarnation: int
    claim: str
    accuser: str


class NameConflictSeen(Event, frozen=True):
    """Two nodes claim one name. `existing` is what we hold, `other` what was refused."""

    existing: NodeView
    other: NodeView


class UserMessageReceived(Event, frozen=True):
    """An opaque application message, whole, never empty. `by_stream` if it came over TCP."""

    payload: bytes
    source: Address
    by_stream: bool


class UserStateReceived(Event, frozen=True):
    """The application part of a push/pull that was accepted and merged; never empty."""

    state: bytes
    is_join: bool


class PingCompleted(Event, frozen=True):
    """A direct probe was acknowledged after `rtt` seconds; `payload` as the target sent it."""

    node: str
    rtt: float
    payload: bytes


class JoinFinished(Event, frozen=True):
    """All targets of a `Join` were tried: `joined` of them answered, the others failed and why."""

    operation: Operation
    joined: int
    failures: tuple[tuple[JoinTarget, str], ...]


class LeaveFinished(Event, frozen=True):
    """The node has left. `heard` is false if the broadcast was not out within the time allowed."""

    operation: Operation
    heard: bool


class UpdateFinished(Event, frozen=True):
    """New metadata is in effect. `heard` is false if its broadcast was not out in time."""

    operation: Operation
    heard: bool


class ExchangeFailed(Event, frozen=True):
    """A push/pull (periodic or answered) failed: with whom and why. Joins report by themselves."""

    peer: Address
    reason: str


class InputDropped(Event, frozen=True):
    """Bytes from a peer were counted and thrown away: `reason` says what was wrong.

    `kind` is one of a fixed, short list of words; the counter `dropped.<kind>` counts it.
    """

    source: Address
    reason: str
    kind: str = ""


class HealthChanged(Event, frozen=True):
    """The local health score (awareness) is now `score`; 0 is healthy."""

    score: int
