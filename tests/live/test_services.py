"""What the facade is given by a live agent: its log, its host, calls side by side."""

from __future__ import annotations

import os
from functools import partial

import pytest
import trio
import trio.testing

from swimnomad.errors import UsageError
from swimnomad.live.log import AgentLog, Level
from swimnomad.live.services import LiveServices
from swimnomad.live.stopping import StopSwitch
from swimnomad.nomad.host import SKIPPED_FILE_SYSTEMS, describe_host
from swimnomad.nomad.monitor import LINES_MAX


def services_with(log: AgentLog) -> LiveServices:
    return LiveServices(None, None, StopSwitch(), log=log)


async def test_a_reader_hears_its_own_level() -> None:
    """agent J26"""
    printed: list[str] = []
    log = AgentLog(Level.WARN, lambda line: printed.append(line.message))
    with services_with(log).log_lines("debug", as_json=False) as lines:
        log.write(Level.TRACE, "nomad", "too fine")
        log.write(Level.DEBUG, "nomad", "fine", key="value")
        line = await lines.next_line(trio.current_time())
        assert line is not None
        assert line.endswith(b"[DEBUG] nomad: fine: key=value\n")
        log.write(Level.ERROR, "nomad", "coarse")
        assert (await lines.next_line(trio.current_time()) or b"").endswith(b"nomad: coarse\n")
    assert printed == ["coarse"]


async def test_lines_may_be_json() -> None:
    """agent J09"""
    log = AgentLog()
    with services_with(log).log_lines("info", as_json=True) as lines:
        log.write(Level.INFO, "nomad", "hello", count=2)
        line = await lines.next_line(trio.current_time()) or b""
    for part in (b'"@level":"info"', b'"@message":"hello"', b'"@module":"nomad"', b'"count":2'):
        assert part in line


async def test_a_wait_for_a_line_has_an_end(autojump_clock: trio.testing.MockClock) -> None:
    log = AgentLog()
    with services_with(log).log_lines("info", as_json=False) as lines:
        assert await lines.next_line(trio.current_time() + 5.0) is None
        async with trio.open_nursery() as nursery:

            async def write_later() -> None:
                await trio.sleep(1.0)
                log.write(Level.INFO, "nomad", "late")

            nursery.start_soon(write_later)
            assert await lines.next_line(trio.current_time() + 5.0) is not None
            assert trio.current_time() < 7.0


async def test_a_slow_reader_loses_lines_and_is_told() -> None:
    """agent J24"""
    log = AgentLog()
    with services_with(log).log_lines("info", as_json=False) as lines:
        lines.report_lost()
        for number in range(LINES_MAX + 10):
            log.write(Level.INFO, "nomad", f"line {number}")
        lines.report_lost()
        heard = [await lines.next_line(trio.current_time()) for _ in range(LINES_MAX)]
        assert await lines.next_line(trio.current_time()) is None
        # The report took the place of one more line.
        assert heard[-1] == b"[WARN] Monitor dropped 11 logs during monitor request\n"
        assert (heard[0] or b"").endswith(b"line 1\n")
        log.write(Level.INFO, "nomad", "again")
        lines.report_lost()
        assert (await lines.next_line(trio.current_time()) or b"").endswith(b"again\n")


async def test_who_stops_reading_costs_nothing() -> None:
    log = AgentLog()
    with services_with(log).log_lines("info", as_json=False) as lines:
        pass
    log.write(Level.INFO, "nomad", "nobody hears this")
    assert await lines.next_line(trio.current_time()) is None


async def test_the_host_is_the_one_we_run_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SWIMNOMAD_TEST_TOKEN", "s3cret")
    facts = await services_with(AgentLog()).host_facts()
    assert facts.uname[1] == os.uname().nodename
    assert ("127.0.0.1", 8) in facts.interfaces
    assert facts.hosts
    assert facts.resolv_conf
    disks = {disk.path: disk for disk in facts.file_systems}
    assert not {"/proc", "/sys"} & set(disks)
    assert all(disk.total_bytes >= disk.available_bytes >= 0 for disk in disks.values())
    shown = describe_host(facts)
    assert shown.environment["SWIMNOMAD_TEST_TOKEN"] == "<redacted>"
    assert shown.environment["PATH"] == os.environ["PATH"]
    assert len(shown.network) == len(facts.interfaces)
    assert "tmpfs" in SKIPPED_FILE_SYSTEMS


def test_the_command_line_is_that_of_this_process() -> None:
    assert "python" in services_with(AgentLog()).command_line()[0]


async def test_calls_are_made_side_by_side(autojump_clock: trio.testing.MockClock) -> None:
    async def answer(number: int) -> int:
        await trio.sleep(10.0 - number)
        return number

    before = trio.current_time()
    calls = [partial(answer, number) for number in range(5)]
    assert await services_with(AgentLog()).all_of(calls) == [0, 1, 2, 3, 4]
    assert trio.current_time() - before == 10.0


async def test_a_call_that_fails_fails_as_itself() -> None:
    async def fail() -> None:
        await trio.lowlevel.checkpoint()
        raise UsageError("no")

    with pytest.raises(UsageError, match="no"):
        await services_with(AgentLog()).all_of([fail])
