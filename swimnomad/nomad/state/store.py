"""The replicated state: commands change it, requests read it, snapshots carry it over.

`apply` is the only way to change it, and deterministic. Whoever reads may look at it any time,
since nothing here waits: between two awaits it does not change.

Source: nomad state/state_store.go, fsm.go.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

import msgspec

from swimnomad.nomad.identifiers import key_of, uuid_flaw
from swimnomad.nomad.state.commands import (
    BootstrapAcl,
    Command,
    DeletePolicies,
    DeleteTokens,
    DeregisterNodes,
    RegisterNode,
    SetAutopilot,
    SetClusterId,
    SetKeyring,
    SetNodeStatus,
    UpsertPolicies,
    UpsertTokens,
    decode_command,
)
from swimnomad.nomad.state.limits import node_flaw, policy_flaw, token_flaw
from swimnomad.nomad.state.outcomes import Outcome, Refused, Unchanged, Written
from swimnomad.nomad.state.records import (
    DOWN,
    ELIGIBLE,
    KEYS_MAX,
    NODE_STATUSES,
    NODES_MAX,
    POLICIES_MAX,
    TOKENS_MAX,
    AutopilotConfig,
    ClusterId,
    KeyringRecord,
    Node,
    NodeEvent,
    Policy,
    Token,
    with_event,
)
from swimnomad.nomad.state.snapshot import Image, read_image, write_image
from swimnomad.nomad.state.tables import Listener, Records, Table

WRONG_SECRET = "node secret ID does not match. Not registering node."
NODE_NOT_FOUND = "node not found"

NANOSECONDS: Final = 1_000_000_000


class StateStore:
    """The tables of one server. Empty at first; then as the log or a snapshot has it."""

    def __init__(self) -> None:
        self._nodes: Records[Node] = Records()
        self._policies: Records[Policy] = Records()
        self._tokens: Records[Token] = Records()
        self._accessors: dict[str, str] = {}  # key of the secret -> key of the accessor
        self._autopilot: AutopilotConfig | None = None
        self._cluster: ClusterId | None = None
        self._keyring: KeyringRecord | None = None
        self._indexes: dict[Table, int] = {}
        self._last_index = 0
        self._listeners: list[Listener] = []
        self._appliers: Mapping[type[Command], Callable[[Any, int], Outcome]] = {
            RegisterNode: self._register_node,
            DeregisterNodes: self._deregister_nodes,
            SetNodeStatus: self._set_node_status,
            UpsertPolicies: self._upsert_policies,
            DeletePolicies: self._delete_policies,
            UpsertTokens: self._upsert_tokens,
            DeleteTokens: self._delete_tokens,
            BootstrapAcl: self._bootstrap_acl,
            SetAutopilot: self._set_autopilot,
            SetClusterId: self._set_cluster,
            SetKeyring: self._set_keyring,
        }
        self._changed: list[Table] = []

    # --- writing ------------------------------------------------------------------------------

    def apply(self, index: int, data: bytes) -> Outcome:
        """Apply a committed command.

        Args:
            index: Of the log entry; above that of every entry applied before.
            data: Of the log entry.

        Returns:
            What became of it, for whoever proposed it.

        Raises:
            BadCommand: These bytes are no command of this program; the state is as before.
        """
        assert index > self._last_index, f"entry {index} after {self._last_index}"
        command = decode_command(data)
        self._last_index = index
        if command is None:
            return Unchanged()
        outcome = self._appliers[type(command)](command, index)
        if self._changed:
            changed, self._changed = tuple(self._changed), []
            for table in changed:
                self._indexes[table] = index
            self._tell(changed)
        return outcome

    def snapshot(self) -> bytes:
        """The whole state; equal states give equal bytes."""
        return write_image(
            Image(
                last_index=self._last_index,
                indexes={table.value: self._indexes[table] for table in sorted(self._indexes)},
                nodes=tuple(self._nodes),
                policies=tuple(self._policies),
                tokens=tuple(self._tokens),
                autopilot=self._autopilot,
                cluster=self._cluster,
                keyring=self._keyring,
            )
        )

    def restore(self, data: bytes) -> None:
        """Replace the whole state by that of a snapshot.

        Raises:
            DamagedSnapshot: It is none, or damaged; the state is as before.
        """
        image = read_image(data)
        self._nodes = Records({key_of(node.id): node for node in image.nodes})
        self._policies = Records({policy.name: policy for policy in image.policies})
        self._tokens = Records({key_of(token.accessor_id): token for token in image.tokens})
        self._accessors = {
            key_of(token.secret_id): key_of(token.accessor_id) for token in image.tokens
        }
        self._autopilot = image.autopilot
        self._cluster = image.cluster
        self._keyring = image.keyring
        self._indexes = {Table(name): index for name, index in image.indexes.items()}
        self._last_index = image.last_index
        self._tell(tuple(Table))

    def subscribe(self, listener: Listener) -> Callable[[], None]:
        """Have changes told; returns what ends that."""
        self._listeners.append(listener)

        def unsubscribe() -> None:
            if listener in self._listeners:
                self._listeners.remove(listener)

        return unsubscribe

    def _tell(self, tables: tuple[Table, ...]) -> None:
        for listener in tuple(self._listeners):
            listener(tables)

    def _write(self, index: int, *tables: Table) -> Written:
        self._changed += tables
        return Written(index)

    # --- reading ------------------------------------------------------------------------------

    @property
    def last_index(self) -> int:
        """Index of the latest entry that was applied."""
        return self._last_index

    def index_of(self, *tables: Table) -> int:
        """Index of the latest write to any of these tables; 0 if there was none."""
        return max((self._indexes.get(table, 0) for table in tables), default=0)

    def node(self, node_id: str) -> Node | None:
        """A node by its identifier, which must be a UUID."""
        return self._nodes.get(key_of(node_id))

    def nodes(self, prefix: str = "") -> Iterator[Node]:
        """The nodes whose identifiers begin so, in their order."""
        return self._nodes.beginning_with(key_of(prefix)) if prefix else iter(self._nodes)

    @property
    def node_count(self) -> int:
        """Nodes, whatever their status."""
        return len(self._nodes)

    def policy(self, name: str) -> Policy | None:
        """A policy."""
        return self._policies.get(name)

    def policies(self, prefix: str = "") -> Iterator[Policy]:
        """The policies whose names begin so, in their order."""
        return self._policies.beginning_with(prefix)

    def token(self, accessor_id: str) -> Token | None:
        """A token by its accessor."""
        return self._tokens.get(key_of(accessor_id))

    def token_of_secret(self, secret_id: str) -> Token | None:
        """A token by its secret."""
        accessor = self._accessors.get(key_of(secret_id))
        return None if accessor is None else self._tokens.get(accessor)

    def tokens(self, prefix: str = "") -> Iterator[Token]:
        """The tokens whose accessors begin so, in their order."""
        return self._tokens.beginning_with(key_of(prefix))

    @property
    def bootstrap_index(self) -> int:
        """Index at which the first token was made; 0 if there is none."""
        return self.index_of(Table.BOOTSTRAP)

    @property
    def autopilot(self) -> AutopilotConfig | None:
        """What autopilot was told; None before the first leader told it."""
        return self._autopilot

    @property
    def cluster(self) -> ClusterId | None:
        """The cluster's name; None before the first leader gave one."""
        return self._cluster

    @property
    def keyring(self) -> KeyringRecord | None:
        """The gossip keys that are installed, as far as anybody noted."""
        return self._keyring

    # --- nodes --------------------------------------------------------------------------------

    def _register_node(self, command: RegisterNode, index: int) -> Outcome:
        node = command.node
        if flaw := node_flaw(node):
            return Refused(flaw)
        key = key_of(node.id)
        known = self._nodes.get(key)
        time = NodeEvent("Node registered", node.status_updated_at * NANOSECONDS)
        if known is None:
            if len(self._nodes) >= NODES_MAX:
                return Refused(f"{NODES_MAX} nodes are registered; no more are allowed")
            node = msgspec.structs.replace(
                node,
                eligibility=node.eligibility or ELIGIBLE,
                events=(),
                create_index=index,
                modify_index=index,
            )
            node = with_event(node, time)
        else:
            if known.secret_id != node.secret_id:
                return Refused(WRONG_SECRET)
            # What operators decided about a node is not for the node to say.
            node = msgspec.structs.replace(
                node,
                eligibility=known.eligibility,
                drain=known.drain,
                events=known.events,
                create_index=known.create_index,
                modify_index=index,
            )
            if known.status == DOWN and node.status != DOWN:
                node = with_event(node, msgspec.structs.replace(time, message="Node re-registered"))
        self._nodes.put(key, node)
        return self._write(index, Table.NODES)

    def _deregister_nodes(self, command: DeregisterNodes, index: int) -> Outcome:
        keys = dict.fromkeys(map(key_of, command.node_ids))
        if not keys or any(key not in self._nodes for key in keys):
            return Refused(NODE_NOT_FOUND)
        for key in keys:
            self._nodes.remove(key)
        return self._write(index, Table.NODES)

    def _set_node_status(self, command: SetNodeStatus, index: int) -> Outcome:
        key = key_of(command.node_id)
        node = self._nodes.get(key)
        if node is None:
            return Refused(NODE_NOT_FOUND)
        if command.status not in NODE_STATUSES:
            return Refused("invalid status for node")
        node = msgspec.structs.replace(
            node, status=command.status, status_updated_at=command.time, modify_index=index
        )
        if command.event is not None:
            event = msgspec.structs.replace(command.event, create_index=index)
            node = with_event(node, event)
        self._nodes.put(key, node)
        return self._write(index, Table.NODES)

    # --- ACL ----------------------------------------------------------------------------------

    def _upsert_policies(self, command: UpsertPolicies, index: int) -> Outcome:
        policies = {policy.name: policy for policy in command.policies}
        for policy in policies.values():
            if flaw := policy_flaw(policy):
                return Refused(flaw, 400)
        new = sum(name not in self._policies for name in policies)
        if len(self._policies) + new > POLICIES_MAX:
            return Refused(f"no more than {POLICIES_MAX} policies are allowed", 400)
        for policy in policies.values():
            known = self._policies.get(policy.name)
            created = index if known is None else known.create_index
            policy = msgspec.structs.replace(
                policy.hashed(), create_index=created, modify_index=index
            )
            self._policies.put(policy.name, policy)
        return self._write(index, Table.POLICIES) if policies else Unchanged()

    def _delete_policies(self, command: DeletePolicies, index: int) -> Outcome:
        for name in command.names:
            self._policies.remove(name)
        return self._write(index, Table.POLICIES)

    def _upsert_tokens(self, command: UpsertTokens, index: int) -> Outcome:
        tokens = {key_of(token.accessor_id): token for token in command.tokens}
        secrets: dict[str, str] = {}
        for key, token in tokens.items():
            if flaw := token_flaw(token):
                return Refused(flaw, 400)
            secret = key_of(self._kept(key, token).secret_id)
            # One secret stands for one token: two would each hide the other.
            if self._accessors.get(secret, key) != key or secrets.setdefault(secret, key) != key:
                return Refused("the secret of a token is that of another one", 400)
        new = sum(key not in self._tokens for key in tokens)
        if len(self._tokens) + new > TOKENS_MAX:
            return Refused(f"no more than {TOKENS_MAX} tokens are allowed", 400)
        if not tokens:
            return Unchanged()
        written = [self._put_token(key, token, index) for key, token in tokens.items()]
        self._write(index, Table.TOKENS)
        return Written(index, tuple(written))

    def _kept(self, key: str, token: Token) -> Token:
        """The token with what a known one keeps."""
        known = self._tokens.get(key)
        if known is None:
            return token
        return msgspec.structs.replace(
            token,
            secret_id=known.secret_id,
            create_time_ns=known.create_time_ns,
            create_index=known.create_index,
        )

    def _put_token(self, key: str, token: Token, index: int) -> Token:
        token = self._kept(key, msgspec.structs.replace(token, create_index=index))
        token = msgspec.structs.replace(token.hashed(), modify_index=index)
        self._tokens.put(key, token)
        self._accessors[key_of(token.secret_id)] = key
        return token

    def _delete_tokens(self, command: DeleteTokens, index: int) -> Outcome:
        for accessor_id in command.accessor_ids:
            token = self._tokens.remove(key_of(accessor_id))
            if token is not None:
                del self._accessors[key_of(token.secret_id)]
        return self._write(index, Table.TOKENS)

    def _bootstrap_acl(self, command: BootstrapAcl, index: int) -> Outcome:
        done = self.bootstrap_index
        if done and not command.reset_index:
            return Refused(f"ACL bootstrap already done (reset index: {done})", 400)
        if done and command.reset_index != done:
            return Refused(
                f"Invalid bootstrap reset index (specified {command.reset_index}, "
                f"reset index: {done})",
                400,
            )
        outcome = self._upsert_tokens(UpsertTokens((command.token,)), index)
        if isinstance(outcome, Written):
            self._write(index, Table.BOOTSTRAP)
        return outcome

    # --- the rest -----------------------------------------------------------------------------

    def _set_autopilot(self, command: SetAutopilot, index: int) -> Outcome:
        known = self._autopilot
        if command.initial and known is not None:
            return Unchanged()
        if command.cas and (known is None or known.modify_index != command.config.modify_index):
            return Unchanged()
        self._autopilot = msgspec.structs.replace(
            command.config,
            create_index=index if known is None else known.create_index,
            modify_index=index,
        )
        return self._write(index, Table.AUTOPILOT)

    def _set_cluster(self, command: SetClusterId, index: int) -> Outcome:
        if self._cluster is not None:
            return Unchanged()
        if flaw := uuid_flaw(command.cluster.id):
            return Refused(f"the cluster's id is none: {flaw}")
        self._cluster = command.cluster
        return self._write(index, Table.CLUSTER)

    def _set_keyring(self, command: SetKeyring, index: int) -> Outcome:
        keyring, known = command.keyring, self._keyring
        if len(keyring.fingerprints) > KEYS_MAX:
            return Refused(f"no more than {KEYS_MAX} keys are allowed")
        self._keyring = msgspec.structs.replace(
            keyring,
            create_index=index if known is None else known.create_index,
            modify_index=index,
        )
        return self._write(index, Table.KEYRING)
