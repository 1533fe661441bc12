"""Runs a scenario on a backend: the steps in their order, the expectations at their times.

The runner and the checks know nothing of which backend it is. Times of events come from the reports
themselves; the runner only looks at them every `POLL` seconds, so a measured time is exact while
the decision to go on may be that much late.
"""

from __future__ import annotations

import math
import random

import msgspec

from swimnomad.errors import OperationError, UsageError
from swimnomad.scenario.actions import Actions
from swimnomad.scenario.agenda import Agenda
from swimnomad.scenario.backend import Backend
from swimnomad.scenario.bounds import convergence_bound
from swimnomad.scenario.checks import CHECK_CLASSES, Check, Judgement, Scene
from swimnomad.scenario.facts import Facts
from swimnomad.scenario.model import Condition, Expectation, RepeatArgs, Scenario, Step
from swimnomad.scenario.result import CheckResult, Result, detection_of
from swimnomad.scenario.units import show_seconds

POLL = 0.1
COSTLY_POLL = 1.0
EPSILON = 1e-9
"""Seconds by which a deadline may be missed: the clock is a float."""


class StepFailed(Exception):
    """A step could not be done; the run goes no further."""


class Pending:
    """An expectation that is not decided yet."""

    def __init__(self, expectation: Expectation) -> None:
        self.expectation = expectation
        self.check: Check | None = None
        """At work from its step on, or from the beginning."""
        self.start = 0.0
        self.deadline = math.inf
        self.judged_at = -math.inf
        self.has_looked = False
        """Whether the check ever had anything to look at."""
        self.result: CheckResult | None = None

    @property
    def is_open(self) -> bool:
        """Whether the run must go on for its sake; those of the end wait for the others."""
        timed = self.expectation.within is not None or self.expectation.at is not None
        return timed and self.result is None

    @property
    def due(self) -> float:
        """When it is decided at the latest; infinity if only the end of the run decides it."""
        return self.deadline if self.expectation.at is None else self.expectation.at

    async def judge(self) -> Judgement:
        """What the check says now."""
        assert self.check is not None
        judgement = await self.check.judge()
        self.has_looked = self.has_looked or judgement.looked
        return judgement

    def decide(self, passed: bool, when: str) -> None:
        """Note the outcome; a check that never had anything to look at has failed."""
        check = self.check
        assert check is not None
        measured = check.measured() if self.has_looked else "there was nothing to look at"
        passed = passed and self.has_looked
        expected = f"{check.expected}, {when}"
        self.result = CheckResult(self.expectation.word, passed, expected, measured)


class Runner:
    """One run of one scenario."""

    def __init__(self, scenario: Scenario, backend: Backend, facts: Facts, seed: int) -> None:
        self._scenario = scenario
        self._backend = backend
        self._facts = facts
        self._seed = seed
        rng = random.Random(f"{seed}/scenario")
        self._agenda = Agenda()
        self._actions = Actions(scenario.cluster, backend, facts, self._agenda, rng)
        self._pending = [Pending(one) for one in scenario.expect]
        self._failures: list[CheckResult] = []

    async def run(self) -> Result:
        """Carry out the scenario; `wall_seconds` of the result is left at 0.

        Raises:
            OperationError: If the cluster could not be started.
        """
        scenario, backend = self._scenario, self._backend
        names = scenario.cluster.node_regions
        labels = {name: scenario.cluster.label_of(name) for name in names}
        self._facts.labels.update({name: label for name, label in labels.items() if label})
        self._facts.set_lives(0.0, dict.fromkeys(names, "running"))
        try:
            await backend.open(scenario.cluster, scenario.network)
            await self._actions.install_network(scenario.network)
            for pending in self._pending:
                expectation = pending.expectation
                if not expectation.of and expectation.within is None:
                    await self._begin(pending, 0.0)
            try:
                for number, step in enumerate(scenario.steps, 1):
                    await self._do(step, f"step {number}", str(number))
                await self._wait_until(scenario.duration)
                while self._agenda.next_time < math.inf:
                    await self._wait_until(self._agenda.next_time)
            except StepFailed:
                pass  # noted among the failures; what was expected is still judged
            await self._finish()
            return await self._result()
        finally:
            await backend.close()

    async def _do(self, step: Step, label: str, place: str) -> None:
        """Wait until the step is due, do it, and begin what is expected of it."""
        await self._wait_for(step, f"{label} ({step.word})")
        # Before it is done: a leave takes seconds, and what is seen meanwhile must count.
        begun = [pending for pending in self._pending if self._belongs(pending, step)]
        for pending in begun:
            await self._begin(pending, self._backend.now)
        try:
            if isinstance(step.args, RepeatArgs):
                await self._repeat(step.args, label, place)
            else:
                await self._actions.perform(step, place)
        except (OperationError, UsageError) as error:
            for pending in begun:
                pending.check = None
            self._fail_step(f"{label} ({step.word})", "is done", str(error))

    def _belongs(self, pending: Pending, step: Step) -> bool:
        """Whether an expectation counts from this step; without a name it is the last one."""
        of = pending.expectation.of
        is_meant = step.id == of if of else step is self._scenario.steps[-1]
        return is_meant and pending.check is None and pending.result is None

    async def _repeat(self, args: RepeatArgs, label: str, place: str) -> None:
        for turn in range(1, args.times + 1):
            start = self._backend.now
            for number, step in enumerate(args.steps, 1):
                label_here = f"{label}, round {turn}, step {number}"
                await self._do(step, label_here, f"{place}.{number}")
            await self._wait_until(start + args.every)

    async def _wait_for(self, step: Step, label: str) -> None:
        match step.after:
            case None:
                if step.at is not None:
                    await self._wait_until(step.at)
            case Condition(word=word, args=args):
                limit = self._backend.now + step.timeout
                with self._facts.briefly():
                    check = CHECK_CLASSES[word](args, self._scene(self._backend.now))
                    while not (await check.judge()).holds:
                        if self._backend.now >= limit - EPSILON:
                            wanted = f"after {word}, within {show_seconds(step.timeout)}"
                            self._fail_step(label, wanted, check.measured())
                        pause = COSTLY_POLL if check.is_costly else POLL
                        await self._wait_until(min(limit, self._backend.now + pause))
            case seconds:
                await self._wait_until(self._backend.now + seconds)

    async def _wait_until(self, time: float) -> None:
        """Let time pass, judging what is pending all the while."""
        backend = self._backend
        while backend.now < time - EPSILON:
            due = [p.due for p in self._pending if p.is_open and p.due > backend.now]
            due.append(max(self._agenda.next_time, backend.now))
            await backend.wait_until(min(time, backend.now + POLL, *due))
            await self._do_agenda()
            await self._judge_pending()

    async def _do_agenda(self) -> None:
        while action := self._agenda.take(self._backend.now + EPSILON):
            step, act = action
            try:
                await act()
            except (OperationError, UsageError) as error:
                self._fail_step(f"step {step}", "goes on", str(error))

    async def _judge_pending(self) -> None:
        now = self._backend.now
        for pending in self._pending:
            if pending.result is not None or pending.check is None:
                continue
            expectation = pending.expectation
            if expectation.at is not None:
                if now >= expectation.at - EPSILON:
                    judgement = await pending.judge()
                    pending.decide(judgement.holds, f"at {show_seconds(expectation.at)}")
                continue
            rest = min(pending.judged_at + COSTLY_POLL, pending.deadline)
            if pending.check.is_costly and now < rest - EPSILON:
                continue
            pending.judged_at = now
            if expectation.within is not None:
                await self._judge_within(pending, now)
            elif expectation.always:
                judgement = await pending.judge()
                if not judgement.holds or judgement.broken is not None:
                    pending.decide(False, "always")

    async def _judge_within(self, pending: Pending, now: float) -> None:
        judgement = await pending.judge()
        since = now if judgement.since is None else judgement.since
        when = f"within {show_seconds(pending.deadline - pending.start)}"
        if judgement.holds and judgement.looked and since <= pending.deadline + EPSILON:
            pending.decide(True, when)
        elif now >= pending.deadline - EPSILON:
            pending.decide(False, when)

    async def _begin(self, pending: Pending, start: float) -> None:
        """Set the check to work; its time counts from `start`."""
        expectation = pending.expectation
        scene = self._scene(start)
        if expectation.word == "load":
            usage = await self._backend.usage()
            scene = msgspec.structs.replace(scene, usage=usage)
        pending.check = CHECK_CLASSES[expectation.word](expectation.args, scene)
        pending.start = start
        if expectation.within == "bound":
            cluster = self._scenario.cluster
            count = len(self._facts.lives)
            bound = convergence_bound(count, cluster.profile, cluster.scale, cluster.overrides)
            pending.deadline = start + bound.total
        elif expectation.within is not None:
            pending.deadline = start + expectation.within

    async def _finish(self) -> None:
        """Go on until everything with a time is decided, then judge the rest."""
        self._agenda.clear()
        while any(pending.is_open and pending.check for pending in self._pending):
            await self._wait_until(self._backend.now + POLL)
        for pending in self._pending:
            if pending.result is not None:
                continue
            if pending.check is None:
                word = pending.expectation.word
                pending.result = CheckResult(word, False, "is checked", "its step was never done")
                continue
            judgement = await pending.judge()
            passed = judgement.holds
            if pending.expectation.always:
                passed = passed and judgement.broken is None
            pending.decide(passed, "always" if pending.expectation.always else "at the end")

    def _fail_step(self, label: str, expected: str, measured: str) -> None:
        self._failures.append(CheckResult(label, False, expected, measured))
        raise StepFailed

    def _scene(self, start: float) -> Scene:
        return Scene(self._facts, self._backend, self._scenario.cluster, start)

    async def _result(self) -> Result:
        checks = [*self._failures, *(p.result for p in self._pending if p.result)]
        total = await self._backend.total_usage()
        facts = self._facts
        return Result(
            scenario=self._scenario.name,
            backend=self._backend.name,
            seed=self._seed,
            passed=all(check.passed for check in checks),
            checks=tuple(checks),
            wall_seconds=0.0,
            cluster_seconds=round(self._backend.now, 6),
            nodes=len(facts.lives),
            journal_sha256=self._backend.journal_sha256(),
            detection=detection_of(facts.detections),
            false_positives=len(facts.false_positives),
            messages=total.messages if total is not None else None,
            bytes=total.bytes if total is not None else None,
        )
