"""Waiting for the replicated state to change, under virtual time."""

from __future__ import annotations

import trio
from trio.testing import MockClock, wait_all_tasks_blocked

from swimnomad.live.state_watch import StateWatch
from swimnomad.nomad.state.commands import DeletePolicies, UpsertPolicies, encode_command
from swimnomad.nomad.state.records import Policy
from swimnomad.nomad.state.store import StateStore
from swimnomad.nomad.state.tables import Table

POLICY = encode_command(UpsertPolicies((Policy(name="readers", rules='node { policy = "read" }'),)))


async def test_a_write_wakes_those_who_wait_for_its_table(autojump_clock: MockClock) -> None:
    state = StateStore()
    watch = StateWatch(state)
    woken: list[str] = []

    async def wait(name: str, *tables: Table) -> None:
        await watch.changed(tables, 0, 100)
        woken.append(name)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(wait, "policies", Table.POLICIES)
        nursery.start_soon(wait, "both", Table.NODES, Table.POLICIES)
        nursery.start_soon(wait, "nodes", Table.NODES)
        await wait_all_tasks_blocked()
        state.apply(5, POLICY)
        await wait_all_tasks_blocked()
        assert sorted(woken) == ["both", "policies"]
        assert watch.waiting_count == 1
    assert trio.current_time() > 99
    assert watch.waiting_count == 0


async def test_what_was_written_already_is_not_waited_for(autojump_clock: MockClock) -> None:
    state = StateStore()
    watch = StateWatch(state)
    state.apply(5, POLICY)
    start = trio.current_time()
    await watch.changed((Table.POLICIES,), 4, 100)
    await watch.changed((Table.POLICIES,), 5, 0)
    assert trio.current_time() == start
    await watch.changed((Table.POLICIES,), 5, 7)
    assert trio.current_time() - start > 6


async def test_a_restored_state_wakes_everybody(autojump_clock: MockClock) -> None:
    other = StateStore()
    other.apply(5, POLICY)
    other.apply(6, encode_command(DeletePolicies(("readers",))))
    state = StateStore()
    watch = StateWatch(state)
    async with trio.open_nursery() as nursery:
        nursery.start_soon(watch.changed, (Table.TOKENS,), 0, 100)
        await wait_all_tasks_blocked()
        state.restore(other.snapshot())
    assert trio.current_time() < 1
