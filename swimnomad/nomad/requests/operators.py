"""What operators ask about servers, and tell them.

Source: rpc.md §9; nomad operator_endpoint.go, structs/operator.go.
"""

from __future__ import annotations

from swimnomad.names import Value
from swimnomad.nomad.requests.base import Done, Query, Write
from swimnomad.nomad.state.records import AutopilotConfig


class RaftServer(Value, frozen=True):
    """One server of the Raft configuration.

    `node` is its name in gossip and `raft_protocol` a number, or `(unknown)` and `unknown` if
    gossip does not know it.
    """

    id: str
    node: str
    address: str
    leads: bool
    is_voter: bool
    raft_protocol: str


class RaftConfiguration(Value, frozen=True):
    """The servers of the Raft configuration; None if there are none. The index is always 0."""

    servers: tuple[RaftServer, ...] | None = None
    index: int = 0


class OperatorRaftGetConfiguration(Query[RaftConfiguration], frozen=True, kw_only=True):
    """Which servers take part in Raft?"""


class OperatorRaftRemovePeerByAddress(Write[Done], frozen=True, kw_only=True):
    """Take a server out of the Raft configuration by its address."""

    address: str = ""


class OperatorRaftRemovePeerByID(Write[Done], frozen=True, kw_only=True):
    """Take a server out of the Raft configuration by its id."""

    id: str = ""


class OperatorTransferLeadershipToPeer(Write[Done], frozen=True, kw_only=True):
    """Let another voter lead: the one of this id or address, or any if both are empty.

    Nomad has this from 1.8 on.
    """

    id: str = ""
    address: str = ""


class OperatorAutopilotGetConfiguration(Query[AutopilotConfig], frozen=True, kw_only=True):
    """What was autopilot told?"""


class OperatorAutopilotSetConfiguration(Write[bool], frozen=True, kw_only=True):
    """Tell autopilot; with `cas` only if it was not told otherwise since `config.modify_index`."""

    config: AutopilotConfig = AutopilotConfig()
    cas: bool = False


class ServerHealth(Value, frozen=True, kw_only=True):
    """How the leader sees one server.

    `serf_status` is a word, `last_contact` seconds, `stable_since` seconds since the epoch: since
    then `is_healthy` has been as it is.
    """

    id: str = ""
    name: str = ""
    address: str = ""
    serf_status: str = ""
    version: str = ""
    leads: bool = False
    last_contact: float = 0.0
    last_term: int = 0
    last_index: int = 0
    is_healthy: bool = False
    is_voter: bool = False
    stable_since: float = 0.0


class RegionHealth(Value, frozen=True, kw_only=True):
    """Whether every server is healthy, and how many voters may fail before a quorum is lost."""

    is_healthy: bool = False
    failure_tolerance: int = 0
    servers: tuple[ServerHealth, ...] | None = None


class OperatorServerHealth(Query[RegionHealth], frozen=True, kw_only=True):
    """How are the servers?"""
