"""What each of Nomad's endpoints says, and when."""

from __future__ import annotations

import msgspec
import pytest

from swimnomad.names import Address
from swimnomad.nomad.config import AgentConfig, GossipConfig, Hosts, ServerConfig
from swimnomad.nomad.forwarding import PAUSE_MAX
from swimnomad.serf.events import Status
from swimnomad.serf.inputs import SetTags
from tests.agent_world import AgentWorld
from tests.http.http_support import Served, alone, client, dev, serve, server, several


async def test_members_name_the_server_that_answers() -> None:
    """agent C01, agent C02, agent C03, agent C13"""
    answer = (await alone(server(1)).get("/v1/agent/members")).json
    assert (answer["ServerName"], answer["ServerRegion"], answer["ServerDC"]) == (
        "s1",
        "global",
        "dc1",
    )
    (member,) = answer["Members"]
    assert (member["Name"], member["Addr"], member["Port"]) == ("s1.global", "127.0.61.1", 4648)


async def test_a_member_shows_what_a_nomad_server_shows() -> None:
    """agent C04, agent C05, agent C06"""
    (member,) = (await alone(server(1, expect=1)).get("/v1/agent/members")).json["Members"]
    tags = member["Tags"]
    assert len(tags.pop("id")) == 36
    assert tags == {
        "role": "nomad",
        "region": "global",
        "dc": "dc1",
        "build": "1.0.4",
        "port": "4647",
        "vsn": "1",
        "mvn": "1",
        "raft_vsn": "2",
        "rpc_addr": "127.0.61.1",
        "bootstrap": "1",
        "expect": "1",
    }
    assert {key: member[key] for key in member if key[:8] in ("Protocol", "Delegate")} == {
        "ProtocolMin": 1,
        "ProtocolMax": 5,
        "ProtocolCur": 2,
        "DelegateMin": 2,
        "DelegateMax": 5,
        "DelegateCur": 4,
    }
    assert member["Status"] == "alive"


async def test_regions_see_each_other() -> None:
    """agent C07, agent M05, agent P01"""
    _, (near, far) = await several(server(1), server(2, "eu"))
    for one in (near, far):
        assert await one.statuses() == {"s1.global": "alive", "s2.eu": "alive"}
        assert (await one.get("/v1/regions")).json == ["eu", "global"]
        core = one.agent.core
        assert core is not None
        assert len(core.servers.local_peers) == 1
        stats = (await one.get("/v1/agent/self")).json["stats"]
        assert stats["nomad"]["known_regions"] == "2"


async def test_a_killed_member_fails_and_stays_listed() -> None:
    """agent C08, agent E18"""
    world, (first, second) = await several(server(1), server(2))
    world.kill(second.agent)
    world.world.run_for(60.0)
    assert await first.statuses() == {"s1.global": "alive", "s2.global": "failed"}
    stats = (await first.get("/v1/agent/self")).json["stats"]["serf"]
    assert (stats["members"], stats["failed"], stats["left"]) == ("2", "1", "0")


async def test_a_member_that_leaves_is_left_and_stays_listed() -> None:
    """agent C09, agent P02"""
    world, (first, second) = await several(server(1), server(2, "eu"))
    assert (await second.put("/v1/swimnomad/leave")).json == {"heard": True}
    world.world.run_for(5.0)
    assert await first.statuses() == {"s1.global": "alive", "s2.eu": "left"}
    assert (await first.get("/v1/regions")).json == ["global"]


async def test_members_ignore_the_region() -> None:
    """agent C12"""
    assert (await alone(server(1)).get("/v1/agent/members?region=nowhere")).status == 200


async def test_a_dev_agent_knows_its_own_server() -> None:
    """agent D01"""
    assert (await alone(dev()).get("/v1/agent/servers")).json == ["127.0.0.1:4647"]
    advertised = msgspec.structs.replace(dev(), advertise=Hosts(rpc="127.0.0.9:99"))
    found = (await alone(advertised).get("/v1/agent/servers")).json
    assert found == ["127.0.0.1:4647", "127.0.0.9:99"]


@pytest.mark.parametrize("method", ["GET", "PUT", "POST"])
async def test_a_server_keeps_no_list_of_servers(method: str) -> None:
    """agent D02"""
    response = await alone(server(1)).send(method, "/v1/agent/servers?address=127.0.0.1")
    assert (response.status, response.text) == (501, "Invalid method")


async def test_a_client_shows_its_servers_sorted_with_ports() -> None:
    """agent D03, agent D04"""
    one = alone(client("127.0.61.2", "127.0.61.1:99", "::1", "[::2]", "[::3]:7"))
    assert (await one.get("/v1/agent/servers")).json == [
        "127.0.61.1:99",
        "127.0.61.2:4647",
        "[::1]:4647",
        "[::2]:4647",
        "[::3]:7",
    ]


async def test_self_has_three_parts() -> None:
    """agent E01, agent E02, agent E10"""
    answer = (await alone(server(1)).get("/v1/agent/self")).json
    assert list(answer) == ["config", "member", "stats"]
    assert answer["member"]["Name"] == "s1.global"
    config = answer["config"]
    assert (config["Region"], config["Datacenter"], config["NodeName"]) == ("global", "dc1", "s1")
    assert config["Version"] == {
        "Revision": "",
        "Version": "1.0.4",
        "VersionMetadata": "",
        "VersionPrerelease": "",
    }


async def test_the_gossip_key_is_nowhere() -> None:
    """agent E08"""
    key = "cg8StVXbQJ0gPvMd9o7yrg=="
    one = alone(AgentConfig(name="k1", server=ServerConfig(enabled=True, encrypt=key)))
    response = await one.get("/v1/agent/self")
    assert response.json["stats"]["serf"]["encrypted"] == "true"
    assert "cg8StVXb" not in response.text


@pytest.mark.parametrize("secret", ["vault.token", "acl.replication_token", "consul.token"])
async def test_secrets_are_masked_and_stay_what_they_are(secret: str) -> None:
    """agent E03, agent E04, agent E05, agent E06, agent E07"""
    config = msgspec.structs.replace(server(1), foreign={secret: "s3cret"})
    response = await alone(config).get("/v1/agent/self")
    assert "s3cret" not in response.text
    assert response.text.count("<redacted>") == 1
    assert config.foreign[secret] == "s3cret"
    assert "<redacted>" not in (await alone(server(1)).get("/v1/agent/self")).text


async def test_durations_are_nanoseconds_and_floats_keep_a_fraction() -> None:
    """agent E09, agent E19"""
    response = await alone(server(1)).get("/v1/agent/self")
    config = response.json["config"]
    assert config["ACL"]["TokenTTL"] == 30_000_000_000
    assert config["Client"]["MaxKillTimeout"] == "30s"
    assert '"GCDiskUsageThreshold":80.0' in response.text


async def test_statistics_are_strings_of_what_runs() -> None:
    """agent E11, agent E12, agent E15"""
    for config in (server(1), dev()):
        stats = (await alone(config).get("/v1/agent/self")).json["stats"]
        # Nomad's raft, vault and client have nothing behind them here, and are absent.
        assert list(stats) == ["nomad", "runtime", "serf"]
        assert all(isinstance(value, str) for block in stats.values() for value in block.values())
        assert stats["nomad"]["server"] == "true"
        assert stats["serf"]["members"] == "1"


async def test_a_client_has_no_member() -> None:
    """agent E14"""
    answer = (await alone(client()).get("/v1/agent/self")).json
    assert answer["member"] == {
        "Addr": None,
        "DelegateCur": 0,
        "DelegateMax": 0,
        "DelegateMin": 0,
        "Name": "",
        "Port": 0,
        "ProtocolCur": 0,
        "ProtocolMax": 0,
        "ProtocolMin": 0,
        "Status": "none",
        "Tags": None,
    }
    assert list(answer["stats"]) == ["runtime"]
    assert answer["config"]["AdvertiseAddrs"]["Serf"] == ""


async def two_strangers() -> tuple[AgentWorld, Served, Served]:
    world = AgentWorld()
    return world, serve(world.start(server(1))), serve(world.start(server(2)))


async def test_joining_counts_contacts() -> None:
    """agent F01, agent F05, agent F06, agent F07, agent F09, agent F12"""
    world, first, second = await two_strangers()
    target = "/v1/agent/join?address=127.0.61.2&address=127.0.61.2:4648"
    response = await first.put(target, b'{"address":"nonsense"}')
    assert response.raw == b'{"error":"","num_joined":2}'
    for query in ("address=127.0.61.1", "address=127.0.61.2&address=nope.test"):
        assert (await first.put(f"/v1/agent/join?{query}")).json == {"error": "", "num_joined": 1}
    world.world.run_for(2.0)
    everyone = {"s1.global": "alive", "s2.global": "alive"}
    assert await first.statuses() == await second.statuses() == everyone


async def test_joining_needs_an_address_even_an_empty_one() -> None:
    """agent F02"""
    one = alone(server(1))
    response = await one.put("/v1/agent/join")
    assert (response.status, response.text) == (400, "missing address to join")
    assert (await one.put("/v1/agent/join?address=")).json["num_joined"] == 0


async def test_joins_that_fail_are_reported_in_order_in_a_good_answer() -> None:
    """agent F03, agent F04"""
    one = alone(server(1))
    targets = ("nope.test", "127.0.0.99", "both.test:99", "127.0.0.1:99999", "127.0.0.1:x", "/x")
    response = await one.put("/v1/agent/join?" + "&".join(f"address={one}" for one in targets))
    assert response.status == 200
    assert response.json == {
        "error": "7 errors occurred:\n"
        "\t* Failed to resolve nope.test: lookup nope.test: no such host\n"
        "\t* Failed to join 127.0.0.99: connection refused\n"
        "\t* Failed to join 127.0.0.1: connection refused\n"
        "\t* Failed to join 127.0.0.2: connection refused\n"
        '\t* Failed to resolve 127.0.0.1:99999: strconv.ParseUint: parsing "99999": '
        "value out of range\n"
        '\t* Failed to resolve 127.0.0.1:x: strconv.ParseUint: parsing "x": invalid syntax\n'
        "\t* Failed to resolve /x: empty node name provided\n\n",
        "num_joined": 0,
    }


async def test_clients_neither_join_nor_force() -> None:
    """agent F08, agent G10"""
    one = alone(client())
    for path in ("join?address=127.0.0.1", "join", "force-leave?node=x", "force-leave"):
        response = await one.put(f"/v1/agent/{path}")
        assert (response.status, response.text) == (501, "Invalid method")


async def test_a_pool_with_a_stranger_is_not_joined() -> None:
    """agent F10"""
    world = AgentWorld()
    anyone = msgspec.structs.replace(
        server(2), gossip=GossipConfig(profile="local", allow_any_serf=True)
    )
    host = world.start(anyone)
    assert host.core is not None
    first = serve(world.start(server(1)))
    await host.services.execute(stranger_tags)
    error = (await first.put("/v1/agent/join?address=127.0.61.2")).json["error"]
    assert "member 's2.global' is not a server" in error
    assert await first.statuses() == {"s1.global": "alive"}


def stranger_tags(operation: int) -> SetTags:
    return SetTags(operation, (("role", "web"),))


@pytest.mark.parametrize(
    ("ours", "theirs", "text"),
    [
        ("", "yes", "Remote state is encrypted and encryption is not configured"),
        ("yes", "", "Encryption is configured but remote state is not encrypted"),
    ],
)
async def test_encrypted_and_plain_pools_do_not_mix(ours: str, theirs: str, text: str) -> None:
    """agent F11"""
    world = AgentWorld()
    key = "cg8StVXbQJ0gPvMd9o7yrg=="
    pair = [
        serve(
            world.start(
                msgspec.structs.replace(
                    server(number),
                    server=ServerConfig(enabled=True, encrypt=key if encrypted else ""),
                )
            )
        )
        for number, encrypted in ((1, ours), (2, theirs))
    ]
    error = (await pair[0].put("/v1/agent/join?address=127.0.61.2")).json["error"]
    assert text in error


async def test_nothing_is_joined_after_leaving() -> None:
    _, (first, _) = await several(server(1), server(2))
    await first.put("/v1/swimnomad/leave")
    response = await first.put("/v1/agent/join?address=127.0.61.2")
    assert response.json == {"error": "Serf can't Join after Leave or Shutdown", "num_joined": 0}


@pytest.mark.parametrize("node", ["foo", "s3", "%00x", "s1.global%20"])
async def test_forcing_an_unknown_node_is_no_error(node: str) -> None:
    """agent G01, agent G05"""
    one = alone(server(1))
    response = await one.put(f"/v1/agent/force-leave?node={node}")
    assert (response.status, response.raw) == (200, b"")
    assert "content-type" not in response.headers
    assert await one.statuses() == {"s1.global": "alive"}


async def test_forcing_needs_a_node() -> None:
    """agent G02"""
    for query in ("", "?node="):
        response = await alone(server(1)).put(f"/v1/agent/force-leave{query}")
        assert (response.status, response.text) == (400, "missing node to force leave")


async def a_failed_one() -> tuple[AgentWorld, Served, Served]:
    world, (first, second, third) = await several(server(1), server(2), server(3))
    world.kill(third.agent)
    assert world.world.run_while(lambda: not failed(first), until=world.world.now + 60)
    world.world.run_for(5.0)
    return world, first, second


def failed(one: Served) -> bool:
    assert one.agent.core is not None
    return one.agent.core.serf.members["s3.global"].status is Status.FAILED


async def test_a_failed_member_is_left_here_at_once_and_soon_elsewhere() -> None:
    """agent G03, agent G11"""
    world, first, second = await a_failed_one()
    await first.put("/v1/agent/force-leave?node=s3.global")
    assert (await first.statuses())["s3.global"] == "left"
    world.world.run_for(5.0)
    assert (await second.statuses())["s3.global"] == "left"
    assert (await first.put("/v1/agent/force-leave?node=s3.global")).status == 200
    assert (await first.statuses())["s3.global"] == "left"


async def test_pruning_forgets_the_member_as_newer_nomads_do() -> None:
    """agent G09"""
    world, first, second = await a_failed_one()
    await first.put("/v1/agent/force-leave?node=s3.global&prune=true")
    world.world.run_for(5.0)
    for one in (first, second):
        assert await one.statuses() == {"s1.global": "alive", "s2.global": "alive"}


async def test_pruning_is_asked_for_by_a_true_value() -> None:
    world, first, _ = await a_failed_one()
    await first.put("/v1/agent/force-leave?node=s3.global&prune=false")
    world.world.run_for(5.0)
    assert (await first.statuses())["s3.global"] == "left"


async def test_a_live_member_refutes_being_forced() -> None:
    """agent G06"""
    world, (first, *_) = await several(server(1), server(2), server(3))
    await first.put("/v1/agent/force-leave?node=s3.global")
    world.world.run_for(5.0)
    assert (await first.statuses())["s3.global"] == "alive"


async def test_the_only_other_member_stays_leaving_here() -> None:
    """agent G07"""
    _, (first, second) = await several(server(1), server(2))
    await first.put("/v1/agent/force-leave?node=s2.global")
    assert (await first.statuses())["s2.global"] == "leaving"
    assert (await second.statuses())["s2.global"] == "alive"


async def test_the_agent_itself_stays_alive() -> None:
    """agent G08"""
    world, (first, _) = await several(server(1), server(2))
    await first.put("/v1/agent/force-leave?node=s1.global")
    world.world.run_for(2.0)
    assert (await first.statuses())["s1.global"] == "alive"


async def test_health_reports_the_roles_asked_about() -> None:
    """agent H02, agent H05, agent H09"""
    one = alone(dev())
    for query, roles in (
        ("type=client", {"client"}),
        ("type=server&stale", {"server"}),
        ("type=client&type=server&stale", {"client", "server"}),
        ("stale", {"client", "server"}),
        ("type=bogus", set()),
        ("type=Client", set()),
        ("type=", set()),
    ):
        assert set((await one.get(f"/v1/agent/health?{query}")).json) == roles


async def test_a_role_that_does_not_run_is_unhealthy() -> None:
    """agent H03, agent H04, agent H05"""
    response = await alone(server(1)).get("/v1/agent/health?type=client")
    assert response.status == 500
    assert response.text == '{"client":{"ok":false,"message":"client not enabled"}}'
    of_client = alone(client("127.0.0.1"))
    response = await of_client.get("/v1/agent/health?type=server")
    assert response.text == '{"server":{"ok":false,"message":"server not enabled"}}'
    assert (await of_client.get("/v1/agent/health")).json == {
        "client": {"message": "ok", "ok": True}
    }


async def test_without_a_leader_health_is_held_and_then_refused() -> None:
    """agent H06, agent H07"""
    one = alone(server(1))
    response = await one.get("/v1/agent/health")
    assert response.status == 500
    assert response.headers["content-type"] == "text/plain; charset=utf-8"
    assert response.text == '{"server":{"ok":false,"message":"No cluster leader"}}'
    assert 5.0 <= sum(one.agent.services.slept) <= 5.0 + PAUSE_MAX
    assert max(one.agent.services.slept) <= PAUSE_MAX
    one.agent.services.slept.clear()
    response = await one.get("/v1/agent/health?stale")
    assert response.text == '{"server":{"ok":false,"message":"no leader"}}'
    assert not one.agent.services.slept


async def test_a_client_without_servers_is_unhealthy() -> None:
    """agent H08"""
    response = await alone(client()).get("/v1/agent/health")
    assert response.status == 500
    assert response.text == '{"client":{"ok":false,"message":"no known servers"}}'


@pytest.mark.parametrize("stale", ["", "&stale"])
async def test_there_is_no_path_to_an_unknown_region(stale: str) -> None:
    """agent H10"""
    one = alone(server(1))
    response = await one.get(f"/v1/agent/health?region=nowhere{stale}")
    assert response.text == '{"server":{"ok":false,"message":"No path to region"}}'
    response = await one.get(f"/v1/status/leader?region=nowhere{stale}")
    assert (response.status, response.text) == (500, "No path to region")


async def test_another_region_answers_for_itself() -> None:
    world, (near, far) = await several(server(1), server(2, "eu"))
    assert (await near.get("/v1/status/peers?region=eu&stale")).json == []
    assert world.calls == [(Address("127.0.61.2", 4647), "eu", "Status.Peers")]
    assert not near.agent.services.slept
    # The other region waits for its leader; the words are the same at each step, with a prefix.
    response = await near.get("/v1/status/leader?region=eu")
    assert (response.status, response.text) == (500, "rpc error: No cluster leader")
    assert far.agent.services.slept
    assert not near.agent.services.slept
    response = await near.get("/v1/agent/health?region=eu")
    message = "rpc error: No cluster leader"
    assert response.text == f'{{"server":{{"ok":false,"message":"{message}"}}}}'


async def test_a_region_whose_servers_failed_has_no_path() -> None:
    world, (near, far) = await several(server(1), server(2, "eu"))
    world.kill(far.agent)
    response = await near.get("/v1/status/leader?region=eu&stale")
    assert response.status == 500
    assert response.text == (
        "rpc error: failed to get conn: dial tcp 127.0.61.2:4647: connect: connection refused"
    )
    world.world.run_for(60.0)
    response = await near.get("/v1/status/leader?region=eu&stale")
    assert response.text == "No path to region"


async def test_the_leader_is_waited_for_unless_the_question_is_stale() -> None:
    """agent M03, agent N21"""
    one = alone(server(1))
    for path, stale in (("leader", '""'), ("peers", "[]")):
        response = await one.get(f"/v1/status/{path}")
        assert (response.status, response.text) == (500, "No cluster leader")
        assert 5.0 <= sum(one.agent.services.slept) <= 5.0 + PAUSE_MAX
        one.agent.services.slept.clear()
        assert (await one.get(f"/v1/status/{path}?stale")).text == stale
        assert not one.agent.services.slept


async def test_a_client_forwards_to_one_of_its_servers() -> None:
    """agent C10, agent C12"""
    world, (first, _) = await several(server(1), server(2, "eu"))
    one = serve(world.start(client("127.0.61.1")))
    expected = (await first.get("/v1/agent/members")).json
    assert (await one.get("/v1/agent/members")).json == expected
    assert (await one.get("/v1/agent/members?region=nowhere")).json == expected
    assert (await one.get("/v1/regions")).json == ["eu", "global"]
    assert (await one.get("/v1/status/peers?stale&region=eu")).json == []
    response = await one.get("/v1/status/leader?region=nowhere")
    assert (response.status, response.text) == (500, "rpc error: No path to region")


async def test_a_client_asks_the_next_server_if_one_is_gone() -> None:
    world, (first, second, _) = await several(server(1), server(2), server(3))
    world.kill(first.agent)
    world.kill(second.agent)
    one = serve(world.start(client("127.0.61.1", "127.0.61.2", "127.0.61.3")))
    for _ in range(3):
        assert (await one.get("/v1/agent/members")).json["ServerName"] == "s3"
    asked = [to.host for to, *_ in world.calls]
    # Those that did not answer were moved to the end, so nobody asks them again.
    assert asked[-3:] == ["127.0.61.3"] * 3
    assert len(asked) <= 5


async def test_a_client_whose_servers_are_all_gone_says_why() -> None:
    """agent C11"""
    one = alone(client("127.0.61.1"))
    for path in ("/v1/agent/members", "/v1/status/leader", "/v1/regions"):
        response = await one.get(path)
        assert response.status == 500
        assert response.text == (
            "rpc error: failed to get conn: dial tcp 127.0.61.1:4647: connect: connection refused"
        )
    assert not one.agent.services.slept


async def test_a_client_waits_for_a_leader_too() -> None:
    world, _ = await several(server(1))
    one = serve(world.start(client("127.0.61.1")))
    response = await one.get("/v1/status/leader")
    assert (response.status, response.text) == (500, "rpc error: No cluster leader")
    assert len(world.calls) <= 2


async def a_client_of_three() -> tuple[AgentWorld, Served]:
    world, _ = await several(server(1), server(2), server(3))
    return world, serve(world.start(client("127.0.61.1")))


async def test_new_servers_replace_the_old_ones() -> None:
    """agent D09, agent D10"""
    _, one = await a_client_of_three()
    for method in ("PUT", "POST"):
        target = "/v1/agent/servers?address=127.0.61.2&address=127.0.61.3:4647"
        response = await one.send(method, target)
        assert (response.status, response.body) == (200, b"")
        assert "content-type" not in response.headers
        found = (await one.get("/v1/agent/servers")).json
        assert found == ["127.0.61.2:4647", "127.0.61.3:4647"]
        await one.put("/v1/agent/servers?address=127.0.61.1")


async def test_servers_that_do_not_answer_are_left_out() -> None:
    """agent D08"""
    _, one = await a_client_of_three()
    response = await one.put("/v1/agent/servers?address=127.0.61.9&address=127.0.61.2")
    assert (response.status, response.body) == (200, b"")
    assert (await one.get("/v1/agent/servers")).json == ["127.0.61.2:4647"]


async def test_without_an_answer_the_old_servers_stay() -> None:
    """agent D06, agent D07"""
    _, one = await a_client_of_three()
    response = await one.put("/v1/agent/servers?address=127.0.0.99:4647")
    assert (response.status, response.text) == (
        400,
        "1 error occurred:\n\t* Server at address 127.0.0.99:4647 failed ping: rpc error: "
        "failed to get conn: dial tcp 127.0.0.99:4647: connect: connection refused\n\n",
    )
    bad = ("bad:host:name", "nosuch.test:99", "127.0.0.98:port", "127.0.0.97:70000", "[::1]x")
    query = "&".join(f"address={address}" for address in bad)
    response = await one.put(f"/v1/agent/servers?{query}")
    assert response.text == (
        "5 errors occurred:\n"
        "\t* address bad:host:name: too many colons in address\n"
        "\t* lookup nosuch.test: no such host\n"
        "\t* lookup tcp/port: unknown port\n"
        "\t* address 70000: invalid port\n"
        "\t* address [::1]x: missing port in address\n\n"
    )
    assert (await one.get("/v1/agent/servers")).json == ["127.0.61.1:4647"]


async def test_servers_are_replaced_only_if_some_are_named() -> None:
    """agent D05"""
    _, one = await a_client_of_three()
    response = await one.put("/v1/agent/servers")
    assert (response.status, response.text) == (400, "missing server address")


async def test_a_dev_agent_may_be_given_other_servers() -> None:
    world, _ = await several(server(1))
    one = serve(world.start(dev()))
    assert (await one.put("/v1/agent/servers?address=127.0.61.1")).status == 200
    assert (await one.get("/v1/agent/servers")).json == ["127.0.61.1:4647"]


async def test_names_of_servers_are_looked_up() -> None:
    one = alone(client("both.test", "nosuch.test"))
    assert (await one.get("/v1/agent/servers")).json == ["127.0.0.1:4647"]


async def test_without_servers_a_client_answers_nothing() -> None:
    one = alone(client())
    response = await one.get("/v1/agent/members")
    assert (response.status, response.text) == (500, "no servers")


async def test_the_token_travels() -> None:
    world, _ = await several(server(1))
    one = serve(world.start(client("127.0.61.1")))
    await one.get("/v1/status/leader?stale", x_nomad_token="s3cret")
    assert world.requests[-1].token == "s3cret"
