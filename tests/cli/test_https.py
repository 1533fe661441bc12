"""Commands that ask an agent over HTTPS."""

from __future__ import annotations

import ssl
from pathlib import Path

import pytest

from swimnomad.tls.authority import Role
from swimnomad.tls.contexts import AgentTls
from tests.cli.cli_support import CommandLine, fake_agent, recorded
from tests.tls.pki import EXPIRED, Pki

REPLIES = {
    "GET /v1/agent/members": recorded("members"),
    "PUT /v1/agent/join": recorded("members"),
}
NAME = "server.global.nomad"
"""In the certificate of the agents here; their address is not."""


@pytest.fixture
def swimnomad(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> CommandLine:
    return CommandLine(capsys, monkeypatch)


@pytest.fixture
def pki(tmp_path: Path) -> Pki:
    return Pki(tmp_path)


def serving(pki: Pki, **tls: bool) -> ssl.SSLContext:
    context = AgentTls(pki.config(pki.issue(), **tls)).http.context
    assert context is not None
    return context


def test_flags_name_the_authority_and_the_name(swimnomad: CommandLine, pki: Pki) -> None:
    with fake_agent(REPLIES, serving(pki)) as agent:
        line = ["members", "--address", agent.address, "-ca-cert", pki.ca]
        assert swimnomad(*line, "-tls-server-name", NAME).status == 0


def test_the_environment_names_them_too(swimnomad: CommandLine, pki: Pki) -> None:
    files = pki.issue(Role.CLI)
    with fake_agent(REPLIES, serving(pki, verify_https_client=True)) as agent:
        for name, value in (
            ("ADDR", agent.address),
            ("CACERT", pki.ca),
            ("CLIENT_CERT", files.certificate),
            ("CLIENT_KEY", files.key),
            ("TLS_SERVER_NAME", NAME),
        ):
            swimnomad.environment.setenv(f"NOMAD_{name}", value)
        assert swimnomad("members").status == 0


@pytest.mark.parametrize("value", ["1", "true"])
def test_whoever_skips_verification_believes_anyone(
    swimnomad: CommandLine, pki: Pki, value: str
) -> None:
    with fake_agent(REPLIES, serving(pki)) as agent:
        line = ["members", "--address", agent.address]
        assert swimnomad(*line, "--tls-skip-verify").status == 0
        swimnomad.environment.setenv("NOMAD_SKIP_VERIFY", value)
        assert swimnomad(*line).status == 0
        swimnomad.environment.setenv("NOMAD_SKIP_VERIFY", "")
        assert swimnomad(*line).status == 1


def test_an_unknown_authority_is_named_with_what_to_set(swimnomad: CommandLine, pki: Pki) -> None:
    with fake_agent(REPLIES, serving(pki)) as agent:
        outcome = swimnomad("members", "--address", agent.address)
    assert outcome.status == 1
    outcome.assert_one_line(agent.address, "signed by an unknown authority", "--ca-cert")


def test_a_wrong_name_is_named_with_what_to_set(swimnomad: CommandLine, pki: Pki) -> None:
    with fake_agent(REPLIES, serving(pki)) as agent:
        line = ["members", "--address", agent.address, "--ca-cert", pki.ca]
        outcome = swimnomad(*line)
        outcome.assert_one_line("not valid for the name 127.0.77.1", "--tls-server-name")
        outcome = swimnomad(*line, "--tls-server-name", "server.eu.nomad")
        outcome.assert_one_line("not valid for the name server.eu.nomad", "--tls-server-name")


def test_a_certificate_that_is_wanted_is_named_with_what_to_set(
    swimnomad: CommandLine, pki: Pki
) -> None:
    with fake_agent(REPLIES, serving(pki, verify_https_client=True)) as agent:
        tls = ["--address", agent.address, "--ca-cert", pki.ca, "--tls-server-name", NAME]
        outcome = swimnomad("members", *tls)
        assert outcome.status == 1
        outcome.assert_one_line("wants a certificate and was given none", "--client-cert")
        outcome = swimnomad("join", "127.0.0.1", *tls)
        assert outcome.status == 1
        # The request may have been sent; nobody has read it.
        outcome.assert_one_line("wants a certificate and was given none", "(certainly not done)")
        old = pki.issue(Role.CLI, validity=EXPIRED)
        shown = ["--client-cert", old.certificate, "--client-key", old.key]
        swimnomad("members", *tls, *shown).assert_one_line("says that our certificate has expired")
        assert agent.requests == []


def test_an_agent_that_speaks_http_is_named(swimnomad: CommandLine) -> None:
    with fake_agent(REPLIES) as agent:
        outcome = swimnomad("members", "--address", agent.address.replace("http", "https"))
    assert outcome.status == 1
    outcome.assert_one_line("the peer does not speak TLS", "http://")


def test_files_that_cannot_be_used_are_bad_usage(
    swimnomad: CommandLine, pki: Pki, tmp_path: Path
) -> None:
    junk, gone = tmp_path / "junk.pem", str(tmp_path / "gone.pem")
    junk.write_text("junk")
    cli, other = pki.issue(Role.CLI), pki.issue(Role.CLIENT)
    pair = ["--client-cert", cli.certificate, "--client-key"]
    for words, expected in (
        (["--ca-cert", gone], "--ca-cert cannot be read: " + gone),
        (["--ca-cert", str(junk)], "holds no certificate in PEM form"),
        (["--client-cert", cli.certificate], "--client-cert is given without --client-key"),
        (["--client-key", cli.key], "--client-key is given without --client-cert"),
        ([*pair, gone], "--client-key cannot be read: " + gone),
        ([*pair, other.key], "the key is not that of the certificate"),
        ([*pair, str(junk)], "no certificate and key in PEM form"),
        (["--tls-server-name", "a..b"], "--tls-server-name: 'a..b' is not a name such as"),
    ):
        outcome = swimnomad("members", "--address", "https://127.0.77.1:9", *words)
        outcome.assert_usage_error(expected)


def test_options_for_tls_mean_nothing_to_http(swimnomad: CommandLine, tmp_path: Path) -> None:
    with fake_agent(REPLIES) as agent:
        gone = str(tmp_path / "gone.pem")
        assert swimnomad("members", "--address", agent.address, "--ca-cert", gone).status == 0
