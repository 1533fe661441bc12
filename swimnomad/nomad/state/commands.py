"""The changes that go through the Raft log, and their bytes.

A command holds everything its effect depends on: identifiers, secrets and times are drawn by
whoever proposes it, never while it is applied. Its bytes are a kind, a version and a map in
MessagePack:

    kind      1 byte   Nomad's number where Nomad has such a message, our own from 64 on;
                       bit 128: a server that does not know the kind may skip it
    version   1 byte   of that kind; a server refuses those above its own
    fields    map      unknown ones are skipped, missing ones have their defaults

Real Nomad servers write other fields: a log is not shared with them.

Source: nomad-agent.md §16.2; nomad structs/structs.go, MessageType.
"""

from __future__ import annotations

from typing import Final

import msgspec

from swimnomad.errors import SwimnomadError, UsageError
from swimnomad.names import Value
from swimnomad.nomad.state.records import (
    AutopilotConfig,
    ClusterId,
    Index,
    KeyringRecord,
    Node,
    NodeEvent,
    Policy,
    Seconds,
    Token,
    is_plain,
)

COMMAND_BYTES_MAX: Final = 1_048_576
"""Longest command; Raft takes no longer entries than 8 MiB."""
IGNORABLE: Final = 128
"""Bit of a kind that older servers may skip."""


class BadCommand(SwimnomadError):
    """An entry of the log that this server cannot apply; the state is as before.

    The text is one sentence. Going on without the entry would make this server's state another one
    than that of the others: whoever applies the log has to stop.
    """


class Command(Value, frozen=True):
    """Base of all commands."""


class RegisterNode(Command, frozen=True):
    """Take a node in, or replace what it said of itself. Its time is `status_updated_at`."""

    node: Node


class DeregisterNodes(Command, frozen=True):
    """Forget nodes."""

    node_ids: tuple[str, ...]


class SetNodeStatus(Command, frozen=True):
    """Give a node a status; `time` in seconds since the epoch."""

    node_id: str
    status: str
    time: Seconds
    event: NodeEvent | None = None


class UpsertPolicies(Command, frozen=True):
    """Write policies, by name."""

    policies: tuple[Policy, ...]


class DeletePolicies(Command, frozen=True):
    """Delete policies; unknown names do not matter."""

    names: tuple[str, ...]


class UpsertTokens(Command, frozen=True):
    """Write tokens, by accessor. The secret and the time of a known one stay."""

    tokens: tuple[Token, ...]


class DeleteTokens(Command, frozen=True):
    """Delete tokens by accessor; unknown ones do not matter."""

    accessor_ids: tuple[str, ...]


class BootstrapAcl(Command, frozen=True):
    """Write the first token. Again only with the index at which it was done before."""

    token: Token
    reset_index: Index = 0


class SetAutopilot(Command, frozen=True):
    """Configure autopilot.

    With `cas` only if the configuration still has the `modify_index` of this one; with `initial`
    only if there is none.
    """

    config: AutopilotConfig
    cas: bool = False
    initial: bool = False


class SetClusterId(Command, frozen=True):
    """Name the cluster; nothing happens if it has a name."""

    cluster: ClusterId


class SetKeyring(Command, frozen=True):
    """Note which gossip keys are installed."""

    keyring: KeyringRecord


KINDS: Final[dict[int, type[Command]]] = {
    0: RegisterNode,
    1: DeregisterNodes,
    2: SetNodeStatus,
    19: UpsertPolicies,
    20: DeletePolicies,
    21: UpsertTokens,
    22: DeleteTokens,
    23: BootstrapAcl,
    24: SetAutopilot,
    32: SetClusterId,
    64 | IGNORABLE: SetKeyring,
}
VERSION: Final = 1
"""Of every kind so far."""

_NUMBERS: Final = {kind: number for number, kind in KINDS.items()}
_ENCODER: Final = msgspec.msgpack.Encoder()
_DECODERS: Final = {
    number & ~IGNORABLE: msgspec.msgpack.Decoder(kind) for number, kind in KINDS.items()
}


def encode_command(command: Command) -> bytes:
    """The command as the data of a log entry.

    Raises:
        UsageError: It is too long, or holds what cannot be written (text that is not Unicode,
            numbers out of range).
    """
    try:
        fields = _ENCODER.encode(command)
    except (TypeError, ValueError, OverflowError, RecursionError) as error:
        raise UsageError(f"this cannot be kept: {error}") from None
    if len(fields) + 2 > COMMAND_BYTES_MAX:
        raise UsageError(
            f"a change of {len(fields) + 2} bytes is too long; {COMMAND_BYTES_MAX} are allowed"
        )
    data = bytes((_NUMBERS[type(command)], VERSION)) + fields
    try:
        decode_command(data)  # what cannot be read back would stop every server that applies it
    except BadCommand as error:
        raise UsageError(f"this cannot be kept: {error}") from None
    return data


def decode_command(data: bytes) -> Command | None:
    """The command in the data of a log entry; None if it may be skipped.

    Raises:
        BadCommand: It cannot be applied here.
    """
    if len(data) < 2:
        raise BadCommand(f"a log entry of {len(data)} bytes is no command")
    if len(data) > COMMAND_BYTES_MAX:
        raise BadCommand(
            f"a command of {len(data)} bytes is too long; {COMMAND_BYTES_MAX} are allowed"
        )
    number, version = data[0], data[1]
    decoder = _DECODERS.get(number & ~IGNORABLE)
    if decoder is None or not 1 <= version <= VERSION:
        if number & IGNORABLE:
            return None
        raise BadCommand(
            f"a command of kind {number}, version {version}, is unknown to this program; "
            "a newer one wrote it"
        )
    try:
        command: Command = decoder.decode(data[2:])
    except (msgspec.MsgspecError, ValueError, OverflowError, RecursionError) as error:
        raise BadCommand(f"a command of kind {number} is damaged: {error}") from None
    if isinstance(command, RegisterNode) and not is_plain(command.node.details):
        raise BadCommand(f"a command of kind {number} is damaged: details of no known type")
    return command
