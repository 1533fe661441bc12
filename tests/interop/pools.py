"""Real `serf` agents and our nodes on real sockets, in one pool.

Every agent and node has a loopback address of its own and the standard ports there. Real agents
are asked by their own command line; whatever a test waits for is polled until a deadline.
"""

from __future__ import annotations

import base64
import itertools
import json
import os
import random
import subprocess
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Protocol

import msgspec
import trio

from swimnomad.live.endpoint import GossipEndpoint, open_endpoint
from swimnomad.names import Address, Operation
from swimnomad.serf.config import SerfConfig
from swimnomad.serf.events import UserEventReceived
from swimnomad.serf.inputs import (
    ForceLeave,
    Join,
    JoinTarget,
    Leave,
    SendUserEvent,
    SerfInput,
    SetTags,
)
from swimnomad.serf.node import SerfNode
from swimnomad.swim.config import SwimConfig, profile_settings
from swimnomad.swim.effects import Event
from swimnomad.wire.keyring import Keyring

GOSSIP_PORT = 7946
RPC_PORT = 7373
POLL_INTERVAL = 0.1

PATIENCE = 60.0
"""Seconds until what must be seen is seen, by default."""

NUDGE_INTERVAL = 6.0
"""Gossip takes one or two seconds, but in a pool of six it misses one member in every few dozen
messages: each member sends a message four times only, also to the recently dead. The push/pulls
that mend it come every 30 s; who cannot wait joins again, or repeats what he said."""

_hosts = itertools.count(1)


def fresh_host() -> str:
    """A loopback address of this test process: 127.x.y comes from its process id."""
    number = os.getpid() % 30_000
    return f"127.{130 + number // 250}.{number % 250}.{next(_hosts)}"


class Peer(Protocol):
    """A member of the pool that can be asked and told, whoever wrote it."""

    name: str
    host: str

    async def members(self) -> Mapping[str, tuple[str, Mapping[str, str]]]:
        """Status and tags of each member by name, as this one sees them."""
        ...

    async def join(self, other: Peer) -> None: ...

    async def leave(self) -> None:
        """Leave gracefully and stop."""
        ...

    async def kill(self) -> None:
        """Stop without a word."""
        ...

    async def force_leave(self, name: str, *, prune: bool = False) -> None: ...

    async def set_tag(self, key: str, value: str) -> None: ...

    async def send_event(self, name: str, payload: str) -> None: ...

    async def has_received(self, event: str) -> bool: ...


class RealAgent:
    """A `serf agent` process."""

    def __init__(self, serf: str, name: str, host: str, folder: Path) -> None:
        self.name = name
        self.host = host
        self._serf = serf
        self._log = folder / f"{name}-{host}.log"
        self._process: trio.Process | None = None

    async def start(self, *flags: str) -> None:
        """Start the process and wait until it answers."""
        command = [
            *(self._serf, "agent", "-log-level=info", "-profile=lan", f"-node={self.name}"),
            *(f"-bind={self.host}:{GOSSIP_PORT}", f"-rpc-addr={self.host}:{RPC_PORT}"),
            *flags,
        ]
        with self._log.open("ab") as log:
            self._process = await trio.lowlevel.open_process(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log
            )
        await until(f"{self.name} answers", self._answers)

    async def _answers(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, self._log.read_text()
        done = await self._run("members", check=False)
        return done.returncode == 0

    async def _run(
        self, command: str, *arguments: str, check: bool = True
    ) -> subprocess.CompletedProcess[bytes]:
        line = [self._serf, command, f"-rpc-addr={self.host}:{RPC_PORT}", *arguments]
        done = await trio.run_process(line, capture_stdout=True, capture_stderr=True, check=False)
        if check and done.returncode:
            raise AssertionError(f"{line}: {done.stdout!r} {done.stderr!r}")
        return done

    async def members(self) -> Mapping[str, tuple[str, Mapping[str, str]]]:
        done = await self._run("members", "-format=json")
        listed = json.loads(done.stdout)["members"]
        return {member["name"]: (member["status"], member["tags"]) for member in listed}

    async def join(self, other: Peer) -> None:
        await self._run("join", "-replay", f"{other.host}:{GOSSIP_PORT}")

    async def leave(self) -> None:
        assert self._process is not None
        await self._run("leave")
        await self._process.wait()

    async def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            await self._process.wait()

    async def force_leave(self, name: str, *, prune: bool = False) -> None:
        await self._run("force-leave", *(["-prune"] if prune else []), name)

    async def set_tag(self, key: str, value: str) -> None:
        await self._run("tags", "-set", f"{key}={value}")

    async def send_event(self, name: str, payload: str) -> None:
        await self._run("event", "-coalesce=false", name, payload)

    async def has_received(self, event: str) -> bool:
        return f"Received event: user-event: {event}" in self._log.read_text()


class OurNode:
    """A `SerfNode` on a `GossipEndpoint`, in a task of its own."""

    def __init__(self, config: SerfConfig, host: str, key: bytes | None) -> None:
        self.name = config.swim.name
        self.host = host
        self.received: list[UserEventReceived] = []
        keyring = None if key is None else Keyring(primary=key)
        self.node = SerfNode(
            config, random.Random(), keyring=keyring, nonces=lambda: os.urandom(12)
        )
        self._endpoint: GossipEndpoint | None = None
        self._scope = trio.CancelScope()
        self._stopped = trio.Event()

    async def run(self, *, task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED) -> None:
        """Serve until killed."""
        try:
            with self._scope:
                async with open_endpoint(self.node, Address(self.host, GOSSIP_PORT)) as endpoint:
                    endpoint.hub.listen(self._note)
                    self._endpoint = endpoint
                    task_status.started()
                    await trio.sleep_forever()
        finally:
            self._stopped.set()

    def _note(self, event: Event) -> None:
        if isinstance(event, UserEventReceived):
            self.received.append(event)

    async def execute(self, make_command: Callable[[Operation], SerfInput]) -> Event:
        assert self._endpoint is not None
        outcome = await self._endpoint.execute(make_command)
        assert not getattr(outcome, "error", ""), outcome
        return outcome

    async def members(self) -> Mapping[str, tuple[str, Mapping[str, str]]]:
        return {n: (m.status.text, m.tags) for n, m in self.node.members.items()}

    async def join(self, other: Peer) -> None:
        target = JoinTarget(Address(other.host, GOSSIP_PORT))
        outcome = await self.execute(lambda op: Join(op, (target,)))
        assert getattr(outcome, "joined", 0) == 1, outcome

    async def leave(self) -> None:
        outcome = await self.execute(Leave)
        assert getattr(outcome, "heard", False), outcome
        await self.kill()

    async def kill(self) -> None:
        self._scope.cancel()
        await self._stopped.wait()

    async def force_leave(self, name: str, *, prune: bool = False) -> None:
        await self.execute(lambda op: ForceLeave(op, name, prune))

    async def set_tag(self, key: str, value: str) -> None:
        tags = {**self.node.local_member.tags, key: value}
        await self.execute(lambda op: SetTags(op, tuple(tags.items())))

    async def send_event(self, name: str, payload: str) -> None:
        await self.execute(lambda op: SendUserEvent(op, name, payload.encode()))

    async def has_received(self, event: str) -> bool:
        return any(received.name == event for received in self.received)


class MixedPool:
    """Where real agents and our nodes of one pool come from, and who cleans up after them."""

    def __init__(
        self, serf: str, folder: Path, nursery: trio.Nursery, protocol: int, key: bytes | None
    ) -> None:
        self._serf = serf
        self._folder = folder
        self._nursery = nursery
        self._protocol = protocol
        self._key = key
        self._hosts: dict[str, str] = {}
        self.started: list[Peer] = []

    async def real(self, name: str) -> RealAgent:
        """A running `serf agent`; one of a name seen before comes back at its address."""
        agent = RealAgent(self._serf, name, self._host(name), self._folder)
        self.started.append(agent)
        flags = [f"-protocol={self._protocol}"]
        if self._key is not None:
            flags.append(f"-encrypt={base64.b64encode(self._key).decode()}")
        await agent.start(*flags)
        return agent

    async def ours(self, name: str) -> OurNode:
        """A running node of ours; likewise."""
        swim = msgspec.convert({**profile_settings("lan"), "name": name}, SwimConfig)
        config = SerfConfig(swim, protocol_version=self._protocol)
        node = OurNode(config, self._host(name), self._key)
        self.started.append(node)
        await self._nursery.start(node.run)
        return node

    def _host(self, name: str) -> str:
        return self._hosts.setdefault(name, fresh_host())


@asynccontextmanager
async def mixed_pool(
    serf: str, folder: Path, *, protocol: int = 5, key: bytes | None = None
) -> AsyncIterator[MixedPool]:
    """A pool whose processes and tasks end with the block, however it ends."""
    async with trio.open_nursery() as nursery:
        pool = MixedPool(serf, folder, nursery, protocol, key)
        try:
            yield pool
        finally:
            with trio.CancelScope(shield=True), trio.move_on_after(10):
                for peer in pool.started:
                    await peer.kill()


async def until(
    what: str,
    condition: Callable[[], Awaitable[bool]],
    *,
    within: float = PATIENCE,
    nudge: Callable[[], Awaitable[None]] | None = None,
) -> None:
    """Poll until the condition holds; nudge from time to time if it does not.

    Raises:
        AssertionError: Naming `what`, if it does not within so many seconds.
    """
    nudge_at = trio.current_time() + NUDGE_INTERVAL
    with trio.move_on_after(within):
        while not await condition():  # Another process announces nothing.
            if nudge is not None and trio.current_time() >= nudge_at:
                await nudge()
                nudge_at = trio.current_time() + NUDGE_INTERVAL
            await trio.sleep(POLL_INTERVAL)
        return
    raise AssertionError(f"not within {within} s: {what}")


async def until_seen(
    peers: Sequence[Peer],
    expected: Mapping[str, str],
    nudge: Callable[[], Awaitable[None]] | None = None,
) -> None:
    """Poll until every one of `peers` shows exactly these members with these statuses.

    Raises:
        AssertionError: With what each of them shows, if that takes too long.
    """
    views: dict[str, dict[str, str]] = {}

    async def look() -> bool:
        for peer in peers:
            members = await peer.members()
            views[peer.name] = {name: status for name, (status, _) in members.items()}
        return all(view == dict(expected) for view in views.values())

    try:
        await until("all agree", look, nudge=nudge or exchange_among(peers))
    except AssertionError as error:
        raise AssertionError(f"expected {dict(expected)}, {error}, but {views}") from None


def exchange_among(peers: Sequence[Peer]) -> Callable[[], Awaitable[None]]:
    """A nudge: everyone exchanges states with the first."""
    first, *others = peers

    async def exchange() -> None:
        for other in others:
            await other.join(first)

    return exchange


async def all_of(*steps: Callable[[], Awaitable[None]]) -> None:
    """Do several things at once; all must succeed."""
    async with trio.open_nursery() as nursery:
        for step in steps:
            nursery.start_soon(step)
