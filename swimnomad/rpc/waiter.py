"""The cheapest way for one task to wait until another has something for it."""

from __future__ import annotations

import trio


class Waiter:
    """A place where one task waits until it is woken."""

    __slots__ = ("_task",)

    def __init__(self) -> None:
        self._task: trio.lowlevel.Task | None = None

    @property
    def is_taken(self) -> bool:
        """Whether a task waits."""
        return self._task is not None

    async def wait(self) -> None:
        """Wait until `wake` is called; a wake-up before that counts for nothing."""
        assert self._task is None, "one task waits"
        self._task = trio.lowlevel.current_task()
        await trio.lowlevel.wait_task_rescheduled(self._give_up)

    def wake(self) -> None:
        """Let the task go on, if one waits."""
        if self._task is not None:
            task, self._task = self._task, None
            trio.lowlevel.reschedule(task)

    def _give_up(self, _: object) -> trio.lowlevel.Abort:
        self._task = None
        return trio.lowlevel.Abort.SUCCEEDED
