"""What comes into the duties of a server, and what they ask for.

An effect with a number is reported on by one input with that number, when it is done or has failed;
what is never reported on holds up those behind it until the lead changes. Deadlines of timers are
absolute, in seconds of the node's clock.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from typing import Literal

from swimnomad.names import Value
from swimnomad.nomad.consensus import RaftPeer
from swimnomad.nomad.requests import RaftStats
from swimnomad.nomad.state.commands import Command
from swimnomad.nomad.tags import Server
from swimnomad.serf.events import MemberEvent

# --- inputs ---------------------------------------------------------------------------------------


class Started(Value, frozen=True):
    """The server is up: its log is read, its gossip runs."""


class MemberChanged(Value, frozen=True):
    """Gossip announced something about a member."""

    event: MemberEvent


class LeadBegan(Value, frozen=True):
    """This server leads, and has applied everything that was committed before.

    To be fed before any request is answered by this leader: only then heartbeats are accepted.
    """


class LeadEnded(Value, frozen=True):
    """This server leads no more."""


class TimerFired(Value, frozen=True):
    """A timer is due."""

    timer: DutyTimer


class PeersReported(Value, frozen=True):
    """Outcome of `AskPeers`: the Raft peers that each server told of, None where it failed."""

    number: int
    answers: Mapping[str, tuple[str, ...] | None]


class StatsReported(Value, frozen=True):
    """Outcome of `AskStats`, by member name, None where it failed; `wall_time` is of the epoch."""

    number: int
    answers: Mapping[str, RaftStats | None]
    wall_time: float


class Finished(Value, frozen=True):
    """Outcome of `Propose`, `ChangePeer`, `ConfirmLead`; `error` is empty on success.

    A proposal that was refused, or found its condition not met, has succeeded all the same.
    """

    number: int
    error: str = ""


DutyInput = (
    Started
    | MemberChanged
    | LeadBegan
    | LeadEnded
    | TimerFired
    | PeersReported
    | StatsReported
    | Finished
)

# --- effects --------------------------------------------------------------------------------------


class DutyTimer(enum.Enum):
    """What is done again and again, or once after a while."""

    ASK_AGAIN = "ask servers for their peers again"
    SWEEP = "compare gossip with Raft's peers"
    AUTOPILOT = "clean up, promote"
    HEALTH = "ask servers how far they are"
    HEARTBEATS = "look at the deadlines of nodes"


class SetTimer(Value, frozen=True):
    """Feed `TimerFired(timer)` at `at`. Replaces the same timer."""

    timer: DutyTimer
    at: float


class CancelTimer(Value, frozen=True):
    """Forget the timer."""

    timer: DutyTimer


class AskPeers(Value, frozen=True):
    """Ask each of these servers `Status.Peers`, stale; report all answers together."""

    number: int
    servers: tuple[Server, ...]


class BootstrapRaft(Value, frozen=True):
    """Write the first configuration. Failure is for the driver to log; nothing follows."""

    peers: tuple[RaftPeer, ...]


class AskStats(Value, frozen=True):
    """Ask each of these servers `Status.RaftStats`, for two seconds at most; report together."""

    number: int
    servers: tuple[Server, ...]


class ConfirmLead(Value, frozen=True):
    """Have a quorum confirm that this server leads (`Consensus.read_index`)."""

    number: int


class Propose(Value, frozen=True):
    """Have a command kept. Its wall times are those of the clock `wall_time` given to the core."""

    number: int
    command: Command


class ChangePeer(Value, frozen=True):
    """Let a server take part, count, or take part no longer. One at a time is asked for."""

    number: int
    action: Literal["add", "remove"]
    peer: RaftPeer


class ForceLeave(Value, frozen=True):
    """Turn a failed member into a left one."""

    name: str


class Log(Value, frozen=True):
    """Write a line."""

    level: Literal["debug", "info", "warn", "error"]
    message: str


DutyEffect = (
    SetTimer
    | CancelTimer
    | AskPeers
    | BootstrapRaft
    | AskStats
    | ConfirmLead
    | Propose
    | ChangePeer
    | ForceLeave
    | Log
)
