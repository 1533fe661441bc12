"""`swimnomad tls`: files with the right names, contents and modes, and never half of them."""

from __future__ import annotations

from pathlib import Path

import pytest
from cryptography import x509

from swimnomad.nomad.config import AgentConfig, TlsConfig
from swimnomad.tls.contexts import AgentTls
from tests.cli.cli_support import CommandLine


@pytest.fixture
def swimnomad(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> CommandLine:
    return CommandLine(capsys, monkeypatch)


def names_in(directory: Path) -> set[str]:
    return {path.name for path in directory.iterdir()}


CA = {"nomad-agent-ca.pem", "nomad-agent-ca-key.pem"}


def test_from_nothing_to_agents_that_can_start(swimnomad: CommandLine, tmp_path: Path) -> None:
    out = tmp_path / "new" / "certs"
    made = swimnomad("tls", "ca", "create", "--out", str(out))
    assert (made.status, made.err) == (0, "")
    assert str(out / "nomad-agent-ca.pem") in made.out
    assert names_in(out) == CA
    for role in ("server", "client", "cli"):
        made = swimnomad("tls", "cert", "create", f"--{role}", "-region", "eu", "-out", str(out))
        assert (made.status, made.err) == (0, "")
        assert {f"eu-{role}-nomad.pem", f"eu-{role}-nomad-key.pem"} < names_in(out)
        block = TlsConfig(
            rpc=True,
            ca_file=str(out / "nomad-agent-ca.pem"),
            cert_file=str(out / f"eu-{role}-nomad.pem"),
            key_file=str(out / f"eu-{role}-nomad-key.pem"),
        )
        AgentTls(AgentConfig(tls=block))
    for path in out.iterdir():
        secret = path.name.endswith("-key.pem")
        assert path.stat().st_mode & 0o777 == (0o600 if secret else 0o644), path


def test_json_says_where_and_until_when(swimnomad: CommandLine, tmp_path: Path) -> None:
    out = str(tmp_path)
    swimnomad("tls", "ca", "create", "--out", out, "--days", "10", "--common-name", "Own")
    made = swimnomad("tls", "cert", "create", "--cli", "--out", out, "--json").json()
    certificate = x509.load_pem_x509_certificate(Path(made["Certificate"]).read_bytes())
    assert made["Key"] == f"{tmp_path}/global-cli-nomad-key.pem"
    assert made["NotAfter"] == f"{certificate.not_valid_after_utc:%Y-%m-%dT%H:%M:%SZ}"
    assert certificate.issuer.rfc4514_string() == "CN=Own"
    authority = x509.load_pem_x509_certificate((tmp_path / "nomad-agent-ca.pem").read_bytes())
    assert certificate.not_valid_after_utc <= authority.not_valid_after_utc


def test_an_authority_elsewhere_of_another_domain(swimnomad: CommandLine, tmp_path: Path) -> None:
    swimnomad("tls", "ca", "create", "--out", f"{tmp_path}/ca", "--domain", "consul")
    assert names_in(tmp_path / "ca") == {"consul-agent-ca.pem", "consul-agent-ca-key.pem"}
    line = ["tls", "cert", "create", "--server", "--domain", "consul", "--out", f"{tmp_path}/own"]
    line += ["--ca", f"{tmp_path}/ca/consul-agent-ca.pem"]
    line += ["--key", f"{tmp_path}/ca/consul-agent-ca-key.pem"]
    line += ["--additional-dnsname", "a.example", "--additional-ipaddress", "10.0.0.1"]
    assert swimnomad(*line).status == 0
    data = (tmp_path / "own" / "global-server-consul.pem").read_bytes()
    found = x509.load_pem_x509_certificate(data).extensions.get_extension_for_class(
        x509.SubjectAlternativeName
    )
    names = found.value.get_values_for_type(x509.DNSName)
    assert names == ["server.global.consul", "localhost", "a.example"]


def test_what_is_there_is_overwritten_only_by_force(swimnomad: CommandLine, tmp_path: Path) -> None:
    out = ["--out", str(tmp_path)]
    assert swimnomad("tls", "ca", "create", *out).status == 0
    before = {path: path.read_bytes() for path in tmp_path.iterdir()}
    swimnomad("tls", "ca", "create", *out).assert_usage_error("nomad-agent-ca.pem", "--force")
    (tmp_path / "nomad-agent-ca.pem").unlink()
    swimnomad("tls", "ca", "create", *out).assert_usage_error("nomad-agent-ca-key.pem", "--force")
    assert names_in(tmp_path) == {"nomad-agent-ca-key.pem"}
    (tmp_path / "nomad-agent-ca-key.pem").chmod(0o644)
    assert swimnomad("tls", "ca", "create", *out, "-force").status == 0
    assert names_in(tmp_path) == CA
    assert all(path.read_bytes() != data for path, data in before.items())
    assert (tmp_path / "nomad-agent-ca-key.pem").stat().st_mode & 0o777 == 0o600


def test_a_place_that_cannot_be_written_to_is_named(swimnomad: CommandLine, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    outcome = swimnomad("tls", "ca", "create", "--out", f"{tmp_path}/file/under")
    assert outcome.status == 1
    outcome.assert_one_line(f"{tmp_path}/file/under", "not a directory", "certainly not done")


def test_a_certificate_without_its_key_is_not_left_behind(
    swimnomad: CommandLine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from swimnomad.cli import tls

    def write(path: Path, data: bytes, mode: int, *, force: bool) -> None:
        if not path.name.endswith("-key.pem"):
            raise OSError(28, "No space left on device")
        path.write_bytes(data)

    monkeypatch.setattr(tls, "_write", write)
    outcome = swimnomad("tls", "ca", "create", "--out", str(tmp_path))
    assert outcome.status == 1
    outcome.assert_one_line("no space left on device", "certainly not done")
    assert names_in(tmp_path) == set()


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["tls", "ca", "revoke"], "unknown command 'revoke': allowed are create"),
        (["tls", "cert", "create"], "exactly one of --server, --client and --cli"),
        (["tls", "cert", "create", "--cli", "--server"], "exactly one of --server"),
        (["tls", "cert", "create", "--cli"], "see `tls ca create`"),
        (["tls", "cert", "create", "--cli", "--days", "0"], "--days"),
        (["tls", "cert", "create", "--cli", "--region", "a/b"], "part of a file's name"),
        (["tls", "cert", "create", "--cli", "--domain", ".."], "part of a file's name"),
        (["tls", "ca", "create", "--domain", ""], "part of a file's name"),
        (["tls", "ca", "create", "--days", "99999999"], "beyond the year 9999"),
        (["tls", "ca", "create", "--common-name", "x" * 65], "at most 64"),
    ],
)
def test_bad_usage_is_one_line_and_makes_no_file(
    swimnomad: CommandLine,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    words: list[str],
    says: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    swimnomad(*words).assert_usage_error(says)
    assert names_in(tmp_path) == set()


@pytest.mark.parametrize("words", [["tls"], ["tls", "ca"], ["tls", "cert"]])
def test_a_group_alone_prints_its_help(swimnomad: CommandLine, words: list[str]) -> None:
    outcome = swimnomad(*words)
    assert outcome.status == 2
    assert outcome.err.startswith(f"Usage: swimnomad {' '.join(words)} ")
