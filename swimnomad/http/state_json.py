"""The replicated state as Nomad's JSON: nodes, policies, tokens, servers; and back from bodies.

Source: agent-http.md §1.3, §5; nomad api package.
"""

from __future__ import annotations

import base64
import datetime
from collections.abc import Mapping
from typing import Any

import msgspec

from swimnomad.errors import UsageError
from swimnomad.nomad.durations import duration_text, parse_duration
from swimnomad.nomad.failures import RequestFailed
from swimnomad.nomad.requests import NodeStub, RaftConfiguration, RegionHealth
from swimnomad.nomad.state.records import AutopilotConfig, Node, NodeEvent, Policy, Token

Json = dict[str, Any]

NANOSECONDS = 1_000_000_000
YEAR_1_TO_1970 = 62_135_596_800
"""Seconds from the beginning of year 1, from which Go counts."""
_DETAILS = (
    "CSIControllerPlugins",
    "CSINodePlugins",
    "DrainStrategy",
    "Drivers",
    "HostVolumes",
    "Links",
    "NodeResources",
    "Reserved",
    "ReservedResources",
    "Resources",
)


def time_text(time_ns: int) -> str:
    """A time as Go prints it; 0 is no time at all."""
    if not time_ns:
        return "0001-01-01T00:00:00Z"
    seconds, nanosecond = divmod(time_ns, NANOSECONDS)
    return _date(seconds) + (f".{nanosecond:09d}".rstrip("0") if nanosecond else "") + "Z"


def _date(seconds: int) -> str:
    epoch = datetime.datetime(1970, 1, 1, tzinfo=datetime.UTC)
    try:
        return (epoch + datetime.timedelta(seconds=seconds)).strftime("%Y-%m-%dT%H:%M:%S")
    except OverflowError:
        return "9999-12-31T23:59:59"


def plain_detail(value: object) -> object:
    """A part of a node's details as JSON: times as text, other bytes as base64."""
    if isinstance(value, Mapping):
        return {key: plain_detail(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [plain_detail(item) for item in value]
    if isinstance(value, str) and len(value) == 15 and value.startswith("\x01\0"):
        value = value.encode()  # a time whose bytes happen to be UTF-8
    if not isinstance(value, bytes):
        return value
    if len(value) == 15 and value[:2] == b"\x01\0":
        seconds = int.from_bytes(value[1:9], "big") - YEAR_1_TO_1970
        return time_text(seconds * NANOSECONDS + int.from_bytes(value[9:13], "big"))
    return base64.b64encode(value).decode()


def node_json(node: Node) -> Json:
    """A node with everything that is known of it."""
    shown: Json = {
        "Attributes": node.attributes,
        "ComputedClass": node.computed_class,
        "CreateIndex": node.create_index,
        "Datacenter": node.datacenter,
        "Drain": node.drain,
        "Events": None if node.events is None else list(map(_event_json, node.events)),
        "HTTPAddr": node.http_addr,
        "ID": node.id,
        "Meta": node.meta,
        "ModifyIndex": node.modify_index,
        "Name": node.name,
        "NodeClass": node.node_class,
        "SchedulingEligibility": node.eligibility,
        "SecretID": node.secret_id,
        "Status": node.status,
        "StatusDescription": node.status_description,
        "StatusUpdatedAt": node.status_updated_at,
        "TLSEnabled": node.tls_enabled,
    }
    return shown | {name: plain_detail(node.details.get(name)) for name in _DETAILS}


def _event_json(event: NodeEvent) -> Json:
    return {
        "CreateIndex": event.create_index,
        "Details": event.details,
        "Message": event.message,
        "Subsystem": event.subsystem,
        "Timestamp": time_text(event.time_ns),
    }


def stub_json(stub: NodeStub) -> Json:
    """A node as lists show it."""
    shown: Json = {
        "Address": stub.address,
        "CreateIndex": stub.create_index,
        "Datacenter": stub.datacenter,
        "Drain": stub.drain,
        "Drivers": plain_detail(stub.drivers),
        "HostVolumes": plain_detail(stub.host_volumes),
        "ID": stub.id,
        "ModifyIndex": stub.modify_index,
        "Name": stub.name,
        "NodeClass": stub.node_class,
        "SchedulingEligibility": stub.eligibility,
        "Status": stub.status,
        "StatusDescription": stub.status_description,
        "Version": stub.version,
    }
    for name, value in (
        ("NodeResources", stub.node_resources),
        ("ReservedResources", stub.reserved_resources),
    ):
        if value is not None:
            shown[name] = plain_detail(value)
    return shown


def policy_json(policy: Policy) -> Json:
    """A policy as lists show it."""
    return {
        "CreateIndex": policy.create_index,
        "Description": policy.description,
        "Hash": base64.b64encode(policy.hash).decode(),
        "ModifyIndex": policy.modify_index,
        "Name": policy.name,
    }


def whole_policy_json(policy: Policy) -> Json:
    """A policy with its rules. What they mean (`RulesJSON`) nobody asks here yet."""
    return policy_json(policy) | {"Rules": policy.rules, "RulesJSON": None}


def token_json(token: Token) -> Json:
    """A token as lists show it."""
    return {
        "AccessorID": token.accessor_id,
        "CreateIndex": token.create_index,
        "CreateTime": time_text(token.create_time_ns),
        "Global": token.is_global,
        "Hash": base64.b64encode(token.hash).decode(),
        "ModifyIndex": token.modify_index,
        "Name": token.name,
        "Policies": token.policies,
        "Type": token.type,
    }


def whole_token_json(token: Token) -> Json:
    """A token with its secret."""
    return token_json(token) | {"SecretID": token.secret_id}


def raft_json(configuration: RaftConfiguration) -> Json:
    """Raft's configuration."""
    if configuration.servers is None:
        return {"Index": configuration.index, "Servers": None}
    servers = [
        {
            "Address": server.address,
            "ID": server.id,
            "Leader": server.leads,
            "Node": server.node,
            "RaftProtocol": server.raft_protocol,
            "Voter": server.is_voter,
        }
        for server in configuration.servers
    ]
    return {"Index": configuration.index, "Servers": servers}


def autopilot_json(config: AutopilotConfig) -> Json:
    """What autopilot was told, in Nomad's order."""
    return {
        "LastContactThreshold": duration_text(config.last_contact_threshold),
        "ServerStabilizationTime": duration_text(config.server_stabilization_time),
        "CleanupDeadServers": config.cleanup_dead_servers,
        "MaxTrailingLogs": config.max_trailing_logs,
        "MinQuorum": config.min_quorum,
        "EnableRedundancyZones": config.enable_redundancy_zones,
        "DisableUpgradeMigration": config.disable_upgrade_migration,
        "EnableCustomUpgrades": config.enable_custom_upgrades,
        "CreateIndex": config.create_index,
        "ModifyIndex": config.modify_index,
    }


def health_json(health: RegionHealth) -> Json:
    """How the servers are, in Nomad's order."""
    servers = [
        {
            "LastContact": duration_text(server.last_contact),
            "ID": server.id,
            "Name": server.name,
            "Address": server.address,
            "SerfStatus": server.serf_status,
            "Version": server.version,
            "Leader": server.leads,
            "LastTerm": server.last_term,
            "LastIndex": server.last_index,
            "Healthy": server.is_healthy,
            "Voter": server.is_voter,
            "StableSince": time_text(int(server.stable_since) * NANOSECONDS),
        }
        for server in health.servers or ()
    ]
    return {
        "FailureTolerance": health.failure_tolerance,
        "Healthy": health.is_healthy,
        "Servers": servers,
    }


# --- bodies ---------------------------------------------------------------------------------------


class _PolicyBody(msgspec.Struct, frozen=True, rename="pascal"):
    name: str = ""
    description: str = ""
    rules: str = ""


class _TokenBody(msgspec.Struct, frozen=True):
    accessor_id: str = msgspec.field(name="AccessorID", default="")
    name: str = msgspec.field(name="Name", default="")
    type: str = msgspec.field(name="Type", default="")
    policies: tuple[str, ...] | None = msgspec.field(name="Policies", default=None)
    is_global: bool = msgspec.field(name="Global", default=False)


class _AutopilotBody(msgspec.Struct, frozen=True, rename="pascal"):
    cleanup_dead_servers: bool = False
    last_contact_threshold: str = "0s"
    max_trailing_logs: int = 0
    min_quorum: int = 0
    server_stabilization_time: str = "0s"
    enable_redundancy_zones: bool = False
    disable_upgrade_migration: bool = False
    enable_custom_upgrades: bool = False


_policy_body = msgspec.json.Decoder(_PolicyBody).decode
_token_body = msgspec.json.Decoder(_TokenBody).decode
_autopilot_body = msgspec.json.Decoder(_AutopilotBody).decode


def read_policy(body: bytes) -> Policy:
    """A policy from the body of a request.

    Raises:
        RequestFailed: It holds none.
    """
    found = _decoded(body, _policy_body, 500)
    return Policy(name=found.name, description=found.description, rules=found.rules)


def read_token(body: bytes) -> Token:
    """A token from the body of a request; nobody may give a secret.

    Raises:
        RequestFailed: It holds none.
    """
    found = _decoded(body, _token_body, 500)
    return Token(
        accessor_id=found.accessor_id,
        name=found.name,
        type=found.type,
        policies=found.policies,
        is_global=found.is_global,
    )


def read_autopilot(body: bytes) -> AutopilotConfig:
    """What autopilot is told, from the body of a request.

    Raises:
        RequestFailed: With status 400, if it holds no such thing.
    """
    found = _decoded(body, _autopilot_body, 400)
    durations = []
    for text in (found.last_contact_threshold, found.server_stabilization_time):
        try:
            seconds = parse_duration(text)
        except UsageError as error:
            raise RequestFailed(f"Error parsing autopilot config: {error}", status=400) from None
        durations.append(max(0.0, seconds))
    if min(found.max_trailing_logs, found.min_quorum) < 0:
        raise RequestFailed("Error parsing autopilot config: a count is negative", status=400)
    return AutopilotConfig(
        cleanup_dead_servers=found.cleanup_dead_servers,
        last_contact_threshold=durations[0],
        max_trailing_logs=found.max_trailing_logs,
        min_quorum=found.min_quorum,
        server_stabilization_time=durations[1],
        enable_redundancy_zones=found.enable_redundancy_zones,
        disable_upgrade_migration=found.disable_upgrade_migration,
        enable_custom_upgrades=found.enable_custom_upgrades,
    )


def _decoded(body: bytes, decode: Any, status: int) -> Any:  # noqa: ANN401  # as its decoder says
    if not body:
        raise RequestFailed("Request body is empty", status=status)
    try:
        return decode(body)
    except (msgspec.MsgspecError, ValueError, RecursionError) as error:
        text = str(error)
        # Go's words for the commonest mistake.
        is_cut = text == "Input data was truncated"
        raise RequestFailed("unexpected EOF" if is_cut else text, status=status) from None
