"""Questions about the leader of a region, as a server without Raft must answer them.

This version elects no leader. It behaves as a Nomad server that has none: a question that wants a
leader is held for a while, in case one appears, and then refused; a stale one is answered at once.

Source: agent-http.md §4.6, §5; nomad rpc.go, forward.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from swimnomad.nomad.failures import RequestFailed, not_forwarded

if TYPE_CHECKING:
    from swimnomad.nomad.core import NomadCore
    from swimnomad.nomad.services import Services

HOLD_TIME = 5.0
"""Seconds that a request waits for a leader (Nomad's RPCHoldTimeout)."""


class Leadership:
    """Who leads, asked at one server."""

    def __init__(self, region: str, core: NomadCore | None, services: Services) -> None:
        self._region = region
        self._core = core
        self._services = services

    async def leader(self, region: str, stale: bool) -> str:
        """Raft address of a region's leader; empty if the question is stale and there is none.

        Args:
            region: The region asked about; empty means our own.
            stale: Whether an answer without a leader is welcome.

        Raises:
            RequestFailed: No leader, no such region, or a region only its own servers know about.
        """
        await self._hold(region, stale)
        return ""

    async def peers(self, region: str, stale: bool) -> list[str]:
        """Raft addresses of a region's voters; arguments and failures as for `leader`."""
        await self._hold(region, stale)
        return []

    async def _hold(self, region: str, stale: bool) -> None:
        if self._core is None:
            raise not_forwarded()
        if region not in ("", self._region):
            if region not in self._core.servers.peers:
                raise RequestFailed("No path to region")
            raise not_forwarded()
        if not stale:
            await self._services.sleep(HOLD_TIME)
            raise RequestFailed("No cluster leader")
