"""Policies and tokens as they are written and asked for.

Source: rpc.md §9; nomad structs/acl.go, acl_endpoint.go.
"""

from __future__ import annotations

from collections.abc import Mapping

from swimnomad.names import Value
from swimnomad.nomad.requests.base import Answered, Query, Write
from swimnomad.nomad.state.records import Policy, Token


class WrittenAt(Value, frozen=True, kw_only=True):
    """Index of a write."""

    index: int = 0


class TokensWritten(WrittenAt, frozen=True, kw_only=True):
    """Tokens as they were written, with the secrets that were drawn."""

    tokens: tuple[Token, ...] | None = None


class ACLBootstrap(Write[TokensWritten], frozen=True, kw_only=True):
    """Make the first token, which may do everything."""

    reset_index: int = 0


class ACLUpsertPolicies(Write[WrittenAt], frozen=True, kw_only=True):
    """Write policies."""

    policies: tuple[Policy, ...] | None = None


class ACLDeletePolicies(Write[WrittenAt], frozen=True, kw_only=True):
    """Delete policies."""

    names: tuple[str, ...] | None = None


class PolicyFound(Answered, frozen=True, kw_only=True):
    """A policy; None if there is none."""

    policy: Policy | None = None


class ACLGetPolicy(Query[PolicyFound], frozen=True, kw_only=True):
    """What does this policy say?"""

    name: str = ""


class PoliciesFound(Answered, frozen=True, kw_only=True):
    """Those of the policies that exist, by name."""

    policies: Mapping[str, Policy] | None = None


class ACLGetPolicies(Query[PoliciesFound], frozen=True, kw_only=True):
    """What do these policies say?"""

    names: tuple[str, ...] | None = None


class PoliciesListed(Answered, frozen=True, kw_only=True):
    """Policies in the order of their names; listings do not show rules."""

    policies: tuple[Policy, ...] | None = None


class ACLListPolicies(Query[PoliciesListed], frozen=True, kw_only=True):
    """Which policies are there, whose names begin with `prefix`?"""


class ACLUpsertTokens(Write[TokensWritten], frozen=True, kw_only=True):
    """Write tokens. One without an accessor is new, and gets one with a secret."""

    tokens: tuple[Token, ...] | None = None


class ACLDeleteTokens(Write[WrittenAt], frozen=True, kw_only=True):
    """Delete tokens."""

    accessor_ids: tuple[str, ...] | None = None


class TokenFound(Answered, frozen=True, kw_only=True):
    """A token; None if there is none."""

    token: Token | None = None


class ACLGetToken(Query[TokenFound], frozen=True, kw_only=True):
    """What is known of a token?"""

    accessor_id: str = ""


class ACLResolveToken(Query[TokenFound], frozen=True, kw_only=True):
    """Whose secret is this? What clients ask when somebody shows them a token."""

    secret_id: str = ""


class TokensListed(Answered, frozen=True, kw_only=True):
    """Tokens in the order of their accessors; listings do not show secrets."""

    tokens: tuple[Token, ...] | None = None


class ACLListTokens(Query[TokensListed], frozen=True, kw_only=True):
    """Which tokens are there, whose accessors begin with `prefix`?"""

    global_only: bool = False
