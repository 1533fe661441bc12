"""One Serf node: a gossip-layer node wrapped in tags, intents, statuses and user events.

The node is where everything meets: inputs come in, the parts say what follows, and only here it
becomes effects. Membership rules are in `membership.py`, the leave sequence in `leave.py`.
"""

from __future__ import annotations

import random
from collections import deque
from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from swimnomad.errors import MalformedMessage, UsageError
from swimnomad.names import Address, Operation, host_of_ip
from swimnomad.serf.config import SerfConfig
from swimnomad.serf.delegate import SerfDelegate
from swimnomad.serf.events import (
    ForceLeaveFinished,
    Member,
    MessageDropped,
    NameConflict,
    Status,
    TagsFinished,
    UserEventFinished,
    UserEventReceived,
)
from swimnomad.serf.filter import AdmissionControl, MemberFilter
from swimnomad.serf.inputs import ForceLeave, SendUserEvent, SerfInput, SetTags
from swimnomad.serf.lamport import Clocks
from swimnomad.serf.leave import (
    BroadcastWaits,
    ForceLeaveOut,
    LeaveIntentOut,
    LeavePhase,
    Leaving,
    Purpose,
)
from swimnomad.serf.lifecycle import Lifecycle
from swimnomad.serf.membership import Membership, ReapTimeout, Verdict
from swimnomad.serf.pushpull import (
    StateWriter,
    buffered_events,
    implied_intents,
    read_state_untrusted,
    witness_clocks,
)
from swimnomad.serf.queries import QueryBuffer, QueryReception
from swimnomad.serf.queues import BroadcastQueues
from swimnomad.serf.reaper import pick_reconnect
from swimnomad.serf.stats import stats_block
from swimnomad.serf.tags import meta_of_tags
from swimnomad.serf.text import is_writable
from swimnomad.serf.timers import (
    BroadcastTimeout,
    PropagationOver,
    PruneDue,
    QueueCheckTick,
    ReapTick,
    ReconnectTick,
    SerfTimer,
)
from swimnomad.serf.user_events import Reception, UserEventBuffer, why_too_large
from swimnomad.swim.effects import CancelTimer, Effect, Emit, Event, SetTimer
from swimnomad.swim.events import (
    JoinFinished,
    LeaveFinished,
    NameConflictSeen,
    NodeJoined,
    NodeLeft,
    NodeUpdated,
    NodeView,
    UpdateFinished,
    UserMessageReceived,
    UserStateReceived,
)
from swimnomad.swim.inputs import (
    DatagramReceived,
    Join,
    JoinTarget,
    Leave,
    SendUserMessage,
    Shutdown,
    Start,
    SwimInput,
    TimerFired,
    UpdateMeta,
)
from swimnomad.swim.node import SwimNode
from swimnomad.wire.keyring import Keyring
from swimnomad.wire.serf_messages import (
    JoinIntent,
    LeaveIntent,
    Query,
    QueryFlag,
    Relay,
    UserEvent,
    decode_serf_untrusted,
    encode_serf,
)


class SerfNode:
    """A `Core` that speaks Serf on top of a `SwimNode`. Callers' operation numbers are >= 0.

    Args:
        config: Checked here; see `SerfConfig`.
        rng: Source of all randomness, shared with the gossip layer.
        member_filter: The application's say about who may come in.
        reap_timeout: Called with a gone member and the limit in force; returns the limit to apply.
        keyring: Keys of an encrypted pool.
        nonces: Returns 12 fresh bytes a call; None draws them from `rng` (simulation only).

    Raises:
        UsageError: If the configuration is not allowed.
    """

    def __init__(
        self,
        config: SerfConfig,
        rng: random.Random,
        *,
        member_filter: MemberFilter | None = None,
        reap_timeout: ReapTimeout | None = None,
        keyring: Keyring | None = None,
        nonces: Callable[[], bytes] | None = None,
    ) -> None:
        config.validate()
        self._config = config
        self._rng = rng
        self._keyring = keyring
        self._reap_timeout = reap_timeout
        self._clocks = Clocks()
        self._membership = Membership(config, self._clocks.member)
        self._table = self._membership.table
        self._queues = BroadcastQueues(config)
        self._events = UserEventBuffer(config.event_buffer, config.event_buffer_bytes_max)
        self._queries = QueryBuffer(config.query_buffer)
        self._lifecycle = Lifecycle.ALIVE
        self._leaving: Leaving | None = None
        self._waits = BroadcastWaits()
        self._joins: deque[Join] = deque()  # The first is the one under way.
        self._commands: deque[SwimInput] = deque()  # For the layer below, once it has returned.
        self._own_operations = 0  # Orders of our own to the layer below count downwards from -1.
        self._armed: dict[SerfTimer, None] = {}
        self._effects: list[Effect] = []
        writer = StateWriter(self._clocks, self._table, self._events)
        admission = AdmissionControl(member_filter, validate_names=config.validate_node_names)
        self.swim = SwimNode(
            msgspec.structs.replace(
                config.swim,
                meta=meta_of_tags(config.tags, config.protocol_version),
                versions=bytes((1, 5, 2, 2, 5, config.protocol_version)),
                leave_timeout=config.broadcast_timeout,
            ),
            rng,
            delegate=SerfDelegate(self._table, self._queues, writer.write, admission),
            keyring=keyring,
            nonces=nonces,
        )
        self._on_swim_event: dict[type[Event], Callable[[Any, float], None]] = {
            NodeJoined: self._on_node_joined,
            NodeLeft: self._on_node_left,
            NodeUpdated: self._on_node_updated,
            UserMessageReceived: self._on_user_message,
            UserStateReceived: self._on_user_state,
            NameConflictSeen: self._on_name_conflict,
            JoinFinished: self._on_join_finished,
            LeaveFinished: self._on_gossip_leave_finished,
            UpdateFinished: self._on_update_finished,
        }
        self._on_serf_message: dict[type, Callable[[Any, bytes, float], None]] = {
            JoinIntent: self._on_join_intent,
            LeaveIntent: self._on_leave_intent,
            UserEvent: self._on_user_event,
            Query: self._on_query,
            Relay: self._on_relay,
        }

    # -- what observers read

    @property
    def name(self) -> str:
        """The node's own name."""
        return self._config.swim.name

    @property
    def members(self) -> Mapping[str, Member]:
        """Every member by name, in order of appearance; a live view."""
        return self._table.members

    @property
    def local_member(self) -> Member:
        """The node's own record; before `Start` one with status `NONE`."""
        return self._table.get(self.name) or Member(
            name=self.name,
            ip=b"",
            port=0,
            tags=self._config.tags,
            status=Status.NONE,
            versions=b"",
        )

    @property
    def lifecycle(self) -> Lifecycle:
        """Whether the node is alive, leaving, left or shut down."""
        return self._lifecycle

    @property
    def flap_count(self) -> int:
        """Members that came back shortly after they had failed, since the start."""
        return self._membership.flaps

    def stats(self) -> dict[str, str]:
        """Figures for operators, as text."""
        return stats_block(
            self._table,
            self._clocks,
            self._queues,
            health_score=self.swim.health_score,
            is_encrypted=self._keyring is not None and self._keyring.enabled,
        )

    # -- inputs

    def handle(self, incoming: SerfInput, now: float) -> list[Effect]:
        """Apply one input at `now` (seconds, monotonic); return the effects in order.

        After a `Shutdown` nothing has any effect any more.
        """
        if self._lifecycle is Lifecycle.SHUTDOWN:
            return []
        match incoming:
            case DatagramReceived():  # By far the most frequent.
                self._feed(incoming, now)
            case TimerFired(timer) if isinstance(timer, SerfTimer):
                self._on_timer(timer, now)
            case Start():
                self._on_start(incoming, now)
            case Join():
                self._on_join(incoming, now)
            case Leave(operation):
                self._on_leave(operation, now)
            case ForceLeave():
                self._on_force_leave(incoming, now)
            case SetTags():
                self._on_set_tags(incoming, now)
            case SendUserEvent():
                self._on_send_user_event(incoming, now)
            case Shutdown():
                self._on_shutdown(incoming, now)
            case _:
                self._feed(incoming, now)
        self._settle(now)
        effects, self._effects = self._effects, []
        return effects

    def _feed(self, incoming: SwimInput, now: float) -> None:
        """Let the gossip layer handle an input; act on its events where they stand."""
        for effect in self.swim.handle(incoming, now):
            if type(effect) is Emit:
                handler = self._on_swim_event.get(type(effect.event))
                if handler is not None:
                    handler(effect.event, now)
                    continue
            self._effects.append(effect)

    def _settle(self, now: float) -> None:
        """Follow up what the input caused: broadcasts now out, commands for the layer below."""
        while True:
            for ticket in self._queues.take_finished():
                self._on_broadcast_over(ticket, now, heard=True)
            if not self._commands:
                return
            self._feed(self._commands.popleft(), now)

    def _on_start(self, start: Start, now: float) -> None:
        self._tick(ReapTick(), self._config.reap_interval, now)
        self._tick(ReconnectTick(), self._config.reconnect_interval, now)
        self._tick(QueueCheckTick(), self._config.queue_check_interval, now)
        self._feed(start, now)

    def _on_shutdown(self, shutdown: Shutdown, now: float) -> None:
        self._feed(shutdown, now)
        self._lifecycle = Lifecycle.SHUTDOWN
        self._commands.clear()
        self._effects += [CancelTimer(timer) for timer in self._armed]
        self._armed.clear()

    # -- effects

    def _emit(self, event: Event | None) -> None:
        if event is not None:
            self._effects.append(Emit(event))

    def _set_timer(self, timer: SerfTimer, at: float) -> None:
        self._armed[timer] = None
        self._effects.append(SetTimer(timer, at))

    def _cancel_timer(self, timer: SerfTimer) -> None:
        if timer in self._armed:
            del self._armed[timer]
            self._effects.append(CancelTimer(timer))

    def _tick(self, timer: SerfTimer, interval: float, now: float) -> None:
        if interval > 0:
            self._set_timer(timer, now + interval)

    # -- timers

    def _on_timer(self, timer: SerfTimer, now: float) -> None:
        self._armed.pop(timer, None)
        match timer:
            case BroadcastTimeout(ticket):
                self._on_broadcast_over(ticket, now, heard=False)
            case PropagationOver():
                self._advance_leave(now)
            case PruneDue(node):
                self._emit(self._membership.prune(node))
            case ReapTick():
                for event in self._membership.reap(now, self._reap_timeout):
                    self._emit(event)
                self._tick(timer, self._config.reap_interval, now)
            case ReconnectTick():
                self._reconnect()
                self._tick(timer, self._config.reconnect_interval, now)
            case QueueCheckTick():
                for warning in self._queues.check(len(self._table)):
                    self._emit(warning)
                self._tick(timer, self._config.queue_check_interval, now)
            case _:
                raise AssertionError(f"unknown timer {timer}")

    def _reconnect(self) -> None:
        if self._lifecycle is not Lifecycle.ALIVE:
            return
        member = pick_reconnect(self._table, self._rng)
        if member is not None:
            target = JoinTarget(Address(host_of_ip(member.ip), member.port), member.name)
            self._commands.append(Join(self._own_operation(), (target,)))

    def _own_operation(self) -> Operation:
        self._own_operations -= 1
        return self._own_operations

    # -- joining

    def _on_join(self, join: Join, now: float) -> None:
        if self._lifecycle is not Lifecycle.ALIVE:
            self._refuse_join(join, f"this node is {self._lifecycle.text}")
        elif len(self._joins) > self._config.waits_max:
            self._refuse_join(join, "too many joins are waiting")
        else:
            self._joins.append(join)
            if len(self._joins) == 1:
                self._commands.append(join)

    def _refuse_join(self, join: Join, reason: str) -> None:
        failures = tuple((target, reason) for target in join.targets)
        self._emit(JoinFinished(join.operation, joined=0, failures=failures))

    def _on_join_finished(self, event: JoinFinished, now: float) -> None:
        if event.operation < 0:  # A reconnection; if it succeeded, the member has joined.
            return
        self._joins.popleft()
        if event.joined:
            self._broadcast_join_intent(now)
        self._emit(event)
        while self._joins and self._lifecycle is not Lifecycle.ALIVE:
            self._refuse_join(self._joins.popleft(), f"this node is {self._lifecycle.text}")
        if self._joins:
            self._commands.append(self._joins[0])

    def _broadcast_join_intent(self, now: float) -> None:
        """Tell the others that this node is here, or contradict whoever says that it leaves."""
        ltime = self._clocks.member.time
        self._membership.on_join_intent(self.name, ltime, now)
        self._queues.intents.queue(encode_serf(JoinIntent(ltime=ltime, node=self.name)))

    # -- leaving

    def _on_leave(self, operation: Operation, now: float) -> None:
        if self._lifecycle is Lifecycle.LEFT:
            self._emit(LeaveFinished(operation, heard=True))
            return
        if self._leaving is not None:
            # The reference refuses; to wait for the leave that is under way serves callers better.
            self._leaving.operations.append(operation)
            return
        self._lifecycle = Lifecycle.LEAVING
        self._leaving = Leaving(operation)
        message = self._make_leave_intent(self.name, now, prune=False)[0]
        if self._table.has_alive_besides(self.name):
            self._announce(message, LeaveIntentOut(), now)
        else:
            self._advance_leave(now)

    def _advance_leave(self, now: float, *, heard: bool = True) -> None:
        leaving = self._leaving
        assert leaving is not None
        match leaving.advance(heard=heard):
            case LeavePhase.GOSSIP:
                self._commands.append(Leave(self._own_operation()))
            case LeavePhase.PROPAGATION:
                self._set_timer(PropagationOver(), now + self._config.leave_propagate_delay)
            case LeavePhase.DONE:
                self._lifecycle = Lifecycle.LEFT
                self._leaving = None
                for operation in leaving.operations:
                    self._emit(LeaveFinished(operation, heard=leaving.heard))
            case LeavePhase.INTENT:
                raise AssertionError("a leave begins with its intent, and does not return to it")

    def _on_gossip_leave_finished(self, event: LeaveFinished, now: float) -> None:
        self._advance_leave(now, heard=event.heard)

    def _on_force_leave(self, command: ForceLeave, now: float) -> None:
        error = ""
        if len(self._waits) >= self._config.waits_max:
            error = "too many force-leaves are waiting for their broadcast"
        elif not is_writable(command.node):
            error = f"the node name {command.node!r} is not text"
        if error:
            self._emit(ForceLeaveFinished(command.operation, error))
            return
        message, verdict = self._make_leave_intent(command.node, now, prune=command.prune)
        # Nobody needs to hear that this node leaves if it contradicts in the same breath.
        if self._table.has_alive_besides(self.name) and not verdict.refute:
            self._announce(message, ForceLeaveOut(command.operation), now)
        else:
            self._emit(ForceLeaveFinished(command.operation))

    def _make_leave_intent(self, node: str, now: float, *, prune: bool) -> tuple[bytes, Verdict]:
        """A leave intent about `node`, already applied here."""
        ltime = self._clocks.member.time
        self._clocks.member.increment()
        verdict = self._membership.on_leave_intent(
            node, ltime, now, prune=prune, is_alive=self._lifecycle is Lifecycle.ALIVE
        )
        self._follow(verdict, node, now)
        return encode_serf(LeaveIntent(ltime=ltime, node=node, prune=prune)), verdict

    def _announce(self, message: bytes, purpose: Purpose, now: float) -> None:
        """Broadcast an intent and wait until it is out, or has had its time."""
        ticket = self._waits.open(purpose)
        self._set_timer(BroadcastTimeout(ticket), now + self._config.broadcast_timeout)
        self._queues.intents.queue(message, notify=ticket)

    def _on_broadcast_over(self, ticket: int, now: float, *, heard: bool) -> None:
        self._cancel_timer(BroadcastTimeout(ticket))
        match self._waits.close(ticket):
            case LeaveIntentOut():
                self._advance_leave(now, heard=heard)
            case ForceLeaveOut(operation):
                error = "" if heard else "timed out waiting for the broadcast to get out"
                self._emit(ForceLeaveFinished(operation, error, may_have_happened=not heard))
            case None:  # Out after its timeout: whoever waited was told so.
                pass

    # -- own tags and user events

    def _on_set_tags(self, command: SetTags, now: float) -> None:
        if self._lifecycle is not Lifecycle.ALIVE:
            error = f"this node is {self._lifecycle.text}"
            self._emit(TagsFinished(command.operation, error))
            return
        try:
            meta = meta_of_tags(dict(command.tags), self._config.protocol_version)
        except UsageError as error:
            self._emit(TagsFinished(command.operation, str(error)))
            return
        self._feed(UpdateMeta(command.operation, meta), now)

    def _on_update_finished(self, event: UpdateFinished, now: float) -> None:
        error = "" if event.heard else "timed out waiting for the broadcast to get out"
        self._emit(TagsFinished(event.operation, error, may_have_happened=not event.heard))

    def _on_send_user_event(self, command: SendUserEvent, now: float) -> None:
        event = UserEvent(self._clocks.event.time, command.name, command.payload, command.coalesce)
        message = encode_serf(event)
        limit = self._config.user_event_bytes_max
        error = why_too_large(command.name, command.payload, message, limit)
        if not error:
            self._clocks.event.increment()
            self._receive_user_event(event)
            self._queues.events.queue(message)
        self._emit(UserEventFinished(command.operation, error))

    # -- what the gossip layer reports

    def _on_node_joined(self, node: NodeView, now: float) -> None:
        for event in self._membership.on_node_joined(node, now):
            self._emit(event)

    def _on_node_left(self, node: NodeView, now: float) -> None:
        self._emit(self._membership.on_node_left(node, now))

    def _on_node_updated(self, node: NodeView, now: float) -> None:
        self._emit(self._membership.on_node_updated(node))

    def _on_name_conflict(self, event: NameConflictSeen, now: float) -> None:
        existing, other = event.existing, event.other
        self._emit(
            NameConflict(
                name=existing.name,
                is_ours=existing.name == self.name,
                existing=_address_text(existing),
                other=_address_text(other),
            )
        )

    def _on_user_message(self, event: UserMessageReceived, now: float) -> None:
        payload = event.payload
        try:
            message = decode_serf_untrusted(payload)
        except MalformedMessage as error:
            self._emit(MessageDropped(str(error)))
            return
        handler = self._on_serf_message.get(type(message))
        if handler is None:
            self._emit(MessageDropped(f"nobody waits for a {type(message).__name__}"))
            return
        handler(message, payload, now)

    # -- Serf messages; `payload` is what is passed on, byte for byte

    def _on_join_intent(self, intent: JoinIntent, payload: bytes, now: float) -> None:
        if self._membership.on_join_intent(intent.node, intent.ltime, now).rebroadcast:
            self._queues.intents.queue(payload)

    def _on_leave_intent(self, intent: LeaveIntent, payload: bytes, now: float) -> None:
        verdict = self._membership.on_leave_intent(
            intent.node,
            intent.ltime,
            now,
            prune=intent.prune,
            is_alive=self._lifecycle is Lifecycle.ALIVE,
        )
        self._follow(verdict, intent.node, now)
        if verdict.rebroadcast:
            self._queues.intents.queue(payload)

    def _follow(self, verdict: Verdict, node: str, now: float) -> None:
        """Do what an intent asks for, save passing it on."""
        if verdict.refute:
            self._broadcast_join_intent(now)
        self._emit(verdict.event)
        if verdict.prune:
            if self._table.members[node].status is Status.LEAVING:
                delay = self._config.broadcast_timeout + self._config.leave_propagate_delay
                self._set_timer(PruneDue(node), now + delay)
            else:
                self._emit(self._membership.prune(node))

    def _on_user_event(self, event: UserEvent, payload: bytes, now: float) -> None:
        if self._receive_user_event(event):
            self._queues.events.queue(payload)

    def _receive_user_event(self, event: UserEvent) -> bool:
        """Witness, remember and announce an event; tell whether it is new."""
        clock = self._clocks.event
        clock.witness(event.ltime)
        payload = event.payload or b""  # Nil and empty are equal.
        reception = self._events.receive(event.ltime, event.name, payload, clock.time)
        if reception is Reception.NEW:
            self._emit(UserEventReceived(event.ltime, event.name, payload, event.coalesce))
            return True
        if reception not in (Reception.DUPLICATE, Reception.BEFORE_MINIMUM):
            self._emit(MessageDropped(f"user event {event.name!r}: {reception.value}"))
        return False

    def _on_query(self, query: Query, payload: bytes, now: float) -> None:
        clock = self._clocks.query
        clock.witness(query.ltime)
        reception = self._queries.receive(query.ltime, query.id, clock.time)
        if reception is QueryReception.NEW and not query.flags & QueryFlag.NO_BROADCAST:
            self._queues.queries.queue(payload)
        elif reception in (QueryReception.TOO_OLD, QueryReception.FULL):
            self._emit(MessageDropped(f"query {query.name!r}: {reception.value}"))

    def _on_relay(self, relay: Relay, payload: bytes, now: float) -> None:
        """Forward what is inside, unseen, to whom it is meant for: possibly this node."""
        ip = relay.ip or b""
        if len(ip) not in (4, 16) or not relay.port or not relay.inner:
            self._emit(MessageDropped("a relay without a destination or without a message"))
            return
        destination = Address(host_of_ip(ip), relay.port)
        self._commands.append(SendUserMessage(destination, relay.inner, relay.node))

    def _on_user_state(self, event: UserStateReceived, now: float) -> None:
        try:
            state = read_state_untrusted(event.state)
        except MalformedMessage as error:
            self._emit(MessageDropped(str(error)))
            return
        witness_clocks(state, self._clocks)
        is_alive = self._lifecycle is Lifecycle.ALIVE
        for intent in implied_intents(state):  # Nobody else needs to hear them.
            if isinstance(intent, LeaveIntent):
                verdict = self._membership.on_leave_intent(
                    intent.node, intent.ltime, now, is_alive=is_alive
                )
                self._follow(verdict, intent.node, now)
            else:
                self._membership.on_join_intent(intent.node, intent.ltime, now)
        if event.is_join and self._joins and self._joins[0].ignore_old:
            self._events.ltime_min = max(self._events.ltime_min, state.event_ltime)
        for user_event in buffered_events(state):
            self._receive_user_event(user_event)


def _address_text(node: NodeView) -> str:
    return str(Address(host_of_ip(node.ip), node.port))
