"""Random fault schedules: a cluster's own scenario with trouble of every kind added to it.

Each run draws a *subset* of the vocabulary and how rough it is to be, and only then its steps
(swarm testing: Groce et al., ISSTA 2012). Drawing every step from the whole vocabulary would make
all runs alike: a little of everything, and never the long quiet stretch, or the hail of one fault,
that many bugs need.

The schedule ends by taking back what it did to links, clocks and slow or paused nodes; dead nodes
stay dead. So the promise of agreement is due after it.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Literal

from swimnomad.faults import Latency
from swimnomad.names import Value
from swimnomad.scenario.model import (
    BlockArgs,
    CorruptArgs,
    DuplicateArgs,
    EventArgs,
    Expectation,
    FloodArgs,
    ForceLeaveArgs,
    HealArgs,
    LatencyArgs,
    LossArgs,
    NoArgs,
    PartitionArgs,
    ReorderArgs,
    RestartArgs,
    Scenario,
    SkewArgs,
    StartArgs,
    StarveArgs,
    Step,
    TagsArgs,
    TargetArgs,
    Targets,
)

STEPS_MAX = 10
"""Steps of trouble in one schedule; more only drown each other, and cost time to shrink."""
DRAWS_MAX = 4
"""Words drawn for a step until one is possible."""
WINDOW = (5.0, 60.0)
"""Shortest and longest time (seconds, times the cluster's scale) in which the trouble happens."""
STARTED_MAX = 2
"""Nodes added to the cluster by one schedule."""
DELAY_MAX = 20.0
"""Longest delay (seconds, times scale) that a schedule puts on a link: past a suspicion's end."""
FLOOD_RATE_MAX = 100
"""Junk datagrams a second: enough to meet every state of a node, few enough to stay fast."""
FLOOD_SECONDS = 5.0

Lives = dict[str, Literal["running", "paused", "dead"]]


class Mood:
    """What a schedule has done so far, and how rough this run is."""

    def __init__(self, rng: random.Random, lives: Lives, scale: float) -> None:
        self.rng = rng
        self.lives = lives
        self.scale = scale
        self.roughness = rng.random()
        """Upper limit of shares, and of delays relative to `DELAY_MAX`."""
        self.started = 0

    def names(self, *lives: str) -> list[str]:
        """Nodes in one of these states, in order of appearance."""
        return [name for name, life in self.lives.items() if life in lives]

    def expendable(self) -> list[str]:
        """Running nodes of which one may stop: one always goes on, or nobody could join."""
        running = self.names("running")
        return running if len(running) > 1 else []

    def pick(self, names: list[str]) -> Targets:
        """One of them; nobody if there is none."""
        return (self.rng.choice(names),) if names else ()

    def share(self) -> float:
        """A probability, 1 … 100 %."""
        return round(max(self.rng.random() * self.roughness, 0.01), 2)

    def delay(self) -> float:
        """Seconds, small ones as likely as large ones."""
        magnitude = math.exp(self.rng.uniform(math.log(0.001), 0.0))
        return round(max(magnitude * self.roughness * DELAY_MAX * self.scale, 0.001), 3)

    def some(self) -> Targets:
        """Everybody, or a few."""
        names = list(self.lives)
        if self.rng.random() < 0.5:
            return ("*",)
        return tuple(self.rng.sample(names, self.rng.randint(1, len(names))))

    def direction(self) -> Literal["in", "out", "both"]:
        """Both ways as often as one way."""
        return self.rng.choice(("both", "both", "in", "out"))

    def transport(self) -> Literal["udp", "tcp", "both"]:
        """What of the traffic."""
        return self.rng.choice(("both", "udp", "tcp"))


def _kill(mood: Mood) -> Value | None:
    target = mood.pick(mood.expendable() + mood.names("paused"))
    mood.lives.update(dict.fromkeys(target, "dead"))
    return TargetArgs(target) if target else None


def _leave(mood: Mood) -> Value | None:
    target = mood.pick(mood.expendable())
    mood.lives.update(dict.fromkeys(target, "dead"))
    return TargetArgs(target) if target else None


def _pause(mood: Mood) -> Value | None:
    target = mood.pick(mood.expendable())
    mood.lives.update(dict.fromkeys(target, "paused"))
    return TargetArgs(target) if target else None


def _resume(mood: Mood) -> Value | None:
    target = mood.pick(mood.names("paused"))
    mood.lives.update(dict.fromkeys(target, "running"))
    return TargetArgs(target) if target else None


def _restart(mood: Mood) -> Value | None:
    target = mood.pick(mood.names("dead"))
    mood.lives.update(dict.fromkeys(target, "running"))
    has_data, has_moved = mood.rng.random() < 0.5, mood.rng.random() < 0.5
    if not target:
        return None
    return RestartArgs(
        target, data="same" if has_data else "empty", address="new" if has_moved else "same"
    )


def _start(mood: Mood) -> Value | None:
    if mood.started == STARTED_MAX:
        return None
    mood.started += 1
    name = f"extra-{mood.started}"
    mood.lives[name] = "running"
    return StartArgs((name,))


def _force_leave(mood: Mood) -> Value | None:
    by = mood.pick(mood.names("running"))
    target = mood.pick([name for name in mood.lives if name not in by])
    return ForceLeaveArgs(target, by[0]) if target and by else None


def _partition(mood: Mood) -> Value | None:
    names = list(mood.lives)
    mood.rng.shuffle(names)
    cut = mood.rng.randint(1, len(names) - 1) if len(names) > 1 else 0
    if not cut:
        return None
    others = names[cut:]
    # Now and then only a part of the others: the rest sees both sides.
    against = ("*",) if mood.rng.random() < 0.7 else (others[0],)
    return PartitionArgs(tuple(names[:cut]), against, one_way=mood.rng.random() < 0.3)


def _heal(mood: Mood) -> Value | None:
    return HealArgs()


def _loss(mood: Mood) -> Value | None:
    return LossArgs(mood.some(), mood.some(), mood.direction(), share=mood.share())


def _latency(mood: Mood) -> Value | None:
    low, high = sorted((mood.delay(), mood.delay()))
    delay = Latency("uniform", low, high) if mood.rng.random() < 0.5 else Latency("constant", high)
    where = (mood.some(), mood.some(), mood.direction())
    return LatencyArgs(*where, delay=delay, transport=mood.transport())


def _duplicate(mood: Mood) -> Value | None:
    return DuplicateArgs(mood.some(), mood.some(), mood.direction(), share=mood.share())


def _reorder(mood: Mood) -> Value | None:
    where = (mood.some(), mood.some(), mood.direction())
    return ReorderArgs(*where, share=mood.share(), delay=mood.delay())


def _corrupt(mood: Mood) -> Value | None:
    return CorruptArgs(mood.some(), mood.some(), mood.direction(), share=mood.share())


def _block(mood: Mood) -> Value | None:
    where = (mood.some(), mood.some(), mood.direction())
    return BlockArgs(*where, transport=mood.transport())


def _tags(mood: Mood) -> Value | None:
    target = mood.pick(mood.names("running"))
    return TagsArgs(target, {"mood": f"{mood.rng.randrange(100)}"}) if target else None


def _event(mood: Mood) -> Value | None:
    target = mood.pick(mood.names("running"))
    return EventArgs(f"event-{mood.rng.randrange(100)}", target=target) if target else None


def _starve(mood: Mood) -> Value | None:
    target = mood.pick(mood.names("running"))
    return StarveArgs(target, Latency("uniform", 0.0, mood.delay())) if target else None


def _skew(mood: Mood) -> Value | None:
    target = mood.pick(mood.names("running"))
    if not target:
        return None
    if mood.rng.random() < 0.5:
        return SkewArgs(target, rate=round(mood.rng.uniform(1 - mood.roughness, 2.0) + 0.01, 2))
    return SkewArgs(target, jump=mood.delay())


def _flood(mood: Mood) -> Value | None:
    target = mood.pick(mood.names("running"))
    rate = 1 + int(mood.roughness * FLOOD_RATE_MAX)
    return FloodArgs(target, rate=rate, lasting=FLOOD_SECONDS) if target else None


TROUBLE: Mapping[str, Callable[[Mood], Value | None]] = MappingProxyType(
    {
        "kill": _kill,
        "restart": _restart,
        "pause": _pause,
        "resume": _resume,
        "leave": _leave,
        "start": _start,
        "force-leave": _force_leave,
        "prune": _force_leave,
        "partition": _partition,
        "heal": _heal,
        "loss": _loss,
        "latency": _latency,
        "duplicate": _duplicate,
        "reorder": _reorder,
        "corrupt": _corrupt,
        "block": _block,
        "tags": _tags,
        "event": _event,
        "starve": _starve,
        "skew": _skew,
        "flood": _flood,
    }
)
"""Word to what draws its arguments; None if the step is not possible as things stand.

`join` is missing: nodes join when they start, and a join that reaches nobody is a failed step.
`churn` and `repeat` only say shortly what these say one by one.
"""

NEEDS: Mapping[str, str] = MappingProxyType({"restart": "kill", "resume": "pause"})
"""A word that means nothing in a run without another: it brings that one along."""


def random_scenario(base: Scenario, rng: random.Random, settle: float) -> Scenario:
    """The base with trouble added: its steps first, then those drawn from `rng`.

    The expectations of the base are replaced: they speak of its own steps.

    Args:
        base: Cluster, network, and steps that come before.
        rng: Decides everything.
        settle: Seconds the run goes on at least after the last step.
    """
    cluster = base.cluster
    lives: Lives = dict.fromkeys(cluster.node_regions, "running")
    _live_through(lives, base.steps)
    mood = Mood(rng, lives, cluster.scale)
    words, weights = _vocabulary(rng)
    count = rng.randint(1, STEPS_MAX)
    pause_mean = rng.uniform(*WINDOW) * cluster.scale / count
    steps = list(base.steps)
    for _ in range(count):
        for word in rng.choices(words, weights, k=DRAWS_MAX):
            if (args := TROUBLE[word](mood)) is not None:
                break
        if args is not None:
            after = round(min(rng.expovariate(1.0 / pause_mean), 3 * pause_mean), 1)
            steps.append(Step(word, args, after=after))
    end = round(rng.uniform(0.0, 2 * pause_mean), 1)
    if paused := tuple(mood.names("paused")):
        steps.append(Step("resume", TargetArgs(paused), after=end))
        end = 0.0
    steps.append(Step("heal", HealArgs(), after=end))
    return Scenario(
        name=base.name,
        description="",
        cluster=cluster,
        network=base.network,
        steps=tuple(steps),
        expect=EXPECTED,
        duration=round(length_of(steps) + settle, 1),
    )


def _vocabulary(rng: random.Random) -> tuple[list[str], list[float]]:
    """The words of one run, few or many, and how often each comes up."""
    share = rng.uniform(0.1, 0.6)
    words = [word for word in TROUBLE if rng.random() < share] or [rng.choice(("kill", "leave"))]
    words += [need for word, need in NEEDS.items() if word in words and need not in words]
    # Who is gone may come back: half of what can go wrong with members goes wrong then.
    if ("kill" in words or "leave" in words) and "restart" not in words and rng.random() < 0.5:
        words.append("restart")
    return words, [rng.uniform(0.1, 1.0) for _ in words]


INVARIANTS_HOLD = (Expectation("invariants", NoArgs(), always=True),)
EXPECTED = (
    *INVARIANTS_HOLD,
    # Whether nodes that lost each other's addresses need not agree is for the invariant to say;
    # this one ends a run as soon as all is well.
    Expectation("converged", NoArgs(), within="bound"),
)


def length_of(steps: list[Step] | tuple[Step, ...]) -> float:
    """Seconds until the last step begins, were all of them done in no time."""
    total = 0.0
    for step in steps:
        if isinstance(step.after, float):
            total += step.after
        elif step.at is not None:
            total = max(total, step.at)
    return total


def _live_through(lives: Lives, steps: tuple[Step, ...]) -> None:
    """What has become of nodes that the base's own steps name.

    Globs and chance are not followed: a step of trouble that turns out to be impossible ends its
    run, which is counted.
    """
    becomes: Mapping[str, Literal["running", "paused", "dead"]] = {
        "kill": "dead",
        "leave": "dead",
        "pause": "paused",
        "resume": "running",
        "restart": "running",
        "start": "running",
    }
    for step in steps:
        if step.word in becomes:
            for name in getattr(step.args, "target", ()):
                if name in lives or step.word == "start":
                    lives[name] = becomes[step.word]
