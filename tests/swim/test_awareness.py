from __future__ import annotations

from swimnomad.swim.awareness import Awareness
from tests.swim.swim_vectors import scripts


def test_score_follows_the_reference_for_every_recorded_delta() -> None:
    for script in scripts("awareness/"):
        awareness = Awareness(script["max"])
        for delta, score, scaled_ns in zip(
            script["deltas"], script["scores"], script["scaled_1s_ns"], strict=True
        ):
            before = awareness.score
            assert awareness.apply_delta(delta) == (score != before)
            assert awareness.score == score
            assert awareness.scale(1.0) == scaled_ns / 1e9


def test_score_is_clamped_and_scales_a_timeout() -> None:
    """gossip 40.27: scores after a row of deltas, and one second scaled by them."""
    awareness = Awareness(8)
    deltas = (0, -1, -10, 1, -1, 10, -1, -1, -1, -1, -1, -1, -1, -1)
    scores = []
    for delta in deltas:
        awareness.apply_delta(delta)
        scores.append(awareness.score)
        assert awareness.scale(1.0) == awareness.score + 1
    assert scores == [0, 0, 0, 1, 0, 7, 6, 5, 4, 3, 2, 1, 0, 0]


def test_multiplier_of_one_turns_awareness_off() -> None:
    awareness = Awareness(1)
    assert not awareness.apply_delta(5)
    assert awareness.scale(2.5) == 2.5
