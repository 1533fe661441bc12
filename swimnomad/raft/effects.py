"""What the core asks its driver to do. The order is a duty.

The effects of one input after another form one stream. When the driver comes to a `Persist…` it
does nothing that stands behind it until that is durable: not only in this list, also of inputs
handled meanwhile. It may go on feeding inputs, and may make several neighbouring ones durable with
one synchronisation. That duty is all that the core builds upon: an acknowledgement, a vote or an
applied entry stands behind what it relies on.

What stands before a `Persist…` need not wait. So a leader sends entries to the others while it
writes them itself (thesis §10.2.1).
"""

from __future__ import annotations

from swimnomad.names import Value
from swimnomad.raft.inputs import Ticket
from swimnomad.raft.log import LogEntry
from swimnomad.raft.messages import Reply, Request
from swimnomad.raft.servers import ServerAddress
from swimnomad.raft.snapshot import Snapshot
from swimnomad.raft.timers import Timer


class Event(Value, frozen=True):
    """Base of everything the core announces."""


class Send(Value, frozen=True):
    """Ask a peer; `ReplyReceived` or `RequestFailed` with this number ends it.

    With `InstallSnapshot` go the contents of that snapshot; if the driver has them no more, it
    reports the request as lost. Requests to one peer should arrive in order but need not.
    """

    to: ServerAddress
    request: Request
    number: int


class Answer(Value, frozen=True):
    """Answer a peer's request."""

    ticket: Ticket
    reply: Reply


class SetTimer(Value, frozen=True):
    """Feed `TimerFired(timer)` at `at` (seconds, the node's clock). Replaces the same timer."""

    timer: Timer
    at: float


class CancelTimer(Value, frozen=True):
    """Forget the timer; cancelling an unknown one is fine."""

    timer: Timer


class PersistTerm(Value, frozen=True):
    """Make the term durable, and whom we voted for in it (None: nobody yet)."""

    term: int
    voted_for: ServerAddress | None


class PersistEntries(Value, frozen=True):
    """Append entries to the durable log, in which they follow the last."""

    entries: tuple[LogEntry, ...]


class PersistTruncation(Value, frozen=True):
    """Take the entries from `first` on out of the durable log."""

    first: int


class PersistCompaction(Value, frozen=True):
    """Take the entries up to `last` out of the durable log; it may end before `last`.

    Needs no synchronisation of its own: entries that come back after a crash do no harm.
    """

    last: int


class PersistSnapshot(Value, frozen=True):
    """Make the contents received with `ticket` durable as the newest snapshot.

    `Restore` follows, and what has to happen to the log. A crash before that finds a log that ends
    before the snapshot, or disagrees with it; `Start` clears it up.
    """

    ticket: Ticket
    snapshot: Snapshot


class ReceiveSnapshot(Value, frozen=True):
    """Take the contents that follow this request, `snapshot.size` bytes, and put them aside.

    `SnapshotReceived` or `SnapshotNotReceived` follows. A driver that is told nothing of the kind
    before the `Answer` throws the contents away.
    """

    ticket: Ticket
    snapshot: Snapshot


class DiscardSnapshot(Value, frozen=True):
    """The contents put aside for this ticket are not wanted (any more)."""

    ticket: Ticket


class Apply(Value, frozen=True):
    """Entries are committed: apply them, in this order. All kinds come; commands are to be done."""

    entries: tuple[LogEntry, ...]


class Restore(Value, frozen=True):
    """Replace the state machine by the newest snapshot, which is this."""

    snapshot: Snapshot


class TakeSnapshot(Value, frozen=True):
    """Make a snapshot of the state machine as it is when this effect's turn comes.

    Then it is at `snapshot.last_index` exactly. Writing may take its time; `SnapshotTaken` or
    `SnapshotFailed` follows.
    """

    snapshot: Snapshot


class Emit(Value, frozen=True):
    """Announce an event."""

    event: Event


Persist = PersistTerm | PersistEntries | PersistTruncation | PersistCompaction | PersistSnapshot
"""What everything behind it waits for."""

Effect = (
    Send
    | Answer
    | SetTimer
    | CancelTimer
    | Persist
    | ReceiveSnapshot
    | DiscardSnapshot
    | Apply
    | Restore
    | TakeSnapshot
    | Emit
)
"""Everything the core may ask for."""
