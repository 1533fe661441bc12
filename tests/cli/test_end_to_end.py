"""The program as users run it: real processes on loopback, every wait with a deadline."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import psutil
import pytest

pytestmark = pytest.mark.live

PROGRAM = [sys.executable, "-m", "swimnomad"]
START_SECONDS = 60.0
FAIL_SECONDS = 60.0
SPREAD_SECONDS = 45.0
"""Gossip may pass an agent by; then it learns from a push/pull, within 30 s with `local`."""
STOP_SECONDS = 30.0


class Machine:
    """Runs the program with a home of its own, and knows which agents it left behind."""

    def __init__(self, home: Path) -> None:
        self.home = home
        kept = {name: value for name, value in os.environ.items() if not name.startswith("NOMAD_")}
        self._environment = {
            **kept,
            "XDG_STATE_HOME": str(home / "state"),
            "TMPDIR": str(home),
            "NO_COLOR": "1",
        }

    def run(self, *words: str, seconds: float = START_SECONDS) -> subprocess.CompletedProcess[str]:
        """Run a command line to its end."""
        return subprocess.run(
            [*PROGRAM, *words],
            env=self._environment,
            capture_output=True,
            text=True,
            timeout=seconds,
            check=False,
        )

    @contextmanager
    def running(self, *words: str) -> Iterator[subprocess.Popen[str]]:
        """Run a command line for the length of the block; kill it if it is still there then."""
        with subprocess.Popen(
            [*PROGRAM, *words],
            env=self._environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        ) as process:
            try:
                yield process
            finally:
                if process.poll() is None:
                    process.kill()

    def agents(self) -> list[psutil.Process]:
        """Agents that were started with data in this home."""
        found = []
        for process in psutil.process_iter():
            try:
                if any(str(self.home) in word for word in process.cmdline()):
                    found.append(process)
            except (psutil.NoSuchProcess, psutil.AccessDenied):
                continue
        return [process for process in found if "agent" in process.cmdline()]

    def kill_agents(self) -> None:
        """End what a failed test left."""
        for process in self.agents():
            process.kill()


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[Machine]:
    machine = Machine(tmp_path)
    yield machine
    machine.kill_agents()


def statuses(host: str) -> dict[str, str]:
    """What an agent's member list says, by name."""
    answer = httpx.get(f"http://{host}:4646/v1/agent/members", trust_env=False, timeout=10)
    assert answer.status_code == 200
    return {member["Name"]: member["Status"] for member in answer.json()["Members"]}


def peers(host: str) -> list[str]:
    """Who takes part in Raft, as the leader says; none while there is no leader."""
    answer = httpx.get(f"http://{host}:4646/v1/status/peers", trust_env=False, timeout=10)
    return answer.json() if answer.status_code == 200 else []


def wait_for_status(host: str, name: str, status: str, seconds: float) -> None:
    """Wait until an agent lists `name` with this status; fail after `seconds`."""
    what = f"{name} {status}"
    wait_until(host, lambda: statuses(host).get(name) == status, what, seconds)


def wait_until(host: str, condition: Callable[[], bool], what: str, seconds: float) -> None:
    """Wait until something is so at an agent; fail after `seconds`."""
    deadline = time.monotonic() + seconds
    events = f"http://{host}:4646/v1/swimnomad/events"
    with httpx.stream("GET", events, trust_env=False, timeout=10) as stream:
        # A line comes at once, with every event, and each second without one.
        for _ in stream.iter_lines():
            if condition():
                return
            assert time.monotonic() < deadline, f"{host} did not see {what}"
    raise AssertionError(f"{host} ended its events before {what}")


def nodes(machine: Machine) -> list[dict[str, Any]]:
    """The cluster as `cluster status` tells it."""
    status = machine.run("cluster", "status", "--json")
    assert status.returncode == 0, status.stderr
    listed: list[dict[str, Any]] = json.loads(status.stdout)["nodes"]
    return listed


def lines_until(process: subprocess.Popen[str], text: str) -> str:
    """Read the program's output until a line holds `text`; its end fails."""
    seen = ""
    assert process.stdout is not None
    for line in process.stdout:
        seen += line
        if text in line:
            return seen
    raise AssertionError(f"ended without {text!r}: {seen}")


def test_a_cluster_lives_through_a_crash_a_removal_and_its_end(machine: Machine) -> None:
    hosts = {f"s{number}.global": f"127.0.101.{number}" for number in range(1, 6)}
    up = machine.run("cluster", "up", "-n", "5", "--base", "127.0.101.1", "--detach")
    assert up.returncode == 0, up.stderr
    for host in hosts.values():
        assert statuses(host) == dict.fromkeys(hosts, "alive")
        assert f"http://{host}:4646" in up.stdout
    everybody = sorted(f"{host}:4647" for host in hosts.values())
    wait_until("127.0.101.1", lambda: sorted(peers("127.0.101.1")) == everybody, "peers", 30.0)

    crashed = next(node for node in nodes(machine) if node["name"] == "s3")
    os.kill(crashed["pid"], signal.SIGKILL)
    others = [host for name, host in hosts.items() if name != "s3.global"]
    for host in others:
        wait_for_status(host, "s3.global", "failed", FAIL_SECONDS)
    states = {node["name"]: (node["state"], node["alive_seen"]) for node in nodes(machine)}
    assert states["s3"] == ("stopped", None)
    assert states["s1"] == ("running", 4)

    address = ("--address", f"http://{others[0]}:4646")
    forced = machine.run("force-leave", "s3.global", *address)
    assert (forced.returncode, forced.stdout) == (0, "s3.global was failed and is now left\n")
    for host in others:
        wait_for_status(host, "s3.global", "left", SPREAD_SECONDS)
    everybody.remove("127.0.101.3:4647")
    what = "a peer fewer"
    wait_until(others[0], lambda: sorted(peers(others[0])) == everybody, what, SPREAD_SECONDS)
    listed = machine.run("members", *address)
    assert [line.split()[3] for line in listed.stdout.splitlines()[1:]] == [
        *("alive", "alive", "left", "alive", "alive")
    ]

    down = machine.run("cluster", "down")
    assert (down.returncode, down.stdout) == (0, "Took down 5 agents\n")
    assert machine.agents() == []
    again = machine.run("cluster", "down")
    assert again.returncode == 1
    assert "no cluster is up" in again.stderr


def test_a_second_cluster_is_refused_and_the_first_stays(machine: Machine) -> None:
    words = ("cluster", "up", "-n", "2", "--detach", "--base")
    assert machine.run(*words, "127.0.102.1").returncode == 0
    second = machine.run(*words, "127.0.103.1")
    assert second.returncode == 1
    assert "a cluster is up already" in second.stderr
    assert [node["state"] for node in nodes(machine)] == ["running", "running"]
    assert machine.run("cluster", "down").returncode == 0
    assert machine.agents() == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_cluster_in_the_foreground_ends_with_its_command(
    machine: Machine, number: signal.Signals
) -> None:
    base = f"127.0.{104 + (number == signal.SIGINT)}.1"
    with machine.running("cluster", "up", "-n", "2", "--base", base) as process:
        lines_until(process, "Ctrl-C")
        assert len(machine.agents()) == 2
        process.send_signal(number)
        output, _ = process.communicate(timeout=STOP_SECONDS)
        assert output == "Took down 2 agents\n"
        assert process.returncode == 0
    assert machine.agents() == []


def test_an_agent_leaves_when_told_so_over_http(machine: Machine) -> None:
    words = ("agent", "--server", "--profile", "local", "--node")
    first = (*words, "a1", "--bind", "127.0.106.1")
    second = (*words, "a2", "--bind", "127.0.106.2", "--join", "127.0.106.1")
    with machine.running(*first) as one:
        lines_until(one, "agent started")
        with machine.running(*second) as two:
            lines_until(two, "agent started")
            assert statuses("127.0.106.1") == {"a1.global": "alive", "a2.global": "alive"}
            leave = machine.run("leave", "--address", "http://127.0.106.2:4646")
            assert leave.returncode == 0, leave.stderr
            two.communicate(timeout=STOP_SECONDS)
        wait_for_status("127.0.106.1", "a2.global", "left", SPREAD_SECONDS)


@pytest.mark.parametrize(
    ("number", "flags", "status", "seen"),
    [
        (signal.SIGTERM, (), 1, "failed"),
        (signal.SIGINT, (), 1, "failed"),
        (signal.SIGTERM, ("--leave-on-terminate",), 0, "left"),
        (signal.SIGINT, ("--leave-on-interrupt",), 0, "left"),
    ],
)
def test_an_agent_ends_by_signals_with_nomads_statuses(
    machine: Machine, number: signal.Signals, flags: tuple[str, ...], status: int, seen: str
) -> None:
    """agent Q01, agent Q02, agent Q03"""
    pace = machine.home / "pace.hcl"
    pace.write_text('gossip {\n  profile = "local"\n  scale = 0.3\n}\n')
    words = ("agent", "--server", "-c", str(pace), "--node")
    with machine.running(*words, "a1", "--bind", "127.0.107.1") as stays:
        lines_until(stays, "agent started")
        second = ("a2", "--bind", "127.0.107.2", "--join", "127.0.107.1", *flags)
        with machine.running(*words, *second) as ends:
            lines_until(ends, "agent started")
            ends.send_signal(number)
            ends.communicate(timeout=STOP_SECONDS)
            assert ends.returncode == status
        wait_for_status("127.0.107.1", "a2.global", seen, FAIL_SECONDS)


def test_an_agent_retries_to_join_until_the_other_is_up(machine: Machine) -> None:
    """agent Q14"""
    words = ("agent", "--server", "--profile", "local", "--node")
    retry = ("--retry-join", "127.0.113.2", "--retry-interval", "200ms")
    with machine.running(*words, "a1", "--bind", "127.0.113.1", *retry) as one:
        lines_until(one, "join failed")
        with machine.running(*words, "a2", "--bind", "127.0.113.2") as two:
            lines_until(two, "agent started")
            lines_until(one, "retry join completed")
            assert statuses("127.0.113.1") == {"a1.global": "alive", "a2.global": "alive"}


def test_an_agent_gives_up_joining_after_its_retries(machine: Machine) -> None:
    """agent Q16"""
    retry = ("--retry-join", "127.0.114.9", "--retry-interval", "10ms", "--retry-max", "2")
    done = machine.run("agent", "--server", "--bind", "127.0.114.1", *retry)
    assert done.returncode == 1
    assert done.stdout.count("join failed") == 2
    assert "max join retry exhausted, exiting" in done.stdout


def test_an_agent_that_cannot_listen_says_so_and_is_status_1(machine: Machine) -> None:
    words = ("agent", "--server", "--bind", "127.0.108.1", "--node")
    with machine.running(*words, "a1") as process:
        lines_until(process, "agent started")
        second = machine.run(*words, "a2")
    assert second.returncode == 1
    # RPC listens first, as Nomad's does.
    assert second.stderr.splitlines()[-1] == (
        "==> Error starting agent: cannot listen for RPC on 127.0.108.1:4647:"
        " address already in use"
    )


def test_a_server_alone_leads_its_region_and_keeps_what_it_is_told(machine: Machine) -> None:
    """agent E17, agent H01, agent M01, agent M02, agent M06, agent M11, agent M13"""
    config = machine.home / "acl.hcl"
    config.write_text("acl { enabled = true }\nserver { raft_protocol = 3 }\n")
    rules = machine.home / "rules.hcl"
    rules.write_text('agent { policy = "read" }\n')
    address = ("--address", "http://127.0.115.1:4646")

    def told(*words: str) -> str:
        done = machine.run(*words, *address)
        assert done.returncode == 0, done.stderr
        return done.stdout

    words = ("agent", "--dev", "--node", "a1", "--bind", "127.0.115.1", "-c", str(config))
    with machine.running(*words) as process:
        lines_until(process, "agent started")
        deadline = time.monotonic() + START_SECONDS
        # The agent holds a question back for some seconds when nobody leads yet.
        while machine.run("operator", "autopilot", "get-config", *address).returncode:
            assert time.monotonic() < deadline
        peers = told("operator", "raft", "list-peers").splitlines()[1:]
        name, _, *rest = peers[0].split()
        assert (len(peers), name) == (1, "a1.global")
        assert rest == ["127.0.115.1:4647", "leader", "true", "3"]
        config_url = "http://127.0.115.1:4646/v1/operator/raft/configuration"
        raft = httpx.get(config_url, trust_env=False, timeout=10).json()
        assert (raft["Index"], [server["Leader"] for server in raft["Servers"]]) == (0, [True])
        for path, expected in (("leader", "127.0.115.1:4647"), ("peers", ["127.0.115.1:4647"])):
            url = f"http://127.0.115.1:4646/v1/status/{path}"
            assert httpx.get(url, trust_env=False, timeout=10).json() == expected
        stats = json.loads(told("info", "--json"))["stats"]
        assert (stats["nomad"]["leader"], stats["raft"]["state"]) == ("true", "Leader")
        assert stats["raft"]["last_contact"] == "0"

        assert "CleanupDeadServers = true\n" in told("operator", "autopilot", "get-config")
        flags = ("--min-quorum", "3", "-cleanup-dead-servers=false")
        told("operator", "autopilot", "set-config", *flags)
        shown = told("operator", "autopilot", "get-config")
        assert "CleanupDeadServers = false\n" in shown
        assert "MinQuorum = 3\n" in shown
        assert "a1.global" in told("operator", "autopilot", "health")
        while "ready" not in (listed := told("nodes")):
            assert time.monotonic() < deadline
        [node] = listed.splitlines()[1:]
        assert "Node registered" in told("node", node.split()[0])
        health = json.loads(told("health", "--json"))
        assert health == {name: {"message": "ok", "ok": True} for name in ("client", "server")}

        assert json.loads(told("acl", "bootstrap", "--json"))["Type"] == "management"
        told("acl", "policy", "apply", "reader", str(rules))
        assert 'agent { policy = "read" }' in told("acl", "policy", "info", "reader")
        made = json.loads(told("acl", "token", "create", "--policy", "reader", "--json"))
        own = json.loads(told("acl", "token", "self", "--token", made["SecretID"], "--json"))
        assert own == made
        told("acl", "token", "delete", made["AccessorID"])
        assert made["AccessorID"] not in told("acl", "token", "list")


def test_the_demo_happens_and_leaves_nothing(machine: Machine) -> None:
    begin = time.monotonic()
    demo = machine.run("demo", "--base", "127.0.109.1", seconds=90)
    assert demo.returncode == 0, demo.stdout + demo.stderr
    assert time.monotonic() - begin < 60
    for number in range(1, 6):
        assert f"http://127.0.109.{number}:4646" in demo.stdout
    for observer in ("s1", "s2", "s4", "s5"):
        assert f"{observer} sees s3: alive -> suspect" in demo.stdout
        assert f"{observer} sees s3: suspect -> failed" in demo.stdout
        assert f"{observer} sees s3: failed -> left" in demo.stdout
    for observer in ("s1", "s2", "s4"):
        assert f"{observer} sees s3: left -> alive" in demo.stdout
    assert "SIGKILL to process" in demo.stdout
    assert "All 5 chapters happened" in demo.stdout
    assert machine.agents() == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_demo_leaves_nothing_and_is_status_1(
    machine: Machine, number: signal.Signals
) -> None:
    base = f"127.0.{110 + (number == signal.SIGINT)}.1"
    with machine.running("demo", "--base", base) as process:
        lines_until(process, "SIGKILL to process")
        assert len(machine.agents()) == 4
        process.send_signal(number)
        output, _ = process.communicate(timeout=STOP_SECONDS)
        assert "Interrupted; nothing is left running." in output
        assert process.returncode == 1
    assert machine.agents() == []


def test_a_scenario_on_live_agents_holds_and_leaves_nothing(machine: Machine) -> None:
    scenario = machine.home / "case.yaml"
    scenario.write_text(
        "cluster: {nodes: 3, profile: local}\n"
        "steps:\n  - at: 1s\n    kill: node-2\n    id: crash\n"
        "expect:\n  - detected: {}\n    of: crash\n    within: 45s\n"
    )
    done = machine.run("run", str(scenario), "--on", "live", "--json", "-", seconds=120)
    assert done.returncode == 0, done.stdout + done.stderr
    result = json.loads(done.stdout)
    assert (result["backend"], result["passed"], result["detection"]["count"]) == ("live", True, 2)
    assert machine.agents() == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_scenario_leaves_nothing_and_is_status_1(
    machine: Machine, number: signal.Signals
) -> None:
    scenario = machine.home / "case.yaml"
    scenario.write_text("cluster: {nodes: 3}\nduration: 60s\nexpect:\n  - converged: {}\n")
    with machine.running("run", str(scenario), "--on", "live") as process:
        deadline = time.monotonic() + START_SECONDS
        while len(machine.agents()) < 3:
            assert time.monotonic() < deadline
        process.send_signal(number)
        output, _ = process.communicate(timeout=STOP_SECONDS)
        assert process.returncode == 1
        # An empty line closes the ^C of a terminal.
        assert output.strip().startswith("swimnomad: interrupted")
        assert output.strip().count("\n") == 0
    assert machine.agents() == []


def test_a_demo_without_room_says_what_stands_in_its_way(machine: Machine) -> None:
    words = ("agent", "--server", "--node", "a1", "--bind", "127.0.112.3")
    with machine.running(*words) as process:
        lines_until(process, "agent started")
        demo = machine.run("demo", "--base", "127.0.112.1")
    assert demo.returncode == 1
    assert "127.0.112.3:4646" in demo.stderr
    assert demo.stderr.count("\n") == 1
