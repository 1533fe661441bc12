"""How the wish to stop reaches the task that runs an agent."""

from __future__ import annotations

import trio


class StopSwitch:
    """Remembers the first wish to stop.

    Attributes:
        leave: Whether to leave the pool first.
        status: Exit status of the program if nothing goes wrong on the way.
    """

    def __init__(self) -> None:
        self.leave = False
        self.status = 0
        self._requested = trio.Event()

    @property
    def is_requested(self) -> bool:
        """Whether somebody asked."""
        return self._requested.is_set()

    def request(self, *, leave: bool, status: int) -> None:
        """Ask the agent to stop; later wishes change nothing."""
        if not self._requested.is_set():
            self.leave, self.status = leave, status
            self._requested.set()

    async def wait(self) -> None:
        """Return once somebody asked."""
        await self._requested.wait()
