"""What the Serf layer announces; gossip-layer events it does not consume pass through."""

from __future__ import annotations

import enum
from collections.abc import Mapping

from swimnomad.names import Operation, Value
from swimnomad.swim.effects import Event


class Status(enum.IntEnum):
    """Status of a Serf member, with the numbers of the wire."""

    NONE = 0
    ALIVE = 1
    LEAVING = 2
    LEFT = 3
    FAILED = 4

    @property
    def text(self) -> str:
        """The word used in HTTP, CLI and journal."""
        return self.name.lower()


class Member(Value, frozen=True):
    """A Serf member as it stood at one moment.

    `ip` is 4 or 16 bytes, `versions` PMin PMax PCur DMin DMax DCur; `leave_time` is the node's
    clock (seconds) when it failed or left, None before.
    """

    name: str
    ip: bytes
    port: int
    tags: Mapping[str, str]
    status: Status
    versions: bytes
    status_ltime: int = 0
    leave_time: float | None = None


class MemberEvent(Event, frozen=True):
    """Base of the member events; `member` is the record after the change."""

    member: Member


class MemberJoined(MemberEvent, frozen=True):
    """A member is alive that was not: new, or back."""


class MemberLeft(MemberEvent, frozen=True):
    """A member left on purpose, or (`forced`) a failed one was declared left."""

    forced: bool = False


class MemberFailed(MemberEvent, frozen=True):
    """A member is gone without having said so."""


class MemberUpdated(MemberEvent, frozen=True):
    """A member's tags or address changed."""


class MemberReaped(MemberEvent, frozen=True):
    """A member was forgotten: too long failed or left, or pruned. `member` is its last record."""


class UserEventReceived(Event, frozen=True):
    """A user event, our own included, seen for the first time."""

    ltime: int
    name: str
    payload: bytes
    coalesce: bool


class NameConflict(Event, frozen=True):
    """Two nodes claim `name`; `is_ours` if it is our own. The second claim was refused."""

    name: str
    is_ours: bool
    existing: str
    other: str


class Outcome(Event, frozen=True):
    """Base of the outcomes of commands; `error` is empty on success.

    `may_have_happened` tells, when `error` is set, whether the change is in effect all the same.
    """

    operation: Operation
    error: str = ""
    may_have_happened: bool = False


class ForceLeaveFinished(Outcome, frozen=True):
    """Outcome of `ForceLeave`."""


class TagsFinished(Outcome, frozen=True):
    """Outcome of `SetTags`."""


class UserEventFinished(Outcome, frozen=True):
    """Outcome of `SendUserEvent`."""


class MessageDropped(Event, frozen=True):
    """A Serf message could not be understood or is of no use; `reason` says why."""

    reason: str


class QueueTooLong(Event, frozen=True):
    """A broadcast queue (`intent`, `query`, `event`) held `depth` messages; `dropped` were cut."""

    queue: str
    depth: int
    dropped: int
