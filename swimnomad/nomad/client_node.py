"""The node of a client agent: when it registers, sends heartbeats, and asks what to run.

    registering   Node.Register is sent, again after a pause while it fails
    beating       Node.UpdateStatus is sent, each one TTL after the reply to the one before

Beside both, from the start, one Node.GetClientAllocs is kept waiting at a server. Whenever some
call of the agent succeeds, the next heartbeat comes at once, and so does whatever waits after a
failure: the servers are back.

Of each kind of call one is under way at most; its outcome is an input. A call takes as long as it
takes: that a server is gone is for the way to it to notice.

Where Nomad differs: nothing here goes round without a pause. A poll that is answered without news
sooner than a second is not repeated at once and hurries nothing; heartbeats are not hurried twice
within a second; a TTL below one second counts as one.

Source: rpc.md §10.5, §10.6; nomad client/client.go.
"""

from __future__ import annotations

import enum
import random
from collections.abc import Sequence
from typing import Literal, assert_never

import msgspec

from swimnomad.errors import UsageError
from swimnomad.names import Address, Value
from swimnomad.nomad.joining import BadAddress
from swimnomad.nomad.requests import (
    ClientAllocs,
    NodeGetClientAllocs,
    NodeRegister,
    NodeUpdate,
    NodeUpdateStatus,
    ServerInfo,
)
from swimnomad.nomad.server_list import SERVERS_MAX, split_server
from swimnomad.nomad.state.records import READY, Node

REGISTER_RETRY = 15.0
"""Seconds until a failed registration is tried again; up to twice that."""
FIRST_BEAT_MAX = 10.0
"""Seconds from a registration to the first heartbeat at most."""
CHANGED_WAIT = 5.0
"""Seconds from a change of the node to its registration; up to twice that."""
POLL_RETRY = 30.0
"""Seconds until a failed poll is tried again; up to twice that."""
POLL_INTERVAL_MIN = 1.0
"""Shortest time between two polls that bring nothing."""
BEAT_INTERVAL_MIN = 1.0
BEAT_INTERVAL_MAX = 3600.0
"""Bounds of the time between two heartbeats, whatever a server says."""
DEV_RETRY = 1.0
BEAT_RETRY_MIN = 1.0
BEAT_RETRY_MAX = 30.0
NO_SERVERS = "heartbeat response returned no valid servers"


class NodeCall(enum.Enum):
    """What a node asks servers for."""

    REGISTER = "Node.Register"
    BEAT = "Node.UpdateStatus"
    POLL = "Node.GetClientAllocs"


# --- inputs ---------------------------------------------------------------------------------------


class Started(Value, frozen=True):
    """The agent runs, its servers can be asked."""


class NodeChanged(Value, frozen=True):
    """The node looks different now; its id and secret are the same."""

    node: Node


class Registered(Value, frozen=True):
    """A registration was accepted."""

    reply: NodeUpdate


class Beaten(Value, frozen=True):
    """A heartbeat was answered."""

    reply: NodeUpdate


class Polled(Value, frozen=True):
    """A poll was answered."""

    reply: ClientAllocs


class CallFailed(Value, frozen=True):
    """A call of the node failed, after every server that could be asked was asked."""

    call: NodeCall
    text: str


class OtherCallSucceeded(Value, frozen=True):
    """The agent asked a server something else, and was answered."""


class TimerFired(Value, frozen=True):
    """It is time for a call."""

    call: NodeCall


NodeInput = (
    Started
    | NodeChanged
    | Registered
    | Beaten
    | Polled
    | CallFailed
    | OtherCallSucceeded
    | TimerFired
)

# --- effects --------------------------------------------------------------------------------------


class Call(Value, frozen=True):
    """Ask the servers; `Registered`, `Beaten`, `Polled` or `CallFailed` follows."""

    call: NodeCall
    request: NodeRegister | NodeUpdateStatus | NodeGetClientAllocs


class SetTimer(Value, frozen=True):
    """Feed `TimerFired(call)` at `at` (seconds). Replaces the timer of the same call."""

    call: NodeCall
    at: float


class CancelTimer(Value, frozen=True):
    """Forget the timer."""

    call: NodeCall


class UseServers(Value, frozen=True):
    """Know exactly these servers from now on (`ServerList.replace`)."""

    servers: tuple[Address, ...]


class Log(Value, frozen=True):
    """Write a line."""

    level: Literal["debug", "info", "warn", "error"]
    message: str


NodeEffect = Call | SetTimer | CancelTimer | UseServers | Log


class ClientNode:
    """One node, sans-I/O.

    Args:
        node: As it registers; its status is for this class to say.
        region: Of the agent.
        rng: Spreads calls, or nodes that lost one server would all come back together.
        dev_mode: Pauses are short, as with Nomad's `-dev`.
    """

    def __init__(
        self, node: Node, region: str, rng: random.Random, *, dev_mode: bool = False
    ) -> None:
        self._node = node
        self._region = region
        self._rng = rng
        self._dev_mode = dev_mode
        self._is_registered = False
        self._must_register_again = False
        self._under_way: set[NodeCall] = set()
        self._timers: set[NodeCall] = set()
        self._retrying: set[NodeCall] = set()  # those of the timers that wait after a failure
        self._started_at = 0.0
        self._heard_at: float | None = None
        self._ttl = 0.0
        self._index = 0
        self._polled_at = 0.0
        self._effects: list[NodeEffect] = []

    @property
    def node(self) -> Node:
        """The node as it registers next."""
        return self._node

    @property
    def is_registered(self) -> bool:
        """Whether the servers know the node, as far as it has heard."""
        return self._is_registered

    @property
    def heartbeat_ttl(self) -> float:
        """Seconds that the servers gave it last; 0 before that."""
        return self._ttl

    def since_heartbeat(self, now: float) -> float:
        """Seconds since the servers last answered a registration or heartbeat, or the start."""
        return now - (self._started_at if self._heard_at is None else self._heard_at)

    def handle(self, incoming: NodeInput, now: float) -> list[NodeEffect]:
        """Apply one input at `now` (seconds, monotonic); return the effects in order."""
        match incoming:
            case Started():
                self._started_at = now
                self._call(NodeCall.REGISTER, now)
                self._call(NodeCall.POLL, now)
            case NodeChanged(node):
                self._on_changed(node, now)
            case Registered(reply):
                self._on_registered(reply, now)
            case Beaten(reply):
                self._on_beaten(reply, now)
            case Polled(reply):
                self._on_polled(reply, now)
            case CallFailed(call, text):
                self._on_failed(call, text, now)
            case OtherCallSucceeded():
                self._hurry(now)
            case TimerFired(call):
                if call in self._timers:
                    self._timers.remove(call)
                    self._retrying.discard(call)
                    self._call(call, now)
            case _:
                assert_never(incoming)
        effects, self._effects = self._effects, []
        return effects

    # --- registration -------------------------------------------------------------------------

    def _on_changed(self, node: Node, now: float) -> None:
        self._node = msgspec.structs.replace(node, status=self._node.status)
        if NodeCall.REGISTER in self._under_way:
            self._must_register_again = True
        elif NodeCall.REGISTER not in self._timers:
            # More may change at the same time; and all nodes see some changes together.
            self._wait(NodeCall.REGISTER, now, self._spread(CHANGED_WAIT))

    def _on_registered(self, reply: NodeUpdate, now: float) -> None:
        self._settle(NodeCall.REGISTER)
        self._heard(reply, now)
        if not self._is_registered:
            self._is_registered = True
            self._effects.append(Log("info", "node registration complete"))
        if self._must_register_again:
            self._must_register_again = False
            self._wait(NodeCall.REGISTER, now, self._spread(CHANGED_WAIT))
        self._hurry(now)
        if NodeCall.BEAT in self._under_way or NodeCall.BEAT in self._timers:
            return  # it was only registered anew
        if self._dev_mode:
            self._call(NodeCall.BEAT, now)
        else:
            self._wait(NodeCall.BEAT, now, self._rng.uniform(0.0, FIRST_BEAT_MAX))

    # --- heartbeats ---------------------------------------------------------------------------

    def _on_beaten(self, reply: NodeUpdate, now: float) -> None:
        self._settle(NodeCall.BEAT)
        # It was ready, and the servers had to write that it is: they had taken it for down.
        if reply.index and self._node.status == READY:
            self._effects.append(Log("warn", "missed heartbeat"))
        self._heard(reply, now)
        self._node = msgspec.structs.replace(self._node, status=READY)
        servers = addresses_of(reply.servers or ())
        if servers:
            self._effects.append(UseServers(servers))
            ttl = max(BEAT_INTERVAL_MIN, min(reply.heartbeat_ttl, BEAT_INTERVAL_MAX))
            self._wait(NodeCall.BEAT, now, ttl)
        else:
            self._beat_later(NO_SERVERS, now)
        self._hurry(now)

    def _beat_later(self, text: str, now: float) -> None:
        pause = self._pause_after_failure(now)
        self._effects.append(
            Log("error", f"error heartbeating. retrying: error={text} period={pause:.3f}s")
        )
        self._wait(NodeCall.BEAT, now, pause, is_retry=True)

    def _pause_after_failure(self, now: float) -> float:
        """Seconds until the next heartbeat after one that failed."""
        if self._dev_mode:
            return DEV_RETRY
        if self._heard_at is None:
            return self._spread(REGISTER_RETRY)
        left = self._heard_at + self._ttl - now
        if -BEAT_RETRY_MAX <= left < 0:
            return self._spread(BEAT_RETRY_MIN)
        # Long overdue: the longer, the less it matters when.
        pause = self._rng.uniform(0.0, abs(left))
        if pause < BEAT_RETRY_MIN:
            return self._spread(BEAT_RETRY_MIN)
        if pause > BEAT_RETRY_MAX:
            return self._rng.uniform(25.0, BEAT_RETRY_MAX)
        return pause

    # --- polls --------------------------------------------------------------------------------

    def _on_polled(self, reply: ClientAllocs, now: float) -> None:
        self._settle(NodeCall.POLL)
        is_news = reply.index > self._index
        self._index = max(self._index, reply.index)
        early = self._polled_at + POLL_INTERVAL_MIN - now
        if is_news or early <= 0:
            self._hurry(now)
            self._call(NodeCall.POLL, now)
        else:
            self._wait(NodeCall.POLL, now, early)

    # --- all ----------------------------------------------------------------------------------

    def _on_failed(self, call: NodeCall, text: str, now: float) -> None:
        self._settle(call)
        match call:
            case NodeCall.REGISTER:
                self._effects.append(Log("error", f"error registering: error={text}"))
                pause = DEV_RETRY if self._dev_mode else self._spread(REGISTER_RETRY)
                self._wait(NodeCall.REGISTER, now, pause, is_retry=True)
            case NodeCall.BEAT if "node not found" in text:
                # The servers forgot it, or it registered where nobody keeps anything.
                self._effects.append(Log("error", f"error updating node status: error={text}"))
                self._is_registered = False
                self._call(NodeCall.REGISTER, now)
            case NodeCall.BEAT:
                self._beat_later(text, now)
            case NodeCall.POLL:
                self._effects.append(Log("error", f"error querying node allocations: error={text}"))
                self._wait(NodeCall.POLL, now, self._spread(POLL_RETRY), is_retry=True)
            case _:
                assert_never(call)

    def _hurry(self, now: float) -> None:
        """The servers can be reached: heartbeat, and try again what failed."""
        for call in NodeCall:
            if call not in self._timers:
                continue
            is_due = call in self._retrying
            if call is NodeCall.BEAT:
                is_due = self._heard_at is None or now - self._heard_at >= BEAT_INTERVAL_MIN
            if is_due:
                self._call(call, now)

    def _call(self, call: NodeCall, now: float) -> None:
        if call in self._under_way:
            return
        self._cancel(call)
        if call is NodeCall.BEAT and not self._is_registered:
            return  # the registration decides about the next heartbeat
        self._under_way.add(call)
        self._effects.append(Call(call, self._request(call, now)))

    def _request(
        self, call: NodeCall, now: float
    ) -> NodeRegister | NodeUpdateStatus | NodeGetClientAllocs:
        node, region = self._node, self._region
        match call:
            case NodeCall.REGISTER:
                return NodeRegister(region=region, node=node)
            case NodeCall.BEAT:
                return NodeUpdateStatus(region=region, node_id=node.id, status=READY)
            case NodeCall.POLL:
                self._polled_at = now
                return NodeGetClientAllocs(
                    region=region,
                    node_id=node.id,
                    secret_id=node.secret_id,
                    min_index=self._index,
                    stale=True,
                )
            case _:
                assert_never(call)

    def _heard(self, reply: NodeUpdate, now: float) -> None:
        self._heard_at, self._ttl = now, reply.heartbeat_ttl

    def _settle(self, call: NodeCall) -> None:
        self._under_way.discard(call)

    def _wait(self, call: NodeCall, now: float, seconds: float, *, is_retry: bool = False) -> None:
        self._timers.add(call)
        self._retrying.discard(call)
        if is_retry:
            self._retrying.add(call)
        self._effects.append(SetTimer(call, now + seconds))

    def _cancel(self, call: NodeCall) -> None:
        if call in self._timers:
            self._timers.remove(call)
            self._retrying.discard(call)
            self._effects.append(CancelTimer(call))

    def _spread(self, seconds: float) -> float:
        return seconds + self._rng.uniform(0.0, seconds)


def addresses_of(servers: Sequence[ServerInfo]) -> tuple[Address, ...]:
    """The addresses in a reply to a heartbeat; those that are none are left out."""
    found = []
    for server in servers[:SERVERS_MAX]:
        try:
            host, port = split_server(server.rpc_address)
        except (BadAddress, UsageError):
            continue
        if host and port:
            found.append(Address(host, port))
    return tuple(found)
