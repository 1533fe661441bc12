"""Virtual time: the order of what happens."""

from __future__ import annotations

from swimnomad.sim.schedule import Schedule


def test_what_is_due_first_happens_first_and_ties_in_the_order_they_were_asked_for() -> None:
    schedule, done = Schedule(), list[str]()
    for time, name in ((2.0, "c"), (1.0, "a"), (2.0, "d"), (1.0, "b"), (0.5, "first")):
        schedule.at(time, done.append, name)
    schedule.run_until(10.0)
    assert done == ["first", "a", "b", "c", "d"]
    assert (schedule.now, schedule.executed) == (10.0, 5)


def test_actions_are_never_compared_with_each_other() -> None:
    schedule, done = Schedule(), list[object]()
    for thing in ({}, object(), None):  # none of which can be ordered
        schedule.at(1.0, done.append, thing)
    schedule.run_until(1.0)
    assert len(done) == 3


def test_a_time_that_has_passed_means_now_but_after_what_is_due_now() -> None:
    schedule, done = Schedule(), list[str]()

    def late() -> None:
        done.append("late")
        schedule.at(0.0, done.append, "asked for while it happened")

    schedule.at(1.0, late)
    schedule.at(1.0, done.append, "due anyway")
    schedule.run_until(1.0)
    assert done == ["late", "due anyway", "asked for while it happened"]


def test_the_moment_itself_belongs_to_what_is_run_and_a_step_is_one_action() -> None:
    schedule, done = Schedule(), list[str]()
    schedule.at(1.0, done.append, "on time")
    schedule.at(1.5, done.append, "later")
    schedule.run_until(1.0)
    assert done == ["on time"]
    assert schedule.next_time() == 1.5
    assert schedule.step()
    assert (schedule.now, schedule.next_time(), schedule.step()) == (1.5, None, False)
