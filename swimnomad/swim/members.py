"""The member table, and the one function that decides whether a claim wins.

A claim (alive, suspect, dead) is about one node *as of an incarnation*, a number that only that
node raises. Within an incarnation a member only worsens:

    alive ──suspect──▶ suspect ──dead──▶ dead      (dead of itself: left)
      └────────────────dead─────────────▲

and only a higher incarnation, which the accused itself made, brings it back. So claims commute
well enough: whatever order they arrive in, nodes that have heard the same claims agree. What can
race is a suspicion's deadline with the refutation that is on its way; the deadline carries the
incarnation it was armed for and does nothing once a higher one is known.

Where we differ from memberlist, unless `compat` is `upstream`: a claim that is not newer never
revives a member (there, an alive from a new address does so for a reclaimable name, even with an
older incarnation), and whoever makes such a claim is told what the pool remembers.

Source: gossip.md §15-§18; memberlist state.go.
"""

from __future__ import annotations

import enum
import random
from collections.abc import Iterator, Mapping
from copy import copy
from functools import lru_cache
from typing import TYPE_CHECKING

import msgspec

from swimnomad.errors import UsageError
from swimnomad.names import Address, host_of_ip
from swimnomad.wire.messages import Alive, Dead, NodeState, Suspect

if TYPE_CHECKING:
    from swimnomad.swim.inputs import Roster
    from swimnomad.swim.suspicion import Suspicion

_ALIVE = NodeState.ALIVE
_SUSPECT = NodeState.SUSPECT

PROTOCOL_STREAM_PING = 3
PROTOCOL_NACK = 4
PROTOCOL_CRC = 5


_NOWHERE = Address("", 0)


class NodeEntry(msgspec.Struct, eq=False, gc=False):
    """What we hold about one node. Only the room `swim` writes to it.

    `ip` is 4 or 16 bytes exactly as received and is never normalised; `versions` is PMin PMax
    PCur DMin DMax DCur; `state_change` is the node's clock (seconds) at the last change of state.

    A struct, because a simulation holds millions of them: it is copied cheaply, and as nothing in
    it ever refers back to it, the garbage collector need not look.
    """

    name: str
    ip: bytes
    port: int
    meta: bytes
    versions: bytes
    incarnation: int
    state: NodeState
    state_change: float
    suspicion: Suspicion | None = None
    address: Address = _NOWHERE

    def __post_init__(self) -> None:
        """Follow from `ip` and `port`."""
        self.address = Address(host_of_ip(self.ip), self.port)

    def move(self, ip: bytes, port: int) -> None:
        """Change the address."""
        if ip != self.ip or port != self.port:
            self.ip = ip
            self.port = port
            self.address = Address(host_of_ip(ip), port)

    def __repr__(self) -> str:
        """For failing tests."""
        return f"<{self.name} {self.state.name} {self.incarnation} at {self.address}>"

    @property
    def is_live(self) -> bool:
        """Alive or suspect: a member, as applications count."""
        return self.state <= _SUSPECT

    @property
    def protocol_max(self) -> int:
        """The newest gossip protocol the node understands: what features it may be offered."""
        return self.versions[1]


class MemberTable:
    """Every node we know, ourselves included, in an order that is random but for chance alone."""

    def __init__(self, rng: random.Random) -> None:
        self._rng = rng
        self._order: list[NodeEntry] = []
        self._by_name: dict[str, NodeEntry] = {}
        self.live_count = 0

    def __len__(self) -> int:
        """Number of entries in any state: memberlist's estimate of the cluster size."""
        return len(self._order)

    def __iter__(self) -> Iterator[NodeEntry]:
        """Iterate in table order."""
        return iter(self._order)

    def __getitem__(self, index: int) -> NodeEntry:
        """The entry at a place of the table order."""
        return self._order[index]

    def __contains__(self, name: object) -> bool:
        """Whether a node of this name is known."""
        return name in self._by_name

    def get(self, name: str) -> NodeEntry | None:
        """The entry of a name."""
        return self._by_name.get(name)

    def in_order_of_names(self) -> list[NodeEntry]:
        """Every entry, sorted by name."""
        by_name = self._by_name
        return [by_name[name] for name in sorted(by_name)]

    def insert(self, entry: NodeEntry) -> None:
        """Add a new entry at a random place, so that probe rounds differ from node to node."""
        assert entry.name not in self._by_name
        self._by_name[entry.name] = entry
        old_size = len(self._order)
        self._order.append(entry)
        place = self._rng.randrange(old_size) if old_size else 0
        self._order[place], self._order[-1] = entry, self._order[place]
        self.live_count += entry.is_live

    def fill(self, entries: Mapping[str, NodeEntry]) -> None:
        """Hold copies of `entries` by name, all live; the entry that is there already stays."""
        (own,) = self._order
        self._by_name = dict(zip(entries, map(copy, entries.values()), strict=True))
        self._by_name[own.name] = own
        self._order = list(self._by_name.values())
        self._rng.shuffle(self._order)
        self.live_count = len(entries)

    def set_state(self, entry: NodeEntry, state: NodeState, now: float) -> None:
        """Move an entry to another state."""
        self.live_count += (state <= _SUSPECT) - (entry.state <= _SUSPECT)
        entry.state = state
        entry.state_change = now

    def compact(self, now: float, keep: float) -> int:
        """Forget entries dead or left for longer than `keep` seconds, shuffle the others.

        Returns:
            How many were forgotten.
        """
        kept: list[NodeEntry] = []
        for entry in self._order:
            if entry.state <= _SUSPECT or now - entry.state_change <= keep:
                kept.append(entry)
            else:
                del self._by_name[entry.name]
        forgotten = len(self._order) - len(kept)
        self._rng.shuffle(kept)
        self._order = kept
        return forgotten


@lru_cache(maxsize=4)
def entries_of(roster: Roster, now: float) -> Mapping[str, NodeEntry]:
    """Entries by name for the members of a roster, alive since `now`: shared, to be copied.

    Raises:
        UsageError: If a name stands in it twice.
    """
    entries = {
        node.name: NodeEntry(
            node.name,
            node.ip,
            node.port,
            node.meta,
            node.versions,
            node.incarnation,
            NodeState.ALIVE,
            now,
        )
        for node in roster.nodes
    }
    if len(entries) != len(roster.nodes):
        raise UsageError("a roster names each node once")
    return entries


class Verdict(enum.Enum):
    """What to do with a claim."""

    STALE = "stale"
    """Nothing: we know as much or more."""
    UNKNOWN = "unknown"
    """Nothing: it accuses a node we never heard of."""
    ADD = "add"
    """A node we did not know is alive."""
    PLACEHOLDER = "placeholder"
    """Remember the name as dead, as memberlist does for incarnation 0 (compat `upstream`)."""
    ACCEPT = "accept"
    """It changes our entry."""
    CONFIRM = "confirm"
    """One more accuser of a node that is suspect already."""
    REFUTE = "refute"
    """It is about us and wrong."""
    CONFLICT = "conflict"
    """Another address claims a name that is taken."""
    REMIND = "remind"
    """Not newer, about a member we hold suspect, dead or left: its maker should learn that."""


class Rules:
    """What `judge` has to know about the node it judges for."""

    __slots__ = ("dead_node_reclaim_time", "has_left", "is_safe", "own_name")

    def __init__(self, own_name: str, *, is_safe: bool, dead_node_reclaim_time: float) -> None:
        self.own_name = own_name
        self.is_safe = is_safe
        self.dead_node_reclaim_time = dead_node_reclaim_time
        self.has_left = False


Claim = Alive | Suspect | Dead


def judge(entry: NodeEntry | None, claim: Claim, rules: Rules, now: float) -> Verdict:
    """Decide whether a claim wins against what we hold about its node.

    Changes nothing. Network lists, hooks and version checks are the caller's: they can only turn
    a winning claim away.
    """
    if isinstance(claim, Alive):
        return _judge_alive(entry, claim, rules, now)
    if entry is None:
        return Verdict.UNKNOWN
    if claim.incarnation < entry.incarnation:
        return Verdict.STALE
    if isinstance(claim, Suspect):
        if entry.suspicion is not None:
            return Verdict.CONFIRM
        if entry.state is not _ALIVE:
            return Verdict.STALE
        return Verdict.REFUTE if claim.node == rules.own_name else Verdict.ACCEPT
    # Dead to left and left to dead never happen directly: the first word stays.
    if not entry.is_live:
        return Verdict.STALE
    if claim.node == rules.own_name and not rules.has_left:
        return Verdict.REFUTE
    return Verdict.ACCEPT


def _judge_alive(entry: NodeEntry | None, claim: Alive, rules: Rules, now: float) -> Verdict:
    if entry is None:
        if claim.incarnation > 0:
            return Verdict.ADD
        return Verdict.STALE if rules.is_safe else Verdict.PLACEHOLDER
    is_self = claim.node == rules.own_name
    if is_self and rules.has_left:
        return Verdict.STALE
    has_moved = claim.ip != entry.ip or claim.port != entry.port
    if has_moved and not _is_reclaimable(entry, rules, now):
        return Verdict.CONFLICT
    if is_self:
        return _judge_own_alive(entry, claim)
    if claim.incarnation > entry.incarnation or (has_moved and not rules.is_safe):
        return Verdict.ACCEPT
    if rules.is_safe and entry.state is not _ALIVE:
        return Verdict.REMIND
    return Verdict.STALE


def _judge_own_alive(entry: NodeEntry, claim: Alive) -> Verdict:
    """An alive about ourselves that we did not just make: an echo, or a past or false life."""
    if claim.incarnation < entry.incarnation:
        return Verdict.STALE
    is_echo = (
        claim.incarnation == entry.incarnation
        and (claim.meta or b"") == entry.meta
        and claim.versions == entry.versions
    )
    return Verdict.STALE if is_echo else Verdict.REFUTE


def _is_reclaimable(entry: NodeEntry, rules: Rules, now: float) -> bool:
    """Whether a name may be taken by another address: it left, or is dead long enough."""
    if entry.state is NodeState.LEFT:
        return True
    reclaim = rules.dead_node_reclaim_time
    return entry.state is NodeState.DEAD and reclaim > 0 and now - entry.state_change > reclaim
