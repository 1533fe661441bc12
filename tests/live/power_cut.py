"""Kills a writer of the Raft log at random moments and looks whether it keeps its word.

    python -m tests.live.power_cut --kills 200

A child process writes entries, terms, truncations, compactions and snapshots, and acknowledges each
write once it has returned. The parent kills it (SIGKILL) at a random moment, and in every second
round also does what a power cut does to what was not synchronised: the end of the write-ahead log
behind the last acknowledged write is cut off at a random place or replaced by noise. Then the store
is opened and must hold all that was acknowledged: either exactly that, or that and the one write
that was under way. The next child goes on from there.
"""

from __future__ import annotations

import argparse
import os
import random
import signal
import sys
import tempfile
import time
from pathlib import Path

from swimnomad.live.raft_database import FILE, MARK, Change
from swimnomad.live.raft_store import DiskStore
from swimnomad.raft.effects import (
    PersistCompaction,
    PersistEntries,
    PersistTerm,
    PersistTruncation,
)
from swimnomad.raft.log import LogEntry
from swimnomad.raft.servers import Configuration, Server
from swimnomad.raft.snapshot import Snapshot

SERVERS = Configuration((Server("127.0.0.1:4647", "127.0.0.1:4647"),))
WRITES_MAX = 60


class Model:
    """What the log should hold; both processes draw the same writes from the same seed."""

    def __init__(self) -> None:
        self.term = 1
        self.voted_for: str | None = None
        self.entries: dict[int, LogEntry] = {}
        self.first = 1
        self.last = 0
        self.snapshot: Snapshot | None = None

    def copy(self) -> Model:
        """The same once more."""
        other = Model()
        other.__dict__.update(self.__dict__)
        other.entries = dict(self.entries)
        return other

    def draw(self, rng: random.Random) -> tuple[list[Change], Snapshot | None]:
        """The next write, and a snapshot to keep before it."""
        changes: list[Change] = []
        snapshot = None
        kind = rng.random()
        if kind < 0.15:
            self.term += 1
            self.voted_for = rng.choice((None, "127.0.0.1:4647", "127.0.0.2:4647"))
            changes.append(PersistTerm(self.term, self.voted_for))
        elif kind < 0.25 and self.last - self.first > 20:
            self.last -= rng.randint(1, 10)
            changes.append(PersistTruncation(self.last + 1))
            self._forget()
        elif kind < 0.35 and self.last - self.first > 60:
            newest = self.first + 30
            snapshot = Snapshot(newest, self.entries[newest].term, SERVERS, 1, 5000)
            self.snapshot = snapshot
            self.first = newest - rng.randint(0, 10)
            changes.append(PersistCompaction(self.first - 1))
            self._forget()
        count = rng.choice((1, 1, 1, 2, 8, 64))
        size = rng.choice((0, 30, 300, 3000))
        added = tuple(
            LogEntry(self.last + 1 + number, self.term, data=rng.randbytes(size))
            for number in range(count)
        )
        changes.append(PersistEntries(added))
        self.entries.update((entry.index, entry) for entry in added)
        self.last += count
        return changes, snapshot

    def _forget(self) -> None:
        self.entries = {
            index: entry
            for index, entry in self.entries.items()
            if self.first <= index <= self.last
        }

    def agrees_with(self, store: DiskStore) -> str:
        """What is different on disk; empty if nothing is."""
        stored = store.load()
        log = stored.log
        found = []
        if log.last_index >= log.first_index:
            found = list(log.entries(log.first_index, log.last_index))
        if (log.first_index, log.last_index) != (self.first, self.last):
            return f"holds {log.first_index}..{log.last_index}, not {self.first}..{self.last}"
        if found != [self.entries[index] for index in range(self.first, self.last + 1)]:
            return "holds other entries"
        if (stored.term, stored.voted_for) != (self.term, self.voted_for):
            return f"has term {stored.term} and vote {stored.voted_for}"
        newest = stored.snapshot
        if self.snapshot and (newest is None or newest.last_index < self.snapshot.last_index):
            return f"has the snapshot {newest}"
        return ""


def keep(store: DiskStore, snapshot: Snapshot) -> None:
    draft = store.draft()
    for _ in range(5):
        draft.write(bytes(1000))
    store.keep(draft, snapshot)


def write_until_killed(directory: Path, model: Model, seed: str, acknowledge: int) -> None:
    """The child: write, acknowledge, write, …"""
    store = DiskStore(directory)
    store.load()
    rng = random.Random(seed)
    for _ in range(WRITES_MAX):
        changes, snapshot = model.draw(rng)
        if snapshot is not None:
            keep(store, snapshot)
        store.write(changes)
        wal = (directory / f"{FILE}-wal").stat().st_size
        mark = (directory / MARK).read_bytes().hex()
        os.write(acknowledge, f"{wal}\n{mark}\n".encode())


def run_child(directory: Path, model: Model, seed: str, patience: float) -> list[tuple[int, bytes]]:
    """Kill a child after `patience` seconds of writing; what it acknowledged: WAL size and mark."""
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        status = 1
        try:
            os.close(reading)
            write_until_killed(directory, model.copy(), seed, writing)
            status = 0
        finally:
            os._exit(status)
    os.close(writing)
    data = bytearray(os.read(reading, 65536))  # the first write is through: the clock starts
    time.sleep(patience)
    os.kill(child, signal.SIGKILL)
    while piece := os.read(reading, 65536):
        data += piece
    os.close(reading)
    _, status = os.waitpid(child, 0)
    assert status in (0, signal.SIGKILL), f"the writer failed: {status}"
    lines = bytes(data).split(b"\n")
    return [
        (int(lines[place]), bytes.fromhex(lines[place + 1].decode()))
        for place in range(0, len(lines) - 2, 2)
    ]


def tear(directory: Path, acknowledged: tuple[int, bytes], rng: random.Random) -> bool:
    """Do to unsynchronised bytes what a power cut may do; whether there were any."""
    size, mark = acknowledged
    wal = directory / f"{FILE}-wal"
    whole = wal.read_bytes() if wal.exists() else b""
    if len(whole) <= size:
        return False
    kept = rng.randint(size, len(whole))
    noise = rng.randbytes(rng.choice((0, len(whole) - kept)))
    wal.write_bytes(whole[:kept] + noise)
    if kept < len(whole):  # the mark follows the synchronisation that did not happen
        (directory / MARK).write_bytes(mark)
    return True


def run_round(directory: Path, model: Model, number: int, rng: random.Random) -> tuple[Model, bool]:
    """One kill; what the log holds after it.

    Raises:
        AssertionError: The log does not keep its word.
    """
    seed = f"{rng.random()}"
    acknowledged = run_child(directory, model, seed, rng.uniform(0, 0.03))
    is_torn = bool(number % 2) and bool(acknowledged) and tear(directory, acknowledged[-1], rng)
    draws = random.Random(seed)
    certain = model.copy()
    for _ in acknowledged:
        certain.draw(draws)
    possible = certain.copy()
    if len(acknowledged) < WRITES_MAX:
        possible.draw(draws)
    store = DiskStore(directory)
    try:
        problem = certain.agrees_with(store)
        if problem and (other := possible.agrees_with(store)):
            raise AssertionError(
                f"round {number}: after {len(acknowledged)} acknowledged writes the log {problem};"
                f" with the one under way it {other}"
            )
    finally:
        store.close()
    return (possible if problem else certain), is_torn


def main() -> None:
    """Run the rounds; tell how many there were."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--kills", type=int, default=200)
    parser.add_argument("--seed", type=int, default=None)
    parser.add_argument("--directory", type=Path, default=None)
    options = parser.parse_args()
    seed = random.randrange(10**9) if options.seed is None else options.seed
    rng = random.Random(seed)
    start = time.monotonic()
    with tempfile.TemporaryDirectory() as place:
        directory = Path(options.directory or place) / "raft"
        model = Model()
        torn = 0
        store = DiskStore(directory)
        store.write([PersistTerm(1, None)])
        store.close()
        for number in range(options.kills):
            try:
                model, was_torn = run_round(directory, model, number, rng)
            except Exception as error:
                sys.exit(f"seed {seed}: {error}")
            torn += was_torn
    seconds = time.monotonic() - start
    print(
        f"{options.kills} kills, {torn} with a torn end, seed {seed}: the log holds"
        f" {model.first}..{model.last} after {seconds:.1f} s; every acknowledged write was there"
    )


if __name__ == "__main__":
    main()
