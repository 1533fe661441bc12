"""What comes into the core: facts in the past tense, commands in the imperative.

A command carries an operation number; exactly one event with that number reports its outcome
(`ProposalDone`, `ReadReady`, `TransferDone` or `OperationFailed`), unless the driver stops first.
Deadlines are absolute, in seconds of the node's clock.
"""

from __future__ import annotations

import enum

from swimnomad.names import Operation, Value
from swimnomad.raft.log import EntryKind
from swimnomad.raft.messages import Reply, Request
from swimnomad.raft.servers import Configuration, Server, ServerAddress, ServerId
from swimnomad.raft.snapshot import Snapshot
from swimnomad.raft.timers import Timer


class Start(Value, frozen=True):
    """Begin; must be the first input and comes once."""


class Ticket(Value, frozen=True):
    """Names one request that arrived, until it is answered. The driver numbers them."""

    number: int


class RequestReceived(Value, frozen=True):
    """A peer asks something; `Answer` follows with the same ticket, at once or later.

    `source` is what the driver knows of the connection, for events only: whom a request is from
    stands in the request.
    """

    ticket: Ticket
    request: Request
    source: str = ""


class ReplyReceived(Value, frozen=True):
    """The answer to `Send` of this number."""

    number: int
    reply: Reply


class Failure(enum.Enum):
    """Why a request has no answer."""

    UNREACHABLE = "unreachable"
    """It was certainly not delivered."""
    LOST = "lost"
    """It may have been."""
    UNSUPPORTED = "unsupported"
    """The peer does not know this kind of request."""
    REFUSED = "refused"
    """The peer answered with an error (a `Refusal`)."""


class RequestFailed(Value, frozen=True):
    """`Send` of this number will have no answer. `reason` is text for people.

    Every `Send` ends in this or in `ReplyReceived`, once.
    """

    number: int
    failure: Failure
    reason: str = ""


class TimerFired(Value, frozen=True):
    """A deadline set by `SetTimer` has come. May be late; never early, twice or lost."""

    timer: Timer


class Propose(Value, frozen=True):
    """Append a command (or a barrier) and report when it is committed and applied."""

    operation: Operation
    data: bytes
    deadline: float
    kind: EntryKind = EntryKind.COMMAND


class ReadIndex(Value, frozen=True):
    """Report when what the state machine shows is at least as new as this moment."""

    operation: Operation
    deadline: float


class AddServer(Value, frozen=True):
    """Take a server in as its suffrage says, or give a known one another address.

    Reported by `ProposalDone`; done already if it is in as wanted.
    """

    operation: Operation
    server: Server
    deadline: float


class RemoveServer(Value, frozen=True):
    """Take a server out. A leader that removes itself steps down once that is committed."""

    operation: Operation
    server_id: ServerId
    deadline: float


class PromoteServer(Value, frozen=True):
    """Make a nonvoter a voter. Whether it has caught up is for the caller to know."""

    operation: Operation
    server_id: ServerId
    deadline: float


class TransferLeadership(Value, frozen=True):
    """Hand leadership to `target`; None: to the voter whose log is longest.

    Reported within the election timeout. Writes are refused meanwhile.
    """

    operation: Operation
    target: ServerId | None = None


class Bootstrap(Value, frozen=True):
    """Write the first configuration; only on a server that has no state at all."""

    operation: Operation
    configuration: Configuration


class Introduce(Value, frozen=True):
    """From now on these addresses are no strangers, besides the servers of the configuration.

    A server whose configuration is older than its leader would otherwise refuse it for ever. An
    agent gives all servers of its region that gossip knows.
    """

    addresses: frozenset[ServerAddress]


class SnapshotTaken(Value, frozen=True):
    """The snapshot asked for by `TakeSnapshot` is durable; `size` is filled in."""

    snapshot: Snapshot


class SnapshotFailed(Value, frozen=True):
    """The snapshot asked for by `TakeSnapshot` was not made."""

    reason: str


class SnapshotReceived(Value, frozen=True):
    """The contents asked for by `ReceiveSnapshot` are here, whole, and lie aside."""

    ticket: Ticket


class SnapshotNotReceived(Value, frozen=True):
    """The contents asked for by `ReceiveSnapshot` did not arrive or cannot be kept."""

    ticket: Ticket
    reason: str


class StorageFailed(Value, frozen=True):
    """Something could not be made durable: the node stops for good.

    What was to be done after it must not be done any more. Operations whose outcome was among that
    are for the driver to report as unknown.
    """

    reason: str


class Shutdown(Value, frozen=True):
    """Stop at once: cancel every timer, fail every operation, answer nobody."""


RaftInput = (
    Start
    | RequestReceived
    | ReplyReceived
    | RequestFailed
    | TimerFired
    | Propose
    | ReadIndex
    | AddServer
    | RemoveServer
    | PromoteServer
    | TransferLeadership
    | Bootstrap
    | Introduce
    | SnapshotTaken
    | SnapshotFailed
    | SnapshotReceived
    | SnapshotNotReceived
    | StorageFailed
    | Shutdown
)
"""Everything `RaftNode.handle` takes."""
