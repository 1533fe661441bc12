"""What is true in a run and what each node was seen to believe, with times.

Two streams come together here, both stamped in seconds since the cluster stood: what the runner did
to the nodes (their lives) and what each running node reported about the others (views). Checks read
the facts; nothing here knows where they come from.

False positives. A report that a member failed is false if the member's process ran, unless it was
paused, cut off or restarted lately: such a member is excused until the disturbance is over, the
longest suspicion that may have begun before has run out, and all views agree with the truth again.
Loss, latency and other bad weather excuse nothing.

Labels. Nodes with different labels are different clusters: of a node that has gone over to another
cluster, the members of its old one should in time see nothing but its death.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Container, Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Literal

from swimnomad.names import Value

Life = Literal["absent", "running", "paused", "killed", "left"]
"""What a node's process is: not there yet, running, stopped by a signal, dead, gone after leave."""
Seen = Literal["alive", "failed", "left", "none"]
"""How an observer sees a member; `none`: not in its list."""
DEAD: Container[str] = frozenset(("failed", "left", "none"))
ALIVE: Container[str] = frozenset(("alive",))
ERRORS_KEPT_MAX = 1000


class Report(Value, frozen=True):
    """An observer's view of a subject changed."""

    time: float
    observer: str
    subject: str
    seen: Seen


class Kill(Value, frozen=True):
    """A node was killed while these others ran; `reported` when each said failed."""

    time: float
    observers: tuple[str, ...]
    reported: dict[str, float]


Allowed = Callable[[str, str], Container[str] | None]
"""What an observer may see a subject as; None if it does not matter."""


class PairWatch:
    """Counts the views that are not as they should be.

    A report costs one comparison. A node whose life changes costs one for each pair it is part of,
    and not one for each pair there is: a thousand nodes make a million pairs.
    """

    def __init__(self, facts: Facts, allowed: Allowed, now: float) -> None:
        self._facts = facts
        self._allowed = allowed
        self.pairs = 0
        """Pairs that matter at present; with none there is nothing to look at."""
        self.wrong = 0
        self.holds_since: float | None = now
        """Since when no view is wrong; None while one is."""
        self.first_wrong: float | None = None
        self.recount(now)

    def recount(self, now: float) -> None:
        """Count all pairs anew."""
        self.pairs = self.wrong = 0
        self.add_pairs(now, self._count(self._facts.lives, self._facts.lives))

    def count_pairs_of(self, names: Mapping[str, object]) -> tuple[int, int]:
        """How many pairs with one of these nodes matter, and how many of those are wrong."""
        others = {name: None for name in self._facts.lives if name not in names}
        pairs, wrong = self._count(names, self._facts.lives)
        pairs_back, wrong_back = self._count(others, names)
        return pairs + pairs_back, wrong + wrong_back

    def add_pairs(
        self, now: float, after: tuple[int, int], before: tuple[int, int] = (0, 0)
    ) -> None:
        """Some pairs counted `before` and count `after`."""
        self.pairs += after[0] - before[0]
        self._set(now, self.wrong + after[1] - before[1])

    def observe(self, report: Report, before: str) -> None:
        """A view changed."""
        allowed = self._allowed(report.observer, report.subject)
        if allowed is not None:
            was_wrong, is_wrong = before not in allowed, report.seen not in allowed
            self._set(report.time, self.wrong + is_wrong - was_wrong)

    def differences(self, names: Iterable[str]) -> Iterator[tuple[str, str, str]]:
        """Observer, subject and view of every pair that is wrong."""
        facts = self._facts
        for observer in names:
            views = facts.views.get(observer, {})
            for subject in facts.lives:
                allowed = self._allowed(observer, subject)
                if allowed is not None and (seen := views.get(subject, "none")) not in allowed:
                    yield observer, subject, seen

    def _count(self, observers: Iterable[str], subjects: Iterable[str]) -> tuple[int, int]:
        facts, allow = self._facts, self._allowed
        pairs = wrong = 0
        # A check may speak of a node that is not there yet: it makes no pair before it is.
        subjects = [subject for subject in subjects if subject in facts.lives]
        for observer in observers:
            if observer not in facts.lives:
                continue
            views = facts.views.get(observer, {})
            for subject in subjects:
                allowed = allow(observer, subject)
                if allowed is not None:
                    pairs += 1
                    wrong += views.get(subject, "none") not in allowed
        return pairs, wrong

    def _set(self, now: float, wrong: int) -> None:
        self.wrong = wrong
        if wrong:
            self.holds_since = None
            if self.first_wrong is None:
                self.first_wrong = now
        elif self.holds_since is None:
            self.holds_since = now


class Facts:
    """Lives, views, kills, false positives, user events and errors of one run.

    Args:
        excuse_grace: Seconds after a disturbance in which a suspicion begun before may still
            run out.
    """

    def __init__(self, excuse_grace: float) -> None:
        self.lives: dict[str, Life] = {}
        self.labels: dict[str, str] = {}
        """Labels of nodes that have one; who has another is in another cluster."""
        self.views: dict[str, dict[str, Seen]] = {}
        self.kills: dict[str, Kill] = {}
        """The last kill of each node."""
        self.detections: list[float] = []
        """Seconds from a kill to each observer's report, of all kills."""
        self.false_positives: list[Report] = []
        self.deliveries: dict[str, dict[str, list[float]]] = {}
        """User event to node to the times at which it arrived."""
        self.errors: list[tuple[float, str, str]] = []
        self.error_count = 0
        self.watches: list[PairWatch] = []
        self.listeners: list[Callable[[Report], None]] = []
        self._grace = excuse_grace
        self._excused: dict[str, float] = {}
        self.converged = PairWatch(self, self.expected_view, 0.0)
        self.watches.append(self.converged)

    @property
    def running(self) -> list[str]:
        """Names of the nodes that run and are not paused, in order of appearance."""
        return [name for name, life in self.lives.items() if life == "running"]

    def set_label(self, name: str, label: str) -> None:
        """Note the label that a node will boot with; no view of it is judged while it is down."""
        assert self.lives.get(name) not in ("running", "paused")
        if label or self.labels:
            self.labels[name] = label

    def is_apart(self, one: str, other: str) -> bool:
        """Whether two nodes are in different clusters: they have different labels."""
        labels = self.labels
        return bool(labels) and labels.get(one, "") != labels.get(other, "")

    def running_with(self, name: str) -> list[str]:
        """Names of the nodes that run and are in the cluster of a node, itself included."""
        return [one for one in self.running if not self.is_apart(one, name)]

    def set_lives(self, now: float, lives: Mapping[str, Life]) -> None:
        """Note what has become of some nodes, at the moment it is done to them."""
        counted = [watch.count_pairs_of(lives) for watch in self.watches]
        for name, life in lives.items():
            before = self.lives.get(name, "absent")
            if life == "killed":
                others = tuple(one for one in self.running_with(name) if one != name)
                self.kills[name] = Kill(now, others, {})
            if life == "running" and before != "paused":
                self.views[name] = {}
            if life == "paused" or (life == "running" and before in ("killed", "left")):
                self.disturb((name,))
            if life == "running" and before != "absent":
                self.calm(now, (name,))
            self.lives[name] = life
        for watch, before_it in zip(self.watches, counted, strict=True):
            watch.add_pairs(now, watch.count_pairs_of(lives), before_it)

    def all_see_all(self, now: float) -> None:
        """The running nodes begin with views that are true."""
        for observer in self.running:
            self.views[observer] = dict.fromkeys(self.running_with(observer), "alive")
            del self.views[observer][observer]
        for watch in self.watches:
            watch.recount(now)

    def disturb(self, names: Iterable[str]) -> None:
        """These nodes are cut off or stopped: reports of their failure are not false."""
        for name in names:
            self._excused[name] = math.inf

    def calm(self, now: float, names: Iterable[str]) -> None:
        """Their disturbance is over."""
        for name in names:
            if name in self._excused:
                self._excused[name] = now + self._grace

    def saw(self, now: float, observer: str, subject: str, seen: Seen) -> None:
        """An observer reports what it now sees a member as."""
        if observer == subject:
            return
        views = self.views.setdefault(observer, {})
        before = views.get(subject, "none")
        if before == seen:
            return
        report = Report(now, observer, subject, seen)
        if seen == "failed":
            self._on_failed(report)
        views[subject] = seen
        for watch in self.watches:
            watch.observe(report, before)
        for listener in self.listeners:
            listener(report)

    def saw_user_event(self, now: float, observer: str, name: str) -> None:
        """A user event arrived at a node."""
        self.deliveries.setdefault(name, {}).setdefault(observer, []).append(now)

    def saw_error(self, now: float, observer: str, text: str) -> None:
        """A node complained about something; the first are kept, all are counted."""
        self.error_count += 1
        if len(self.errors) < ERRORS_KEPT_MAX:
            self.errors.append((now, observer, text))

    def watch(self, allowed: Allowed, now: float) -> PairWatch:
        """Begin to count views that are not as allowed."""
        watch = PairWatch(self, allowed, now)
        self.watches.append(watch)
        return watch

    @contextmanager
    def briefly(self) -> Iterator[None]:
        """What begins to watch or listen in the block does so no longer than the block."""
        watches, listeners = len(self.watches), len(self.listeners)
        try:
            yield
        finally:
            del self.watches[watches:], self.listeners[listeners:]

    def _on_failed(self, report: Report) -> None:
        subject, observer = report.subject, report.observer
        life = self.lives.get(subject, "absent")
        if self.lives.get(observer) != "running":
            return
        if life == "killed":
            kill = self.kills[subject]
            if observer in kill.observers and observer not in kill.reported:
                kill.reported[observer] = report.time - kill.time
                self.detections.append(report.time - kill.time)
        elif life == "running" and not (
            self.is_apart(observer, subject) or self._is_excused(subject, report.time)
        ):
            self.false_positives.append(report)

    def _is_excused(self, name: str, now: float) -> bool:
        if self._excused and self.converged.holds_since is not None:
            self._excused = {one: end for one, end in self._excused.items() if end > now}
        return name in self._excused

    def expected_view(self, observer: str, subject: str) -> Container[str] | None:
        """What the truth allows a view to be; a paused member may be seen as anything."""
        lives = self.lives
        if lives.get(observer) != "running" or observer == subject:
            return None
        match lives.get(subject, "absent"):
            case "running":
                return DEAD if self.is_apart(observer, subject) else ALIVE
            case "killed" | "left":
                return DEAD
            case _:
                return None
