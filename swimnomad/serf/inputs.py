"""Commands that the Serf layer adds to the inputs of the gossip layer."""

from __future__ import annotations

from swimnomad.names import Operation, Value
from swimnomad.swim.inputs import (
    Converge,
    DatagramReceived,
    Join,
    JoinTarget,
    Leave,
    LetTicksRest,
    Shutdown,
    Start,
    StreamEnded,
    StreamFailed,
    StreamOpened,
    StreamReceived,
    TimerFired,
)


class ForceLeave(Value, frozen=True):
    """Turn a failed member into a left one, or with `prune` erase it; `ForceLeaveFinished`."""

    operation: Operation
    node: str
    prune: bool = False


class SetTags(Value, frozen=True):
    """Replace the node's own tags; `TagsFinished`."""

    operation: Operation
    tags: tuple[tuple[str, str], ...]


class SendUserEvent(Value, frozen=True):
    """Broadcast a user event; `UserEventFinished`."""

    operation: Operation
    name: str
    payload: bytes
    coalesce: bool = False


SerfInput = (
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
    | ForceLeave
    | SetTags
    | SendUserEvent
    | Shutdown
)
"""Everything `SerfNode.handle` takes."""

__all__ = [
    "Converge",
    "DatagramReceived",
    "ForceLeave",
    "Join",
    "JoinTarget",
    "Leave",
    "LetTicksRest",
    "SendUserEvent",
    "SerfInput",
    "SetTags",
    "Shutdown",
    "Start",
    "StreamEnded",
    "StreamFailed",
    "StreamOpened",
    "StreamReceived",
    "TimerFired",
]
