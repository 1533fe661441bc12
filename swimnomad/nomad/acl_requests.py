"""ACL policies and tokens at a server, as data: they are kept and shown.

Nothing is enforced here. The words of the checks are Nomad's.

Source: rpc.md §9; nomad acl_endpoint.go.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec

from swimnomad.nomad.failures import RequestFailed, coded
from swimnomad.nomad.identifiers import prefix_flaw, uuid_flaw
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
    Answered,
    PoliciesFound,
    PoliciesListed,
    PolicyFound,
    Query,
    TokenFound,
    TokensListed,
    TokensWritten,
    Write,
    WrittenAt,
)
from swimnomad.nomad.state.commands import (
    BootstrapAcl,
    Command,
    DeletePolicies,
    DeleteTokens,
    UpsertPolicies,
    UpsertTokens,
)
from swimnomad.nomad.state.limits import policy_flaws, token_flaws
from swimnomad.nomad.state.outcomes import Written
from swimnomad.nomad.state.records import MANAGEMENT, Token
from swimnomad.nomad.state.store import NANOSECONDS
from swimnomad.nomad.state.tables import Table

if TYPE_CHECKING:
    from swimnomad.nomad.forwarding import Forwarding
    from swimnomad.nomad.replicated import Replicated
    from swimnomad.nomad.services import Services

Reply = TypeVar("Reply")
Found = TypeVar("Found", bound=Answered)


class ACLRequests:
    """What one server answers about policies and tokens."""

    def __init__(self, services: Services, forwarding: Forwarding, replicated: Replicated) -> None:
        self._services = services
        self._forwarding = forwarding
        self._replicated = replicated
        self._state = replicated.state

    # --- writes -------------------------------------------------------------------------------

    async def bootstrap(self, request: ACLBootstrap) -> TokensWritten:
        """Make the first token."""
        return await self._at_leader(request, lambda: self._bootstrap())

    async def _bootstrap(self) -> TokensWritten:
        reset = 0
        if done := self._state.bootstrap_index:
            reset = self._replicated.reset_index()
            if not reset:
                raise coded(400, f"ACL bootstrap already done (reset index: {done})")
            if reset != done:
                raise coded(
                    400,
                    f"Invalid bootstrap reset index (specified {reset}, reset index: {done})",
                )
        token = self._drawn(Token(name="Bootstrap Token", type=MANAGEMENT, is_global=True))
        return await self._write_tokens(BootstrapAcl(token, reset))

    async def upsert_policies(self, request: ACLUpsertPolicies) -> WrittenAt:
        """Write policies."""
        return await self._at_leader(request, lambda: self._upsert_policies(request))

    async def _upsert_policies(self, request: ACLUpsertPolicies) -> WrittenAt:
        if not request.policies:
            raise coded(400, "Must specify as least one policy")
        for number, policy in enumerate(request.policies):
            flaws = policy_flaws(policy)
            if flaw := rules_flaw(policy.rules):
                flaws.append(f"failed to parse rules: {flaw}")
            if flaws:
                raise coded(404, f"policy {number} invalid: {errors_text(flaws)}")
        return await self._write(UpsertPolicies(request.policies))

    async def delete_policies(self, request: ACLDeletePolicies) -> WrittenAt:
        """Delete policies."""
        return await self._at_leader(request, lambda: self._delete_policies(request))

    async def _delete_policies(self, request: ACLDeletePolicies) -> WrittenAt:
        if not request.names:
            raise coded(400, "Must specify as least one policy")
        return await self._write(DeletePolicies(request.names))

    async def upsert_tokens(self, request: ACLUpsertTokens) -> TokensWritten:
        """Write tokens."""
        return await self._at_leader(request, lambda: self._upsert_tokens(request))

    async def _upsert_tokens(self, request: ACLUpsertTokens) -> TokensWritten:
        tokens = request.tokens or ()
        if not tokens:
            raise coded(400, "Must specify as least one token")
        if len({token.is_global for token in tokens}) > 1:
            raise coded(400, "Cannot upsert mixed global and non-global tokens")
        written = tuple(self._checked(number, token) for number, token in enumerate(tokens))
        return await self._write_tokens(UpsertTokens(written))

    def _checked(self, number: int, token: Token) -> Token:
        """The token as it is to be written."""
        if flaws := token_flaws(token):
            raise coded(400, f"token {number} invalid: {errors_text(flaws)}")
        if not token.accessor_id:
            return self._drawn(token)
        if flaw := uuid_flaw(token.accessor_id):
            raise coded(400, f"token lookup failed: acl token lookup failed: index error: {flaw}")
        known = self._state.token(token.accessor_id)
        if known is None:
            raise coded(404, f"cannot find token {token.accessor_id}")
        if known.is_global != token.is_global:
            raise coded(400, f"cannot toggle global mode of {token.accessor_id}")
        return msgspec.structs.replace(
            token, secret_id=known.secret_id, create_time_ns=known.create_time_ns
        )

    def _drawn(self, token: Token) -> Token:
        return msgspec.structs.replace(
            token,
            accessor_id=self._replicated.new_id(),
            secret_id=self._replicated.new_id(),
            create_time_ns=int(self._services.wall_time() * NANOSECONDS),
        )

    async def delete_tokens(self, request: ACLDeleteTokens) -> WrittenAt:
        """Delete tokens."""
        return await self._at_leader(request, lambda: self._delete_tokens(request))

    async def _delete_tokens(self, request: ACLDeleteTokens) -> WrittenAt:
        accessors = request.accessor_ids or ()
        if not accessors:
            raise coded(400, "Must specify as least one token")
        for accessor_id in accessors:
            if flaw := uuid_flaw(accessor_id):
                raise coded(
                    400, f"token lookup failed: acl token lookup failed: index error: {flaw}"
                )
        unknown = [each for each in accessors if self._state.token(each) is None]
        if unknown:
            raise coded(400, f"Cannot delete nonexistent tokens: {', '.join(unknown)}")
        return await self._write(DeleteTokens(accessors))

    async def _write(self, command: Command) -> WrittenAt:
        outcome = await self._replicated.write(command, self._services.now())
        return WrittenAt(index=outcome.index if isinstance(outcome, Written) else 0)

    async def _write_tokens(self, command: UpsertTokens | BootstrapAcl) -> TokensWritten:
        outcome = await self._replicated.write(command, self._services.now())
        assert isinstance(outcome, Written)
        return TokensWritten(tokens=outcome.tokens, index=outcome.index)

    # --- reads --------------------------------------------------------------------------------

    async def get_policy(self, request: ACLGetPolicy) -> PolicyFound:
        """One policy."""

        def look() -> PolicyFound:
            policy = self._state.policy(request.name)
            if policy is None:
                return PolicyFound(**self._about(Table.POLICIES))
            return PolicyFound(policy=policy, **self._replicated.about(policy.modify_index))

        return await self._read(request, Table.POLICIES, look)

    async def get_policies(self, request: ACLGetPolicies) -> PoliciesFound:
        """Some policies by name."""

        def look() -> PoliciesFound:
            found = {
                name: policy
                for name in request.names or ()
                if (policy := self._state.policy(name)) is not None
            }
            return PoliciesFound(policies=found, **self._about(Table.POLICIES))

        return await self._read(request, Table.POLICIES, look)

    async def list_policies(self, request: ACLListPolicies) -> PoliciesListed:
        """All policies, without their rules."""

        def look() -> PoliciesListed:
            policies = tuple(
                msgspec.structs.replace(policy, rules="")
                for policy in self._state.policies(request.prefix)
            )
            return PoliciesListed(policies=policies, **self._about(Table.POLICIES))

        return await self._read(request, Table.POLICIES, look)

    async def get_token(self, request: ACLGetToken) -> TokenFound:
        """One token by its accessor."""
        return await self._read(
            request,
            Table.TOKENS,
            lambda: self._found(request.accessor_id, self._state.token),
        )

    async def resolve_token(self, request: ACLResolveToken) -> TokenFound:
        """One token by its secret."""
        return await self._read(
            request,
            Table.TOKENS,
            lambda: self._found(request.secret_id, self._state.token_of_secret),
        )

    def _found(self, uuid: str, look_up: Callable[[str], Token | None]) -> TokenFound:
        if flaw := uuid_flaw(uuid):
            raise RequestFailed(f"acl token lookup failed: index error: {flaw}")
        token = look_up(uuid)
        if token is None:
            return TokenFound(**self._about(Table.TOKENS))
        return TokenFound(token=token, **self._replicated.about(token.modify_index))

    async def list_tokens(self, request: ACLListTokens) -> TokensListed:
        """All tokens, without their secrets."""

        def look() -> TokensListed:
            if request.prefix and (flaw := prefix_flaw(request.prefix)):
                raise RequestFailed(f"acl token lookup failed: index error: {flaw}")
            tokens = tuple(
                msgspec.structs.replace(token, secret_id="")
                for token in self._state.tokens(request.prefix)
                if token.is_global or not request.global_only
            )
            return TokensListed(tokens=tokens, **self._about(Table.TOKENS))

        return await self._read(request, Table.TOKENS, look)

    def _about(self, table: Table) -> dict[str, Any]:
        # Index 0 would not let anybody wait; Nomad says 1.
        return self._replicated.about(max(1, self._state.index_of(table)))

    async def _read(self, request: Query[Found], table: Table, look: Callable[[], Found]) -> Found:
        return await self._at_leader(
            request, lambda: self._replicated.read(request, (table,), look, self._services)
        )

    async def _at_leader(
        self,
        request: Query[Reply] | Write[Reply],
        answer: Callable[[], Awaitable[Reply]],
    ) -> Reply:
        if not self._replicated.acl_enabled:
            raise coded(400, "ACL support disabled")
        return await self._forwarding.at_leader(request, answer)


def errors_text(flaws: Sequence[str]) -> str:
    """Several errors as Go's multierror prints them."""
    count = "1 error" if len(flaws) == 1 else f"{len(flaws)} errors"
    lines = "".join(f"\t* {flaw}\n" for flaw in flaws)
    return f"{count} occurred:\n{lines}\n"
