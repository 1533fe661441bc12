"""One agent as one nursery, and several of them in one loop."""

from __future__ import annotations

import base64
import json
import socket
import stat
import uuid
from pathlib import Path

import msgspec
import pytest
import trio

from swimnomad.errors import OperationError, UsageError
from swimnomad.faults import LinkFault
from swimnomad.live.agent import LiveAgent, open_agent
from swimnomad.live.http_probe import alive_members, ask
from swimnomad.live.log import AgentLog, Level, LogLine
from swimnomad.nomad.config import (
    AgentConfig,
    ClientConfig,
    GossipConfig,
    Hosts,
    Ports,
    ServerConfig,
)
from swimnomad.serf.events import MemberJoined, Status
from tests.live.live_support import fresh_host, until

pytestmark = pytest.mark.live

LIMIT = 30.0


def config(name: str = "s1", join: tuple[str, ...] = (), **changes: object) -> AgentConfig:
    server = ServerConfig(enabled=True, start_join=join)
    basis = AgentConfig(
        name=name,
        bind_addr=fresh_host(),
        ports=Ports(0, 0, 0),
        server=server,
        gossip=GossipConfig(profile="local"),
    )
    return msgspec.structs.replace(basis, **changes)


def alive(agent: LiveAgent) -> list[str]:
    assert agent.core is not None
    members = agent.core.serf.members.values()
    return [one.name for one in members if one.status == Status.ALIVE]


def gossip_address(agent: LiveAgent) -> str:
    assert agent.endpoint is not None
    return str(agent.endpoint.address)


async def test_ports_of_0_are_chosen_and_shown_everywhere() -> None:
    with trio.fail_after(LIMIT):
        async with open_agent(config()) as agent:
            ports = agent.config.ports
            assert 0 not in (ports.http, ports.rpc, ports.serf)
            assert agent.http.port == ports.http
            assert agent.core is not None
            member = agent.core.serf.local_member
            assert member.port == ports.serf
            assert member.tags["port"] == str(ports.rpc)
            shown = msgspec.json.decode(await ask(agent.http, "/v1/agent/self"))
            assert shown["member"]["Port"] == ports.serf
            assert shown["config"]["Ports"]["HTTP"] == ports.http


async def test_agents_join_at_the_start_and_the_api_of_each_shows_all() -> None:
    with trio.fail_after(LIMIT):
        async with (
            open_agent(config("s1")) as first,
            open_agent(config("s2", (gossip_address(first),))) as second,
        ):
            await until(lambda: len(alive(first)) == 2)
            assert await alive_members(first.http) == await alive_members(second.http) == 2


async def test_an_agent_that_can_join_nobody_at_the_start_does_not_start() -> None:
    nobody = f"{fresh_host()}:4648"
    with trio.fail_after(LIMIT), pytest.raises(OperationError) as caught:
        async with open_agent(config(join=(nobody,))):
            pytest.fail("the agent started")
    host = nobody.partition(":")[0]
    assert str(caught.value) == (
        f"1 error occurred:\n\t* Failed to join {host}: dial tcp {nobody}: connect: connection "
        "refused\n\n"
    )


async def test_joining_a_listener_that_says_nothing_fails_within_the_stream_timeout() -> None:
    """gossip 40.45"""
    with trio.fail_after(LIMIT), socket.socket() as silent:
        silent.bind((fresh_host(), 0))
        silent.listen()
        host, port = silent.getsockname()
        async with open_agent(config("s1")) as first, open_agent(config("s2")) as second:
            started = trio.current_time()
            report = await first.facade.join([f"{host}:{port}"])
            assert report.joined == 0
            assert report.error.startswith("1 error occurred:")
            assert trio.current_time() - started < 3.0  # `local` allows a stream one second
            report = await first.facade.join([f"{host}:{port}", gossip_address(second)])
            assert (report.joined, report.error) == (1, "")


async def test_an_address_in_use_is_the_callers_error_as_it_is() -> None:
    with trio.fail_after(LIMIT):
        async with open_agent(config()) as agent:
            same = msgspec.structs.replace(agent.config, ports=Ports(0, 0, agent.config.ports.serf))
            with pytest.raises(UsageError, match="cannot listen on tcp"):
                async with open_agent(same):
                    pytest.fail("the agent started")
            same = msgspec.structs.replace(agent.config, ports=Ports(agent.config.ports.http, 0, 0))
            with pytest.raises(UsageError, match="cannot listen for HTTP"):
                async with open_agent(same):
                    pytest.fail("the agent started")


async def test_retrying_ends_with_the_first_success() -> None:
    lines: list[str] = []
    log = AgentLog(Level.INFO, lambda line: lines.append(line.message))
    late = config("s1", ports=Ports(0, 0, 4648))
    server = ServerConfig(enabled=True, retry_join=(f"{late.bind_addr}:4648",), retry_interval=0.05)
    with trio.fail_after(LIMIT):
        async with open_agent(config("s2", server=server), log) as agent:
            await until(lambda: "join failed" in lines)
            async with open_agent(late) as other:
                await until(lambda: len(alive(agent)) == len(alive(other)) == 2)
                await until(lambda: "retry join completed" in lines)
    assert lines.count("starting retry join") == 1


async def test_an_agent_whose_retries_are_used_up_wants_to_stop_with_status_1() -> None:
    lines: list[LogLine] = []
    log = AgentLog(Level.INFO, lines.append)
    server = ServerConfig(
        enabled=True, retry_join=(fresh_host(),), retry_max=2, retry_interval=0.01
    )
    with trio.fail_after(LIMIT):
        async with open_agent(config(server=server), log) as agent:
            await agent.stop.wait()
            assert agent.stop.status == 1
            assert not agent.stop.leave
    messages = [line.message for line in lines]
    assert messages.count("join failed") == 2  # and a third attempt, the last
    assert messages[-1] == "max join retry exhausted, exiting"


async def test_leaving_over_the_api_is_answered_and_then_stops_the_agent() -> None:
    """gossip 40.49, agent C09"""
    with trio.fail_after(LIMIT):
        async with (
            open_agent(config("s1")) as first,
            open_agent(config("s2", (gossip_address(first),))) as second,
        ):
            await until(lambda: len(alive(first)) == 2)
            answer = msgspec.json.decode(await ask(second.http, "/v1/swimnomad/leave", "PUT"))
            assert answer == {"heard": True}
            await second.stop.wait()
            assert second.stop.status == 0
            assert first.core is not None
            await until(
                lambda: (
                    first.core is not None
                    and first.core.serf.members["s2.global"].status == Status.LEFT
                )
            )


async def test_the_fault_shim_is_there_only_if_it_was_allowed() -> None:
    allowed = config(gossip=GossipConfig(profile="local", allow_faults=True))
    with trio.fail_after(LIMIT):
        async with open_agent(config()) as plain, open_agent(allowed) as agent:
            assert plain.services.faults is None
            agent.facade.faults.set_fault("partition", LinkFault(blocked=True))
            shown = json.loads(await ask(agent.http, "/v1/swimnomad/faults"))
            assert list(shown) == ["partition"]


async def test_a_partition_by_the_shim_makes_the_others_fail_and_healing_brings_them_back() -> None:
    def allowed(name: str, join: tuple[str, ...] = ()) -> AgentConfig:
        fast = GossipConfig(profile="local", scale=0.2, allow_faults=True)
        return config(name, join, gossip=fast)

    with trio.fail_after(LIMIT):
        async with (
            open_agent(allowed("s1")) as first,
            open_agent(allowed("s2", (gossip_address(first),))) as second,
        ):
            await until(lambda: len(alive(first)) == 2)
            first.facade.faults.set_fault("partition", LinkFault(blocked=True))
            await until(lambda: len(alive(first)) == len(alive(second)) == 1)
            first.facade.faults.clear_faults()
            await first.facade.join([gossip_address(second)])
            await until(lambda: len(alive(first)) == len(alive(second)) == 2)


async def test_events_come_with_their_wall_time() -> None:
    with trio.fail_after(LIMIT):
        async with open_agent(config("s1")) as first, trio.open_nursery() as nursery:
            seen: list[str] = []

            async def watch() -> None:
                async for moment, event in first.services.events():
                    assert abs(moment - first.services.wall_time()) < 60
                    if isinstance(event, MemberJoined):
                        seen.append(event.member.name)

            nursery.start_soon(watch)
            async with open_agent(config("s2", (gossip_address(first),))):
                await until(lambda: seen == ["s2.global"])
            nursery.cancel_scope.cancel()


async def test_a_server_keeps_its_identity_and_its_keys(tmp_path: Path) -> None:
    """agent L11"""
    key = base64.b64encode(bytes(range(16))).decode()
    server = ServerConfig(enabled=True, encrypt=key)
    first = config(server=server, data_dir=str(tmp_path))
    ids = []
    with trio.fail_after(LIMIT):
        other = base64.b64encode(bytes(32)).decode()
        again = ServerConfig(enabled=True, encrypt=other)
        for one in (first, msgspec.structs.replace(first, server=again)):
            async with open_agent(one) as agent:
                assert agent.core is not None
                ids.append(agent.core.serf.local_member.tags["id"])
    assert ids[0] == ids[1] == str(uuid.UUID(ids[0]))
    ring = tmp_path / "server" / "serf.keyring"
    assert json.loads(ring.read_bytes()) == [key]
    assert stat.S_IMODE(ring.stat().st_mode) == 0o600


async def test_only_agents_with_the_same_key_share_a_pool() -> None:
    """gossip 40.12"""

    def with_key(name: str, byte: int, join: tuple[str, ...] = ()) -> AgentConfig:
        key = base64.b64encode(bytes([byte]) * 32).decode()
        return config(name, server=ServerConfig(enabled=True, encrypt=key, start_join=join))

    with trio.fail_after(LIMIT):
        async with open_agent(with_key("s1", 1)) as first:
            async with open_agent(with_key("s2", 1, (gossip_address(first),))):
                await until(lambda: len(alive(first)) == 2)
            with pytest.raises(OperationError, match="Failed to join"):
                async with open_agent(with_key("s3", 2, (gossip_address(first),))):
                    pytest.fail("the agent started")


async def test_a_key_of_a_wrong_size_is_refused_in_the_words_of_nomad() -> None:
    bad = config(server=ServerConfig(enabled=True, encrypt="AAAA"))
    with pytest.raises(UsageError, match="Invalid key: key size must be 16, 24 or 32 bytes"):
        async with open_agent(bad):
            pytest.fail("the agent started")


async def test_a_client_only_agent_has_an_api_and_no_gossip() -> None:
    client = config(server=ServerConfig(), client=ClientConfig(enabled=True, servers=("10.0.0.1",)))
    with trio.fail_after(LIMIT):
        async with open_agent(client) as agent:
            assert agent.endpoint is None
            shown = msgspec.json.decode(await ask(agent.http, "/v1/agent/servers"))
            assert shown == ["10.0.0.1:4647"]
            with pytest.raises(OperationError, match="does not gossip"):
                await agent.services.execute(lambda number: pytest.fail("asked for a command"))


async def test_names_are_resolved_and_addresses_stay_as_they_are() -> None:
    with trio.fail_after(LIMIT):
        async with open_agent(config()) as agent:
            assert await agent.services.resolve("127.0.0.9", 4648) == ["127.0.0.9"]
            assert await agent.services.resolve("localhost", 4648)
            with pytest.raises(OSError, match=r"known|resolution|address"):
                await agent.services.resolve("no.such.host.invalid", 4648)


async def test_an_advertised_address_is_what_the_others_see() -> None:
    """gossip 40.51"""
    with trio.fail_after(LIMIT):
        advertised = config(advertise=Hosts(serf="10.1.2.3:5000"))
        async with open_agent(advertised) as agent:
            assert agent.core is not None
            member = agent.core.serf.local_member
            assert (member.ip, member.port) == (bytes((10, 1, 2, 3)), 5000)


class CancelAt(trio.abc.Instrument):
    """Cancels a scope when so many steps of tasks were taken."""

    def __init__(self, scope: trio.CancelScope, steps: int) -> None:
        self._scope = scope
        self._steps_left = steps

    def before_task_step(self, task: trio.lowlevel.Task) -> None:
        self._steps_left -= 1
        if self._steps_left == 0:
            self._scope.cancel()


async def test_an_agent_may_be_stopped_at_every_step_of_its_start() -> None:
    with trio.fail_after(LIMIT):
        for steps in range(1, 120):
            with trio.CancelScope() as scope:
                canceller = CancelAt(scope, steps)
                trio.lowlevel.add_instrument(canceller)
                try:
                    async with open_agent(config()):
                        await trio.lowlevel.checkpoint()
                finally:
                    trio.lowlevel.remove_instrument(canceller)
