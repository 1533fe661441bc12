"""What answers calls, as the ends see it; who provides it knows methods, not connections.

Source: rpc.md §6, §7, §11.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Literal, Protocol

from swimnomad.names import Address, Value

if TYPE_CHECKING:
    from swimnomad.rpc.mux import MuxSession

Level = Literal["debug", "info", "warn", "error"]


class RpcLog(Protocol):
    """Where the ends write what an operator should know; must not raise or wait."""

    def __call__(self, level: Level, message: str, **pairs: object) -> None:
        """Write a line."""
        ...


def no_log(level: Level, message: str, **pairs: object) -> None:
    """Write nothing."""


class Peer(Value, frozen=True):
    """Who calls.

    Attributes:
        address: The other end of the connection.
        session: On multiplexed connections, the session: the peer can be called back on it.
        certificate_names: Of the certificate it showed: DNS names, else the common name; none
            without TLS.
    """

    address: Address
    session: MuxSession | None = None
    certificate_names: tuple[str, ...] = ()

    @property
    def is_multiplexed(self) -> bool:
        """Whether it can be called back."""
        return self.session is not None


class StreamWriter(Protocol):
    """How a streaming method sends to its caller."""

    async def send(self, payload: bytes | None) -> None:
        """Send one payload; None is the heartbeat of plain streams. Waits for a slow caller.

        Raises:
            trio.BrokenResourceError: The caller is gone or has taken nothing for too long.
        """
        ...

    async def fail(self, code: int | None, message: str) -> None:
        """Tell the caller an error, as the last thing."""
        ...


StreamingHandler = Callable[[bytes, StreamWriter, Peer], Awaitable[None]]
"""Serves one streaming call: its request as the bytes of one object, where to send, who calls.

The stream ends when it returns. It is cancelled when the caller closes. An `RpcFailed` that it
raises is sent to the caller."""


class RpcService(Protocol):
    """The methods that are offered."""

    async def answer(self, method: str, arguments: bytes, peer: Peer) -> bytes:
        """The reply, as the bytes of one object; cancelled if the caller goes away.

        Raises:
            RpcFailed: Sent to the caller; `UnknownMethod` and `BadArguments` end the stream too.
        """
        ...

    def streaming(self, method: str) -> StreamingHandler | None:
        """Who serves a streaming method; None if it is not offered."""
        ...
