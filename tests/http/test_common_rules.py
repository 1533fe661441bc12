"""What holds for every endpoint: paths, methods, headers, layout, compression, parameters."""

from __future__ import annotations

import json
from collections.abc import MutableMapping

import msgspec
import pytest

from swimnomad.http.app import create_app
from swimnomad.http.calls import failure_answer
from swimnomad.http.routes import ENDPOINTS
from swimnomad.nomad.agent import Agent
from swimnomad.nomad.failures import RequestFailed
from tests.http.http_support import Served, alone, dev, server

PLAIN = [one for one in ENDPOINTS if not one.path.endswith(("/events", "/leave"))]


@pytest.fixture
def one() -> Served:
    return alone(dev())


async def test_the_root_leads_to_the_page(one: Served) -> None:
    """agent A01"""
    response = await one.get("/")
    assert (response.status, response.headers["location"]) == (307, "/ui/")


@pytest.mark.parametrize(
    "path",
    [
        "/v1/unknown/endpoint",
        "/v1/agent/schedulers",
        "/v1/agent",
        "/v1/agent/",
        "/v1/agent/self/",
        "/v2/agent/self",
        "/v1/swimnomad/faults/a/b",
    ],
)
@pytest.mark.parametrize("method", ["GET", "PUT", "DELETE", "HEAD"])
async def test_unknown_paths_are_not_found_and_empty(one: Served, path: str, method: str) -> None:
    """agent A02, agent A03, agent A04"""
    response = await one.send(method, path)
    assert (response.status, response.raw) == (404, b"")
    assert "content-type" not in response.headers


@pytest.mark.parametrize("path", ["/v1/agent/members", "/v1/agent/self", "/v1/agent/health"])
@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS"])
async def test_reads_take_only_get(one: Served, path: str, method: str) -> None:
    """agent A06, agent A07, agent A10, agent M04"""
    response = await one.send(method, path)
    assert (response.status, response.text) == (405, "Invalid method")
    assert response.headers["content-type"] == "text/plain; charset=utf-8"


async def test_head_is_a_wrong_method_without_a_body(one: Served) -> None:
    """agent A10"""
    response = await one.send("HEAD", "/v1/agent/self")
    assert (response.status, response.raw) == (405, b"")
    assert response.headers["content-length"] == "14"


@pytest.mark.parametrize("path", ["/v1/agent/join", "/v1/agent/force-leave"])
async def test_writes_refuse_get(one: Served, path: str) -> None:
    """agent A08"""
    assert (await one.get(path)).status == 405


async def test_servers_cannot_be_deleted(one: Served) -> None:
    """agent A09"""
    response = await one.send("DELETE", "/v1/agent/servers")
    assert (response.status, response.text) == (405, "Invalid method")


@pytest.mark.parametrize("method", ["PUT", "POST"])
async def test_put_and_post_are_one(one: Served, method: str) -> None:
    """agent A11"""
    texts = {
        "/v1/agent/join": "missing address to join",
        "/v1/agent/force-leave": "missing node to force leave",
        "/v1/agent/servers": "missing server address",
    }
    for path, text in texts.items():
        response = await one.send(method, path)
        assert (response.status, response.text) == (400, text)


async def test_json_has_no_charset_and_no_newline(one: Served) -> None:
    """agent A13, agent A16"""
    for target in ("/v1/agent/self", "/v1/agent/self?pretty=0"):
        response = await one.get(target)
        assert response.headers["content-type"] == "application/json"
        assert response.raw == json.dumps(response.json, separators=(",", ":")).encode()


@pytest.mark.parametrize("query", ["pretty", "pretty=", "pretty=1", "pretty=false"])
async def test_pretty_indents_by_four(one: Served, query: str) -> None:
    """agent A14, agent A15, agent A17"""
    response = await one.get(f"/v1/agent/self?{query}")
    assert response.text == json.dumps(response.json, indent=4, ensure_ascii=False) + "\n"


async def test_the_first_of_two_values_counts(one: Served) -> None:
    """agent A29"""
    assert "\n" not in (await one.get("/v1/agent/self?pretty=0&pretty=1")).text


async def test_keys_are_in_alphabetical_order(one: Served) -> None:
    """agent C14"""

    def check(pairs: list[tuple[str, object]]) -> dict[str, object]:
        assert [key for key, _ in pairs] == sorted(key for key, _ in pairs)
        return dict(pairs)

    for path in ("/v1/agent/members", "/v1/agent/self", "/v1/swimnomad/gossip"):
        json.loads((await one.get(path)).text, object_pairs_hook=check)


@pytest.mark.parametrize("path", ["/v1/agent/members", "/v1/agent/join", "/"])
async def test_bodies_are_compressed_errors_included(one: Served, path: str) -> None:
    """agent A18, agent A19"""
    plain = await one.get(path)
    packed = await one.get(path, accept_encoding="deflate, gzip;q=0.5")
    assert packed.headers["content-encoding"] == "gzip"
    assert packed.body == plain.body != packed.raw
    assert packed.headers["content-length"] == str(len(packed.raw))


@pytest.mark.parametrize("accept", ["gzip;q=0", "gzip; q=0.0", "*", "deflate, br", "x-gzip"])
async def test_nothing_is_compressed_unasked(one: Served, accept: str) -> None:
    """agent A18"""
    response = await one.get("/v1/agent/members", accept_encoding=accept)
    assert "content-encoding" not in response.headers


async def test_an_empty_body_is_not_compressed(one: Served) -> None:
    response = await one.get("/v1/nope", accept_encoding="gzip")
    assert (response.raw, response.headers["content-length"]) == (b"", "0")


async def test_every_answer_varies_by_encoding(one: Served) -> None:
    """agent A20, agent A22"""
    for path in ("/", "/nope", "/v1//x", "/v1/agent/join", *(one.path for one in PLAIN)):
        response = await one.get(path)
        assert response.headers["vary"] == "Accept-Encoding"
        assert not [name for name in response.headers if name.startswith("x-nomad")]


async def test_configured_headers_are_on_every_answer_of_the_api() -> None:
    """agent A21"""
    config = msgspec.structs.replace(server(1), http_api_response_headers={"X-Foo": "bar"})
    one = alone(config)
    assert (await one.get("/v1/agent/members")).headers["x-foo"] == "bar"
    assert (await one.get("/v1/agent/join")).headers["x-foo"] == "bar"
    assert "x-foo" not in (await one.get("/nope")).headers
    assert "x-foo" not in (await one.get("/")).headers


CHECKED = ["/v1/agent/members", "/v1/agent/health", "/v1/status/leader", "/v1/regions"]


@pytest.mark.parametrize("path", CHECKED)
@pytest.mark.parametrize("wait", ["60foo", "10", "s", "-"])
async def test_a_wait_that_is_no_duration_is_refused(one: Served, path: str, wait: str) -> None:
    """agent A23"""
    response = await one.get(f"{path}?wait={wait}")
    assert (response.status, response.text) == (400, "Invalid wait time")


@pytest.mark.parametrize("index", ["foo", "-1", "%2B1", "18446744073709551616", "1.0"])
async def test_an_index_that_is_no_number_is_refused(one: Served, index: str) -> None:
    """agent A24"""
    response = await one.get(f"/v1/agent/members?index={index}")
    assert (response.status, response.text) == (400, "Invalid index")


@pytest.mark.parametrize(
    "query",
    ["wait=60s&index=1000", "wait=-5s", "wait=0", "wait=", "index=18446744073709551615", "index="],
)
async def test_valid_blocking_parameters_have_no_effect(one: Served, query: str) -> None:
    """agent A25"""
    before = one.agent.services.world.now
    assert (await one.get(f"/v1/agent/members?{query}")).status == 200
    assert one.agent.services.world.now == before


async def test_self_never_looks_at_wait(one: Served) -> None:
    """agent A26"""
    assert (await one.get("/v1/agent/self?wait=60foo&index=x")).status == 200


async def test_other_parameters_are_ignored(one: Served) -> None:
    """agent A27"""
    assert (await one.get("/v1/agent/health?type=client&consistent")).status == 200
    assert (await one.get("/v1/agent/members?foo=bar&&=&%zz")).status == 200


async def test_our_own_region_is_meant_unless_another_is_named(one: Served) -> None:
    """agent A28"""
    for query in ("stale", "stale&region=", "stale&region=global"):
        assert (await one.get(f"/v1/status/leader?{query}")).json == ""


async def test_tokens_change_nothing(one: Served) -> None:
    """agent A30, agent B26"""
    response = await one.get("/v1/agent/members?token=abc", x_nomad_token="zz")
    assert response.status == 200


@pytest.mark.parametrize(
    ("error", "status", "text"),
    [
        (RequestFailed("RPC Error:: 404,not found"), 404, "not found"),
        (RequestFailed("rpc error: Permission denied"), 403, "Permission denied"),
        (RequestFailed("rpc error: ACL token not found"), 403, "ACL token not found"),
        (RequestFailed("rpc error: RPC Error:: 404,no"), 500, "rpc error: RPC Error:: 404,no"),
        (RequestFailed("something else"), 500, "something else"),
        (RequestFailed("coded", status=418), 418, "coded"),
    ],
)
def test_failures_find_their_status(error: RequestFailed, status: int, text: str) -> None:
    """agent A31, agent A32, agent A33, agent A34"""
    answer = failure_answer(error)
    assert (answer.status, answer.body) == (status, text.encode())
    assert answer.content_type == "text/plain; charset=utf-8"


@pytest.mark.parametrize(
    ("path", "location"),
    [
        ("/v1//agent/self", "/v1/agent/self"),
        ("/v1/./agent/self?pretty", "/v1/agent/self?pretty"),
        ("/../..//evil.example/%3Cx%3E", "/evil.example/%3Cx%3E"),
        ("//evil.example", "/evil.example"),
        ("/a/../", "/"),
        ("/v1/agent/../agent/", "/v1/agent/"),
    ],
)
async def test_paths_are_cleaned_by_a_redirect(one: Served, path: str, location: str) -> None:
    response = await one.get(path)
    assert (response.status, response.headers["location"]) == (301, location)
    assert response.text == f'<a href="{location}">Moved Permanently</a>.\n\n'


async def test_names_that_are_not_text_are_shown_all_the_same() -> None:
    one = alone(server(1))
    config = msgspec.structs.replace(server(1), name="s\udcff1", datacenter="d<&>é")
    named = Agent(config, one.agent.core, one.agent.services)
    one = Served(one.agent, create_app(named))
    answer = (await one.get("/v1/agent/members")).text
    assert '"ServerName":"s\ufffd1"' in answer
    assert '"ServerDC":"d<&>é"' in answer


async def test_a_handler_that_breaks_answers_and_takes_nothing_down(
    one: Served, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(request: object) -> None:
        raise ZeroDivisionError("oops")

    monkeypatch.setattr(one.agent.agent, "ask", broken)
    response = await one.get("/v1/agent/members")
    assert (response.status, response.text) == (500, "oops")
    assert (await one.get("/v1/agent/self")).status == 200


@pytest.mark.parametrize("path", ["/v1/agent/members", "/nope"])
async def test_web_sockets_are_refused_before_they_open(one: Served, path: str) -> None:
    sent: list[MutableMapping[str, object]] = []

    async def receive() -> MutableMapping[str, object]:
        return {"type": "websocket.connect"}

    async def send(message: MutableMapping[str, object]) -> None:
        sent.append(message)

    scope = {"type": "websocket", "path": path, "root_path": "", "headers": [], "query_string": b""}
    await one.app(scope, receive, send)
    assert [message["type"] for message in sent] == ["websocket.close"]
