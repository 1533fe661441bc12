"""Drives the node of a client agent: its calls are tasks, its timers the loop's.

The timetable is in `nomad.client_node`. What it is fed besides is that a heartbeat has been waited
for long enough: a server that hangs without its connection breaking is passed over while there is
time to heartbeat elsewhere.

Source: rpc.md §10.6.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Sequence
from typing import Any, Final, Protocol, TypeVar

import trio

from swimnomad.errors import OperationError
from swimnomad.live.identity import client_ids
from swimnomad.live.log import LogWriter, level_of
from swimnomad.live.node_facts import read_node_facts
from swimnomad.live.timers import TimerHeap
from swimnomad.names import Address
from swimnomad.nomad.client_node import (
    Beaten,
    Call,
    CallFailed,
    CancelTimer,
    ClientNode,
    Log,
    NodeCall,
    NodeChanged,
    NodeInput,
    OtherCallSucceeded,
    Polled,
    Registered,
    SetTimer,
    Started,
    TimerFired,
    UseServers,
)
from swimnomad.nomad.config import AgentConfig
from swimnomad.nomad.node_map import NodeFacts, NodeIdentity, make_node
from swimnomad.nomad.requests import Request
from swimnomad.nomad.state.records import Node

Reply = TypeVar("Reply")

MODULE: Final = "client"
ANSWER_TIMES: Final = {
    # A server may wait for a leader, and then for a quorum.
    NodeCall.REGISTER: 20.0,
    # Nomad's grace is 10 s: there is time for another server after this, which is also longer
    # than servers wait for a leader.
    NodeCall.BEAT: 6.0,
    # Waiting is what it is for; if the server is gone, its connection breaks in the end.
    NodeCall.POLL: math.inf,
}
"""Seconds that an answer is waited for."""
NO_ANSWER: Final = "rpc error: i/o deadline reached: no answer within {:.0f} s"
_OUTCOMES: Final[dict[NodeCall, Callable[[Any], NodeInput]]] = {
    NodeCall.REGISTER: Registered,
    NodeCall.BEAT: Beaten,
    NodeCall.POLL: Polled,
}


class NodeServers(Protocol):
    """The servers as a node needs them; `nomad.agent.Agent` is one."""

    async def ask_servers(self, request: Request[Reply]) -> Reply:
        """Ask whichever server can be reached. Raises `OperationError`."""
        ...

    def use_servers(self, servers: Sequence[Address]) -> None:
        """Know exactly these from now on."""
        ...

    def pass_over_server(self) -> None:
        """Ask others before the one that is asked first now."""
        ...


class NodeDriver:
    """Runs one node.

    Attributes:
        node: The core.
    """

    def __init__(self, node: ClientNode, servers: NodeServers, write_log: LogWriter) -> None:
        """Put it together; nothing is asked before `serve`."""
        self.node = node
        self._servers = servers
        self._write_log = write_log
        self._timers = TimerHeap()
        self._changed = trio.Event()
        self._nursery: trio.Nursery | None = None

    async def serve(
        self,
        looks: Node | None = None,
        *,
        task_status: trio.TaskStatus[None] = trio.TASK_STATUS_IGNORED,
    ) -> None:
        """Register, heartbeat and poll until cancelled.

        Args:
            looks: The node as it is now, if that was not known when the core was made.
            task_status: Told when the first calls are under way.
        """
        try:
            async with trio.open_nursery() as self._nursery:
                if looks is not None:
                    self.feed(NodeChanged(looks))
                self.feed(Started())
                task_status.started()
                await self._keep_time()
        finally:
            self._nursery = None

    def note_answer(self) -> None:
        """Servers have answered something else: they are there."""
        self.feed(OtherCallSucceeded())

    def feed(self, incoming: NodeInput) -> None:
        """Give the core an input and begin what it asks for."""
        if self._nursery is None:
            return
        for effect in self.node.handle(incoming, trio.current_time()):
            match effect:
                case Call():
                    self._nursery.start_soon(self._ask, effect)
                case SetTimer(call, at):
                    self._timers.set(call, at)
                    self._changed.set()
                case CancelTimer(call):
                    self._timers.cancel(call)
                case UseServers(servers):
                    self._servers.use_servers(servers)
                case Log(level, message):
                    self._write_log(level_of(level), MODULE, message)

    async def _ask(self, effect: Call) -> None:
        call = effect.call
        seconds = ANSWER_TIMES[call]
        outcome: NodeInput = CallFailed(call, NO_ANSWER.format(seconds))
        try:
            with trio.move_on_after(seconds) as waiting:
                reply = await self._servers.ask_servers(effect.request)
                outcome = _OUTCOMES[call](reply)
        except OperationError as error:
            outcome = CallFailed(call, str(error))
        else:
            if waiting.cancelled_caught:
                self._servers.pass_over_server()
        self.feed(outcome)

    async def _keep_time(self) -> None:
        while True:
            self._changed = trio.Event()
            with trio.move_on_at(self._timers.next_deadline()):
                await self._changed.wait()
            now = trio.current_time()
            while (call := self._timers.pop_due(now)) is not None:
                self.feed(TimerFired(call))


def open_node(config: AgentConfig) -> ClientNode:
    """The node of a client agent, with the identifiers that its data directory keeps.

    What it says of the host and of its HTTP address comes later, from `read_node`.

    Raises:
        UsageError: The identifiers cannot be read or kept.
    """
    node_id, secret_id = client_ids(config)
    node = make_node(_identity(config, node_id, secret_id), NodeFacts())
    return ClientNode(node, config.region, random.Random(), dev_mode=config.dev_mode)


async def read_node(config: AgentConfig, node: Node) -> Node:
    """The node as it registers, with the ports that are bound and what the host says now."""
    ip = config.advertised("http").host
    folder = config.data_dir or "/"
    facts = await trio.to_thread.run_sync(read_node_facts, ip, folder, abandon_on_cancel=True)
    return make_node(_identity(config, node.id, node.secret_id), facts)


def _identity(config: AgentConfig, node_id: str, secret_id: str) -> NodeIdentity:
    meta = config.foreign.get("client.meta")
    return NodeIdentity(
        id=node_id,
        secret_id=secret_id,
        name=config.node_name,
        datacenter=config.datacenter,
        http=config.advertised("http"),
        node_class=str(config.foreign.get("client.node_class") or ""),
        meta={str(k): str(v) for k, v in meta.items()} if isinstance(meta, dict) else {},
        tls_enabled=config.tls.http,
    )
