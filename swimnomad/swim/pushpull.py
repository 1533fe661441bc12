"""Push/pull: two nodes exchange their whole state and merge it.

The responder sends its own state before it merges, so the answer to a first join never contains
the newcomer. A remote death is never taken at face value: it becomes a suspicion, which the
accused can refute.

Source: gossip.md §12.4, §14.2, §20, §26.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterable

from swimnomad.names import Address
from swimnomad.swim.context import Context
from swimnomad.swim.events import ExchangeFailed, NodeView, UserStateReceived
from swimnomad.swim.members import NodeEntry
from swimnomad.swim.membership import Membership
from swimnomad.swim.selection import select_random
from swimnomad.swim.streams import Streams
from swimnomad.swim.timers import PushPullTick
from swimnomad.wire.messages import (
    Alive,
    Dead,
    ErrorReply,
    NodeRecord,
    NodeState,
    PushPull,
    StreamMessage,
    Suspect,
)

SCALE_THRESHOLD = 32
"""Nodes up to which the interval is not stretched."""
_NO_VERSIONS = bytes(6)


def push_pull_interval(interval: float, nodes: int) -> float:
    """Seconds between periodic push/pulls in a pool of this size.

    Each doubling beyond 32 nodes adds one `interval`: state grows with the pool, and so would the
    traffic.

    Source: memberlist util.go, pushPullScale.
    """
    if nodes <= SCALE_THRESHOLD:
        return interval
    return interval * (math.ceil(math.log2(nodes) - math.log2(SCALE_THRESHOLD)) + 1)


def find_version_conflict(remote: Collection[NodeRecord], local: Iterable[NodeEntry]) -> str:
    """Whom the others could not understand if both pools became one; empty if nobody.

    Every node's current versions must be within what all *alive* nodes understand.
    """
    spoken = {record.versions for record in remote}
    spoken.update([entry.versions for entry in local])
    if len(spoken) == 1 and _is_consistent(next(iter(spoken))):
        return ""
    # Even then few nodes differ; a name is only for saying whom a conflict is with.
    known: dict[tuple[bytes | None, bool], str] = {}
    for record in remote:
        known.setdefault((record.versions, record.state == NodeState.ALIVE), record.name)
    for entry in local:
        known.setdefault((entry.versions, entry.state is NodeState.ALIVE), entry.name)
    speakers: list[tuple[str, bytes]] = []
    protocol_min, protocol_max, app_min, app_max = 0, 255, 0, 255
    for (announced, is_alive), name in known.items():
        found = announced or b""
        versions = found if len(found) >= len(_NO_VERSIONS) else _NO_VERSIONS
        speakers.append((name, versions))
        if is_alive and versions is found:
            protocol_min = max(protocol_min, versions[0])
            protocol_max = min(protocol_max, versions[1])
            app_min = max(app_min, versions[3])
            app_max = min(app_max, versions[4])
    for name, versions in speakers:
        if not protocol_min <= versions[2] <= protocol_max:
            return (
                f"node {name!r} speaks protocol version {versions[2]}, "
                f"the others understand {protocol_min} to {protocol_max}"
            )
        if not app_min <= versions[5] <= app_max:
            return (
                f"node {name!r} speaks application version {versions[5]}, "
                f"the others understand {app_min} to {app_max}"
            )
    return ""


def _is_consistent(versions: bytes | None) -> bool:
    """Whether nodes that all announce the same understand each other: nearly always."""
    return (
        versions is not None
        and len(versions) >= len(_NO_VERSIONS)
        and versions[0] <= versions[2] <= versions[1]
        and versions[3] <= versions[5] <= versions[4]
    )


class Exchanger:
    """Makes, answers and schedules push/pulls."""

    def __init__(self, context: Context, membership: Membership, streams: Streams) -> None:
        self._context = context
        self._membership = membership
        self._streams = streams
        self._has_waited = False

    # --- schedule ---------------------------------------------------------------------------------

    def start(self) -> None:
        """Begin to tick: a random delay first, then waits that grow with the pool."""
        context = self._context
        interval = context.config.push_pull_interval
        if interval > 0:
            context.set_timer(PushPullTick(), context.now + context.rng.random() * interval)

    def settle(self) -> None:
        """Be in the middle of the schedule: the next tick exchanges, at any time of an interval."""
        context = self._context
        wait = push_pull_interval(context.config.push_pull_interval, len(context.table))
        if wait > 0:
            self._has_waited = True
            context.set_timer(PushPullTick(), context.now + context.rng.random() * wait)

    def on_tick(self) -> None:
        """Exchange states with one random member, except at the first tick."""
        context = self._context
        wait = push_pull_interval(context.config.push_pull_interval, len(context.table))
        context.set_timer(PushPullTick(), context.now + wait)
        if not self._has_waited:
            self._has_waited = True
            return
        own = context.own
        for entry in select_random(
            context.table, 1, lambda e: e.state is NodeState.ALIVE and e is not own, context.rng
        ):
            peer = entry.address

            def on_done(problem: str, peer: Address = peer) -> None:
                if problem:
                    context.emit(ExchangeFailed(peer, problem))

            self.exchange(peer, False, on_done)

    # --- exchanges --------------------------------------------------------------------------------

    def exchange(self, to: Address, is_join: bool, on_done: Callable[[str], None]) -> None:
        """Push our state, pull theirs, merge; `on_done` takes the problem or nothing."""

        def on_reply(reply: StreamMessage) -> str:
            if isinstance(reply, PushPull):
                on_done(self._merge(reply, is_join, to))
            elif isinstance(reply, ErrorReply):
                on_done(f"remote error: {reply.text}")
            else:
                on_done("the answer to a push/pull is none")
            return ""

        self._streams.open(to, self._local_state(is_join), on_reply, on_done)

    def answer(self, remote: PushPull, peer: Address, reply: Callable[[PushPull], None]) -> None:
        """Serve a peer's push/pull: first our state as it is, then the merge."""
        reply(self._local_state(remote.is_join))
        problem = self._merge(remote, remote.is_join, peer)
        if problem:
            self._context.emit(ExchangeFailed(peer, problem))

    def _local_state(self, is_join: bool) -> PushPull:
        context = self._context
        own = context.own
        # In periodic exchanges by name: what has not changed is then written the same way by all,
        # and need not be encoded and compressed anew. To a newcomer in our own random order: it
        # passes on what it hears, and newcomers in step would all pass on the same first.
        entries = context.table if is_join else context.table.in_order_of_names()
        records = [
            NodeRecord(
                entry.name,
                entry.incarnation,
                entry.ip,
                entry.port,
                entry.meta if entry is own else entry.meta or None,
                entry.versions,
                entry.state,
            )
            for entry in entries
        ]
        return PushPull(is_join, tuple(records), context.delegate.local_state(is_join))

    # --- merge ------------------------------------------------------------------------------------

    def _merge(self, remote: PushPull, is_join: bool, peer: Address) -> str:
        """Take over what the peer knows, or refuse all of it and say why."""
        context = self._context
        problem = find_version_conflict(remote.nodes, context.table)
        if problem:
            return problem
        if is_join:
            views = [_view_of_record(record) for record in remote.nodes]
            problem = context.delegate.refuse_merge(views, [r.state for r in remote.nodes])
            if problem:
                return problem
        find, own = context.table.get, context.own
        for record in remote.nodes:
            entry = find(record.name)
            # Most records of most exchanges say nothing new: `members.judge` calls them stale.
            if (
                entry is not None
                and entry is not own
                and entry.state is NodeState.ALIVE
                and record.state == NodeState.ALIVE
                and record.incarnation <= entry.incarnation
                and record.ip == entry.ip
                and record.port == entry.port
            ):
                continue
            self._merge_record(record, peer)
        if remote.user_state:
            context.emit(UserStateReceived(remote.user_state, is_join))
        return ""

    def _merge_record(self, record: NodeRecord, peer: Address) -> None:
        name, incarnation = record.name, record.incarnation
        if record.state == NodeState.ALIVE:
            alive = Alive(name, incarnation, record.ip, record.port, record.meta, record.versions)
            self._membership.hear_alive(alive, peer)
        elif record.state == NodeState.LEFT:
            self._membership.hear_dead(Dead(name, incarnation, name), peer)
        elif record.state in (NodeState.SUSPECT, NodeState.DEAD):
            # Somebody suspects it, the record does not say who. memberlist signs with its own
            # name, and so forges a confirmation; in our stead stands the accused, whom nobody
            # counts as a witness of its own.
            is_safe = self._context.rules.is_safe
            accuser = name if is_safe else self._context.own.name
            self._membership.hear_suspect(Suspect(name, incarnation, accuser), peer)


def _view_of_record(record: NodeRecord) -> NodeView:
    return NodeView(
        record.name,
        record.ip or b"",
        record.port,
        record.meta or b"",
        record.versions or b"",
        record.incarnation,
    )
