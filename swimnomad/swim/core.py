"""The one boundary between protocol and world: what every driver drives."""

from __future__ import annotations

from typing import Any, Protocol

from swimnomad.swim.effects import Effect


class Core(Protocol):
    """A protocol stack that does no I/O: inputs and the time go in, effects come out.

    `SwimNode` is one, `SerfNode` wraps it and is one, `NomadCore` wraps that. Drivers (`live`,
    `sim`) know this method and nothing else of the protocol.
    """

    def handle(self, incoming: Any, now: float) -> list[Effect]:  # noqa: ANN401 - each core has its own union
        """Apply one input at `now` (seconds, monotonic); return the effects in order."""
        ...
