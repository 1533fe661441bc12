"""Drawing some members at random.

Source: gossip.md §24.2.
"""

from __future__ import annotations

import random
from collections.abc import Callable

from swimnomad.swim.members import MemberTable, NodeEntry


def select_random(
    table: MemberTable, count: int, accept: Callable[[NodeEntry], bool], rng: random.Random
) -> list[NodeEntry]:
    """Up to `count` distinct entries that `accept` likes, uniformly at random.

    All of them if the table is small. In a large table drawing gives up after three draws for each
    entry, so that a tick stays cheap when hardly any entry is acceptable.
    """
    size = len(table)
    chosen: list[NodeEntry] = []
    # Three members and one helper wanted are still small: nine draws miss the only helper there is
    # once in forty times (memberlist pull request 350).
    if size <= 3 * count:
        shuffled = list(table)
        rng.shuffle(shuffled)
        for entry in shuffled:
            if len(chosen) == count:
                break
            if accept(entry):
                chosen.append(entry)
        return chosen
    random_float = rng.random
    for _ in range(3 * size):
        if len(chosen) == count:
            break
        # Much cheaper than randrange, whose lack of bias does not matter at these sizes.
        entry = table[int(random_float() * size)]
        if accept(entry) and entry not in chosen:
            chosen.append(entry)
    return chosen
