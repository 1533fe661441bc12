"""Agents as processes on this machine: up, down, and what may happen to one of them.

Whatever happens while a cluster comes up or is used, `down` leaves no process behind. A cluster is
remembered in a file, so that another command finds it (or what an earlier run left).
"""

from __future__ import annotations

import shutil
import signal
import sys
from collections import Counter
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Literal

import msgspec
import trio

from swimnomad.errors import OperationError, UsageError
from swimnomad.live.cluster_state import (
    STATE_VERSION,
    ClusterState,
    NodeRecord,
    forget_state,
    read_state,
    state_home,
    write_state,
)
from swimnomad.live.http_probe import NoAnswer, alive_members, ask
from swimnomad.live.places import Place, check_free, plan_places
from swimnomad.live.processes import OwnProcess
from swimnomad.names import Value
from swimnomad.nomad.config import Ports

NODES_MAX = 250
JOIN_TARGETS_MAX = 3
STOP_TIME = 5.0
"""Seconds that an agent may take to stop before it is killed."""
REGION_FILE = "region.json"
_POLL = 0.02
_LOG_TAIL_BYTES = 4096

Condition = Literal["running", "paused", "stopped"]


class ClusterSpec(Value, frozen=True):
    """What to start. Nodes are called s1, s2, …; more flags for every agent go into `flags`.

    `labels` has the memberlist label of each node in order, and may be empty: nodes with different
    ones are different clusters, which know nothing of each other. With `elects` the nodes are told
    how many they are, so that they elect a leader; it leaves the failed to whoever forces them out.
    """

    count: int = 5
    profile: str = "local"
    base: str = "127.0.0.1"
    ports: Ports = Ports()
    log_level: str = "INFO"
    allow_faults: bool = False
    flags: tuple[str, ...] = ()
    labels: tuple[str, ...] = ()
    elects: bool = False


class NodeStatus(Value, frozen=True):
    """One node as it is now. `alive_seen` is None if it does not answer."""

    name: str
    place: Place
    condition: Condition
    pid: int | None
    alive_seen: int | None


class LocalCluster:
    """A cluster of agent processes.

    Attributes:
        directory: Its state file, and for each node its log and data.
        nodes: The records by name; only the cluster changes them.
    """

    def __init__(self, directory: Path, profile: str, nodes: Mapping[str, NodeRecord]) -> None:
        self.directory = directory
        self.profile = profile
        self.nodes = dict(nodes)
        self._processes: dict[str, OwnProcess] = {
            name: OwnProcess(record.process)
            for name, record in self.nodes.items()
            if record.process is not None
        }

    # Making and finding clusters.

    @classmethod
    async def up(
        cls, spec: ClusterSpec, directory: Path | None = None, *, timeout: float = 60.0
    ) -> LocalCluster:
        """Start a cluster and wait until every agent answers and sees all others of its label.

        Args:
            spec: What to start.
            directory: Where it is remembered; None for the default.
            timeout: Seconds until it must be ready.

        Raises:
            UsageError: If the specification is impossible, an address or port is in use, or a
                cluster is up already. Nothing was started.
            OperationError: If an agent stopped or did not get ready; everything was taken down.
        """
        where = directory or default_directory()
        cls._check_nothing_left(where)
        cluster = cls._plan(spec, where)
        for record in cluster.nodes.values():
            check_free(record.place, record.name)
        shutil.rmtree(where / "nodes", ignore_errors=True)
        if spec.elects:
            _write_region(spec, where / "nodes")
        try:
            for name in cluster.nodes:
                cluster._spawn(name)
            await cluster.wait_ready(timeout)
        except BaseException:
            with trio.CancelScope(shield=True):
                await cluster.down()
            raise
        return cluster

    @classmethod
    def find(cls, directory: Path | None = None) -> LocalCluster:
        """The cluster remembered in a directory.

        Raises:
            UsageError: If there is none.
        """
        where = directory or default_directory()
        state = read_state(where)
        if state is None:
            raise UsageError("no cluster is up: start one with `swimnomad cluster up`")
        return cls(where, state.profile, {record.name: record for record in state.nodes})

    @classmethod
    def _check_nothing_left(cls, directory: Path) -> None:
        state = read_state(directory)
        if state is None:
            return
        left = cls(directory, state.profile, {record.name: record for record in state.nodes})
        running = [name for name in left.nodes if left.condition(name) != "stopped"]
        if running:
            raise UsageError(
                f"a cluster is up already, with {', '.join(running)} running: "
                "take it down with `swimnomad cluster down`"
            )

    @classmethod
    def _plan(cls, spec: ClusterSpec, directory: Path) -> LocalCluster:
        if not 1 <= spec.count <= NODES_MAX:
            raise UsageError(f"a local cluster has 1 to {NODES_MAX} nodes, not {spec.count}")
        places = plan_places(spec.base, spec.count, spec.ports)
        labels = spec.labels or ("",) * spec.count
        if len(labels) != spec.count:
            raise UsageError(f"{spec.count} nodes need as many labels or none, not {len(labels)}")
        nodes = {}
        for number, (place, label) in enumerate(zip(places, labels, strict=True), start=1):
            name = f"s{number}"
            command = _agent_command(spec, name, place, directory / "nodes" / name)
            nodes[name] = NodeRecord(name, place, command, label=label)
        return cls(directory, spec.profile, nodes)

    # The whole.

    async def wait_ready(self, timeout: float) -> None:
        """Wait until every running agent answers and sees all running ones of its label alive.

        Raises:
            OperationError: If one stops meanwhile, or the time is over; says who is missing what.
        """
        waiting_for = {name for name in self.nodes if self.condition(name) == "running"}
        wanted = Counter(self.nodes[name].label for name in waiting_for)
        missing: dict[str, str] = {}
        with trio.move_on_after(timeout):
            while True:
                missing = await self._unready(waiting_for, wanted)
                if not missing:
                    return
                await trio.sleep(_POLL)
        details = "; ".join(f"{name}: {why}" for name, why in missing.items())
        raise OperationError(
            f"the cluster was not ready after {timeout:g} s: {details}", may_have_happened=True
        )

    async def _unready(self, names: set[str], wanted: Mapping[str, int]) -> dict[str, str]:
        missing: dict[str, str] = {}
        for name in sorted(names, key=list(self.nodes).index):
            self._check_running(name)
            try:
                seen = await alive_members(self.nodes[name].place.http)
            except NoAnswer as error:
                missing[name] = f"no answer ({error})"
                continue
            if seen != (all_of_it := wanted[self.nodes[name].label]):
                missing[name] = f"sees {seen} of {all_of_it} alive"
        return missing

    async def down(self) -> None:
        """End every process and forget the cluster; shielded from cancellation, bounded in time.

        Raises:
            OperationError: If the system could not end one of them; it stays remembered.
        """
        with trio.CancelScope(shield=True):
            async with trio.open_nursery() as nursery:
                for process in self._processes.values():
                    nursery.start_soon(process.end, STOP_TIME)
        left = [name for name, process in self._processes.items() if process.is_running]
        if left:
            raise OperationError(f"could not end {', '.join(left)}", may_have_happened=True)
        forget_state(self.directory)

    async def status(self) -> list[NodeStatus]:
        """Every node as it is now."""
        return [await self._status(name) for name in self.nodes]

    async def _status(self, name: str) -> NodeStatus:
        record, condition = self.nodes[name], self.condition(name)
        seen: int | None = None
        if condition == "running":
            with trio.move_on_after(2.0):
                try:
                    seen = await alive_members(record.place.http)
                except NoAnswer:
                    seen = None
        pid = None
        if condition != "stopped":
            pid = self._processes[name].mark.pid
        return NodeStatus(name, record.place, condition, pid, seen)

    # One node.

    def condition(self, name: str) -> Condition:
        """What a node's process is doing.

        Raises:
            UsageError: If there is no such node.
        """
        record = self._record(name)
        process = self._processes.get(name)
        if process is None or not process.is_running:
            return "stopped"
        return "paused" if record.paused else "running"

    async def start(
        self, name: str, *, timeout: float = 30.0, wipe: bool = False, label: str | None = None
    ) -> None:
        """Start a node that is stopped and wait until it answers.

        Args:
            name: Of the node.
            timeout: Seconds until it must answer.
            wipe: Forget its data first, so that it comes back as a stranger of the same name.
            label: Its label from now on, and with it those whom it joins; None: as before.

        Raises:
            UsageError: If there is no such node, it is running, or its address is in use.
            OperationError: If it does not get ready.
        """
        if self.condition(name) != "stopped":
            raise UsageError(f"node {name} is {self.condition(name)}: it must be stopped first")
        check_free(self.nodes[name].place, name)
        if wipe:
            shutil.rmtree(self._node_directory(name) / "data", ignore_errors=True)
        if label is not None:
            self.nodes[name] = msgspec.structs.replace(self.nodes[name], label=label)
        self._spawn(name)
        with trio.move_on_after(timeout):
            while True:
                self._check_running(name)
                try:
                    await ask(self.nodes[name].place.http, "/v1/agent/self")
                    return
                except NoAnswer:
                    await trio.sleep(_POLL)
        raise OperationError(
            f"node {name} did not answer after {timeout:g} s", may_have_happened=True
        )

    async def restart(self, name: str, *, timeout: float = 30.0, wipe: bool = False) -> None:
        """Kill a node if it runs, then start it; see `start`."""
        if self.condition(name) != "stopped":
            await self.kill(name)
        await self.start(name, timeout=timeout, wipe=wipe)

    async def kill(self, name: str) -> None:
        """End a node as a crash would: the others find out by themselves."""
        await self._running_process(name).kill()
        self._remember(name, paused=False)

    async def stop(self, name: str) -> None:
        """Ask a node to stop by SIGTERM; without leave_on_terminate that is no leave."""
        await self._running_process(name).end(STOP_TIME)
        self._remember(name, paused=False)

    async def leave(self, name: str, timeout: float = 20.0) -> None:
        """Make a node leave the pool and stop.

        Raises:
            UsageError: If there is no such node or it is not running.
            OperationError: If it did not leave in time.
        """
        process = self._running_process(name)
        try:
            with trio.fail_after(timeout):
                await ask(self.nodes[name].place.http, "/v1/swimnomad/leave", "PUT")
        except (NoAnswer, trio.TooSlowError) as error:
            raise OperationError(
                f"node {name} did not confirm that it left: {error}", may_have_happened=True
            ) from None
        if not await process.wait(STOP_TIME):
            raise OperationError(f"node {name} left but did not stop", may_have_happened=True)

    def pause(self, name: str) -> None:
        """Stop a node's process by a signal: it keeps its sockets and answers nobody."""
        self._running_process(name).signal(signal.SIGSTOP)
        self._remember(name, paused=True)

    def resume(self, name: str) -> None:
        """Let a paused node go on."""
        self._running_process(name).signal(signal.SIGCONT)
        self._remember(name, paused=False)

    def log_path(self, name: str) -> Path:
        """The file that a node prints to."""
        self._record(name)
        return self._node_directory(name) / "log"

    # Inside.

    def _record(self, name: str) -> NodeRecord:
        try:
            return self.nodes[name]
        except KeyError:
            known = ", ".join(self.nodes)
            raise UsageError(f"no node is called {name!r}: there are {known}") from None

    def _running_process(self, name: str) -> OwnProcess:
        if self.condition(name) == "stopped":
            raise UsageError(f"node {name} is not running")
        return self._processes[name]

    def _node_directory(self, name: str) -> Path:
        return self.directory / "nodes" / name

    @trio.lowlevel.enable_ki_protection  # Ctrl-C must not fall between starting and noting it
    def _spawn(self, name: str) -> None:
        self._node_directory(name).mkdir(parents=True, exist_ok=True)
        command = [*self.nodes[name].command, *self._flags_of_label(name)]
        process = OwnProcess.spawn(command, self.log_path(name))
        self._processes[name] = process
        record = msgspec.structs.replace(self.nodes[name], process=process.mark, paused=False)
        self.nodes[name] = record
        self._save()

    def _flags_of_label(self, name: str) -> list[str]:
        """What tells a node its label and whom to join; both may change between two starts."""
        label = self.nodes[name].label
        others = [one for one in self.nodes.values() if one.label == label and one.name != name]
        flags: list[str] = []
        for other in others[:JOIN_TARGETS_MAX]:
            flags += ["--retry-join", str(other.place.serf)]
        if others:
            flags += ["--retry-interval", "1s"]
        if label:
            config = self._node_directory(name) / "label.json"
            config.write_bytes(msgspec.json.encode({"gossip": {"label": label}}))
            flags += ["--config", str(config.absolute())]
        return flags

    def _remember(self, name: str, *, paused: bool) -> None:
        self.nodes[name] = msgspec.structs.replace(self.nodes[name], paused=paused)
        self._save()

    def _save(self) -> None:
        state = ClusterState(STATE_VERSION, self.profile, tuple(self.nodes.values()))
        write_state(self.directory, state)

    def _check_running(self, name: str) -> None:
        process = self._processes[name]
        if process.is_running:
            return
        status = process.exit_status
        how = "" if status is None else f" with status {status}"
        raise OperationError(
            f"node {name} stopped{how}: {self._last_words(name)}", may_have_happened=True
        )

    def _last_words(self, name: str) -> str:
        """The end of a node's log, for an error message."""
        try:
            text = self.log_path(name).read_bytes()[-_LOG_TAIL_BYTES:].decode(errors="replace")
        except OSError:
            return "it has no log"
        lines = [line.strip() for line in text.splitlines() if line.strip()]
        return lines[-1] if lines else "its log is empty"


def default_directory() -> Path:
    """Where the cluster of this user is remembered."""
    return state_home() / "cluster"


@asynccontextmanager
async def local_processes(
    spec: ClusterSpec, directory: Path, *, timeout: float = 60.0
) -> AsyncIterator[LocalCluster]:
    """A cluster for the length of the block; see `LocalCluster.up`."""
    cluster = await LocalCluster.up(spec, directory, timeout=timeout)
    try:
        yield cluster
    finally:
        await cluster.down()


def _agent_command(spec: ClusterSpec, name: str, place: Place, directory: Path) -> tuple[str, ...]:
    """What starts a node, but for what may change later."""
    command = [sys.executable, "-m", "swimnomad", "agent", "--server"]
    command += ["--node", name, "--bind", place.host, "--profile", spec.profile]
    command += ["--http-port", str(place.ports.http), "--rpc-port", str(place.ports.rpc)]
    command += ["--serf-port", str(place.ports.serf)]
    command += ["--data-dir", str((directory / "data").absolute())]
    command += ["--log-level", spec.log_level]
    if spec.allow_faults:
        command.append("--allow-faults")
    if spec.elects:
        command += ["--config", str(directory.parent.absolute() / REGION_FILE)]
    return (*command, *spec.flags)


def _write_region(spec: ClusterSpec, directory: Path) -> None:
    """What makes the nodes take part in electing a leader, as a file for all of them."""
    directory.mkdir(parents=True, exist_ok=True)
    settings = {
        "server": {"bootstrap_expect": spec.count},
        # Else the leader would force out within seconds whom a user has killed to look at it.
        "autopilot": {"cleanup_dead_servers": False},
    }
    (directory / REGION_FILE).write_bytes(msgspec.json.encode(settings))
