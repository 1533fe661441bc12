"""What comes into a core: facts in the past tense, commands in the imperative.

Each is a value, so a journal of `(now, input)` replays a node.
"""

from __future__ import annotations

from swimnomad.names import Address, Operation, Stream, Value


class Timer(Value, frozen=True):
    """Base of timer keys. A core's timers are values; setting one again replaces it."""


class Start(Value, frozen=True):
    """The node's sockets are bound; must be the first input, and comes once.

    `advertise` is the address the others shall use, its port never 0. `incarnation` is 1 for a
    fresh node.
    """

    advertise: Address
    incarnation: int = 1


class KnownNode(Value, frozen=True):
    """A member as a claim that it is alive would describe it; fields as in `NodeView`."""

    name: str
    ip: bytes
    port: int
    meta: bytes
    versions: bytes
    incarnation: int = 1


class Roster(Value, frozen=True, eq=False):
    """The members of a pool. Compared by identity: its nodes share one, and what follows from it.

    No name stands in it twice.
    """

    nodes: tuple[KnownNode, ...]


class Converge(Value, frozen=True):
    """Begin in the middle: be a member that has long known everybody in `roster` as alive.

    Comes right after `Start`, with a roster that holds this node too. Nothing is announced or
    left to gossip, and the periodic exchanges are spread over their whole interval, as after a
    long time. No protocol has this: a simulation begins so without a storm of joins.
    """

    roster: Roster


class LetTicksRest(Value, frozen=True):
    """The driver delivers timers on time from now on, so gossip ticks may rest (or no more).

    A node with nothing to gossip then sleeps through its ticks; once there is something it is
    awake for the very tick that it would have had anyway. It does the same as one that never
    rests, so a simulation may allow it: virtual time is never late, unless a fault makes it so.
    """

    allowed: bool


class DatagramReceived(Value, frozen=True):
    """A UDP datagram arrived from `source`."""

    data: bytes
    source: Address


class StreamOpened(Value, frozen=True):
    """A peer connected to our TCP port; `stream` is inbound and new."""

    stream: Stream
    peer: Address


class StreamReceived(Value, frozen=True):
    """The next bytes of a stream, in order; never empty."""

    stream: Stream
    data: bytes


class StreamEnded(Value, frozen=True):
    """The peer will send no more on this stream. We may still write."""

    stream: Stream


class StreamFailed(Value, frozen=True):
    """A stream could not be opened, or broke: `reason` is text for people, as the system gave it.

    The stream is gone; the driver needs no `CloseStream` for it.
    """

    stream: Stream
    reason: str


class TimerFired(Value, frozen=True):
    """A deadline set by `SetTimer` has come. May be late; never early, twice or lost."""

    timer: Timer


class JoinTarget(Value, frozen=True):
    """One resolved address to join. `name` is the node name if known, else empty."""

    address: Address
    name: str = ""


class Join(Value, frozen=True):
    """Exchange states with each target in order; `JoinFinished` reports the outcome."""

    operation: Operation
    targets: tuple[JoinTarget, ...]
    ignore_old: bool = False
    """For the layer above: do not deliver user events older than the join."""


class Leave(Value, frozen=True):
    """Leave the pool on purpose; `LeaveFinished` reports when the others had time to hear it."""

    operation: Operation


class UpdateMeta(Value, frozen=True):
    """Replace the node's metadata (at most 512 bytes) and tell the others; `UpdateFinished`."""

    operation: Operation
    meta: bytes


class SendUserMessage(Value, frozen=True):
    """Send an application message to one node as one datagram of its own, without piggyback.

    `node` is the receiver's name if known, else empty.
    """

    to: Address
    payload: bytes
    node: str = ""


class Shutdown(Value, frozen=True):
    """Stop at once without a word to the others: close every stream, cancel every timer."""


SwimInput = (
    Start
    | Converge
    | LetTicksRest
    | DatagramReceived
    | StreamOpened
    | StreamReceived
    | StreamEnded
    | StreamFailed
    | TimerFired
    | Join
    | Leave
    | UpdateMeta
    | SendUserMessage
    | Shutdown
)
"""Everything `SwimNode.handle` takes."""
