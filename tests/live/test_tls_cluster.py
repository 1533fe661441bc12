"""A cluster whose RPC and HTTP speak mutual TLS: what works, who is refused, what the log says."""

from __future__ import annotations

import ssl
from pathlib import Path

import msgspec
import pytest
import trio

from swimnomad.errors import ConfigError
from swimnomad.nomad.config import AgentConfig, TlsConfig
from swimnomad.tls.authority import Role
from tests.live.live_support import until
from tests.live.rpc_clusters import (
    Logged,
    client_config,
    get,
    logged_agent,
    pool_of,
    server_config,
)
from tests.tls.pki import EXPIRED, Files, Pki, user_context

pytestmark = pytest.mark.live

LIMIT = 40.0
STRICT = {"verify_server_hostname": True}


@pytest.fixture
def pki(tmp_path: Path) -> Pki:
    return Pki(tmp_path)


def block(pki: Pki, files: Files, **changes: object) -> TlsConfig:
    return pki.config(files, **{**STRICT, **changes}).tls


def secured(pki: Pki, name: str, region: str = "global", **changes: object) -> AgentConfig:
    files = pki.issue(region=region, name=name)
    return server_config(name, region, tls=block(pki, files, **changes))


def user_of(pki: Pki) -> ssl.SSLContext:
    """A user's browser that trusts the authority, whatever address the agent has."""
    context = user_context(pki.ca)
    context.check_hostname = False
    return context


async def refusal_of(server: Logged, tls: TlsConfig) -> tuple[str, str]:
    """What a client with this TLS is told over HTTP, and the last line of the server's RPC log."""
    before = len(server.texts("nomad.rpc"))
    plain_http = msgspec.structs.replace(tls, http=False)
    async with logged_agent(client_config("c1", [server.rpc], plain_http)) as client:
        failed = await get(client, "/v1/status/leader?stale")
        while "lead thread" in failed.text:  # its node is dialling just now
            failed = await get(client, "/v1/status/leader?stale")
        assert failed.status_code == 500
        await until(lambda: len(server.texts("nomad.rpc")) > before)
        # Not later: a dial that ends with the client is cut off, which the server logs otherwise.
        return failed.text, server.texts("nomad.rpc")[-1]


async def test_regions_and_clients_work_over_mutual_tls(pki: Pki) -> None:
    configs = [secured(pki, "a1", "A"), secured(pki, "b1", "B")]
    user = user_of(pki)
    with trio.fail_after(LIMIT):
        async with pool_of(configs) as agents:
            asked = await get(agents[0], "/v1/status/peers?region=B&stale", user)
            assert (asked.status_code, asked.json()) == (200, [])
            shown = (await get(agents[0], "/v1/agent/self", user)).json()["config"]["TLSConfig"]
            assert (shown["EnableRPC"], shown["EnableHTTP"]) == (True, True)


async def test_a_client_with_a_certificate_of_its_role_is_served(pki: Pki) -> None:
    with trio.fail_after(LIMIT):
        async with logged_agent(secured(pki, "s1")) as server:
            mine = block(pki, pki.issue(Role.CLIENT), http=False)
            async with logged_agent(client_config("c1", [server.rpc], mine)) as client:
                assert (await get(client, "/v1/status/leader?stale")).json() == ""


async def test_each_refusal_has_a_line_of_its_own(pki: Pki, tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    stranger = Pki(tmp_path / "other", "other ca")
    lines: dict[str, str] = {}
    with trio.fail_after(LIMIT):
        async with logged_agent(secured(pki, "s1")) as server:
            foreign = stranger.issue(Role.CLIENT)
            trusting = block(pki, foreign)  # its authority is ours, its certificate is not
            for why, tls in {
                "authority": trusting,
                "role": block(pki, pki.issue(Role.CLIENT, "elsewhere")),
                "expired": block(pki, pki.issue(Role.CLIENT, validity=EXPIRED, name="old")),
            }.items():
                told, lines[why] = await refusal_of(server, tls)
                assert told.startswith("rpc error: ")
    assert all("failed TLS handshake" in line for line in lines.values())
    assert len({_without_port(line) for line in lines.values()}) == 3
    assert "unknown authority" in lines["authority"]
    assert "invalid role or region for certificate" in lines["role"]
    assert "expired" in lines["expired"]


def _without_port(line: str) -> str:
    return line.split("error=", 1)[1]


async def test_a_server_of_another_name_is_not_asked(pki: Pki) -> None:
    wrong = server_config("s1", tls=block(pki, pki.issue(Role.CLIENT, name="posing")))
    with trio.fail_after(LIMIT):
        async with logged_agent(wrong) as server:
            mine = block(pki, pki.issue(Role.CLIENT), http=False)
            async with logged_agent(client_config("c1", [server.rpc], mine)) as client:
                failed = await get(client, "/v1/status/leader?stale")
                while "lead thread" in failed.text:  # its node is dialling just now
                    failed = await get(client, "/v1/status/leader?stale")
    assert failed.status_code == 500
    assert "server.global.nomad" in failed.text


async def test_a_plain_connection_to_a_tls_port_is_refused_and_the_log_says_why(pki: Pki) -> None:
    with trio.fail_after(LIMIT):
        async with logged_agent(secured(pki, "s1")) as server:
            async with logged_agent(client_config("c1", [server.rpc])) as client:
                failed = await get(client, "/v1/status/leader?stale")
                assert failed.status_code == 500
            expected = "nomad.rpc: non-TLS connection attempted with RequireTLS set"
            await until(lambda: any(one.startswith(expected) for one in server.texts("nomad.rpc")))


async def test_tls_to_a_plain_port_is_refused_and_the_log_says_why(pki: Pki) -> None:
    with trio.fail_after(LIMIT):
        async with logged_agent(server_config("s1")) as server:
            _, line = await refusal_of(server, block(pki, pki.issue(Role.CLIENT)))
            assert line.startswith(
                "nomad.rpc: TLS connection attempted, server not configured for TLS"
            )


async def test_an_upgrading_server_takes_both(pki: Pki) -> None:
    with trio.fail_after(LIMIT):
        async with logged_agent(secured(pki, "s1", rpc_upgrade_mode=True)) as server:
            mine = block(pki, pki.issue(Role.CLIENT), http=False)
            for tls in (None, mine):
                async with logged_agent(client_config("c1", [server.rpc], tls)) as client:
                    assert (await get(client, "/v1/status/leader?stale")).json() == ""


async def test_a_reload_switches_to_new_files_and_keeps_the_old_when_they_are_bad(
    pki: Pki, tmp_path: Path
) -> None:
    (tmp_path / "new").mkdir()
    renewed = Pki(tmp_path / "new", "new ca")
    config = secured(pki, "s1")
    later = block(renewed, renewed.issue(name="s1"))
    with trio.fail_after(LIMIT):
        async with logged_agent(config) as server:
            assert (await get(server, "/v1/agent/self", user_of(pki))).status_code == 200
            broken = msgspec.structs.replace(later, ca_file=str(tmp_path / "nothing.pem"))
            with pytest.raises(ConfigError, match=r"nothing\.pem"):
                server.agent.reload(msgspec.structs.replace(config, tls=broken))
            assert (await get(server, "/v1/agent/self", user_of(pki))).status_code == 200
            server.agent.reload(msgspec.structs.replace(config, tls=later))
            shown = await get(server, "/v1/agent/self", user_of(renewed))
            assert shown.json()["config"]["TLSConfig"]["CAFile"] == later.ca_file
