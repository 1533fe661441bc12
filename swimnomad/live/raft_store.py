"""Where a server keeps what Raft must not forget: log, term, vote and snapshots.

On disk they lie in `server/raft` of the data directory: `raft.db` (see `raft_database`, which says
what is durable when) and `snapshots` (see `raft_snapshots`). Without a data directory they are in
memory, and a server that stops forgets them.

Everything here may wait for the disk, so the event loop calls it in a worker thread: changes one
call at a time, the contents of snapshots beside them.

Source: nomad-agent.md §13.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import BinaryIO, Protocol

from swimnomad.errors import UsageError
from swimnomad.live.raft_database import Change, RaftDatabase, recovery
from swimnomad.live.raft_snapshots import SnapshotFiles
from swimnomad.raft.snapshot import Snapshot
from swimnomad.raft.stored import Stored


class Draft(Protocol):
    """Contents of a snapshot, put aside."""

    size: int

    def write(self, data: bytes) -> None:
        """Add bytes; ignored once the draft was thrown away.

        Raises:
            OSError: They cannot be kept.
        """
        ...

    def discard(self) -> None:
        """Throw the contents away."""
        ...


class RaftStore(Protocol):
    """What storage does. Methods other than `load` and `close` raise OSError if they fail."""

    @property
    def is_instant(self) -> bool:
        """Whether nothing here ever waits."""
        ...

    def load(self) -> Stored:
        """What was there when the store was opened; called once, before anything is written.

        Raises:
            UsageError: Something is damaged; names the file and how to recover.
        """
        ...

    def write(self, changes: Sequence[Change]) -> None:
        """Make changes durable, in their order: all of them or none."""
        ...

    def draft(self) -> Draft:
        """A place to put a snapshot's contents."""
        ...

    def keep(self, draft: Draft, snapshot: Snapshot) -> None:
        """Make a draft durable as the newest snapshot; `snapshot.size` must be its size."""
        ...

    def open_contents(self, snapshot: Snapshot) -> BinaryIO:
        """A file whose first `snapshot.size` bytes are the contents."""
        ...

    def close(self) -> None:
        """Let go of everything."""
        ...


class DiskStore:
    """A store in a directory."""

    is_instant = False

    def __init__(self, directory: Path) -> None:
        """Open what is there, or begin anew.

        Args:
            directory: `server/raft` of the data directory; made if it is missing.

        Raises:
            UsageError: Something cannot be used; names the file and how to recover.
        """
        try:
            directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        except OSError as error:
            raise UsageError(f"cannot create the Raft directory {directory}: {error}") from None
        self._directory = directory
        self._database = RaftDatabase(directory)  # locked from here on, the snapshots with it
        try:
            self._files = SnapshotFiles(directory)
            self._newest = self._files.newest()
        except UsageError:
            self._database.close()
            raise

    def load(self) -> Stored:
        """See `RaftStore`."""
        log = self._database.load()
        head = self._database.head
        stored = Stored(head.term, head.voted_for or None, log, self._newest)
        try:
            stored.check()
        except UsageError as error:
            raise UsageError(
                f"the Raft state in {self._directory} is not whole: {error}; "
                f"{recovery(self._directory)}"
            ) from None
        return stored

    def write(self, changes: Sequence[Change]) -> None:
        """See `RaftStore`."""
        self._database.write(changes)

    def draft(self) -> Draft:
        """See `RaftStore`."""
        return self._files.draft()

    def keep(self, draft: Draft, snapshot: Snapshot) -> None:
        """See `RaftStore`."""
        self._files.keep(draft, snapshot)  # type: ignore[arg-type]  # one of ours

    def open_contents(self, snapshot: Snapshot) -> BinaryIO:
        """See `RaftStore`."""
        return self._files.open_contents(snapshot)

    def close(self) -> None:
        """See `RaftStore`."""
        self._files.close()
        self._database.close()


class _MemoryDraft:
    """Contents in memory."""

    def __init__(self) -> None:
        self._data: bytearray | None = bytearray()
        self.size = 0

    def write(self, data: bytes) -> None:
        if self._data is not None:
            self._data += data
            self.size += len(data)

    def discard(self) -> None:
        self._data = None

    def contents(self) -> bytes:
        if self._data is None:
            raise OSError("the draft was thrown away")
        return bytes(self._data)


class MemoryStore:
    """A store that forgets everything; the log itself is the node's."""

    is_instant = True

    def __init__(self) -> None:
        self._newest: tuple[Snapshot, bytes] | None = None

    def load(self) -> Stored:
        """See `RaftStore`."""
        return Stored()

    def write(self, changes: Sequence[Change]) -> None:
        """See `RaftStore`."""

    def draft(self) -> Draft:
        """See `RaftStore`."""
        return _MemoryDraft()

    def keep(self, draft: Draft, snapshot: Snapshot) -> None:
        """See `RaftStore`."""
        assert isinstance(draft, _MemoryDraft)
        contents = draft.contents()
        if len(contents) != snapshot.size:
            raise OSError(f"a snapshot of {len(contents)} bytes, described as {snapshot.size}")
        self._newest = snapshot, contents

    def open_contents(self, snapshot: Snapshot) -> BinaryIO:
        """See `RaftStore`."""
        if self._newest is None or self._newest[0] != snapshot:
            raise OSError(f"the snapshot at {snapshot.last_index} is not kept any more")
        return io.BytesIO(self._newest[1])

    def close(self) -> None:
        """See `RaftStore`."""


def open_store(data_dir: str) -> RaftStore:
    """The store of a server: on disk if it has a data directory.

    Raises:
        UsageError: Something on disk cannot be used; names the file and how to recover.
    """
    return DiskStore(Path(data_dir) / "server" / "raft") if data_dir else MemoryStore()
