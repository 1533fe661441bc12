"""Clusters of real processes; each test ends every process it started."""

from __future__ import annotations

import os
import signal
import socket
from pathlib import Path

import psutil
import pytest
import trio

from swimnomad.errors import OperationError, UsageError
from swimnomad.live.cluster import ClusterSpec, LocalCluster, local_processes
from swimnomad.live.cluster_state import state_home
from swimnomad.live.http_probe import alive_members
from swimnomad.live.places import Place, plan_places
from swimnomad.live.processes import OwnProcess, ProcessMark, mark_of
from swimnomad.nomad.config import Ports
from tests.live.live_support import fresh_hosts, until

pytestmark = pytest.mark.live

LIMIT = 60.0


def spec(count: int = 3, **changes: object) -> ClusterSpec:
    base = fresh_hosts(count)
    return ClusterSpec(**{"count": count, "base": base, **changes})  # type: ignore[arg-type]  # by name


def agents_of(cluster: LocalCluster) -> list[int]:
    """Process numbers of everything that was started in a cluster's directory."""
    marker = str(cluster.directory)
    return [
        process.pid
        for process in psutil.process_iter()
        if any(marker in word for word in _command_of(process))
    ]


def _command_of(process: psutil.Process) -> list[str]:
    try:
        return process.cmdline()
    except psutil.Error:
        return []


async def test_a_cluster_comes_up_every_agent_sees_all_and_goes_down_without_a_trace(
    tmp_path: Path,
) -> None:
    with trio.fail_after(LIMIT):
        async with local_processes(spec(), tmp_path) as cluster:
            status = await cluster.status()
            assert [(one.name, one.condition, one.alive_seen) for one in status] == [
                ("s1", "running", 3),
                ("s2", "running", 3),
                ("s3", "running", 3),
            ]
            assert [one.place.ports for one in status] == [Ports()] * 3
            assert sorted(one.pid or 0 for one in status) == sorted(agents_of(cluster))
    assert agents_of(cluster) == []
    with pytest.raises(UsageError, match="no cluster is up"):
        LocalCluster.find(tmp_path)


async def test_one_node_is_killed_and_comes_back(tmp_path: Path) -> None:
    with trio.fail_after(LIMIT):
        async with local_processes(spec(2), tmp_path) as cluster:
            await cluster.kill("s2")
            assert cluster.condition("s2") == "stopped"
            with pytest.raises(UsageError, match="node s2 is not running"):
                await cluster.kill("s2")
            await sees(cluster, "s1", 1)
            await cluster.restart("s2")
            await cluster.wait_ready(20)


async def test_a_paused_node_is_resumed_and_a_leaving_one_stops_by_itself(tmp_path: Path) -> None:
    with trio.fail_after(LIMIT):
        async with local_processes(spec(2), tmp_path) as cluster:
            cluster.pause("s2")
            assert cluster.condition("s2") == "paused"
            pid = cluster.nodes["s2"].process
            assert pid is not None
            await until(lambda: psutil.Process(pid.pid).status() == psutil.STATUS_STOPPED)
            cluster.resume("s2")
            assert cluster.condition("s2") == "running"
            await cluster.leave("s2")
            assert cluster.condition("s2") == "stopped"


async def test_another_command_finds_the_cluster_and_takes_it_down(tmp_path: Path) -> None:
    with trio.fail_after(LIMIT):
        cluster = await LocalCluster.up(spec(1), tmp_path)
        try:
            with pytest.raises(UsageError, match=r"a cluster is up already, with s1 running"):
                await LocalCluster.up(spec(1), tmp_path)
            found = LocalCluster.find(tmp_path)
            assert (await found.status())[0].alive_seen == 1
            # A child of ours stays a corpse until we look: the mark tells it from the living.
            await found.down()
            assert not agents_of(cluster)
        finally:
            await cluster.down()


async def test_a_port_in_use_is_named_before_anything_starts(tmp_path: Path) -> None:
    wanted = spec(2)
    with socket.socket() as taken:
        taken.bind((plan_places(wanted.base, 2)[1].host, 4646))
        taken.listen()
        with pytest.raises(UsageError) as caught:
            await LocalCluster.up(wanted, tmp_path)
    assert str(caught.value).startswith("node s2 cannot listen on tcp 127.")
    assert "4646: address already in use" in str(caught.value)
    assert os.listdir(tmp_path) == []


async def test_an_agent_that_does_not_start_takes_the_others_down_and_says_why(
    tmp_path: Path,
) -> None:
    bad = spec(2, flags=("--encrypt", "AAAA"))
    with trio.fail_after(LIMIT), pytest.raises(OperationError) as caught:
        await LocalCluster.up(bad, tmp_path)
    assert "stopped with status" in str(caught.value)
    assert "key size must be 16, 24 or 32 bytes" in str(caught.value)
    assert mark_is_gone(tmp_path)


async def test_a_start_that_is_cancelled_leaves_no_process(tmp_path: Path) -> None:
    with trio.fail_after(LIMIT), trio.move_on_after(0.2):
        await LocalCluster.up(spec(2), tmp_path)
    assert mark_is_gone(tmp_path)


async def sees(cluster: LocalCluster, name: str, count: int) -> None:
    """Return once a node sees so many members alive; the test's own deadline bounds it."""
    http = cluster.nodes[name].place.http
    while await alive_members(http) != count:  # noqa: ASYNC110 - another process has no event
        await trio.sleep(0.05)


def mark_is_gone(directory: Path) -> bool:
    return agents_of(LocalCluster(directory, "local", {})) == []


async def test_an_unknown_node_is_named_with_those_there_are(tmp_path: Path) -> None:
    cluster = LocalCluster._plan(spec(2), tmp_path)
    with pytest.raises(UsageError, match="no node is called 's9': there are s1, s2"):
        await cluster.kill("s9")


async def test_a_process_that_took_over_a_number_is_never_signalled(tmp_path: Path) -> None:
    sleeper = OwnProcess.spawn(["sleep", "60"], tmp_path / "log")
    try:
        stranger = OwnProcess(ProcessMark(sleeper.mark.pid, "another start"))
        assert not stranger.is_running
        assert not stranger.signal(signal.SIGKILL)
        assert OwnProcess(sleeper.mark).is_running
    finally:
        await sleeper.kill()
    assert mark_of(sleeper.mark.pid) is None


async def test_a_process_that_ignores_us_is_killed_and_a_paused_one_resumed(tmp_path: Path) -> None:
    stubborn = OwnProcess.spawn(["sh", "-c", "trap '' TERM; echo up; sleep 60"], tmp_path / "log")
    await until(lambda: (tmp_path / "log").read_bytes() == b"up\n")
    paused = OwnProcess.spawn(["sleep", "60"], tmp_path / "other")
    paused.signal(signal.SIGSTOP)
    with trio.fail_after(10):
        await paused.end(5)
        await stubborn.end(0.1)
    assert paused.exit_status == -signal.SIGTERM
    assert stubborn.exit_status == -signal.SIGKILL


def test_without_loopback_neighbours_the_ports_are_shifted() -> None:
    host = "127.0.0.1" if os.uname().sysname != "Linux" else "::1"
    assert plan_places(host, 3) == [
        Place(host, Ports(4646, 4647, 4648)),
        Place(host, Ports(4656, 4657, 4658)),
        Place(host, Ports(4666, 4667, 4668)),
    ]


def test_a_base_that_is_no_address_is_refused() -> None:
    with pytest.raises(UsageError, match="must be an IP address, not 'localhost'"):
        plan_places("localhost", 3)


def test_state_is_kept_where_the_desktop_rules_say(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", "/var/x")
    assert state_home() == Path("/var/x/swimnomad")
    monkeypatch.delenv("XDG_STATE_HOME")
    monkeypatch.setenv("HOME", "/var/me")
    assert state_home() == Path("/var/me/.local/state/swimnomad")
