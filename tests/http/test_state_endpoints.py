"""Nodes, Raft, autopilot and ACLs over HTTP: the recorded answers, and what each can refuse."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
import trio
from starlette.applications import Starlette

from swimnomad.http.app import create_app
from swimnomad.http.state_json import node_json, plain_detail, time_text
from swimnomad.nomad.requests import RegionHealth, ServerHealth
from swimnomad.nomad.state.commands import RegisterNode, SetAutopilot
from swimnomad.nomad.state.records import AutopilotConfig, NodeEvent
from tests.agent_world import AgentWorld
from tests.http.asgi_client import Response, call
from tests.http.http_support import client, server
from tests.nomad.consensus_fakes import apply
from tests.nomad.request_support import Region, region
from tests.nomad.state.state_support import node, uuid

UPDATED = b"\x01\x00\x00\x00\x0e\xe2\x95\xfe\x98\x24\x08\x70\x6f\x00\x00"
DRIVERS = {
    "Drivers": {
        "raw_exec": {
            "Attributes": None,
            "Detected": False,
            "HealthDescription": "disabled",
            "Healthy": False,
            "UpdateTime": UPDATED,
        }
    }
}


class Site:
    """A region and the API of its leader."""

    def __init__(self, found: Region) -> None:
        self.region = found
        self.app: Starlette = create_app(found.agents[0].agent)

    async def ask(self, method: str, target: str, body: object = None, **headers: str) -> Response:
        """Any request; the body as JSON, unless it is bytes."""
        data = (
            b"" if body is None else body if isinstance(body, bytes) else msgspec.json.encode(body)
        )
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return await call(self.app, method, target, headers=named, body=data)

    async def get(self, target: str) -> Response:
        return await self.ask("GET", target)


async def site(count: int = 1, **fields: Any) -> Site:  # noqa: ANN401
    return Site(await region(count, **fields))


async def refused(found: Site, method: str, target: str, body: object = None) -> tuple[int, str]:
    response = await found.ask(method, target, body)
    return response.status, response.text


# --- nodes ----------------------------------------------------------------------------------------


async def test_nodes_are_listed_as_recorded() -> None:
    """agent A22"""
    found = await site()
    shown = node(1, name="c1", http_addr="127.0.61.11:4646", status="ready", details=DRIVERS)
    apply(found.region.state, RegisterNode(shown), 7)
    response = await found.get("/v1/nodes")
    assert response.json == [
        {
            "Address": "127.0.61.11",
            "CreateIndex": 7,
            "Datacenter": "dc1",
            "Drain": False,
            "Drivers": {
                "raw_exec": {
                    "Attributes": None,
                    "Detected": False,
                    "HealthDescription": "disabled",
                    "Healthy": False,
                    "UpdateTime": "2026-11-23T09:30:00.604532847Z",
                }
            },
            "HostVolumes": None,
            "ID": uuid(1),
            "ModifyIndex": 7,
            "Name": "c1",
            "NodeClass": "",
            "SchedulingEligibility": "eligible",
            "Status": "ready",
            "StatusDescription": "",
            "Version": "1.0.4",
        }
    ]
    assert response.headers["x-nomad-index"] == "7"
    assert response.headers["x-nomad-knownleader"] == "true"
    assert response.headers["x-nomad-lastcontact"] == "0"
    assert (await found.get("/v1/nodes?prefix=00ff")).json == []
    assert (await found.get("/v1/nodes?pretty")).text.startswith('[\n    {\n        "Address"')


async def test_a_server_without_leader_lists_nothing_if_it_may_be_stale() -> None:
    world = AgentWorld()
    app = create_app(world.start(server(1)).agent)
    response = await call(app, "GET", "/v1/nodes?stale")
    assert (response.status, response.json) == (200, [])
    assert response.headers["x-nomad-index"] == "0"
    assert response.headers["x-nomad-knownleader"] == "false"
    assert response.headers["x-nomad-lastcontact"] == "9223372036854"
    for target in ("/v1/nodes", "/v1/operator/raft/configuration"):
        response = await call(app, "GET", target)
        assert (response.status, response.text) == (500, "No cluster leader")
    response = await call(app, "GET", "/v1/operator/raft/configuration?stale")
    assert response.json == {"Index": 0, "Servers": None}
    response = await call(app, "GET", "/v1/acl/policies")
    assert (response.status, response.text) == (400, "ACL support disabled")


async def test_one_node_is_shown_with_all_that_is_known() -> None:
    found = await site()
    apply(found.region.state, RegisterNode(node(1, details={**DRIVERS, "Links": None})), 7)
    response = await found.get(f"/v1/node/{uuid(1)}")
    assert response.json["SecretID"] == ""
    assert response.json["Events"] == [
        {
            "CreateIndex": 0,
            "Details": None,
            "Message": "Node registered",
            "Subsystem": "Cluster",
            "Timestamp": "2023-11-14T22:13:20Z",
        }
    ]
    assert response.headers["x-nomad-index"] == "7"
    assert set(response.json) == RECORDED_FIELDS
    nobody = await found.get(f"/v1/node/{uuid(2)}")
    assert (nobody.status, nobody.text) == (404, "node not found")
    assert nobody.headers["x-nomad-index"] == "7"


RECORDED_FIELDS = {
    "Attributes",
    "CSIControllerPlugins",
    "CSINodePlugins",
    "ComputedClass",
    "CreateIndex",
    "Datacenter",
    "Drain",
    "DrainStrategy",
    "Drivers",
    "Events",
    "HTTPAddr",
    "HostVolumes",
    "ID",
    "Links",
    "Meta",
    "ModifyIndex",
    "Name",
    "NodeClass",
    "NodeResources",
    "Reserved",
    "ReservedResources",
    "Resources",
    "SchedulingEligibility",
    "SecretID",
    "Status",
    "StatusDescription",
    "StatusUpdatedAt",
    "TLSEnabled",
}


async def test_a_node_is_purged() -> None:
    found = await site()
    apply(found.region.state, RegisterNode(node(1)))
    response = await found.ask("PUT", f"/v1/node/{uuid(1)}/purge")
    assert response.json == {
        "EvalCreateIndex": 0,
        "EvalIDs": None,
        "Index": 2,
        "NodeModifyIndex": 2,
    }
    assert response.headers["x-nomad-index"] == "2"
    assert await refused(found, "PUT", f"/v1/node/{uuid(1)}/purge") == (500, "node not found")


@pytest.mark.parametrize(
    ("method", "target", "status", "text"),
    [
        ("PUT", "/v1/nodes", 405, "Invalid method"),
        ("OPTIONS", "/v1/nodes", 405, "Invalid method"),
        ("GET", "/v1/nodes/", 404, ""),
        ("GET", "/v1/nodes?index=x", 400, "Invalid index"),
        ("GET", "/v1/nodes?wait=10", 400, "Invalid wait time"),
        (
            "GET",
            "/v1/nodes?prefix=abc",
            500,
            "node lookup failed: index error: Input (without hyphens) must be even length",
        ),
        (
            "GET",
            "/v1/nodes?resources=maybe",
            500,
            'Failed to parse value of "resources" (maybe) as a bool: '
            'strconv.ParseBool: parsing "maybe": invalid syntax',
        ),
        ("GET", "/v1/nodes?region=nowhere", 500, "No path to region"),
        (
            "GET",
            "/v1/node/nope",
            500,
            "node lookup failed: index error: UUID must be 36 characters",
        ),
        (
            "GET",
            f"/v1/node/{uuid(1)}/nope",
            500,
            "node lookup failed: index error: UUID must be 36 characters",
        ),
        ("PUT", f"/v1/node/{uuid(1)}", 405, "Invalid method"),
        ("GET", f"/v1/node/{uuid(1)}/purge", 405, "Invalid method"),
    ],
)
async def test_what_nodes_refuse(method: str, target: str, status: int, text: str) -> None:
    assert await refused(await site(), method, target) == (status, text)


async def test_a_list_of_nodes_waits_for_a_change() -> None:
    found = await site()
    apply(found.region.state, RegisterNode(node(1)))
    found.region.watch.on_wait = lambda: apply(found.region.state, RegisterNode(node(2)))
    response = await found.get("/v1/nodes?index=1&wait=1m")
    assert response.headers["x-nomad-index"] == "2"
    assert len(response.json) == 2
    found.region.watch.on_wait = lambda: None
    start = found.region.world.world.now
    response = await found.get("/v1/nodes?index=2&wait=10s")
    assert response.headers["x-nomad-index"] == "2"
    assert 10 <= found.region.world.world.now - start <= 10.7
    found.region.rafts[0].leads = False
    assert await refused(found, "GET", "/v1/nodes?index=2&wait=10s") == (500, "No cluster leader")


async def test_nobody_waits_for_a_caller_who_is_gone() -> None:
    found = await site()
    apply(found.region.state, RegisterNode(node(1)))

    async def forever(seconds: float) -> None:
        await trio.sleep_forever()

    found.region.watch.sleep = forever
    sent: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        await trio.lowlevel.checkpoint()
        return {"type": "http.disconnect"}

    async def send(message: Any) -> None:  # noqa: ANN401
        sent.append(message)

    scope = {
        "type": "http",
        "method": "GET",
        "path": "/v1/nodes",
        "query_string": b"index=1",
        "headers": [],
    }
    with trio.fail_after(5):
        await found.app(scope, receive, send)
    assert sent


# --- operators ------------------------------------------------------------------------------------


async def test_the_raft_configuration_is_shown_as_recorded() -> None:
    """agent M06"""
    found = await site(2)
    response = await found.get("/v1/operator/raft/configuration")
    assert response.json["Index"] == 0
    assert response.json["Servers"][1] == {
        "Address": "127.0.61.2:4647",
        "ID": "127.0.61.2:4647",
        "Leader": False,
        "Node": "s2.global",
        "RaftProtocol": "2",
        "Voter": True,
    }
    wrong = await found.ask("PUT", "/v1/operator/raft/configuration")
    assert (wrong.status, wrong.body) == (405, b"")
    assert "content-type" not in wrong.headers


async def test_a_peer_is_removed() -> None:
    found = await site(3)
    for target in ("id=127.0.61.2:4647", "address=127.0.61.3:4647"):
        response = await found.ask("DELETE", f"/v1/operator/raft/peer?{target}")
        assert (response.status, response.body) == (200, b"")
    assert [action for action, _ in found.region.rafts[0].calls] == ["remove", "remove"]


async def test_leadership_is_handed_over() -> None:
    found = await site(2)
    target = "/v1/operator/raft/transfer-leadership?id=127.0.61.2:4647"
    response = await found.ask("PUT", target)
    assert (response.status, response.body) == (200, b"")
    assert found.region.rafts[0].calls == [("transfer", "127.0.61.2:4647")]


@pytest.mark.parametrize(
    ("method", "target", "status", "text"),
    [
        ("GET", "raft/", 404, "Invalid method"),
        ("GET", "raft/nope", 404, "Invalid method"),
        ("GET", "raft/peer?address=x", 404, "Invalid method"),
        ("GET", "raft/transfer-leadership", 404, "Invalid method"),
        (
            "DELETE",
            "raft/peer",
            400,
            "Must specify either ?id with the server's ID or ?address with "
            "IP:port of peer to remove",
        ),
        ("DELETE", "raft/peer?id=x&address=y", 400, "Must specify only one of ?id or ?address"),
        (
            "DELETE",
            "raft/peer?address=nope",
            500,
            'address "nope" was not found in the Raft configuration',
        ),
        ("DELETE", "raft/peer?id=nope", 500, 'id "nope" was not found in the Raft configuration'),
        (
            "PUT",
            "raft/transfer-leadership",
            400,
            "Must specify either ?id with the server's ID or ?address with IP:port of target peer",
        ),
        ("PUT", "autopilot/health", 404, "Invalid method"),
        (
            "GET",
            "autopilot/health",
            500,
            "all servers must have raft_protocol set to 3 or higher to use this endpoint",
        ),
        ("DELETE", "autopilot/configuration", 405, "Invalid method"),
        ("PUT", "autopilot/configuration", 400, "Request body is empty"),
        ("GET", "autopilot/configuration", 500, "autopilot config not initialized yet"),
    ],
)
async def test_what_operators_are_refused(method: str, target: str, status: int, text: str) -> None:
    """agent M07, agent M08, agent M09"""
    assert await refused(await site(), method, f"/v1/operator/{target}") == (status, text)


async def test_autopilot_is_shown_as_recorded_and_told() -> None:
    found = await site()
    apply(found.region.state, SetAutopilot(AutopilotConfig(), initial=True), 4)
    response = await found.get("/v1/operator/autopilot/configuration")
    assert response.text == (
        '{"LastContactThreshold":"200ms","ServerStabilizationTime":"10s",'
        '"CleanupDeadServers":true,"MaxTrailingLogs":250,"MinQuorum":0,'
        '"EnableRedundancyZones":false,"DisableUpgradeMigration":false,'
        '"EnableCustomUpgrades":false,"CreateIndex":4,"ModifyIndex":4}'
    )
    told = {**response.json, "MinQuorum": 3, "LastContactThreshold": "1s"}
    for cas, outcome in (("?cas=3", "false"), ("?cas=4", "true"), ("", "true")):
        response = await found.ask("PUT", f"/v1/operator/autopilot/configuration{cas}", told)
        assert response.text == outcome
    config = found.region.state.autopilot
    assert config is not None
    assert (config.min_quorum, config.last_contact_threshold) == (3, 1.0)


@pytest.mark.parametrize(
    ("cas", "body", "text"),
    [
        ("?cas=x", {}, 'Error parsing cas value: strconv.ParseUint: parsing "x": invalid syntax'),
        ("", {"LastContactThreshold": "soon"}, "Error parsing autopilot config: 'soon' is not"),
        ("", {"MinQuorum": -1}, "Error parsing autopilot config: a count is negative"),
        ("", {"MinQuorum": "x"}, "Expected `int`"),
        ("", b"{", "unexpected EOF"),
    ],
)
async def test_autopilot_does_not_take_anything(cas: str, body: object, text: str) -> None:
    found = await site()
    target = f"/v1/operator/autopilot/configuration{cas}"
    status, answer = await refused(found, "PUT", target, body)
    assert status == 400
    assert answer.startswith(text)


async def test_health_is_shown_as_recorded() -> None:
    """agent M09"""
    one = ServerHealth(
        id="r3",
        name="r3.global",
        address="127.0.61.3:4647",
        serf_status="alive",
        version="1.0.4",
        leads=True,
        last_term=2,
        last_index=6,
        is_healthy=True,
        is_voter=True,
        stable_since=1_795_425_544.0,
    )
    health = RegionHealth(is_healthy=True, servers=(one,))
    found = await site(raft_protocol=3, health=lambda: health)
    response = await found.get("/v1/operator/autopilot/health")
    assert response.text == (
        '{"FailureTolerance":0,"Healthy":true,"Servers":[{"LastContact":"0s","ID":"r3",'
        '"Name":"r3.global","Address":"127.0.61.3:4647","SerfStatus":"alive","Version":"1.0.4",'
        '"Leader":true,"LastTerm":2,"LastIndex":6,"Healthy":true,"Voter":true,'
        '"StableSince":"2026-11-23T09:19:04Z"}]}'
    )
    health = RegionHealth(is_healthy=False, servers=(one,))
    assert (await found.get("/v1/operator/autopilot/health")).status == 429


# --- ACL ------------------------------------------------------------------------------------------


async def guarded() -> Site:
    return await site(acl_enabled=True)


async def test_the_first_token_is_made_as_recorded() -> None:
    found = await guarded()
    response = await found.ask("PUT", "/v1/acl/bootstrap")
    assert response.headers["x-nomad-index"] == "1"
    token = response.json
    assert token["Hash"] == "BUJ3BerTfrqFVm1P+vZr1gz9ubOkd+JAvYjNAJyaU9Y="
    assert (token["Name"], token["Type"], token["Global"]) == (
        "Bootstrap Token",
        "management",
        True,
    )
    assert token["Policies"] is None
    assert await refused(found, "POST", "/v1/acl/bootstrap") == (
        400,
        "ACL bootstrap already done (reset index: 1)",
    )
    assert await refused(found, "GET", "/v1/acl/bootstrap") == (405, "Invalid method")
    own = await found.ask("GET", "/v1/acl/token/self", x_nomad_token=token["SecretID"])
    assert own.json == token
    nobody = await found.ask("GET", "/v1/acl/token/self", x_nomad_token=uuid(9))
    assert (nobody.status, nobody.text) == (404, "ACL token not found")


async def test_policies_are_written_as_recorded() -> None:
    found = await guarded()
    assert (await found.get("/v1/acl/policies")).json == []
    body = {
        "Name": "agent-read",
        "Description": "agent-read policy",
        "Rules": 'agent { policy = "read" }',
    }
    response = await found.ask("PUT", "/v1/acl/policy/agent-read", body)
    assert (response.status, response.body) == (200, b"")
    assert response.headers["x-nomad-index"] == "1"
    listed = {
        "CreateIndex": 1,
        "Description": "agent-read policy",
        "Hash": "wKSRGKC9SHgZ7iCyp9ytHxqEVlo3nj1iJvN3RcvP0Mo=",
        "ModifyIndex": 1,
        "Name": "agent-read",
    }
    assert (await found.get("/v1/acl/policies?prefix=agent")).json == [listed]
    one = await found.get("/v1/acl/policy/agent-read")
    assert one.json == {**listed, "Rules": body["Rules"], "RulesJSON": None}
    assert await refused(found, "GET", "/v1/acl/policy/nope") == (404, "ACL policy not found")
    assert (await found.ask("DELETE", "/v1/acl/policy/agent-read")).status == 200
    assert (await found.get("/v1/acl/policies")).json == []


async def test_tokens_are_written_as_recorded() -> None:
    found = await guarded()
    body = {"Name": "agent-read", "Type": "client", "Policies": ["agent-read"]}
    made = (await found.ask("PUT", "/v1/acl/token", body)).json
    assert made["Hash"] == "nWWkuSLlTq1PWZ4eblBU23R+C6VVeX94aYxRD93qCwg="
    accessor = made["AccessorID"]
    assert (await found.get(f"/v1/acl/token/{accessor}")).json == made
    (listed,) = (await found.get("/v1/acl/tokens")).json
    assert listed == {key: value for key, value in made.items() if key != "SecretID"}
    assert (await found.get("/v1/acl/tokens?global=true")).json == []
    changed = await found.ask(
        "PUT", f"/v1/acl/token/{accessor}", {**body, "AccessorID": accessor, "Name": "new"}
    )
    assert (changed.json["Name"], changed.json["SecretID"]) == ("new", made["SecretID"])
    response = await found.ask("DELETE", f"/v1/acl/token/{accessor}")
    assert (response.status, response.body) == (200, b"")
    assert await refused(found, "DELETE", f"/v1/acl/token/{accessor}") == (
        400,
        f"Cannot delete nonexistent tokens: {accessor}",
    )
    assert await refused(found, "GET", f"/v1/acl/token/{accessor}") == (404, "ACL token not found")


@pytest.mark.parametrize(
    ("method", "target", "body", "status", "text"),
    [
        ("POST", "policies", None, 405, "Invalid method"),
        ("GET", "policy/", None, 400, "Missing Policy Name"),
        ("PUT", "policy/x", None, 500, "Request body is empty"),
        ("PUT", "policy/x", {"Name": "y"}, 400, "ACL policy name does not match request path"),
        (
            "PUT",
            "policy/bad",
            {"Name": "bad", "Rules": 'agent { policy = "rite" }'},
            404,
            "policy 0 invalid: 1 error occurred:\n\t* failed to parse rules: "
            'Invalid agent policy: &acl.AgentPolicy{Policy:"rite"}\n\n',
        ),
        ("POST", "tokens", None, 405, "Invalid method"),
        ("GET", "token", None, 405, "Invalid method"),
        ("GET", "token/", None, 400, "Missing Token Accessor ID"),
        ("PUT", "token/self", {}, 405, "Invalid method"),
        ("PUT", "token", b"{", 500, "unexpected EOF"),
        (
            "PUT",
            "token",
            {"Name": "x", "Type": "client"},
            400,
            "token 0 invalid: 1 error occurred:\n\t* client token missing policies\n\n",
        ),
        (
            "PUT",
            "token",
            {"Name": "x", "Type": "bogus"},
            400,
            "token 0 invalid: 1 error occurred:\n\t* token type must be client or management\n\n",
        ),
        (
            "PUT",
            "token",
            {"AccessorID": uuid(1)},
            400,
            "Accessor ID must not be given for a new token",
        ),
        ("PUT", f"token/{uuid(1)}", {}, 400, "Token accessor ID does not match request path"),
        (
            "GET",
            "token/x",
            None,
            500,
            "acl token lookup failed: index error: UUID must be 36 characters",
        ),
    ],
)
async def test_what_acls_refuse(
    method: str, target: str, body: object, status: int, text: str
) -> None:
    assert await refused(await guarded(), method, f"/v1/acl/{target}", body) == (status, text)


# --- all ------------------------------------------------------------------------------------------


async def test_an_agent_that_is_no_server_asks_one() -> None:
    found = await region(acl_enabled=True)
    apply(found.state, RegisterNode(node(1)))
    app = create_app(found.world.start(client("127.0.61.1")).agent)
    response = await call(app, "GET", "/v1/nodes")
    assert [each["Name"] for each in response.json] == ["c1"]
    assert response.headers["x-nomad-index"] == "1"
    response = await call(app, "PUT", "/v1/acl/bootstrap")
    assert response.json["Type"] == "management"
    response = await call(app, "GET", "/v1/operator/autopilot/health")
    assert response.text.startswith("rpc error: all servers must have raft_protocol")


def test_times_are_written_as_go_writes_them() -> None:
    assert time_text(0) == "0001-01-01T00:00:00Z"
    assert time_text(1_795_426_750_625_905_420) == "2026-11-23T09:39:10.62590542Z"
    assert time_text(1_000_000_000) == "1970-01-01T00:00:01Z"
    assert time_text(2**63 - 1).startswith("2262-")


def test_details_become_json_whatever_they_are() -> None:
    odd = {"a": [b"\xff", None, 1.5, ("x", UPDATED)], "b": "\x01\0\0\0\x0eabcdefghij"}
    shown = plain_detail(odd)
    assert json.loads(json.dumps(shown)) == {
        "a": ["/w==", None, 1.5, ["x", "2026-11-23T09:30:00.604532847Z"]],
        "b": shown["b"],  # type: ignore[index]
    }
    late = plain_detail(b"\x01\x00" + b"\xff" * 13)
    assert isinstance(late, str)
    assert late.startswith("9999-12-31")
    events = (NodeEvent("x", 5, details={"a": "b"}),)
    assert node_json(node(events=events))["Events"][0]["Details"] == {"a": "b"}
