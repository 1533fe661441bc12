"""A region as its duties see it, made by hand."""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from typing import Any, TypeVar

import msgspec

from swimnomad.names import Address
from swimnomad.nomad.consensus import RaftPeer, RaftStatus
from swimnomad.nomad.duties.heartbeats import HeartbeatDeadlines, HeartbeatSettings
from swimnomad.nomad.duties.messages import (
    ChangePeer,
    DutyEffect,
    DutyInput,
    DutyTimer,
    Finished,
    LeadBegan,
    MemberChanged,
    Propose,
    SetTimer,
    TimerFired,
)
from swimnomad.nomad.duties.node import DutyNode
from swimnomad.nomad.state.commands import encode_command
from swimnomad.nomad.state.store import StateStore
from swimnomad.nomad.tags import Server, parse_server
from swimnomad.serf.events import Member, MemberEvent, Status

E = TypeVar("E")
EPOCH = 1_700_000_000.0


def address(number: int) -> Address:
    return Address(f"10.0.0.{number}", 4647)


def member(number: int, status: Status = Status.ALIVE, /, **tags: str) -> Member:
    """The member s<number>.global; tags given empty are left out."""
    own = {
        "role": "nomad",
        "region": "global",
        "dc": "dc1",
        "vsn": "1",
        "build": "1.0.4",
        "port": "4647",
        "raft_vsn": "2",
        "expect": "3",
        "id": f"id-{number}",
        **tags,
    }
    given = {key: value for key, value in own.items() if value}
    return Member(f"s{number}.global", bytes((10, 0, 0, number)), 4648, given, status, b"")


def peer(number: int, *, is_voter: bool = True, name: str = "") -> RaftPeer:
    return RaftPeer(name or str(address(number)), address(number), is_voter)


@dataclass
class FakeView:
    """A `DutyView` that holds what a test puts there."""

    members: dict[str, Member] = field(default_factory=dict)
    peers: tuple[RaftPeer, ...] = ()
    raft: RaftStatus = field(default_factory=RaftStatus)
    state: StateStore = field(default_factory=StateStore)
    own_name: str = "s1.global"
    region: str = "global"

    @property
    def servers(self) -> dict[str, Server]:
        """Of the region."""
        found = map(parse_server, self.members.values())
        return {s.name: s for s in found if s is not None and s.region == self.region}

    def put(self, *members: Member) -> None:
        """Know these, instead of those of the same name."""
        self.members |= {each.name: each for each in members}


@dataclass
class World:
    """The duties of one server, and a driver that does what they ask at once.

    Effects that wait for something from outside are kept in `asked`.
    """

    view: FakeView
    node: DutyNode
    heartbeats: HeartbeatDeadlines
    now: float = 100.0
    timers: dict[DutyTimer, float] = field(default_factory=dict)
    effects: list[DutyEffect] = field(default_factory=list)
    changes_fail: str = ""

    def feed(self, *inputs: DutyInput) -> list[DutyEffect]:
        """Feed inputs; all effects that came of them."""
        new: list[DutyEffect] = []
        todo = list(inputs)
        while todo:
            for effect in self.node.handle(todo.pop(0), self.now):
                new.append(effect)
                todo += self._carry_out(effect)
        self.effects += new
        return new

    def _carry_out(self, effect: DutyEffect) -> list[DutyInput]:
        view = self.view
        match effect:
            case SetTimer(timer, at):
                self.timers[timer] = at
            case Propose(number, command):
                view.state.apply(view.state.last_index + 1, encode_command(command))
                return [Finished(number)]
            case ChangePeer(number, action, changed):
                if self.changes_fail:
                    return [Finished(number, self.changes_fail)]
                rest = tuple(each for each in view.peers if each.id != changed.id)
                view.peers = rest if action == "remove" else (*rest, changed)
                return [Finished(number)]
            case _:
                pass
        return []

    def announce(self, event: MemberEvent) -> list[DutyEffect]:
        """Gossip says something."""
        self.view.put(event.member)
        return self.feed(MemberChanged(event))

    def pass_time(self, seconds: float) -> list[DutyEffect]:
        """Let timers fire in their order."""
        new: list[DutyEffect] = []
        end = self.now + seconds
        while due := [(at, timer.value) for timer, at in self.timers.items() if at <= end]:
            at, value = min(due)
            timer = DutyTimer(value)
            del self.timers[timer]
            self.now = max(self.now, at)
            new += self.feed(TimerFired(timer))
        self.now = end
        return new


def world(*members: Member, expect: int = 3, leads: bool = False, **view: Any) -> World:  # noqa: ANN401
    """The duties of s1, which knows these members."""
    rng = random.Random("duties")
    heartbeats = HeartbeatDeadlines(HeartbeatSettings(), rng)
    found = FakeView(**view)
    found.put(*members)
    made = World(
        found, DutyNode(expect, found, heartbeats, rng, lambda: EPOCH + made.now), heartbeats
    )
    if leads:
        found.raft = msgspec.structs.replace(
            found.raft, role="Leader", last_log_index=10, last_log_term=2
        )
        made.feed(LeadBegan())
    return made


def only(kind: type[E], effects: list[DutyEffect]) -> list[E]:
    """The effects of one kind."""
    return [effect for effect in effects if isinstance(effect, kind)]
