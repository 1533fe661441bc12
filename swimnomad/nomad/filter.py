"""Who may be in the pool: Nomad servers only, unless any Serf member is welcome.

Source: nomad-agent.md §3.
"""

from __future__ import annotations

from collections.abc import Iterable

from swimnomad.nomad.tags import parse_server
from swimnomad.serf.events import Member


class ServersOnly:
    """A member filter that refuses a pool with even one member that is no Nomad server."""

    def refuse(self, members: Iterable[Member]) -> str:
        """Why these members are refused, in Nomad's words; empty to accept."""
        for member in members:
            if parse_server(member) is None:
                return f"member '{member.name}' is not a server"
        return ""
