"""Expectations that could not fail, or never hold: they would say nothing about a cluster.

A green run is worth as much as its checks could have failed. What the file alone shows is refused
here; what only the run shows (nobody was running, no time passed) fails the check there.
"""

from __future__ import annotations

from collections.abc import Iterable

from swimnomad.scenario.complaint import Complaint, Complaints
from swimnomad.scenario.model import (
    ChurnArgs,
    ClusterSpec,
    DeliveredArgs,
    DetectedArgs,
    DisseminationArgs,
    EventArgs,
    Expectation,
    FloodArgs,
    LimitArgs,
    LoadArgs,
    RepeatArgs,
    Scenario,
    StatusArgs,
    Step,
    TargetArgs,
)
from swimnomad.scenario.settings import gossip_settings
from swimnomad.scenario.targets import is_random, matching

NEEDS_TWO = ("converged", "agree", "detected", "false-positives", "dissemination")
"""Checks that look at what one node says of another."""
NEEDS_TIME = ("false-positives", "no-errors", "load", "invariants")
"""Checks that count what happens while time passes."""
ONLY_GROWS = ("false-positives", "no-errors", "invariants")
"""Counts that never fall: within some time they hold at the first moment or not at all."""
TAKES_TIME = ("leave", "join", "force-leave", "prune", "tags", "event")
"""Steps that end when a node reports that it is done."""
ALL_VIEWS = frozenset(("alive", "failed", "left", "none"))


def vacuous(
    expectation: Expectation, step: Step | None, scenario: Scenario, names: Iterable[str], key: str
) -> Complaints:
    """What makes an expectation worthless.

    Args:
        expectation: The one.
        step: The step that it counts from, if any.
        scenario: The whole.
        names: All nodes that there ever are.
        key: The dotted name of the expectation.
    """
    word, args = expectation.word, expectation.args
    names = list(names)
    where = f"{key}.{word}"
    if word in NEEDS_TWO and len(names) < 2:
        yield Complaint(where, "found one node in all; it needs another to look at")
    if word in NEEDS_TIME and not _takes_time(scenario):
        text = "no time passes in this run, so there is nothing to count; give it a duration"
        yield Complaint(where, text)
    if word in ONLY_GROWS and expectation.within is not None:
        text = "holds at once or never; allowed is always, at, or neither for the end"
        yield Complaint(f"{key}.within", text)
    yield from _empty(expectation, where)
    match args:
        case StatusArgs():
            yield from _status(args, names, where)
        case DetectedArgs():
            yield from _detected(args, step, where)
        case LimitArgs(max=limit) if word == "health-score":
            yield from _health(limit, scenario.cluster, where)
        case LoadArgs(messages_per_second=None, bytes_per_second=None):
            allowed = "messages-per-second, bytes-per-second or both"
            yield Complaint(where, f"found no limit; allowed is {allowed}")
        case DisseminationArgs(of=of) if of not in names:
            yield Complaint(f"{where}.of", f"found {of!r}; allowed is the name of one node")
        case DeliveredArgs(name=name):
            steps = [one.args for one in flat(scenario.steps)]
            sent = {one.name: None for one in steps if isinstance(one, EventArgs)}
            if name not in sent:
                text = f"found {name!r}; allowed are events that are sent: {', '.join(sent)}"
                yield Complaint(f"{where}.name", text)
        case _:
            pass


def _empty(expectation: Expectation, where: str) -> Complaints:
    """Lists of nodes that mean nobody, or nobody that is known before the run."""
    args = expectation.args
    for field in ("of", "by", "to"):
        targets = getattr(args, field, None)
        if not isinstance(targets, tuple):
            continue
        if not targets and not isinstance(args, DetectedArgs):
            yield Complaint(f"{where}.{field}", "found nobody; allowed are names of nodes, globs")
        for target in targets:
            if is_random(target):
                text = f"found {target!r}; allowed in a check are names of nodes, globs"
                yield Complaint(f"{where}.{field}", text)


def _status(args: StatusArgs, names: list[str], where: str) -> Complaints:
    if frozenset(args.seen) >= ALL_VIEWS:
        yield Complaint(f"{where}.as", "found all there are, so it could not fail")
    if not args.seen:
        yield Complaint(f"{where}.as", f"found none; allowed are {', '.join(sorted(ALL_VIEWS))}")
    subjects = {name: None for one in args.of for name in matching(one, names)}
    observers = {name: None for one in args.by for name in matching(one, names)}
    if subjects and observers and list(subjects) == list(observers) and len(subjects) == 1:
        yield Complaint(where, f"found only {next(iter(subjects))} looking at itself")


def _detected(args: DetectedArgs, step: Step | None, where: str) -> Complaints:
    if step is None or not args.of or not isinstance(step.args, TargetArgs):
        return
    killed = step.args.target
    if not any(is_random(one) or "*" in one or _overlap(one, args.of) for one in killed):
        text = f"found {', '.join(args.of)}; allowed are the nodes of its step: {', '.join(killed)}"
        yield Complaint(f"{where}.of", text)


def _overlap(name: str, targets: Iterable[str]) -> bool:
    return any(matching(one, (name,)) for one in targets)


def _health(limit: int, cluster: ClusterSpec, where: str) -> Complaints:
    swim = gossip_settings(cluster.profile, cluster.scale, cluster.overrides)
    worst = swim.awareness_max_multiplier - 1
    if limit >= worst:
        text = f"found {limit}; no score is above {worst}, so allowed are 0 to {worst - 1}"
        yield Complaint(f"{where}.max", text)


def _takes_time(scenario: Scenario) -> bool:
    """Whether the run lasts at all, as far as the file shows."""
    if scenario.duration > 0 or any(_step_takes_time(step) for step in flat(scenario.steps)):
        return True
    return any(one.within is not None or (one.at or 0.0) > 0 for one in scenario.expect)


def _step_takes_time(step: Step) -> bool:
    if isinstance(step.after, float | int):
        return step.after > 0
    if step.after is not None or (step.at or 0.0) > 0 or step.word in TAKES_TIME:
        return True
    if isinstance(step.args, RepeatArgs):
        return step.args.every > 0
    return isinstance(step.args, ChurnArgs | FloodArgs)


def flat(steps: Iterable[Step]) -> Iterable[Step]:
    """Every step, those of repeats included."""
    for step in steps:
        yield step
        if isinstance(step.args, RepeatArgs):
            yield from flat(step.args.steps)
