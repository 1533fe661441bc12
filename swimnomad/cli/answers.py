"""The parts of an agent's answers that the commands read, as Nomad spells them."""

from __future__ import annotations

import msgspec


class Member(msgspec.Struct, frozen=True, rename="pascal"):
    """One entry of `/v1/agent/members`. A client agent's own record has no address and no tags."""

    name: str
    addr: str | None
    port: int
    status: str
    protocol_cur: int
    tags: dict[str, str] | None = None

    def tag(self, name: str) -> str:
        """A tag's value, empty if the member has none of that name."""
        return (self.tags or {}).get(name, "")


class MemberList(msgspec.Struct, frozen=True, rename="pascal"):
    """Answer of `/v1/agent/members`."""

    members: list[Member]


class JoinAnswer(msgspec.Struct, frozen=True):
    """Answer of `/v1/agent/join`: contacts that answered, and why none did."""

    num_joined: int
    error: str


class LeaveAnswer(msgspec.Struct, frozen=True):
    """Answer of `/v1/swimnomad/leave`: whether the goodbye was out in time."""

    heard: bool


class SelfAnswer(msgspec.Struct, frozen=True):
    """Answer of `/v1/agent/self`, without its configuration and member record."""

    stats: dict[str, dict[str, str]]


class RoleHealth(msgspec.Struct, frozen=True):
    """Health of one role in the answer of `/v1/agent/health`."""

    ok: bool
    message: str = ""
