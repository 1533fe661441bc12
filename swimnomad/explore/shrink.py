"""Makes a failing schedule short: whatever it does not need to fail is taken away.

Four passes, in the order in which a reader gains most: steps are dropped, then whole nodes, then
what is left is made plain (arguments as usual, times round), then the cluster's settings. The
passes repeat until a round changes nothing or the budget of runs is spent. A candidate counts if
it breaks the same promise with the same seed, all of its steps can be done, and the loader of
scenario files would take it.

Dropping halves before quarters before single steps is delta debugging (Zeller and Hildebrandt,
TSE 2002).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from typing import Any

import msgspec

from swimnomad.errors import SwimnomadError
from swimnomad.explore.schedules import INVARIANTS_HOLD
from swimnomad.explore.trial import Failure, run_trial
from swimnomad.faults import Latency
from swimnomad.names import Value
from swimnomad.scenario.model import ClusterSpec, EventArgs, NetworkSpec, Scenario, Step
from swimnomad.scenario.sense import complaints

RUNS_MAX = 400
"""Runs that one failure may cost."""
SHARES = (1.0, 0.5, 0.1)
TIMES = (1.0, 2.0, 5.0, 10.0, 20.0, 30.0, 60.0, 90.0, 120.0, 180.0, 300.0)
"""Seconds that are easy to read."""
PLAIN_SEED = 1
"""What `run` takes if it is not told a seed."""

replace = msgspec.structs.replace


class Shrunk(Value, frozen=True):
    """A failing scenario as short as it got, how it fails, and how many runs that took."""

    scenario: Scenario
    seed: int
    failure: Failure
    runs: int


class Shrinker:
    """Shrinks one failure.

    Args:
        scenario: Fails with this seed if it lasts `seconds`.
        seed: The seed.
        failure: How it fails.
        seconds: How long the failing run lasted.
        on_run: Told the number of runs after each.
    """

    def __init__(
        self,
        scenario: Scenario,
        seed: int,
        failure: Failure,
        seconds: float,
        on_run: Callable[[int], None] | None = None,
    ) -> None:
        # The length is fixed, for nothing else ends a run that expects only the invariants.
        self._best = replace(scenario, expect=INVARIANTS_HOLD, duration=float(math.ceil(seconds)))
        self._seed = seed
        self._failure = failure
        self._on_run = on_run
        self._runs = 0
        self._tried: dict[bytes, None] = {}

    def shrink(self) -> Shrunk:
        """The shortest scenario found."""
        while self._runs < RUNS_MAX:
            before = self._best
            self._drop_steps()
            for candidates in (_fewer_nodes, _plainer_steps, _rounder_times, _plainer_cluster):
                self._descend(candidates)
            if self._best == before:
                break
        if self._attempt(self._best, PLAIN_SEED):
            self._seed = PLAIN_SEED
        return self.shrunk

    @property
    def shrunk(self) -> Shrunk:
        """The shortest scenario found so far; at first the failing one itself."""
        return Shrunk(self._best, self._seed, self._failure, self._runs)

    def _attempt(self, candidate: Scenario, seed: int | None = None) -> bool:
        """Run a candidate unless that was done before; keep it if it fails in the same way."""
        key = msgspec.json.encode((candidate, seed or self._seed))
        if key in self._tried or self._runs >= RUNS_MAX:
            return False
        # What the loader would refuse would be a file that repeats nothing, though it may fail here
        # in the same way: a step that does nothing, or the heal of a step that is gone.
        if any(complaints(candidate, "sim")):
            return False
        self._tried[key] = None
        self._runs += 1
        if self._on_run:
            self._on_run(self._runs)
        try:
            outcome = run_trial(candidate, seed or self._seed)
        except SwimnomadError:  # What is left makes no sense as a scenario.
            return False
        failure = outcome.failure
        if failure is None or failure.invariant != self._failure.invariant or outcome.cut_short:
            return False
        self._best, self._failure = candidate, failure
        return True

    def _drop_steps(self) -> None:
        size = max(len(self._best.steps) // 2, 1)
        while size:
            start = 0
            while start < len(self._best.steps):
                if not self._attempt(_without_steps(self._best, start, start + size)):
                    start += size
            size //= 2

    def _descend(self, candidates: Callable[[Scenario], Iterator[Scenario]]) -> None:
        """Take the first candidate that still fails, and look for candidates anew."""
        while any(self._attempt(one) for one in candidates(self._best)):
            pass


def _without_steps(scenario: Scenario, start: int, end: int) -> Scenario:
    """Without some of its steps; the others keep their times."""
    steps = list(scenario.steps)
    gone = sum(step.after for step in steps[start:end] if isinstance(step.after, float))
    if gone and end < len(steps):
        following = steps[end]
        if following.at is None and (following.after is None or isinstance(following.after, float)):
            steps[end] = replace(following, after=round((following.after or 0.0) + gone, 3))
    return replace(scenario, steps=(*steps[:start], *steps[end:]))


# --- nodes ----------------------------------------------------------------------------------------


def _fewer_nodes(scenario: Scenario) -> Iterator[Scenario]:
    """One node less: each in turn is the one that goes, and the others take its number."""
    cluster = scenario.cluster
    if len(cluster.node_regions) < 2:
        return
    for victim, region in cluster.node_regions.items():
        groups = dict(cluster.groups)
        nodes = groups[region]
        if isinstance(nodes, int):
            groups[region] = nodes - 1
        else:
            groups[region] = tuple(name for name in nodes if name != victim)
        if not groups[region]:
            del groups[region]
        fewer = (
            replace(cluster, regions=groups)
            if cluster.regions
            else replace(cluster, nodes=groups[region])
        )
        left = [name for name in cluster.node_regions if name != victim]
        renamed = dict(zip(left, fewer.node_regions, strict=True))
        steps = [
            replace(step, args=args)
            for step in scenario.steps
            if (args := _renamed(step.args, victim, renamed)) is not None
        ]
        yield replace(scenario, cluster=fewer, steps=tuple(steps))


def _renamed(args: Value, victim: str, renamed: dict[str, str]) -> Value | None:
    """Arguments without a node and with new names for the others; None if nobody is left."""
    changes: dict[str, Any] = {}
    for field in NODE_FIELDS:
        value = getattr(args, field, None)
        if isinstance(value, str) and value:
            if value == victim:
                return None
            changes[field] = renamed.get(value, value)
        elif value:
            changes[field] = tuple(renamed.get(name, name) for name in value if name != victim)
            if not changes[field]:
                return None
    return replace(args, **changes)


NODE_FIELDS = ("target", "peers", "side", "against", "to", "by")
"""Arguments of steps that name nodes."""


# --- arguments, times, settings -------------------------------------------------------------------


def _plainer_steps(scenario: Scenario) -> Iterator[Scenario]:
    for place, step in enumerate(scenario.steps):
        for args in _plainer_args(step.args):
            yield _with_step(scenario, place, replace(step, args=args))


def _plainer_args(args: Value) -> Iterator[Value]:
    """The same with one argument as usual, or easier to read."""
    for field in msgspec.structs.fields(type(args)):
        value = getattr(args, field.name)
        is_drawn = field.name in ("by", "to") or isinstance(args, EventArgs)
        if field.default is not msgspec.NODEFAULT and value != field.default and not is_drawn:
            yield replace(args, **{field.name: field.default})
        if field.name == "share":
            for share in SHARES:
                if value not in SHARES[: SHARES.index(share) + 1]:
                    yield replace(args, share=share)
        elif field.name == "delay":
            for delay in _plainer_delays(value):
                yield replace(args, delay=delay)
        elif field.name in NODE_FIELDS and isinstance(value, tuple) and len(value) > 1:
            for name in value:
                yield replace(args, **{field.name: (name,)})


def _plainer_delays(delay: Latency | float) -> Iterator[Latency | float]:
    if isinstance(delay, float):
        yield from _rounder(delay)
        return
    match delay.kind:
        case "trace":
            longest = max(delay.values)
        case "uniform":
            longest = delay.b
        case _:
            longest = delay.a
    if delay.kind != "constant":
        yield Latency("constant", longest)
    else:
        for seconds in _rounder(longest):
            yield Latency("constant", seconds)


def _rounder_times(scenario: Scenario) -> Iterator[Scenario]:
    for place, step in enumerate(scenario.steps):
        if isinstance(step.after, float):
            yield _with_step(scenario, place, replace(step, after=None))
            for seconds in _rounder(step.after):
                yield _with_step(scenario, place, replace(step, after=seconds))
    for seconds in _rounder(scenario.duration):
        yield replace(scenario, duration=seconds)


def _rounder(seconds: float) -> Iterator[float]:
    """Times that are easier to read, short ones first.

    Than one of `TIMES` only a shorter one of them is easier.
    """
    yield from (time for time in TIMES if time < seconds)
    if seconds not in TIMES:
        yield from (time for time in TIMES if time > seconds)
        if seconds != math.ceil(seconds):
            yield float(math.ceil(seconds))


def _plainer_cluster(scenario: Scenario) -> Iterator[Scenario]:
    """The cluster with one setting as usual."""
    if scenario.network != NetworkSpec():
        yield replace(scenario, network=NetworkSpec())
    usual = ClusterSpec()
    for field in ClusterSpec.__struct_fields__:
        is_size = field in ("nodes", "regions")
        if not is_size and getattr(scenario.cluster, field) != getattr(usual, field):
            cluster = replace(scenario.cluster, **{field: getattr(usual, field)})
            yield replace(scenario, cluster=cluster)


def _with_step(scenario: Scenario, place: int, step: Step) -> Scenario:
    steps = scenario.steps
    return replace(scenario, steps=(*steps[:place], step, *steps[place + 1 :]))
