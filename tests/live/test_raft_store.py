"""What a server keeps on disk for Raft: whole after any stop, refused when it is not."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from swimnomad.errors import UsageError
from swimnomad.live.raft_database import FILE, MARK, RaftDatabase
from swimnomad.live.raft_snapshots import DIRECTORY
from swimnomad.live.raft_store import DiskStore, MemoryStore, RaftStore, open_store
from swimnomad.raft.effects import (
    PersistCompaction,
    PersistEntries,
    PersistTerm,
    PersistTruncation,
)
from swimnomad.raft.log import EntryKind, LogEntry
from swimnomad.raft.servers import Configuration, Server, Suffrage
from swimnomad.raft.snapshot import Snapshot
from swimnomad.raft.stored import Stored

A, B = "127.0.0.1:4647", "127.0.0.2:4647"
SERVERS = Configuration((Server(A, A), Server("id-b", B, Suffrage.NONVOTER)))
ROOT = Path(__file__).resolve().parents[2]


def entries(first: int, last: int, term: int = 1, size: int = 40) -> PersistEntries:
    return PersistEntries(
        tuple(
            LogEntry(index, term, data=bytes([index % 256]) * size)
            for index in range(first, last + 1)
        )
    )


@contextmanager
def opened(path: Path) -> Iterator[tuple[DiskStore, Stored]]:
    store = DiskStore(path)
    try:
        yield store, store.load()
    finally:
        store.close()


def held(stored: Stored) -> tuple[LogEntry, ...]:
    log = stored.log
    if log.last_index < log.first_index:
        return ()
    return tuple(log.entries(log.first_index, log.last_index))


def filled(path: Path) -> tuple[LogEntry, ...]:
    """A closed store with ten entries and a term."""
    with opened(path) as (store, _):
        store.write([PersistTerm(3, B), entries(1, 10)])
    return entries(1, 10).entries


def as_if_killed(path: Path, name: str = "killed") -> Path:
    """A copy of an open store's files, as a process that is killed leaves them."""
    copy = path.with_name(name)
    copy.mkdir()
    for file in path.iterdir():
        if file.is_file():
            (copy / file.name).write_bytes(file.read_bytes())
    return copy


def test_a_new_store_is_empty(tmp_path: Path) -> None:
    with opened(tmp_path / "raft") as (_, stored):
        assert (stored.term, stored.voted_for, stored.snapshot) == (0, None, None)
        assert (stored.log.first_index, stored.log.last_index) == (1, 0)
    assert sorted(path.name for path in (tmp_path / "raft").iterdir()) == [FILE, MARK, DIRECTORY]
    assert (tmp_path / "raft" / FILE).stat().st_mode & 0o777 == 0o600


def test_what_was_written_is_there_when_it_is_opened_again(tmp_path: Path) -> None:
    kinds = (
        LogEntry(1, 1, EntryKind.CONFIGURATION, b"", SERVERS),
        LogEntry(2, 2, EntryKind.NOOP),
        LogEntry(3, 2, EntryKind.BARRIER),
        LogEntry(4, 2, EntryKind.COMMAND, b"\x00\xff" * 100),
        LogEntry(5, 2**61, EntryKind.COMMAND, b""),
    )
    with opened(tmp_path) as (store, _):
        store.write([PersistTerm(1, None)])
        store.write([PersistTerm(2**61, A), PersistEntries(kinds)])
    with opened(tmp_path) as (_, stored):
        assert (stored.term, stored.voted_for) == (2**61, A)
        assert held(stored) == kinds


def test_a_write_is_durable_when_it_returns_and_not_when_the_store_is_closed(
    tmp_path: Path,
) -> None:
    with opened(tmp_path / "raft") as (store, _):
        store.write([PersistTerm(3, B), entries(1, 10)])
        with opened(as_if_killed(tmp_path / "raft")) as (_, stored):
            assert held(stored) == entries(1, 10).entries
            assert (stored.term, stored.voted_for) == (3, B)


def test_changes_of_one_write_happen_in_their_order(tmp_path: Path) -> None:
    with opened(tmp_path) as (store, _):
        store.write(
            [
                entries(1, 10),
                PersistTruncation(6),
                PersistTerm(2, None),
                entries(6, 8, term=2),
                PersistCompaction(3),
            ]
        )
    database = RaftDatabase(tmp_path)
    log = database.load()
    found = [(entry.index, entry.term) for entry in log.entries(log.first_index, 100)]
    assert found == [(4, 1), (5, 1), (6, 2), (7, 2), (8, 2)]
    database.close()


def test_a_log_that_was_compacted_beyond_its_end_goes_on_behind(tmp_path: Path) -> None:
    with opened(tmp_path) as (store, _):
        store.write([PersistTerm(5, None), entries(1, 4)])
        keep(store, Snapshot(20, 5, SERVERS, 1, 3), b"abc")
        store.write([PersistCompaction(20)])
        store.write([entries(21, 22, term=5)])
    with opened(tmp_path) as (_, stored):
        assert (stored.log.first_index, stored.log.last_index) == (21, 22)


def test_truncation_takes_nothing_that_is_not_there(tmp_path: Path) -> None:
    with opened(tmp_path) as (store, _):
        store.write([PersistTerm(1, None), entries(1, 5)])
        store.write([PersistTruncation(9), PersistCompaction(0), PersistEntries(())])
        store.write([PersistTruncation(1)])
        store.write([entries(1, 2)])
    with opened(tmp_path) as (_, stored):
        assert held(stored) == entries(1, 2).entries


def test_the_write_ahead_log_is_folded_in_when_it_has_grown(tmp_path: Path) -> None:
    with opened(tmp_path) as (store, _):
        store.write([PersistTerm(1, None)])
        for first in range(1, 101, 10):
            store.write([entries(first, first + 9, size=100_000)])
        assert (tmp_path / f"{FILE}-wal").stat().st_size < 8_000_000
    with opened(tmp_path) as (_, stored):
        assert stored.log.last_index == 100


def test_a_failed_write_leaves_nothing_and_is_the_last(tmp_path: Path) -> None:
    with opened(tmp_path) as (store, _):
        store.write([PersistTerm(1, None), entries(1, 5)])
        database = store._database
        database._connected.execute("PRAGMA max_page_count = 1").fetchone()
        with pytest.raises(OSError, match="full"):
            store.write([PersistTerm(2, A), entries(6, 9, size=500_000)])
        database._connected.execute("PRAGMA max_page_count = 100000").fetchone()
        with pytest.raises(OSError, match="an earlier write"):
            store.write([PersistTerm(3, A)])
    with opened(tmp_path) as (_, stored):
        assert (stored.term, stored.log.last_index) == (1, 5)


def test_a_second_process_is_told_that_the_log_is_in_use(tmp_path: Path) -> None:
    with opened(tmp_path):
        script = (
            "import sys; from pathlib import Path;"
            " from swimnomad.live.raft_database import RaftDatabase\n"
            "try:\n  RaftDatabase(Path(sys.argv[1]))\n"
            "except Exception as error:\n  print(type(error).__name__, error)\n"
        )
        found = subprocess.run(
            [sys.executable, "-c", script, str(tmp_path)], capture_output=True, text=True, cwd=ROOT
        )
    assert found.stdout == (
        f"UsageError {tmp_path / FILE} is in use by another process: stop it first\n"
    ), found.stderr


# --- damage ---------------------------------------------------------------------------------------


def refused(path: Path) -> str:
    """Why a store is not opened; the refusal leaves nothing open behind."""
    with pytest.raises(UsageError) as caught, opened(path):
        pass
    text = str(caught.value)
    assert "\n" not in text
    return text


def overwrite(path: Path, offset: int, data: bytes) -> None:
    with path.open("r+b") as file:
        file.seek(offset)
        file.write(data)


def change(path: Path, sql: str) -> None:
    connection = sqlite3.connect(path / FILE, isolation_level=None)
    connection.execute(sql)
    connection.close()


@pytest.mark.parametrize(
    ("sql", "what"),
    [
        ("UPDATE log SET data = x'00' WHERE number = 4", "checksum of entry 4"),
        ("UPDATE log SET term = 2 WHERE number = 4", "checksum of entry 4"),
        ("UPDATE log SET data = 'text' WHERE number = 4", "entry 4 cannot be read"),
        ("UPDATE log SET term = -1 WHERE number = 4", "checksum of entry 4"),
        ("DELETE FROM log WHERE number = 4", "entry 5 stands where 4 belongs"),
        ("DELETE FROM log WHERE number = 10", "ends with entry 9, but should with 10"),
        ("DELETE FROM log WHERE number = 1", "entry 2 stands where 1 belongs"),
        ("UPDATE state SET term = 2", "checksum of its head"),
        ("UPDATE state SET voted_for = 'x'", "checksum of its head"),
        ("DELETE FROM state", "it has 0 heads"),
        ("DROP TABLE log", "no such table"),
    ],
)
def test_rows_that_were_changed_are_found(tmp_path: Path, sql: str, what: str) -> None:
    filled(tmp_path)
    change(tmp_path, sql)
    text = refused(tmp_path)
    assert str(tmp_path / FILE) in text
    assert what in text
    assert "move" in text  # how to recover


def cut(path: Path, size: int) -> None:
    os.truncate(path, size)


@pytest.mark.parametrize(
    "damage",
    [
        lambda path: cut(path, path.stat().st_size // 2),
        lambda path: cut(path, path.stat().st_size - 1),
        lambda path: cut(path, 100),
        lambda path: cut(path, 0),
        lambda path: overwrite(path, 0, bytes(100)),
        lambda path: overwrite(path, 8192, os.urandom(4096)),
        lambda path: overwrite(path, 4096, os.urandom(4096)),
        lambda path: path.write_bytes(b"what is this\n" * 100),
    ],
    ids=["half", "one byte", "head", "empty", "no magic", "a page", "another page", "text"],
)
def test_a_file_that_was_cut_or_overwritten_is_refused(
    tmp_path: Path, damage: Callable[[Path], None]
) -> None:
    filled(tmp_path)
    damage(tmp_path / FILE)
    assert str(tmp_path / FILE) in refused(tmp_path)


def test_a_log_of_nomads_own_is_told_as_such(tmp_path: Path) -> None:
    (tmp_path / FILE).write_bytes(bytes(16) + bytes.fromhex("edda0ced") + bytes(5000))
    assert "a log of Nomad's own" in refused(tmp_path)


def test_a_file_of_another_program_is_told_as_such(tmp_path: Path) -> None:
    sqlite3.connect(tmp_path / FILE).execute("CREATE TABLE t (x)").connection.close()
    assert "belongs to another program" in refused(tmp_path)


def test_a_log_of_a_later_format_is_told_as_such(tmp_path: Path) -> None:
    filled(tmp_path)
    change(tmp_path, "PRAGMA user_version = 2")
    assert "has format 2" in refused(tmp_path)


def test_a_log_that_is_missing_is_not_taken_for_a_new_one(tmp_path: Path) -> None:
    filled(tmp_path)
    (tmp_path / FILE).unlink()
    assert "it is missing" in refused(tmp_path)
    assert not (tmp_path / FILE).exists()


def test_a_directory_that_cannot_be_used_is_told(tmp_path: Path) -> None:
    (tmp_path / "raft").write_text("a file")
    assert "cannot create the Raft directory" in refused(tmp_path / "raft")


def test_a_creation_that_broke_off_is_begun_anew(tmp_path: Path) -> None:
    (tmp_path / f"{FILE}.new").write_bytes(b"half")
    filled(tmp_path)
    assert not (tmp_path / f"{FILE}.new").exists()


def test_a_torn_end_of_the_write_ahead_log_costs_what_was_not_acknowledged(tmp_path: Path) -> None:
    with opened(tmp_path / "raft") as (store, _):
        store.write([PersistTerm(1, None), entries(1, 10)])
        acknowledged = (tmp_path / "raft" / f"{FILE}-wal").stat().st_size
        mark = (tmp_path / "raft" / MARK).read_bytes()
        store.write([entries(11, 30)])
        copy = as_if_killed(tmp_path / "raft")
    wal = copy / f"{FILE}-wal"
    (copy / MARK).write_bytes(mark)  # not written before the write was on disk
    whole = wal.read_bytes()
    for size in range(acknowledged, len(whole) - 1, 2222):
        wal.write_bytes(whole[:size] + os.urandom(300))
        with opened(as_if_killed(copy, f"torn-{size}")) as (_, stored):
            assert held(stored) == entries(1, 10).entries


def test_a_write_ahead_log_that_lost_what_was_acknowledged_is_refused(tmp_path: Path) -> None:
    with opened(tmp_path / "raft") as (store, _):
        store.write([PersistTerm(1, None), entries(1, 10)])
        store.write([entries(11, 30)])
        copy = as_if_killed(tmp_path / "raft")
    wal = copy / f"{FILE}-wal"
    wal.write_bytes(wal.read_bytes()[:-5000])
    text = refused(copy)
    assert "it ends with write 1, but 2 writes were acknowledged" in text
    wal.unlink(missing_ok=True)
    assert "writes were acknowledged" in refused(copy)


@pytest.mark.parametrize("data", [b"", b"junk", bytes(16), b"x" * 100])
def test_a_mark_that_cannot_be_read_says_nothing(tmp_path: Path, data: bytes) -> None:
    expected = filled(tmp_path)
    (tmp_path / MARK).write_bytes(data)
    with opened(tmp_path) as (_, stored):
        assert held(stored) == expected


# --- snapshots ------------------------------------------------------------------------------------


def keep(store: RaftStore, snapshot: Snapshot, contents: bytes) -> None:
    draft = store.draft()
    half = len(contents) // 2
    draft.write(contents[:half])
    draft.write(contents[half:])
    store.keep(draft, snapshot)


def with_snapshot(path: Path) -> tuple[Snapshot, Path]:
    snapshot = Snapshot(8, 3, SERVERS, 2, 5000)
    with opened(path) as (store, _):
        store.write([PersistTerm(3, None), entries(1, 10, term=3)])
        keep(store, snapshot, b"state" * 1000)
        store.write([PersistCompaction(6)])
    (file,) = (path / DIRECTORY).iterdir()
    return snapshot, file


def test_a_snapshot_is_there_when_the_store_is_opened_again(tmp_path: Path) -> None:
    snapshot, _ = with_snapshot(tmp_path)
    with opened(tmp_path) as (store, stored):
        assert stored.snapshot == snapshot
        assert stored.log.first_index == 7
        with store.open_contents(snapshot) as file:
            assert file.read(snapshot.size) == b"state" * 1000


def test_the_two_newest_snapshots_are_kept(tmp_path: Path) -> None:
    with opened(tmp_path) as (store, _):
        store.write([PersistTerm(3, None), entries(1, 100)])
        for index in (9, 20, 100):
            keep(store, Snapshot(index, 1, SERVERS, 1, 1), b"x")
        names = sorted(path.name for path in (tmp_path / DIRECTORY).iterdir())
        assert names == ["1-100.snapshot", "1-20.snapshot"]
        with pytest.raises(OSError, match="No such file"):
            store.open_contents(Snapshot(9, 1, SERVERS, 1, 1))
    with opened(tmp_path) as (_, stored):
        assert stored.snapshot == Snapshot(100, 1, SERVERS, 1, 1)


@pytest.mark.parametrize(
    ("damage", "what"),
    [
        (lambda path: overwrite(path, 100, b"X"), "checksum does not match"),
        (lambda path: overwrite(path, 5010, b"X"), "checksum does not match"),
        (lambda path: cut(path, path.stat().st_size - 1), "its end is missing"),
        (lambda path: cut(path, 3000), "its end is missing"),
        (lambda path: cut(path, 10), "it has 10 bytes"),
        (lambda path: path.rename(path.with_name("3-9.snapshot")), "describes itself as 3-8"),
    ],
    ids=["contents", "description", "end", "half", "head", "name"],
)
def test_a_damaged_snapshot_is_refused(
    tmp_path: Path, damage: Callable[[Path], object], what: str
) -> None:
    with_snapshot(tmp_path)
    (file,) = (tmp_path / DIRECTORY).iterdir()
    damage(file)
    text = refused(tmp_path)
    assert what in text
    assert "/snapshots/3-" in text


def test_an_older_snapshot_is_not_taken_in_place_of_a_damaged_one(tmp_path: Path) -> None:
    with opened(tmp_path) as (store, _):
        store.write([PersistTerm(3, None), entries(1, 100)])
        for index in (20, 100):
            keep(store, Snapshot(index, 1, SERVERS, 1, 1), b"x")
    overwrite(tmp_path / DIRECTORY / "1-100.snapshot", 0, b"y")
    assert "1-100.snapshot" in refused(tmp_path)


def test_a_snapshot_that_is_missing_is_noticed(tmp_path: Path) -> None:
    _, file = with_snapshot(tmp_path)
    file.unlink()
    assert "entries between are missing" in refused(tmp_path)


def test_a_log_that_is_missing_beside_a_snapshot_is_noticed(tmp_path: Path) -> None:
    with_snapshot(tmp_path)
    (tmp_path / FILE).unlink()
    (tmp_path / MARK).unlink()
    assert "the log or snapshot has a later one" in refused(tmp_path)


def test_what_is_no_snapshot_is_named(tmp_path: Path) -> None:
    with_snapshot(tmp_path)
    (tmp_path / DIRECTORY / "2-8195-1612345678901").mkdir()  # as Nomad names its own
    assert "2-8195-1612345678901 is no snapshot of this program" in refused(tmp_path)


def test_drafts_of_an_earlier_run_are_cleared_away(tmp_path: Path) -> None:
    snapshot, _ = with_snapshot(tmp_path)
    with opened(tmp_path) as (store, _):
        store.draft().write(b"half of it")
        assert len(list((tmp_path / DIRECTORY).iterdir())) == 2
        leftover = tmp_path / DIRECTORY / "99-1.draft"
        leftover.write_bytes(b"of a process that was killed")
    with opened(tmp_path) as (_, stored):
        assert stored.snapshot == snapshot
        assert len(list((tmp_path / DIRECTORY).iterdir())) == 1


@pytest.mark.parametrize("is_on_disk", [True, False])
def test_a_draft_that_was_thrown_away_takes_no_more_and_is_not_kept(
    tmp_path: Path, is_on_disk: bool
) -> None:
    store = open_store(str(tmp_path) if is_on_disk else "")
    try:
        draft = store.draft()
        draft.write(b"abc")
        draft.discard()
        draft.write(b"def")
        draft.discard()
        with pytest.raises(OSError, match=r"thrown away|a snapshot of"):
            store.keep(draft, Snapshot(1, 1, SERVERS, 1, 3))
        short = store.draft()
        short.write(b"ab")
        with pytest.raises(OSError, match="a snapshot of 2 bytes"):
            store.keep(short, Snapshot(1, 1, SERVERS, 1, 3))
        short.discard()
    finally:
        store.close()


def test_a_store_in_memory_keeps_the_newest_snapshot() -> None:
    store = MemoryStore()
    assert (store.load().term, store.is_instant) == (0, True)
    store.write([PersistTerm(3, B), entries(1, 10)])
    first, second = Snapshot(1, 1, SERVERS, 1, 3), Snapshot(2, 1, SERVERS, 1, 3)
    keep(store, first, b"abc")
    keep(store, second, b"def")
    assert store.open_contents(second).read() == b"def"
    with pytest.raises(OSError, match="not kept any more"):
        store.open_contents(first)
    store.close()


# --- power cuts -----------------------------------------------------------------------------------


@pytest.mark.live
def test_a_log_survives_its_writer_being_killed(tmp_path: Path) -> None:
    found = subprocess.run(
        [sys.executable, "-m", "tests.live.power_cut", "--kills", "25", "--directory", tmp_path],
        capture_output=True,
        text=True,
        cwd=ROOT,
        timeout=120,
    )
    assert found.returncode == 0, found.stdout + found.stderr
    assert "25 kills" in found.stdout


def test_the_database_is_closed_when_it_is_refused(tmp_path: Path) -> None:
    filled(tmp_path)
    change(tmp_path, "DELETE FROM state")
    for _ in range(3):
        with pytest.raises(UsageError, match="0 heads"):
            RaftDatabase(tmp_path)
