"""A machine's own clock, alone and under a core with timers."""

from __future__ import annotations

import itertools
import random

import pytest

from swimnomad.errors import UsageError
from swimnomad.sim.clock import Clock
from swimnomad.sim.world import World
from swimnomad.swim.effects import SetTimer
from swimnomad.swim.inputs import TimerFired
from tests.sim.sim_toys import Alarm, Command, Tick, Toy, two_hosts


def test_a_clock_shows_world_time_until_told_otherwise() -> None:
    clock = Clock()
    assert [clock.own(now) for now in (0.0, 3.5)] == [0.0, 3.5]
    assert clock.world(3.5) == 3.5


def test_a_clock_runs_fast_jumps_ahead_and_stands_still() -> None:
    clock = Clock()
    clock.set_rate(2.0, 10.0)
    assert (clock.own(11.0), clock.world(12.0)) == (12.0, 11.0)
    clock.jump(5.0, 11.0)
    assert (clock.own(11.0), clock.own(12.0)) == (17.0, 19.0)
    clock.jump(-4.0, 12.0)
    assert [clock.own(now) for now in (12.0, 13.0, 14.0, 15.0)] == [19.0, 19.0, 19.0, 21.0]
    clock.jump(-4.0, 13.0)
    assert [clock.own(now) for now in (16.0, 17.0)] == [19.0, 21.0]


def test_a_standing_clock_stands_on_when_it_gets_another_rate_or_jumps() -> None:
    clock = Clock()
    clock.jump(-10.0, 10.0)
    clock.set_rate(2.0, 15.0)
    assert [clock.own(now) for now in (15.0, 20.0, 21.0)] == [10.0, 10.0, 12.0]
    clock.jump(3.0, 15.0)
    assert [clock.own(now) for now in (15.0, 20.0, 21.0)] == [13.0, 13.0, 15.0]


def test_a_clock_never_goes_back_whatever_happens_to_it() -> None:
    rng = random.Random(1)
    clock, now, last = Clock(), 0.0, 0.0
    for _ in range(2000):
        now += rng.random()
        if rng.random() < 0.5:
            clock.set_rate(rng.uniform(0.01, 3.0), now)
        else:
            clock.jump(rng.uniform(-3.0, 3.0), now)
        shown = clock.own(now)
        assert shown >= last - 1e-9
        assert clock.own(clock.world(shown + 1.0)) == pytest.approx(shown + 1.0)
        last = shown


@pytest.mark.parametrize("rate", [0.0, -1.0, 1e9, float("nan")])
def test_rates_that_no_clock_has_are_refused(rate: float) -> None:
    with pytest.raises(UsageError, match=r"must be 0\.01 to 100"):
        Clock().set_rate(rate, 0.0)


@pytest.mark.parametrize("seconds", [1e6, float("nan")])
def test_jumps_of_more_than_a_day_are_refused(seconds: float) -> None:
    with pytest.raises(UsageError, match="jumps -86400 to 86400 s"):
        Clock().jump(seconds, 0.0)


def test_timers_follow_the_clock_and_the_core_sees_its_time() -> None:
    world = World(1)
    a, toy, _, _ = two_hosts(world)
    a.give(Command((SetTimer(Alarm(1), 4.0), SetTimer(Alarm(2), 9.0))))
    a.set_clock_rate(2.0)
    fired: list[float] = []
    world.run_until(2.0)
    assert toy.times(TimerFired) == [4.0]
    assert a.clock_time == 4.0
    a.jump_clock(5.0)
    world.run_until(2.0)
    assert toy.times(TimerFired) == [4.0, 9.0]
    a.give(Command((SetTimer(Alarm(3), 10.0),)))
    a.jump_clock(-3.0)
    world.run_until(3.9)
    assert toy.times(TimerFired)[2:] == fired
    world.run_until(4.0)
    assert toy.times(TimerFired)[2:] == [10.0]


def test_a_timer_is_never_early_by_the_clock_whatever_the_rounding() -> None:
    def again(_: object, now: float) -> list[SetTimer]:
        return [SetTimer(Tick(), now + 0.1)]

    world = World(1)
    toy = Toy({TimerFired: again})  # type: ignore[dict-item]  # effects of one kind
    a, _, _, _ = two_hosts(world, toy)
    a.give(Command((SetTimer(Tick(), 0.1),)))
    a.drift_clock(0.3, 0.07)
    world.run_until(100)
    times = toy.times(TimerFired)
    assert 700 < len(times) < 1300
    assert all(later - earlier >= 0.1 - 1e-12 for earlier, later in itertools.pairwise(times))
    assert a.clock_time != world.now


def test_a_set_rate_ends_the_drift() -> None:
    world = World(1)
    a, _, _, _ = two_hosts(world)
    a.drift_clock(0.5, 1.0)
    world.run_until(10.5)
    a.set_clock_rate(1.0)
    behind = a.clock_time - world.now
    world.run_until(20)
    assert a.clock_time - world.now == pytest.approx(behind)


@pytest.mark.parametrize(("deviation", "interval"), [(1.0, 1.0), (-0.1, 1.0), (0.1, 0.0)])
def test_drifts_that_cannot_be_are_refused(deviation: float, interval: float) -> None:
    world = World(1)
    a, _, _, _ = two_hosts(world)
    with pytest.raises(UsageError, match=r"drifts by 0 to 0\.9"):
        a.drift_clock(deviation, interval)
