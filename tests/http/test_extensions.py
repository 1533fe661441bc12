"""Our own endpoints: gossip, events, leave, faults."""

from __future__ import annotations

import zlib

import msgspec
import pytest
import trio
import trio.testing

from swimnomad.http.streams import HEARTBEAT
from swimnomad.names import Address
from swimnomad.nomad.config import GossipConfig
from swimnomad.nomad.gossip_view import describe_event
from swimnomad.nomad.services import EventsLost
from swimnomad.serf.events import NameConflict, UserEventReceived
from swimnomad.serf.inputs import SendUserEvent
from swimnomad.swim.effects import Event
from swimnomad.swim.events import ExchangeFailed, HealthChanged, SelfRefuted
from swimnomad.swim.inputs import DatagramReceived
from tests.http.asgi_client import Json, Stream, stream
from tests.http.http_support import Served, alone, client, server, several


async def told(events: Stream, word: str) -> dict[str, Json]:
    """The next event of that kind."""
    while (event := await events.event())["event"] != word:
        pass
    return event


async def test_gossip_shows_every_node_with_state_and_incarnation() -> None:
    _, (first, second) = await several(server(1), server(2))
    shown = (await first.get("/v1/swimnomad/gossip")).json
    assert (shown["Name"], shown["Address"]) == ("s1.global", "127.0.61.1:4648")
    assert (shown["HealthScore"], shown["Queue"]) == (0, 0)
    nodes = {node["Name"]: node for node in shown["Nodes"]}
    assert set(nodes) == {"s1.global", "s2.global"}
    assert nodes["s2.global"] | {"Meta": ""} == {
        "Name": "s2.global",
        "Addr": "127.0.61.2",
        "Port": 4648,
        "State": "alive",
        "Incarnation": 1,
        "Meta": "",
        "Versions": [1, 5, 2, 2, 5, 4],
    }
    assert shown["Counters"]["udp.sent"] > 0
    assert (await second.get("/v1/swimnomad/gossip")).json["Checksum"] == shown["Checksum"]


async def test_checksums_differ_as_long_as_agents_disagree() -> None:
    world, (first, second) = await several(server(1), server(2))
    before = (await first.get("/v1/swimnomad/gossip")).json["Checksum"]
    world.kill(second.agent)
    # Later the gossip layer forgets the dead, and only the Serf layer remembers them.
    world.world.run_for(12.0)
    after = (await first.get("/v1/swimnomad/gossip")).json
    assert after["Checksum"] != before
    assert {node["State"] for node in after["Nodes"]} == {"alive", "dead"}


async def test_events_are_told_as_they_happen() -> None:
    world, (first, second) = await several(server(1), server(2))
    async with stream(first.app, "/v1/swimnomad/events") as events:
        assert events.status == 200
        assert events.headers["content-type"] == "application/x-ndjson"
        assert await events.pieces.receive() == b"\n"
        world.kill(second.agent)
        world.world.run_for(60.0)
        suspected = await told(events, "node-suspected")
        assert (suspected["node"], suspected["accuser"]) == ("s2.global", "s1.global")
        assert suspected["time"] == pytest.approx(1_700_000_000 + world.world.now, abs=60)
        failed = await told(events, "member-failed")
        assert failed["node"] == "s2.global"
        assert (failed["status"], failed["addr"], failed["port"]) == ("failed", "127.0.61.2", 4648)


async def test_joins_leaves_and_user_events_are_told() -> None:
    world, (first, _) = await several(server(1), server(2))
    third = Served(world.start(server(3)), first.app)
    async with stream(first.app, "/v1/swimnomad/events") as events:
        await events.pieces.receive()
        await third.agent.agent.join(["127.0.61.1"])
        world.world.run_for(5.0)
        assert (await told(events, "member-joined"))["node"] == "s3.global"
        await third.agent.agent.leave()
        world.world.run_for(5.0)
        left = await told(events, "member-left")
        assert (left["node"], left["forced"]) == ("s3.global", False)
        await first.agent.services.execute(lambda op: SendUserEvent(op, "deploy", b"\xff\x01"))
        deploy = await told(events, "user-event")
        assert (deploy["name"], deploy["payload"]) == ("deploy", "/wE=")


async def test_an_idle_stream_beats_once_a_second(autojump_clock: trio.testing.MockClock) -> None:
    one = alone(server(1))
    async with stream(one.app, "/v1/swimnomad/events") as events:
        await events.pieces.receive()
        started = trio.current_time()
        for _ in range(3):
            assert await events.pieces.receive() == b"\n"
        assert trio.current_time() - started == pytest.approx(3 * HEARTBEAT)


async def test_a_compressed_stream_can_be_read_line_by_line() -> None:
    one = alone(server(1))
    headers = {"Accept-Encoding": "gzip"}
    async with stream(one.app, "/v1/swimnomad/events", headers=headers) as events:
        assert events.headers["content-encoding"] == "gzip"
        unpacked = zlib.decompressobj(wbits=31)
        assert unpacked.decompress(await events.pieces.receive()) == b"\n"
        await one.agent.services.execute(lambda op: SendUserEvent(op, "x", b""))
        line = b""
        while b"user-event" not in line:
            line = unpacked.decompress(await events.pieces.receive())
        assert line.endswith(b"}\n")


async def test_a_stream_ends_when_the_agent_stops() -> None:
    one = alone(server(1))
    async with stream(one.app, "/v1/swimnomad/events") as events:
        await events.pieces.receive()
        one.agent.services.end_events()
        assert [piece async for piece in events.pieces if piece != b"\n"] == []


@pytest.mark.parametrize(
    ("event", "words"),
    [
        (EventsLost(7), {"event": "events-lost", "count": 7}),
        (HealthChanged(2), {"event": "health-changed", "node": "me", "score": 2}),
        (
            SelfRefuted(4, "suspect", "s2"),
            {
                "event": "self-refuted",
                "node": "me",
                "incarnation": 4,
                "claim": "suspect",
                "accuser": "s2",
            },
        ),
        (
            NameConflict("s3", False, "10.0.0.1:1", "10.0.0.2:1"),
            {
                "event": "name-conflict",
                "node": "s3",
                "is_ours": False,
                "existing": "10.0.0.1:1",
                "other": "10.0.0.2:1",
            },
        ),
        (
            UserEventReceived(3, "n", b"p", True),
            {"event": "user-event", "node": "me", "name": "n", "ltime": 3, "payload": "cA=="},
        ),
    ],
)
def test_every_kind_of_event_has_a_word(event: Event, words: dict[str, object]) -> None:
    assert describe_event(event, "me") == words


def test_what_concerns_nobody_outside_is_not_told() -> None:
    assert describe_event(ExchangeFailed(Address("127.0.0.1", 1), "no"), "me") is None


async def test_leaving_answers_when_left_and_then_stops_the_agent() -> None:
    world, (first, second) = await several(server(1), server(2))
    response = await second.put("/v1/swimnomad/leave")
    assert (response.status, response.json) == (200, {"heard": True})
    assert second.agent.services.stop_requests == [False]
    world.world.run_for(5.0)
    assert (await first.statuses())["s2.global"] == "left"


async def test_what_is_asked_of_an_agent_that_left_still_has_an_answer() -> None:
    _, (first, second) = await several(server(1), server(2))
    for _ in range(2):
        assert (await second.put("/v1/swimnomad/leave")).status == 200
    assert (await second.statuses())["s2.global"] == "left"
    assert (await second.get("/v1/swimnomad/gossip")).status == 200
    assert (await second.get("/v1/agent/self")).status == 200
    assert (await second.put("/v1/agent/force-leave?node=s1.global")).status in (200, 500)
    assert second.agent.services.host is not None
    second.agent.services.host.stop()
    response = await second.put("/v1/swimnomad/leave")
    assert (response.status, response.text) == (500, "the agent has stopped")
    assert (await second.put("/v1/agent/join?address=127.0.61.1")).json["num_joined"] == 0
    assert first.agent.core is not None


async def test_faults_are_set_shown_and_removed() -> None:
    one = alone(server(1))
    assert (await one.get("/v1/swimnomad/faults")).json == {}
    path = "/v1/swimnomad/faults/cut"
    body = b'{"hosts": ["127.0.61.2"], "blocked": true}'
    put = await one.put(path, body)
    assert put.status == 200
    assert (put.json["hosts"], put.json["blocked"]) == (["127.0.61.2"], True)
    assert (await one.get(path)).json == put.json
    assert (await one.get("/v1/swimnomad/faults")).json == {"cut": put.json}
    assert (await one.send("DELETE", path)).json == {"removed": 1}
    assert (await one.send("DELETE", path)).json == {"removed": 0}
    assert (await one.get(path)).status == 404
    await one.put(path, b"{}")
    await one.put("/v1/swimnomad/faults/other", b"{}")
    assert (await one.send("DELETE", "/v1/swimnomad/faults")).json == {"removed": 2}


@pytest.mark.parametrize(
    ("body", "text"),
    [
        (b"", "not a link fault: "),
        (b"{", "not a link fault: "),
        (b"[]", "not a link fault: "),
        (b'{"loss": 2}', "loss must be 0 to 1, not 2"),
        (b'{"lose": 0.5}', "unknown field lose: allowed are hosts, direction, "),
        (b'{"hosts": ["example.org"]}', "hosts: 'example.org' is not an IP address"),
        (b"\xff", "not a link fault: "),
    ],
)
async def test_a_wrong_fault_is_refused_with_a_sentence(body: bytes, text: str) -> None:
    response = await alone(server(1)).put("/v1/swimnomad/faults/x", body)
    assert response.status == 400
    assert response.text.startswith(text)


async def test_a_body_without_end_is_refused() -> None:
    response = await alone(server(1)).put("/v1/swimnomad/faults/x", b" " * (1024 * 1024 + 1))
    assert (response.status, response.text) == (413, "the body must not exceed 1048576 bytes")


@pytest.mark.parametrize("method", ["GET", "DELETE", "PUT"])
async def test_faults_are_forbidden_unless_allowed_at_the_start(method: str) -> None:
    config = msgspec.structs.replace(server(1), gossip=GossipConfig())
    response = await alone(config).send(method, "/v1/swimnomad/faults/x")
    assert response.status == 403
    assert response.text.startswith("fault injection is not allowed on this agent")


@pytest.mark.parametrize("path", ["gossip", "events"])
async def test_clients_do_not_gossip(path: str) -> None:
    response = await alone(client()).get(f"/v1/swimnomad/{path}")
    assert (response.status, response.text) == (501, "Invalid method")


async def test_hostile_datagrams_show_up_in_the_counters() -> None:
    one = alone(server(1))
    host = one.agent.services.host
    assert host is not None
    assert one.agent.core is not None
    before = dict((await one.get("/v1/swimnomad/gossip")).json["Counters"])
    host.give(DatagramReceived(b"\xff\xff\xff", host.address))
    assert (await one.get("/v1/swimnomad/gossip")).json["Counters"] != before
