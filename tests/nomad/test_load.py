"""Files and flags become one checked configuration, or one sentence that says what is wrong."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path

import msgspec
import pytest

from swimnomad.errors import ConfigError
from swimnomad.nomad.config import AgentConfig, ServerJoin, dev_config
from swimnomad.nomad.load import load_config
from swimnomad.nomad.schema import walk
from swimnomad.nomad.self_config import describe_config

Write = Callable[..., str]
Flags = Mapping[str, object]


@pytest.fixture
def write(tmp_path: Path) -> Write:
    def write(text: str, name: str = "agent.hcl") -> str:
        path = tmp_path / name
        path.write_text(text)
        return str(path)

    return write


def load(*paths: str, dev: bool = True, flags: Flags | None = None) -> AgentConfig:
    return load_config(paths, flags, dev=dev).config


def problem(*paths: str, dev: bool = True, flags: Flags | None = None) -> str:
    with pytest.raises(ConfigError) as caught:
        load(*paths, dev=dev, flags=flags)
    return str(caught.value)


def test_dev_mode_without_files_is_the_dev_configuration() -> None:
    assert load() == dev_config()


def test_every_key_of_ours_has_its_place_in_the_configuration() -> None:
    for path, key in walk():
        value: object = load(
            flags={"server.server_join.retry_max": 1, "client.server_join.retry_max": 1}
        )
        for part in path.split(".") if key.ours else ():
            assert hasattr(value, part), path
            value = getattr(value, part)


def test_hcl_and_json_say_the_same(write: Write) -> None:
    hcl = write(
        """
        name = "s1"
        ports { http = 5646 }
        server { enabled = true server_join { retry_join = ["a"] retry_interval = "1.5s" } }
        http_api_response_headers { "X-Foo" = "bar" }
        """
    )
    text = {
        "name": "s1",
        "ports": {"http": 5646},
        "server": [
            {"enabled": True, "server_join": {"retry_join": ["a"], "retry_interval": "1.5s"}}
        ],
        "http_api_response_headers": [{"X-Foo": "bar"}],
    }
    config = load(hcl, dev=False)
    same = load(write(json.dumps(text), "agent.json"), dev=False)
    assert config.server.joining == ServerJoin(retry_join=("a",), retry_interval=1.5)
    assert config.http_api_response_headers == {"X-Foo": "bar"}
    assert config.ports.http == 5646
    assert describe_config(config) | {"Files": 0} == describe_config(same) | {"Files": 0}


def test_a_directory_is_read_in_alphabetical_order_without_what_editors_leave(
    tmp_path: Path, write: Write
) -> None:
    """agent Q13"""
    write('name = "b" region = "eu"', "b.hcl")
    write('{"name": "a"}', "a.json")
    for name in ("z.hcl~", ".#z.hcl", "#z.hcl#", "z.txt", "z.hcl.swp"):
        write("nonsense", name)
    config = load(str(tmp_path))
    assert (config.name, config.region) == ("b", "eu")
    assert config.files == (str(tmp_path / "a.json"), str(tmp_path / "b.hcl"))


def test_later_sources_win_by_the_rules_of_each_kind(write: Write) -> None:
    first = write(
        """
        name = "a" log_json = true
        server { retry_join = ["x"] bootstrap_expect = 3 }
        client { options { a = "1" b = "1" } }
        consul { auto_advertise = true }
        """,
        "1.hcl",
    )
    second = write(
        """
        name = "" log_json = false datacenter = "dc2"
        server { retry_join = ["y"] bootstrap_expect = 0 }
        client { options { b = "2" } }
        consul { auto_advertise = false }
        """,
        "2.hcl",
    )
    config = load(first, second)
    assert (config.name, config.datacenter) == ("a", "dc2")
    assert config.log_json
    assert config.server.retry_join == ("x", "y")
    assert config.server.bootstrap_expect == 3
    assert config.foreign["client.options"] == {"a": "1", "b": "2"}
    assert config.foreign["consul.auto_advertise"] is False


def test_flags_come_last(write: Write) -> None:
    path = write('name = "file" ports { http = 1 }')
    config = load(path, flags={"name": "flag", "ports.http": 2, "gossip.profile": "local"})
    assert (config.name, config.ports.http, config.gossip.profile) == ("flag", 2, "local")


def test_repeated_blocks_of_one_file_are_one_block(write: Write) -> None:
    config = load(write('server { encrypt = "" }\nserver { bootstrap_expect = 5 }'))
    assert config.server.bootstrap_expect == 5


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("foo = 1", "1: unexpected keys foo; allowed are region, datacenter, name, "),
        ("\nfoo = 1\nbar = 2", "2: unexpected keys foo, bar; "),
        ("server { foo = 1 }", "1: server unexpected keys foo; allowed are enabled, "),
        ("server { server_join { foo = 1 } }", "1: server.server_join unexpected keys foo; "),
        (
            'server { heartbeat_grace = "zz" }',
            "1: server.heartbeat_grace can't parse time duration zz; allowed is a duration",
        ),
        (
            "server { heartbeat_grace = 10 }",
            "1: server.heartbeat_grace can't parse time duration 10",
        ),
        ('ports { http = "x" }', '1: ports.http is "x"; allowed is a whole number'),
        ("ports { http = 70000 }", "1: ports.http is 70000; allowed are 0 to 65535"),
        ("ports { http = 1.5 }", "1: ports.http is 1.5; allowed is a whole number"),
        ("log_json = 3", "1: log_json is 3; allowed is true or false"),
        ("name = true", "1: name is true; allowed is a string"),
        ("name { }", "1: name is a block; allowed is a string"),
        ("server = 1", "1: server is 1; allowed is a block"),
        ("server { retry_join = 1 }", "1: server.retry_join is 1; allowed is a list of strings"),
        ("http_api_response_headers = 1", "1: http_api_response_headers is 1; allowed is a block"),
        (
            '\ngossip { profile = "fast" }',
            "2: gossip.profile is 'fast'; allowed are lan, wan, local, nomad, paper",
        ),
        ("\n\ngossip { scale = 0 }", "3: gossip.scale is 0.0; it must be above 0"),
        ('\nbind_addr = "x"', "2: bind_addr is 'x'; allowed are an IP address"),
        (
            'http_api_response_headers { "X" = "a\\nb" }',
            "1: http_api_response_headers has 'a\\nb' for X; allowed are printable",
        ),
        (
            'http_api_response_headers { "Content-Length" = "1" }',
            "1: http_api_response_headers has 'Content-Length', which is no name",
        ),
        ("\ntls { http = true }", "2: tls.http needs tls.cert_file, which is not set"),
        ("tls { rpc = true }", "1: tls.rpc needs tls.ca_file, which is not set"),
        (
            'tls { tls_min_version = "tls13" }',
            '1: tls.tls_min_version is an unsupported TLS version "tls13"; allowed are tls10, ',
        ),
        (
            'tls { tls_cipher_suites = "TLS_RSA_WITH_AES_128_CBC_SHA,RC4" }',
            '1: tls.tls_cipher_suites has an unsupported TLS cipher "RC4"; allowed are TLS_ECDHE',
        ),
        ('log_file = "x"', "1: log_file cannot be set: this version logs to standard error"),
        ("server {\n", " At 2:1: object expected closing RBRACE got: EOF"),
    ],
)
def test_what_a_file_says_wrong_is_named_with_its_place(
    write: Write, text: str, expected: str
) -> None:
    """agent Q12"""
    path = write(text)
    assert problem(path).startswith(f"{path}:{expected}")


@pytest.mark.parametrize(
    "text", ["acl { enabled = false }", "tls { http = false }", 'log_file = ""']
)
def test_what_cannot_be_set_may_be_off(write: Write, text: str) -> None:
    load(write(text))


FILES = 'cert_file = "/t.pem" key_file = "/t.key"'


@pytest.mark.parametrize(
    ("text", "missing"),
    [
        (f"tls {{ http = true {FILES} }}", ""),
        (f"tls {{ http = true verify_https_client = true {FILES} }}", "ca_file"),
        (f"tls {{ rpc = true {FILES} }}", "ca_file"),
        (f'tls {{ rpc = true ca_file = "/ca.pem" {FILES} }}', ""),
        ('tls { rpc = true ca_file = "/ca.pem" cert_file = "/t.pem" }', "key_file"),
        ("tls { verify_https_client = true verify_server_hostname = true }", ""),
    ],
)
def test_tls_needs_the_files_that_its_use_needs(write: Write, text: str, missing: str) -> None:
    path = write(text)
    if missing:
        assert problem(path).endswith(f" needs tls.{missing}, which is not set")
    else:
        load(path)


def test_tls_is_shown_as_nomad_shows_it(write: Write) -> None:
    """As the agent tc1 of the recordings does, whose checksum comes from reading the files."""
    config = load(
        write(
            """
            tls {
              http = true
              rpc = true
              ca_file = "/conf/ca.pem"
              cert_file = "/conf/t-client.pem"
              key_file = "/conf/t-client.key"
              verify_server_hostname = true
              verify_https_client = false
            }
            """
        )
    )
    checksum = "acb90453704753dde38867ee7f0fa741"
    read = msgspec.structs.replace(config.tls, checksum=checksum)
    assert describe_config(msgspec.structs.replace(config, tls=read))["TLSConfig"] == {
        "CAFile": "/conf/ca.pem",
        "CertFile": "/conf/t-client.pem",
        "Checksum": checksum,
        "EnableHTTP": True,
        "EnableRPC": True,
        "KeyFile": "/conf/t-client.key",
        "KeyLoader": {},
        "RPCUpgradeMode": False,
        "TLSCipherSuites": "",
        "TLSMinVersion": "",
        "TLSPreferServerCipherSuites": False,
        "VerifyHTTPSClient": False,
        "VerifyServerHostname": True,
    }


def test_a_flag_is_not_blamed_on_the_file_it_overrides(write: Write) -> None:
    path = write("gossip { scale = 2 }")
    text = problem(path, flags={"gossip.scale": -1.0})
    assert text == "gossip.scale is -1.0; it must be above 0"


def test_files_that_cannot_be_read_are_named(tmp_path: Path) -> None:
    assert problem(str(tmp_path / "x")) == f"{tmp_path}/x: no such file or directory"
    (tmp_path / "latin.hcl").write_bytes(b'name = "\xe9"')
    assert problem(str(tmp_path / "latin.hcl")) == f"{tmp_path}/latin.hcl: not UTF-8 at byte 8"


def test_empty_files_and_directories_are_worth_a_warning(tmp_path: Path, write: Write) -> None:
    path = write("# nothing\n")
    assert load_config([path], dev=True).warnings == (f"No configuration loaded from {path}",)
    (tmp_path / "empty").mkdir()
    warnings = load_config([str(tmp_path / "empty")], dev=True).warnings
    assert warnings == (f"No configuration loaded from {tmp_path}/empty",)


def test_an_agent_needs_a_role() -> None:
    """agent Q05"""
    text = "Must specify either server, client or dev mode for the agent."
    assert problem(dev=False) == text


def test_bootstrapping_needs_the_server_role() -> None:
    """agent Q06"""
    text = problem(dev=False, flags={"client.enabled": True, "server.bootstrap_expect": 1})
    assert text == "Bootstrap requires server mode to be enabled"


def test_a_single_server_is_warned_of() -> None:
    """agent Q09"""
    flags = {"server.enabled": True, "server.bootstrap_expect": 1, "data_dir": "/x"}
    assert load_config(flags=flags).warnings == (
        "WARNING: Bootstrap mode enabled! Potentially unsafe operation.",
    )


def test_a_server_without_data_directory_is_told_what_it_loses() -> None:
    (warning,) = load_config(flags={"server.enabled": True}).warnings
    assert warning.startswith("no data_dir: ")


@pytest.mark.parametrize(
    ("flags", "expected"),
    [
        ({"log_level": "BOGUS"}, "Invalid log level: BOGUS. Valid log levels are: [TRACE "),
        ({"region": "a\0"}, "Region contains invalid characters"),
        ({"data_dir": "x/y"}, "data-dir must be given as an absolute path: got x/y"),
        ({"plugin_dir": "x"}, "plugin-dir must be given as an absolute path: got x"),
        ({"client.state_dir": "x"}, "state-dir must be given as an absolute path: got x"),
        ({"server.raft_multiplier": 11}, "raft_multiplier cannot be 11. Must be between 1 and 10"),
        ({"server.raft_multiplier": -1}, "raft_multiplier cannot be -1. Must be between 1 and 10"),
        (
            {"server.protocol_version": 2},
            "Protocol version '2' too high. Must be in range: [1, 1]",
        ),
        ({"server.raft_protocol": 9}, "Failed to start Raft: Protocol version 9 must be >= 1"),
        ({"server.event_buffer_size": -1}, "Invalid Config, event_buffer_size must be non-neg"),
        ({"limits.http_max_conns_per_client": -1}, "http_max_conns_per_client must be >= 0"),
        ({"limits.https_handshake_timeout": -1.0}, "https_handshake_timeout must be >= 0"),
        ({"limits.rpc_max_conns_per_client": 25}, "rpc_max_conns_per_client must be > 25; found"),
        ({"bind_addr": "example.org"}, "bind_addr is 'example.org'; allowed are an IP address"),
        ({"addresses.serf": "{{ GetMagic }}"}, "addresses.serf is '{{ GetMagic }}': this host has"),
        ({"advertise.rpc": "x"}, "advertise.rpc is 'x'; allowed are"),
    ],
)
def test_values_an_agent_cannot_start_with_are_refused(
    flags: dict[str, object], expected: str
) -> None:
    """agent Q11, agent Q20, agent A37"""
    assert problem(flags=flags).startswith(expected)


@pytest.mark.parametrize(
    ("key", "text"),
    [
        ("!!!!", "Invalid encryption key: illegal base64 data at input byte 0"),
        ("YWJj!", "Invalid encryption key: illegal base64 data at input byte 4"),
        ("YWJjZ", "Invalid encryption key: illegal base64 data at input byte 4"),
        ("YWJj", "failed to configure keyring: Invalid key: key size must be 16, 24 or 32 bytes"),
    ],
)
def test_a_wrong_gossip_key_is_refused(key: str, text: str) -> None:
    """agent Q22"""
    assert problem(flags={"server.encrypt": key}) == text


@pytest.mark.parametrize("name", ["start_join", "retry_join", "retry_max", "retry_interval"])
def test_the_two_styles_of_joining_do_not_mix(name: str) -> None:
    """agent Q15"""
    old = ("a",) if name.endswith("join") else 1
    text = problem(flags={f"server.{name}": old, "server.server_join.retry_join": ("b",)})
    assert text == (
        f"server_join and {name} cannot both be defined; prefer setting the server_join stanza"
    )


def test_joining_at_start_and_later_are_one_or_the_other() -> None:
    """agent Q15"""
    both = {"server.server_join.start_join": ("a",), "server.server_join.retry_join": ("b",)}
    assert problem(flags=both) == "retry_join and start_join cannot both be defined"
    text = problem(flags={"client.server_join.start_join": ("a",)})
    assert text == "start_join is not supported for Nomad clients"


def test_the_old_style_of_joining_is_warned_of() -> None:
    (warning,) = load_config(flags={"server.retry_join": ("a",)}, dev=True).warnings
    assert warning.startswith("using deprecated retry_join fields.")


def test_templates_name_addresses_of_this_host() -> None:
    assert load(flags={"bind_addr": '{{ GetInterfaceIP "lo" }}'}).bind("http").host == "127.0.0.1"
    config = load(flags={"advertise.serf": '{{ GetInterfaceIP "lo" }}:99'})
    assert str(config.advertised("serf")) == "127.0.0.1:99"


def test_acls_that_are_kept_but_not_enforced_are_announced() -> None:
    flags = {"server.enabled": True, "acl.enabled": True}
    (warning,) = load_config(flags=flags, dev=True).warnings
    assert "nothing is enforced" in warning
