"""Members as Nomad's API shows them.

Source: agent-http.md §4.1.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from swimnomad.names import host_of_ip
from swimnomad.serf.events import Member

if TYPE_CHECKING:
    from swimnomad.nomad.requests import Members

Json = dict[str, object]

_VERSIONS = (
    "ProtocolMin",
    "ProtocolMax",
    "ProtocolCur",
    "DelegateMin",
    "DelegateMax",
    "DelegateCur",
)
"""Names of the six bytes of `Member.versions`, in their order."""

NO_MEMBER: Json = {
    "Addr": None,
    **dict.fromkeys(_VERSIONS, 0),
    "Name": "",
    "Port": 0,
    "Status": "none",
    "Tags": None,
}
"""What an agent that does not gossip shows as its own member."""


def describe_member(member: Member) -> Json:
    """One member. Versions that are not six bytes are shown as far as they go."""
    versions = member.versions[:6].ljust(6, b"\0")
    return {
        "Addr": host_of_ip(member.ip) if len(member.ip) in (4, 16) else None,
        **dict(zip(_VERSIONS, versions, strict=True)),
        "Name": member.name,
        "Port": member.port,
        "Status": member.status.text,
        "Tags": dict(member.tags),
    }


def describe_members(found: Members) -> Json:
    """Every member a server remembers, and which server says so."""
    return {
        "Members": [describe_member(member) for member in found.members],
        "ServerDC": found.datacenter,
        "ServerName": found.server,
        "ServerRegion": found.region,
    }
