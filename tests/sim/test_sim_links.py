"""Links with bursts, bandwidth, MTU and traces, by direction, by pair of nodes, by transport."""

from __future__ import annotations

import itertools

import pytest

from swimnomad.errors import UsageError
from swimnomad.faults import Bandwidth, Burst, Latency, LinkFault
from swimnomad.names import Address
from swimnomad.sim.host import Host
from swimnomad.sim.network import Link
from swimnomad.sim.world import World
from swimnomad.swim.effects import OpenStream, SendDatagram
from swimnomad.swim.inputs import DatagramReceived, StreamReceived
from tests.sim.sim_toys import Command, Toy, outbound, two_hosts

AT_ONCE = Latency("constant", 0.0)


def send(source: Host, to: Address, count: int, size: int = 100) -> None:
    source.give(Command((SendDatagram(to, bytes(size)),) * count))


def pair(link: Link, reverse: Link | None = None) -> tuple[World, Host, Toy, Host, Toy]:
    world = World(1)
    world.network.default_link = reverse or Link(AT_ONCE)
    world.set_link("a", "b", link)
    return (world, *two_hosts(world))


def test_a_burst_loses_the_share_that_its_numbers_say_in_runs_of_their_length() -> None:
    world, a, _, b, toy = pair(Link(AT_ONCE, burst=Burst(enter=0.01, leave=0.1)))
    arrived = []
    for _ in range(40_000):
        before = len(toy.seen)
        send(a, b.address, 1)
        world.run_for(0.001)
        arrived.append(len(toy.seen) > before)
    lost = arrived.count(False)
    bursts = sum(1 for one, two in itertools.pairwise(arrived) if one and not two)
    assert lost / 40_000 == pytest.approx(0.01 / 0.11, rel=0.15)
    assert lost / bursts == pytest.approx(10, rel=0.15)


def test_bandwidth_makes_datagrams_wait_their_turn_and_the_queue_is_bounded() -> None:
    link = Link(Latency("constant", 0.1), bandwidth=Bandwidth(1000.0, queue_bytes=450))
    world, a, _, b, toy = pair(link)
    send(a, b.address, 9)
    world.run_for(10)
    assert toy.times(DatagramReceived) == pytest.approx([0.2, 0.3, 0.4, 0.5, 0.6])
    assert world.network.datagrams_lost == 4
    send(a, b.address, 1)
    world.run_for(1)
    assert toy.times(DatagramReceived)[-1] == pytest.approx(10.2)


def test_tcp_waits_for_bandwidth_and_loses_nothing() -> None:
    world, a, _, b, toy = pair(Link(AT_ONCE, bandwidth=Bandwidth(1000.0, queue_bytes=1), mtu=100))
    a.give(Command((OpenStream(outbound(1), b.address, bytes(5000)),)))
    world.run_for(10)
    assert toy.times(StreamReceived) == pytest.approx([5.0])


@pytest.mark.parametrize(("size", "passes"), [(1472, True), (1473, False)])
def test_a_datagram_above_the_mtu_is_lost(size: int, passes: bool) -> None:
    world, a, _, b, toy = pair(Link(AT_ONCE, mtu=1500))
    send(a, b.address, 1, size)
    world.run_for(1)
    assert bool(toy.times(DatagramReceived)) is passes


def test_a_trace_gives_its_delays_in_order_and_from_the_first_again() -> None:
    world, a, _, b, toy = pair(Link(Latency("trace", values=(0.1, 0.3, 0.2))))
    for _ in range(4):
        send(a, b.address, 1)
        world.run_for(1)
    assert toy.times(DatagramReceived) == pytest.approx([0.1, 1.3, 2.2, 3.1])


def test_the_way_back_and_the_other_transport_are_links_of_their_own() -> None:
    world = World(1)
    world.network.default_link = Link(AT_ONCE)
    world.set_link("a", "b", Link(AT_ONCE, loss=1.0), "udp")
    a, at_a, b, at_b = two_hosts(world)
    send(a, b.address, 3)
    send(b, a.address, 3)
    a.give(Command((OpenStream(outbound(1), b.address, b"x"),)))
    world.run_for(1)
    assert at_b.times(DatagramReceived) == []
    assert len(at_a.times(DatagramReceived)) == 3
    assert len(at_b.times(StreamReceived)) == 1
    assert world.network.link("a", "b").loss == 1.0
    assert world.network.link("a", "b", "tcp").loss == 0.0


def test_a_link_of_two_nodes_counts_before_one_of_their_regions() -> None:
    world = World(1)
    world.set_link("global", "global", Link(Latency("constant", 0.5)))
    world.set_link("a", "global", Link(Latency("constant", 0.2)))
    world.set_link("a", "b", Link(Latency("constant", 0.1)))
    a, at_a, b, at_b = two_hosts(world)
    c = world.add_host("c")
    at_c = Toy()
    c.boot(at_c)
    send(a, b.address, 1)
    send(a, c.address, 1)
    send(b, a.address, 1)
    world.run_for(1)
    times = [toy.times(DatagramReceived) for toy in (at_b, at_c, at_a)]
    assert times == [[0.1], [0.2], [0.5]]


def test_a_burst_costs_a_tcp_segment_its_retransmissions() -> None:
    world, a, _, b, toy = pair(Link(AT_ONCE, burst=Burst(enter=1.0, leave=0.0)))
    a.give(Command((OpenStream(outbound(1), b.address, b"x"),)))
    world.run_for(60)
    (at,) = toy.times(StreamReceived)
    assert at > 5


def test_a_fault_at_a_node_limits_its_bandwidth_too() -> None:
    world, a, _, b, toy = pair(Link(AT_ONCE))
    fault = LinkFault(direction="out", bandwidth=Bandwidth(1000.0, queue_bytes=1000))
    world.set_fault("a", "modem", fault)
    send(a, b.address, 3)
    a.give(Command((OpenStream(outbound(1), b.address, bytes(1000)),)))
    world.run_for(10)
    assert toy.times(DatagramReceived) == pytest.approx([0.1, 0.2, 0.3])
    assert toy.times(StreamReceived) == pytest.approx([1.3], abs=0.01)


@pytest.mark.parametrize(
    ("link", "text"),
    [
        (Link(loss=1.5), "loss must be 0 to 1, not 1.5"),
        (Link(mtu=10), "mtu must be 68 to 65575, not 10"),
        (Link(burst=Burst(2.0, 0.0)), r"burst.enter must be 0 to 1, not 2"),
        (Link(bandwidth=Bandwidth(0.0)), r"bandwidth.rate must be 1 to 1e\+12, not 0"),
        (Link(Latency("uniform", 2.0, 1.0)), "latency.b must be 2 to 3600, not 1"),
    ],
)
def test_a_link_that_cannot_be_is_refused_by_field(link: Link, text: str) -> None:
    world = World(1)
    with pytest.raises(UsageError, match=text):
        world.set_link("a", "b", link)
    with pytest.raises(UsageError, match=text):
        world.network.default_link = link
