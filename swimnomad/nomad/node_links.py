"""Which client nodes are connected to this server, and over which connections.

A node registers over a connection that it opened; servers that want something of the node have to
use that one. The first node that is seen on a connection stays the one it belongs to.

Source: rpc.md §11; nomad client_rpc.go.
"""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager
from typing import TYPE_CHECKING, Any, Protocol, TypeVar

from swimnomad.nomad.identifiers import key_of
from swimnomad.nomad.requests import AgentMonitor, Request

if TYPE_CHECKING:
    from swimnomad.nomad.remote import Pieces

Reply = TypeVar("Reply")


class NodeLink(Protocol):
    """A connection of a client; compared by identity."""

    @property
    def established(self) -> float:
        """Since when it is there (seconds since the epoch)."""
        ...

    @property
    def is_open(self) -> bool:
        """Whether it is there still."""
        ...

    @property
    def is_callable(self) -> bool:
        """Whether the node can be asked over it: it carries several streams."""
        ...

    async def ask(self, request: Request[Reply]) -> Reply:
        """Ask the node.

        Raises:
            OperationError: It refused, or cannot be reached.
        """
        ...

    def stream(self, request: AgentMonitor) -> AbstractAsyncContextManager[Pieces]:
        """The log of the node for the length of the block.

        Raises:
            StreamFailed: From the block's entry or from the pieces.
        """
        ...


class NodeLinks:
    """The connections of every node."""

    def __init__(self) -> None:
        self._links: dict[str, list[NodeLink]] = {}
        self._owners: dict[NodeLink, str] = {}

    def note(self, node_id: str, link: NodeLink) -> None:
        """A request of a known node came over this connection."""
        # What is closed already is never forgotten: the answer has taken longer than that.
        if link not in self._owners and link.is_open:
            key = key_of(node_id)
            self._owners[link] = key
            links = self._links.setdefault(key, [])
            links.append(link)
            links.sort(key=lambda each: each.established)

    def forget(self, link: NodeLink) -> None:
        """The connection is closed."""
        key = self._owners.pop(link, None)
        if key is not None:
            links = self._links[key]
            links.remove(link)
            if not links:
                del self._links[key]

    def newest(self, node_id: str) -> NodeLink | None:
        """The connection of a node that was established last."""
        links: list[Any] = self._links.get(key_of(node_id), [])
        return links[-1] if links else None
