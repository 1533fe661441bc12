"""What the core announces."""

from __future__ import annotations

from swimnomad.names import Operation
from swimnomad.raft.effects import Event
from swimnomad.raft.servers import Configuration, ServerAddress


class BecameLeader(Event, frozen=True):
    """This node leads `term`. What earlier leaders committed it may not have applied yet.

    Propose a barrier, or read an index, to know that it has.
    """

    term: int


class LostLeadership(Event, frozen=True):
    """This node leads no more; `reason` is text for people."""

    term: int
    reason: str


class LeaderChanged(Event, frozen=True):
    """Who leads as far as this node knows; None: nobody is heard."""

    leader: ServerAddress | None
    term: int


class ElectionStarted(Event, frozen=True):
    """This node asks for votes in `term`, or (`is_pre_vote`) whether it would get them."""

    term: int
    is_pre_vote: bool


class VoteDenied(Event, frozen=True):
    """A candidate (or one that asks before it becomes one) does not get this node's vote."""

    candidate: ServerAddress
    term: int
    reason: str


class ConfigurationChanged(Event, frozen=True):
    """Another configuration is in force here, or (`is_committed`) is there to stay."""

    configuration: Configuration
    index: int
    is_committed: bool


class ProposalDone(Event, frozen=True):
    """A write or membership change is committed and was applied (`Apply` came before)."""

    operation: Operation
    index: int


class ReadReady(Event, frozen=True):
    """A read may be served: the state machine is at `index` or later."""

    operation: Operation
    index: int


class TransferDone(Event, frozen=True):
    """Leadership went to `leader`."""

    operation: Operation
    leader: ServerAddress


class OperationFailed(Event, frozen=True):
    """A command was not carried out, or nobody knows yet.

    `may_have_happened` False: it certainly has not happened and never will by this command.
    """

    operation: Operation
    text: str
    may_have_happened: bool


class RequestRefused(Event, frozen=True):
    """A peer asked for something that it does not get; nothing has changed.

    `sender` is whom the request names, `request` its kind.
    """

    sender: str
    request: str
    reason: str


class ReplyRefused(Event, frozen=True):
    """A peer's answer makes no sense; it counts as a failed request."""

    sender: ServerAddress
    reason: str


class PeerFailed(Event, frozen=True):
    """Leader: replication to a server fails, first time after it worked."""

    address: ServerAddress
    reason: str


class PeerRecovered(Event, frozen=True):
    """Leader: replication to a server works again."""

    address: ServerAddress


class PeerForgot(Event, frozen=True):
    """Leader: a server no longer has entries that it acknowledged; its disk was emptied.

    It is sent everything anew. Such a server breaks the promise that Raft is built on.
    """

    address: ServerAddress
    acknowledged_index: int


class NodeStopped(Event, frozen=True):
    """The node does nothing any more."""

    reason: str
