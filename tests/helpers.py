"""A pool of gossip nodes joined by a fake link, in virtual time.

The smallest driver there can be: a heap of (time, sequence, action). Datagrams and stream bytes
arrive after `latency`, unless a rule of the link loses them. It knows nothing of the protocol.
"""

from __future__ import annotations

import heapq
import itertools
import random
from collections.abc import Callable, Iterator
from typing import Any, TypeVar

from swimnomad.names import Address, Stream, ip_of_host
from swimnomad.swim.config import SwimConfig
from swimnomad.swim.delegate import Delegate
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
from swimnomad.swim.inputs import (
    DatagramReceived,
    Join,
    JoinTarget,
    Start,
    StreamEnded,
    StreamFailed,
    StreamOpened,
    StreamReceived,
    SwimInput,
    Timer,
    TimerFired,
)
from swimnomad.swim.members import NodeEntry
from swimnomad.swim.node import SwimNode
from swimnomad.wire.keyring import Keyring
from swimnomad.wire.messages import NodeState

PORT = 7946

E = TypeVar("E", bound=Event)


def address_of(number: int, port: int = PORT) -> Address:
    """Address of the n-th host of a net."""
    return Address(f"10.0.{number // 256}.{number % 256}", port)


class Host:
    """One node on the net: its core, its timers, what it announced."""

    def __init__(self, net: Net, node: SwimNode, address: Address) -> None:
        self.net = net
        self.node = node
        self.address = address
        self.is_up = True
        self.events: list[tuple[float, Event]] = []
        self.effects: list[tuple[float, Effect]] = []
        self._timers: dict[Timer, int] = {}
        self._streams: dict[Stream, tuple[Host, Stream]] = {}
        self._inbound = itertools.count(1)

    def feed(self, incoming: SwimInput) -> list[Effect]:
        """Give an input to the core and carry out its effects."""
        if not self.is_up:
            return []
        effects = self.node.handle(incoming, self.net.now)
        for effect in effects:
            self._carry_out(effect)
        return effects

    def announced(self, kind: type[E]) -> list[E]:
        """The events of one kind so far."""
        return [event for _, event in self.events if isinstance(event, kind)]

    def states(self) -> dict[str, NodeState]:
        """Whom this node sees as what."""
        return {entry.name: entry.state for entry in self.node.table}

    def entry(self, name: str) -> NodeEntry:
        """What this node holds about another."""
        entry = self.node.table.get(name)
        assert entry is not None, f"{name} is unknown"
        return entry

    def crash(self) -> None:
        """Stop without a word: nothing comes out or goes in any more; its port is closed."""
        self.is_up = False

    def _carry_out(self, effect: Effect) -> None:
        net = self.net
        match effect:
            case SendDatagram(to, data):
                net.datagrams_sent += 1
                net.send(self, to, data)
            case SetTimer(timer, at):
                self._timers[timer] = token = next(net.tokens)
                net.at(max(at, net.now), lambda: self._fire(timer, token))
            case CancelTimer(timer):
                self._timers.pop(timer, None)
            case Emit(event):
                self.events.append((net.now, event))
            case OpenStream(stream, to, data):
                net.dial(self, stream, to, data)
            case WriteStream(stream, data):
                if stream in self._streams:
                    other, far = self._streams[stream]
                    net.carry(self, other, StreamReceived(far, data))
            case CloseStream(stream):
                if stream in self._streams:
                    other, far = self._streams.pop(stream)
                    net.carry(self, other, StreamEnded(far))

    def _fire(self, timer: Timer, token: int) -> None:
        if self._timers.get(timer) == token:
            del self._timers[timer]
            self.feed(TimerFired(timer))

    def connect(self, stream: Stream, other: Host) -> Stream:
        """Open a stream of ours to a host that is up; return its name over there."""
        far = Stream(inbound=True, number=next(other._inbound))
        self._streams[stream] = (other, far)
        other._streams[far] = (self, stream)
        return far


class Net:
    """Hosts, links and the clock.

    Attributes:
        now: Virtual time in seconds.
        blocks: Says of (from, to, transport) whether the link loses everything.
        loss: Probability that a datagram is lost.
    """

    def __init__(self, seed: int = 0, latency: float = 0.001) -> None:
        self.now = 100.0
        self.latency = latency
        self.loss = 0.0
        self.blocks: Callable[[Host, Host, str], bool] = lambda _from, _to, _transport: False
        self.hosts: dict[str, Host] = {}
        self.by_address: dict[Address, Host] = {}
        self.tokens = itertools.count()
        self.datagrams_sent = 0
        self.seed = seed
        self._rng = random.Random(f"{seed}/net")
        self._heap: list[tuple[float, int, Callable[[], Any]]] = []
        self._numbers = itertools.count(1)

    def __getitem__(self, name: str) -> Host:
        """The host of a name."""
        return self.hosts[name]

    def __iter__(self) -> Iterator[Host]:
        """The hosts that are up."""
        return (host for host in self.hosts.values() if host.is_up)

    def add(
        self,
        name: str,
        *,
        address: Address | None = None,
        delegate: Delegate | None = None,
        keyring: Keyring | None = None,
        **settings: Any,  # noqa: ANN401 - settings by name
    ) -> Host:
        """Start a node at a fresh address, or at the one given."""
        address = address or address_of(next(self._numbers))
        node = SwimNode(
            SwimConfig(name=name, **settings),
            random.Random(f"{self.seed}/{name}"),
            delegate=delegate,
            keyring=keyring,
        )
        host = Host(self, node, address)
        self.hosts[name] = self.by_address[address] = host
        host.feed(Start(address))
        return host

    def pool(self, count: int, **settings: Any) -> list[Host]:  # noqa: ANN401 - settings by name
        """Start n1 … and let them all join n1; they know each other at the end."""
        hosts = [self.add(f"n{number}", **settings) for number in range(1, count + 1)]
        for number, host in enumerate(hosts[1:]):
            self.join(host.node.own.name, "n1", operation=number)
        self.run_until(lambda: all(h.node.live_count == count for h in hosts), 60.0)
        return hosts

    def join(self, name: str, *targets: str, operation: int = 0) -> None:
        """Let a node join others."""
        addresses = tuple(JoinTarget(self.hosts[target].address) for target in targets)
        self.hosts[name].feed(Join(operation, addresses))

    def partition(self, *names: str) -> None:
        """Cut these hosts off from all others, in both directions."""
        inside = {self.hosts[name].address for name in names}
        self.blocks = lambda a, b, _transport: (a.address in inside) != (b.address in inside)

    def heal(self) -> None:
        """Remove every block and all loss."""
        self.blocks = lambda _from, _to, _transport: False
        self.loss = 0.0

    # --- time -------------------------------------------------------------------------------------

    def at(self, when: float, action: Callable[[], Any]) -> None:
        """Do something later."""
        heapq.heappush(self._heap, (when, next(self.tokens), action))

    def run(self, seconds: float) -> None:
        """Let time pass."""
        end = self.now + seconds
        while self._heap and self._heap[0][0] <= end:
            self.now, _, action = heapq.heappop(self._heap)
            action()
        self.now = end

    def run_until(self, condition: Callable[[], bool], seconds: float) -> None:
        """Let time pass until something is true, which it must become within `seconds`."""
        end = self.now + seconds
        while not condition():
            assert self._heap, "nothing is going to happen any more"
            assert self._heap[0][0] <= end, f"not within {seconds} s"
            self.now, _, action = heapq.heappop(self._heap)
            action()

    # --- links ------------------------------------------------------------------------------------

    def send(self, source: Host, to: Address, data: bytes) -> None:
        """Carry a datagram."""
        target = self.by_address.get(to)
        if target is None or (self.loss and self._rng.random() < self.loss):
            return
        if not self.blocks(source, target, "udp"):
            received = DatagramReceived(data, source.address)
            self.at(self.now + self.latency, lambda: target.feed(received))

    def dial(self, source: Host, stream: Stream, to: Address, data: bytes) -> None:
        """Connect, or refuse, or (across a block) stay silent."""
        target = self.by_address.get(to)
        if target is not None and self.blocks(source, target, "tcp"):
            return
        if target is None or not target.is_up:
            refused = StreamFailed(stream, "connection refused")
            self.at(self.now + self.latency, lambda: source.feed(refused))
            return
        far = source.connect(stream, target)
        # An accepted stream comes from any port of its host.
        peer = Address(source.address.host, 40_000 + far.number)
        self.carry(source, target, StreamOpened(far, peer))
        self.carry(source, target, StreamReceived(far, data))

    def carry(self, source: Host, target: Host, incoming: SwimInput) -> None:
        """Carry what happens on a stream."""
        if not self.blocks(source, target, "tcp"):
            self.at(self.now + self.latency, lambda: target.feed(incoming))


def ip_of(address: Address) -> bytes:
    """The bytes of an address, as messages carry them."""
    return ip_of_host(address.host)
