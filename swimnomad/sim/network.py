"""The simulated network: links with latency and loss between regions, and who is at an address.

A datagram passes three places, as in the world: the sender's fault table, the link, the receiver's
fault table on arrival. TCP connections are in `streams.py`; both ask this module how long a way
takes.
"""

from __future__ import annotations

import random
from typing import Protocol

from swimnomad.errors import UsageError
from swimnomad.faults import (
    Bandwidth,
    Burst,
    FaultTable,
    Latency,
    Line,
    Transport,
    check_mtu,
    exceeds_mtu,
)
from swimnomad.journal.writer import Journal
from swimnomad.names import Address, Value
from swimnomad.sim.schedule import Schedule

RETRANSMISSION_TIMEOUT = 0.2
"""Seconds until TCP sends a lost segment again, doubled each time: Linux's minimum."""
LOSSES_IN_A_ROW_MAX = 5


class Link(Value, frozen=True):
    """What a way between two nodes is like without faults; the way back is another link.

    The default is a quiet local network. Losses cost a TCP segment time, not the segment. The
    line, with its bursts, its queue and its place in a trace of delays, is shared by everybody
    whose traffic takes the link: all of two regions, or just two nodes.
    """

    latency: Latency = Latency("uniform", 0.0002, 0.0008)
    loss: float = 0.0
    """Share of lost packets, each on its own."""
    burst: Burst | None = None
    bandwidth: Bandwidth | None = None
    mtu: int = 0
    """Bytes of an IP packet; datagrams that need a longer one are lost. 0: any length passes."""

    def validate(self) -> None:
        """Check every field.

        Raises:
            UsageError: Naming the field, what was found and what is allowed.
        """
        if not 0.0 <= self.loss <= 1.0:
            raise UsageError(f"loss must be 0 to 1, not {self.loss:g}")
        check_mtu(self.mtu)
        for part in (self.latency, self.burst, self.bandwidth):
            if part is not None:
                part.validate()


class _Way:
    """A link in one direction, and the line that remembers."""

    __slots__ = ("is_plain", "line", "link")

    def __init__(self, link: Link) -> None:
        self.link = link
        self.line = Line()
        self.is_plain = link.burst is None and link.bandwidth is None and not link.mtu
        """Whether latency and independent losses are all there is."""


class Endpoint(Protocol):
    """What the network sees of a host."""

    name: str
    region: str
    address: Address
    faults: FaultTable

    def receive_datagram(self, data: bytes, source: Address) -> None:
        """Take a datagram that has arrived."""
        ...


class Network:
    """Carries datagrams between endpoints; every draw comes from its own generator."""

    def __init__(self, schedule: Schedule, rng: random.Random, journal: Journal | None) -> None:
        self.schedule = schedule
        self.rng = rng
        self._default = _Way(Link())
        self.datagrams_lost = 0
        """Datagrams dropped by a link or a fault, or sent to nobody."""
        self._journal = journal
        self._endpoints: dict[Address, Endpoint] = {}
        self._ways: dict[tuple[str, str, Transport], _Way] = {}

    def attach(self, endpoint: Endpoint) -> None:
        """Let the endpoint receive at its address."""
        holder = self._endpoints.setdefault(endpoint.address, endpoint)
        assert holder is endpoint, f"{endpoint.address} is taken by {holder.name}"

    def detach(self, endpoint: Endpoint) -> None:
        """From now on nobody is at the endpoint's address."""
        self._endpoints.pop(endpoint.address, None)

    def endpoint_at(self, address: Address) -> Endpoint | None:
        """Who receives at an address."""
        return self._endpoints.get(address)

    @property
    def default_link(self) -> Link:
        """What ways are like that were not set; setting it is not for the middle of a run."""
        return self._default.link

    @default_link.setter
    def default_link(self, link: Link) -> None:
        link.validate()
        self._default = _Way(link)

    def set_link(
        self, source: str, target: str, link: Link, transport: Transport | None = None
    ) -> None:
        """Set what the way from one region or node to another is like; the way back is set apart.

        The nearest counts: of two nodes, else of node and region, region and node, two regions.

        Args:
            source: Name of a region or a node.
            target: Name of a region or a node.
            link: What it is like.
            transport: `udp` or `tcp` for one of them alone; None for both, on one line.

        Raises:
            UsageError: If a field of the link is out of range.
        """
        link.validate()
        way = _Way(link)
        for one in ("udp", "tcp") if transport is None else (transport,):
            self._ways[source, target, one] = way

    def link(self, source: str, target: str, transport: Transport = "udp") -> Link:
        """The way from one region to another."""
        return self._ways.get((source, target, transport), self._default).link

    def _way(self, sender: Endpoint, target: Endpoint | None, transport: Transport) -> _Way:
        ways = self._ways
        if not ways:
            return self._default
        to = sender if target is None else target
        for source in (sender.name, sender.region):
            for destination in (to.name, to.region):
                if way := ways.get((source, destination, transport)):
                    return way
        return self._default

    def send_datagram(self, sender: Endpoint, to: Address, data: bytes) -> None:
        """Send a datagram; whatever happens to it, the sender does not hear of it."""
        if not sender.faults.applies("udp", False):
            self._transmit(sender, to, data, 0.0)
            return
        now = self.schedule.now
        deliveries = sender.faults.verdict("udp", False, to.host, data, self.rng, now)
        if not deliveries:
            self._lose(sender.name, "out", to)
        for one in deliveries:
            self._transmit(sender, to, one.data, one.delay)

    def _transmit(self, sender: Endpoint, to: Address, data: bytes, delay: float) -> None:
        way = self._way(sender, self._endpoints.get(to), "udp")
        link = way.link
        if link.loss and self.rng.random() < link.loss:
            self._lose(sender.name, "link", to)
            return
        schedule = self.schedule
        if not way.is_plain:
            wait = self._pass(way, data, to)
            if wait is None:
                self._lose(sender.name, "link", to)
                return
            delay += wait
        arrival = schedule.now + delay + way.line.delay(link.latency, self.rng)
        schedule.at(arrival, self._arrive, to, data, sender.address)

    def _pass(self, way: _Way, data: bytes, to: Address) -> float | None:
        """Seconds that a datagram waits for its turn on a link, or None if the link loses it."""
        link = way.link
        if exceeds_mtu(link.mtu, len(data), to.host):
            return None
        if link.burst is not None and way.line.loses(link.burst, self.rng):
            return None
        if link.bandwidth is None:
            return 0.0
        return way.line.wait(link.bandwidth, len(data), self.schedule.now, lossless=False)

    def _arrive(self, to: Address, data: bytes, source: Address) -> None:
        # Looked up now and not at sending: a process that has started in the meantime gets it.
        target = self._endpoints.get(to)
        if target is None:
            self.datagrams_lost += 1
            return
        if not target.faults.applies("udp", True):
            target.receive_datagram(data, source)
            return
        now = self.schedule.now
        deliveries = target.faults.verdict("udp", True, source.host, data, self.rng, now)
        if not deliveries:
            self._lose(target.name, "in", source)
        for one in deliveries:
            if one.delay:
                at = self.schedule.now + one.delay
                self.schedule.at(at, self._hand_over, to, one.data, source)
            else:
                target.receive_datagram(one.data, source)

    def _hand_over(self, to: Address, data: bytes, source: Address) -> None:
        """A datagram that the receiver's fault table held back."""
        target = self._endpoints.get(to)
        if target is not None:
            target.receive_datagram(data, source)

    def stream_delay(
        self, sender: Endpoint, receiver: Endpoint | None, to: Address, data: bytes = b""
    ) -> float:
        """Seconds that one TCP segment takes, retransmissions after losses included."""
        way, now = self._way(sender, receiver, "tcp"), self.schedule.now
        link = way.link
        delay = way.line.delay(link.latency, self.rng)
        timeout = RETRANSMISSION_TIMEOUT
        for _ in range(LOSSES_IN_A_ROW_MAX):
            is_lost = bool(link.loss) and self.rng.random() < link.loss
            if link.burst is not None and not is_lost:
                is_lost = way.line.loses(link.burst, self.rng)
            if not is_lost:
                break
            delay += timeout
            timeout *= 2
        if link.bandwidth is not None:
            delay += way.line.wait(link.bandwidth, len(data), now, lossless=True) or 0.0
        for endpoint, inbound, remote in (
            (sender, False, to.host),
            (receiver, True, sender.address.host),
        ):
            if endpoint is not None and endpoint.faults.applies("tcp", inbound):
                verdict = endpoint.faults.verdict("tcp", inbound, remote, data, self.rng, now)
                delay += sum(one.delay for one in verdict)
        return delay

    def blocks_stream(self, sender: Endpoint, receiver: Endpoint | None, to: Address) -> bool:
        """Whether segments from `sender` to `receiver` are silently dropped at this moment."""
        return sender.faults.blocks("tcp", False, to.host) or (
            receiver is not None and receiver.faults.blocks("tcp", True, sender.address.host)
        )

    def _lose(self, node: str, where: str, remote: Address) -> None:
        self.datagrams_lost += 1
        if self._journal is not None:
            self._journal.fault(
                self.schedule.now, node, "datagram-lost", where=where, remote=remote
            )
