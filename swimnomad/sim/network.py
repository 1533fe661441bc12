"""The simulated network: links with latency and loss between regions, and who is at an address.

A datagram passes three places, as in the world: the sender's fault table, the link, the receiver's
fault table on arrival. TCP connections are in `streams.py`; both ask this module how long a way
takes.
"""

from __future__ import annotations

import random
from typing import Protocol

from swimnomad.faults import FaultTable, Latency
from swimnomad.names import Address, Value
from swimnomad.sim.journal import Journal
from swimnomad.sim.schedule import Schedule

RETRANSMISSION_TIMEOUT = 0.2
"""Seconds until TCP sends a lost segment again, doubled each time: Linux's minimum."""
LOSSES_IN_A_ROW_MAX = 5


class Link(Value, frozen=True):
    """What a way between two nodes is like without faults: one-way delay, share of lost packets.

    The default is a quiet local network. Losses cost a TCP segment time, not the segment.
    """

    latency: Latency = Latency("uniform", 0.0002, 0.0008)
    loss: float = 0.0


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
        self.default_link = Link()
        self.datagrams_lost = 0
        """Datagrams dropped by a link or a fault, or sent to nobody."""
        self._journal = journal
        self._endpoints: dict[Address, Endpoint] = {}
        self._links: dict[tuple[str, str], Link] = {}

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

    def set_link(self, source: str, target: str, link: Link) -> None:
        """Set what the way from one region to another is like; the way back is set apart."""
        self._links[source, target] = link

    def link(self, source: str, target: str) -> Link:
        """The way from one region to another."""
        return self._links.get((source, target), self.default_link)

    def send_datagram(self, sender: Endpoint, to: Address, data: bytes) -> None:
        """Send a datagram; whatever happens to it, the sender does not hear of it."""
        if not sender.faults.applies("udp", False):
            self._transmit(sender, to, data, 0.0)
            return
        deliveries = sender.faults.verdict("udp", False, to.host, data, self.rng)
        if not deliveries:
            self._lose(sender.name, "out", to)
        for one in deliveries:
            self._transmit(sender, to, one.data, one.delay)

    def _transmit(self, sender: Endpoint, to: Address, data: bytes, delay: float) -> None:
        target = self._endpoints.get(to)
        link = self.link(sender.region, target.region if target else sender.region)
        if link.loss and self.rng.random() < link.loss:
            self._lose(sender.name, "link", to)
            return
        schedule = self.schedule
        arrival = schedule.now + delay + link.latency.sample(self.rng)
        schedule.at(arrival, self._arrive, to, data, sender.address)

    def _arrive(self, to: Address, data: bytes, source: Address) -> None:
        # Looked up now and not at sending: a process that has started in the meantime gets it.
        target = self._endpoints.get(to)
        if target is None:
            self.datagrams_lost += 1
            return
        if not target.faults.applies("udp", True):
            target.receive_datagram(data, source)
            return
        deliveries = target.faults.verdict("udp", True, source.host, data, self.rng)
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

    def stream_delay(self, sender: Endpoint, receiver: Endpoint | None, to: Address) -> float:
        """Seconds that one TCP segment takes, retransmissions after losses included."""
        link = self.link(sender.region, receiver.region if receiver else sender.region)
        delay = link.latency.sample(self.rng)
        timeout = RETRANSMISSION_TIMEOUT
        for _ in range(LOSSES_IN_A_ROW_MAX):
            if not link.loss or self.rng.random() >= link.loss:
                break
            delay += timeout
            timeout *= 2
        for endpoint, inbound, remote in (
            (sender, False, to.host),
            (receiver, True, sender.address.host),
        ):
            if endpoint is not None and endpoint.faults.applies("tcp", inbound):
                verdict = endpoint.faults.verdict("tcp", inbound, remote, b"", self.rng)
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
