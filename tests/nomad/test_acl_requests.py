"""Policies and tokens as data: written, shown, checked with Nomad's words."""

from __future__ import annotations

import msgspec
import pytest

from swimnomad.nomad.policies import rules_flaw
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
    Request,
)
from swimnomad.nomad.state.records import Policy, Token
from tests.agent_world import EPOCH
from tests.nomad.request_support import Region, region
from tests.nomad.state.state_support import policy, uuid

EVERY = [
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
]
NEW = Token(name="reader", type="client", policies=("reader",))


async def guarded(count: int = 1, **fields: object) -> Region:
    return await region(count, acl_enabled=True, **fields)  # type: ignore[arg-type]


@pytest.mark.parametrize("kind", EVERY)
async def test_without_acls_nothing_is_answered(kind: type[Request[object]]) -> None:
    assert await (await region()).refusal(kind()) == "RPC Error:: 400,ACL support disabled"
    assert await (await guarded()).refusal(kind()) == "missing region for target RPC"


async def test_the_first_token_may_do_everything_and_is_made_once() -> None:
    reset = 0
    found = await guarded(2, reset_index=lambda: reset)
    reply = await found.ask(ACLBootstrap(region="global"), at=2)
    (first,) = reply.tokens
    assert (first.type, first.name, first.is_global) == ("management", "Bootstrap Token", True)
    assert (first.create_index, reply.index) == (1, 1)
    assert first.create_time_ns >= EPOCH * 1e9
    text = "ACL bootstrap already done (reset index: 1)"
    assert await found.refusal(ACLBootstrap(region="global")) == f"RPC Error:: 400,{text}"
    reset = 9
    text = "Invalid bootstrap reset index (specified 9, reset index: 1)"
    assert await found.refusal(ACLBootstrap(region="global")) == f"RPC Error:: 400,{text}"
    reset = 1
    (second,) = (await found.ask(ACLBootstrap(region="global"))).tokens
    assert second.accessor_id != first.accessor_id
    assert found.state.bootstrap_index == 2


async def test_tokens_are_made_changed_and_deleted() -> None:
    found = await guarded()
    reply = await found.ask(ACLUpsertTokens(region="global", tokens=(NEW, NEW)))
    one, other = reply.tokens
    assert len({one.accessor_id, one.secret_id, other.accessor_id, other.secret_id}) == 4
    renamed = msgspec.structs.replace(one, name="new", secret_id=uuid(9))
    (changed,) = (await found.ask(ACLUpsertTokens(region="global", tokens=(renamed,)))).tokens
    assert (changed.name, changed.secret_id, changed.create_index) == ("new", one.secret_id, 1)
    shown = await found.ask(ACLGetToken(region="global", accessor_id=one.accessor_id))
    assert (shown.token, shown.index) == (changed, 2)
    resolved = await found.ask(ACLResolveToken(region="global", secret_id=one.secret_id))
    assert resolved.token == changed
    listed = await found.ask(ACLListTokens(region="global"))
    assert {token.secret_id for token in listed.tokens} == {""}
    assert len(listed.tokens) == 2
    assert (await found.ask(ACLListTokens(region="global", global_only=True))).tokens == ()
    prefix = other.accessor_id[:8]
    (alone,) = (await found.ask(ACLListTokens(region="global", prefix=prefix))).tokens
    assert alone.accessor_id == other.accessor_id
    gone = await found.ask(ACLDeleteTokens(region="global", accessor_ids=(one.accessor_id,)))
    assert gone.index == 3
    nobody = await found.ask(ACLResolveToken(region="global", secret_id=one.secret_id))
    assert (nobody.token, nobody.index) == (None, 3)


@pytest.mark.parametrize(
    ("tokens", "text"),
    [
        ((), "400,Must specify as least one token"),
        (
            (Token(name="x", type="client"),),
            "400,token 0 invalid: 1 error occurred:\n\t* client token missing policies\n\n",
        ),
        (
            (NEW, Token(name="x" * 300, type="odd")),
            "400,token 1 invalid: 2 errors occurred:\n\t* token name too long\n"
            "\t* token type must be client or management\n\n",
        ),
        (
            (msgspec.structs.replace(NEW, type="management"),),
            "400,token 0 invalid: 1 error occurred:\n"
            "\t* management token cannot be associated with policies\n\n",
        ),
        (
            (NEW, msgspec.structs.replace(NEW, is_global=True)),
            "400,Cannot upsert mixed global and non-global tokens",
        ),
        (
            (msgspec.structs.replace(NEW, accessor_id="x"),),
            "400,token lookup failed: acl token lookup failed: "
            "index error: UUID must be 36 characters",
        ),
        (
            (msgspec.structs.replace(NEW, accessor_id=uuid(1)),),
            f"404,cannot find token {uuid(1)}",
        ),
    ],
)
async def test_impossible_tokens_are_refused(tokens: tuple[Token, ...], text: str) -> None:
    found = await guarded()
    refusal = await found.refusal(ACLUpsertTokens(region="global", tokens=tokens))
    assert refusal == f"RPC Error:: {text}"
    assert found.state.last_index == 0


async def test_a_token_stays_local_or_global() -> None:
    found = await guarded()
    (made,) = (await found.ask(ACLUpsertTokens(region="global", tokens=(NEW,)))).tokens
    toggled = msgspec.structs.replace(made, is_global=True)
    assert await found.refusal(ACLUpsertTokens(region="global", tokens=(toggled,))) == (
        f"RPC Error:: 400,cannot toggle global mode of {made.accessor_id}"
    )


async def test_only_known_tokens_are_deleted() -> None:
    found = await guarded()
    for accessors, text in (
        ((), "Must specify as least one token"),
        ((uuid(1), uuid(2)), f"Cannot delete nonexistent tokens: {uuid(1)}, {uuid(2)}"),
        (
            ("x",),
            "token lookup failed: acl token lookup failed: index error: UUID must be 36 characters",
        ),
    ):
        request = ACLDeleteTokens(region="global", accessor_ids=accessors)
        assert await found.refusal(request) == f"RPC Error:: 400,{text}"
    for wrong in (
        ACLGetToken(region="global", accessor_id="x"),
        ACLResolveToken(region="global", secret_id="x"),
    ):
        assert await found.refusal(wrong) == (
            "acl token lookup failed: index error: UUID must be 36 characters"
        )
    assert "even length" in await found.refusal(ACLListTokens(region="global", prefix="abc"))


async def test_policies_are_written_shown_and_deleted() -> None:
    found = await guarded()
    both = (policy("writer", 'node { policy = "write" }'), policy("reader"))
    assert (await found.ask(ACLUpsertPolicies(region="global", policies=both))).index == 1
    one = await found.ask(ACLGetPolicy(region="global", name="reader"))
    assert (one.policy.rules, one.index) == (policy("reader").rules, 1)
    nobody = await found.ask(ACLGetPolicy(region="global", name="nope"))
    assert (nobody.policy, nobody.index) == (None, 1)
    some = await found.ask(ACLGetPolicies(region="global", names=("nope", "writer")))
    assert list(some.policies) == ["writer"]
    assert (await found.ask(ACLGetPolicies(region="global"))).policies == {}
    listed = await found.ask(ACLListPolicies(region="global"))
    assert [(each.name, each.rules) for each in listed.policies] == [("reader", ""), ("writer", "")]
    listed = await found.ask(ACLListPolicies(region="global", prefix="w"))
    assert [each.name for each in listed.policies] == ["writer"]
    gone = await found.ask(ACLDeletePolicies(region="global", names=("reader", "nope")))
    assert gone.index == 2
    assert await found.refusal(ACLDeletePolicies(region="global")) == (
        "RPC Error:: 400,Must specify as least one policy"
    )


async def test_lists_begin_at_index_one() -> None:
    """Before the first write; index 0 would not let anybody wait."""
    assert (await (await guarded()).ask(ACLListPolicies(region="global"))).index == 1


@pytest.mark.parametrize(
    ("policies", "text"),
    [
        ((), "400,Must specify as least one policy"),
        (
            (policy("bad", 'agent { policy = "rite" }'),),
            "404,policy 0 invalid: 1 error occurred:\n\t* failed to parse rules: "
            'Invalid agent policy: &acl.AgentPolicy{Policy:"rite"}\n\n',
        ),
        (
            (policy("good"), Policy(name="not good", description="x" * 257, rules="node {")),
            "404,policy 1 invalid: 3 errors occurred:\n\t* invalid name 'not good'\n"
            "\t* description longer than 256\n\t* failed to parse rules: Failed to parse ACL",
        ),
    ],
)
async def test_impossible_policies_are_refused(policies: tuple[Policy, ...], text: str) -> None:
    found = await guarded()
    refusal = await found.refusal(ACLUpsertPolicies(region="global", policies=policies))
    assert refusal.startswith(f"RPC Error:: {text}")
    assert found.state.last_index == 0


@pytest.mark.parametrize(
    ("rules", "flaw"),
    [
        ('namespace "default" { policy = "read" }\nnode { policy = "deny" }', ""),
        ('{"agent": {"policy": "write"}}', ""),
        ("", "Invalid policy: "),
        ("agent {}", 'Invalid agent policy: &acl.AgentPolicy{Policy:""}'),
        ('operator = "x"', 'Invalid operator policy: &acl.OperatorPolicy{Policy:""}'),
        ("quota { policy = [1] }", 'Invalid quota policy: &acl.QuotaPolicy{Policy:"[1]"}'),
    ],
)
def test_rules_have_a_form(rules: str, flaw: str) -> None:
    assert rules_flaw(rules) == flaw


def test_deep_rules_are_refused() -> None:
    assert rules_flaw("a = " + "[" * 10_000).startswith("Failed to parse ACL Policy: ")
