"""Commands that wait for their outcome."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import trio

from swimnomad.errors import OperationError, UsageError
from swimnomad.names import Operation
from swimnomad.swim.effects import Event


class PendingOperation:
    """One command on its way."""

    def __init__(self, number: Operation) -> None:
        self.number = number
        self._settled = trio.Event()
        self._event: Event | None = None
        self._error: UsageError | OperationError | None = None

    async def outcome(self) -> Event:
        """The event that reports how the command ended; waits for it.

        Raises:
            UsageError: The core refused the command.
            OperationError: The core stopped first.
        """
        await self._settled.wait()
        if self._error is not None:
            raise self._error
        assert self._event is not None
        return self._event

    def settle(self, event: Event | None, error: UsageError | OperationError | None) -> None:
        """Wake the caller with one or the other."""
        self._event, self._error = event, error
        self._settled.set()


class Operations:
    """The commands whose callers wait; numbers start at 1 and are not used again."""

    def __init__(self) -> None:
        self._pending: dict[Operation, PendingOperation] = {}
        self._last_number = 0

    def __len__(self) -> int:
        """Commands under way."""
        return len(self._pending)

    @contextmanager
    def begin(self) -> Iterator[PendingOperation]:
        """A fresh number; it is forgotten at the end of the block, settled or not."""
        self._last_number += 1
        operation = PendingOperation(self._last_number)
        self._pending[operation.number] = operation
        try:
            yield operation
        finally:
            self._pending.pop(operation.number, None)

    def finish(self, number: Operation, event: Event) -> None:
        """Report an outcome; nothing happens if nobody waits for it."""
        operation = self._pending.pop(number, None)
        if operation is not None:
            operation.settle(event, None)

    def refuse(self, number: Operation | None, error: UsageError) -> bool:
        """Report that the core refused a command; False if nobody waits for it."""
        operation = self._pending.pop(number, None) if number is not None else None
        if operation is None:
            return False
        operation.settle(None, error)
        return True

    def stop(self) -> None:
        """The core has stopped: whoever still waits cannot know what became of his command."""
        for operation in self._pending.values():
            error = OperationError(
                "the agent stopped before the outcome was known", may_have_happened=True
            )
            operation.settle(None, error)
        self._pending.clear()
