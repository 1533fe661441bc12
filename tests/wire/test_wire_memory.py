"""What is remembered of recent work changes nothing but the time it takes."""

from __future__ import annotations

from typing import Any

import pytest

from swimnomad.errors import MalformedMessage
from swimnomad.wire import memory
from swimnomad.wire.compression import unwrap_untrusted, wrap
from swimnomad.wire.frames import StreamCodec, StreamSettings
from swimnomad.wire.keyring import Keyring
from swimnomad.wire.memory import Recent
from swimnomad.wire.messages import NodeRecord, PushPull

RECORD = NodeRecord("memory", 1, bytes(4), 1, b"tags", bytes((1, 5, 2, 0, 0, 0)), 0)


def codec(**settings: Any) -> StreamCodec:  # noqa: ANN401 - settings by name
    return StreamCodec(StreamSettings(**settings), Keyring(), lambda: bytes(12))


def test_the_last_few_are_remembered_and_use_keeps_them() -> None:
    recent: Recent[int] = Recent()
    for number in range(memory.COUNT_MAX):
        recent.remember(b"%d" % number, number)
    assert recent.recall(b"0") == 0
    recent.remember(b"new", 99)
    assert recent.recall(b"1") is None
    assert (recent.recall(b"0"), recent.recall(b"new")) == (0, 99)


def test_what_is_remembered_twice_takes_one_place() -> None:
    recent: Recent[int] = Recent()
    recent.remember(b"first", 1)
    for _ in range(2 * memory.COUNT_MAX):
        recent.remember(b"again", 2)
    assert recent.recall(b"first") == 1


def test_long_writings_are_not_remembered() -> None:
    recent: Recent[int] = Recent()
    long = bytes(memory.BYTES_MAX + 1)
    recent.remember(long, 1)
    assert recent.recall(long) is None


@pytest.mark.parametrize("nodes", [1, 40])
def test_a_push_pull_that_was_just_written_is_read_as_from_a_stranger(nodes: int) -> None:
    message = PushPull(False, (RECORD,) * nodes, b"state")
    data = codec().pack(message, dialer=True)
    at_once = codec().reader(dialer=False).feed(data)
    for number in range(memory.COUNT_MAX):  # crowd it out of memory
        codec().pack(PushPull(False, (RECORD,) * (50 + number)), dialer=True)
    anew = codec().reader(dialer=False).feed(data)
    assert at_once == anew == message
    assert anew is not message


@pytest.mark.parametrize(
    "limits", [{"nodes_max": 2}, {"user_state_bytes_max": 4}, {"total_bytes_max": 60}]
)
def test_limits_hold_for_what_is_remembered_too(limits: dict[str, int]) -> None:
    data = codec().pack(PushPull(False, (RECORD,) * 3, b"state"), dialer=True)
    with pytest.raises(MalformedMessage):
        codec(**limits).reader(dialer=False).feed(data)


def test_the_limit_of_expansion_holds_for_what_is_remembered_too() -> None:
    message = b"x" * 5000
    body = wrap(message)[1:]
    assert unwrap_untrusted(body, 5000) == message
    with pytest.raises(MalformedMessage, match="expands to more than 4999"):
        unwrap_untrusted(body, 4999)
