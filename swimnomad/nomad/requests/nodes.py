"""What clients tell the servers of their nodes, and what is asked about nodes.

Source: rpc.md §9, §10.
"""

from __future__ import annotations

from collections.abc import Mapping

from swimnomad.names import Value
from swimnomad.nomad.requests.base import Answered, Query, Write
from swimnomad.nomad.state.records import Node


class ServerInfo(Value, frozen=True):
    """A live server of the region, as clients are told of it; `rpc_address` is `ip:port`."""

    rpc_address: str
    datacenter: str
    major_version: int = 1
    minor_version: int = 1


class NodeUpdate(Value, frozen=True, kw_only=True):
    """What a client learns from a registration or heartbeat.

    It has to send the next heartbeat after `heartbeat_ttl` seconds; 0 if it is down. `index` and
    `node_modify_index` are those of the write, 0 if nothing was written. `leader` is an RPC
    address, empty if unknown. `node_count` counts nodes of any status.
    """

    heartbeat_ttl: float = 0.0
    index: int = 0
    node_modify_index: int = 0
    leader: str = ""
    node_count: int = 0
    servers: tuple[ServerInfo, ...] | None = None


class NodeRegister(Write[NodeUpdate], frozen=True, kw_only=True):
    """Here is a node, or this is how it looks now."""

    node: Node | None = None


class NodeUpdateStatus(Write[NodeUpdate], frozen=True, kw_only=True):
    """The node is alive, or has this status: a heartbeat."""

    node_id: str = ""
    status: str = ""
    updated_at: int = 0


class NodeDeregister(Write[NodeUpdate], frozen=True, kw_only=True):
    """Forget a node."""

    node_id: str = ""


class NodeFound(Answered, frozen=True, kw_only=True):
    """A node without its secret; None if there is none."""

    node: Node | None = None


class NodeGetNode(Query[NodeFound], frozen=True, kw_only=True):
    """What is known of a node?"""

    node_id: str = ""
    secret_id: str = ""


class NodeStub(Value, frozen=True, kw_only=True):
    """A node as listings show it.

    `address` is the host that its HTTP API is advertised at, `version` that of Nomad. `drivers`,
    `host_volumes` and the resources are Nomad's maps, as in `Node.details`; resources are there if
    they were asked for.
    """

    address: str = ""
    id: str = ""
    datacenter: str = ""
    name: str = ""
    node_class: str = ""
    version: str = ""
    drain: bool = False
    eligibility: str = ""
    status: str = ""
    status_description: str = ""
    drivers: object = None
    host_volumes: object = None
    node_resources: object = None
    reserved_resources: object = None
    create_index: int = 0
    modify_index: int = 0


class NodesFound(Answered, frozen=True, kw_only=True):
    """Nodes in the order of their identifiers."""

    nodes: tuple[NodeStub, ...] | None = None


class NodeList(Query[NodesFound], frozen=True, kw_only=True):
    """Which nodes are there, whose identifiers begin with `prefix`? May wait for a change."""

    resources: bool = False


class ClientAllocs(Answered, frozen=True, kw_only=True):
    """Allocations of a node by identifier, with the index of their latest change. There are none.

    `migrate_tokens` let a node fetch what it takes over from another.
    """

    allocs: Mapping[str, int] | None = None
    migrate_tokens: Mapping[str, str] | None = None


class NodeGetClientAllocs(Query[ClientAllocs], frozen=True, kw_only=True):
    """What shall the node run? A client keeps one of these waiting all the time."""

    node_id: str = ""
    secret_id: str = ""
