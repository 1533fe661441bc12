"""A server's Raft log, term and vote in a SQLite file, with checksums, and what it promised.

What is durable when. `write` makes all its changes in one transaction and returns when they have
reached the disk: SQLite appends them to its write-ahead log and synchronises that file
(`synchronous=FULL`) before the commit counts. So after a crash or a power cut the file holds every
write that returned, and of one that did not, all or nothing. The write-ahead log is folded into the
file when it has grown by 4 MiB; SQLite synchronises both around that.

A write-ahead log that was cut off or damaged later looks to SQLite like one whose last writes did
not finish: it would drop them without a word. Therefore every transaction counts up a number, and
behind each commit that number is put into a small file, the mark, without synchronising it. The
mark can be older than the log, never newer, however the power fails. A log that is behind its mark
has lost what was promised to others.

Every row has a checksum, and one more row says which entries there are. A file that is not ours, or
is damaged, is not opened: a server does not start on half a log.

The file is created under another name and given its own when it is whole. It is locked while open.
"""

from __future__ import annotations

import os
import sqlite3
import struct
import zlib
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final, NamedTuple, NoReturn

from swimnomad.errors import MalformedMessage, UsageError
from swimnomad.raft.effects import (
    PersistCompaction,
    PersistEntries,
    PersistTerm,
    PersistTruncation,
)
from swimnomad.raft.log import LogEntry, MemoryLog
from swimnomad.raft.servers import ServerAddress
from swimnomad.rpc.raft_entries import entry_data, entry_from_data_untrusted

FILE: Final = "raft.db"
MARK: Final = "raft.mark"
APPLICATION_ID: Final = 0x53774E52
FORMAT: Final = 1
CHECKPOINT_BYTES: Final = 4 * 1024 * 1024
_MAGIC: Final = b"SQLite format 3\0"
_BOLT_MAGIC: Final = bytes.fromhex("edda0ced")
_MARK: Final = struct.Struct(">4sQI")
_MARK_MAGIC: Final = b"SnRm"
_ROW: Final = struct.Struct(">QQB")
_SCHEMA: Final = f"""
    PRAGMA application_id = {APPLICATION_ID};
    PRAGMA user_version = {FORMAT};
    CREATE TABLE state (
        id INTEGER PRIMARY KEY CHECK (id = 1),
        sequence INTEGER NOT NULL, term INTEGER NOT NULL, voted_for TEXT NOT NULL,
        first INTEGER NOT NULL, last INTEGER NOT NULL, checksum INTEGER NOT NULL
    );
    CREATE TABLE log (
        number INTEGER PRIMARY KEY, term INTEGER NOT NULL, kind INTEGER NOT NULL,
        data BLOB NOT NULL, checksum INTEGER NOT NULL
    );
"""

Change = PersistTerm | PersistEntries | PersistTruncation | PersistCompaction


class Head(NamedTuple):
    """The row that stands for the whole: how many writes there were, and what is in the log.

    `first` to `last` are the entries held; none if `last` is `first` - 1.
    """

    sequence: int = 0
    term: int = 0
    voted_for: ServerAddress = ""
    first: int = 1
    last: int = 0

    @property
    def checksum(self) -> int:
        """Of the other columns."""
        return zlib.crc32(repr(tuple(self)).encode())


def recovery(directory: Path) -> str:
    """What to do about a log that cannot be used, as the end of a sentence."""
    return (
        f"remove this server from the Raft peers, move {directory} away and let it join again,"
        " or put a copy back"
    )


class RaftDatabase:
    """The durable log of one server. Methods may be called from any thread, one at a time.

    Attributes:
        head: What is in it.
    """

    def __init__(self, directory: Path) -> None:
        """Open the log of a server, or make a new one.

        Raises:
            UsageError: The file cannot be used: foreign, damaged, in use, not readable.
        """
        self._directory = directory
        self._path = directory / FILE
        self._is_broken = False
        self._written = 0  # bytes since the last checkpoint, roughly
        self._connection: sqlite3.Connection | None = None
        self.head = Head()
        try:
            mark = self._read_mark()
            if not self._path.exists():
                if mark:
                    self._refuse(f"it is missing, but {MARK} says that there were {mark} writes")
                self._create()
            self._check_magic()
            self._connection = self._connect()
            self.head = self._read_head()
        except sqlite3.Error as error:
            self.close()
            if "locked" in str(error):
                raise UsageError(
                    f"{self._path} is in use by another process: stop it first"
                ) from None
            self._refuse(str(error))
        except OSError as error:
            self.close()
            raise UsageError(f"cannot use the Raft log {self._path}: {error}") from None
        except UsageError:
            self.close()
            raise
        if self.head.sequence < mark:
            self.close()
            self._refuse(
                f"it ends with write {self.head.sequence}, but {mark} writes were acknowledged"
            )
        self._mark = os.open(directory / MARK, os.O_WRONLY | os.O_CREAT, 0o600)

    def load(self) -> MemoryLog:
        """The entries; what the last run left in the write-ahead log is folded in.

        Raises:
            UsageError: Something in the file is damaged.
        """
        head = self.head
        entries: list[LogEntry] = []
        try:
            (verdict,) = self._connected.execute("PRAGMA quick_check(1)").fetchone()
            if verdict != "ok":
                self._refuse(str(verdict).replace("\n", " "))
            expected = head.first
            for row in self._connected.execute("SELECT * FROM log ORDER BY number"):
                entries.append(self._entry(row, expected))
                expected += 1
        except sqlite3.Error as error:
            self._refuse(str(error))
        if expected != head.last + 1:
            self._refuse(f"it ends with entry {expected - 1}, but should with {head.last}")
        with suppress(OSError):  # then the first write will tell
            self.checkpoint()
        return MemoryLog(entries, base=head.first - 1)

    def write(self, changes: Sequence[Change]) -> None:
        """Make changes durable, in their order: all of them or none.

        Raises:
            OSError: They are not durable. Nothing can be written any more: what reached the disk
                is known only after the file was opened anew.
        """
        if self._is_broken:
            raise OSError(f"an earlier write to {self._path} failed")
        connection, head = self._connected, self.head
        try:
            connection.execute("BEGIN IMMEDIATE")
            for change in changes:
                head = self._apply(connection, head, change)
            head = head._replace(sequence=head.sequence + 1)
            self._write_head(connection, head)
            connection.execute("COMMIT")
        except sqlite3.Error as error:
            self._is_broken = True
            with suppress(sqlite3.Error):
                connection.execute("ROLLBACK")
            raise OSError(f"cannot write {self._path}: {error}") from None
        self.head = head
        self._note(head.sequence)
        if self._written >= CHECKPOINT_BYTES:
            self.checkpoint()

    def checkpoint(self) -> None:
        """Fold the write-ahead log into the file.

        Raises:
            OSError: That failed, and so will writes.
        """
        try:
            self._connected.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
        except sqlite3.Error as error:
            self._is_broken = True
            raise OSError(f"cannot write {self._path}: {error}") from None
        self._written = 0

    def close(self) -> None:
        """Close the file; it may be opened again at once."""
        if self._connection is not None:
            with suppress(sqlite3.Error):
                self._connection.close()
            self._connection = None
            with suppress(AttributeError, OSError):
                os.close(self._mark)

    # --- opening ----------------------------------------------------------------------------------

    @property
    def _connected(self) -> sqlite3.Connection:
        assert self._connection is not None, "the log is closed"
        return self._connection

    def _create(self) -> None:
        draft = self._path.with_name(f"{FILE}.new")
        for leftover in (draft, draft.with_name(f"{FILE}.new-journal")):
            leftover.unlink(missing_ok=True)
        os.close(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
        connection = sqlite3.connect(draft, isolation_level=None)
        try:
            connection.execute("PRAGMA synchronous = FULL")
            connection.executescript(_SCHEMA)
            self._write_head(connection, Head())
        finally:
            connection.close()
        draft.replace(self._path)
        sync_directory(self._directory)

    def _check_magic(self) -> None:
        with self._path.open("rb") as file:
            start = file.read(64)
        if start.startswith(_MAGIC):
            return
        if start[16:20] == _BOLT_MAGIC:
            raise UsageError(
                f"{self._path} is a log of Nomad's own, which swimnomad cannot read: give the"
                " server another data_dir"
            )
        self._refuse("it is no SQLite file")

    def _connect(self) -> sqlite3.Connection:
        connection = sqlite3.connect(
            self._path, timeout=0, isolation_level=None, check_same_thread=False
        )
        try:
            connection.execute("PRAGMA locking_mode = EXCLUSIVE")
            (found,) = connection.execute("PRAGMA application_id").fetchone()
            if found != APPLICATION_ID:
                raise UsageError(
                    f"{self._path} belongs to another program: give the server another data_dir"
                )
            (version,) = connection.execute("PRAGMA user_version").fetchone()
            if version != FORMAT:
                raise UsageError(
                    f"{self._path} has format {version}, this program writes {FORMAT}: use the"
                    " program that wrote it, or give the server another data_dir"
                )
            for setting in (
                "journal_mode = WAL",
                "synchronous = FULL",
                "wal_autocheckpoint = 0",
                "cell_size_check = ON",
            ):
                connection.execute(f"PRAGMA {setting}").fetchone()
        except BaseException:
            connection.close()
            raise
        return connection

    def _read_head(self) -> Head:
        rows = self._connected.execute(
            "SELECT sequence, term, voted_for, first, last, checksum FROM state"
        ).fetchall()
        if len(rows) != 1:
            self._refuse(f"it has {len(rows)} heads")
        *columns, checksum = rows[0]
        head = Head(*columns)
        if head.checksum != checksum:
            self._refuse("the checksum of its head does not match")
        return head

    def _read_mark(self) -> int:
        """How many writes were acknowledged at least; a mark that cannot be read says nothing."""
        try:
            data = (self._directory / MARK).read_bytes()
        except FileNotFoundError:
            return 0
        if len(data) != _MARK.size:
            return 0
        magic, sequence, checksum = _MARK.unpack(data)
        is_whole = magic == _MARK_MAGIC and checksum == zlib.crc32(data[:-4])
        return int(sequence) if is_whole else 0

    def _refuse(self, what: str) -> NoReturn:
        raise UsageError(
            f"the Raft log {self._path} is damaged: {what}; {recovery(self._directory)}"
        )

    def _entry(self, row: Sequence[object], expected: int) -> LogEntry:
        number, term, kind, data, checksum = row
        if number != expected:
            self._refuse(f"entry {number} stands where {expected} belongs")
        if not (isinstance(term, int) and isinstance(kind, int) and isinstance(data, bytes)):
            self._refuse(f"entry {expected} cannot be read")
        try:
            is_whole = checksum == _checksum(expected, term, kind, data)
            entry = entry_from_data_untrusted(expected, term, kind, data) if is_whole else None
        except (MalformedMessage, struct.error):
            entry = None
        if entry is None:
            self._refuse(f"the checksum of entry {expected} does not match")
        return entry

    # --- writing ----------------------------------------------------------------------------------

    def _apply(self, connection: sqlite3.Connection, head: Head, change: Change) -> Head:
        """One change within the transaction; the head after it."""
        match change:
            case PersistTerm(term, voted_for):
                return head._replace(term=term, voted_for=voted_for or "")
            case PersistTruncation(first):
                connection.execute("DELETE FROM log WHERE number >= ?", (first,))
                return head._replace(last=max(min(head.last, first - 1), head.first - 1))
            case PersistCompaction(last):
                if last < head.first:
                    return head
                connection.execute("DELETE FROM log WHERE number <= ?", (last,))
                return head._replace(first=last + 1, last=max(head.last, last))
            case PersistEntries(entries):
                if not entries:
                    return head
                assert entries[0].index == head.last + 1, f"{entries[0].index} after {head.last}"
                connection.executemany(
                    "INSERT INTO log VALUES (?, ?, ?, ?, ?)", map(self._row, entries)
                )
                return head._replace(last=entries[-1].index)

    def _row(self, entry: LogEntry) -> tuple[int, int, int, bytes, int]:
        data = entry_data(entry)
        self._written += len(data) + 64
        kind = int(entry.kind)
        return (
            entry.index,
            entry.term,
            kind,
            data,
            _checksum(entry.index, entry.term, kind, data),
        )

    def _write_head(self, connection: sqlite3.Connection, head: Head) -> None:
        self._written += 4096
        connection.execute(
            "INSERT OR REPLACE INTO state VALUES (1, ?, ?, ?, ?, ?, ?)", (*head, head.checksum)
        )

    def _note(self, sequence: int) -> None:
        """Put a number into the mark. It only helps to find damage: failing is no failure."""
        data = _MARK.pack(_MARK_MAGIC, sequence, 0)[:-4]
        with suppress(OSError):
            os.pwrite(self._mark, data + zlib.crc32(data).to_bytes(4, "big"), 0)


def _checksum(number: int, term: int, kind: int, data: bytes) -> int:
    return zlib.crc32(data, zlib.crc32(_ROW.pack(number, term, kind)))


def sync_directory(directory: Path) -> None:
    """Make names in a directory durable."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
