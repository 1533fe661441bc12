"""How client nodes, and requests about them, stand on the wire.

Nomad's large maps inside a node are taken as they come: nil, integers (all of them signed there),
text and so on. They are written back byte for byte, as long as whoever wrote them wrote as Go does.

Source: rpc.md §9, §10; nomad structs/structs.go.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from swimnomad.errors import MalformedMessage
from swimnomad.nomad.requests import (
    ClientAllocs,
    NodeDeregister,
    NodeFound,
    NodeGetClientAllocs,
    NodeGetNode,
    NodeList,
    NodeRegister,
    NodesFound,
    NodeStub,
    NodeUpdate,
    NodeUpdateStatus,
    ServerInfo,
)
from swimnomad.nomad.state.records import DETAIL_DEPTH_MAX, Node, NodeEvent
from swimnomad.rpc.schemas.kinds import (
    CLEAN,
    QUERY_META,
    TIME_NS,
    Codec,
    nil,
    no,
    or_empty,
    query,
    record,
    write,
    zero,
)
from swimnomad.wire.dialect import BOOL, TEXT, U64, Field, Kind, pack
from swimnomad.wire.go_dialect import (
    DURATION,
    INT,
    NIL,
    Record,
    Signed,
    list_of,
    map_of,
    optional,
    pack_any,
)


def _read_detail(value: object, depth: int = 0) -> object:
    if type(value) is bytes:
        try:
            return value.decode()
        except UnicodeDecodeError:
            return value
    if value is None or type(value) in (bool, int, float):
        return value
    if depth >= DETAIL_DEPTH_MAX:
        raise MalformedMessage(f"more than {DETAIL_DEPTH_MAX} levels in a value")
    if type(value) is list:
        return [_read_detail(item, depth + 1) for item in value]
    if type(value) is dict:
        return {CLEAN.read(key): _read_detail(item, depth + 1) for key, item in value.items()}
    raise MalformedMessage("expected a value")


def _signed(value: object) -> object:
    if type(value) is int and -(2**63) <= value < 2**63:
        return Signed(value)
    if isinstance(value, Mapping):
        return {key: _signed(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_signed(item) for item in value]
    return value


DETAIL: Final = Kind(_read_detail, None, lambda value: pack_any(_signed(value)))
"""A part of `Node.details`."""


_EVENT: Final = record(
    NodeEvent,
    Field("Message", "message", CLEAN),
    Field("Subsystem", "subsystem", CLEAN),
    Field("Details", "details", map_of(CLEAN)),
    Field("Timestamp", "time_ns", TIME_NS),
    Field("CreateIndex", "create_index", U64),
)

_OWN: Final = (
    Field("ID", "id", CLEAN),
    Field("SecretID", "secret_id", CLEAN),
    Field("Datacenter", "datacenter", CLEAN),
    Field("Name", "name", CLEAN),
    Field("HTTPAddr", "http_addr", CLEAN),
    Field("TLSEnabled", "tls_enabled", BOOL),
    Field("Attributes", "attributes", map_of(CLEAN)),
    Field("Meta", "meta", map_of(CLEAN)),
    Field("NodeClass", "node_class", CLEAN),
    Field("ComputedClass", "computed_class", CLEAN),
    Field("Drain", "drain", BOOL),
    Field("SchedulingEligibility", "eligibility", CLEAN),
    Field("Status", "status", CLEAN),
    Field("StatusDescription", "status_description", CLEAN),
    Field("StatusUpdatedAt", "status_updated_at", INT),
    Field("Events", "events", list_of(_EVENT.nested)),
    Field("CreateIndex", "create_index", U64),
    Field("ModifyIndex", "modify_index", U64),
)
_DETAILS: Final = (
    "NodeResources",
    "ReservedResources",
    "Resources",
    "Reserved",
    "Links",
    "DrainStrategy",
    "CSIControllerPlugins",
    "CSINodePlugins",
    "Drivers",
    "HostVolumes",
)
"""Nomad's maps that are taken as they come."""


class _NodeView:
    """A node with its details as attributes, as the record wants them."""

    def __init__(self, node: Node) -> None:
        self._node = node

    def __getattr__(self, name: str) -> object:
        if name.startswith("details_"):
            return self._node.details.get(name.removeprefix("details_"))
        return getattr(self._node, name)


def _make_node(**fields: Any) -> Node:  # noqa: ANN401  # as their kinds have it
    details = {
        name: value for name in _DETAILS if (value := fields.pop(f"details_{name}")) is not None
    }
    return Node(**fields, details=details)


_NODE: Final = record(
    _make_node, *_OWN, *(Field(name, f"details_{name}", DETAIL) for name in _DETAILS)
)
NODE: Final = optional(
    Kind(_NODE.from_object, None, lambda node: _NODE.encode(_NodeView(node)))  # type: ignore[arg-type]
)
"""A node; nil is None."""

# --- requests -------------------------------------------------------------------------------------


def _read_fields(value: object) -> bool:
    return type(value) is dict and value.get(b"Resources") is True


_FIELDS: Final = Kind(_read_fields, None, lambda value: pack({"Resources": True}) if value else NIL)
"""NodeStubFields: which large parts a listing shows."""

NODE_REGISTER: Final = write(NodeRegister, Field("Node", "node", NODE), nil("NodeEvent"))
NODE_UPDATE_STATUS: Final = write(
    NodeUpdateStatus,
    Field("NodeID", "node_id", TEXT),
    Field("Status", "status", TEXT),
    nil("NodeEvent"),
    Field("UpdatedAt", "updated_at", INT),
)
NODE_DEREGISTER: Final = write(NodeDeregister, Field("NodeID", "node_id", TEXT))
NODE_GET_NODE: Final = query(
    NodeGetNode, Field("NodeID", "node_id", TEXT), Field("SecretID", "secret_id", TEXT)
)
NODE_LIST: Final = query(NodeList, Field("Fields", "resources", _FIELDS))
NODE_GET_CLIENT_ALLOCS: Final = query(
    NodeGetClientAllocs, Field("NodeID", "node_id", TEXT), Field("SecretID", "secret_id", TEXT)
)

# --- replies --------------------------------------------------------------------------------------

_SERVER: Final = Record(
    ServerInfo,
    "RPCAdvertiseAddr Datacenter RPCMajorVersion RPCMinorVersion",
    Field("RPCAdvertiseAddr", "rpc_address", TEXT),
    Field("Datacenter", "datacenter", TEXT),
    Field("RPCMajorVersion", "major_version", INT),
    Field("RPCMinorVersion", "minor_version", INT),
)
NODE_UPDATE: Final[Codec[NodeUpdate]] = record(
    NodeUpdate,
    Field("HeartbeatTTL", "heartbeat_ttl", DURATION),
    nil("EvalIDs"),
    zero("EvalCreateIndex"),
    Field("NodeModifyIndex", "node_modify_index", U64),
    Field("LeaderRPCAddr", "leader", TEXT),
    Field("NumNodes", "node_count", INT),
    Field("Servers", "servers", list_of(_SERVER.nested)),
    zero("Features"),
    Field("Index", "index", U64),
    zero("LastContact"),
    no("KnownLeader"),
)
NODE_FOUND: Final[Codec[NodeFound]] = record(NodeFound, Field("Node", "node", NODE), *QUERY_META)
_STUB: Final = record(
    NodeStub,
    Field("Address", "address", TEXT),
    Field("ID", "id", TEXT),
    Field("Datacenter", "datacenter", TEXT),
    Field("Name", "name", TEXT),
    Field("NodeClass", "node_class", TEXT),
    Field("Version", "version", TEXT),
    Field("Drain", "drain", BOOL),
    Field("SchedulingEligibility", "eligibility", TEXT),
    Field("Status", "status", TEXT),
    Field("StatusDescription", "status_description", TEXT),
    Field("Drivers", "drivers", DETAIL),
    Field("HostVolumes", "host_volumes", DETAIL),
    Field("NodeResources", "node_resources", DETAIL),
    Field("ReservedResources", "reserved_resources", DETAIL),
    Field("CreateIndex", "create_index", U64),
    Field("ModifyIndex", "modify_index", U64),
)
NODES_FOUND: Final[Codec[NodesFound]] = record(
    NodesFound, Field("Nodes", "nodes", list_of(_STUB.nested)), *QUERY_META
)
CLIENT_ALLOCS: Final[Codec[ClientAllocs]] = record(
    ClientAllocs,
    Field("Allocs", "allocs", or_empty(map_of(U64), {})),
    Field("MigrateTokens", "migrate_tokens", or_empty(map_of(TEXT), {})),
    *QUERY_META,
)
