"""Agents that ask each other over RPC, with real sockets: regions, clients, failover."""

from __future__ import annotations

import pytest
import trio

from tests.live.live_support import fresh_host, until
from tests.live.rpc_clusters import (
    client_config,
    get,
    logged_agent,
    pool_of,
    server_config,
)

pytestmark = pytest.mark.live

LIMIT = 40.0
TWO_REGIONS = (("a1", "A"), ("a2", "A"), ("b1", "B"), ("b2", "B"))


async def test_a_question_about_another_region_is_answered_there() -> None:
    with trio.fail_after(LIMIT):
        async with pool_of([server_config(*one) for one in TWO_REGIONS]) as agents:
            first = agents[0]
            stale = await get(first, "/v1/status/peers?region=B&stale")
            assert (stale.status_code, stale.json()) == (200, [])
            # B has no leader: it holds the question as long as Nomad does, and says so itself; what
            # comes back from another server begins with "rpc error: ".
            held = await get(first, "/v1/status/peers?region=B")
            assert (held.status_code, held.text) == (500, "rpc error: No cluster leader")
            own = await get(first, "/v1/status/peers?region=A&stale")
            assert (own.status_code, own.json()) == (200, [])


async def test_an_unknown_region_is_refused_and_members_ignore_it() -> None:
    with trio.fail_after(LIMIT):
        async with pool_of([server_config(*one) for one in TWO_REGIONS]) as agents:
            for path in ("/v1/status/peers?region=C", "/v1/status/leader?region=C&stale"):
                refused = await get(agents[0], path)
                assert (refused.status_code, refused.text) == (500, "No path to region")
            for region in ("A", "B", "C"):
                shown = (await get(agents[0], f"/v1/agent/members?region={region}")).json()
                names = {member["Name"] for member in shown["Members"]}
                assert names == {"a1.A", "a2.A", "b1.B", "b2.B"}
                assert shown["ServerRegion"] == "A"
            assert (await get(agents[3], "/v1/regions")).json() == ["A", "B"]


async def test_servers_of_a_region_that_has_gone_are_not_asked() -> None:
    configs = [server_config("a1", "A"), server_config("b1", "B")]
    with trio.fail_after(LIMIT):
        async with logged_agent(configs[0]) as first:
            async with logged_agent(configs[1]) as second:
                assert first.agent.endpoint is not None
                await second.agent.facade.join([str(first.agent.endpoint.address)])
                assert first.agent.core is not None
                servers = first.agent.core.servers
                await until(lambda: servers.regions == ["A", "B"])
                assert (await get(first, "/v1/status/leader?region=B&stale")).json() == ""
                await second.agent.facade.leave()
                await until(lambda: servers.regions == ["A"])
            gone = await get(first, "/v1/status/leader?region=B&stale")
            assert (gone.status_code, gone.text) == (500, "No path to region")


async def test_a_client_asks_its_servers_and_gets_over_a_dead_one() -> None:
    with trio.fail_after(LIMIT):
        async with pool_of([server_config("s1"), server_config("s2")]) as servers:
            nobody = f"{fresh_host()}:4647"
            config = client_config("c1", [nobody, servers[1].rpc])
            async with logged_agent(config) as client:
                assert (await get(client, "/v1/status/leader?stale")).json() == ""
                shown = (await get(client, "/v1/agent/members")).json()
                assert {one["Name"] for one in shown["Members"]} == {"s1.global", "s2.global"}
                assert (await get(client, "/v1/regions")).json() == ["global"]
                await client.agent.facade.set_servers([nobody, servers[0].rpc])
                assert (await get(client, "/v1/agent/servers")).json() == [servers[0].rpc]


async def test_a_client_without_a_server_that_answers_says_which_call_failed() -> None:
    nobody = f"{fresh_host()}:4647"
    with trio.fail_after(LIMIT):
        async with logged_agent(client_config("c1", [nobody])) as client:
            failed = await get(client, "/v1/status/leader?stale")
            assert failed.status_code == 500
            assert failed.text == (
                f"rpc error: failed to get conn: dial tcp {nobody}: connect: connection refused"
            )


async def test_a_server_answers_on_its_rpc_port_and_logs_a_wrong_first_byte() -> None:
    with trio.fail_after(LIMIT):
        async with logged_agent(server_config("s1")) as server:
            address = server.agent.config.bind("rpc")
            async with await trio.open_tcp_stream(*address) as stream:
                await stream.send_all(b"\x01\x82\xa3Seq\x01\xadServiceMethod\xabStatus.Ping\x80")
                answer = await stream.receive_some(4096)
                assert b"Status.Ping" in answer
            async with await trio.open_tcp_stream(*address) as stream:
                await stream.send_all(b"G")
                assert await stream.receive_some(4096) == b""
            assert any(
                line.startswith("nomad.rpc: unrecognized RPC byte")
                for line in server.texts("nomad.rpc")
            )
