"""What a record must be to be kept at all, whoever made it.

Requests are checked before they become commands, with Nomad's words. These checks come again when
a command is applied: a limit that only the proposer knows does not hold.
"""

from __future__ import annotations

import re
from typing import Final

import msgspec

from swimnomad.nomad.identifiers import uuid_flaw
from swimnomad.nomad.state.records import (
    CLIENT,
    DESCRIPTION_BYTES_MAX,
    EVENTS_MAX,
    MANAGEMENT,
    NAME_BYTES_MAX,
    NODE_BYTES_MAX,
    NODE_STATUSES,
    RULES_BYTES_MAX,
    TOKEN_POLICIES_MAX,
    Node,
    Policy,
    Token,
)

POLICY_NAME: Final = re.compile(r"[a-zA-Z0-9-]{1,128}")

_encode: Final = msgspec.msgpack.Encoder().encode


def node_flaw(node: Node) -> str:
    """Why a node cannot be kept; empty if it can."""
    if flaw := uuid_flaw(node.id):
        return f"node lookup failed: index error: {flaw}"
    if flaw := uuid_flaw(node.secret_id):
        # Nomad's index loses such a node without a word.
        return f"node secret ID cannot be used: index error: {flaw}"
    if node.status not in NODE_STATUSES:
        return "invalid status for node"
    if len(node.events or ()) > EVENTS_MAX:
        return f"a node has {EVENTS_MAX} events at most"
    if len(_encode(node)) > NODE_BYTES_MAX:
        return f"node is too large: no more than {NODE_BYTES_MAX} bytes are allowed"
    return ""


def policy_flaws(policy: Policy) -> list[str]:
    """All that is wrong with a policy but its rules, in Nomad's words."""
    flaws = []
    if not POLICY_NAME.fullmatch(policy.name):
        flaws.append(f"invalid name '{policy.name}'")
    if len(policy.rules.encode("utf-8", "replace")) > RULES_BYTES_MAX:
        flaws.append(f"rules longer than {RULES_BYTES_MAX}")
    if len(policy.description.encode("utf-8", "replace")) > DESCRIPTION_BYTES_MAX:
        flaws.append(f"description longer than {DESCRIPTION_BYTES_MAX}")
    return flaws


def policy_flaw(policy: Policy) -> str:
    """Why a policy cannot be kept; empty if it can."""
    return next(iter(policy_flaws(policy)), "")


def token_flaws(token: Token) -> list[str]:
    """All that is wrong with what a caller may say of a token, in Nomad's words."""
    flaws = []
    if len(token.name.encode("utf-8", "replace")) > NAME_BYTES_MAX:
        flaws.append("token name too long")
    policies = token.policies or ()
    if token.type == CLIENT:
        if not policies:
            flaws.append("client token missing policies")
    elif token.type == MANAGEMENT:
        if policies:
            flaws.append("management token cannot be associated with policies")
    else:
        flaws.append("token type must be client or management")
    if len(policies) > TOKEN_POLICIES_MAX or any(
        len(name.encode("utf-8", "replace")) > NAME_BYTES_MAX for name in policies
    ):
        flaws.append(
            f"no more than {TOKEN_POLICIES_MAX} policies of {NAME_BYTES_MAX} bytes are allowed"
        )
    return flaws


def token_flaw(token: Token) -> str:
    """Why a token cannot be kept; empty if it can."""
    for name, text in (("accessor", token.accessor_id), ("secret", token.secret_id)):
        if flaw := uuid_flaw(text):
            return f"token {name} cannot be used: index error: {flaw}"
    return next(iter(token_flaws(token)), "")
