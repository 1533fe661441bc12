"""Who may become a member: well-formedness first, then the application's say."""

from __future__ import annotations

from collections.abc import Sequence

from swimnomad.serf.events import Member, Status
from swimnomad.serf.filter import AdmissionControl
from swimnomad.swim.events import NodeView

VERSIONS = bytes((1, 5, 2, 2, 5, 4))


def node(
    name: str = "n",
    ip: bytes = b"\x0a\0\0\1",
    meta: bytes = b"\xff\x80",
    versions: bytes = VERSIONS,
) -> NodeView:
    return NodeView(name, ip, 7946, meta, versions, 1)


class Recorder:
    """Refuses members named `bad`; remembers what it was asked about."""

    def __init__(self) -> None:
        self.asked: list[list[Member]] = []

    def refuse(self, members: Sequence[Member]) -> str:
        self.asked.append(list(members))
        return "bad is not welcome" if any(m.name == "bad" for m in members) else ""


def test_without_a_filter_well_formed_nodes_are_accepted() -> None:
    control = AdmissionControl(None, validate_names=False)
    assert control.refuse_alive(node()) == ""
    assert control.refuse_alive(node(ip=bytes(16))) == ""
    assert control.refuse_alive(node(versions=b"")) == ""
    assert control.refuse_merge([node(), node("other")], [0, 3]) == ""


def test_malformed_nodes_are_refused_with_or_without_a_filter() -> None:
    for member_filter in (None, Recorder()):
        control = AdmissionControl(member_filter, validate_names=False)
        for bad, words in (
            (node(ip=b""), "address of 0 bytes"),
            (node(ip=bytes(5)), "address of 5 bytes"),
            (node(meta=bytes(513)), "513 bytes of metadata"),
        ):
            assert words in control.refuse_alive(bad)
            assert words in control.refuse_merge([node(), bad], [0, 0])
        if member_filter is not None:
            assert member_filter.asked == [], "the filter sees only members that make sense"


def test_names_are_validated_on_request() -> None:
    """serf 35.35: refuses invalid node names when validation is on."""
    strict = AdmissionControl(None, validate_names=True)
    assert "other characters" in strict.refuse_alive(node("a b"))
    assert "129 characters" in strict.refuse_alive(node("x" * 129))
    assert "empty" in strict.refuse_merge([node("")], [0])
    assert strict.refuse_alive(node("good-name.1")) == ""
    assert AdmissionControl(None, validate_names=False).refuse_alive(node("a b")) == ""


def test_a_filter_sees_members_with_their_tags_and_decides() -> None:
    recorder = Recorder()
    control = AdmissionControl(recorder, validate_names=False)
    assert control.refuse_alive(node(meta=b"\xff\x81\xa1a\xa1b")) == ""
    assert recorder.asked[-1][0].tags == {"a": "b"}
    assert recorder.asked[-1][0].status is Status.NONE
    assert control.refuse_alive(node("bad")) == "bad is not welcome"


def test_a_filter_sees_who_has_left_in_a_join_exchange() -> None:
    recorder = Recorder()
    control = AdmissionControl(recorder, validate_names=False)
    assert control.refuse_merge([node("a"), node("b"), node("c"), node("d")], [0, 1, 2, 3]) == ""
    statuses = [member.status for member in recorder.asked[-1]]
    assert statuses == [Status.NONE, Status.NONE, Status.NONE, Status.LEFT]
    assert control.refuse_merge([node("a"), node("bad")], [0, 0]) == "bad is not welcome"


def test_with_a_filter_an_alive_node_must_announce_its_versions() -> None:
    control = AdmissionControl(Recorder(), validate_names=False)
    assert "no protocol versions" in control.refuse_alive(node(versions=b"\1\5\2"))
