"""A small virtual-time network of Serf nodes: a heap, latency, loss, kills and partitions.

Simple on purpose: every link is alike, streams lose nothing unless they are cut, and everything
that happens follows from the seed.
"""

from __future__ import annotations

import heapq
import itertools
import random
from collections.abc import Callable, Iterable, Sequence
from typing import TypeVar

import msgspec

from swimnomad.names import Address, Stream
from swimnomad.serf.config import SerfConfig
from swimnomad.serf.events import Status
from swimnomad.serf.filter import MemberFilter
from swimnomad.serf.inputs import (
    DatagramReceived,
    ForceLeave,
    Join,
    JoinTarget,
    Leave,
    SendUserEvent,
    SerfInput,
    SetTags,
    Shutdown,
    Start,
    StreamEnded,
    StreamFailed,
    StreamOpened,
    StreamReceived,
    TimerFired,
)
from swimnomad.serf.membership import ReapTimeout
from swimnomad.serf.node import SerfNode
from swimnomad.swim.config import SwimConfig, profile_settings
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
from swimnomad.swim.inputs import Timer

EventType = TypeVar("EventType", bound=Event)

LATENCY = 0.002


def serf_config(
    name: str,
    profile: str = "local",
    *,
    gossip: dict[str, object] | None = None,
    **settings: object,
) -> SerfConfig:
    """A configuration by name, with short Serf intervals unless told otherwise.

    `gossip` overrides settings of the gossip layer.
    """
    fields = {**profile_settings(profile), "name": name, **(gossip or {})}
    swim = msgspec.convert(fields, SwimConfig)
    defaults: dict[str, object] = {"reap_interval": 1.0, "reconnect_interval": 1.0}
    return SerfConfig(swim, **{**defaults, **settings})  # type: ignore[arg-type]  # settings vary


class Host:
    """One node on the network, with its timers, its streams and what it announced."""

    def __init__(self, net: Net, node: SerfNode, address: Address) -> None:
        self.net = net
        self.node = node
        self.address = address
        self.is_up = True
        self.events: list[tuple[float, Event]] = []
        self.timers: dict[Timer, int] = {}
        self.streams: dict[Stream, Connection] = {}
        self._inbound_numbers = itertools.count(1)
        self._operations = itertools.count(1)

    @property
    def name(self) -> str:
        return self.node.name

    def feed(self, incoming: SerfInput) -> None:
        """Give the node an input and carry out what it asks for."""
        if self.is_up:
            for effect in self.node.handle(incoming, self.net.now):
                self._carry_out(effect)

    def _carry_out(self, effect: Effect) -> None:
        net = self.net
        match effect:
            case SendDatagram(to, data):
                net.send_datagram(self, to, data)
            case SetTimer(timer, at):
                token = self.timers[timer] = next(net.tokens)
                net.at(at, lambda: self._fire(timer, token))
            case CancelTimer(timer):
                self.timers.pop(timer, None)
            case Emit(event):
                self.events.append((net.now, event))
            case OpenStream(stream, to, data):
                net.connect(self, stream, to, data)
            case WriteStream(stream, data):
                if stream in self.streams:
                    self.streams[stream].write(self, data)
            case CloseStream(stream):
                if stream in self.streams:
                    self.streams.pop(stream).close(self)

    def _fire(self, timer: Timer, token: int) -> None:
        if self.timers.get(timer) == token:
            del self.timers[timer]
            self.feed(TimerFired(timer))

    def accept(self, connection: Connection) -> Stream:
        """A new inbound stream for a connection."""
        stream = Stream(True, next(self._inbound_numbers))
        self.streams[stream] = connection
        return stream

    # -- commands

    def start(self) -> Host:
        self.feed(Start(self.address))
        return self

    def join(self, *others: Host, ignore_old: bool = False) -> int:
        targets = tuple(JoinTarget(other.address, other.name) for other in others)
        return self._command(lambda op: Join(op, targets, ignore_old))

    def leave(self) -> int:
        return self._command(Leave)

    def force_leave(self, node: str, *, prune: bool = False) -> int:
        return self._command(lambda op: ForceLeave(op, node, prune))

    def set_tags(self, **tags: str) -> int:
        return self._command(lambda op: SetTags(op, tuple(tags.items())))

    def user_event(self, name: str, payload: bytes = b"", *, coalesce: bool = False) -> int:
        return self._command(lambda op: SendUserEvent(op, name, payload, coalesce))

    def _command(self, make: Callable[[int], SerfInput]) -> int:
        operation = next(self._operations)
        self.feed(make(operation))
        return operation

    def kill(self) -> None:
        """Stop without a word, as kill -9 would."""
        self.is_up = False
        self.timers.clear()
        for connection in self.streams.values():
            connection.close(self)
        self.streams.clear()

    def shutdown(self) -> None:
        self.feed(Shutdown())
        self.kill()

    # -- what tests look at

    def status(self, name: str) -> str:
        member = self.node.members.get(name)
        return "unknown" if member is None else member.status.text

    def statuses(self) -> dict[str, str]:
        return {name: member.status.text for name, member in sorted(self.node.members.items())}

    def announced(self, event_type: type[EventType]) -> list[EventType]:
        return [event for _, event in self.events if isinstance(event, event_type)]

    def kinds(self, name: str) -> list[str]:
        """Class names of the member events about `name`, in order."""
        return [
            type(event).__name__
            for _, event in self.events
            if (member := getattr(event, "member", None)) is not None and member.name == name
        ]


class Connection:
    """A TCP connection: two ends, bytes in order, cut by partitions without a word."""

    def __init__(self, net: Net, ends: tuple[tuple[Host, Stream], tuple[Host, Stream]]) -> None:
        self._net = net
        self._ends = ends

    def write(self, writer: Host, data: bytes) -> None:
        self._pass_on(writer, lambda stream: StreamReceived(stream, data))

    def close(self, closer: Host) -> None:
        self._pass_on(closer, StreamEnded)

    def _pass_on(self, sender: Host, make: Callable[[Stream], SerfInput]) -> None:
        # A node may connect to itself: then its own outbound stream is the other end.
        (dialer, out), (listener, inbound) = self._ends
        receiver, stream = (listener, inbound) if sender is dialer else (dialer, out)
        self._net.later(lambda: self._deliver(sender, receiver, stream, make(stream)))

    def _deliver(self, sender: Host, receiver: Host, stream: Stream, incoming: SerfInput) -> None:
        if self._net.connected(sender, receiver) and stream in receiver.streams:
            receiver.feed(incoming)


class Net:
    """The network and its clock."""

    def __init__(self, seed: int = 0, *, loss: float = 0.0, latency: float = LATENCY) -> None:
        self.now = 0.0
        self.loss = loss
        self.latency = latency
        self.seed = seed
        self.tokens = itertools.count()
        self.hosts: dict[Address, Host] = {}
        self._rng = random.Random(f"{seed}/network")
        self._heap: list[tuple[float, int, Callable[[], None]]] = []
        self._sequence = itertools.count()
        self._sides: dict[Address, int] = {}
        self._addresses = itertools.count(1)
        self._starts = itertools.count()

    # -- building

    def add(
        self,
        config: SerfConfig,
        *,
        address: Address | None = None,
        member_filter: MemberFilter | None = None,
        reap_timeout: ReapTimeout | None = None,
    ) -> Host:
        """A started node; at the address of a killed one it takes that one's place."""
        if address is None:
            number = next(self._addresses)
            address = Address(f"10.0.{number // 250}.{number % 250 + 1}", 7946)
        rng = random.Random(f"{self.seed}/{config.swim.name}/{next(self._starts)}")
        node = SerfNode(config, rng, member_filter=member_filter, reap_timeout=reap_timeout)
        host = self.hosts[address] = Host(self, node, address)
        return host.start()

    def pool(
        self,
        count: int,
        profile: str = "local",
        *,
        gossip: dict[str, object] | None = None,
        **settings: object,
    ) -> list[Host]:
        """Nodes a, b, c, … that have joined the first and see each other."""
        hosts = [
            self.add(serf_config(chr(ord("a") + i), profile, gossip=gossip, **settings))
            for i in range(count)
        ]
        for host in hosts[1:]:
            host.join(hosts[0])
        self.until(lambda: all(len(host.node.members) == count for host in hosts))
        return hosts

    # -- faults

    def partition(self, *sides: Iterable[Host]) -> None:
        """Only hosts of one side reach each other; those not named form a side of their own."""
        self._sides = {host.address: i for i, side in enumerate(sides, 1) for host in side}

    def heal(self) -> None:
        self._sides = {}

    def connected(self, one: Host, other: Host) -> bool:
        return self._sides.get(one.address, 0) == self._sides.get(other.address, 0)

    # -- traffic

    def send_datagram(self, sender: Host, to: Address, data: bytes) -> None:
        if self.loss and self._rng.random() < self.loss:
            return

        def deliver() -> None:
            receiver = self.hosts.get(to)
            if receiver is not None and self.connected(sender, receiver):
                receiver.feed(DatagramReceived(data, sender.address))

        self.later(deliver)

    def connect(self, dialer: Host, out: Stream, to: Address, data: bytes) -> None:
        def arrive() -> None:
            listener = self.hosts.get(to)
            if listener is not None and not self.connected(dialer, listener):
                return  # The packets vanish; the dialer's own deadline ends it.
            if listener is None or not listener.is_up:
                self.later(lambda: dialer.feed(StreamFailed(out, "connection refused")))
                return
            inbound = listener.accept(connection := Connection.__new__(Connection))
            Connection.__init__(connection, self, ((dialer, out), (listener, inbound)))
            dialer.streams[out] = connection
            listener.feed(StreamOpened(inbound, dialer.address))
            listener.feed(StreamReceived(inbound, data))

        self.later(arrive)

    # -- time

    def at(self, when: float, action: Callable[[], None]) -> None:
        heapq.heappush(self._heap, (max(when, self.now), next(self._sequence), action))

    def later(self, action: Callable[[], None]) -> None:
        self.at(self.now + self.latency, action)

    def run(self, seconds: float) -> None:
        """Let so much time pass."""
        self._run_to(self.now + seconds, lambda: False)

    def until(self, condition: Callable[[], bool], within: float = 60.0) -> float:
        """Run until the condition holds; return the time it took.

        Raises:
            AssertionError: If it does not within `within` seconds of virtual time.
        """
        begin = self.now
        assert self._run_to(begin + within, condition), f"not within {within} s: " + str(
            {h.name: h.statuses() for h in self.hosts.values()}
        )
        return self.now - begin

    def _run_to(self, end: float, condition: Callable[[], bool]) -> bool:
        while not condition():
            if not self._heap or self._heap[0][0] > end:
                self.now = end
                return condition()
            self.now, _, action = heapq.heappop(self._heap)
            action()
        return True


def all_see(hosts: Sequence[Host], name: str, status: Status) -> bool:
    """Whether every one of these hosts sees `name` with that status."""
    return all(host.status(name) == status.text for host in hosts)
