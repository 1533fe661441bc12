"""The parts of an agent's answers that the commands read, as Nomad spells them."""

from __future__ import annotations

import msgspec


class Member(msgspec.Struct, frozen=True, rename="pascal"):
    """One entry of `/v1/agent/members`. A client agent's own record has no address and no tags."""

    name: str
    addr: str | None
    port: int
    status: str
    protocol_cur: int
    tags: dict[str, str] | None = None

    def tag(self, name: str) -> str:
        """A tag's value, empty if the member has none of that name."""
        return (self.tags or {}).get(name, "")


class MemberList(msgspec.Struct, frozen=True, rename="pascal"):
    """Answer of `/v1/agent/members`."""

    members: list[Member]


class JoinAnswer(msgspec.Struct, frozen=True):
    """Answer of `/v1/agent/join`: contacts that answered, and why none did."""

    num_joined: int
    error: str


class LeaveAnswer(msgspec.Struct, frozen=True):
    """Answer of `/v1/swimnomad/leave`: whether the goodbye was out in time."""

    heard: bool


class SelfAnswer(msgspec.Struct, frozen=True):
    """Answer of `/v1/agent/self`, without its configuration and member record."""

    stats: dict[str, dict[str, str]]


class RoleHealth(msgspec.Struct, frozen=True):
    """Health of one role in the answer of `/v1/agent/health`."""

    ok: bool
    message: str = ""


class NodeStub(msgspec.Struct, frozen=True, rename="pascal"):
    """One entry of `/v1/nodes`."""

    id: str = msgspec.field(name="ID")
    datacenter: str
    name: str
    node_class: str
    address: str
    version: str
    drain: bool
    scheduling_eligibility: str
    status: str


class NodeEvent(msgspec.Struct, frozen=True, rename="pascal"):
    """Something that happened to a node."""

    timestamp: str
    subsystem: str
    message: str


class NodeAnswer(msgspec.Struct, frozen=True, rename="pascal"):
    """The parts of `/v1/node/ID` that are shown."""

    id: str = msgspec.field(name="ID")
    datacenter: str
    name: str
    node_class: str
    http_addr: str = msgspec.field(name="HTTPAddr")
    drain: bool
    scheduling_eligibility: str
    status: str
    status_description: str
    attributes: dict[str, str] | None
    events: list[NodeEvent] | None


class RaftServer(msgspec.Struct, frozen=True, rename="pascal"):
    """A server in Raft's configuration."""

    node: str
    id: str = msgspec.field(name="ID")
    address: str
    leader: bool
    voter: bool
    raft_protocol: str


class RaftAnswer(msgspec.Struct, frozen=True, rename="pascal"):
    """Answer of `/v1/operator/raft/configuration`."""

    servers: list[RaftServer] | None


class ServerHealth(msgspec.Struct, frozen=True, rename="pascal"):
    """How one server is, in the answer of `/v1/operator/autopilot/health`."""

    name: str
    id: str = msgspec.field(name="ID")
    address: str
    serf_status: str
    version: str
    leader: bool
    voter: bool
    healthy: bool
    last_contact: str
    last_term: int
    last_index: int
    stable_since: str


class RegionHealth(msgspec.Struct, frozen=True, rename="pascal"):
    """Answer of `/v1/operator/autopilot/health`."""

    healthy: bool
    failure_tolerance: int
    servers: list[ServerHealth] | None


class PolicyStub(msgspec.Struct, frozen=True, rename="pascal"):
    """One entry of `/v1/acl/policies`."""

    name: str
    description: str


class PolicyAnswer(msgspec.Struct, frozen=True, rename="pascal"):
    """Answer of `/v1/acl/policy/NAME`."""

    name: str
    description: str
    rules: str
    create_index: int
    modify_index: int


class TokenStub(msgspec.Struct, frozen=True, rename="pascal"):
    """One entry of `/v1/acl/tokens`, which keep their secrets to themselves."""

    accessor_id: str = msgspec.field(name="AccessorID")
    name: str
    type: str
    is_global: bool = msgspec.field(name="Global")


class TokenAnswer(TokenStub, frozen=True, rename="pascal"):
    """A token with its secret."""

    secret_id: str = msgspec.field(name="SecretID")
    policies: list[str] | None
    create_time: str
    create_index: int
    modify_index: int
