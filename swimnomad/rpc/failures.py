"""Why a call failed, in the words every peer expects.

An error travels as text alone. Two things are read back out of the text: whether it begins with
the coded form `RPC Error:: 404,…`, and which well-known phrase it contains. So the phrases here
are part of the protocol.

Source: rpc.md §6, §12.2, §13.
"""

from __future__ import annotations

import re
from collections.abc import Container
from typing import Final

from swimnomad.errors import OperationError

NO_LEADER: Final = "No cluster leader"
NOT_READY: Final = "Not ready to serve consistent reads"
NO_PATH_TO_REGION: Final = "No path to region"
NO_PATH_TO_NODE: Final = "No path to node"
TOKEN_NOT_FOUND: Final = "ACL token not found"
PERMISSION_DENIED: Final = "Permission denied"
UNKNOWN_STREAMING_METHOD: Final = "Unknown rpc method"
UNKNOWN_NODE_VERSION: Final = "Unable to determine Nomad version"
NODE_LACKS_RPC: Final = "Node does not support RPC; requires 0.8 or later"
MISSING_REGION: Final = "missing region for target RPC"
MISSING_TARGET: Final = "missing target RPC"
INVALID_SERVER_ADDRESS: Final = "must be given a valid server address"
MISSING_NODE_ID: Final = "Must provide the NodeID"
NODE_NOT_FOUND: Final = "node not found"
NO_SERVERS: Final = "no servers"
INVALID_CERTIFICATE: Final = "invalid role or region for certificate"

CONNECTION_LOST: Final = "rpc error: EOF"
"""What a caller sees if the connection ends before the answer."""
NO_LEAD_THREAD: Final = "rpc error: lead thread didn't get connection"
"""Why a caller got no connection that waited for another caller's attempt."""

_CODED_PREFIX: Final = "RPC Error:: "
_CODED: Final = re.compile(r"RPC Error:: ([+-]?[0-9]{1,18}),", re.ASCII)
_RELAYED_PREFIX: Final = "rpc error: "


def coded(code: int, message: str) -> str:
    """The coded form of an error, which relays pass on unchanged."""
    return f"{_CODED_PREFIX}{code},{message}"


def parse_coded(text: str) -> tuple[int, str] | None:
    """Code and message of an error in the coded form, else None.

    The form counts only at the very beginning; of nested ones this is the outer.
    """
    found = _CODED.match(text)
    return None if found is None else (int(found[1]), text[found.end() :])


def relayed(text: str) -> str:
    """What the caller of a remote server sees of that server's error: each hop adds a prefix."""
    return text if text.startswith(_CODED_PREFIX) else _RELAYED_PREFIX + text


def no_connection(text: str) -> str:
    """The error for a peer that could not be reached; `text` tells why."""
    return f"{_RELAYED_PREFIX}failed to get conn: {text}"


def no_stream(text: str) -> str:
    """The error for a session that opens no stream; `text` tells why."""
    return f"{_RELAYED_PREFIX}failed to start stream: {text}"


def unknown_node(node: str) -> str:
    """The error for a node id nobody registered, in the coded form."""
    return coded(404, f"Unknown node {quoted(node)}")


def unknown_server(server: str) -> str:
    """The error for a server id that no member of the region has."""
    return f"unknown Nomad server {server}"


def unknown_streaming_method(method: str) -> str:
    """The answer to a streaming handshake that names a method nobody offers."""
    return f"{UNKNOWN_STREAMING_METHOD}: {quoted(method)}"


_ESCAPES: Final = {
    '"': '\\"',
    "\\": "\\\\",
    "\a": "\\a",
    "\b": "\\b",
    "\f": "\\f",
    "\n": "\\n",
    "\r": "\\r",
    "\t": "\\t",
    "\v": "\\v",
}


def _escaped(character: str) -> str:
    if character in _ESCAPES:
        return _ESCAPES[character]
    if character.isprintable():
        return character
    code = ord(character)
    if 0xDC80 <= code <= 0xDCFF:  # a byte that was not UTF-8
        return f"\\x{code - 0xDC00:02x}"
    if code < 0x80:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def quoted(text: str) -> str:
    """The text in double quotes with Go's escapes, as `%q` writes it."""
    return '"' + "".join(map(_escaped, text)) + '"'


class RpcFailed(OperationError):
    """A call did not succeed.

    Attributes:
        text: The error as it travels.
        code: The number in it if it has the coded form, or that of a streaming error.
        may_have_happened: False if the call certainly had no effect.
    """

    ends_conversation = False
    """Whether the server closes the stream after it has sent this error."""

    def __init__(
        self, text: str, *, may_have_happened: bool = False, code: int | None = None
    ) -> None:
        super().__init__(text, may_have_happened=may_have_happened)
        self.text = text
        if code is None:
            found = parse_coded(text)
            code = None if found is None else found[0]
        self.code = code


class UnknownMethod(RpcFailed):
    """The peer asked for a method that is not offered; it is told so and the stream closed."""

    ends_conversation = True


def unknown_method(method: str, services: Container[str]) -> UnknownMethod:
    """The error for a method that is not offered.

    Args:
        method: As the peer wrote it, `Service.Method`.
        services: The services that have at least one method.
    """
    service, dot, _ = method.rpartition(".")
    if not dot:
        return UnknownMethod(f"rpc: service/method request ill-formed: {method}")
    missing = "method" if service in services else "service"
    return UnknownMethod(f"rpc: can't find {missing} {method}")


class BadArguments(RpcFailed):
    """The arguments of a call do not decode; the peer is told so and the stream closed.

    Args:
        detail: What is wrong with them.
        offset: Bytes of the arguments that had been read by then.
    """

    ends_conversation = True

    def __init__(self, detail: str, *, offset: int = 1) -> None:
        super().__init__(f"msgpack decode error [pos {offset}]: {detail}")
        self.detail = detail
        self.offset = offset

    def text_at(self, position: int) -> str:
        """The error as it travels, for arguments that began at that byte of the conversation."""
        return f"msgpack decode error [pos {position + self.offset}]: {self.detail}"


class SessionClosed(RpcFailed):
    """The session opens no more streams: it has ended, or the peer asked for no more."""


class StreamsExhausted(RpcFailed):
    """No stream can be opened now: too many wait for their answer, or all ids are used up."""


class StreamClosed(RpcFailed):
    """The stream is gone: reset by the peer, or its session ended."""

    def __init__(self, text: str = "stream closed") -> None:
        super().__init__(text, may_have_happened=True)
