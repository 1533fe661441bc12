from __future__ import annotations

import pytest

from swimnomad.errors import UsageError
from swimnomad.faults import Latency, LinkFault
from swimnomad.names import Address
from swimnomad.sim.host import DATAGRAM_OVERHEAD_BYTES, RECEIVE_BUFFER_BYTES
from swimnomad.sim.network import Link
from swimnomad.sim.world import World
from swimnomad.swim.effects import SendDatagram
from swimnomad.swim.inputs import DatagramReceived
from tests.sim.sim_toys import Command, Toy, two_hosts


def constant(seconds: float, loss: float = 0.0) -> Link:
    return Link(Latency("constant", seconds), loss)


def test_a_datagram_arrives_after_the_latency_of_the_link() -> None:
    world = World(1)
    world.network.default_link = constant(0.25)
    a, _, b, toy = two_hosts(world)
    a.give(Command((SendDatagram(b.address, b"hello"),)))
    world.run_until(0.2)
    assert toy.inputs(DatagramReceived) == []
    world.run_until(1.0)
    assert toy.inputs(DatagramReceived) == [DatagramReceived(b"hello", a.address)]
    assert toy.times(DatagramReceived) == [0.25]
    assert (a.traffic.datagrams_sent, a.traffic.datagram_bytes_sent) == (1, 5)
    assert (b.traffic.datagrams_received, b.traffic.datagram_bytes_received) == (1, 5)


def test_links_differ_by_region_and_by_direction() -> None:
    world = World(1)
    world.set_link("here", "there", constant(0.1))
    world.set_link("there", "here", constant(0.3))
    a, b = world.add_host("a", "here"), world.add_host("b", "there")
    at_a, at_b = Toy(), Toy()
    a.boot(at_a)
    b.boot(at_b)
    a.give(Command((SendDatagram(b.address, b"x"),)))
    b.give(Command((SendDatagram(a.address, b"y"),)))
    world.run_until(1)
    assert at_b.times(DatagramReceived) == [0.1]
    assert at_a.times(DatagramReceived) == [0.3]


def test_a_lossy_link_loses_its_share() -> None:
    world = World(1)
    world.network.default_link = constant(0.01, loss=0.25)
    a, _, b, toy = two_hosts(world)
    for _ in range(4000):
        a.give(Command((SendDatagram(b.address, b"x"),)))
    world.run_until(1)
    assert 900 < world.network.datagrams_lost < 1100
    assert len(toy.inputs(DatagramReceived)) == 4000 - world.network.datagrams_lost


def test_a_datagram_to_nobody_or_to_a_dead_process_is_lost_without_a_word() -> None:
    world = World(1)
    a, at_a, b, at_b = two_hosts(world)
    b.kill()
    a.give(Command((SendDatagram(b.address, b"x"), SendDatagram(Address("10.9.9.9", 4648), b"x"))))
    world.run_until(1)
    assert world.network.datagrams_lost == 2
    assert at_a.inputs(DatagramReceived) == at_b.inputs(DatagramReceived) == []


def test_an_empty_datagram_is_ignored() -> None:
    world = World(1)
    a, _, b, toy = two_hosts(world)
    a.give(Command((SendDatagram(b.address, b""),)))
    world.run_until(1)
    assert toy.inputs(DatagramReceived) == []


def test_faults_of_sender_and_receiver_both_apply() -> None:
    world = World(1)
    world.network.default_link = constant(0.0)
    a, _, b, toy = two_hosts(world)
    world.set_fault("a", "slow", LinkFault(direction="out", latency=Latency("constant", 0.5)))
    world.set_fault("b", "slow", LinkFault(direction="in", latency=Latency("constant", 0.25)))
    world.set_fault("b", "twice", LinkFault(direction="in", transport="udp", duplicate=1.0))
    world.set_fault("b", "tcp only", LinkFault(transport="tcp", blocked=True))
    a.give(Command((SendDatagram(b.address, b"x"),)))
    world.run_until(1)
    assert toy.times(DatagramReceived) == [0.75, 0.75]


def test_a_fault_on_arrival_sees_the_table_as_it_is_then() -> None:
    world = World(1)
    world.network.default_link = constant(0.5)
    a, _, b, toy = two_hosts(world)
    a.give(Command((SendDatagram(b.address, b"x"),)))
    world.run_until(0.1)
    world.set_fault("b", "cut", LinkFault(blocked=True))
    world.run_until(1)
    assert toy.inputs(DatagramReceived) == []
    assert world.network.datagrams_lost == 1


def test_a_two_way_partition_cuts_both_ways_and_healing_ends_it() -> None:
    world = World(1)
    a, at_a, b, at_b = two_hosts(world)
    c = world.add_host("c")
    at_c = Toy()
    c.boot(at_c)
    world.partition(["a"], ["b"])
    everywhere = [a.address, b.address, c.address]
    for host in (a, b, c):
        host.give(Command(tuple(SendDatagram(to, host.name.encode()) for to in everywhere)))
    world.run_for(1)

    def heard(toy: Toy) -> list[bytes]:
        got = [one.data for one in toy.inputs() if isinstance(one, DatagramReceived)]
        return sorted(got)

    assert heard(at_a) == [b"a", b"c"]
    assert heard(at_b) == [b"b", b"c"]
    assert heard(at_c) == [b"a", b"b", b"c"]
    world.heal()
    a.give(Command((SendDatagram(b.address, b"again"),)))
    world.run_for(1)
    assert b"again" in heard(at_b)


def test_a_one_way_partition_cuts_one_way() -> None:
    world = World(1)
    a, at_a, b, at_b = two_hosts(world)
    world.partition(["a"], ["b"], one_way=True)
    a.give(Command((SendDatagram(b.address, b"x"),)))
    b.give(Command((SendDatagram(a.address, b"y"),)))
    world.run_for(1)
    assert at_b.inputs(DatagramReceived) == []
    assert len(at_a.inputs(DatagramReceived)) == 1


def test_nobody_can_be_on_both_sides_of_a_partition() -> None:
    world = World(1)
    two_hosts(world)
    with pytest.raises(UsageError, match="both sides"):
        world.partition(["a"], ["a", "b"])


def test_a_paused_process_gets_what_was_queued_in_a_burst_and_in_order() -> None:
    world = World(1)
    world.network.default_link = constant(0.01)
    a, _, b, toy = two_hosts(world)
    b.pause()
    for number in range(5):
        a.give(Command((SendDatagram(b.address, bytes([number])),)))
        world.run_for(1)
    assert toy.inputs(DatagramReceived) == []
    b.resume()
    assert toy.times(DatagramReceived) == [5.0] * 5
    assert [one.data[0] for one in toy.inputs() if isinstance(one, DatagramReceived)] == [
        0,
        1,
        2,
        3,
        4,
    ]


def test_the_receive_buffer_of_a_paused_process_is_bounded() -> None:
    world = World(1)
    a, _, b, toy = two_hosts(world)
    b.pause()
    room = RECEIVE_BUFFER_BYTES // (1000 + DATAGRAM_OVERHEAD_BYTES)
    for _ in range(room + 7):
        a.give(Command((SendDatagram(b.address, bytes(1000)),)))
    world.run_for(1)
    b.resume()
    assert len(toy.inputs(DatagramReceived)) == room
    assert b.traffic.datagrams_dropped == 7


def test_a_name_is_taken_once_and_addresses_are_never_reused() -> None:
    world = World(1)
    a, _, b, _ = two_hosts(world)
    with pytest.raises(UsageError, match="already"):
        world.add_host("a")
    assert len({a.address, b.address, world.new_address()}) == 3
