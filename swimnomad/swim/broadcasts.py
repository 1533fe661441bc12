"""The transmit-limited queue: what is still to be gossiped, least transmitted first.

Each item is sent a limited number of times and then finished. Within a tier (equal number of
transmissions) longer items come first, then newer ones, so that a datagram is filled with the big
stones before the sand. Tiers are sorted lists: a fetch bisects for the longest item that still
fits and never scans, which matters when thousands of items wait.

Source: gossip.md §25.
"""

from __future__ import annotations

import math
from bisect import bisect_left, insort
from functools import lru_cache


@lru_cache(maxsize=4096)
def retransmit_limit(multiplier: int, nodes: int) -> int:
    """How often one broadcast is sent: multiplier * ceil(log10(nodes + 1)).

    Source: memberlist util.go, retransmitLimit.
    """
    return multiplier * math.ceil(math.log10(nodes + 1))


class _Item:
    """A queued message. `key` sorts it within its tier: longer first, then newer."""

    __slots__ = ("key", "message", "name", "notify", "transmits")

    def __init__(self, message: bytes, number: int, name: str | None, notify: object) -> None:
        self.message = message
        self.key = (-len(message), -number)
        self.name = name
        self.notify = notify
        self.transmits = 0


_Slot = tuple[int, int, _Item]
"""An item as it stands in a tier: its key, which is unique, then itself."""


class TransmitLimitedQueue:
    """Broadcasts waiting to be gossiped, each up to the retransmit limit.

    Args:
        multiplier: `retransmit_mult` of the profile.
        items_max: Items held; beyond, the most transmitted are finished first.
    """

    def __init__(self, multiplier: int, items_max: int) -> None:
        self._multiplier = multiplier
        self._items_max = items_max
        self._tiers: list[list[_Slot]] = []
        self._by_name: dict[str, _Item] = {}
        self._count = 0
        self._numbers = 0
        self._finished: list[object] = []

    def __len__(self) -> int:
        """Number of items waiting."""
        return self._count

    def queue(self, message: bytes, *, name: str | None = None, notify: object = None) -> None:
        """Add a message with no transmissions yet.

        Args:
            message: Never empty.
            name: If given, an older item of the same name is finished and replaced.
            notify: If given, handed out by `take_finished` once the item is gone for any reason:
                sent often enough, replaced or pruned.
        """
        assert message
        if name is not None:
            older = self._by_name.get(name)
            if older is not None:
                self._remove(older)
                self._finish(older)
        self._numbers += 1
        item = _Item(message, self._numbers, name, notify)
        if name is not None:
            self._by_name[name] = item
        self._insert(item)
        if self._count > self._items_max:
            self.prune(self._items_max)

    def fetch(self, overhead: int, budget: int, nodes: int) -> list[bytes]:
        """Take the messages for one datagram; each counts as transmitted once.

        Args:
            overhead: Bytes that each message costs on top of its own length.
            budget: Bytes to fill.
            nodes: Present cluster size, which sets the retransmit limit.
        """
        if not self._count:
            return []
        limit = retransmit_limit(self._multiplier, nodes)
        taken: list[bytes] = []
        again: list[_Item] = []  # Put back at the end, so no item is sent twice in one fetch.
        free = budget - overhead
        for tier in self._tiers:
            # Within a tier lengths fall from left to right, so what was skipped as too long stays
            # too long and the search can go on from `at`.
            at = 0
            while tier and free > 0:
                at = bisect_left(tier, (-free,), at)
                if at == len(tier):
                    break
                item = tier.pop(at)[2]
                taken.append(item.message)
                free -= overhead + len(item.message)
                item.transmits += 1
                if item.transmits >= limit:
                    self._count -= 1
                    self._finish(item)
                else:
                    again.append(item)
        self._count -= len(again)
        for item in again:
            self._insert(item)
        return taken

    def prune(self, keep: int) -> None:
        """Finish and drop items until `keep` are left: most transmitted, then shortest, oldest."""
        for tier in reversed(self._tiers):
            while tier and self._count > keep:
                item = tier.pop()[2]
                self._count -= 1
                self._finish(item)

    def take_finished(self) -> list[object]:
        """The `notify` tokens of items finished since the last call, in order."""
        if not self._finished:
            return []
        finished, self._finished = self._finished, []
        return finished

    def _insert(self, item: _Item) -> None:
        while len(self._tiers) <= item.transmits:
            self._tiers.append([])
        insort(self._tiers[item.transmits], (*item.key, item))
        self._count += 1

    def _remove(self, item: _Item) -> None:
        tier = self._tiers[item.transmits]
        del tier[bisect_left(tier, item.key)]
        self._count -= 1

    def _finish(self, item: _Item) -> None:
        if item.name is not None and self._by_name.get(item.name) is item:
            del self._by_name[item.name]
        if item.notify is not None:
            self._finished.append(item.notify)
