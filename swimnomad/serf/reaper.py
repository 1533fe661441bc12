"""Which failed member to try again.

Source: serf.md §21.2.
"""

from __future__ import annotations

import random

from swimnomad.serf.events import Member
from swimnomad.serf.members import MemberTable


def pick_reconnect(table: MemberTable, rng: random.Random) -> Member | None:
    """A failed member to contact in this round, or None.

    Every member draws for itself with the odds of failed to present members, so that the pool as a
    whole makes about as many attempts a round as there are failed members, whatever its size.
    """
    failed = table.failed_count
    if not failed:
        return None
    present = len(table) - failed - table.left_count
    if rng.random() > failed / (present or 1):
        return None
    return table.members[rng.choice(table.failed)]
