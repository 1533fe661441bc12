"""Steps that would do nothing: a fault of size 0 reads like trouble, and the run would have none.

A scenario that passes because its trouble was nil says nothing, like an expectation that could not
fail (`vacuity.py`).
"""

from __future__ import annotations

from swimnomad.faults import Latency
from swimnomad.names import Value
from swimnomad.scenario.complaint import Complaint, Complaints
from swimnomad.scenario.model import (
    ConflictArgs,
    LatencyArgs,
    ReorderArgs,
    SkewArgs,
    StarveArgs,
)


def idle(args: Value, key: str) -> Complaints:
    """Which argument of a step takes all effect from it.

    Args:
        args: What the step is told.
        key: The dotted name of its word.
    """
    if getattr(args, "share", None) == 0:
        yield Complaint(f"{key}.share", "found 0%; allowed is above 0%, up to 100%")
    match args:
        case StarveArgs(delay=delay) | LatencyArgs(delay=delay) if is_nil(delay):
            yield Complaint(f"{key}.delay", "found 0 s at all times; allowed is above 0 s")
        case ReorderArgs(delay=0):
            yield Complaint(f"{key}.delay", "found 0 s; allowed is above 0 s")
        case _:
            pass
    if isinstance(args, StarveArgs | SkewArgs | ConflictArgs) and args.lasting == 0:
        yield Complaint(f"{key}.for", "found 0 s; allowed is above 0 s")


def is_nil(delay: Latency) -> bool:
    """Whether every delay that can be drawn is 0."""
    match delay.kind:
        case "trace":
            return not any(delay.values)
        case "uniform" | "normal":
            return delay.a == delay.b == 0
        case "constant" | "lognormal" | "pareto":
            return delay.a == 0
