"""Carries out what a Raft node asks for, in order, and waits for the disk without stopping anybody.

The effects of all inputs form one stream. When a `Persist…` comes to its head, a worker thread
writes it, and nothing behind it happens until it is durable. Meanwhile the node goes on taking
inputs and the stream grows; so the next write takes all `Persist…` that stand in the stream by then
along, and one synchronisation serves many. What stands between them happens afterwards, later than
it could but never too early. The contents of a snapshot are written by themselves.

Timers are no part of the stream: they tell nobody anything, and one that the node has replaced must
not fire because its successor waits for a disk. Whoever owns the node sets them at once.

If the disk fails, everything in the stream is dropped and the node is told, which stops it.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import AsyncGenerator, Callable, Sequence
from functools import partial
from typing import Any, Final, Protocol, TypeVar

import msgspec
import trio

from swimnomad.errors import SwimnomadError
from swimnomad.live.raft_database import Change
from swimnomad.live.raft_store import Draft, RaftStore
from swimnomad.raft.effects import (
    Answer,
    Apply,
    DiscardSnapshot,
    Effect,
    Emit,
    Event,
    PersistCompaction,
    PersistEntries,
    PersistSnapshot,
    PersistTerm,
    PersistTruncation,
    ReceiveSnapshot,
    Restore,
    Send,
    TakeSnapshot,
)
from swimnomad.raft.inputs import RaftInput, SnapshotFailed, SnapshotTaken, Ticket
from swimnomad.raft.log import EntryKind
from swimnomad.raft.messages import InstallSnapshot, Reply, Request
from swimnomad.raft.servers import ServerAddress
from swimnomad.raft.snapshot import Snapshot
from swimnomad.rpc.raft_lines import Contents
from swimnomad.rpc.raft_transport import SnapshotSink

T = TypeVar("T")

WRITE_ENTRIES_MAX: Final = 4096
WRITE_BYTES_MAX: Final = 16 * 1024 * 1024
"""What one write takes along at most; the first `Persist…` goes always."""
APPLIED_PER_TURN: Final = 512
"""Entries applied before anybody else gets a turn."""
RESULTS_MAX: Final = 8192
"""Results of entries kept for those who may have proposed them."""
PIECE_BYTES: Final = 256 * 1024

_CHANGES: Final = (PersistTerm, PersistEntries, PersistTruncation, PersistCompaction)


class StateMachine(Protocol):
    """What the log is for."""

    def apply(self, index: int, data: bytes) -> object:
        """Carry out the command of a committed entry; what became of it.

        Raises:
            SwimnomadError: It cannot be carried out, here or anywhere; nothing has changed.
        """
        ...

    def snapshot(self) -> bytes:
        """The whole state."""
        ...

    def restore(self, data: bytes) -> None:
        """Become what a snapshot says.

        Raises:
            SwimnomadError: It is none; nothing has changed.
        """
        ...


class Transport(Protocol):
    """How a node speaks to others; see `RaftTransport`."""

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Hold the connections."""
        ...

    def send(
        self, to: ServerAddress, request: Request, number: int, contents: Contents | None = None
    ) -> None:
        """Ask a server."""
        ...

    def answer(self, ticket: Ticket, reply: Reply) -> None:
        """Answer a request."""
        ...

    def receive(self, ticket: Ticket, sink: SnapshotSink) -> None:
        """Take the contents that follow a request."""
        ...


class _Sink:
    """Contents of a snapshot on their way to the disk. The draft is begun with the first bytes."""

    def __init__(self, store: RaftStore) -> None:
        self._store = store
        self._draft: Draft | None = None
        self._is_busy = False
        self._is_unwanted = False

    async def write(self, data: bytes) -> None:
        """Keep the next bytes.

        Raises:
            OSError: They cannot be kept.
        """
        if self._is_unwanted:
            return
        self._is_busy = True
        try:
            await _in_thread(self._store, partial(self._write, data))
        finally:
            self._is_busy = False
            if self._is_unwanted:
                self._drop()

    def _write(self, data: bytes) -> None:
        if self._draft is None:
            self._draft = self._store.draft()
        self._draft.write(data)

    def keep(self, snapshot: Snapshot) -> None:
        """Make the contents durable; may wait for the disk.

        Raises:
            OSError: They are not.
        """
        draft = self._store.draft() if self._draft is None else self._draft
        self._store.keep(draft, snapshot)

    def discard(self) -> None:
        """They are not wanted."""
        self._is_unwanted = True
        if not self._is_busy:
            self._drop()

    def _drop(self) -> None:
        if self._draft is not None:
            self._draft.discard()


async def _in_thread(store: RaftStore, work: Callable[[], T]) -> T:
    """Do work that may wait for the disk."""
    if store.is_instant:
        await trio.lowlevel.checkpoint()
        return work()
    return await trio.to_thread.run_sync(work)


class EffectStream:
    """The stream of effects of one node.

    Args:
        store: What makes things durable.
        machine: What entries are applied to.
        transport: The way to other servers.
        post: Gives the node an input.
        emit: Told every event, when its turn comes.
        fail: Told once that the disk failed; the stream is empty then.

    Attributes:
        applied_index: The last entry that the machine knows.
    """

    def __init__(
        self,
        store: RaftStore,
        machine: StateMachine,
        transport: Transport,
        *,
        post: Callable[[RaftInput], None],
        emit: Callable[[Event], None],
        fail: Callable[[str], None],
    ) -> None:
        self._store = store
        self._machine = machine
        self._transport = transport
        self._post = post
        self._fail = fail
        self._queue: deque[Effect] = deque()
        self._is_busy = False
        self._has_failed = False
        self._sinks: dict[Ticket, _Sink] = {}
        self._results: OrderedDict[int, object] = OrderedDict()
        self._applied_in_turn = 0
        self._nursery: trio.Nursery | None = None
        self.applied_index = 0
        self._handlers: dict[type[Any], Callable[[Any], None]] = {
            Send: self._send,
            Answer: self._answer,
            ReceiveSnapshot: self._receive_snapshot,
            DiscardSnapshot: lambda effect: self._discard(effect.ticket),
            PersistSnapshot: self._persist_snapshot,
            Apply: self._apply,
            Restore: self._restore,
            TakeSnapshot: self._take_snapshot,
            Emit: lambda effect: emit(effect.event),
            **dict.fromkeys(_CHANGES, self._persist),
        }

    def __len__(self) -> int:
        """Effects that wait."""
        return len(self._queue)

    def run_in(self, nursery: trio.Nursery) -> None:
        """Where writing goes on in the background."""
        self._nursery = nursery

    def add(self, effects: Sequence[Effect]) -> None:
        """Put effects at the end and carry out what can be."""
        self._queue.extend(effects)
        self._applied_in_turn = 0
        self._run()

    def take_result(self, index: int) -> object:
        """What became of the entry that was applied at `index`; None if it is not known."""
        return self._results.pop(index, None)

    def drop(self) -> None:
        """Forget what waits; nothing is written from now on."""
        self._has_failed = True
        self._queue.clear()
        self._is_busy = False
        for ticket in list(self._sinks):
            self._discard(ticket)

    def _run(self) -> None:
        queue, handlers = self._queue, self._handlers
        while queue and not self._is_busy:
            effect = queue.popleft()
            handlers[type(effect)](effect)

    # --- waiting for the disk ---------------------------------------------------------------------

    def _start(self, work: Callable[[], T], then: Callable[[T], None]) -> None:
        """Do `work` in a thread; nothing behind it happens before `then`."""
        if self._store.is_instant or self._nursery is None:
            self._settle(work, then)
        else:
            self._is_busy = True
            self._nursery.start_soon(self._work, work, then)

    async def _work(self, work: Callable[[], T], then: Callable[[T], None]) -> None:
        try:
            result = await trio.to_thread.run_sync(work)
        except OSError as error:
            self._break(str(error))
            return
        if not self._has_failed:
            self._is_busy = False
            self._settle(lambda: result, then)
            self._run()

    def _settle(self, work: Callable[[], T], then: Callable[[T], None]) -> None:
        try:
            then(work())
        except (OSError, SwimnomadError) as error:
            self._break(str(error))

    def _break(self, reason: str) -> None:
        if not self._has_failed:
            self.drop()
            self._fail(reason)

    async def _resume(self) -> None:
        await trio.lowlevel.checkpoint()
        if not self._has_failed:
            self._is_busy = False
            self._applied_in_turn = 0
            self._run()

    def _persist(self, first: Change) -> None:
        """Write this change and those that stand behind it."""
        if self._has_failed:
            return
        changes: list[Change] = [first]
        entries, size = _weight(first)
        between: list[Effect] = []
        queue = self._queue
        while queue and entries < WRITE_ENTRIES_MAX and size < WRITE_BYTES_MAX:
            effect = queue.popleft()
            if isinstance(effect, PersistSnapshot | Restore):
                queue.appendleft(effect)
                break
            if isinstance(effect, _CHANGES):
                changes.append(effect)
                more, bytes_more = _weight(effect)
                entries, size = entries + more, size + bytes_more
            else:
                between.append(effect)
        queue.extendleft(reversed(between))
        self._start(partial(self._store.write, changes), _nothing)

    def _persist_snapshot(self, effect: PersistSnapshot) -> None:
        if self._has_failed:
            return
        sink = self._sinks.pop(effect.ticket, None) or _Sink(self._store)
        self._start(partial(sink.keep, effect.snapshot), _nothing)

    # --- the state machine ------------------------------------------------------------------------

    def _apply(self, effect: Apply) -> None:
        for entry in effect.entries:
            if entry.kind is EntryKind.COMMAND:
                try:
                    result = self._machine.apply(entry.index, entry.data)
                except SwimnomadError as error:
                    result = error
                self._results[entry.index] = result
            self.applied_index = entry.index
        while len(self._results) > RESULTS_MAX:
            self._results.popitem(last=False)
        self._applied_in_turn += len(effect.entries)
        if self._applied_in_turn >= APPLIED_PER_TURN and self._nursery is not None:
            self._is_busy = True
            self._nursery.start_soon(self._resume)

    def _restore(self, effect: Restore) -> None:
        snapshot = effect.snapshot

        def restore(data: bytes) -> None:
            self._machine.restore(data)
            self.applied_index = snapshot.last_index

        self._start(partial(read_contents, self._store, snapshot), restore)

    def _take_snapshot(self, effect: TakeSnapshot) -> None:
        data = self._machine.snapshot()
        snapshot = msgspec.structs.replace(effect.snapshot, size=len(data))
        if self._nursery is not None:
            self._nursery.start_soon(self._keep_snapshot, snapshot, data)

    async def _keep_snapshot(self, snapshot: Snapshot, data: bytes) -> None:
        def keep() -> None:
            draft = self._store.draft()
            try:
                draft.write(data)
                self._store.keep(draft, snapshot)
            except BaseException:
                draft.discard()
                raise

        try:
            await _in_thread(self._store, keep)
        except OSError as error:
            self._post(SnapshotFailed(str(error)))
        else:
            self._post(SnapshotTaken(snapshot))

    # --- other servers ----------------------------------------------------------------------------

    def _send(self, effect: Send) -> None:
        contents: Contents | None = None
        if isinstance(effect.request, InstallSnapshot):
            contents = partial(self._contents, effect.request.snapshot)
        self._transport.send(effect.to, effect.request, effect.number, contents)

    def _answer(self, effect: Answer) -> None:
        self._discard(effect.ticket)
        self._transport.answer(effect.ticket, effect.reply)

    def _receive_snapshot(self, effect: ReceiveSnapshot) -> None:
        sink = self._sinks[effect.ticket] = _Sink(self._store)
        self._transport.receive(effect.ticket, sink)

    def _discard(self, ticket: Ticket) -> None:
        sink = self._sinks.pop(ticket, None)
        if sink is not None:
            sink.discard()

    async def _contents(self, snapshot: Snapshot) -> AsyncGenerator[bytes, None]:
        store, left = self._store, snapshot.size
        with await _in_thread(store, partial(store.open_contents, snapshot)) as file:
            while left:
                piece = await _in_thread(store, partial(file.read, min(left, PIECE_BYTES)))
                if not piece:
                    raise OSError(f"the snapshot ends {left} bytes too early")
                left -= len(piece)
                yield piece


def read_contents(store: RaftStore, snapshot: Snapshot) -> bytes:
    """The contents of a snapshot.

    Raises:
        OSError: They cannot be had.
    """
    with store.open_contents(snapshot) as file:
        return file.read(snapshot.size)


def _weight(change: Change) -> tuple[int, int]:
    """Entries of a change, and bytes of their data."""
    if isinstance(change, PersistEntries):
        return len(change.entries), sum(len(entry.data) for entry in change.entries)
    return 0, 0


def _nothing(_: object) -> None:
    """Nothing is to be done after this but what stands behind it."""
