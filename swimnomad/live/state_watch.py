"""Waits until the replicated state changes: what blocking reads stand on."""

from __future__ import annotations

import trio

from swimnomad.nomad.state.store import StateStore
from swimnomad.nomad.state.tables import Table


class StateWatch:
    """Wakes whoever waits for a table when it is written; a `nomad.replicated.Watch`."""

    def __init__(self, state: StateStore) -> None:
        self._state = state
        self._waiting: dict[Table, dict[trio.Event, None]] = {table: {} for table in Table}
        state.subscribe(self._wake)

    @property
    def waiting_count(self) -> int:
        """How many wait, counted once for every table."""
        return sum(map(len, self._waiting.values()))

    async def changed(self, tables: tuple[Table, ...], index: int, seconds: float) -> None:
        """Return when one of the tables was written after `index`, or the time is up."""
        if self._state.index_of(*tables) > index or seconds <= 0:
            await trio.lowlevel.checkpoint()
            return
        event = trio.Event()
        for table in tables:
            self._waiting[table][event] = None
        try:
            with trio.move_on_after(seconds):
                await event.wait()
        finally:
            for table in tables:
                self._waiting[table].pop(event, None)

    def _wake(self, tables: tuple[Table, ...]) -> None:
        for table in tables:
            for event in self._waiting[table]:
                event.set()
