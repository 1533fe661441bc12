"""`swimnomad agent`: from flags to a configuration, and what is refused before anything starts."""

from __future__ import annotations

from pathlib import Path

import click
import pytest

from swimnomad.cli.agent import KEYS, command, flag_settings
from swimnomad.cli.root import root
from swimnomad.nomad.config import LOG_LEVELS, AgentConfig
from swimnomad.nomad.load import load_config
from swimnomad.swim.config import PROFILES
from tests.cli.cli_support import CommandLine

KEY = "AAAAAAAAAAAAAAAAAAAAAA=="


@pytest.fixture
def swimnomad(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> CommandLine:
    return CommandLine(capsys, monkeypatch)


def config_of(*words: str) -> AgentConfig:
    """The configuration that a command line stands for."""
    parent = click.Context(root, help_option_names=["-h", "--help"])
    with command.make_context("agent", list(words), parent=parent) as context:
        given = dict(context.params)
    files, dev = given.pop("files"), given.pop("dev")
    return load_config(files, flag_settings(given), dev=dev).config


def test_a_client_alone_looks_for_servers_and_joins_nobody() -> None:
    config = config_of(
        *("--client", "--servers", "a, b:1", "--join", "c", "--servers", "d"),
        *("--retry-join", "e", "--retry-max", "4", "--retry-interval", "2s"),
    )
    assert sorted(config.client.servers) == ["a", "b:1", "c", "d"]
    joining = config.client.server_join
    assert joining is not None
    assert (joining.retry_join, joining.retry_max, joining.retry_interval) == (("e",), 4, 2.0)
    assert config.server.joining.retry_join == ()
    both = config_of("--server", "--client", "--join", "c", "--servers", "a")
    assert (both.server.joining.start_join, both.client.servers) == (("c",), ("a",))


def test_every_flag_reaches_the_configuration() -> None:
    config = config_of(
        *("--server", "--node", "n1", "--region", "eu", "--dc", "dc7", "--bind", "127.0.0.9"),
        *("--http-port", "1", "--rpc-port", "2", "--serf-port", "3", "--bootstrap-expect", "3"),
        *("--retry-join", "a", "--retry-join", "b:1", "--retry-max", "4"),
        *("--retry-interval", "1m30s", "--encrypt", KEY, "--profile", "lan"),
        *("--label", "blue"),
        *("--data-dir", "/var/x", "--leave-on-terminate", "--leave-on-interrupt"),
        *("--allow-faults", "--allow-any-serf", "--log-level", "warn", "--log-json"),
    )
    assert (config.name, config.region, config.datacenter) == ("n1", "eu", "dc7")
    assert [config.bind(service) for service in ("http", "rpc", "serf")] == [
        ("127.0.0.9", 1),
        ("127.0.0.9", 2),
        ("127.0.0.9", 3),
    ]
    assert (config.server.enabled, config.client.enabled) == (True, False)
    assert (config.server.bootstrap_expect, config.server.encrypt) == (3, KEY)
    joining = config.server.joining
    assert (joining.retry_join, joining.retry_max, joining.retry_interval) == (("a", "b:1"), 4, 90)
    assert (config.gossip.profile, config.data_dir) == ("lan", "/var/x")
    assert (config.gossip.label, config.serf_config().swim.label) == ("blue", "blue")
    assert config.leave_on_terminate
    assert config.leave_on_interrupt
    assert config.gossip.allow_faults
    assert config.gossip.allow_any_serf
    assert (config.log_level, config.log_json) == ("warn", True)


def test_nomads_spelling_with_one_dash_means_the_same() -> None:
    with_one = config_of("-server", "-node=n1", "-join", "a", "-join=b", "-dc", "dc7")
    with_two = config_of("--server", "--node", "n1", "--join", "a", "--join", "b", "--dc", "dc7")
    assert with_one == with_two
    assert with_one.server.joining.start_join == ("a", "b")


def test_without_flags_the_defaults_hold() -> None:
    assert config_of("--server") == load_config((), {"server.enabled": True}).config
    assert config_of("--server").gossip.profile == "nomad"


def test_dev_runs_both_roles_on_loopback() -> None:
    config = config_of("-dev")
    assert config.dev_mode
    assert config.server.enabled
    assert config.client.enabled
    assert config.bind("http") == ("127.0.0.1", 4646)


def test_flags_win_over_files_and_later_files_over_earlier(tmp_path: Path) -> None:
    first, second = tmp_path / "first.hcl", tmp_path / "second.json"
    first.write_text('datacenter = "one"\nregion = "one"\nname = "one"\nserver { enabled = true }')
    second.write_text('{"region": "two", "name": "two"}')
    config = config_of("-c", str(first), "-config", str(second), "--node", "three")
    assert (config.datacenter, config.region, config.name) == ("one", "two", "three")


def test_every_option_has_a_key_and_every_key_an_option() -> None:
    options = {parameter.name for parameter in command.params}
    assert options == set(KEYS) | {"files", "dev"}


def test_help_names_every_profile_and_log_level(swimnomad: CommandLine) -> None:
    text = swimnomad("agent", "--help").out
    for word in (*PROFILES, *LOG_LEVELS):
        assert word in text


def test_help_names_the_label(swimnomad: CommandLine) -> None:
    assert "--label TEXT" in swimnomad("agent", "--help").out


@pytest.mark.parametrize(
    ("words", "named"),
    [
        ([], ["server, client or dev"]),
        (["--server", "--profile", "fast"], ["'fast'", *PROFILES]),
        (["--server", "--log-level", "loud"], ["loud", *LOG_LEVELS]),
        (["--server", "--http-port", "70000"], ["--http-port", "70000", "65535"]),
        (["--server", "--serf-port", "x"], ["--serf-port", "'x'", "integer"]),
        (["--server", "--retry-max", "-1"], ["--retry-max", "-1"]),
        (["--server", "--retry-interval", "5"], ["--retry-interval", "'5'", "30s"]),
        (["--server", "--retry-interval", "-5s"], ["--retry-interval", "above 0"]),
        (["--server", "--encrypt", "zz zz"], ["encryption key", "base64"]),
        (["--server", "--encrypt", "YWJj"], ["16, 24 or 32 bytes"]),
        (["--server", "--label", "x" * 256], ["label", "255 bytes"]),
        (["--server", "--bind", "nowhere"], ["bind_addr", "'nowhere'", "IP address"]),
        (["--server", "--data-dir", "here"], ["absolute path", "here"]),
        (["--server", "--join", "a", "--retry-join", "b"], ["retry_join and start_join"]),
        (["--client", "--bootstrap-expect", "3"], ["server mode"]),
        (["--server", "-c", "/does/not/exist"], ["/does/not/exist", "no such file"]),
        (["--server", "--nope"], ["--nope", "--serf-port"]),
        (["--server", "extra"], ["extra"]),
    ],
)
def test_bad_usage_is_one_sentence(
    swimnomad: CommandLine, words: list[str], named: list[str]
) -> None:
    swimnomad("agent", *words).assert_usage_error(*named)


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("server {\n  enabled = true\n  bootstrap_expct = 3\n}\n", ["bootstrap_expct"]),
        ("server {\n", ["agent.hcl"]),
        ('server { enabled = "perhaps" }', ["enabled", "true or false"]),
        ("client {\n  enabled = true\n  servrs = []\n}\n", ["servrs"]),
    ],
)
def test_a_bad_file_is_named_with_what_is_wrong_in_it(
    swimnomad: CommandLine, tmp_path: Path, text: str, named: list[str]
) -> None:
    file = tmp_path / "agent.hcl"
    file.write_text(text)
    swimnomad("agent", "-c", str(file)).assert_usage_error(*named)
