"""Snapshots of the state machine as files: the contents, then what describes and protects them.

A file is written under another name, synchronised, given its own, and the directory synchronised:
what has its name is whole. Behind the contents stand a description (JSON), a checksum of both, and
the sizes; all of it is checked when a server starts. The two newest are kept.
"""

from __future__ import annotations

import hashlib
import itertools
import os
import re
import struct
import threading
from pathlib import Path
from typing import BinaryIO, Final, NoReturn

import msgspec

from swimnomad.errors import MalformedMessage, UsageError
from swimnomad.live.raft_database import recovery, sync_directory
from swimnomad.names import Value
from swimnomad.raft.snapshot import Snapshot
from swimnomad.rpc.raft_entries import decode_configuration_untrusted, encode_configuration

DIRECTORY: Final = "snapshots"
KEPT: Final = 2
_NAME: Final = re.compile(r"(\d{1,20})-(\d{1,20})\.snapshot")
_DRAFT_SUFFIX: Final = ".draft"
_MAGIC: Final = b"SnRsnap1"
_TAIL: Final = struct.Struct(">8sIQ32s")
_PIECE: Final = 1024 * 1024
_DESCRIPTION_BYTES_MAX: Final = 1024 * 1024


class _Description(Value, frozen=True):
    last_index: int
    last_term: int
    configuration_index: int
    configuration: bytes


class SnapshotDraft:
    """Contents put aside: kept as a snapshot later, or thrown away. Not for two threads at once."""

    def __init__(self, path: Path) -> None:
        """Begin a file.

        Raises:
            OSError: It cannot be written.
        """
        self._path = path
        self._file: BinaryIO | None = path.open("xb")
        self._digest = hashlib.sha256()
        self.size = 0

    @property
    def is_open(self) -> bool:
        """Whether it was neither kept nor thrown away."""
        return self._file is not None

    def write(self, data: bytes) -> None:
        """Add bytes; ignored once the draft was thrown away.

        Raises:
            OSError: They cannot be written.
        """
        if self._file is not None:
            self._file.write(data)
            self._digest.update(data)
            self.size += len(data)

    def finish(self, path: Path, snapshot: Snapshot) -> None:
        """Describe the contents and make the file durable under its own name.

        Raises:
            OSError: It cannot be written, or the contents are not as long as described.
        """
        if self._file is None or self.size != snapshot.size:
            raise OSError(f"a snapshot of {self.size} bytes where {snapshot.size} were described")
        description = msgspec.json.encode(
            _Description(
                snapshot.last_index,
                snapshot.last_term,
                snapshot.configuration_index,
                encode_configuration(snapshot.configuration),
            )
        )
        self._digest.update(description)
        tail = _TAIL.pack(_MAGIC, len(description), self.size, self._digest.digest())
        self._file.write(description + tail)
        self._file.flush()
        os.fsync(self._file.fileno())
        self._file.close()
        self._file = None
        self._path.replace(path)
        sync_directory(path.parent)

    def discard(self) -> None:
        """Throw the contents away."""
        if self._file is not None:
            file, self._file = self._file, None
            file.close()
            self._path.unlink(missing_ok=True)


class SnapshotFiles:
    """The snapshots in a server's directory."""

    def __init__(self, directory: Path) -> None:
        """Look at what is there.

        Args:
            directory: That of Raft; made already.

        Raises:
            UsageError: The directory cannot be used or holds something foreign.
        """
        self._raft = directory
        self._directory = directory / DIRECTORY
        self._numbers = itertools.count(1)
        self._drafts: list[SnapshotDraft] = []
        self._lock = threading.Lock()
        try:
            self._directory.mkdir(mode=0o700, exist_ok=True)
            for path in self._directory.iterdir():
                if path.name.endswith(_DRAFT_SUFFIX):
                    path.unlink()
                elif not _NAME.fullmatch(path.name) and not path.name.startswith("."):
                    raise UsageError(
                        f"{path} is no snapshot of this program: move it away, or give the server"
                        " another data_dir"
                    )
        except OSError as error:
            raise UsageError(f"cannot use {self._directory}: {error}") from None

    def newest(self) -> Snapshot | None:
        """The newest snapshot, checked from its first byte to its last; None if there is none.

        Raises:
            UsageError: It is damaged. An older one is not taken in its place: what lies between
                may be nowhere else.
        """
        paths = self._paths()
        return self._read(paths[-1]) if paths else None

    def draft(self) -> SnapshotDraft:
        """A place for contents.

        Raises:
            OSError: There is none.
        """
        name = f"{os.getpid()}-{next(self._numbers)}{_DRAFT_SUFFIX}"
        draft = SnapshotDraft(self._directory / name)
        with self._lock:  # one snapshot may be taken while another arrives
            self._drafts = [other for other in self._drafts if other.is_open]
            self._drafts.append(draft)
        return draft

    def keep(self, draft: SnapshotDraft, snapshot: Snapshot) -> None:
        """Make a draft durable as `snapshot`, and let go of those it outdates.

        Raises:
            OSError: It is not durable.
        """
        draft.finish(self._path(snapshot), snapshot)
        for path in self._paths()[:-KEPT]:
            path.unlink(missing_ok=True)

    def open_contents(self, snapshot: Snapshot) -> BinaryIO:
        """A file whose first `snapshot.size` bytes are the contents.

        Raises:
            OSError: It is not there any more.
        """
        return self._path(snapshot).open("rb")

    def close(self) -> None:
        """Throw all drafts away."""
        for draft in self._drafts:
            draft.discard()

    def _path(self, snapshot: Snapshot) -> Path:
        return self._directory / f"{snapshot.last_term}-{snapshot.last_index}.snapshot"

    def _paths(self) -> list[Path]:
        """The files, oldest first."""
        found = []
        for path in self._directory.iterdir():
            name = _NAME.fullmatch(path.name)
            if name is not None:
                found.append((int(name[2]), int(name[1]), path))
        return [path for *_, path in sorted(found)]

    def _read(self, path: Path) -> Snapshot:
        try:
            with path.open("rb") as file:
                whole = os.fstat(file.fileno()).st_size
                if whole < _TAIL.size:
                    self._refuse(path, f"it has {whole} bytes")
                file.seek(-_TAIL.size, os.SEEK_END)
                magic, length, size, digest = _TAIL.unpack(file.read())
                if magic != _MAGIC or size + length + _TAIL.size != whole:
                    self._refuse(path, "its end is missing or is not its end")
                if length > _DESCRIPTION_BYTES_MAX:
                    self._refuse(path, f"its description has {length} bytes")
                file.seek(0)
                found = hashlib.sha256()
                left = size + length
                while left:
                    piece = file.read(min(left, _PIECE))
                    found.update(piece)
                    left -= len(piece)
                if found.digest() != digest:
                    self._refuse(path, "its checksum does not match")
                file.seek(size)
                return self._described(path, file.read(length), size)
        except OSError as error:
            raise UsageError(f"cannot read the snapshot {path}: {error}") from None

    def _described(self, path: Path, description: bytes, size: int) -> Snapshot:
        try:
            found = msgspec.json.decode(description, type=_Description)
            configuration = decode_configuration_untrusted(found.configuration)
        except (msgspec.DecodeError, MalformedMessage) as error:
            self._refuse(path, f"its description cannot be read: {error}")
        snapshot = Snapshot(
            found.last_index, found.last_term, configuration, found.configuration_index, size
        )
        if self._path(snapshot) != path:
            self._refuse(path, f"it describes itself as {self._path(snapshot).name}")
        return snapshot

    def _refuse(self, path: Path, what: str) -> NoReturn:
        raise UsageError(f"the snapshot {path} is damaged: {what}; {recovery(self._raft)}")
