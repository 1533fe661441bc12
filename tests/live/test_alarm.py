from __future__ import annotations

import trio
import trio.testing

from swimnomad.live.alarm import TICK, AlarmClock
from swimnomad.live.inbox import Inbox


async def test_an_alarm_is_never_early_and_late_by_a_tick_at_most(
    autojump_clock: trio.testing.MockClock,
) -> None:
    clock = AlarmClock.current()
    start = trio.current_time()
    rung: dict[float, float] = {}
    wanted = [start + offset for offset in (0.2501, 0.0001, 0.25, 3.0, 0.0099)]
    for at in wanted:

        def ring(moment: float, at: float = at) -> None:
            assert moment >= at
            rung[at] = trio.current_time()

        clock.set(at, ring)
    await trio.sleep(4)
    assert sorted(rung) == sorted(wanted)
    assert all(0 <= moment - at <= TICK + 1e-9 for at, moment in rung.items())


async def test_all_who_wait_in_one_run_share_a_clock() -> None:
    assert AlarmClock.current() is AlarmClock.current()


async def test_an_inbox_wakes_for_the_earliest_deadline_whatever_was_set_before(
    autojump_clock: trio.testing.MockClock,
) -> None:
    inbox = Inbox(10, 1000)
    start = trio.current_time()
    for deadline in (start + 5, start + 1, start + 2, start + 3, start + 9):
        inbox.offer("not a deadline", 0)
        await inbox.wait(deadline)
        inbox.take()
        with trio.move_on_after(0.25):  # sets an alarm and does not live to hear it
            await inbox.wait(deadline)
    while trio.current_time() < start + 20:
        await inbox.wait(start + 20)
    assert 0 <= trio.current_time() - start - 20 <= TICK + 1e-9


async def test_a_cancelled_wait_and_an_input_at_the_same_moment_wake_the_owner_once() -> None:
    inbox = Inbox(10, 1000)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(inbox.wait, trio.current_time() + 1000)
        await trio.testing.wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
        assert inbox.offer("too late", 1)
    assert inbox.take() == "too late"
