"""The values an agent is configured with and what follows from them."""

from __future__ import annotations

import msgspec
import pytest

from swimnomad.errors import ConfigError, UsageError
from swimnomad.names import Address
from swimnomad.nomad.config import (
    AgentConfig,
    GossipConfig,
    Hosts,
    Ports,
    ServerConfig,
    ServerJoin,
    dev_config,
)

SERVER = AgentConfig(name="s1", server=ServerConfig(enabled=True, bootstrap_expect=3))


def test_nothing_but_loopback_is_bound_unless_told() -> None:
    assert AgentConfig().bind("http") == Address("127.0.0.1", 4646)
    assert AgentConfig().bind("rpc") == Address("127.0.0.1", 4647)
    assert AgentConfig().bind("serf") == Address("127.0.0.1", 4648)


def test_addresses_of_a_service_win_over_the_common_bind_address() -> None:
    config = AgentConfig(bind_addr="10.0.0.1", addresses=Hosts(serf="10.0.0.2"))
    assert config.bind("serf").host == "10.0.0.2"
    assert config.bind("rpc").host == "10.0.0.1"


def test_member_name_is_node_and_region() -> None:
    """agent C03"""
    assert AgentConfig(name="s1", region="eu").member_name == "s1.eu"
    assert AgentConfig().node_name != ""


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1.2.3.4", Address("1.2.3.4", 4647)),
        ("1.2.3.4:99", Address("1.2.3.4", 99)),
        ("[::1]", Address("::1", 4647)),
        ("::1", Address("::1", 4647)),
        ("[::1]:99", Address("::1", 99)),
    ],
)
def test_advertise_takes_addresses_with_and_without_port(text: str, expected: Address) -> None:
    """agent Q19"""
    assert AgentConfig(advertise=Hosts(rpc=text)).advertised("rpc") == expected


@pytest.mark.parametrize("text", ["example.org", "1.2.3.4:x", "1.2.3.4:70000", "[::1]x:1", ":80"])
def test_advertise_refuses_what_is_no_address(text: str) -> None:
    with pytest.raises(ConfigError, match=r"^advertise\.rpc is "):
        AgentConfig(advertise=Hosts(rpc=text)).advertised("rpc")


def test_gossip_settings_are_what_a_nomad_server_runs() -> None:
    serf = SERVER.serf_config("4ac39b0e-0000-0000-0000-000000000000")
    assert serf.swim.name == "s1.global"
    assert (serf.swim.probe_interval, serf.swim.suspicion_mult) == (5.0, 6)
    assert serf.reconnect_timeout == 259_200
    assert serf.protocol_version == 4
    assert serf.tags == {
        "role": "nomad",
        "region": "global",
        "dc": "dc1",
        "vsn": "1",
        "mvn": "1",
        "build": "1.0.4",
        "raft_vsn": "2",
        "id": "4ac39b0e-0000-0000-0000-000000000000",
        "rpc_addr": "127.0.0.1",
        "port": "4647",
        "expect": "3",
    }


def test_a_single_server_carries_both_bootstrap_tags() -> None:
    """agent C05"""
    tags = dev_config().serf_config().tags
    assert (tags["bootstrap"], tags["expect"]) == ("1", "1")


def test_profile_scale_and_label_reach_the_gossip_layer() -> None:
    gossip = GossipConfig(profile="local", scale=0.5, label="blue", compat="upstream")
    swim = msgspec.structs.replace(SERVER, gossip=gossip).serf_config().swim
    assert (swim.probe_interval, swim.label, swim.compat) == (0.5, "blue", "upstream")


def test_both_styles_of_joining_give_one_answer() -> None:
    old = ServerConfig(retry_join=("a",), retry_max=3)
    new = ServerConfig(server_join=ServerJoin(retry_join=("a",), retry_max=3))
    assert old.joining == new.joining == ServerJoin(retry_join=("a",), retry_max=3)


def test_dev_mode_runs_both_roles_in_memory() -> None:
    config = dev_config()
    assert config.server.enabled
    assert config.client.enabled
    assert (config.data_dir, config.bind_addr, config.log_level) == ("", "127.0.0.1", "DEBUG")


@pytest.mark.parametrize(
    ("config", "text"),
    [
        (AgentConfig(ports=Ports(http=65_536)), "ports.http is 65536; allowed are 0 to 65535"),
        (
            AgentConfig(log_level="BOGUS"),
            "Invalid log level: BOGUS. Valid log levels are: [TRACE DEBUG INFO WARN ERROR]",
        ),
        (AgentConfig(region="a\0b"), "Region contains invalid characters"),
        (AgentConfig(datacenter="a\0b"), "Datacenter contains invalid characters"),
        (
            AgentConfig(gossip=GossipConfig(profile="fast")),
            "gossip.profile is 'fast'; allowed are lan, wan, local, nomad, paper",
        ),
        (AgentConfig(gossip=GossipConfig(scale=0.0)), "gossip.scale is 0.0; it must be above 0"),
    ],
)
def test_values_out_of_range_are_named(config: AgentConfig, text: str) -> None:
    """agent Q11"""
    with pytest.raises(UsageError) as caught:
        config.validate()
    assert str(caught.value) == text
