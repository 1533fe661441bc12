"""Log lines become frames."""

from __future__ import annotations

import base64
import json

from hypothesis import given
from hypothesis import strategies as st

from swimnomad.nomad.monitor import FRAME_BYTES_MAX, LINES_MAX, Framer, known_level, log_pieces
from swimnomad.sim.world import World
from tests.agent_world import SimLog


def frames(pieces: list[bytes | None]) -> list[dict[str, object]]:
    return [json.loads(piece) for piece in pieces if piece is not None]


def text_of(pieces: list[bytes | None]) -> bytes:
    return b"".join(base64.b64decode(str(frame["Data"])) for frame in frames(pieces) if frame)


def test_text_waits_for_the_next_beat() -> None:
    """agent J14, agent J16"""
    framer = Framer(10.0, plain=False)
    assert framer.add(b"hello\n", 10.3) == []
    assert abs(framer.next_deadline - 10.4) < 1e-9
    assert framer.on_time(10.39) == []
    (piece,) = framer.on_time(framer.next_deadline)
    assert piece == b'{"Data":"aGVsbG8K","FileEvent":"log"}'
    assert framer.next_deadline == 11.0


def test_full_frames_go_at_once_with_their_place_in_the_batch() -> None:
    """agent J15"""
    framer = Framer(0.0, plain=False)
    pieces = framer.add(b"x" * 2500, 0.1)
    assert [frame.get("Offset") for frame in frames(pieces)] == [None, 1024]
    rest = framer.on_time(0.2)
    assert [frame.get("Offset") for frame in frames(rest)] == [2048]
    assert len(text_of(pieces + rest)) == 2500
    # The next batch counts from its own beginning.
    framer.add(b"more", 0.3)
    assert b"Offset" not in (framer.on_time(0.4)[0] or b"")


def test_a_batch_that_ends_with_a_full_frame_leaves_nothing() -> None:
    framer = Framer(0.0, plain=True)
    assert framer.add(b"x" * FRAME_BYTES_MAX, 0.0) == [b"x" * FRAME_BYTES_MAX]
    assert framer.on_time(0.2) == []
    assert framer.next_deadline == 1.0


def test_there_is_a_sign_of_life_every_second() -> None:
    """agent J12"""
    for plain, sign in ((False, b"{}"), (True, None)):
        framer = Framer(5.0, plain=plain)
        assert framer.next_deadline == 6.0
        assert framer.on_time(6.0) == [sign]
        # Who was away for long is not buried in them.
        assert framer.on_time(9.5) == [sign]
        assert framer.next_deadline == 10.0


@given(
    lines=st.lists(st.binary(max_size=3000), max_size=20),
    steps=st.lists(st.floats(0.0, 0.5), min_size=20, max_size=20),
    plain=st.booleans(),
)
def test_nothing_is_lost_or_moved(lines: list[bytes], steps: list[float], plain: bool) -> None:
    """agent J17"""
    framer, now = Framer(0.0, plain=plain), 0.0
    pieces: list[bytes | None] = []
    for line, step in zip(lines, steps, strict=False):
        now += step
        pieces += framer.add(line, now) + framer.on_time(now)
    pieces += framer.on_time(framer.next_deadline)
    if plain:
        found = b"".join(piece for piece in pieces if piece)
        assert all(len(piece) <= FRAME_BYTES_MAX for piece in pieces if piece)
    else:
        found = text_of(pieces)
    assert found == b"".join(lines)


def test_levels_are_taken_as_people_write_them() -> None:
    """agent J10, agent J11"""
    assert known_level("") == "info"
    assert known_level(" DEBUG ") == "debug"
    for unknown in ("err", "warning", "off", "notice", "nolevel"):
        assert known_level(unknown) is None


async def test_lines_are_streamed_between_signs_of_life() -> None:
    world = World("monitor")
    log = SimLog(world)
    log.lines += [b"one\n", b"two\n"]
    pieces = log_pieces(log, lambda: world.now, plain=True)
    assert await anext(pieces) == b"one\ntwo\n"
    assert world.now == 0.2
    assert await anext(pieces) is None
    assert world.now == 1.0
    await pieces.aclose()


async def test_lost_lines_are_told_every_three_seconds() -> None:
    """agent J24"""
    world = World("monitor")
    log = SimLog(world, lost=7)
    pieces = log_pieces(log, lambda: world.now, plain=True)
    heard = [await anext(pieces) for _ in range(4)]
    assert heard[:3] == [None, None, None]
    assert heard[3] == b"[WARN] Monitor dropped 7 logs during monitor request\n"
    assert 3.0 <= world.now <= 3.4
    await pieces.aclose()
    assert LINES_MAX == 512
