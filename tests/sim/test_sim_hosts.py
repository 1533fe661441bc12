from __future__ import annotations

from collections.abc import Callable

import pytest

from swimnomad.sim.world import World
from swimnomad.swim.effects import CancelTimer, Emit, Event, SendDatagram, SetTimer
from swimnomad.swim.inputs import DatagramReceived, Shutdown, Start, TimerFired
from tests.sim.sim_toys import Alarm, Command, Noted, Toy, two_hosts


def test_the_first_input_is_start_with_the_address_of_the_host() -> None:
    world = World(1)
    a, toy, _, _ = two_hosts(world)
    assert toy.inputs() == [Start(a.address, 1)]


def test_a_timer_fires_at_its_time() -> None:
    world = World(1)
    a, toy, _, _ = two_hosts(world)
    a.give(Command((SetTimer(Alarm(1), 2.5),)))
    world.run_until(10)
    assert toy.times(TimerFired) == [2.5]


def test_a_timer_in_the_past_fires_at_once_but_after_the_input_that_set_it() -> None:
    world = World(1)
    a, toy, _, _ = two_hosts(world)
    world.run_until(5)
    a.give(Command((SetTimer(Alarm(1), 2.5),)))
    assert toy.inputs(TimerFired) == []
    world.run_until(5)
    assert toy.times(TimerFired) == [5.0]


@pytest.mark.parametrize("later", [1.0, 3.0])
def test_a_timer_set_again_is_replaced(later: float) -> None:
    world = World(1)
    a, toy, _, _ = two_hosts(world)
    a.give(Command((SetTimer(Alarm(1), 2.0), SetTimer(Alarm(2), 2.0))))
    a.give(Command((SetTimer(Alarm(1), later),)))
    world.run_until(10)
    fired = [(now, one) for now, one in toy.seen if isinstance(one, TimerFired)]
    assert sorted(fired, key=lambda item: item[0]) == sorted(
        [(2.0, TimerFired(Alarm(2))), (later, TimerFired(Alarm(1)))], key=lambda item: item[0]
    )


def test_a_cancelled_timer_never_fires_and_cancelling_an_unknown_one_is_fine() -> None:
    world = World(1)
    a, toy, _, _ = two_hosts(world)
    a.give(Command((SetTimer(Alarm(1), 2.0), CancelTimer(Alarm(1)), CancelTimer(Alarm(9)))))
    world.run_until(10)
    assert toy.inputs(TimerFired) == []


def test_overdue_timers_of_a_paused_process_fire_late_once_and_before_what_was_queued() -> None:
    world = World(1)
    a, _, b, toy = two_hosts(world)
    b.give(Command((SetTimer(Alarm(2), 2.0), SetTimer(Alarm(1), 1.0), SetTimer(Alarm(9), 9.0))))
    b.pause()
    a.give(Command((SendDatagram(b.address, b"x"),)))
    world.run_until(5)
    assert len(toy.seen) == 2
    b.resume()
    assert toy.inputs()[2:] == [
        TimerFired(Alarm(1)),
        TimerFired(Alarm(2)),
        DatagramReceived(b"x", a.address),
    ]
    world.run_until(10)
    assert toy.times(TimerFired) == [5.0, 5.0, 9.0]


def test_a_timer_cancelled_by_an_earlier_overdue_one_does_not_fire() -> None:
    world = World(1)
    toy = Toy({TimerFired: lambda *_: [CancelTimer(Alarm(2))]})
    a, _, _, _ = two_hosts(world, toy)
    a.give(Command((SetTimer(Alarm(1), 1.0), SetTimer(Alarm(2), 2.0))))
    a.pause()
    world.run_until(5)
    a.resume()
    assert toy.inputs(TimerFired) == [TimerFired(Alarm(1))]


def test_a_killed_process_hears_nothing_more_and_its_timers_are_gone() -> None:
    world = World(1)
    a, _, b, toy = two_hosts(world)
    b.give(Command((SetTimer(Alarm(1), 2.0),)))
    a.give(Command((SendDatagram(b.address, b"x"),)))
    seen = len(toy.seen)
    b.kill()
    world.run_until(10)
    assert len(toy.seen) == seen
    assert not b.is_running


def test_killing_a_paused_process_ends_it_for_good() -> None:
    world = World(1)
    _, _, b, toy = two_hosts(world)
    b.give(Command((SetTimer(Alarm(1), 1.0),)))
    b.pause()
    world.run_until(2)
    b.kill()
    b.resume()
    assert toy.inputs(TimerFired) == []
    assert not b.is_paused


def test_a_restarted_host_has_a_new_core_and_no_timers_of_the_old_one() -> None:
    world = World(1)
    a, _, b, old = two_hosts(world)
    b.give(Command((SetTimer(Alarm(1), 2.0),)))
    b.kill()
    new = Toy()
    b.boot(new, incarnation=7)
    a.give(Command((SendDatagram(b.address, b"x"),)))
    world.run_until(10)
    assert new.inputs() == [Start(b.address, 7), DatagramReceived(b"x", a.address)]
    assert old.inputs(DatagramReceived) == []
    assert b.boots == 2


def test_a_moved_host_is_reached_at_its_new_address_alone() -> None:
    world = World(1)
    a, _, b, _ = two_hosts(world)
    before = b.address
    b.kill()
    b.move(world.new_address())
    toy = Toy()
    b.boot(toy)
    a.give(Command((SendDatagram(before, b"old"), SendDatagram(b.address, b"new"))))
    world.run_until(1)
    assert toy.inputs(DatagramReceived) == [DatagramReceived(b"new", a.address)]


def test_stopping_lets_the_core_shut_down_first() -> None:
    world = World(1)
    _, _, b, toy = two_hosts(world)
    b.stop()
    assert toy.inputs(Shutdown) == [Shutdown()]
    assert not b.is_running
    b.stop()  # a second time is nothing


def test_observers_are_told_of_events_with_time_and_node() -> None:
    world = World(1)
    told: list[tuple[float, str, Event]] = []
    world.observers.append(lambda now, node, event: told.append((now, node, event)))
    a, _, _, _ = two_hosts(world)
    world.run_until(3)
    a.give(Command((Emit(Noted("seen")),)))
    assert told == [(3.0, "a", Noted("seen"))]


def test_an_error_in_a_core_names_node_time_and_input() -> None:
    def fail(_: object, __: float) -> list[object]:
        raise AssertionError("broken")

    world = World(1)
    broken: dict[type, Callable[..., list[object]]] = {TimerFired: fail}
    a, _, _, _ = two_hosts(world, Toy(broken))  # type: ignore[arg-type]  # never returns
    a.give(Command((SetTimer(Alarm(1), 2.0),)))
    with pytest.raises(AssertionError, match="broken") as caught:
        world.run_until(10)
    assert "node a at 2.0 s, given TimerFired" in caught.value.__notes__[0]


def test_running_while_a_condition_holds_stops_right_after_the_action_that_ends_it() -> None:
    world = World(1)
    a, toy, _, _ = two_hosts(world)
    a.give(Command((SetTimer(Alarm(1), 2.0), SetTimer(Alarm(2), 4.0))))
    assert world.run_while(lambda: not toy.inputs(TimerFired), 10)
    assert world.now == 2.0
    assert not world.run_while(lambda: len(toy.inputs(TimerFired)) < 9, 10)
    assert world.now == 10.0


def test_each_boot_draws_from_a_generator_of_its_own() -> None:
    world = World(5)
    assert world.rng_for("b").random() == World(5).rng_for("b").random()
    first = world.rng_for("b").random()
    _, _, b, _ = two_hosts(world)
    assert world.rng_for("b").random() != first
    assert world.rng_for("a").random() != world.rng_for("b").random()
    assert b.boots == 1
