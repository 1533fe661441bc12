"""One Serf node: a gossip-layer node wrapped in tags, intents, statuses and user events.

The node takes an input, hands it to the part it concerns, and returns the effects. The rules live
in the parts: `membership` moves members from status to status, `intent_traffic` hears and answers
intents, `departures` leaves, `joins` joins, `user_events` and `queries` do what their names say.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from swimnomad.errors import MalformedMessage, UsageError
from swimnomad.names import Address, host_of_ip
from swimnomad.serf.config import SerfConfig
from swimnomad.serf.context import Context
from swimnomad.serf.delegate import SerfDelegate
from swimnomad.serf.departures import Departures
from swimnomad.serf.events import (
    ForceLeaveFinished,
    Member,
    MessageDropped,
    NameConflict,
    Status,
    TagsFinished,
    UserEventFinished,
)
from swimnomad.serf.filter import AdmissionControl, MemberFilter
from swimnomad.serf.inputs import ForceLeave, SendUserEvent, SerfInput, SetTags
from swimnomad.serf.intent_traffic import IntentTraffic
from swimnomad.serf.joins import Joins
from swimnomad.serf.lifecycle import Lifecycle
from swimnomad.serf.membership import ReapTimeout
from swimnomad.serf.pushpull import (
    StateWriter,
    buffered_events,
    implied_intents,
    read_state_untrusted,
    witness_clocks,
)
from swimnomad.serf.queries import Queries
from swimnomad.serf.stats import stats_block
from swimnomad.serf.tags import meta_of_tags
from swimnomad.serf.timers import (
    BroadcastTimeout,
    PropagationOver,
    PruneDue,
    QueueCheckTick,
    ReapTick,
    ReconnectTick,
    SerfTimer,
)
from swimnomad.serf.user_events import UserEvents
from swimnomad.swim.effects import Effect, Emit, Event
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
    Converge,
    DatagramReceived,
    Join,
    Leave,
    LetTicksRest,
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
    Relay,
    UserEvent,
    decode_serf_untrusted,
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
        self._keyring = keyring
        self._reap_timeout = reap_timeout
        self._unborn = Member(config.swim.name, b"", 0, config.tags, Status.NONE, b"")
        self._context = context = Context(config)
        self._intents = IntentTraffic(context)
        self._departures = Departures(context, self._intents)
        self._joins = Joins(context, self._intents, rng)
        self._events = UserEvents(context)
        self._queries = Queries(context)
        writer = StateWriter(
            context.clocks, context.table, context.membership.ghosts, self._events.buffer
        )
        admission = AdmissionControl(member_filter, validate_names=config.validate_node_names)
        self.swim = SwimNode(
            msgspec.structs.replace(
                config.swim,
                meta=meta_of_tags(config.tags, config.protocol_version),
                versions=bytes((1, 5, 2, 2, 5, config.protocol_version)),
                leave_timeout=config.broadcast_timeout,
            ),
            rng,
            delegate=SerfDelegate(context.table, context.queues, writer.write, admission),
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
            JoinFinished: self._joins.on_finished,
            LeaveFinished: self._departures.on_gossip_leave_finished,
            UpdateFinished: self._on_update_finished,
        }
        self._on_serf_message: dict[type, Callable[[Any, bytes, float], None]] = {
            JoinIntent: self._intents.on_join,
            LeaveIntent: self._intents.on_leave,
            UserEvent: self._events.on_event,
            Query: self._queries.on_query,
            Relay: self._on_relay,
        }

    # -- what observers read

    @property
    def name(self) -> str:
        """The node's own name."""
        return self._context.name

    @property
    def config(self) -> SerfConfig:
        """Its settings."""
        return self._context.config

    @property
    def members(self) -> Mapping[str, Member]:
        """Every member by name, in order of appearance; a live view."""
        return self._context.table.members

    @property
    def local_member(self) -> Member:
        """The node's own record, the last one if it is reaped; `NONE` before `Start`."""
        membership = self._context.membership
        return membership.table.get(self.name) or membership.departed or self._unborn

    @property
    def lifecycle(self) -> Lifecycle:
        """Whether the node is alive, leaving, left or shut down."""
        return self._context.lifecycle

    @property
    def flap_count(self) -> int:
        """Members that came back shortly after they had failed, since the start."""
        return self._context.membership.flaps

    def stats(self) -> dict[str, str]:
        """Figures for operators, as text."""
        context = self._context
        return stats_block(
            context.table,
            context.clocks,
            context.queues,
            health_score=self.swim.health_score,
            is_encrypted=self._keyring is not None and self._keyring.enabled,
        )

    # -- inputs

    def handle(self, incoming: SerfInput, now: float) -> list[Effect]:
        """Apply one input at `now` (seconds, monotonic); return the effects in order.

        After a `Shutdown` nothing changes any more; commands are told so.

        Raises:
            UsageError: If a command comes before the start, or a second start.
        """
        if self._context.lifecycle is Lifecycle.SHUTDOWN:
            self._refuse(incoming)
        elif type(incoming) is DatagramReceived:  # By far the most frequent.
            self._feed(incoming, now)
        else:
            self._on_other(incoming, now)
        self._settle(now)
        effects, self._context.effects = self._context.effects, []
        return effects

    def _on_other(self, incoming: SerfInput, now: float) -> None:
        match incoming:
            case TimerFired(timer) if isinstance(timer, SerfTimer):
                self._on_timer(timer, now)
            case Start():
                self._on_start(incoming, now)
            case Converge(roster):
                self._feed(incoming, now)
                self._context.membership.converge(roster)
            case Join():
                self._joins.join(incoming)
            case Leave(operation):
                self._departures.leave(operation, now)
            case ForceLeave():
                self._departures.force_leave(incoming, now)
            case SetTags():
                self._on_set_tags(incoming, now)
            case SendUserEvent():
                self._events.send(incoming)
            case Shutdown():
                self._on_shutdown(incoming, now)
            case _:
                self._feed(incoming, now)

    def _feed(self, incoming: SwimInput, now: float) -> None:
        """Let the gossip layer handle an input; act on its events where they stand."""
        for effect in self.swim.handle(incoming, now):
            if type(effect) is Emit:
                handler = self._on_swim_event.get(type(effect.event))
                if handler is not None:
                    handler(effect.event, now)
                    continue
            self._context.effects.append(effect)

    def _settle(self, now: float) -> None:
        """Follow up what the input caused: broadcasts now out, orders for the layer below."""
        context = self._context
        while True:
            for ticket in context.queues.take_finished():
                self._departures.on_broadcast_over(ticket, now, heard=True)
            if not context.orders:
                break
            self._feed(context.orders.popleft(), now)
        if self.swim.is_resting and context.queues.is_waiting:
            self._feed(LetTicksRest(True), now)  # The gossip layer looks what there is to send.

    def _on_start(self, start: Start, now: float) -> None:
        self._feed(start, now)
        config = self._context.config
        self._context.set_tick(ReapTick(), config.reap_interval, now)
        self._context.set_tick(ReconnectTick(), config.reconnect_interval, now)
        self._context.set_tick(QueueCheckTick(), config.queue_check_interval, now)

    def _on_shutdown(self, shutdown: Shutdown, now: float) -> None:
        context = self._context
        context.lifecycle = Lifecycle.SHUTDOWN
        context.orders.clear()
        self._feed(shutdown, now)
        self._departures.give_up()
        context.cancel_all_timers()

    def _refuse(self, incoming: SerfInput) -> None:
        """Answer a command that comes too late; for whatever else comes nobody waits."""
        emit = self._context.emit
        error = "this node is shut down"
        match incoming:
            case Join():
                self._joins.refuse(incoming, error)
            case Leave(operation):
                emit(LeaveFinished(operation, heard=False))
            case ForceLeave(operation):
                emit(ForceLeaveFinished(operation, error))
            case SetTags(operation):
                emit(TagsFinished(operation, error))
            case SendUserEvent(operation):
                emit(UserEventFinished(operation, error))
            case _:
                pass

    def _on_timer(self, timer: SerfTimer, now: float) -> None:
        context, config = self._context, self._context.config
        context.on_timer_fired(timer)
        match timer:
            case BroadcastTimeout(ticket):
                self._departures.on_broadcast_over(ticket, now, heard=False)
            case PropagationOver():
                self._departures.on_propagation_over(now)
            case PruneDue(node):
                context.emit(context.membership.prune(node))
            case ReapTick():
                for reaped in context.membership.reap(now, self._reap_timeout):
                    context.emit(reaped)
                context.set_tick(timer, config.reap_interval, now)
            case ReconnectTick():
                self._joins.reconnect()
                context.set_tick(timer, config.reconnect_interval, now)
            case QueueCheckTick():
                for warning in context.queues.check(len(context.table)):
                    context.emit(warning)
                context.set_tick(timer, config.queue_check_interval, now)
            case _:
                raise UsageError(f"the Serf layer has no timer {timer!r}")

    def _on_set_tags(self, command: SetTags, now: float) -> None:
        context = self._context
        error = "" if context.is_alive else f"this node is {context.lifecycle.text}"
        if not error:
            try:
                meta = meta_of_tags(dict(command.tags), context.config.protocol_version)
                self._feed(UpdateMeta(command.operation, meta), now)
            except UsageError as usage_error:
                error = str(usage_error)
        if error:
            context.emit(TagsFinished(command.operation, error))

    # -- what the gossip layer reports

    def _on_node_joined(self, node: NodeView, now: float) -> None:
        for event in self._context.membership.on_node_joined(node, now):
            self._context.emit(event)

    def _on_node_left(self, node: NodeView, now: float) -> None:
        self._context.emit(self._context.membership.on_node_left(node, now))

    def _on_node_updated(self, node: NodeView, now: float) -> None:
        self._context.emit(self._context.membership.on_node_updated(node))

    def _on_update_finished(self, event: UpdateFinished, now: float) -> None:
        error = "" if event.heard else "timed out waiting for the broadcast to get out"
        outcome = TagsFinished(event.operation, error, may_have_happened=not event.heard)
        self._context.emit(outcome)

    def _on_name_conflict(self, event: NameConflictSeen, now: float) -> None:
        existing, other = event.existing, event.other
        is_ours = existing.name == self.name
        conflict = NameConflict(existing.name, is_ours, _address(existing), _address(other))
        self._context.emit(conflict)

    def _on_user_message(self, event: UserMessageReceived, now: float) -> None:
        try:
            message = decode_serf_untrusted(event.payload)
        except MalformedMessage as error:
            self._context.emit(MessageDropped(str(error)))
            return
        handler = self._on_serf_message.get(type(message))
        if handler is None:
            reason = f"nobody waits for a {type(message).__name__}"
            self._context.emit(MessageDropped(reason))
            return
        handler(message, event.payload, now)

    def _on_relay(self, relay: Relay, payload: bytes, now: float) -> None:
        """Forward what is inside, unseen, to whom it is meant for: possibly this node."""
        ip = relay.ip or b""
        if len(ip) not in (4, 16) or not relay.port or not relay.inner:
            reason = "a relay without a destination or without a message"
            self._context.emit(MessageDropped(reason))
            return
        to = Address(host_of_ip(ip), relay.port)
        self._context.orders.append(SendUserMessage(to, relay.inner, relay.node))

    def _on_user_state(self, event: UserStateReceived, now: float) -> None:
        try:
            state = read_state_untrusted(event.state)
        except MalformedMessage as error:
            self._context.emit(MessageDropped(str(error)))
            return
        witness_clocks(state, self._context.clocks)
        for intent in implied_intents(state):
            self._intents.on_implied(intent, now)
        buffer = self._events.buffer
        if event.is_join and self._joins.ignores_old_events:
            buffer.ltime_min = max(buffer.ltime_min, state.event_ltime)
        for user_event in buffered_events(state):
            self._events.receive(user_event)


def _address(node: NodeView) -> str:
    return str(Address(host_of_ip(node.ip), node.port))
