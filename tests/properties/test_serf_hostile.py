"""Whatever bytes arrive as Serf messages, the node goes on and its bounds hold."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from swimnomad.names import Address, Stream
from swimnomad.serf.inputs import DatagramReceived, StreamOpened, StreamReceived
from swimnomad.serf.lamport import LTIME_MAX
from swimnomad.wire.codec import encode
from swimnomad.wire.frames import StreamCodec, StreamSettings
from swimnomad.wire.keyring import Keyring
from swimnomad.wire.messages import Alive, NodeRecord, PushPull
from swimnomad.wire.serf_messages import (
    BufferedEvent,
    EventSlot,
    JoinIntent,
    LeaveIntent,
    MemberState,
    Relay,
    SerfMessage,
    UserEvent,
    encode_serf,
)
from tests.serf.helpers import Host, Net, serf_config

PEER = Address("10.9.9.9", 7946)
VERSIONS = bytes((1, 5, 2, 2, 5, 5))

ltimes = st.integers(0, LTIME_MAX) | st.sampled_from([0, 1, LTIME_MAX - 512, LTIME_MAX])
names = st.sampled_from(["me", "x", "y", "ghost", ""])
payloads = st.none() | st.binary(max_size=20)
slots = st.none() | st.builds(
    EventSlot, ltimes, st.tuples(st.builds(BufferedEvent, names, payloads))
)
messages: st.SearchStrategy[SerfMessage] = st.one_of(
    st.builds(JoinIntent, ltimes, names),
    st.builds(LeaveIntent, ltimes, names, st.booleans()),
    st.builds(UserEvent, ltimes, names, payloads, st.booleans()),
    st.builds(Relay, payloads, st.integers(0, 65_535), names, st.binary(max_size=9)),
    st.builds(
        MemberState,
        ltimes,
        st.dictionaries(names, ltimes),
        st.lists(names).map(tuple),
        ltimes,
        st.lists(slots, max_size=5).map(tuple),
        ltimes,
    ),
)


def cut_or_changed(data: bytes, at: int, value: int) -> bytes:
    """The bytes with one replaced, and cut behind it if the value says so."""
    if not data:
        return data
    at %= len(data)
    return data[:at] + bytes([value]) + (b"" if value % 3 == 0 else data[at + 1 :])


bytes_of_messages = st.builds(
    cut_or_changed, messages.map(encode_serf), st.integers(0, 1000), st.integers(0, 255)
)
untrusted = st.binary(max_size=60) | messages.map(encode_serf) | bytes_of_messages


def node() -> Host:
    host = Net().add(serf_config("me", intents_max=5))
    for name in ("x", "y"):
        alive = Alive(name, 1, b"\x0a\x09\x09\x09", 7946, b"\xff\x80", VERSIONS)
        host.feed(DatagramReceived(encode(alive), PEER))
    return host


def check(host: Host) -> None:
    stats = host.node.stats()
    clocks = [int(stats[key]) for key in ("member_time", "event_time", "query_time")]
    assert all(1 <= clock <= LTIME_MAX for clock in clocks)
    assert host.status("me") == "alive"
    assert len(host.node._context.membership.intents) <= 5
    host.net.run(8.0)  # Its own state must still be fit to be sent, its timers to fire.


@settings(max_examples=60, deadline=None)
@given(st.lists(untrusted, max_size=12))
def test_arbitrary_bytes_as_serf_messages_never_raise(payloads: list[bytes]) -> None:
    host = node()
    for payload in payloads:
        host.feed(DatagramReceived(b"\x08" + payload, PEER))
    check(host)


@settings(max_examples=60, deadline=None)
@given(st.lists(untrusted, max_size=4), st.booleans())
def test_arbitrary_bytes_as_serf_states_never_raise(states: list[bytes], is_join: bool) -> None:
    host = node()
    codec = StreamCodec(StreamSettings(), Keyring(), lambda: bytes(12))
    record = NodeRecord("x", 1, b"\x0a\x09\x09\x09", 7946, b"\xff\x80", VERSIONS, 0)
    for number, state in enumerate(states, 1):
        stream = Stream(True, number)
        request = codec.pack(PushPull(is_join, (record,), state), dialer=True)
        host.feed(StreamOpened(stream, PEER))
        host.feed(StreamReceived(stream, request))
    check(host)
