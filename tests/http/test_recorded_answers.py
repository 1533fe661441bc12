"""The answers of real Nomad agents, recorded, against ours to the same requests.

Every exchange of `vectors/nomad-http.json` is made. What this version cannot answer alike is listed
below with the reason; everything else must be equal, but for the values the recording itself calls
volatile.
"""

from __future__ import annotations

import json
import re
import uuid
from pathlib import Path
from typing import Any

import pytest
from starlette.applications import Starlette

from swimnomad.http.app import create_app
from swimnomad.nomad.load import load_config
from tests.agent_world import AgentWorld, FakeRaft, SimAgent
from tests.http.asgi_client import Json, Response, call

VECTORS = json.loads((Path(__file__).parent.parent / "vectors" / "nomad-http.json").read_text())
EXCHANGES: list[dict[str, Any]] = VECTORS["exchanges"]

SETUPS = {
    "dev": ["dev1"],
    "cluster3": ["s1", "s2", "s3", "c1"],
    "server-without-leader": ["nl1"],
    "gossip-encrypted": ["k1", "k2"],
    "response-headers": ["hd1"],
    "federation": ["g1", "e1", "gc1", "ec1"],
    "client-without-servers": ["lone"],
}

CLIENTS = {"c1", "gc1", "ec1"}

LEADERS = {"g1", "e1"}
"""Servers whose part in Raft the test plays: each leads its region alone. The others have no
leader, as this version elects none."""

HEADERS = (
    "content-type",
    "content-encoding",
    "vary",
    "location",
    "access-control-allow-origin",
    "x-test",
)
"""Headers that must be the same, absence included."""

NO_LEADER = "this version elects no leader"
EMPTY_HOST = "an empty host is shown as the address it stands for"

DIFFERENT: dict[str, tuple[str, ...]] = {
    EMPTY_HOST: ("c1/POST /v1/agent/servers?address=",),
    NO_LEADER: (
        "c1/GET /v1/status/leader",
        "c1/GET /v1/status/peers",
        "dev1/GET /v1/agent/health",
        "dev1/GET /v1/status/leader",
        "s2/GET /v1/agent/health",
        "s2/GET /v1/status/leader",
        "s2/GET /v1/status/peers",
        "s1/GET /v1/agent/health",
        "s1/GET /v1/status/leader",
        "s1/GET /v1/status/peers",
        "s2/GET /v1/agent/health #2",
        "s2/GET /v1/agent/health #3",
        "s2/GET /v1/agent/health #4",
        "s2/GET /v1/agent/health?type=server",
        "s2/GET /v1/agent/health?type=client&type=server",
        "s2/GET /v1/agent/health?region=global",
        "s2/GET /v1/agent/health?pretty",
        "s2/GET /v1/agent/health?stale",
        "dev1/GET /v1/agent/health?type=server",
        "dev1/GET /v1/agent/health?pretty",
    ),
}
"""Reason to the names of the exchanges whose answer is another one here."""

ABSENT = {
    "/config/Version/Revision": "the revision of Nomad's source is not ours",
    "/config/Vault/Token": "the recorded agent found a token in its environment",
    "/config/Files": "files lie elsewhere",
    "/config/DataDir": "a placeholder in the recording",
    "/config/PluginDir": "a placeholder in the recording",
    "/stats/raft": NO_LEADER,
    "/stats/nomad/leader": NO_LEADER,
    "/stats/nomad/leader_addr": NO_LEADER,
    "/stats/vault": "this version knows no Vault",
    "/stats/client": "this version runs no client tasks",
    "/stats/serf/coordinate_resets": "this version keeps no coordinates",
    "/stats/runtime/version": "Python and not Go",
    "/stats/runtime/goroutines": "tasks and not goroutines",
}
"""Pointers into the answer of /v1/agent/self whose values differ, and why."""

_worlds: dict[str, dict[str, tuple[SimAgent, Starlette]]] = {}


def state_of(exchange: dict[str, Any]) -> tuple[str, str]:
    """Set-up of an exchange, and what had been done to it by then."""
    setup, name = exchange["setup"], exchange["name"]
    if "[before join]" in name:
        return setup, "before join"
    if setup == "cluster3" and "/servers [after]" in name:
        return setup, "one server"  # the recording left out the request that did it
    return setup, ""


async def agents_of(setup: str, state: str, folder: Path) -> dict[str, tuple[SimAgent, Starlette]]:
    """The agents of a recorded set-up by node name, started once from the recorded files."""
    known = f"{setup} {state}"
    if known not in _worlds:
        agents: dict[str, SimAgent] = {}
        world = AgentWorld(f"recorded {setup}")
        for node in SETUPS[setup]:
            path = folder / f"{node}.hcl"
            path.write_text(VECTORS["agents"][node].replace("<data_dir>", "/var/lib/nomad"))
            config = load_config([str(path)], dev=setup == "dev").config
            raft = FakeRaft.alone(config.bind("rpc")) if node in LEADERS else None
            agents[config.name] = world.start(config, raft)
        if state != "before join":
            await world.join(*(agent for agent in agents.values() if agent.core is not None))
        if state == "one server":
            await agents["c1"].agent.set_servers(["127.0.61.1:4647"])
        _worlds[known] = {name: (agent, create_app(agent.agent)) for name, agent in agents.items()}
    return _worlds[known]


async def ask(exchange: dict[str, Any], folder: Path) -> Response:
    """Make a recorded request to our agent."""
    agent, app = (await agents_of(*state_of(exchange), folder))[exchange["node"]]
    request = exchange["request"]
    target = request["path"] + (f"?{request['query']}" if request["query"] else "")
    before = agent.services.world.now
    response = await call(
        app,
        request["method"],
        target,
        headers=request["headers"],
        body=(request["body"] or "").encode(),
    )
    if exchange.get("took_seconds", 0) >= 5:
        assert agent.services.world.now - before >= 5
    return response


def why_different(exchange: dict[str, Any], ours: Response) -> str:
    """What is not as recorded; empty if all that matters is the same."""
    recorded = exchange["response"]
    if ours.status != recorded["status"]:
        return f"status {ours.status} and not {recorded['status']}"
    expected = {name.lower(): value for name, value in recorded["headers"].items()}
    for name in HEADERS:
        if ours.headers.get(name) != expected.get(name):
            return f"{name}: {ours.headers.get(name)!r} and not {expected.get(name)!r}"
    wanted = comparable(recorded["body"], exchange, recorded["body_kind"])
    found = comparable(ours.text, exchange, "text")
    return "" if found == wanted else f"body {found!r} and not {wanted!r}"


def comparable(body: Json, exchange: dict[str, Any], kind: str) -> Json:
    """A body without what changes from run to run."""
    if kind == "empty":
        return ""
    path = exchange["request"]["path"]
    if kind == "text":
        try:
            value = json.loads(body)
        except ValueError:
            return body
        # The recorded layout, but for the order of maps, is part of what is compared.
        layout = "pretty" if body.endswith("}\n") else "compact"
        if exchange["response"]["body_kind"] == "text":
            return [layout, comparable(value, exchange, "json")]
        body = value
    if path == "/v1/agent/members" and isinstance(body, dict):
        found = {**body, "Members": sorted(map(without_id, body["Members"]), key=by_name)}
        if exchange["node"] in CLIENTS:
            del found["ServerName"]  # whom a client asks is a matter of chance
        return found
    if path == "/v1/agent/self" and isinstance(body, dict):
        body = {**body, "member": without_id(body["member"])}
        volatile = [pointer.removeprefix("/body") for pointer in exchange["volatile"]]
        return without(body, "", {*ABSENT, *volatile})
    if path == "/v1/agent/join" and isinstance(body, dict):
        # Where a connection was tried, and which resolver was asked, is for the driver to say.
        words = re.sub(r" on [0-9.]+:53|dial tcp [0-9.:]+: connect: ", "", body["error"])
        return {**body, "error": words}
    return body


def by_name(member: dict[str, Any]) -> str:
    name = member["Name"]
    assert isinstance(name, str)
    return name


def without_id(member: dict[str, Any]) -> dict[str, Any]:
    """A member without its identifier, which must be a UUID."""
    tags = dict(member["Tags"])
    uuid.UUID(tags.pop("id"))
    return {**member, "Tags": tags}


def without(value: Json, pointer: str, absent: set[str]) -> Json:
    """A value without what the pointers point at."""
    if not isinstance(value, dict):
        return value
    return {
        key: without(item, f"{pointer}/{key}", absent)
        for key, item in value.items()
        if f"{pointer}/{key}" not in absent
    }


REASONS = {name: reason for reason, names in DIFFERENT.items() for name in names}


@pytest.mark.parametrize("exchange", EXCHANGES, ids=lambda exchange: exchange["name"])
async def test_the_answer_is_the_recorded_one(exchange: dict[str, Any], tmp_path: Path) -> None:
    response = await ask(exchange, tmp_path)
    difference = why_different(exchange, response)
    if exchange["name"] in REASONS:
        # An exception that is none any more must be taken off the list.
        assert difference, REASONS[exchange["name"]]
    else:
        assert not difference


def test_exceptions_name_recorded_exchanges() -> None:
    assert set(REASONS) <= {exchange["name"] for exchange in EXCHANGES}
