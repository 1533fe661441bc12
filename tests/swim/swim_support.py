"""One node under test: builders with good defaults, and its effects read back as messages."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from swimnomad.names import Address, Stream, ip_of_host
from swimnomad.swim.config import VERSIONS_PLAIN, SwimConfig
from swimnomad.swim.delegate import Delegate, NoDelegate
from swimnomad.swim.effects import (
    CancelTimer,
    CloseStream,
    Effect,
    Emit,
    Event,
    OpenStream,
    SendDatagram,
    SetTimer,
    WriteStream,
)
from swimnomad.swim.events import NodeView
from swimnomad.swim.inputs import (
    DatagramReceived,
    Start,
    StreamOpened,
    StreamReceived,
    SwimInput,
    Timer,
    TimerFired,
)
from swimnomad.swim.members import NodeEntry
from swimnomad.swim.node import SwimNode
from swimnomad.wire.codec import decode_untrusted, encode
from swimnomad.wire.compound import make_compound
from swimnomad.wire.frames import StreamCodec, StreamSettings
from swimnomad.wire.keyring import Keyring
from swimnomad.wire.messages import (
    Alive,
    Dead,
    NodeRecord,
    NodeState,
    PacketMessage,
    PushPull,
    StreamMessage,
    Suspect,
)
from swimnomad.wire.packets import PacketCodec, PacketSettings

OWN = Address("10.0.0.1", 7946)
PEER = Address("10.0.0.2", 7946)
OTHER = Address("10.0.0.3", 7946)
META = b"meta"

E = TypeVar("E", bound=Event)
F = TypeVar("F")


def host(number: int) -> str:
    """Address of the n-th node, as text."""
    return f"10.0.0.{number}"


def alive(
    node: str = "b",
    incarnation: int = 1,
    host: str = PEER.host,
    port: int = PEER.port,
    meta: bytes | None = None,
    versions: bytes | None = VERSIONS_PLAIN,
) -> Alive:
    return Alive(node, incarnation, ip_of_host(host), port, meta, versions)


def record(
    name: str = "b",
    incarnation: int = 1,
    state: int = NodeState.ALIVE,
    host: str = PEER.host,
    port: int = PEER.port,
    meta: bytes | None = None,
    versions: bytes | None = VERSIONS_PLAIN,
) -> NodeRecord:
    return NodeRecord(name, incarnation, ip_of_host(host), port, meta, versions, state)


class Rig:
    """A started node, its clock, and what it did with the last input and since the start."""

    def __init__(
        self,
        *,
        name: str = "a",
        delegate: Delegate | None = None,
        keyring: Keyring | None = None,
        seed: str = "rig",
        incarnation: int = 1,
        **settings: Any,  # noqa: ANN401 - settings by name
    ) -> None:
        settings.setdefault("compression", False)
        self.config = SwimConfig(name=name, **settings)
        self.node = SwimNode(self.config, random.Random(seed), delegate=delegate, keyring=keyring)
        self.now = 1000.0
        self.effects: list[Effect] = []
        self.timers: dict[Timer, float] = {}
        self._packets = PacketCodec(PacketSettings(), Keyring(), lambda: bytes(12))
        self._frames = StreamCodec(
            StreamSettings(compression=self.config.compression), Keyring(), lambda: bytes(12)
        )
        self.feed(Start(OWN, incarnation))

    # --- feeding ----------------------------------------------------------------------------------

    def feed(self, incoming: SwimInput) -> list[Effect]:
        """Give one input; keep its effects and the timers they arm."""
        self.effects = self.node.handle(incoming, self.now)
        for effect in self.effects:
            if isinstance(effect, SetTimer):
                self.timers[effect.timer] = effect.at
            elif isinstance(effect, CancelTimer):
                self.timers.pop(effect.timer, None)
        return self.effects

    def hear(self, *messages: PacketMessage, source: Address = PEER) -> list[Effect]:
        """Give one datagram with these messages."""
        parts = [encode(message) for message in messages]
        data = parts[0] if len(parts) == 1 else make_compound(parts)
        return self.feed(DatagramReceived(data, source))

    def fire(self, kind: type[Timer]) -> list[Effect]:
        """Wait for the next timer of a kind and fire it."""
        timer = min((t for t in self.timers if isinstance(t, kind)), key=self.timers.__getitem__)
        self.now = max(self.now, self.timers.pop(timer))
        return self.feed(TimerFired(timer))

    def at_of(self, kind: type[Timer]) -> float:
        """When the only timer of a kind is due, in seconds from now."""
        (at,) = [at for timer, at in self.timers.items() if isinstance(timer, kind)]
        return at - self.now

    def has_timer(self, kind: type[Timer]) -> bool:
        return any(isinstance(timer, kind) for timer in self.timers)

    def accept(self, number: int = 1, peer: Address = PEER) -> Stream:
        """A peer connects."""
        stream = Stream(inbound=True, number=number)
        self.feed(StreamOpened(stream, peer))
        return stream

    def request(self, message: StreamMessage, number: int = 1) -> list[Effect]:
        """A peer connects and writes a message."""
        stream = self.accept(number)
        return self.feed(StreamReceived(stream, self._frames.pack(message, True)))

    def reply(self, stream: Stream, message: StreamMessage) -> list[Effect]:
        """The peer we dialed answers."""
        return self.feed(StreamReceived(stream, self._frames.pack(message, False)))

    def merge(self, *records: NodeRecord, is_join: bool = False, number: int = 1) -> list[Effect]:
        """A peer makes a push/pull with these records."""
        return self.request(PushPull(is_join, tuple(records)), number)

    # --- reading back -----------------------------------------------------------------------------

    def of(self, kind: type[F]) -> list[F]:
        """The last effects of one kind."""
        return [effect for effect in self.effects if isinstance(effect, kind)]

    def events(self, kind: type[E]) -> list[E]:
        """The last events of one kind."""
        return [e.event for e in self.of(Emit) if isinstance(e.event, kind)]

    def messages_in(self, data: bytes) -> list[PacketMessage]:
        return [decode_untrusted(raw) for raw in self._packets.unpack_untrusted(data).messages]

    def sent(self) -> list[tuple[Address, list[PacketMessage]]]:
        """The last datagrams: to whom and what."""
        return [(e.to, self.messages_in(e.data)) for e in self.of(SendDatagram)]

    def sent_first(self) -> list[tuple[Address, PacketMessage]]:
        """The last datagrams without what was piggybacked."""
        return [(to, messages[0]) for to, messages in self.sent()]

    def written(self) -> list[StreamMessage]:
        """What was last written to inbound streams."""
        return [self._read(effect.data, True) for effect in self.of(WriteStream)]

    def dialed(self) -> list[tuple[Address, StreamMessage]]:
        """Whom we last dialed, with what."""
        return [(e.to, self._read(e.data, False)) for e in self.of(OpenStream)]

    def opened(self) -> Stream:
        """The one stream last dialed."""
        (effect,) = self.of(OpenStream)
        return effect.stream

    def closed(self) -> list[Stream]:
        return [effect.stream for effect in self.of(CloseStream)]

    def _read(self, data: bytes, dialer: bool) -> StreamMessage:
        message = self._frames.reader(dialer).feed(data)
        assert message is not None
        return message

    def queued(self) -> list[PacketMessage]:
        """The broadcasts waiting. Counts as sending each of them once."""
        return [decode_untrusted(raw) for raw in self.node._context.queue.fetch(0, 1 << 30, 1000)]

    def queued_about(self, name: str) -> list[PacketMessage]:
        claims = [m for m in self.queued() if isinstance(m, Alive | Suspect | Dead)]
        return [claim for claim in claims if claim.node == name]

    def drain(self) -> None:
        """Forget the broadcasts waiting."""
        self.node._context.queue.prune(0)

    def entry(self, name: str) -> NodeEntry:
        entry = self.node.table.get(name)
        assert entry is not None
        return entry

    @property
    def own(self) -> NodeEntry:
        return self.node.own


def rig_with(*others: str, **settings: Any) -> Rig:  # noqa: ANN401 - settings by name
    """A node that knows others: b at .2, c at .3, …, with nothing left to gossip."""
    rig = Rig(**settings)
    for number, name in enumerate(others, 2):
        rig.hear(alive(name, host=host(number)))
    rig.drain()
    return rig


class Hooks(NoDelegate):
    """A delegate whose answers are plain attributes."""

    def __init__(self) -> None:
        self.payloads: list[bytes] = []
        self.limits: list[tuple[int, int]] = []
        self.state = b""
        self.ack = b""
        self.alive_refusal: Callable[[NodeView], str] = lambda _node: ""
        self.merge_refusal = ""
        self.merges: list[tuple[Sequence[NodeView], Sequence[int]]] = []

    def has_broadcasts(self) -> bool:
        return bool(self.payloads)

    def broadcasts(self, overhead: int, limit: int, now: float) -> list[bytes]:
        self.limits.append((overhead, limit))
        taken: list[bytes] = []
        while self.payloads and overhead + len(self.payloads[0]) <= limit:
            limit -= overhead + len(self.payloads[0])
            taken.append(self.payloads.pop(0))
        return taken

    def local_state(self, is_join: bool) -> bytes:
        return self.state

    def ack_payload(self) -> bytes:
        return self.ack

    def refuse_alive(self, node: NodeView) -> str:
        return self.alive_refusal(node)

    def refuse_merge(self, nodes: Sequence[NodeView], states: Sequence[int]) -> str:
        self.merges.append((nodes, states))
        return self.merge_refusal
