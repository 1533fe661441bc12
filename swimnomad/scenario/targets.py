"""Which nodes a target text means: a name, a glob, or so many at random."""

from __future__ import annotations

import random
import re
from collections.abc import Iterable, Sequence
from fnmatch import fnmatchcase

from swimnomad.errors import UsageError

_RANDOM = re.compile(r"random(?: (\d{1,5}))?")


def is_random(text: str) -> bool:
    """Whether a target leaves the choice to the run's seed."""
    return _RANDOM.fullmatch(text) is not None


def random_count(text: str) -> int | None:
    """How many nodes a target draws; None if it does not leave the choice to chance."""
    match = _RANDOM.fullmatch(text)
    return None if match is None else int(match[1] or 1)


def matching(text: str, names: Iterable[str]) -> list[str]:
    """The names that a name or glob means, in their order."""
    return [name for name in names if name == text or fnmatchcase(name, text)]


class Names:
    """The names that targets mean, those of nodes not there yet included. Random means nobody."""

    def __init__(self, targets: Sequence[str]) -> None:
        self._targets = tuple(targets)
        self._known: dict[str, bool] = {}

    def __contains__(self, name: str) -> bool:
        """Whether a node is meant; remembered, for it is asked of every pair of nodes."""
        known = self._known.get(name)
        if known is None:
            known = any(matching(one, (name,)) for one in self._targets)
            self._known[name] = known
        return known


def resolve(
    targets: Sequence[str], names: Sequence[str], eligible: Sequence[str], rng: random.Random
) -> list[str]:
    """The nodes that targets mean, each once.

    Args:
        targets: Names, globs, `random`, `random 3`.
        names: Every node there is.
        eligible: Those that a glob or a random choice may hit; a name hits any.
        rng: For the choices.

    Raises:
        UsageError: If a target means nobody, or more at random than there are.
    """
    chosen: dict[str, None] = {}
    for target in targets:
        if match := _RANDOM.fullmatch(target):
            count = int(match[1] or 1)
            free = [name for name in eligible if name not in chosen]
            if count > len(free):
                raise UsageError(f"{target}: only {len(free)} nodes to choose from")
            found = rng.sample(free, count)
        elif target in names:
            found = [target]
        else:
            found = matching(target, eligible)
        if not found:
            raise UsageError(f"{target}: there is no such node at this moment")
        chosen.update(dict.fromkeys(found))
    return list(chosen)
