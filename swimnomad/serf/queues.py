"""The three broadcast queues of the Serf layer: intents before queries before user events.

Source: serf.md §22.
"""

from __future__ import annotations

from swimnomad.serf.config import SerfConfig
from swimnomad.serf.events import QueueTooLong
from swimnomad.swim.broadcasts import TransmitLimitedQueue


def queue_depth_max(config: SerfConfig, members: int) -> int:
    """Messages a queue may hold at a check; `members` counts those in any status.

    Source: serf.md §22; serf.go, getQueueMax.
    """
    if config.queue_depth_min > 0:
        return max(config.queue_depth_min, 2 * members)
    return config.queue_depth_max


class BroadcastQueues:
    """What this node still has to gossip for the Serf layer.

    Between two checks each queue is held to `broadcasts_max` of the gossip layer, so that a flood
    finds a limit at any time.
    """

    def __init__(self, config: SerfConfig) -> None:
        self._config = config
        multiplier, items_max = config.swim.retransmit_mult, config.swim.broadcasts_max
        self.intents = TransmitLimitedQueue(multiplier, items_max)
        self.queries = TransmitLimitedQueue(multiplier, items_max)
        self.events = TransmitLimitedQueue(multiplier, items_max)
        self._in_order = (
            ("intent", self.intents),
            ("query", self.queries),
            ("event", self.events),
        )

    @property
    def is_waiting(self) -> bool:
        """Whether any queue holds a message."""
        return len(self.intents) > 0 or len(self.events) > 0 or len(self.queries) > 0

    def fetch(self, overhead: int, limit: int, members: int) -> list[bytes]:
        """Messages for a datagram with `limit` bytes left, each `overhead` longer than itself."""
        messages: list[bytes] = []
        for _, queue in self._in_order:
            if not len(queue):
                continue
            taken = queue.fetch(overhead, limit, members)
            limit -= sum(map(len, taken)) + overhead * len(taken)
            messages += taken
        return messages

    def take_finished(self) -> list[int]:
        """Tickets of the intents that are out since the last call."""
        return [ticket for ticket in self.intents.take_finished() if isinstance(ticket, int)]

    def check(self, members: int) -> list[QueueTooLong]:
        """Cut every queue to its maximum; report those at or above the warning depth."""
        depth_max = queue_depth_max(self._config, members)
        warnings: list[QueueTooLong] = []
        for name, queue in self._in_order:
            depth = len(queue)
            if depth > depth_max:
                queue.prune(depth_max)
            if depth >= self._config.queue_depth_warning or depth > depth_max:
                warnings.append(QueueTooLong(name, depth, max(0, depth - depth_max)))
        return warnings
