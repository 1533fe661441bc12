"""Whom the reconnector picks, and how often."""

from __future__ import annotations

import random

from swimnomad.serf.events import Member, Status
from swimnomad.serf.members import MemberTable
from swimnomad.serf.reaper import pick_reconnect


def table(**counts: int) -> MemberTable:
    result = MemberTable()
    for word, count in counts.items():
        for i in range(count):
            name = f"{word}-{i}"
            status = Status[word.upper()]
            result.store(Member(name, b"\x0a\0\0\1", 7946, {}, status, bytes(6)))
    return result


def picks(members: MemberTable, rounds: int) -> list[str]:
    rng = random.Random(1)
    found = (pick_reconnect(members, rng) for _ in range(rounds))
    return [member.name for member in found if member is not None]


def test_without_failed_members_nobody_is_contacted() -> None:
    assert picks(table(alive=3, left=3), 100) == []


def test_attempts_follow_the_share_of_failed_to_present_members() -> None:
    attempts = picks(table(alive=9, leaving=1, failed=2, left=50), 2000)
    assert 300 < len(attempts) < 500, "2 of 10: about every fifth round"
    assert set(attempts) == {"failed-0", "failed-1"}


def test_with_more_failed_than_present_members_every_round_tries_one() -> None:
    assert len(picks(table(alive=1, failed=3), 50)) == 50


def test_nobody_present_counts_as_one() -> None:
    assert len(picks(table(failed=1), 50)) == 50
