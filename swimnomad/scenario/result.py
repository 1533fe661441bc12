"""The outcome of a run: the one JSON object that `run --json` writes."""

from __future__ import annotations

import builtins
import math
from collections.abc import Sequence

import msgspec

from swimnomad.names import Value


class CheckResult(Value, frozen=True):
    """One expectation: what was wanted and what was found, both for people."""

    name: str
    passed: bool
    expected: str
    measured: str


class Detection(Value, frozen=True):
    """Times from a kill to each surviving observer's report of the failure.

    Percentiles are by nearest rank; null if nothing was detected.
    """

    count: int
    p50_s: float | None
    p90_s: float | None
    p99_s: float | None
    max_s: float | None


class Result(Value, frozen=True):
    """One run of one scenario.

    `cluster_seconds`: how long the cluster ran, in its own time; `nodes`: how many there were at
    most; `journal_sha256`: null on a backend that is not deterministic; `messages` and `bytes`:
    what all nodes sent, null where that is not known.
    """

    scenario: str
    backend: str
    seed: int
    passed: bool
    checks: tuple[CheckResult, ...]
    wall_seconds: float
    cluster_seconds: float
    nodes: int
    journal_sha256: str | None
    detection: Detection
    false_positives: int
    messages: int | None
    bytes: int | None

    def to_json(self) -> builtins.bytes:
        """The JSON object, fields in this order."""
        return msgspec.json.encode(self)


def detection_of(times: Sequence[float]) -> Detection:
    """Count and percentiles of detection times (seconds)."""
    ordered = sorted(times)
    if not ordered:
        return Detection(0, None, None, None, None)

    def rank(share: float) -> float:
        return round(ordered[math.ceil(share * len(ordered)) - 1], 6)

    return Detection(len(ordered), rank(0.5), rank(0.9), rank(0.99), rank(1.0))
