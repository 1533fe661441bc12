"""Push/pulls: schedule, answer, merge and version check."""

from __future__ import annotations

import pytest

from swimnomad.swim.config import VERSIONS_PLAIN
from swimnomad.swim.effects import CloseStream, WriteStream
from swimnomad.swim.events import (
    ExchangeFailed,
    NodeJoined,
    NodeLeft,
    NodeSuspected,
    NodeUpdated,
    NodeView,
    UserStateReceived,
)
from swimnomad.swim.inputs import StreamFailed
from swimnomad.swim.members import NodeEntry
from swimnomad.swim.pushpull import find_version_conflict, push_pull_interval
from swimnomad.swim.timers import PushPullTick, StreamDeadline
from swimnomad.wire.messages import (
    Ack,
    Alive,
    Dead,
    ErrorReply,
    NodeRecord,
    NodeState,
    PushPull,
    Suspect,
)
from tests.swim.swim_support import OTHER, OWN, PEER, Hooks, Rig, alive, host, record, rig_with
from tests.swim.swim_vectors import table

# --- schedule -------------------------------------------------------------------------------------


def test_interval_equals_the_reference_in_every_row() -> None:
    for row in table("push-pull-scale"):
        found = push_pull_interval(row["interval_ns"] / 1e9, row["nodes"])
        assert round(found * 1e9) == row["scaled_ns"], row


def test_interval_grows_with_the_pool() -> None:
    """gossip 40.42: times 1 up to 32 nodes, 2 for 33 to 64, 3 for 65 to 128."""
    for nodes, factor in ((0, 1), (32, 1), (33, 2), (64, 2), (65, 3), (128, 3), (1000, 6)):
        assert push_pull_interval(30.0, nodes) == 30.0 * factor


def test_first_exchange_comes_after_a_random_delay_and_one_interval() -> None:
    rig = rig_with("b")
    assert 0 <= rig.at_of(PushPullTick) < 30.0
    rig.fire(PushPullTick)
    assert rig.dialed() == []
    assert rig.at_of(PushPullTick) == pytest.approx(30.0)
    rig.fire(PushPullTick)
    ((to, message),) = rig.dialed()
    assert to == PEER
    assert isinstance(message, PushPull)
    assert not message.is_join


def test_periodic_exchange_needs_an_alive_member() -> None:
    rig = rig_with("b")
    rig.node.table.set_state(rig.entry("b"), NodeState.SUSPECT, rig.now)
    rig.fire(PushPullTick)
    rig.fire(PushPullTick)
    assert rig.dialed() == []


def test_push_pull_can_be_turned_off() -> None:
    assert not Rig(push_pull_interval=0.0).has_timer(PushPullTick)


def exchanging(**settings: object) -> Rig:
    """A node that has just dialed b for a periodic exchange."""
    rig = rig_with("b", **settings)
    rig.fire(PushPullTick)
    rig.fire(PushPullTick)
    return rig


def test_failed_periodic_exchange_is_announced() -> None:
    rig = exchanging()
    rig.feed(StreamFailed(rig.opened(), "connection refused"))
    assert rig.events(ExchangeFailed) == [ExchangeFailed(PEER, "connection refused")]


def test_answer_to_a_periodic_exchange_is_merged() -> None:
    rig = exchanging()
    rig.reply(rig.opened(), PushPull(False, (record("c", host=host(3)),), b"state"))
    assert [event.name for event in rig.events(NodeJoined)] == ["c"]
    assert rig.events(UserStateReceived) == [UserStateReceived(b"state", False)]
    assert rig.events(ExchangeFailed) == []


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (ErrorReply("keys differ"), "remote error: keys differ"),
        (Ack(1), "the answer to a push/pull is none"),
    ],
)
def test_other_answers_to_an_exchange_fail_it(answer: Ack | ErrorReply, reason: str) -> None:
    rig = exchanging()
    rig.reply(rig.opened(), answer)
    assert rig.events(ExchangeFailed) == [ExchangeFailed(PEER, reason)]


# --- answering ------------------------------------------------------------------------------------


def test_own_table_is_sent_before_the_received_one_is_merged() -> None:
    """gossip 40.7: answers a push/pull with its own table before merging the received one."""
    hooks = Hooks()
    hooks.state = b"mine"
    rig = rig_with("b", delegate=hooks, meta=b"m")
    rig.hear(Dead("b", 1, "b"))
    rig.merge(record("new", 1, host=host(9)), is_join=True)
    (answer,) = rig.written()
    assert isinstance(answer, PushPull)
    assert answer.is_join
    assert answer.user_state == b"mine"
    assert sorted(answer.nodes, key=lambda node: node.name) == [
        record("a", 1, host=OWN.host, meta=b"m"),
        record("b", 1, NodeState.LEFT),
    ]
    kinds = [type(effect) for effect in rig.effects]
    assert kinds.index(WriteStream) < kinds.index(CloseStream)
    assert [event.name for event in rig.events(NodeJoined)] == ["new"]
    assert not rig.has_timer(StreamDeadline)


def test_empty_metadata_of_others_is_sent_as_nil_and_our_own_as_empty() -> None:
    rig = rig_with("b")
    rig.merge()
    (answer,) = rig.written()
    assert isinstance(answer, PushPull)
    assert {node.name: node.meta for node in answer.nodes} == {"a": b"", "b": None}


def test_push_pull_without_nodes_or_state_is_accepted() -> None:
    rig = rig_with()
    rig.merge()
    assert len(rig.written()) == 1
    assert rig.events(ExchangeFailed) == []
    assert rig.events(UserStateReceived) == []


# --- merging --------------------------------------------------------------------------------------


def test_merge_takes_each_state_at_its_worth() -> None:
    """gossip 40.37: alive adds and updates, suspect and dead become suspect, left becomes left."""
    rig = rig_with("b", "c", "d", "e")
    rig.merge(
        record("b", 2, host=host(2), meta=b"new"),
        record("c", 1, NodeState.SUSPECT, host=host(3)),
        record("d", 1, NodeState.DEAD, host=host(4)),
        record("e", 1, NodeState.LEFT, host=host(5)),
        record("f", 1, host=host(6)),
        record("g", 1, 7, host=host(7)),
        record("h", 1, NodeState.DEAD, host=host(8)),
    )
    assert {entry.name: entry.state for entry in rig.node.table} == {
        "a": NodeState.ALIVE,
        "b": NodeState.ALIVE,
        "c": NodeState.SUSPECT,
        "d": NodeState.SUSPECT,
        "e": NodeState.LEFT,
        "f": NodeState.ALIVE,
    }
    assert [event.name for event in rig.events(NodeJoined)] == ["f"]
    assert [event.name for event in rig.events(NodeUpdated)] == ["b"]
    assert [event.name for event in rig.events(NodeSuspected)] == ["c", "d"]
    assert [(event.name, event.on_purpose) for event in rig.events(NodeLeft)] == [("e", True)]
    by_name = {claim.node: claim for claim in rig.queued() if isinstance(claim, Alive | Dead)}
    assert by_name["f"] == alive("f", host=host(6))
    assert by_name["e"] == Dead("e", 1, "e")


def test_record_without_port_gets_ours() -> None:
    rig = rig_with()
    rig.merge(record("b", port=0))
    assert rig.entry("b").port == OWN.port


def test_merge_hook_is_asked_about_joins_only_and_may_refuse() -> None:
    """gossip 40.46: a refusing merge hook prevents the join."""
    hooks = Hooks()
    hooks.merge_refusal = "not you"
    rig = rig_with(delegate=hooks)
    rig.merge(record("b", 3, NodeState.DEAD), record("c", host=host(3)), is_join=True)
    assert [node.name for node in rig.node.table] == ["a"]
    (failure,) = rig.events(ExchangeFailed)
    assert failure.reason == "not you"
    ((views, states),) = hooks.merges
    assert views[0] == NodeView("b", bytes((10, 0, 0, 2)), 7946, b"", VERSIONS_PLAIN, 3)
    assert states == [NodeState.DEAD, NodeState.ALIVE]
    rig.merge(record("c", host=host(3)), number=2)
    assert "c" in rig.node.table


def test_user_state_arrives_after_the_members() -> None:
    rig = rig_with()
    rig.request(PushPull(True, (record("b"),), b"state"))
    kinds = [type(event) for event in rig.events(NodeJoined) + rig.events(UserStateReceived)]
    assert kinds == [NodeJoined, UserStateReceived]
    assert rig.events(UserStateReceived) == [UserStateReceived(b"state", True)]


# --- versions -------------------------------------------------------------------------------------


def entry(name: str, versions: tuple[int, ...], state: NodeState = NodeState.ALIVE) -> NodeEntry:
    return NodeEntry(name, bytes(4), 1, b"", bytes(versions), 1, state, 0.0)


def versioned(name: str, versions: tuple[int, ...], state: int = NodeState.ALIVE) -> NodeRecord:
    return record(name, 1, state, versions=bytes(versions))


Vector = tuple[int, ...]


@pytest.mark.parametrize(
    ("ours", "theirs", "fits"),
    [
        ([(1, 5, 2)], [(1, 5, 2)], True),
        ([(1, 5, 2)], [(1, 7, 2)], True),  # understands more
        ([(1, 5, 4)], [(3, 7, 5)], True),  # overlapping
        ([(1, 5, 2)], [(3, 7, 5)], False),  # we speak below their minimum
        ([(1, 5, 4)], [(3, 7, 6)], False),  # they speak above our maximum
        ([(1, 5, 4), (1, 5, 5)], [(1, 4, 4)], False),  # one of ours is beyond one of theirs
        ([(1, 5, 4)], [(2, 5, 4), (4, 6, 6)], False),  # transitively outside
    ],
)
def test_versions_must_be_understood_by_all(
    ours: list[Vector], theirs: list[Vector], fits: bool
) -> None:
    """gossip 40.38: overlapping ranges pass both ways, a speaker outside fails; D bytes too."""
    plain = (1, 5, 2)
    for is_protocol in (True, False):
        local = [(f"l{n}", v + plain if is_protocol else plain + v) for n, v in enumerate(ours)]
        remote = [(f"r{n}", v + plain if is_protocol else plain + v) for n, v in enumerate(theirs)]
        for here, there in ((local, remote), (remote, local)):
            problem = find_version_conflict(
                [versioned(*pair) for pair in there], [entry(*pair) for pair in here]
            )
            assert (problem == "") is fits


def test_dead_nodes_must_speak_our_versions_but_set_no_range() -> None:
    local = [entry("a", (1, 5, 2, 0, 0, 0))]
    assert not find_version_conflict([versioned("b", (2, 2, 2, 0, 0, 0), 2)], local)
    problem = find_version_conflict([versioned("b", (1, 7, 6, 0, 0, 0), 2)], local)
    assert problem == "node 'b' speaks protocol version 6, the others understand 1 to 5"
    problem = find_version_conflict([], [*local, entry("d", (1, 5, 2, 0, 9, 9), NodeState.LEFT)])
    assert problem == "node 'd' speaks application version 9, the others understand 0 to 0"


def test_record_without_versions_counts_as_speaking_zero() -> None:
    local = [entry("a", (1, 5, 2, 0, 0, 0))]
    assert "'b' speaks protocol version 0" in find_version_conflict(
        [record("b", versions=None)], local
    )


def test_conflicting_versions_refuse_the_whole_merge() -> None:
    rig = rig_with()
    rig.merge(record("b"), versioned("c", (1, 9, 9, 0, 0, 0)))
    assert rig.node.node_count == 1
    (failure,) = rig.events(ExchangeFailed)
    assert "'c' speaks protocol version 9" in failure.reason
    # Our own state was sent all the same.
    assert len(rig.written()) == 1


def test_merged_claims_are_judged_like_all_others() -> None:
    rig = rig_with("b", "c")
    rig.hear(Suspect("b", 1, "c"))
    rig.merge(record("b", 1), record("c", 0, NodeState.DEAD, host=OTHER.host))
    assert rig.entry("b").state is NodeState.SUSPECT
    assert rig.entry("c").state is NodeState.ALIVE
