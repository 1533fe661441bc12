"""Servers that run Raft in one process: in memory under virtual time, or on disk and sockets."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import trio
from trio.testing import memory_stream_pair

from swimnomad.errors import SwimnomadError
from swimnomad.live.consensus import LiveConsensus
from swimnomad.live.inbox import Inbox
from swimnomad.live.log import Level
from swimnomad.live.raft_store import MemoryStore, RaftStore
from swimnomad.names import Address
from swimnomad.nomad.consensus import RaftPeer
from swimnomad.raft.config import RaftConfig
from swimnomad.rpc.raft_transport import RaftTransport

PATIENCE = 30.0


class Refused(SwimnomadError):
    """The fake machine does not take `bad`."""


class Machine:
    """A state machine that keeps what it was given."""

    def __init__(self) -> None:
        self.applied: list[tuple[int, bytes]] = []
        self.restored = 0
        self.changed = trio.Event()

    def apply(self, index: int, data: bytes) -> object:
        if data == b"bad":
            raise Refused("bad is not taken")
        self.applied.append((index, data))
        self._change()
        return f"{index}:{data.decode()}"

    def snapshot(self) -> bytes:
        return b"\n".join(b"%d %s" % item for item in self.applied)

    def restore(self, data: bytes) -> None:
        self.applied = []
        for line in data.split(b"\n") if data else []:
            index, _, text = line.partition(b" ")
            if not index.isdigit():
                raise Refused("this is no snapshot")
            self.applied.append((int(index), text))
        self.restored += 1
        self._change()

    def _change(self) -> None:
        self.changed.set()
        self.changed = trio.Event()

    @property
    def texts(self) -> list[str]:
        return [data.decode() for _, data in self.applied]

    async def until(self, count: int) -> list[str]:
        """The texts, once there are so many."""
        with trio.fail_after(PATIENCE):
            while len(self.applied) < count:
                await self.changed.wait()
        return self.texts


class Member:
    """One server of a cluster."""

    def __init__(self, name: str, cluster: Cluster, store: RaftStore, **config: Any) -> None:  # noqa: ANN401
        self.name = name
        self.cluster = cluster
        self.store = store
        self.machine = Machine()
        self.log: list[str] = []
        self.failures: list[str] = []
        self.scope = trio.CancelScope()
        self.ended = trio.Event()
        self.transport: RaftTransport

        def make_transport(inbox: Inbox) -> RaftTransport:
            self.transport = RaftTransport(inbox, dial=cluster.dial_from(name))
            return self.transport

        address = address_of(name)
        self.raft = LiveConsensus(
            RaftConfig(id=address, address=address, **config),
            store,
            self.machine,
            make_transport,
            rng=random.Random(name),
            write_log=self._write_log,
            on_failure=self.failures.append,
        )

    def _write_log(self, level: Level, module: str, message: str, **pairs: object) -> None:
        self.log.append(message)

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        with self.scope:
            await self.raft.serve(task_status=task_status)
        self.ended.set()

    async def stop(self) -> None:
        self.scope.cancel()
        await self.ended.wait()


def address_of(name: str) -> str:
    return f"127.0.0.{ord(name) - 96}:4647"


class Cluster:
    """Servers `a`, `b`, … and memory between them."""

    def __init__(self, nursery: trio.Nursery) -> None:
        self.nursery = nursery
        self.members: dict[str, Member] = {}
        self.cut: set[frozenset[str]] = set()
        self._streams: list[tuple[frozenset[str], trio.abc.Stream]] = []

    def dial_from(self, name: str) -> Callable[[Address], Any]:
        async def dial(to: Address) -> trio.abc.Stream:
            await trio.lowlevel.checkpoint()
            other = self.members.get(chr(int(to.host.rpartition(".")[2]) + 96))
            link = frozenset((name, other.name)) if other is not None else frozenset(name)
            if other is None or link in self.cut or other.ended.is_set():
                raise ConnectionRefusedError(111, "refused")
            ours, theirs = memory_stream_pair()
            self._streams += [(link, ours), (link, theirs)]
            self.nursery.start_soon(self._serve, other, theirs)
            return ours

        return dial

    async def _serve(self, member: Member, stream: trio.abc.Stream) -> None:
        with trio.CancelScope() as scope:
            async with trio.open_nursery() as nursery:

                async def end_with_member() -> None:
                    await member.ended.wait()
                    scope.cancel()

                nursery.start_soon(end_with_member)
                await stream.receive_some(1)
                await member.transport.serve(stream, Address("127.0.0.99", 1))
                nursery.cancel_scope.cancel()
        await trio.aclose_forcefully(stream)

    async def add(self, name: str, store: RaftStore | None = None, **config: Any) -> Member:  # noqa: ANN401
        member = Member(name, self, store or MemoryStore(), **config)
        self.members[name] = member
        await self.nursery.start(member.run)
        return member

    async def isolate(self, name: str) -> None:
        """Cut a server off from all others."""
        for other in self.members:
            self.cut.add(frozenset((name, other)))
        for link, stream in self._streams:
            if link in self.cut:
                await trio.aclose_forcefully(stream)

    async def leader(self, names: str | None = None) -> Member:
        """A ready leader among some (or all), once all of them know it."""
        members = [self.members[name] for name in names or self.members]
        with trio.fail_after(PATIENCE):
            while True:
                for member in members:
                    known = {str(other.raft.leader) for other in members}
                    if member.raft.is_ready and known == {address_of(member.name)}:
                        return member
                await trio.sleep(0.01)


def peers(names: str) -> list[RaftPeer]:
    return [
        RaftPeer(address_of(name), Address(f"127.0.0.{ord(name) - 96}", 4647)) for name in names
    ]


@asynccontextmanager
async def cluster(names: str = "abc", **config: Any) -> AsyncIterator[Cluster]:  # noqa: ANN401
    """A bootstrapped cluster; the first server that can stand does."""
    async with trio.open_nursery() as nursery:
        made = Cluster(nursery)
        for name in names:
            member = await made.add(name, **config)
            await member.raft.bootstrap(peers(names), trio.current_time() + 5)
        try:
            yield made
        finally:
            nursery.cancel_scope.cancel()
