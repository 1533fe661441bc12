"""Life cycle of the local node in the Serf layer."""

from __future__ import annotations

import enum


class Lifecycle(enum.IntEnum):
    """Where the local node stands; it only ever moves forward. Numbers as in the reference."""

    ALIVE = 0
    LEAVING = 1
    LEFT = 2
    SHUTDOWN = 3

    @property
    def text(self) -> str:
        """The word used in HTTP, CLI and journal."""
        return self.name.lower()
