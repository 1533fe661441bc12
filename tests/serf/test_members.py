"""The member table and its side lists."""

from __future__ import annotations

import pytest

from swimnomad.serf.events import Member, Status
from swimnomad.serf.members import MemberTable, replace


def member(name: str, status: Status = Status.ALIVE, ltime: int = 0) -> Member:
    return Member(
        name=name,
        ip=b"\x7f\x00\x00\x01",
        port=7946,
        tags={},
        status=status,
        versions=bytes((1, 5, 2, 2, 5, 4)),
        status_ltime=ltime,
    )


def test_statuses_have_the_names_of_the_reference() -> None:
    """serf 35.18: status names."""
    assert [status.text for status in Status] == ["none", "alive", "leaving", "left", "failed"]
    assert [int(status) for status in Status] == [0, 1, 2, 3, 4]


def test_a_member_stands_in_the_side_list_of_its_status_only() -> None:
    table = MemberTable()
    for status in (Status.ALIVE, Status.FAILED, Status.LEFT, Status.FAILED, Status.LEAVING):
        table.store(member("a", status))
        assert table.failed == (("a",) if status is Status.FAILED else ())
        assert table.left == (("a",) if status is Status.LEFT else ())
    assert len(table) == 1


def test_members_keep_the_order_of_their_appearance() -> None:
    table = MemberTable()
    for name in "cab":
        table.store(member(name))
    table.store(member("a", Status.FAILED))
    assert list(table.members) == ["c", "a", "b"]


def test_the_view_of_members_cannot_be_written() -> None:
    with pytest.raises(TypeError):
        MemberTable().members["a"] = member("a")  # type: ignore[index]  # that is the test


def test_erasing_forgets_the_record_and_its_side_list_entry() -> None:
    table = MemberTable()
    table.store(member("a", Status.LEFT))
    erased = table.erase("a")
    assert erased is not None
    assert erased.status is Status.LEFT
    assert (len(table), table.left_count) == (0, 0)
    assert table.erase("a") is None


def test_the_version_moves_with_what_a_state_exchange_shows() -> None:
    table = MemberTable()
    before = table.version
    stored = table.store(member("a", ltime=3))
    assert table.version > before
    before = table.version
    table.refresh(replace(stored, port=1))
    assert table.version == before, "addresses and tags travel in the gossip layer"
    assert table.members["a"].port == 1
    assert table.status_ltimes() == {"a": 3}


def test_the_longest_gone_is_given_up_first_and_the_living_never() -> None:
    table = MemberTable()
    table.store(member("alive"))
    assert table.oldest_gone() is None
    table.store(member("failed", Status.FAILED))
    assert table.oldest_gone() == "failed"
    table.store(member("left-1", Status.LEFT))
    table.store(member("left-2", Status.LEFT))
    assert table.oldest_gone() == "left-1"


def test_other_alive_members_are_told_from_the_node_itself() -> None:
    table = MemberTable()
    table.store(member("me"))
    table.store(member("gone", Status.FAILED))
    assert not table.has_alive_besides("me")
    table.store(member("you"))
    assert table.has_alive_besides("me")
