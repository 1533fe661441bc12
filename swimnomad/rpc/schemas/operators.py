"""How what operators ask and tell stands on the wire.

Source: rpc.md §9; nomad structs/operator.go, vendored autopilot structs.
"""

from __future__ import annotations

from typing import Final

from swimnomad.nomad.requests import (
    OperatorAutopilotGetConfiguration,
    OperatorAutopilotSetConfiguration,
    OperatorRaftGetConfiguration,
    OperatorRaftRemovePeerByAddress,
    OperatorRaftRemovePeerByID,
    OperatorServerHealth,
    OperatorTransferLeadershipToPeer,
    RaftConfiguration,
    RaftServer,
    RegionHealth,
    ServerHealth,
)
from swimnomad.nomad.state.records import AutopilotConfig
from swimnomad.rpc.schemas.kinds import Codec, Single, query, record, write
from swimnomad.serf.events import Status
from swimnomad.wire.dialect import BOOL, TEXT, U64, Field, Kind
from swimnomad.wire.go_dialect import DURATION, INT, NO_TIME, TIME, GoTime, list_of, pack_signed

_STATUS_NUMBERS: Final = {status.text: int(status) for status in Status}
_STATUS_WORDS: Final = {number: word for word, number in _STATUS_NUMBERS.items()}

SERF_STATUS: Final = Kind(
    lambda value: _STATUS_WORDS.get(INT.read(value), "none"),
    None,
    lambda word: pack_signed(_STATUS_NUMBERS.get(word, 0)),
)
"""The status of a member: a word here, a number on the wire."""


def _read_unix(value: object) -> float:
    time: GoTime = TIME.read(value)
    return 0.0 if time.is_zero else time.unix


def _pack_unix(seconds: float) -> bytes:
    packer = TIME.pack
    assert packer is not None
    return packer(GoTime.from_unix(seconds) if seconds else NO_TIME)


UNIX: Final = Kind(_read_unix, None, _pack_unix)
"""A time as seconds since the epoch; 0 is no time at all."""

_AUTOPILOT: Final = record(
    AutopilotConfig,
    Field("CleanupDeadServers", "cleanup_dead_servers", BOOL),
    Field("LastContactThreshold", "last_contact_threshold", DURATION),
    Field("MaxTrailingLogs", "max_trailing_logs", U64),
    Field("MinQuorum", "min_quorum", U64),
    Field("ServerStabilizationTime", "server_stabilization_time", DURATION),
    Field("EnableRedundancyZones", "enable_redundancy_zones", BOOL),
    Field("DisableUpgradeMigration", "disable_upgrade_migration", BOOL),
    Field("EnableCustomUpgrades", "enable_custom_upgrades", BOOL),
    Field("CreateIndex", "create_index", U64),
    Field("ModifyIndex", "modify_index", U64),
)

# --- requests -------------------------------------------------------------------------------------

OPERATOR_RAFT_GET_CONFIGURATION: Final = query(OperatorRaftGetConfiguration)
OPERATOR_RAFT_REMOVE_PEER_BY_ADDRESS: Final = write(
    OperatorRaftRemovePeerByAddress, Field("Address", "address", TEXT)
)
OPERATOR_RAFT_REMOVE_PEER_BY_ID: Final = write(OperatorRaftRemovePeerByID, Field("ID", "id", TEXT))
OPERATOR_TRANSFER_LEADERSHIP_TO_PEER: Final = write(
    OperatorTransferLeadershipToPeer, Field("Address", "address", TEXT), Field("ID", "id", TEXT)
)
OPERATOR_AUTOPILOT_GET_CONFIGURATION: Final = query(OperatorAutopilotGetConfiguration)
OPERATOR_AUTOPILOT_SET_CONFIGURATION: Final = write(
    OperatorAutopilotSetConfiguration,
    Field("Config", "config", _AUTOPILOT.nested),
    Field("CAS", "cas", BOOL),
)
OPERATOR_SERVER_HEALTH: Final = query(OperatorServerHealth)

# --- replies --------------------------------------------------------------------------------------

_RAFT_SERVER: Final = record(
    RaftServer,
    Field("ID", "id", TEXT),
    Field("Node", "node", TEXT),
    Field("Address", "address", TEXT),
    Field("Leader", "leads", BOOL),
    Field("Voter", "is_voter", BOOL),
    Field("RaftProtocol", "raft_protocol", TEXT),
)
RAFT_CONFIGURATION: Final[Codec[RaftConfiguration]] = record(
    RaftConfiguration,
    Field("Servers", "servers", list_of(_RAFT_SERVER.nested)),
    Field("Index", "index", U64),
)
AUTOPILOT: Final[Codec[AutopilotConfig]] = _AUTOPILOT
YES_OR_NO: Final[Codec[bool]] = Single(BOOL)
_SERVER_HEALTH: Final = record(
    ServerHealth,
    Field("ID", "id", TEXT),
    Field("Name", "name", TEXT),
    Field("Address", "address", TEXT),
    Field("SerfStatus", "serf_status", SERF_STATUS),
    Field("Version", "version", TEXT),
    Field("Leader", "leads", BOOL),
    Field("LastContact", "last_contact", DURATION),
    Field("LastTerm", "last_term", U64),
    Field("LastIndex", "last_index", U64),
    Field("Healthy", "is_healthy", BOOL),
    Field("Voter", "is_voter", BOOL),
    Field("StableSince", "stable_since", UNIX),
)
REGION_HEALTH: Final[Codec[RegionHealth]] = record(
    RegionHealth,
    Field("Healthy", "is_healthy", BOOL),
    Field("FailureTolerance", "failure_tolerance", INT),
    Field("Servers", "servers", list_of(_SERVER_HEALTH.nested)),
)
