"""How policies and tokens stand on the wire.

Source: rpc.md §9; nomad structs/acl.go, structs.go.
"""

from __future__ import annotations

from typing import Final

from swimnomad.nomad.requests import (
    ACLBootstrap,
    ACLDeletePolicies,
    ACLDeleteTokens,
    ACLGetPolicies,
    ACLGetPolicy,
    ACLGetToken,
    ACLListPolicies,
    ACLListTokens,
    ACLResolveToken,
    ACLUpsertPolicies,
    ACLUpsertTokens,
    PoliciesFound,
    PoliciesListed,
    PolicyFound,
    TokenFound,
    TokensListed,
    TokensWritten,
    WrittenAt,
)
from swimnomad.nomad.state.records import Policy, Token
from swimnomad.rpc.schemas.kinds import (
    CLEAN,
    QUERY_META,
    TIME_NS,
    WRITE_META,
    Codec,
    nil,
    or_empty,
    query,
    record,
    write,
)
from swimnomad.wire.dialect import BOOL, BYTES, TEXT, U64, Field
from swimnomad.wire.go_dialect import list_of, map_of

HASH: Final = or_empty(BYTES, b"")

_POLICY: Final = record(
    Policy,
    Field("Name", "name", CLEAN),
    Field("Description", "description", CLEAN),
    Field("Rules", "rules", CLEAN),
    Field("Hash", "hash", HASH),
    Field("CreateIndex", "create_index", U64),
    Field("ModifyIndex", "modify_index", U64),
)
_POLICY_STUB: Final = record(
    Policy,
    Field("Name", "name", CLEAN),
    Field("Description", "description", CLEAN),
    Field("Hash", "hash", HASH),
    Field("CreateIndex", "create_index", U64),
    Field("ModifyIndex", "modify_index", U64),
)
_TOKEN_STUB_FIELDS: Final = (
    Field("Name", "name", CLEAN),
    Field("Type", "type", CLEAN),
    Field("Policies", "policies", list_of(CLEAN)),
    Field("Global", "is_global", BOOL),
    Field("Hash", "hash", HASH),
    Field("CreateTime", "create_time_ns", TIME_NS),
    Field("CreateIndex", "create_index", U64),
    Field("ModifyIndex", "modify_index", U64),
)
_ACCESSOR: Final = Field("AccessorID", "accessor_id", CLEAN)
_TOKEN: Final = record(Token, _ACCESSOR, Field("SecretID", "secret_id", CLEAN), *_TOKEN_STUB_FIELDS)
_TOKEN_STUB: Final = record(Token, _ACCESSOR, *_TOKEN_STUB_FIELDS)

# --- requests -------------------------------------------------------------------------------------

ACL_BOOTSTRAP: Final = write(ACLBootstrap, nil("Token"), Field("ResetIndex", "reset_index", U64))
ACL_UPSERT_POLICIES: Final = write(
    ACLUpsertPolicies, Field("Policies", "policies", list_of(_POLICY.nested))
)
ACL_DELETE_POLICIES: Final = write(ACLDeletePolicies, Field("Names", "names", list_of(TEXT)))
ACL_GET_POLICY: Final = query(ACLGetPolicy, Field("Name", "name", TEXT))
ACL_GET_POLICIES: Final = query(ACLGetPolicies, Field("Names", "names", list_of(TEXT)))
ACL_LIST_POLICIES: Final = query(ACLListPolicies)
ACL_UPSERT_TOKENS: Final = write(ACLUpsertTokens, Field("Tokens", "tokens", list_of(_TOKEN.nested)))
ACL_DELETE_TOKENS: Final = write(
    ACLDeleteTokens, Field("AccessorIDs", "accessor_ids", list_of(TEXT))
)
ACL_GET_TOKEN: Final = query(ACLGetToken, Field("AccessorID", "accessor_id", TEXT))
ACL_RESOLVE_TOKEN: Final = query(ACLResolveToken, Field("SecretID", "secret_id", TEXT))
ACL_LIST_TOKENS: Final = query(ACLListTokens, Field("GlobalOnly", "global_only", BOOL))

# --- replies --------------------------------------------------------------------------------------

WRITTEN_AT: Final[Codec[WrittenAt]] = record(WrittenAt, *WRITE_META)
TOKENS_WRITTEN: Final[Codec[TokensWritten]] = record(
    TokensWritten, Field("Tokens", "tokens", list_of(_TOKEN.nested)), *WRITE_META
)
POLICY_FOUND: Final[Codec[PolicyFound]] = record(
    PolicyFound, Field("Policy", "policy", _POLICY.nullable), *QUERY_META
)
POLICIES_FOUND: Final[Codec[PoliciesFound]] = record(
    PoliciesFound,
    Field("Policies", "policies", map_of(_POLICY.nested)),
    *QUERY_META,
)
POLICIES_LISTED: Final[Codec[PoliciesListed]] = record(
    PoliciesListed, Field("Policies", "policies", list_of(_POLICY_STUB.nested)), *QUERY_META
)
TOKEN_FOUND: Final[Codec[TokenFound]] = record(
    TokenFound, Field("Token", "token", _TOKEN.nullable), *QUERY_META
)
TOKENS_LISTED: Final[Codec[TokensListed]] = record(
    TokensListed, Field("Tokens", "tokens", list_of(_TOKEN_STUB.nested)), *QUERY_META
)
