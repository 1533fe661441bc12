"""How a region gets its first Raft configuration.

A single server writes its own at the start. Of several, each waits until it knows as many as it
was told to expect, asks all of them whether they know of peers already, and if none does, writes
the configuration that all of them come to. It is the same everywhere, so it does not matter how
many of them do.

Source: nomad-agent.md §5; nomad serf.go, maybeBootstrap.
"""

from __future__ import annotations

from collections.abc import Mapping

from swimnomad.nomad.consensus import RaftPeer
from swimnomad.nomad.duties.messages import (
    AskPeers,
    BootstrapRaft,
    DutyEffect,
    DutyTimer,
    Log,
    PeersReported,
    SetTimer,
)
from swimnomad.nomad.duties.view import DutyView, peer_of, uses_uuids
from swimnomad.nomad.tags import Server

TRIES_MAX = 6
"""How often a server is asked for its peers; what it never answers counts as none."""
PAUSE = 1.0
"""Seconds after the first failure; doubles with each."""


class Bootstrapping:
    """The attempts of one server, as long as it expects anything."""

    def __init__(self, expect: int, view: DutyView) -> None:
        self._view = view
        self.expect = expect
        """How many servers are expected; 0: none (any more)."""
        self._number = 0
        self._asking: dict[str, Server] = {}
        self._unheard: dict[str, Server] = {}
        self._tries = 0

    def start(self) -> list[DutyEffect]:
        """The server is up."""
        if self._has_raft_state():
            self.expect = 0
        if self.expect == 1:
            own = self._view.servers.get(self._view.own_name)
            if own is not None:
                return self._bootstrap({own.name: own})
        return self.attempt()

    def attempt(self) -> list[DutyEffect]:
        """There is another server, maybe."""
        if not self.expect or self._asking:
            return []
        if self._has_raft_state():
            self.expect = 0
            return []
        servers = dict(sorted(self._view.servers.items()))
        for server in servers.values():
            if server.expect and server.expect != self.expect:
                return [
                    Log(
                        "error",
                        "peer has a conflicting expect value. "
                        f"All nodes should expect the same number: member={server.name}",
                    )
                ]
            if server.is_bootstrap and self.expect != 1:
                return [
                    Log(
                        "error",
                        f"peer has bootstrap mode. Expect disabled: member={server.name}",
                    )
                ]
        voters = [server for server in servers.values() if not server.is_nonvoter]
        if self.expect == 1 or len(voters) < self.expect:
            return []
        self._asking, self._tries = servers, 0
        return self._ask(servers)

    def on_peers(self, report: PeersReported, now: float) -> list[DutyEffect]:
        """Servers told of their peers."""
        if report.number != self._number or not self._asking:
            return []
        for name, peers in report.answers.items():
            if peers:
                self.expect, self._asking = 0, {}
                text = "disabling bootstrap mode because existing Raft peers being reported by peer"
                return [Log("info", f"{text}: peer_name={name}")]
        unheard = {
            name: server
            for name, server in self._unheard.items()
            if report.answers.get(name) is None
        }
        if unheard and self._tries < TRIES_MAX:
            self._unheard = unheard
            pause = PAUSE * 2 ** (self._tries - 1)
            text = f"failed to confirm peer status: peers={', '.join(unheard)}"
            return [Log("error", text), SetTimer(DutyTimer.ASK_AGAIN, now + pause)]
        return self._bootstrap(self._asking)

    def ask_again(self) -> list[DutyEffect]:
        """Ask those once more that did not answer."""
        return self._ask(self._unheard) if self._asking else []

    def _ask(self, servers: Mapping[str, Server]) -> list[DutyEffect]:
        self._number += 1
        self._tries += 1
        self._unheard = dict(servers)
        return [AskPeers(self._number, tuple(servers.values()))]

    def _bootstrap(self, servers: Mapping[str, Server]) -> list[DutyEffect]:
        by_uuid = uses_uuids(servers.values())
        peers: tuple[RaftPeer, ...] = tuple(
            peer_of(server, by_uuid=by_uuid, is_voter=not server.is_nonvoter)
            for server in servers.values()
        )
        self.expect, self._asking = 0, {}
        if self._has_raft_state():
            return []
        addresses = ",".join(str(peer.address) for peer in peers)
        return [
            Log("info", f"found expected number of peers, attempting to bootstrap: {addresses}"),
            BootstrapRaft(peers),
        ]

    def _has_raft_state(self) -> bool:
        return self._view.raft.last_log_index > 0 or bool(self._view.peers)
