"""The timetable of a client's node."""

from __future__ import annotations

import random
from typing import TypeVar

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from swimnomad.names import Address
from swimnomad.nomad.client_node import (
    BEAT_RETRY_MAX,
    NO_SERVERS,
    Beaten,
    Call,
    CallFailed,
    CancelTimer,
    ClientNode,
    Log,
    NodeCall,
    NodeChanged,
    NodeEffect,
    NodeInput,
    OtherCallSucceeded,
    Polled,
    Registered,
    SetTimer,
    Started,
    TimerFired,
    UseServers,
    addresses_of,
)
from swimnomad.nomad.requests import (
    ClientAllocs,
    NodeGetClientAllocs,
    NodeRegister,
    NodeUpdate,
    NodeUpdateStatus,
    ServerInfo,
)
from tests.nomad.state.state_support import node, uuid

E = TypeVar("E")
REGISTER, BEAT, POLL = NodeCall.REGISTER, NodeCall.BEAT, NodeCall.POLL
SERVERS = (ServerInfo("127.0.61.1:4647", "dc1"), ServerInfo("127.0.61.2:4647", "dc1"))
REPLY = NodeUpdate(heartbeat_ttl=15.0, index=7, servers=SERVERS)
LOST = "rpc error: failed to get conn: dial tcp"


class Client:
    """A node and its timers."""

    def __init__(self, *, dev_mode: bool = False, seed: int = 0) -> None:
        self.node = ClientNode(node(), "global", random.Random(seed), dev_mode=dev_mode)
        self.now = 1000.0
        self.timers: dict[NodeCall, float] = {}
        self.under_way: dict[NodeCall, Call] = {}

    def feed(self, incoming: NodeInput) -> list[NodeEffect]:
        """Feed an input."""
        match incoming:
            case Registered():
                self.under_way.pop(REGISTER)
            case Beaten():
                self.under_way.pop(BEAT)
            case Polled():
                self.under_way.pop(POLL)
            case CallFailed(call=call):
                self.under_way.pop(call)
            case _:
                pass
        effects = self.node.handle(incoming, self.now)
        for effect in effects:
            match effect:
                case SetTimer(call, at):
                    assert at >= self.now
                    self.timers[call] = at
                case CancelTimer(call):
                    del self.timers[call]
                case Call(call):
                    assert call not in self.under_way
                    self.under_way[call] = effect
                case _:
                    pass
        return effects

    def until(self, call: NodeCall) -> float:
        """Let the timer of a call fire; how long that took."""
        at = self.timers.pop(call)
        passed, self.now = at - self.now, at
        self.feed(TimerFired(call))
        return passed

    def register(self) -> None:
        """Start and be registered, with the first heartbeat to come."""
        self.feed(Started())
        self.feed(Registered(REPLY))

    def beat(self) -> None:
        """Register and have the first heartbeat answered."""
        self.register()
        self.until(BEAT)
        self.feed(Beaten(REPLY))


def only(kind: type[E], effects: list[NodeEffect]) -> list[E]:
    return [effect for effect in effects if isinstance(effect, kind)]


def test_a_node_registers_and_polls_at_the_start() -> None:
    client = Client()
    first, second = only(Call, client.feed(Started()))
    assert first.request == NodeRegister(region="global", node=node())
    assert second.request == NodeGetClientAllocs(
        region="global", node_id=uuid(1), secret_id=uuid(1001), stale=True
    )
    assert not client.node.is_registered


def test_the_first_heartbeat_comes_within_ten_seconds() -> None:
    """agent O11"""
    waits = set()
    for seed in range(30):
        client = Client(seed=seed)
        client.register()
        waits.add(client.until(BEAT))
        assert client.under_way[BEAT].request == NodeUpdateStatus(
            region="global", node_id=uuid(1), status="ready"
        )
    assert all(0 <= wait < 10 for wait in waits)
    assert len(waits) == 30
    dev = Client(dev_mode=True)
    dev.register()
    assert BEAT in dev.under_way


def test_the_next_ones_come_one_ttl_after_the_reply() -> None:
    client = Client()
    client.beat()
    for ttl in (12.5, 19.0):
        before = client.timers[BEAT] - client.now
        assert client.until(BEAT) == before
        client.now += 0.25
        client.feed(Beaten(msgspec.structs.replace(REPLY, heartbeat_ttl=ttl)))
        assert client.timers[BEAT] - client.now == pytest.approx(ttl)
    assert client.node.heartbeat_ttl == 19.0
    client.now += 5.0
    assert client.node.since_heartbeat(client.now) == 5.0
    assert client.node.node.status == "ready"


def test_servers_are_taken_from_heartbeats_only() -> None:
    client = Client()
    client.feed(Started())
    assert not only(UseServers, client.feed(Registered(REPLY)))
    client.until(BEAT)
    (use,) = only(UseServers, client.feed(Beaten(REPLY)))
    assert use.servers == (Address("127.0.61.1", 4647), Address("127.0.61.2", 4647))


@pytest.mark.parametrize("servers", [None, (), (ServerInfo("", "dc1"), ServerInfo("x:y", ""))])
def test_a_reply_without_servers_is_a_failure(servers: tuple[ServerInfo, ...] | None) -> None:
    """agent O12"""
    client = Client()
    client.register()
    client.until(BEAT)
    effects = client.feed(Beaten(msgspec.structs.replace(REPLY, servers=servers)))
    assert not only(UseServers, effects)
    assert NO_SERVERS in only(Log, effects)[0].message
    assert client.timers[BEAT] - client.now <= 15.0


def test_odd_addresses_are_left_out() -> None:
    servers = ("[::1]:4647", "127.0.0.1", "127.0.0.1:0", ":4647", "a:b:c:d", "127.0.0.1:99999")
    found = addresses_of([ServerInfo(text, "dc1") for text in servers])
    assert found == (Address("::1", 4647), Address("127.0.0.1", 4647))


@pytest.mark.parametrize(("dev", "low", "high"), [(False, 15.0, 30.0), (True, 1.0, 1.0)])
def test_a_failed_registration_is_tried_again(dev: bool, low: float, high: float) -> None:
    client = Client(dev_mode=dev)
    client.feed(Started())
    for _ in range(10):
        client.feed(CallFailed(REGISTER, LOST))
        assert low <= client.until(REGISTER) <= high
    assert client.node.since_heartbeat(client.now) == client.now - 1000.0


def test_a_forgotten_node_registers_again() -> None:
    client = Client()
    client.beat()
    client.until(BEAT)
    effects = client.feed(CallFailed(BEAT, "rpc error: node not found"))
    (call,) = only(Call, effects)
    assert call.call is REGISTER
    assert not client.node.is_registered
    assert BEAT not in client.timers
    client.feed(Registered(REPLY))
    assert 0 <= client.until(BEAT) < 10


@pytest.mark.parametrize(
    ("late", "low", "high"),
    [
        (-14.0, 1.0, 14.0),
        (-0.5, 1.0, 2.0),
        (0.5, 1.0, 2.0),
        (29.0, 1.0, 2.0),
        (40.0, 1.0, 30.0),
        (4000.0, 1.0, 30.0),
    ],
)
def test_a_failed_heartbeat_is_tried_again_in_time(late: float, low: float, high: float) -> None:
    """`late` seconds after the TTL was over."""
    waits = []
    for seed in range(50):
        client = Client(seed=seed)
        client.beat()
        client.until(BEAT)
        client.now += late
        client.feed(CallFailed(BEAT, LOST))
        waits.append(client.timers[BEAT] - client.now)
    assert low <= min(waits)
    assert max(waits) <= high
    if late == 4000.0:
        assert sum(25.0 <= wait <= BEAT_RETRY_MAX for wait in waits) > 40


def test_a_node_never_heard_waits_as_for_a_registration() -> None:
    client = Client()
    client.feed(Started())
    client.node._is_registered = True  # an agent that was registered before it started
    client.feed(NodeChanged(node(name="other")))
    client.node._call(BEAT, client.now)
    client.under_way[BEAT] = Call(BEAT, NodeUpdateStatus())
    client.feed(CallFailed(BEAT, LOST))
    assert 15.0 <= client.timers[BEAT] - client.now <= 30.0


def test_polls_go_on_and_remember_where_they_are() -> None:
    client = Client()
    client.register()
    client.feed(Polled(ClientAllocs(index=3)))
    request = client.under_way[POLL].request
    assert isinstance(request, NodeGetClientAllocs)
    assert (request.min_index, request.stale) == (3, True)
    client.now += 300.0
    client.feed(Polled(ClientAllocs(index=3)))
    assert POLL in client.under_way
    client.feed(CallFailed(POLL, LOST))
    assert 30.0 <= client.until(POLL) <= 60.0


def test_a_poll_that_is_not_held_back_does_not_go_round() -> None:
    client = Client()
    client.beat()
    client.feed(Polled(ClientAllocs(index=3)))
    client.now += 2.0
    client.feed(Polled(ClientAllocs(index=3)))
    for _ in range(5):
        client.feed(Polled(ClientAllocs(index=3)))
        assert POLL not in client.under_way
        assert client.until(POLL) == 1.0


def test_a_call_that_succeeds_brings_the_heartbeat_at_once() -> None:
    client = Client()
    client.beat()
    client.feed(OtherCallSucceeded())  # a heartbeat was answered this very moment
    assert BEAT not in client.under_way
    client.now += 5.0
    client.feed(OtherCallSucceeded())
    assert BEAT in client.under_way
    client.feed(Beaten(REPLY))
    client.now += 5.0
    client.feed(Polled(ClientAllocs(index=1)))
    assert BEAT in client.under_way


def test_a_call_that_succeeds_brings_what_had_failed() -> None:
    client = Client()
    client.feed(Started())
    client.feed(CallFailed(REGISTER, LOST))
    client.feed(CallFailed(POLL, LOST))
    client.feed(OtherCallSucceeded())
    assert set(client.under_way) == {REGISTER, POLL}
    assert not client.timers


def test_a_node_that_changed_registers_again_and_goes_on_beating() -> None:
    client = Client()
    client.beat()
    due = client.timers[BEAT]
    client.feed(NodeChanged(node(name="other")))
    client.feed(NodeChanged(node(name="third")))
    assert 5.0 <= client.until(REGISTER) <= 10.0
    request = client.under_way[REGISTER].request
    assert isinstance(request, NodeRegister)
    assert request.node is not None
    assert (request.node.name, request.node.status) == ("third", "ready")
    client.feed(NodeChanged(node(name="fourth")))  # too late for that call
    client.until(BEAT)  # while it is under way
    assert client.now == due
    client.feed(Beaten(REPLY))
    client.feed(CallFailed(REGISTER, LOST))
    assert client.timers[BEAT] - client.now == 15.0
    client.until(REGISTER)
    client.feed(Registered(REPLY))
    assert REGISTER in client.timers


def test_a_heartbeat_that_was_missed_is_said_so() -> None:
    client = Client()
    client.beat()
    client.until(BEAT)
    client.now += 3.0  # late, but in time for the servers
    assert not only(Log, client.feed(Beaten(msgspec.structs.replace(REPLY, index=0))))
    client.until(BEAT)
    assert only(Log, client.feed(Beaten(REPLY)))[0].message == "missed heartbeat"


@pytest.mark.parametrize(("ttl", "wait"), [(0.0, 1.0), (-5.0, 1.0), (1e9, 3600.0)])
def test_an_odd_ttl_does_no_harm(ttl: float, wait: float) -> None:
    client = Client()
    client.beat()
    client.until(BEAT)
    client.feed(Beaten(msgspec.structs.replace(REPLY, heartbeat_ttl=ttl)))
    assert client.timers[BEAT] - client.now == wait


_REPLIES = st.builds(
    NodeUpdate,
    heartbeat_ttl=st.floats(-10, 60),
    servers=st.sampled_from([None, (), SERVERS]),
)
_STEPS = st.one_of(
    st.tuples(st.just("answer"), _REPLIES),
    st.tuples(st.just("fail"), st.sampled_from([LOST, "node not found", "No cluster leader"])),
    st.tuples(st.just("poll"), st.integers(0, 5)),
    st.tuples(st.just("timer"), st.sampled_from(NodeCall)),
    st.tuples(st.just("time"), st.floats(0, 100)),
    st.tuples(st.just("other"), st.just(0)),
    st.tuples(st.just("changed"), st.just(0)),
)


@given(st.lists(_STEPS, max_size=60), st.randoms(use_true_random=False))
def test_whatever_comes_a_node_never_stops(
    steps: list[tuple[str, object]], choice: random.Random
) -> None:
    """Of each kind of call one is under way at most, or its time is set: nothing is forgotten."""
    client = Client()
    client.feed(Started())
    for kind, what in steps:
        under_way = [each for each in NodeCall if each in client.under_way]
        call = choice.choice(under_way) if under_way else None
        if kind == "answer" and isinstance(what, NodeUpdate) and call in (REGISTER, BEAT):
            client.feed(Registered(what) if call is REGISTER else Beaten(what))
        elif kind == "fail" and isinstance(what, str) and call is not None:
            client.feed(CallFailed(call, what))
        elif kind == "poll" and isinstance(what, int) and POLL in client.under_way:
            client.feed(Polled(ClientAllocs(index=what)))
        elif kind == "timer" and isinstance(what, NodeCall) and what in client.timers:
            client.until(what)
        elif kind == "time" and isinstance(what, float):
            client.now = min([client.now + what, *client.timers.values()])
        elif kind == "other":
            client.feed(OtherCallSucceeded())
        elif kind == "changed":
            client.feed(NodeChanged(node(name="other")))
        waiting = set(client.under_way) | set(client.timers)
        assert POLL in waiting
        assert BEAT in waiting if client.node.is_registered else REGISTER in waiting
        assert not set(client.under_way) & set(client.timers) - {REGISTER}
