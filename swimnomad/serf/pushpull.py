"""The Serf part of a push/pull: what a node tells a peer, and what it reads in a peer's state.

Source: serf.md §13.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from swimnomad.errors import MalformedMessage
from swimnomad.serf.events import Member
from swimnomad.serf.lamport import LTIME_MAX, Clocks
from swimnomad.serf.members import MemberTable
from swimnomad.serf.user_events import RingSlot, UserEventBuffer
from swimnomad.wire.serf_messages import (
    BufferedEvent,
    EventSlot,
    JoinIntent,
    LeaveIntent,
    MemberState,
    UserEvent,
    decode_serf_untrusted,
    encode_serf,
)


class StateWriter:
    """Encodes the state of a node, and encodes it again only after it has changed.

    The state holds every member, and large pools exchange states often while little happens. It
    also holds the ghosts, members pruned although they are there: one that never heard the leave
    about it finds it here, and contradicts.
    """

    def __init__(
        self,
        clocks: Clocks,
        table: MemberTable,
        ghosts: Mapping[str, Member],
        events: UserEventBuffer,
    ) -> None:
        self._clocks = clocks
        self._table = table
        self._ghosts = ghosts
        self._events = events
        self._written = b""
        self._written_at: tuple[int, ...] = ()

    def write(self) -> bytes:
        """The state as a Serf message."""
        at = (
            self._clocks.member.time,
            self._clocks.event.time,
            self._clocks.query.time,
            self._table.version,
            # A ghost comes with a change of the table, but may go without one.
            len(self._ghosts),
            self._events.version,
        )
        if at != self._written_at:
            self._written = encode_serf(self._state())
            self._written_at = at
        return self._written

    def _state(self) -> MemberState:
        return MemberState(
            ltime=self._clocks.member.time,
            status_ltimes=self._table.status_ltimes()
            | {name: ghost.status_ltime for name, ghost in self._ghosts.items()},
            left_members=self._table.left,
            event_ltime=self._clocks.event.time,
            events=tuple(map(_wire_slot, self._events)),
            query_ltime=self._clocks.query.time,
        )


def _wire_slot(slot: RingSlot | None) -> EventSlot | None:
    if slot is None:
        return None
    events = tuple(BufferedEvent(name, payload) for name, payload in slot.events)
    return EventSlot(slot.ltime, events)


def read_state_untrusted(data: bytes) -> MemberState:
    """The state in a peer's push/pull.

    Raises:
        MalformedMessage: If it is anything else.
    """
    message = decode_serf_untrusted(data)
    if not isinstance(message, MemberState):
        raise MalformedMessage(f"a push/pull carries a {type(message).__name__}, not a state")
    return message


def witness_clocks(state: MemberState, clocks: Clocks) -> None:
    """Move the clocks past the newest messages that the sender has seen.

    A sender's clock reads one more than the newest message; 0 is a clock that never ran.
    """
    for clock, ltime in (
        (clocks.member, state.ltime),
        (clocks.event, state.event_ltime),
        (clocks.query, state.query_ltime),
    ):
        if ltime:
            clock.witness(ltime - 1)


def implied_intents(state: MemberState) -> Iterator[LeaveIntent | JoinIntent]:
    """The intents that a state stands for.

    Those who left come first: the join intent made up from a status time would otherwise be as
    new as the leave it belongs to, and mask it.
    """
    left = dict.fromkeys(state.left_members)
    for name in left:
        yield LeaveIntent(min(state.status_ltimes.get(name, 0) + 1, LTIME_MAX), name)
    for name, ltime in state.status_ltimes.items():
        if name not in left:
            yield JoinIntent(ltime, name)


def buffered_events(state: MemberState) -> Iterator[UserEvent]:
    """The recent user events in a state; whether one may be coalesced is not told there."""
    for slot in state.events:
        if slot is not None:
            for event in slot.events:
                yield UserEvent(slot.ltime, event.name, event.payload)
