"""Who may become a member: the checks every Serf node makes, then the application's own."""

from __future__ import annotations

import string
from collections.abc import Sequence
from typing import Protocol

from swimnomad.serf.events import Member, Status
from swimnomad.serf.tags import tags_of_meta
from swimnomad.swim.config import META_BYTES_MAX
from swimnomad.swim.events import NodeView
from swimnomad.wire.messages import NodeState

NAME_BYTES_MAX = 128
NAME_CHARACTERS = frozenset(string.ascii_letters + string.digits + "-.")


class MemberFilter(Protocol):
    """The application's say about joins and alive messages."""

    def refuse(self, members: Sequence[Member]) -> str:
        """Why these members must not come in; empty to accept.

        Asked about every member of a join exchange at once, and about each single member when an
        alive message names it, the local node included. A member's status is `LEFT` if the gossip
        layer says so, else `NONE`. Must not raise.
        """
        ...


def why_name_is_invalid(name: str) -> str:
    """What is wrong with a node name where names are validated; empty if nothing."""
    if not name:
        return "node name is empty"
    if len(name) > NAME_BYTES_MAX:
        return f"node name is {len(name)} characters long; at most {NAME_BYTES_MAX} are allowed"
    if not NAME_CHARACTERS.issuperset(name):
        return f"node name {name!r} contains other characters than A-Z a-z 0-9 - ."
    return ""


class AdmissionControl:
    """Decides about alive messages and join exchanges on behalf of the gossip layer.

    The well-formedness checks come first, as of Serf 0.9.5, so that a `MemberFilter` sees only
    members that make sense.

    Source: serf.md §24.
    """

    def __init__(self, member_filter: MemberFilter | None, *, validate_names: bool) -> None:
        self._filter = member_filter
        self._validate_names = validate_names

    def refuse_alive(self, node: NodeView) -> str:
        """Why an alive message must be ignored; empty to accept."""
        if reason := self._why_malformed(node):
            return reason
        if self._filter is None:
            return ""
        if len(node.versions) != 6:
            return f"node {node.name!r} announces no protocol versions"
        return self._filter.refuse((_member_of(node, Status.NONE),))

    def refuse_merge(self, nodes: Sequence[NodeView], states: Sequence[int]) -> str:
        """Why a join exchange with these records must be refused; empty to accept."""
        for node in nodes:
            if reason := self._why_malformed(node):
                return reason
        if self._filter is None:
            return ""
        members = [
            _member_of(node, Status.LEFT if state == NodeState.LEFT else Status.NONE)
            for node, state in zip(nodes, states, strict=True)
        ]
        return self._filter.refuse(members)

    def _why_malformed(self, node: NodeView) -> str:
        if self._validate_names and (reason := why_name_is_invalid(node.name)):
            return reason
        if len(node.ip) not in (4, 16):
            return f"node {node.name!r} has an address of {len(node.ip)} bytes, not 4 or 16"
        if len(node.meta) > META_BYTES_MAX:
            return (
                f"node {node.name!r} has {len(node.meta)} bytes of metadata, "
                f"more than the {META_BYTES_MAX} allowed"
            )
        return ""


def _member_of(node: NodeView, status: Status) -> Member:
    return Member(
        name=node.name,
        ip=node.ip,
        port=node.port,
        tags=tags_of_meta(node.meta),
        status=status,
        versions=node.versions,
    )
