"""What an agent's log says about the events of its core.

Source: nomad-agent.md §12; the wording is Serf's and memberlist's.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from swimnomad.live.hostile import HostileLog
from swimnomad.live.log import Level, LogWriter
from swimnomad.names import Address, host_of_ip
from swimnomad.nomad.peers import NonServerSeen, ServerAdded, ServerRemoved
from swimnomad.nomad.tags import Server
from swimnomad.serf.events import (
    Member,
    MemberFailed,
    MemberJoined,
    MemberLeft,
    MemberReaped,
    MemberUpdated,
    MessageDropped,
    NameConflict,
)
from swimnomad.swim.effects import Event
from swimnomad.swim.events import (
    ExchangeFailed,
    HealthChanged,
    InputDropped,
    NodeSuspected,
    SelfRefuted,
)

MODULE = "nomad"
_SERF_SOURCE = "the pool"


class EventLog:
    """Turns events into log lines; lines about hostile input are kept rare."""

    def __init__(self, name: str, write: LogWriter, now: Callable[[], float]) -> None:
        """Make the log of the member `name`; `now` reads the clock of the node."""
        self._name = name
        self._write = write
        self._now = now
        self._hostile = HostileLog()
        self._writers: dict[type[Event], Callable[[Any], None]] = {
            MemberJoined: lambda event: self._member("EventMemberJoin", event.member),
            MemberLeft: self._left,
            MemberFailed: lambda event: self._member("EventMemberFailed", event.member),
            MemberUpdated: lambda event: self._member("EventMemberUpdate", event.member),
            MemberReaped: lambda event: self._member("EventMemberReap", event.member),
            ServerAdded: lambda event: self._server("adding server", event.server),
            ServerRemoved: lambda event: self._server("removing server", event.server),
            NonServerSeen: lambda event: self._write(
                Level.WARN, MODULE, "non-server in gossip pool", member=event.name
            ),
            NameConflict: self._conflict,
            NodeSuspected: self._suspected,
            SelfRefuted: self._refuted,
            ExchangeFailed: self._exchange_failed,
            InputDropped: self._dropped,
            MessageDropped: self._message_dropped,
            HealthChanged: lambda event: self._write(
                Level.DEBUG, MODULE, f"memberlist: health score {event.score}"
            ),
        }

    def note(self, event: Event) -> None:
        """Log an event if there is something to say about it."""
        writer = self._writers.get(type(event))
        if writer is not None:
            writer(event)

    def _member(self, title: str, member: Member) -> None:
        self._write(Level.INFO, MODULE, f"serf: {title}: {member.name} {host_of_ip(member.ip)}")

    def _left(self, event: MemberLeft) -> None:
        self._member(
            "EventMemberLeave (forced)" if event.forced else "EventMemberLeave", event.member
        )

    def _server(self, title: str, server: Server) -> None:
        text = f"{server.name} (Addr: {server.address}) (DC: {server.datacenter})"
        self._write(Level.INFO, MODULE, title, server=text)

    def _conflict(self, event: NameConflict) -> None:
        self._write(
            Level.ERROR if event.is_ours else Level.WARN,
            MODULE,
            f"serf: Name conflict for '{event.name}' both {event.existing} and {event.other} "
            "are claiming",
        )

    def _suspected(self, event: NodeSuspected) -> None:
        # The reference says this where the probe failed and not where the rumour arrives.
        if event.accuser == self._name:
            self._write(
                Level.INFO,
                MODULE,
                f"memberlist: Suspect {event.name} has failed, no acks received",
            )

    def _refuted(self, event: SelfRefuted) -> None:
        self._write(
            Level.WARN,
            MODULE,
            f"memberlist: Refuting a {event.claim} message (from: {event.accuser})",
        )

    def _exchange_failed(self, event: ExchangeFailed) -> None:
        self._write(
            Level.ERROR, MODULE, f"memberlist: Push/Pull with {event.peer} failed: {event.reason}"
        )

    def _dropped(self, event: InputDropped) -> None:
        source: Address = event.source
        line = self._hostile.note(source.host, event.reason, self._now())
        if line is not None:
            self._write(Level.WARN, MODULE, f"memberlist: {line}")

    def _message_dropped(self, event: MessageDropped) -> None:
        line = self._hostile.note(_SERF_SOURCE, event.reason, self._now())
        if line is not None:
            self._write(Level.WARN, MODULE, f"serf: {line}")
