"""Other agents as the facade sees them; `rpc` provides it, tests fake it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager
from typing import Protocol, TypeVar

from swimnomad.errors import OperationError
from swimnomad.names import Address
from swimnomad.nomad.requests import AgentMonitor, Request

Reply = TypeVar("Reply")

Pieces = AsyncIterator[bytes | None]
"""Pieces of a stream; None stands for a sign of life without content."""


class StreamFailed(OperationError):
    """A stream came to no good end.

    Attributes:
        code: What went wrong, as an HTTP status; None if nobody said.
    """

    def __init__(self, text: str, *, code: int | None, may_have_happened: bool = False) -> None:
        super().__init__(text, may_have_happened=may_have_happened)
        self.code = code


class Remote(Protocol):
    """A way to ask other agents. Errors have the words of the reference, prefix included."""

    async def ask(self, server: Address, region: str, request: Request[Reply]) -> Reply:
        """Ask one server and wait for its answer, for as long as the connection lives.

        Args:
            server: Its RPC address.
            region: The region it serves; TLS checks the server's name against it.
            request: Sent as it is.

        Raises:
            OperationError: If there was no answer, or the answer is a refusal.
        """
        ...

    def stream(
        self, server: Address, region: str, request: AgentMonitor
    ) -> AbstractAsyncContextManager[Pieces]:
        """A streaming request to one server for the length of the block.

        Arguments are those of `ask`.

        Raises:
            StreamFailed: From the block's entry or from the pieces, if the stream cannot be had or
                ends with an error.
        """
        ...
