"""The checks: each compares facts, or what a node answers, with what is expected."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any, Protocol

from swimnomad.names import Value
from swimnomad.scenario.backend import Backend, Usage
from swimnomad.scenario.bounds import convergence_bound
from swimnomad.scenario.facts import Facts, Kill, PairWatch, Report
from swimnomad.scenario.model import (
    ClusterSpec,
    DeliveredArgs,
    DetectedArgs,
    DisseminationArgs,
    LimitArgs,
    LoadArgs,
    NoArgs,
    StatusArgs,
)
from swimnomad.scenario.targets import Names, matching
from swimnomad.scenario.units import show_seconds

EXAMPLES_SHOWN_MAX = 3


class Judgement(Value, frozen=True):
    """What a check says at one moment.

    `since`: from when on it has held, if that is known better than now. `broken`: when it first
    did not hold since the check began, for `always`. `looked`: whether there was anything to look
    at; a check that never had anything fails, whatever it says.
    """

    holds: bool
    since: float | None = None
    broken: float | None = None
    looked: bool = True


class Scene(Value, frozen=True):
    """What a check can look at, as it stands when the check begins."""

    facts: Facts
    backend: Backend
    cluster: ClusterSpec
    start: float
    """When the check begins: the time of its step, or 0."""
    usage: Mapping[str, Usage] | None = None
    """What nodes had sent when the check began."""


class Check(Protocol):
    """One check at work."""

    expected: str
    """What it wants, for people."""
    is_costly: bool
    """Asks every node, so it must not be judged too often."""

    async def judge(self) -> Judgement:
        """Compare, now."""
        ...

    def measured(self) -> str:
        """What was found, for people, as of the last judgement. Apart, because it costs more."""
        ...


class Converged:
    """Every running node sees all running ones of its cluster as alive, and nobody else."""

    is_costly = False
    expected = "every view is true"

    def __init__(self, args: NoArgs, scene: Scene) -> None:
        self._scene = scene
        # A watch of its own: the moments before its step must not count as broken.
        self._watch = scene.facts.watch(scene.facts.expected_view, scene.start)

    async def judge(self) -> Judgement:
        """Compare, now."""
        return _judge_watch(self._watch)

    def measured(self) -> str:
        """The time it took, or the first views that differ; and the computed bound."""
        scene, watch = self._scene, self._watch
        cluster = scene.cluster
        count = max(len(scene.facts.lives), 1)
        bound = convergence_bound(count, cluster.profile, cluster.scale, cluster.overrides)
        limit = f"computed bound {show_seconds(bound.total)}"
        if watch.holds_since is None:
            return f"{_wrong_views(watch, scene.facts)} ({limit})"
        return f"{show_seconds(watch.holds_since - scene.start)} ({limit})"


class Status:
    """Running observers see certain nodes as expected."""

    is_costly = False

    def __init__(self, args: StatusArgs, scene: Scene) -> None:
        facts = scene.facts
        allowed = frozenset(args.seen)
        self._scene = scene
        self.expected = (
            f"{', '.join(args.by)} sees {', '.join(args.of)} as {' or '.join(args.seen)}"
        )

        of, by = Names(args.of), Names(args.by)

        def wanted(observer: str, subject: str) -> frozenset[str] | None:
            is_meant = (
                subject in of
                and observer in by
                and observer != subject
                and facts.lives.get(observer) == "running"
            )
            return allowed if is_meant else None

        self._watch = facts.watch(wanted, scene.start)

    async def judge(self) -> Judgement:
        """Compare, now."""
        return _judge_watch(self._watch)

    def measured(self) -> str:
        """Since when it has been so, or the first views that differ."""
        watch, scene = self._watch, self._scene
        if watch.holds_since is None:
            return _wrong_views(watch, scene.facts)
        return f"so after {show_seconds(watch.holds_since - scene.start)}"


class Agree:
    """The member lists of all running nodes of a cluster have the same checksum."""

    is_costly = True
    expected = "one membership checksum everywhere"

    def __init__(self, args: NoArgs, scene: Scene) -> None:
        self._scene = scene
        self._found: dict[str, list[str]] = {}

    async def judge(self) -> Judgement:
        """Ask every node; each cluster must agree in itself."""
        found: dict[str, list[str]] = {}
        clusters: dict[str, dict[str, int]] = {}
        facts = self._scene.facts
        for name in facts.running:
            checksum = await self._scene.backend.checksum(name)
            found.setdefault(checksum, []).append(name)
            checksums = clusters.setdefault(facts.labels.get(name, ""), {})
            checksums[checksum] = checksums.get(checksum, 0) + 1
        self._found = found
        return Judgement(
            all(len(checksums) == 1 for checksums in clusters.values()),
            looked=any(sum(checksums.values()) > 1 for checksums in clusters.values()),
        )

    def measured(self) -> str:
        """How many checksums there are, and who has which."""
        groups = [f"{digest[:8]} at {_some(names)}" for digest, names in self._found.items()]
        return f"{len(groups)}: {'; '.join(groups[:EXAMPLES_SHOWN_MAX])}"


class Detected:
    """Everybody who was there when a node was killed, and still is, has reported it failed."""

    is_costly = False

    def __init__(self, args: DetectedArgs, scene: Scene) -> None:
        self._args, self._scene = args, scene
        self._facts = scene.facts
        # A node may be restarted and killed again: this check is about the kill of its step.
        self._kills: dict[str, Kill] = {}
        self.expected = f"every member reports {', '.join(args.of) or 'the killed'} as failed"

    def _missing(self) -> list[str]:
        return [
            f"{observer} about {name}"
            for name, kill in self._kills.items()
            for observer in kill.observers
            if observer not in kill.reported and self._facts.lives[observer] == "running"
        ]

    async def judge(self) -> Judgement:
        """Compare, now."""
        for name, kill in self._facts.kills.items():
            is_meant = not self._args.of or any(matching(one, (name,)) for one in self._args.of)
            if is_meant and kill.time >= self._scene.start:
                self._kills.setdefault(name, kill)
        ends = [k.time + time for k in self._kills.values() for time in k.reported.values()]
        return Judgement(bool(ends) and not self._missing(), since=max(ends, default=None))

    def measured(self) -> str:
        """First and last time, or whose report is missing."""
        times = [time for kill in self._kills.values() for time in kill.reported.values()]
        if missing := self._missing():
            return f"{len(times)} reports; none from {_some(missing)}"
        if not times:
            return "there was nobody to report it"
        return (
            f"{len(times)} reports after {show_seconds(min(times))} to {show_seconds(max(times))}"
        )


class FalsePositives:
    """Members reported failed that ran undisturbed."""

    is_costly = False

    def __init__(self, args: LimitArgs, scene: Scene) -> None:
        self._max, self._scene = args.max, scene
        self._all = scene.facts.false_positives
        self._before = len(self._all)
        self.expected = f"at most {args.max} false reports of a failure"

    async def judge(self) -> Judgement:
        """Count."""
        scene = self._scene
        looked = scene.backend.now > scene.start and len(scene.facts.running) > 1
        return Judgement(len(self._all) - self._before <= self._max, looked=looked)

    def measured(self) -> str:
        """The number and the first of them."""
        found = self._all[self._before :]
        shown = [f"{r.observer} about {r.subject} at {show_seconds(r.time)}" for r in found]
        return f"{len(found)}: {_some(shown)}" if found else "0"


class Dissemination:
    """From the first to the last report that a node has a status."""

    is_costly = False

    def __init__(self, args: DisseminationArgs, scene: Scene) -> None:
        self._args, self._facts = args, scene.facts
        self._times: dict[str, float] = {}
        limit = show_seconds(args.max)
        self.expected = f"all see {args.of} as {args.seen}, the last {limit} after the first"
        scene.facts.listeners.append(self._listen)

    def _missing(self) -> list[str]:
        of = self._args.of
        return [n for n in self._facts.running_with(of) if n not in self._times and n != of]

    def _spread(self) -> float:
        return max(self._times.values()) - min(self._times.values())

    async def judge(self) -> Judgement:
        """Compare, now."""
        if not self._times or self._missing():
            return Judgement(False)
        return Judgement(self._spread() <= self._args.max, since=max(self._times.values()))

    def measured(self) -> str:
        """The time between, or who has not reported."""
        if not self._times or (missing := self._missing()):
            return f"no report from {_some(self._missing() if not self._times else missing)}"
        return show_seconds(self._spread())

    def _listen(self, report: Report) -> None:
        if (report.subject, report.seen) == (self._args.of, self._args.seen):
            self._times.setdefault(report.observer, report.time)


class Load:
    """What a node sends on average since the check began: the busiest one counts."""

    is_costly = True

    def __init__(self, args: LoadArgs, scene: Scene) -> None:
        self._args, self._scene = args, scene
        self._rates: tuple[float, float] | None = None
        limits = {"messages": args.messages_per_second, "bytes": args.bytes_per_second}
        wanted = [f"{limit:g} {what}/s" for what, limit in limits.items() if limit is not None]
        self.expected = f"a node sends at most {' and '.join(wanted) or 'anything'}"

    async def judge(self) -> Judgement:
        """Ask every node."""
        scene = self._scene
        usage = await scene.backend.usage()
        elapsed = scene.backend.now - scene.start
        if not usage or elapsed <= 0:
            return Judgement(False, looked=False)
        before = scene.usage or {}
        messages = [_since(u.messages, b.messages) for u, b in _paired(usage, before)]
        sent = [_since(u.bytes, b.bytes) for u, b in _paired(usage, before)]
        self._rates = (max(messages) / elapsed, max(sent) / elapsed)
        limits = (self._args.messages_per_second, self._args.bytes_per_second)
        pairs = zip(self._rates, limits, strict=True)
        return Judgement(all(limit is None or rate <= limit for rate, limit in pairs))

    def measured(self) -> str:
        """The busiest node's rates."""
        if self._rates is None:
            return "nothing measured"
        messages = f"{self._rates[0]:.1f} messages/s, " if self._rates[0] else ""
        return f"{messages}{self._rates[1]:.0f} bytes/s"


def _paired(
    usage: Mapping[str, Usage], before: Mapping[str, Usage]
) -> Iterator[tuple[Usage, Usage]]:
    return ((one, before.get(name, Usage(0, 0))) for name, one in usage.items())


def _since(now: int | None, before: int | None) -> int:
    """What was added to a number; one that has fallen began anew, with its process."""
    now, before = now or 0, before or 0
    return now - before if now >= before else now


class Delivered:
    """A user event has reached every running node since the check began."""

    is_costly = False

    def __init__(self, args: DeliveredArgs, scene: Scene) -> None:
        self._args, self._scene = args, scene
        self.expected = f"{', '.join(args.to)} receives event {args.name}"

    def _firsts(self) -> dict[str, float]:
        """Every node that shall have it, to when it came; infinity if not yet."""
        facts, start = self._scene.facts, self._scene.start
        arrived = facts.deliveries.get(self._args.name, {})
        wanted = [name for one in self._args.to for name in matching(one, facts.running)]
        return {
            name: min((time for time in arrived.get(name, ()) if time >= start), default=math.inf)
            for name in wanted
        }

    async def judge(self) -> Judgement:
        """Compare, now."""
        last = max(self._firsts().values(), default=math.inf)
        return Judgement(last < math.inf, since=last if last < math.inf else None)

    def measured(self) -> str:
        """When the last had it, or who has not."""
        firsts = self._firsts()
        missing = [name for name, time in firsts.items() if time == math.inf]
        if missing or not firsts:
            return f"not at {_some(missing) or 'any node'}"
        last = show_seconds(max(firsts.values()) - self._scene.start)
        return f"at {len(firsts)} nodes after {last}"


class NoErrors:
    """No node dropped a message or complained of a conflict."""

    is_costly = False
    expected = "no errors"

    def __init__(self, args: NoArgs, scene: Scene) -> None:
        self._scene, self._facts = scene, scene.facts
        self._before = scene.facts.error_count

    async def judge(self) -> Judgement:
        """Count."""
        looked = self._scene.backend.now > self._scene.start and bool(self._facts.running)
        return Judgement(self._facts.error_count == self._before, looked=looked)

    def measured(self) -> str:
        """The number and the first of them."""
        errors = self._facts.errors[self._before :]
        shown = [f"{node} at {show_seconds(time)}: {text}" for time, node, text in errors]
        count = self._facts.error_count - self._before
        return f"{count}: {_some(shown)}" if shown else f"{count}"


class HealthScore:
    """The local health score of every running node."""

    is_costly = True

    def __init__(self, args: LimitArgs, scene: Scene) -> None:
        self._max, self._scene = args.max, scene
        self._scores: dict[str, int] = {}
        self.expected = f"every health score at most {args.max}"

    async def judge(self) -> Judgement:
        """Ask every node."""
        backend = self._scene.backend
        self._scores = {
            name: await backend.health_score(name) for name in self._scene.facts.running
        }
        worst = max(self._scores.values(), default=0)
        return Judgement(worst <= self._max, looked=bool(self._scores))

    def measured(self) -> str:
        """The worst score, or who is above the limit."""
        over = [f"{name}: {score}" for name, score in self._scores.items() if score > self._max]
        return _some(over) if over else f"at most {max(self._scores.values(), default=0)}"


def _judge_watch(watch: PairWatch) -> Judgement:
    return Judgement(
        watch.holds_since is not None,
        since=watch.holds_since,
        broken=watch.first_wrong,
        looked=watch.pairs > 0,
    )


def _wrong_views(watch: PairWatch, facts: Facts) -> str:
    shown: list[str] = []
    for observer, subject, seen in watch.differences(facts.lives):
        shown.append(f"{observer} sees {subject} as {seen}")
        if len(shown) == EXAMPLES_SHOWN_MAX:
            break
    return f"{watch.wrong} views differ: {'; '.join(shown)}"


def _some(items: Sequence[str]) -> str:
    """The first few of a list, for people."""
    more = len(items) - EXAMPLES_SHOWN_MAX
    shown = ", ".join(items[:EXAMPLES_SHOWN_MAX])
    return f"{shown} and {more} more" if more > 0 else shown


class Promises:
    """No invariant was broken: what the simulator looks at after every step of every node."""

    is_costly = False
    expected = "every invariant holds"

    def __init__(self, args: NoArgs, scene: Scene) -> None:
        self._scene = scene
        # From the beginning means from the first boot, which is before the cluster stands.
        self._before = len(scene.backend.violations()) if scene.start > 0 else 0

    def _found(self) -> Sequence[str]:
        return self._scene.backend.violations()[self._before :]

    async def judge(self) -> Judgement:
        """Count."""
        looked = self._scene.backend.now > self._scene.start
        return Judgement(not self._found(), looked=looked)

    def measured(self) -> str:
        """The first violation: the others mostly follow from it."""
        found = self._found()
        more = f" and {len(found) - 1} more" if len(found) > 1 else ""
        return f"{found[0]}{more}" if found else "they do"


CHECK_CLASSES: Mapping[str, Callable[[Any, Scene], Check]] = MappingProxyType(
    {
        "status": Status,
        "converged": Converged,
        "agree": Agree,
        "detected": Detected,
        "false-positives": FalsePositives,
        "dissemination": Dissemination,
        "load": Load,
        "event-delivered": Delivered,
        "no-errors": NoErrors,
        "health-score": HealthScore,
        "invariants": Promises,
    }
)
"""Word to check; exactly the words that `vocabulary.CHECKS` has arguments for."""
