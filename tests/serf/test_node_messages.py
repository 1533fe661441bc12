"""One node and what the wire brings it: Serf messages in datagrams, states in push/pulls."""

from __future__ import annotations

import random

import pytest

from swimnomad.names import Address, Stream
from swimnomad.serf.events import (
    MemberJoined,
    MemberLeft,
    MemberReaped,
    MessageDropped,
    Status,
    UserEventReceived,
)
from swimnomad.serf.inputs import DatagramReceived, StreamOpened, StreamReceived, TimerFired
from swimnomad.serf.pushpull import read_state_untrusted
from swimnomad.swim.effects import SendDatagram, WriteStream
from swimnomad.wire.codec import encode
from swimnomad.wire.frames import StreamCodec, StreamSettings
from swimnomad.wire.keyring import Keyring
from swimnomad.wire.messages import Alive, Dead, NodeRecord, PushPull
from swimnomad.wire.serf_messages import (
    BufferedEvent,
    EventSlot,
    JoinIntent,
    KeyRequest,
    LeaveIntent,
    MemberState,
    Query,
    QueryFlag,
    QueryResponse,
    Relay,
    SerfMessage,
    UserEvent,
    encode_serf,
)
from tests.serf.helpers import Host, Net, serf_config

PEER = Address("10.9.9.9", 7946)
VERSIONS = bytes((1, 5, 2, 2, 5, 5))


@pytest.fixture
def host() -> Host:
    """A lone node `me` at time 0 that probes nobody: the others here do not exist."""
    return Net().add(serf_config("me", gossip={"probe_interval": 0.0}))


def deliver(host: Host, message: SerfMessage | bytes) -> None:
    data = message if isinstance(message, bytes) else encode_serf(message)
    host.feed(DatagramReceived(b"\x08" + data, PEER))


def introduce(host: Host, name: str, incarnation: int = 1) -> None:
    """An alive message about a node that does not exist."""
    alive = Alive(name, incarnation, b"\x0a\x09\x09\x09", 7946, b"\xff\x80", VERSIONS)
    host.feed(DatagramReceived(encode(alive), PEER))


def bury(host: Host, name: str, incarnation: int = 1) -> None:
    host.feed(DatagramReceived(encode(Dead(name, incarnation, "someone")), PEER))


def queued(host: Host, queue: str) -> int:
    return int(host.node.stats()[f"{queue}_queue"])


def exchange(host: Host, state: MemberState, *, is_join: bool = False) -> MemberState:
    """A push/pull from a peer; returns the node's own Serf state."""
    codec = StreamCodec(StreamSettings(), Keyring(), lambda: bytes(12))
    record = NodeRecord("peer", 1, b"\x0a\x09\x09\x09", 7946, b"\xff\x80", VERSIONS, 0)
    request = PushPull(is_join, (record,), encode_serf(state))
    stream = Stream(True, 1000 + len(host.events))
    reader = codec.reader(dialer=False)
    effects = host.node.handle(StreamOpened(stream, PEER), host.net.now)
    data = codec.pack(request, dialer=True)
    effects += host.node.handle(StreamReceived(stream, data), host.net.now)
    for effect in effects:
        host._carry_out(effect)
    written = b"".join(effect.data for effect in effects if isinstance(effect, WriteStream))
    reply = reader.feed(written)
    assert isinstance(reply, PushPull)
    return read_state_untrusted(reply.user_state)


# -- intents


def test_an_intent_about_a_stranger_is_passed_on_once(host: Host) -> None:
    """serf 35.37: unknown name is buffered, second copy not rebroadcast."""
    for _ in range(2):
        deliver(host, JoinIntent(20, "x"))
        assert queued(host, "intent") == 1
        assert host.node.stats()["member_time"] == "21"
    deliver(host, LeaveIntent(21, "x"))
    deliver(host, LeaveIntent(21, "x"))
    assert queued(host, "intent") == 2


def test_a_node_finds_the_leave_that_ran_ahead_of_it(host: Host) -> None:
    """serf 35.39: a node join consumes a buffered intent."""
    deliver(host, LeaveIntent(9, "x"))
    introduce(host, "x")
    assert host.status("x") == "leaving"
    bury(host, "x")
    assert host.kinds("x") == ["MemberJoined", "MemberLeft"]


def test_a_leave_about_the_node_itself_is_answered_with_a_newer_join(host: Host) -> None:
    deliver(host, LeaveIntent(9, "me"))
    assert host.status("me") == "alive"
    assert queued(host, "intent") == 1, "the join, and not the leave"
    assert host.node.local_member.status_ltime == 11
    assert host.node.stats()["member_time"] == "12"
    deliver(host, LeaveIntent(9, "me"))
    assert queued(host, "intent") == 1


def test_pruning_a_failed_member_erases_it_at_once(host: Host) -> None:
    """serf 35.11: force-leave with prune removes a failed node."""
    introduce(host, "x")
    bury(host, "x")
    deliver(host, LeaveIntent(9, "x", prune=True))
    assert host.kinds("x") == ["MemberJoined", "MemberFailed", "MemberLeft", "MemberReaped"]
    assert host.status("x") == "unknown"


def test_pruning_a_left_member_erases_it_at_once(host: Host) -> None:
    """serf 35.11: force-leave with prune removes a left node."""
    introduce(host, "x")
    deliver(host, LeaveIntent(9, "x"))
    bury(host, "x")
    deliver(host, LeaveIntent(10, "x", prune=True))
    assert host.announced(MemberReaped)[0].member.status is Status.LEFT


def test_pruning_a_leaving_member_waits_without_blocking_anything(host: Host) -> None:
    """serf 35.11: force-leave with prune removes a leaving node, 6 s later."""
    introduce(host, "x")
    deliver(host, LeaveIntent(9, "x", prune=True))
    host.net.run(5.9)
    assert host.status("x") == "leaving"
    introduce(host, "y")
    assert host.status("y") == "alive"
    assert host.net.until(lambda: host.status("x") == "unknown") <= 0.11


def test_a_pruned_member_that_refutes_too_late_is_back(host: Host) -> None:
    introduce(host, "x")
    deliver(host, LeaveIntent(9, "x", prune=True))
    host.net.run(7.0)
    assert host.status("x") == "unknown"
    deliver(host, JoinIntent(10, "x"))
    assert host.kinds("x") == ["MemberJoined", "MemberReaped", "MemberJoined"]
    assert host.status("x") == "alive"


def test_a_member_that_refutes_meanwhile_is_not_pruned(host: Host) -> None:
    introduce(host, "x")
    deliver(host, LeaveIntent(9, "x", prune=True))
    deliver(host, JoinIntent(10, "x"))
    host.net.run(7.0)
    assert host.announced(MemberReaped) == []


# -- user events and queries


def test_user_events_are_announced_once_and_passed_on(host: Host) -> None:
    """serf 35.41: several events with one ltime; exact repeats dropped."""
    for payload in (b"x", b"x", b"y", b""):
        deliver(host, UserEvent(3, "deploy", payload, coalesce=True))
    deliver(host, UserEvent(3, "deploy", None))
    assert [event.payload for event in host.announced(UserEventReceived)] == [b"x", b"y", b""]
    assert host.announced(UserEventReceived)[0] == UserEventReceived(3, "deploy", b"x", True)
    assert queued(host, "event") == 3
    assert host.node.stats()["event_time"] == "4"


def test_events_older_than_the_buffer_are_dropped_with_a_word(host: Host) -> None:
    """serf 35.41: drops events older than the buffer."""
    deliver(host, UserEvent(1000, "new", b""))
    deliver(host, UserEvent(488, "old", b""))
    deliver(host, UserEvent(489, "just in time", b""))
    assert [event.name for event in host.announced(UserEventReceived)] == ["new", "just in time"]
    assert "older than the event buffer" in host.announced(MessageDropped)[0].reason


def query(ltime: int, number: int, flags: int = 0) -> Query:
    return Query(
        ltime=ltime,
        id=number,
        ip=b"\x0a\x09\x09\x09",
        port=7946,
        source_node="peer",
        filters=None,
        flags=flags,
        relay_factor=0,
        timeout_ns=1_000_000_000,
        name="load",
        payload=b"",
    )


def test_queries_are_passed_on_once_and_not_answered(host: Host) -> None:
    """serf 35.41: query repeats are recognised by ltime+ID."""
    for ltime, number in ((5, 1), (5, 1), (5, 2), (6, 1)):
        deliver(host, query(ltime, number, QueryFlag.ACK))
    assert queued(host, "query") == 3
    assert host.node.stats()["query_time"] == "7"
    assert host.announced(MessageDropped) == []


def test_a_query_that_asks_for_it_is_not_passed_on(host: Host) -> None:
    deliver(host, query(5, 1, QueryFlag.NO_BROADCAST))
    assert queued(host, "query") == 0
    assert host.node.stats()["query_time"] == "6"


def test_queries_older_than_the_buffer_are_dropped_with_a_word(host: Host) -> None:
    """serf 35.41: drops queries older than the buffer."""
    deliver(host, query(1000, 1))
    deliver(host, query(10, 1))
    assert queued(host, "query") == 1
    assert "older than the query buffer" in host.announced(MessageDropped)[0].reason


def test_what_is_passed_on_is_what_was_received_byte_for_byte(host: Host) -> None:
    # Keys in another order than ours, one of them unknown, an integer wider than needed.
    odd = bytes.fromhex("0184a44e6f6465a178a54c54696d65cd0007a6467574757265c3a153c0")
    introduce(host, "peer")
    deliver(host, odd)
    sent: list[bytes] = []
    for timer in list(host.timers):  # The gossip tick is among them.
        effects = host.node.handle(TimerFired(timer), 1.0)
        sent += [effect.data for effect in effects if isinstance(effect, SendDatagram)]
    assert any(odd in data for data in sent)


# -- relays


def test_a_relay_is_unwrapped_and_its_inside_sent_on_unseen(host: Host) -> None:
    """serf 35.48: header, then the inner bytes, forwarded verbatim to DestAddr."""
    inner = b"\x05anything, even what nobody understands"
    relay = encode_serf(Relay(b"\x0a\0\0\x07", 4648, "py1", inner))
    effects = host.node.handle(DatagramReceived(b"\x08" + relay, PEER), 0.0)
    (sent,) = [effect for effect in effects if isinstance(effect, SendDatagram)]
    assert sent == SendDatagram(Address("10.0.0.7", 4648), b"\x08" + inner)


def test_the_recorded_relay_is_understood(host: Host) -> None:
    """serf 35.48: the recorded message of the reference."""
    recorded = bytes.fromhex(
        "080982a8446573744164647283a24950a47f00001fa4506f7274cd1f0aa45a6f6e65a0a8446573744e61"
        "6d65a37079310585a5466c61677300a446726f6da26e33a249444ea54c54696d6532a75061796c6f6164"
        "a206c0"
    )
    effects = host.node.handle(DatagramReceived(recorded, PEER), 0.0)
    (sent,) = [effect for effect in effects if isinstance(effect, SendDatagram)]
    assert sent.to == Address("127.0.0.31", 7946)
    assert sent.data == b"\x08" + recorded[recorded.index(b"\xa3py1") + 4 :]


def test_a_relay_to_the_node_itself_comes_back_to_it(host: Host) -> None:
    inner = encode_serf(UserEvent(3, "round trip", b""))
    deliver(host, Relay(b"\x0a\0\0\2", 7946, "me", inner))
    host.net.run(0.1)
    assert [event.name for event in host.announced(UserEventReceived)] == ["round trip"]


@pytest.mark.parametrize(
    "relay",
    [
        Relay(None, 7946, "x", b"\x05"),
        Relay(bytes(5), 7946, "x", b"\x05"),
        Relay(b"\x0a\0\0\7", 0, "x", b"\x05"),
        Relay(b"\x0a\0\0\7", 7946, "x", b""),
    ],
    ids=["no address", "odd address", "no port", "nothing inside"],
)
def test_a_relay_to_nowhere_is_dropped(host: Host, relay: Relay) -> None:
    deliver(host, relay)
    assert "relay" in host.announced(MessageDropped)[0].reason


# -- what is of no use


@pytest.mark.parametrize(
    "message",
    [
        b"\x0a\x80",
        b"\xff",
        b"\x00\xc1",
        b"\x01\x81\xa5LTime\xff",
        b"\x09\x81",
        QueryResponse(1, 2, "x"),
        KeyRequest(b""),
        MemberState(1),
    ],
    ids=[
        "unknown type",
        "no such type",
        "no MessagePack",
        "negative time",
        "half a relay",
        "an answer to nothing",
        "a key request outside of a query",
        "a state outside of a push/pull",
    ],
)
def test_a_message_of_no_use_is_dropped_with_a_word(
    host: Host, message: SerfMessage | bytes
) -> None:
    deliver(host, message)
    assert len(host.announced(MessageDropped)) == 1
    assert [queued(host, queue) for queue in ("intent", "query", "event")] == [0, 0, 0]


# -- push/pull


def test_a_merged_state_sets_clocks_intents_and_events(host: Host) -> None:
    """serf 35.44: the state of the checklist, step by step."""
    slot = EventSlot(45, (BufferedEvent("deploy", b"v1"),))
    state = MemberState(
        ltime=42,
        status_ltimes={"test": 20, "foo": 15},
        left_members=("foo",),
        event_ltime=50,
        events=(slot,),
        query_ltime=100,
    )
    exchange(host, state)
    stats = host.node.stats()
    clocks = [stats[key] for key in ("member_time", "event_time", "query_time")]
    assert clocks == ["42", "50", "100"]
    after = exchange(host, MemberState(0))
    assert after.events[45] == slot
    assert host.announced(UserEventReceived) == [UserEventReceived(45, "deploy", b"v1", False)]
    introduce(host, "test")
    introduce(host, "foo")
    members = host.node.members
    assert (members["test"].status, members["test"].status_ltime) == (Status.ALIVE, 20)
    assert (members["foo"].status, members["foo"].status_ltime) == (Status.LEAVING, 16)


def test_what_a_state_implies_is_not_passed_on(host: Host) -> None:
    slot = EventSlot(45, (BufferedEvent("deploy", b"v1"),))
    exchange(host, MemberState(42, {"test": 20, "foo": 15}, ("foo",), 50, (slot,), 100))
    assert [queued(host, queue) for queue in ("intent", "query", "event")] == [0, 0, 0]


def test_the_own_state_lists_the_own_status_and_the_full_buffer(host: Host) -> None:
    """serf 35.43: EventBuffer slots."""
    state = exchange(host, MemberState(0))
    assert len(state.events) == 512
    assert "me" in state.status_ltimes


def test_a_state_that_lists_a_failed_member_as_left_makes_it_left(host: Host) -> None:
    introduce(host, "x")
    bury(host, "x")
    exchange(host, MemberState(1, {"x": 3}, ("x",)))
    assert host.status("x") == "left"
    assert host.announced(MemberLeft)[0].forced


def test_a_state_that_lists_the_node_itself_as_left_is_contradicted(host: Host) -> None:
    exchange(host, MemberState(5, {"me": 4}, ("me",)))
    assert host.status("me") == "alive"
    assert queued(host, "intent") == 1
    assert host.node.local_member.status_ltime > 5


def test_a_status_time_about_the_node_that_it_never_announced_is_answered_with_a_join(
    host: Host,
) -> None:
    exchange(host, MemberState(5, {"me": 4}))
    assert queued(host, "intent") == 1
    assert host.node.local_member.status_ltime == 6
    exchange(host, MemberState(5, {"me": 6}))
    assert queued(host, "intent") == 1, "that is what the node says itself"


def test_upstream_contradicts_with_the_present_time_and_only_what_was_said_to_it() -> None:
    host = Net().add(serf_config("me", gossip={"compat": "upstream"}))
    exchange(host, MemberState(5, {"me": 4}))
    assert queued(host, "intent") == 0
    deliver(host, LeaveIntent(9, "me"))
    assert host.node.local_member.status_ltime == 10


@pytest.mark.parametrize("state", [b"\x02\xc1", b"\x03\x80", b"\x01\x82"])
def test_a_state_of_no_use_is_dropped_and_the_nodes_are_merged_all_the_same(
    host: Host, state: bytes
) -> None:
    codec = StreamCodec(StreamSettings(), Keyring(), lambda: bytes(12))
    record = NodeRecord("peer", 1, b"\x0a\x09\x09\x09", 7946, b"\xff\x80", VERSIONS, 0)
    stream = Stream(True, 1)
    host.feed(StreamOpened(stream, PEER))
    host.feed(StreamReceived(stream, codec.pack(PushPull(False, (record,), state), dialer=True)))
    assert len(host.announced(MessageDropped)) == 1
    assert [event.member.name for event in host.announced(MemberJoined)] == ["me", "peer"]


# -- floods


def test_a_flood_of_invented_names_stops_at_the_limit() -> None:
    host = Net().add(serf_config("me", intents_max=50, queue_check_interval=1.0))
    rng = random.Random(1)
    for i in range(200):
        deliver(host, JoinIntent(rng.randrange(1, 100), f"ghost-{i}"))
    assert queued(host, "intent") == 50


def test_a_long_queue_is_cut_at_the_next_check() -> None:
    host = Net().add(serf_config("me", queue_depth_max=10, queue_check_interval=5.0))
    for i in range(30):
        deliver(host, UserEvent(1, f"event-{i}", b""))
    assert queued(host, "event") == 30
    host.net.run(5.1)
    assert queued(host, "event") == 10
