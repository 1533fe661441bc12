"""Moving the commit index: what is committed is handed out to be applied, and announced."""

from __future__ import annotations

from swimnomad.raft.context import Context
from swimnomad.raft.effects import Apply
from swimnomad.raft.events import ConfigurationChanged
from swimnomad.raft.proposals import Proposals


class Commits:
    """The one place that moves the commit index over entries of the log."""

    def __init__(self, context: Context, proposals: Proposals) -> None:
        self._context = context
        self._proposals = proposals

    def advance(self, index: int) -> None:
        """Entries up to `index`, which the log holds, are committed."""
        context = self._context
        assert index <= context.log.last_index
        # Nothing is applied before it is durable here too: a log must reach as far as the state.
        context.write_entries()
        while context.commit_index < index:
            first = context.commit_index + 1
            count = min(index - context.commit_index, context.config.apply_entries_max)
            entries = tuple(context.log.entries(first, count))
            context.commit_index += len(entries)
            context.write_term()
            context.effects.append(Apply(entries))
            self._proposals.settle(entries)
        for place, configuration in context.configurations.commit(index):
            context.emit(ConfigurationChanged(configuration, place, True))
