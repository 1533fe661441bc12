"""The protocol stack of one Nomad server: gossip, and the tables of servers it feeds.

Source: nomad-agent.md §4.
"""

from __future__ import annotations

import random
from collections.abc import Callable

from swimnomad.nomad.config import AgentConfig
from swimnomad.nomad.filter import ServersOnly
from swimnomad.nomad.peers import ServerTables, servers_of
from swimnomad.serf.inputs import Converge, SerfInput
from swimnomad.serf.node import SerfNode
from swimnomad.swim.effects import Effect, Emit
from swimnomad.wire.keyring import Keyring


class NomadCore:
    """A `Core` around `SerfNode` that keeps the tables of servers.

    Every effect of the gossip layers passes through unchanged. A `ServerAdded`, `ServerRemoved` or
    `NonServerSeen` follows the member event that caused it.
    """

    def __init__(
        self,
        config: AgentConfig,
        rng: random.Random,
        *,
        node_id: str = "",
        keyring: Keyring | None = None,
        nonces: Callable[[], bytes] | None = None,
    ) -> None:
        self.serf = SerfNode(
            config.serf_config(node_id),
            rng,
            member_filter=None if config.gossip.allow_any_serf else ServersOnly(),
            keyring=keyring,
            nonces=nonces,
        )
        self.region = config.region
        self.allow_any_serf = config.gossip.allow_any_serf
        self.servers = ServerTables(config.region)

    @classmethod
    def around(cls, serf: SerfNode, region: str, *, allow_any_serf: bool) -> NomadCore:
        """The stack around a fresh `serf`, whose member filter is as `allow_any_serf` says."""
        core = cls.__new__(cls)
        core.serf = serf
        core.region = region
        core.allow_any_serf = allow_any_serf
        core.servers = ServerTables(region)
        return core

    def handle(self, incoming: SerfInput, now: float) -> list[Effect]:
        """Apply one input at `now` (seconds, monotonic); return the effects in order."""
        if type(incoming) is Converge:
            self.servers.fill(servers_of(incoming.roster))
            return self.serf.handle(incoming, now)
        effects: list[Effect] = []
        for effect in self.serf.handle(incoming, now):
            effects.append(effect)
            if isinstance(effect, Emit) and (change := self.servers.apply(effect.event)):
                effects.append(Emit(change))
        return effects
