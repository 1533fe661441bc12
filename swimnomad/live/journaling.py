"""The journal of a live agent: the same file that a simulated run writes, for `replay`.

An agent must not stop because a disk is full: then the journal ends, and the log says so.
"""

from __future__ import annotations

import os
from pathlib import Path

import trio

from swimnomad.errors import UsageError
from swimnomad.journal.recipe import recipe_of
from swimnomad.journal.writer import Journal
from swimnomad.live.log import AgentLog, Level
from swimnomad.live.oserrors import error_text
from swimnomad.names import Address
from swimnomad.nomad.config import AgentConfig
from swimnomad.swim.core import Core
from swimnomad.swim.effects import Effect

SEED_BYTES = 16
ENCRYPTED_JOURNAL = (
    "gossip.journal: nothing could be replayed from a journal of encrypted gossip, as the keys are"
    " not in it; allowed is a journal without encryption"
)


def fresh_seed() -> str:
    """A seed nobody can guess, for a core whose journal shall be replayable."""
    return os.urandom(SEED_BYTES).hex()


class LiveJournal:
    """Writes down every step of one agent's core.

    Args:
        config: The agent's; names the file.
        core: Just made with the generator of `seed`.
        seed: From `fresh_seed`.
        address: What the agent advertises.
        log: Where a failure to write is told.

    Raises:
        UsageError: If the file cannot be written.
    """

    def __init__(
        self, config: AgentConfig, core: Core, seed: str, address: Address, log: AgentLog
    ) -> None:
        path = config.gossip.journal
        self._name, self._log = config.member_name, log
        try:
            self._journal: Journal | None = Journal(seed, Path(path))
        except OSError as error:
            raise UsageError(f"journal {path}: cannot be written: {error_text(error)}") from None
        recipe = recipe_of(core, seed)
        now = trio.current_time()
        self._journal.fault(now, self._name, "boot", address=address, recipe=recipe)

    def step(self, now: float, incoming: object, effects: list[Effect]) -> None:
        """The core was given `incoming` and asks for `effects`."""
        if self._journal is not None:
            try:
                self._journal.step(now, self._name, incoming, effects)
            except OSError as error:
                self._give_up(error)

    def close(self) -> None:
        """Write what is left."""
        if self._journal is not None:
            try:
                self._journal.close()
            except OSError as error:
                self._give_up(error)

    def _give_up(self, error: OSError) -> None:
        self._journal = None
        self._log.write(Level.ERROR, "agent", "the journal ends here", error=error_text(error))
