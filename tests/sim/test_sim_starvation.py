"""Starved processes: everything is read, late, in order, from a bounded buffer."""

from __future__ import annotations

import pytest

from swimnomad.errors import UsageError
from swimnomad.faults import Latency
from swimnomad.sim.host import DATAGRAM_OVERHEAD_BYTES, RECEIVE_BUFFER_BYTES
from swimnomad.sim.network import Link
from swimnomad.sim.world import World
from swimnomad.swim.effects import CancelTimer, OpenStream, SendDatagram, SetTimer
from swimnomad.swim.inputs import DatagramReceived, StreamOpened, StreamReceived, TimerFired
from tests.sim.sim_toys import Alarm, Command, Toy, outbound, two_hosts

HALF = Latency("constant", 0.5)


def quiet_world() -> World:
    world = World(1)
    world.network.default_link = Link(Latency("constant", 0.0))
    return world


def test_a_starved_process_reads_datagrams_streams_and_timers_late_and_in_order() -> None:
    world = quiet_world()
    a, _, b, toy = two_hosts(world)
    b.give(Command((SetTimer(Alarm(1), 1.0),)))
    b.starve(HALF)
    assert b.is_starved
    a.give(Command((SendDatagram(b.address, b"x"), OpenStream(outbound(1), b.address, b"y"))))
    world.run_until(10)
    kinds = (DatagramReceived, StreamOpened, StreamReceived, TimerFired)
    assert [type(one) for one in toy.inputs(*kinds)] == list(kinds)
    assert toy.times(*kinds) == [0.5, 0.5, 0.5, 1.5]


def test_the_order_stays_whatever_the_delays() -> None:
    world = quiet_world()
    a, _, b, toy = two_hosts(world)
    b.starve(Latency("uniform", 0.0, 2.0))
    for number in range(50):
        a.give(Command((SendDatagram(b.address, bytes([number])),)))
        world.run_for(0.05)
    world.run_for(5)
    read = [one.data[0] for one in toy.inputs() if isinstance(one, DatagramReceived)]
    assert read == list(range(50))
    assert len(set(toy.times(DatagramReceived))) > 5


def test_a_timer_cancelled_or_set_anew_while_it_waits_does_not_fire() -> None:
    world = quiet_world()
    a, toy, _, _ = two_hosts(world)
    a.give(Command((SetTimer(Alarm(1), 1.0), SetTimer(Alarm(2), 1.0))))
    a.starve(HALF)
    world.run_until(1.2)
    a.give(Command((CancelTimer(Alarm(1)), SetTimer(Alarm(2), 3.0))))
    world.run_until(10)
    assert toy.times(TimerFired) == [3.5]


def test_once_fed_it_reads_what_waits_at_once_and_then_in_time() -> None:
    world = quiet_world()
    a, _, b, toy = two_hosts(world)
    b.starve(Latency("constant", 100.0))
    a.give(Command((SendDatagram(b.address, b"1"), SendDatagram(b.address, b"2"))))
    world.run_until(3)
    b.feed()
    b.feed()
    assert toy.times(DatagramReceived) == [3.0, 3.0]
    a.give(Command((SendDatagram(b.address, b"3"),)))
    world.run_until(200)
    assert toy.times(DatagramReceived) == [3.0, 3.0, 3.0]
    assert not b.is_starved


def test_its_receive_buffer_is_bounded_and_gets_free_as_it_reads() -> None:
    world = quiet_world()
    a, _, b, toy = two_hosts(world)
    b.starve(HALF)
    room = RECEIVE_BUFFER_BYTES // (1000 + DATAGRAM_OVERHEAD_BYTES)
    a.give(Command((SendDatagram(b.address, bytes(1000)),) * (room + 9)))
    world.run_for(5)
    assert b.traffic.datagrams_dropped == 9
    a.give(Command((SendDatagram(b.address, bytes(1000)),) * room))
    world.run_for(5)
    assert b.traffic.datagrams_dropped == 9
    assert len(toy.inputs(DatagramReceived)) == 2 * room


def test_a_pause_holds_what_is_late_and_goes_on_with_it_first() -> None:
    world = quiet_world()
    a, _, b, toy = two_hosts(world)
    b.starve(HALF)
    b.give(Command((SetTimer(Alarm(1), 1.0),)))
    a.give(Command((SendDatagram(b.address, b"1"),)))
    world.run_until(0.1)
    b.pause()
    a.give(Command((SendDatagram(b.address, b"2"),)))
    world.run_until(5)
    assert toy.inputs(DatagramReceived, TimerFired) == []
    b.resume()
    world.run_until(10)
    assert toy.times(DatagramReceived) == [5.0, 5.5]
    assert toy.times(TimerFired) == [5.5]


def test_starving_and_feeding_a_paused_process_waits_for_it() -> None:
    world = quiet_world()
    a, _, b, toy = two_hosts(world)
    b.starve(HALF)
    a.give(Command((SendDatagram(b.address, b"1"),)))
    world.run_until(0.1)
    b.pause()
    b.feed()
    a.give(Command((SendDatagram(b.address, b"2"),)))
    world.run_until(1)
    assert toy.inputs(DatagramReceived) == []
    b.resume()
    assert [one.data for one in toy.inputs() if isinstance(one, DatagramReceived)] == [b"1", b"2"]
    b.pause()
    b.starve(HALF)
    a.give(Command((SendDatagram(b.address, b"3"),)))
    world.run_until(2)
    b.resume()
    world.run_until(9)
    assert toy.times(DatagramReceived) == [1.0, 1.0, 2.5]


def test_a_killed_process_reads_no_more_and_the_next_one_is_well() -> None:
    world = quiet_world()
    a, _, b, toy = two_hosts(world)
    b.starve(HALF)
    a.give(Command((SendDatagram(b.address, b"1"),)))
    world.run_until(0.1)
    b.kill()
    after = Toy()
    b.boot(after)
    a.give(Command((SendDatagram(b.address, b"2"),)))
    world.run_until(9)
    assert toy.inputs(DatagramReceived) == []
    assert after.times(DatagramReceived) == [0.1]


def test_what_does_not_run_cannot_starve_nor_can_delays_be_nonsense() -> None:
    world = quiet_world()
    a, _, b, _ = two_hosts(world)
    b.kill()
    with pytest.raises(UsageError, match="b does not run"):
        b.starve(HALF)
    with pytest.raises(UsageError, match=r"delay\.a must be 0 to 3600"):
        a.starve(Latency("constant", -1.0))
