"""How an agent that is a client asks its servers.

Source: rpc.md §12.3, §12.4; agent-http.md §4.2; nomad client/rpc.go, client/client.go.
"""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING, TypeVar

from swimnomad.errors import OperationError
from swimnomad.names import Address
from swimnomad.nomad.failures import NO_LEADER, RequestFailed, cannot_forward, no_servers
from swimnomad.nomad.forwarding import HOLD_TIME, PAUSE_MAX
from swimnomad.nomad.joining import BadAddress, errors_text
from swimnomad.nomad.remote import Pieces, StreamFailed
from swimnomad.nomad.requests import AgentMonitor, Query, Request, StatusPing
from swimnomad.nomad.server_list import ServerList, resolve_server

if TYPE_CHECKING:
    from swimnomad.nomad.remote import Remote
    from swimnomad.nomad.services import Services

logger = logging.getLogger("swimnomad.client.server_mgr")

REBALANCE_MIN = 300.0
REBALANCE_MAX = 600.0
"""Seconds between two rebalances of the list, drawn anew each time."""
BLOCK_MAX = 300.0
"""Seconds that a waiting read waits at most, and unless it says otherwise."""

Reply = TypeVar("Reply")


class KnownServers:
    """The servers of one client agent, and requests to them.

    Names among the servers it was configured with are looked up when servers are first needed;
    those without an address are dropped then, as Nomad does.
    """

    def __init__(self, written: Sequence[str], region: str, services: Services) -> None:
        """Start with the servers written in the configuration, as `host` or `host:port`."""
        self._region = region
        self._services = services
        self._unresolved: Sequence[str] = tuple(written)
        self._list = ServerList((), services.rng)

    @property
    def known(self) -> Sequence[Address]:
        """Every server whose address is known by now, the one to ask first."""
        return self._list.in_order

    def use(self, servers: Iterable[Address]) -> None:
        """Know exactly these from now on, as the servers themselves said."""
        self._unresolved = ()
        self._list.replace(servers)

    def pass_over(self) -> None:
        """Ask others first: the one that is asked first has kept somebody waiting too long."""
        if self.known:
            self._list.note_failure(self.known[0])

    async def addresses(self) -> list[str]:
        """Every known server, reachable or not, as sorted text."""
        return sorted(map(str, (await self._resolved()).in_order))

    async def ask(self, request: Request[Reply]) -> Reply:
        """Ask the first server that can be reached.

        A server that cannot be reached has certainly done nothing: the next one is asked at once,
        each one once. A region without a leader is asked again for a while. A read is asked again
        if the connection was lost under it. Anything else is an answer.

        Raises:
            OperationError: No servers, or what the last one asked said.
        """
        known, remote = await self._resolved(), self._remote
        deadline = self._services.now() + HOLD_TIME + _time_to_block(request)
        unreached: set[Address] = set()
        while True:
            left = [server for server in known.in_order if server not in unreached]
            if not left:
                raise no_servers()
            try:
                return await remote.ask(left[0], self._region, request)
            except OperationError as error:
                known.note_failure(left[0])
                text = str(error)
                logger.warning("error performing RPC to server %s: %s", left[0], text)
                if _was_not_reached(text):
                    unreached.add(left[0])
                    if len(left) > 1:
                        continue
                    raise
                if not _may_ask_again(request, text) or self._services.now() >= deadline:
                    raise
            # Or all that lost the same leader would come back together.
            await self._services.sleep(self._services.rng.uniform(0.0, PAUSE_MAX))

    @asynccontextmanager
    async def stream(self, request: AgentMonitor) -> AsyncIterator[Pieces]:
        """The log of an agent, by way of the first server.

        Raises:
            StreamFailed: From the block's entry or from the pieces.
        """
        known = await self._resolved()
        if not known.in_order:
            raise StreamFailed(str(no_servers()), code=500)
        async with self._remote.stream(known.in_order[0], self._region, request) as pieces:
            yield pieces

    async def replace(self, written: Sequence[str]) -> None:
        """Know exactly those of these servers that answer a ping; all are pinged at once.

        Raises:
            RequestFailed: With status 400, if none does; then the old list stays.
        """
        calls = [partial(self._outcome, text) for text in written]
        outcomes = await self._services.all_of(calls)
        found = [outcome for outcome in outcomes if isinstance(outcome, Address)]
        if not found:
            failures = [outcome for outcome in outcomes if isinstance(outcome, str)]
            raise RequestFailed(errors_text(failures), status=400)
        (await self._resolved()).replace(found)

    async def rebalance(self) -> None:
        """Shuffle the list so that a server comes first that answers; without one it stays."""
        known = await self._resolved()
        order = known.candidates()
        for _ in range(len(order)):
            try:
                await self._remote.ask(order[0], self._region, StatusPing())
            except OperationError as error:
                logger.debug("error pinging server %s: %s", order[0], error)
                order.append(order.pop(0))
            else:
                known.use_order(order)
                return
        logger.debug("no healthy servers during rebalance")

    async def keep_balanced(self) -> None:
        """Rebalance now and then; never returns."""
        while True:
            await self._services.sleep(self._services.rng.uniform(REBALANCE_MIN, REBALANCE_MAX))
            await self.rebalance()

    @property
    def _remote(self) -> Remote:
        if self._services.remote is None:
            raise cannot_forward()
        return self._services.remote

    async def _resolved(self) -> ServerList:
        written, self._unresolved = self._unresolved, ()
        if written:
            found: list[Address] = []
            for text in written:
                try:
                    found.append(await resolve_server(text, self._services.resolve))
                except BadAddress as error:
                    logger.warning("ignoring server %s: %s", text, error)
            self._list.replace(found)
        return self._list

    async def _outcome(self, text: str) -> Address | str:
        """The address of a server that answers; or in what way it does not."""
        try:
            server = await resolve_server(text, self._services.resolve)
        except BadAddress as error:
            return str(error)
        try:
            await self._remote.ask(server, self._region, StatusPing())
        except OperationError as error:
            return f"Server at address {server} failed ping: {error}"
        return server


def _time_to_block(request: Request[Reply]) -> float:
    if isinstance(request, Query) and request.min_index > 0:
        return min(request.wait, BLOCK_MAX) or BLOCK_MAX
    return 0.0


def _was_not_reached(text: str) -> bool:
    return text.startswith(("rpc error: failed to get conn", "rpc error: failed to start stream"))


def _may_ask_again(request: Request[Reply], text: str) -> bool:
    if NO_LEADER in text:
        return True  # nothing can have changed without one
    return isinstance(request, Query | StatusPing) and _is_lost_connection(text)


def _is_lost_connection(text: str) -> bool:
    return "stream closed" in text or "session shutdown" in text or text.endswith(": EOF")
