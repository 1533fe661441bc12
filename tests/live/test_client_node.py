"""The driver of a client's node, against servers that do as they are told."""

from __future__ import annotations

import itertools
import random
import stat
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest
import trio
import trio.lowlevel
import trio.testing

from swimnomad.errors import OperationError, UsageError
from swimnomad.live.client_node import ANSWER_TIMES, NodeDriver, open_node, read_node
from swimnomad.live.identity import client_ids
from swimnomad.live.log import Level
from swimnomad.live.node_facts import read_node_facts
from swimnomad.names import Address
from swimnomad.nomad.client_node import ClientNode, NodeCall
from swimnomad.nomad.config import AgentConfig, ClientConfig, TlsConfig
from swimnomad.nomad.requests import (
    ClientAllocs,
    NodeGetClientAllocs,
    NodeRegister,
    NodeUpdate,
    NodeUpdateStatus,
    Request,
    ServerInfo,
)
from tests.live.live_support import until
from tests.nomad.state.state_support import node

TTL = 12.0
SERVERS = (Address("127.0.61.1", 4647), Address("127.0.61.2", 4647))
REPLY = NodeUpdate(
    heartbeat_ttl=TTL, servers=tuple(ServerInfo(str(server), "dc1") for server in SERVERS)
)


class Servers:
    """Servers of a node: `act` says what becomes of a request."""

    def __init__(self) -> None:
        self.asked: list[tuple[float, type[Any]]] = []
        self.used: list[Sequence[Address]] = []
        self.passed_over: list[float] = []
        self.act: Callable[[Request[Any]], OperationError | float] = lambda request: 0.0
        self.polls = trio.Event()

    async def ask_servers(self, request: Request[Any]) -> Any:  # noqa: ANN401
        """Answer after the seconds that `act` says."""
        self.asked.append((trio.current_time(), type(request)))
        act = self.act(request)
        if isinstance(act, OperationError):
            raise act
        await trio.sleep(act)
        if isinstance(request, NodeGetClientAllocs):
            if request.min_index:
                await self.polls.wait()
            return ClientAllocs(index=1)
        return REPLY

    def use_servers(self, servers: Sequence[Address]) -> None:
        """Remember them."""
        self.used.append(servers)

    def pass_over_server(self) -> None:
        """Remember it."""
        self.passed_over.append(trio.current_time())

    def times(self, kind: type[Any]) -> list[float]:
        """When such requests came."""
        return [time for time, asked in self.asked if asked is kind]


@asynccontextmanager
async def driven(servers: Servers, *, dev_mode: bool = False) -> AsyncIterator[NodeDriver]:
    """A node that runs."""
    core = ClientNode(node(), "global", random.Random(1), dev_mode=dev_mode)
    lines: list[str] = []

    def write(level: Level, module: str, message: str, **pairs: object) -> None:
        lines.append(message)

    driver = NodeDriver(core, servers, write)
    driver.note_answer()  # nothing runs yet
    async with trio.open_nursery() as nursery:
        await nursery.start(driver.serve)
        yield driver
        nursery.cancel_scope.cancel()
    driver.note_answer()  # nothing runs any more
    assert lines


async def test_heartbeats_come_at_the_ttl_beside_one_waiting_poll(
    autojump_clock: trio.testing.MockClock,
) -> None:
    servers = Servers()
    async with driven(servers) as driver:
        await trio.sleep(100)
        assert len(servers.times(NodeRegister)) == 1
        assert len(servers.times(NodeGetClientAllocs)) == 2
        beats = servers.times(NodeUpdateStatus)
        pauses = [round(b - a, 6) for a, b in itertools.pairwise(beats)]
        assert len(beats) >= 8
        assert pauses == [TTL] * len(pauses)
        assert servers.used[-1] == SERVERS
        assert (driver.node.is_registered, driver.node.heartbeat_ttl) == (True, TTL)


async def test_in_dev_mode_heartbeats_begin_at_once_and_failures_are_short(
    autojump_clock: trio.testing.MockClock,
) -> None:
    servers = Servers()
    servers.act = lambda request: (
        OperationError("No cluster leader", may_have_happened=False)
        if trio.current_time() < servers.asked[0][0] + 2.5
        else 0.0
    )
    async with driven(servers, dev_mode=True):
        await trio.sleep(5)
        start = servers.asked[0][0]
        registrations = [round(time - start, 6) for time in servers.times(NodeRegister)]
        assert registrations == [0.0, 1.0, 2.0, 3.0]
        assert round(servers.times(NodeUpdateStatus)[0] - start, 6) == 3.0


async def test_a_server_that_hangs_is_passed_over_within_the_grace(
    autojump_clock: trio.testing.MockClock,
) -> None:
    servers = Servers()
    hangs = [True]
    servers.act = lambda request: (
        1000.0 if isinstance(request, NodeUpdateStatus) and hangs[0] else 0.0
    )
    async with driven(servers) as driver:
        await until(lambda: bool(servers.passed_over))
        hangs.clear()
        hangs.append(False)
        first = servers.times(NodeUpdateStatus)[0]
        assert servers.passed_over == [first + ANSWER_TIMES[NodeCall.BEAT]]
        await trio.sleep(30)
        assert servers.times(NodeUpdateStatus)[1] - first < 10.0
        assert driver.node.since_heartbeat(trio.current_time()) < TTL


async def test_another_answer_hurries_what_waits(autojump_clock: trio.testing.MockClock) -> None:
    servers = Servers()
    servers.act = lambda request: OperationError("no servers", may_have_happened=False)
    async with driven(servers) as driver:
        await trio.sleep(5)
        servers.act = lambda request: 0.0
        assert not driver.node.is_registered
        driver.note_answer()
        await trio.lowlevel.checkpoint()
        await trio.testing.wait_all_tasks_blocked()
        assert driver.node.is_registered


# --- what the node says and keeps -----------------------------------------------------------------


def config(data_dir: Path | None = None, **fields: object) -> AgentConfig:
    basis = AgentConfig(
        name="c1",
        client=ClientConfig(enabled=True),
        data_dir=str(data_dir) if data_dir else "",
        foreign={"client.node_class": "big", "client.meta": {"rack": "r1"}},
    )
    return msgspec.structs.replace(basis, **fields)


def test_ids_are_kept_in_the_data_directory(tmp_path: Path) -> None:
    ids = client_ids(config(tmp_path / "data"))
    assert client_ids(config(tmp_path / "data")) == ids
    folder = tmp_path / "data" / "client"
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    for name in ("client-id", "secret-id"):
        assert stat.S_IMODE((folder / name).stat().st_mode) == 0o700
    assert client_ids(config()) != client_ids(config())
    assert client_ids(config(tmp_path / "data", dev_mode=True)) != ids


def test_a_damaged_secret_is_named_and_not_shown(tmp_path: Path) -> None:
    client_ids(config(tmp_path))
    (tmp_path / "client" / "secret-id").write_text("almost a secret")
    with pytest.raises(UsageError, match=r"secret-id must hold a UUID") as caught:
        client_ids(config(tmp_path))
    assert "almost" not in str(caught.value)


async def test_a_node_says_what_it_is(tmp_path: Path) -> None:
    settings = config(tmp_path, tls=TlsConfig(http=True))
    core = open_node(settings)
    made = await read_node(settings, core.node)
    assert (made.id, made.secret_id) == client_ids(settings)
    assert (made.name, made.node_class, made.http_addr) == ("c1", "big", "127.0.0.1:4646")
    assert made.tls_enabled
    assert made.meta is not None
    assert made.meta["rack"] == "r1"
    assert made.attributes is not None
    assert int(made.attributes["memory.totalbytes"]) > 0
    assert made.attributes["unique.network.ip-address"] == "127.0.0.1"


def test_what_cannot_be_read_of_the_host_is_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: object) -> None:
        raise OSError("no such thing")

    monkeypatch.setattr("psutil.cpu_freq", fails)
    monkeypatch.setattr("platform.freedesktop_os_release", fails)
    monkeypatch.setattr("shutil.disk_usage", fails)
    monkeypatch.setattr("swimnomad.live.node_facts.CPU_INFO", str(tmp_path / "none"))
    monkeypatch.setattr("swimnomad.live.node_facts.CGROUPS", str(tmp_path / "none"))
    facts = read_node_facts("192.0.2.1", "/")
    assert (facts.cpu_mhz, facts.cpu_model, facts.os, facts.disk_bytes) == (0, "", "", 0)
    assert (facts.cgroup_mountpoint, facts.interface) == ("", "lo")
    monkeypatch.setattr("psutil.cpu_freq", lambda: None)
    (tmp_path / "none").write_text("processor: 0\n")
    assert read_node_facts("192.0.2.1", "/").cpu_mhz == 0
