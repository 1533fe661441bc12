"""The gossip layer as our own endpoints show it: the node table, and events as they happen.

Nomad has neither; the paths under /v1/swimnomad/ say so.
"""

from __future__ import annotations

import base64
import hashlib
from typing import TYPE_CHECKING

from swimnomad.names import host_of_ip
from swimnomad.nomad.services import EventsLost
from swimnomad.serf.events import (
    MemberEvent,
    MemberFailed,
    MemberJoined,
    MemberLeft,
    MemberReaped,
    MemberUpdated,
    NameConflict,
    UserEventReceived,
)
from swimnomad.swim.effects import Event
from swimnomad.swim.events import HealthChanged, NodeRecovered, NodeSuspected, SelfRefuted

if TYPE_CHECKING:
    from collections.abc import Iterable

    from swimnomad.serf.events import Member
    from swimnomad.serf.node import SerfNode

Json = dict[str, object]

_MEMBER_EVENTS: dict[type[MemberEvent], str] = {
    MemberJoined: "member-joined",
    MemberLeft: "member-left",
    MemberFailed: "member-failed",
    MemberUpdated: "member-updated",
    MemberReaped: "member-reaped",
}


def membership_checksum(members: Iterable[Member]) -> str:
    """Digest of who is in the pool with which status: equal on agents that agree.

    SHA-256, in hexadecimal, of one line `<name> <status>` a member, sorted.
    """
    lines = sorted(f"{member.name} {member.status.text}\n" for member in members)
    text = "".join(lines).encode("utf-8", "surrogateescape")
    return hashlib.sha256(text).hexdigest()


def describe_gossip(serf: SerfNode) -> Json:
    """The gossip layer of this agent: every node with its state and incarnation."""
    swim = serf.swim
    return {
        "Name": serf.local_member.name,
        "Address": str(swim.address),
        "HealthScore": swim.health_score,
        "Checksum": membership_checksum(serf.members.values()),
        "Nodes": [
            {
                "Name": entry.name,
                "Addr": host_of_ip(entry.ip) if len(entry.ip) in (4, 16) else None,
                "Port": entry.port,
                "State": entry.state.name.lower(),
                "Incarnation": entry.incarnation,
                "Meta": _base64(entry.meta),
                "Versions": list(entry.versions),
            }
            for entry in swim.table
        ],
        "Queue": swim.queue_length,
        "Counters": dict(swim.counters),
    }


def describe_event(event: Event, self_name: str) -> Json | None:
    """An event as one object without its time; None for those that concern nobody outside.

    Args:
        event: As the core announced it.
        self_name: Name of the member that announced it.
    """
    match event:
        case MemberEvent(member=member):
            word = _MEMBER_EVENTS[type(event)]
            host = host_of_ip(member.ip) if len(member.ip) in (4, 16) else ""
            described = _named(word, member.name, status=member.status.text, addr=host)
            described["port"] = member.port
            if isinstance(event, MemberLeft):
                described["forced"] = event.forced
            return described
        case NodeSuspected(name=name, incarnation=incarnation, accuser=accuser):
            return _named("node-suspected", name, incarnation=incarnation, accuser=accuser)
        case NodeRecovered(name=name, incarnation=incarnation):
            return _named("node-recovered", name, incarnation=incarnation)
        case SelfRefuted(incarnation=incarnation, claim=claim, accuser=accuser):
            return _named(
                "self-refuted", self_name, incarnation=incarnation, claim=claim, accuser=accuser
            )
        case NameConflict(name=name, is_ours=is_ours, existing=existing, other=other):
            return _named("name-conflict", name, is_ours=is_ours, existing=existing, other=other)
        case UserEventReceived(ltime=ltime, name=name, payload=payload):
            return _named("user-event", self_name, name=name, ltime=ltime, payload=_base64(payload))
        case HealthChanged(score=score):
            return _named("health-changed", self_name, score=score)
        case EventsLost(count=count):
            return {"event": "events-lost", "count": count}
        case _:
            return None


def _named(word: str, node: str, **fields: object) -> Json:
    return {"event": word, "node": node, **fields}


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode()
