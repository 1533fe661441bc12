"""The rules that move members from status to status: gossip-layer events and intents.

The table in `members.py` shows the states. What makes it delicate is that three sources race:
alive and dead notices of the gossip layer, intents by gossip, and intents made up from a push/pull.
Lamport times decide between intents; between an intent and a notice, the order of arrival does.

Every method returns what follows from it as a value; only the node acts.

Where two intents tie, or a prune strikes a member that is there, the reference lets views differ
for good. Under `compat = "safe"` this file does better; docs/design/0007-safe-intents.md says how.

Source: serf.md §7-10, §12.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import NamedTuple

from swimnomad.serf.config import SerfConfig
from swimnomad.serf.events import (
    Member,
    MemberEvent,
    MemberFailed,
    MemberJoined,
    MemberLeft,
    MemberReaped,
    MemberUpdated,
    Status,
)
from swimnomad.serf.intents import IntentBuffer, IntentKind
from swimnomad.serf.lamport import LamportClock
from swimnomad.serf.members import MemberTable, replace
from swimnomad.serf.tags import tags_of_meta
from swimnomad.swim.events import NodeView
from swimnomad.swim.inputs import Roster

ReapTimeout = Callable[[Member, float], float]
"""Application's say how long one gone member is kept, given the limit in force; in seconds."""


class Verdict(NamedTuple):
    """What follows from an intent."""

    rebroadcast: bool = False
    event: MemberEvent | None = None
    refute: bool = False
    """The intent claims that this node leaves, and it does not: contradict it."""
    prune: bool = False
    """The member must be erased: at once, or after a delay if it is still leaving."""


JOINED_AT = 1
"""Lamport time of all joins in a pool that began converged."""


@lru_cache(maxsize=4)
def members_of(roster: Roster) -> Mapping[str, Member]:
    """The Serf members that a roster names; the records are shared by all who know them."""
    return {
        node.name: Member(
            name=node.name,
            ip=node.ip,
            port=node.port,
            tags=tags_of_meta(node.meta),
            status=Status.ALIVE,
            versions=node.versions,
            status_ltime=JOINED_AT,
        )
        for node in roster.nodes
    }


IGNORE = Verdict()
PASS_ON = Verdict(rebroadcast=True)
CONTRADICT = Verdict(refute=True)


class Membership:
    """The member table with the member clock and the buffered intents that govern it."""

    def __init__(self, config: SerfConfig, clock: LamportClock) -> None:
        self._config = config
        self._name = config.swim.name
        self._is_safe = config.swim.compat == "safe"
        self._clock = clock
        self.table = MemberTable()
        self.intents = IntentBuffer(config.intents_max)
        self.flaps = 0
        """Members that came back within the flap timeout of their failure."""
        self.ghosts: dict[str, Member] = {}
        """Members pruned while the gossip layer still had them alive, by name."""
        self.departed: Member | None = None
        """The node's own last record, once it has left for so long that it was reaped."""

    def converge(self, roster: Roster) -> None:
        """Have known everybody in `roster` since long ago, and each one's join."""
        self._clock.witness(JOINED_AT)
        self.table.fill(members_of(roster))

    # -- what the gossip layer reports

    def on_node_joined(self, node: NodeView, now: float) -> list[MemberEvent]:
        """A node is alive that was not; the events are its arrival and whom it displaced."""
        known = self.table.get(node.name)
        self.ghosts.pop(node.name, None)
        events: list[MemberEvent] = []
        if known is None:
            events += self._make_room()
            status, ltime = self._status_by_buffered_intent(node.name)
        else:
            status, ltime = Status.ALIVE, known.status_ltime
            if (
                known.status is Status.FAILED
                and known.leave_time is not None
                and now - known.leave_time < self._config.flap_timeout
            ):
                self.flaps += 1
        member = Member(
            name=node.name,
            ip=node.ip,
            port=node.port,
            tags=tags_of_meta(node.meta),
            status=status,
            versions=node.versions,
            status_ltime=ltime,
        )
        events.append(MemberJoined(self.table.store(member)))
        return events

    def on_node_left(self, node: NodeView, now: float) -> MemberEvent | None:
        """A node is gone; whether it said so in the gossip layer does not matter here."""
        known = self.table.get(node.name)
        self.ghosts.pop(node.name, None)
        if known is None:
            return None
        if known.status is Status.LEAVING:
            return MemberLeft(self.table.store(replace(known, status=Status.LEFT, leave_time=now)))
        if known.status is Status.ALIVE:
            return MemberFailed(
                self.table.store(replace(known, status=Status.FAILED, leave_time=now))
            )
        return None

    def on_node_updated(self, node: NodeView) -> MemberEvent | None:
        """A live node's metadata changed."""
        if node.name in self.ghosts:
            self.ghosts[node.name] = _updated(self.ghosts[node.name], node)
        known = self.table.get(node.name)
        if known is None:
            return None
        return MemberUpdated(self.table.refresh(_updated(known, node)))

    # -- intents

    def on_join_intent(
        self, name: str, ltime: int, now: float, *, is_implied: bool = False
    ) -> Verdict:
        """Someone says that `name` joined; `is_implied` if only a push/pull makes it look so."""
        self._clock.witness(ltime)
        known = self.table.get(name)
        if known is None:
            ghost = self.ghosts.get(name)
            if ghost is not None and self._ends_leaving(ghost, ltime, is_implied=is_implied):
                return self._revive(ghost, ltime)
            is_news = self.intents.upsert(name, IntentKind.JOIN, ltime, now)
            return PASS_ON if is_news else IGNORE
        if ltime <= known.status_ltime and not (
            known.status is Status.LEAVING
            and self._ends_leaving(known, ltime, is_implied=is_implied)
        ):
            return IGNORE
        status = Status.ALIVE if known.status is Status.LEAVING else known.status
        self.table.store(replace(known, status=status, status_ltime=ltime))
        return PASS_ON

    def on_leave_intent(
        self, name: str, ltime: int, now: float, *, prune: bool = False, is_alive: bool = False
    ) -> Verdict:
        """Someone says that `name` leaves; `is_alive` if this node has no wish to leave itself."""
        self._clock.witness(ltime)
        known = self.table.get(name)
        if known is None:
            is_news = self.intents.upsert(name, IntentKind.LEAVE, ltime, now)
            return PASS_ON if is_news else IGNORE
        if name == self._name and is_alive:
            # Contradicted also if its time equals that of our own last join, which the reference
            # lets pass: who heard the leave first would show this node as leaving for ever.
            is_tie = self._is_safe and ltime == known.status_ltime
            return CONTRADICT if ltime > known.status_ltime or is_tie else IGNORE
        if ltime <= known.status_ltime:
            return IGNORE
        # The Lamport time is taken over even where the status stays: otherwise two different
        # leave messages about one node would be passed round for ever.
        event: MemberEvent | None = None
        if known.status is Status.FAILED:
            # Since when the member is gone does not change, only what it is called.
            left = replace(known, status=Status.LEFT, status_ltime=ltime)
            event = MemberLeft(self.table.store(left), forced=True)
        else:
            status = Status.LEAVING if known.status is Status.ALIVE else known.status
            self.table.store(replace(known, status=status, status_ltime=ltime))
        # Nobody prunes the node that runs here: it knows best when it is gone.
        return Verdict(rebroadcast=True, event=event, prune=prune and name != self._name)

    def _ends_leaving(self, member: Member, ltime: int, *, is_implied: bool) -> bool:
        """Whether a join of that time shows that a leaving member, erased or not, is there.

        A real join comes from the node itself, which puts its own leave at a later time. So a leave
        of the same time is somebody else's guess, made at the same moment, and wrong. The reference
        shows such a node as leaving for ever.
        """
        is_tie = ltime == member.status_ltime
        return ltime > member.status_ltime or (self._is_safe and is_tie and not is_implied)

    def find_tied(self, name: str, ltime: int) -> Member | None:
        """Who is leaving, erased meanwhile or not, by a leave of exactly that time."""
        member = self.table.get(name) or self.ghosts.get(name)
        if member is None or member.status is not Status.LEAVING or member.status_ltime != ltime:
            return None
        return member

    # -- forgetting

    def prune(self, name: str) -> MemberEvent | None:
        """Erase a member that was force-left with prune, unless it has turned out to be alive.

        In the reference a member that contradicts too late stays invisible although it is there,
        until the gossip layer loses it. Here its contradiction brings it back whenever it comes.
        """
        known = self.table.get(name)
        if known is None or (known.status is Status.ALIVE and self._is_safe):
            return None
        if known.status is Status.LEAVING and self._is_safe:
            self.ghosts[name] = known
        return self._erase(known)

    def reap(self, now: float, reap_timeout: ReapTimeout | None) -> list[MemberEvent]:
        """Erase members too long gone, then forget old buffered intents.

        A member exactly as old as its limit is kept.
        """
        limits = (
            (self.table.failed, self._config.reconnect_timeout),
            (self.table.left, self._config.tombstone_timeout),
        )
        events: list[MemberEvent] = []
        for names, limit in limits:
            for name in names:
                member = self.table.members[name]
                timeout = limit if reap_timeout is None else reap_timeout(member, limit)
                if self._is_gone_longer(member, timeout, now):
                    events.append(self._erase(member))
        self.intents.reap(now, self._config.recent_intent_timeout)
        return events

    @staticmethod
    def _is_gone_longer(member: Member, timeout: float, now: float) -> bool:
        return member.leave_time is not None and now - member.leave_time > timeout

    def _erase(self, member: Member) -> MemberEvent:
        self.table.erase(member.name)
        if member.name == self._name:
            self.departed = member
        return MemberReaped(member)

    def _revive(self, ghost: Member, ltime: int) -> Verdict:
        """Take back a member that says it is there, although it was pruned."""
        del self.ghosts[ghost.name]
        member = self.table.store(replace(ghost, status=Status.ALIVE, status_ltime=ltime))
        return Verdict(rebroadcast=True, event=MemberJoined(member))

    def _make_room(self) -> list[MemberEvent]:
        """Give up the longest gone member if the table is at its limit.

        The gossip layer bounds the living; this bounds the dead, whom Serf remembers much longer.
        """
        if len(self.table) < self._config.swim.nodes_max:
            return []
        oldest = self.table.oldest_gone()
        return [] if oldest is None else [self._erase(self.table.members[oldest])]

    def _status_by_buffered_intent(self, name: str) -> tuple[Status, int]:
        joined = self.intents.find(name, IntentKind.JOIN)
        if joined is not None:
            return Status.ALIVE, joined
        left = self.intents.find(name, IntentKind.LEAVE)
        if left is not None:
            return Status.LEAVING, left
        return Status.ALIVE, 0


def _updated(member: Member, node: NodeView) -> Member:
    return replace(
        member, ip=node.ip, port=node.port, tags=tags_of_meta(node.meta), versions=node.versions
    )
