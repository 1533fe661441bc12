"""The timers of the Serf layer. Each is a key: setting an equal one again replaces it."""

from __future__ import annotations

from swimnomad.swim.inputs import Timer


class SerfTimer(Timer, frozen=True):
    """Base of the timers that belong to the Serf layer and not to the gossip layer below."""


class ReapTick(SerfTimer, frozen=True):
    """Time to forget members and buffered intents that are too old."""


class ReconnectTick(SerfTimer, frozen=True):
    """Time to try a failed member again."""


class QueueCheckTick(SerfTimer, frozen=True):
    """Time to look how long the broadcast queues have become."""


class BroadcastTimeout(SerfTimer, frozen=True):
    """The broadcast of this ticket had its time, whether the others heard it or not."""

    ticket: int


class PropagationOver(SerfTimer, frozen=True):
    """The others had time to hear from each other that this node has left."""


class PruneDue(SerfTimer, frozen=True):
    """A member that was leaving when it was pruned may be erased now."""

    node: str
