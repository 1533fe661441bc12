"""What this process has just worked out from some bytes need not be worked out again.

A node tells the same state again and again, and in a simulation, or a cluster inside one process,
every push/pull that is written is soon read by another node of the same process. Compressing,
expanding and parsing are most of the cost of a large pool; here the bytes lead straight back to
what belongs to them. They are looked up whole, so whatever differs by a bit goes the long way.
"""

from __future__ import annotations

from typing import Generic, TypeVar

T = TypeVar("T")

COUNT_MAX = 8
BYTES_MAX = 1 << 20
"""Longer ones are not remembered: an agent must not hold them for nothing."""


class Recent(Generic[T]):
    """The last few byte strings with what belongs to each, which must be immutable.

    Args:
        count_max: How many are remembered.
    """

    __slots__ = ("_count_max", "_values")

    def __init__(self, count_max: int = COUNT_MAX) -> None:
        self._count_max = count_max
        self._values: dict[bytes, T] = {}

    def remember(self, data: bytes, value: T) -> None:
        """Note that `value` belongs to `data`; forget what was used longest ago."""
        if len(data) > BYTES_MAX:
            return
        values = self._values
        values.pop(data, None)
        if len(values) >= self._count_max:
            del values[next(iter(values))]
        values[data] = value

    def recall(self, data: bytes) -> T | None:
        """What belongs to `data`; None if it is not among the last few."""
        value = self._values.pop(data, None)
        if value is not None:
            self._values[data] = value  # now the youngest
        return value
