"""The node that a client registers."""

from __future__ import annotations

import msgspec

from swimnomad.names import Address
from swimnomad.nomad.config import AgentConfig
from swimnomad.nomad.duties.heartbeats import HeartbeatSettings
from swimnomad.nomad.duties.settings import autopilot_config, heartbeat_settings
from swimnomad.nomad.node_map import NodeFacts, NodeIdentity, make_node
from swimnomad.nomad.requests import NodeRegister
from swimnomad.nomad.state.limits import node_flaw
from swimnomad.nomad.state.records import AutopilotConfig, is_plain
from swimnomad.rpc import schemas
from tests.nomad.state.state_support import uuid

IDENTITY = NodeIdentity(
    id=uuid(1),
    secret_id=uuid(2),
    name="c1",
    datacenter="dc1",
    http=Address("127.0.61.11", 4646),
    meta={"rack": "r1", "connect.log_level": "debug"},
)
FACTS = NodeFacts(
    kernel="linux",
    arch="amd64",
    hostname="host-1",
    cpu_count=4,
    cpu_mhz=2000,
    memory_bytes=8 << 30,
    disk_bytes=100 << 30,
    disk_free_bytes=50 << 30,
)


def test_it_says_what_the_host_says_and_nothing_else() -> None:
    node = make_node(IDENTITY, FACTS)
    assert not node_flaw(node)
    assert node.attributes == {
        "nomad.version": "1.0.4",
        "nomad.advertise.address": "127.0.61.11:4646",
        "kernel.name": "linux",
        "cpu.arch": "amd64",
        "cpu.numcores": "4",
        "cpu.frequency": "2000",
        "cpu.totalcompute": "8000",
        "memory.totalbytes": "8589934592",
        "unique.hostname": "host-1",
        "unique.network.ip-address": "127.0.0.1",
        "unique.storage.bytestotal": "107374182400",
        "unique.storage.bytesfree": "53687091200",
    }
    assert node.meta is not None
    assert (node.meta["rack"], node.meta["connect.log_level"]) == ("r1", "debug")
    assert (node.http_addr, node.status) == ("127.0.61.11:4646", "initializing")
    assert is_plain(dict(node.details))


def test_it_travels_as_it_is() -> None:
    facts = msgspec.structs.replace(FACTS, ip="::1")
    request = NodeRegister(region="global", node=make_node(IDENTITY, facts))
    codec = schemas.NODE_REGISTER
    assert codec.decode_untrusted(codec.encode(request)) == request


def test_settings_come_from_the_configuration() -> None:
    plain = AgentConfig()
    assert heartbeat_settings(plain) == HeartbeatSettings()
    assert autopilot_config(plain) == AutopilotConfig()
    told = AgentConfig(
        foreign={
            "server.heartbeat_grace": 30.0,
            "server.min_heartbeat_ttl": 0.0,
            "server.max_heartbeats_per_second": 5,
            "autopilot.cleanup_dead_servers": False,
            "autopilot.min_quorum": 3,
            "autopilot.last_contact_threshold": 0.5,
        }
    )
    assert heartbeat_settings(told) == HeartbeatSettings(grace=30.0, per_second_max=5.0)
    assert autopilot_config(told) == AutopilotConfig(
        cleanup_dead_servers=False, min_quorum=3, last_contact_threshold=0.5
    )
