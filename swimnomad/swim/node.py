"""The gossip node: takes an input, hands it to the part it concerns, returns the effects.

Rules live in the parts: `members` judges claims, `membership` applies them, `probe`, `relays`,
`gossip` and `pushpull` keep the cycles, `streams` and `datagrams` know how messages travel.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import assert_never

from swimnomad.errors import MalformedMessage, UsageError
from swimnomad.names import Address, Stream, ip_of_host
from swimnomad.swim.announcements import Announcements
from swimnomad.swim.config import SwimConfig
from swimnomad.swim.context import Context
from swimnomad.swim.datagrams import USER_PREFIX, Sender
from swimnomad.swim.delegate import Delegate, NoDelegate
from swimnomad.swim.effects import Effect
from swimnomad.swim.events import NodeJoined, NodeView, UserMessageReceived
from swimnomad.swim.gossip import Gossiper
from swimnomad.swim.inputs import (
    Converge,
    DatagramReceived,
    Join,
    Leave,
    LetTicksRest,
    Roster,
    SendUserMessage,
    Shutdown,
    Start,
    StreamEnded,
    StreamFailed,
    StreamOpened,
    StreamReceived,
    SwimInput,
    Timer,
    TimerFired,
    UpdateMeta,
)
from swimnomad.swim.joins import Joins
from swimnomad.swim.members import MemberTable, NodeEntry, entries_of
from swimnomad.swim.membership import INCARNATION_MAX, Membership, view_of
from swimnomad.swim.probe import Prober
from swimnomad.swim.pushpull import Exchanger
from swimnomad.swim.relays import Relays, reply_address
from swimnomad.swim.streams import Streams
from swimnomad.swim.timers import (
    GossipTick,
    OperationDeadline,
    ProbeDeadline,
    ProbeTick,
    ProbeTimeout,
    PushPullTick,
    RelayTimeout,
    StreamDeadline,
    SuspicionTimeout,
)
from swimnomad.wire.codec import decode_untrusted, encode
from swimnomad.wire.encryption import NONCE_BYTES
from swimnomad.wire.frames import StreamCodec, StreamSettings
from swimnomad.wire.keyring import Keyring
from swimnomad.wire.messages import (
    Ack,
    Alive,
    Dead,
    IndirectPing,
    Nack,
    NodeState,
    PacketMessage,
    Ping,
    PushPull,
    StreamMessage,
    Suspect,
    UserMessage,
)
from swimnomad.wire.packets import PacketCodec, PacketSettings

_StreamInput = StreamOpened | StreamReceived | StreamEnded | StreamFailed
_Command = Start | Converge | LetTicksRest | Join | Leave | UpdateMeta | SendUserMessage | Shutdown


class SwimNode:
    """One member of a gossip pool, without I/O.

    Args:
        config: Settings; validated here.
        rng: Where all randomness comes from.
        delegate: The layer above.
        keyring: Encryption keys, which may change at any time; None for no encryption.
        nonces: Returns 12 fresh bytes at each call; None takes them from `rng`, which is for
            simulations only.

    Raises:
        UsageError: If the configuration is wrong.
    """

    def __init__(
        self,
        config: SwimConfig,
        rng: random.Random,
        *,
        delegate: Delegate | None = None,
        keyring: Keyring | None = None,
        nonces: Callable[[], bytes] | None = None,
    ) -> None:
        config.validate()
        keyring = Keyring() if keyring is None else keyring
        if nonces is None:

            def nonces() -> bytes:
                return rng.randbytes(NONCE_BYTES)

        self._context = Context(config, rng, delegate or NoDelegate())
        self._packets, plain_packets = (
            PacketCodec(_packet_settings(config, compression), keyring, nonces)
            for compression in (config.compression, False)
        )
        stream_codec, plain_stream_codec = (
            StreamCodec(_stream_settings(config, compression), keyring, nonces)
            for compression in (config.compression, False)
        )
        self._sender = Sender(self._context, self._packets, plain_packets)
        self._membership = Membership(self._context, self._sender)
        self._streams = Streams(self._context, stream_codec, plain_stream_codec, self._on_request)
        self._exchanger = Exchanger(self._context, self._membership, self._streams)
        self._prober = Prober(self._context, self._sender, self._membership, self._streams)
        self._relays = Relays(self._context, self._sender)
        self._gossiper = Gossiper(self._context, self._sender)
        self._joins = Joins(self._context, self._exchanger)
        self._announcements = Announcements(self._context, self._membership)
        self._is_started = False

    # --- for observers ----------------------------------------------------------------------------

    @property
    def config(self) -> SwimConfig:
        """Its settings."""
        return self._context.config

    @property
    def table(self) -> MemberTable:
        """Every node we know; iterate over it, never change it."""
        return self._context.table

    @property
    def own(self) -> NodeEntry:
        """Our own entry; only once started."""
        return self._context.own

    @property
    def address(self) -> Address:
        """Our advertised address; only once started."""
        return self._context.own.address

    @property
    def health_score(self) -> int:
        """Local health: 0 is healthy."""
        return self._context.awareness.score

    @property
    def node_count(self) -> int:
        """Entries of the table in any state."""
        return len(self._context.table)

    @property
    def live_count(self) -> int:
        """Members alive or suspect, ourselves included."""
        return self._context.table.live_count

    @property
    def queue_length(self) -> int:
        """Membership broadcasts waiting."""
        return len(self._context.queue)

    @property
    def is_resting(self) -> bool:
        """Whether it sleeps through its gossip ticks, see `LetTicksRest`."""
        return self._gossiper.is_resting

    @property
    def counters(self) -> Mapping[str, int]:
        """Name to number: messages, bytes, drops (`dropped.…`), failures."""
        return MappingProxyType(self._context.counters)

    # --- inputs -----------------------------------------------------------------------------------

    def handle(self, incoming: SwimInput, now: float) -> list[Effect]:
        """Apply one input at `now` (seconds, monotonic); return the effects in order.

        Raises:
            UsageError: If a command makes no sense; nothing has changed. Never for what a peer
                sent.
        """
        context = self._context
        context.now = now
        if context.is_stopped or not self._is_started:
            self._handle_at_the_edges(incoming)
        elif isinstance(incoming, DatagramReceived):
            self._on_datagram(incoming.data, incoming.source)
        elif isinstance(incoming, TimerFired):
            self._on_timer(incoming.timer)
        else:
            self._on_other(incoming)
        for token in context.queue.take_finished():
            self._announcements.on_broadcast_finished(token)
        if self._gossiper.is_resting:
            self._gossiper.wake_for_news()
        effects, context.effects = context.effects, []
        return effects

    def _handle_at_the_edges(self, incoming: SwimInput) -> None:
        """Before the start and after the shutdown hardly anything happens."""
        match incoming:
            case Start() if not self._context.is_stopped:
                self._on_start(incoming)
            case Join() if self._context.is_stopped:
                self._joins.start(incoming)
            case Start() | Converge() | Join() | Leave() | UpdateMeta() | SendUserMessage():
                state = "shut down" if self._context.is_stopped else "not started"
                raise UsageError(f"{type(incoming).__name__} on a node that is {state}")
            case Shutdown():
                self._context.is_stopped = True
            case _:
                pass  # A late datagram or stream, a timer that was on its way.

    def _on_other(self, incoming: _StreamInput | _Command) -> None:
        match incoming:
            case StreamOpened(stream, peer):
                self._streams.on_opened(stream, peer)
            case StreamReceived(stream, data):
                self._streams.on_received(stream, data)
            case StreamEnded(stream):
                self._streams.on_ended(stream)
            case StreamFailed(stream, reason):
                self._streams.on_failed(stream, reason)
            case Join():
                self._joins.start(incoming)
            case Leave(operation):
                self._announcements.leave(operation)
            case UpdateMeta(operation, meta):
                self._announcements.update(operation, meta)
            case SendUserMessage(to, payload, node):
                self._send_user_message(to, payload, node)
            case Shutdown():
                self._on_shutdown()
            case LetTicksRest(allowed):
                self._gossiper.let_rest(allowed)
            case Converge(roster):
                self._on_converge(roster)
            case Start():
                raise UsageError("a node starts once")
            case _:
                assert_never(incoming)

    def _on_start(self, start: Start) -> None:
        context = self._context
        config = context.config
        if not 0 < start.incarnation <= INCARNATION_MAX:
            raise UsageError(f"incarnation {start.incarnation} is not 1 to {INCARNATION_MAX}")
        if not start.advertise.port:
            raise UsageError("the advertised port must not be 0")
        own = NodeEntry(
            config.name,
            ip_of_host(start.advertise.host),
            start.advertise.port,
            config.meta,
            config.versions,
            start.incarnation,
            NodeState.ALIVE,
            context.now,
        )
        refusal = context.delegate.refuse_alive(view_of(own, NodeView))
        if refusal:
            raise UsageError(f"this node's own delegate refuses it: {refusal}")
        self._is_started = True
        context.own = own
        context.table.insert(own)
        self._membership.announce(start.incarnation, config.meta)
        context.emit(view_of(own, NodeJoined))
        self._prober.start()
        self._gossiper.start()
        self._exchanger.start()

    def _on_converge(self, roster: Roster) -> None:
        context = self._context
        if len(context.table) != 1:
            raise UsageError("a node that knows others already cannot begin converged")
        entries = entries_of(roster, context.now)
        if context.own.name not in entries:
            raise UsageError(f"the roster does not name this node, {context.own.name!r}")
        context.table.fill(entries)
        context.queue.prune(0)
        self._exchanger.settle()

    def _on_shutdown(self) -> None:
        context = self._context
        context.is_stopped = True
        self._gossiper.stop()
        self._streams.close_all("this node is shut down")
        self._announcements.give_up()
        for timer in list(context.timers):
            context.cancel_timer(timer)

    def _send_user_message(self, to: Address, payload: bytes, node: str) -> None:
        if not payload:
            raise UsageError("a user message must not be empty")
        self._sender.send(to, USER_PREFIX + payload, self._context.table.get(node))

    # --- timers -----------------------------------------------------------------------------------

    def _on_timer(self, timer: Timer) -> None:
        self._context.timers.pop(timer, None)
        match timer:
            case GossipTick():
                self._gossiper.on_tick()
            case ProbeTick():
                self._prober.on_tick()
            case ProbeTimeout():
                self._prober.on_timeout(timer)
            case ProbeDeadline():
                self._prober.on_deadline(timer)
            case RelayTimeout():
                self._relays.on_timeout(timer)
            case SuspicionTimeout():
                self._membership.on_suspicion_timeout(timer)
            case StreamDeadline():
                self._streams.on_deadline(timer)
            case PushPullTick():
                self._exchanger.on_tick()
            case OperationDeadline():
                self._announcements.on_deadline(timer)
            case _:
                raise UsageError(f"the gossip layer has no timer {timer!r}")

    # --- datagrams --------------------------------------------------------------------------------

    def _on_datagram(self, data: bytes, source: Address) -> None:
        context = self._context
        context.count("udp.received", len(data))
        try:
            packet = self._packets.unpack_untrusted(data)
        except MalformedMessage as error:
            context.drop(source, "datagram", str(error))
            return
        self._membership.can_remind = context.rules.is_safe
        for raw in packet.messages:
            try:
                message = decode_untrusted(raw)
            except MalformedMessage as error:
                context.drop(source, "message", str(error))
                continue
            self._on_message(message, source)
        self._membership.can_remind = False
        for problem in packet.problems:
            context.drop(source, "message", problem)

    def _on_message(self, message: PacketMessage, source: Address) -> None:
        match message:
            case Alive():
                if self._context.allowed.allow_host(source.host):
                    self._membership.hear_alive(message, source)
                else:
                    reason = f"alive of {message.node!r} from outside the allowed networks"
                    self._context.drop(source, "network", reason)
            case Suspect():
                self._membership.hear_suspect(message, source)
            case Dead():
                self._membership.hear_dead(message, source)
            case Ping():
                self._on_ping(message, source)
            case Ack():
                if not self._prober.on_ack(message):
                    self._relays.on_ack(message.sequence)
            case Nack(sequence):
                self._prober.on_nack(sequence)
            case IndirectPing():
                self._relays.on_request(message, source)
            case UserMessage(payload):
                self._on_user_message(payload, source, False)
            case _:
                assert_never(message)

    def _is_for_us(self, ping: Ping, source: Address) -> bool:
        if not ping.node or ping.node == self._context.config.name:
            return True
        # Somebody took over the address of a node that is gone: its probes must fail.
        self._context.drop(source, "ping", f"ping for {ping.node!r}")
        return False

    def _on_ping(self, ping: Ping, source: Address) -> None:
        if self._is_for_us(ping, source):
            payload = self._context.delegate.ack_payload() or None
            to = reply_address(ping.source_ip, ping.source_port, source)
            self._sender.send_piggybacked(to, encode(Ack(ping.sequence, payload)))

    def _on_user_message(self, payload: bytes, source: Address, by_stream: bool) -> None:
        if payload:
            self._context.emit(UserMessageReceived(payload, source, by_stream))
        else:
            self._context.drop(source, "message", "empty user message")

    # --- streams ----------------------------------------------------------------------------------

    def _on_request(self, stream: Stream, peer: Address, message: StreamMessage) -> None:
        match message:
            case Ping():
                if self._is_for_us(message, peer):
                    self._streams.answer(stream, Ack(message.sequence))
            case PushPull():
                self._exchanger.answer(
                    message, peer, lambda state: self._streams.answer(stream, state)
                )
            case _:
                assert isinstance(message, UserMessage)  # The reader takes nothing else.
                self._on_user_message(message.payload, peer, True)


def _encryption_version(config: SwimConfig) -> int:
    return 0 if config.versions[2] < 2 else 1


def _packet_settings(config: SwimConfig, compression: bool) -> PacketSettings:
    return PacketSettings(
        compression=compression,
        label=config.label,
        skip_inbound_label_check=config.skip_inbound_label_check,
        verify_incoming=config.verify_incoming,
        verify_outgoing=config.verify_outgoing,
        encryption_version=_encryption_version(config),
        decompressed_bytes_max=config.decompressed_bytes_max,
    )


def _stream_settings(config: SwimConfig, compression: bool) -> StreamSettings:
    return StreamSettings(
        compression=compression,
        label=config.label,
        skip_inbound_label_check=config.skip_inbound_label_check,
        verify_incoming=config.verify_incoming,
        verify_outgoing=config.verify_outgoing,
        encryption_version=_encryption_version(config),
        nodes_max=config.nodes_max,
        user_state_bytes_max=config.user_state_bytes_max,
        decompressed_bytes_max=config.decompressed_bytes_max,
    )
