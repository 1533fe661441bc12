"""Whether a scenario makes sense: what would fail in the middle of a run, or could never fail.

Every rule yields complaints about values of the model by their dotted names; who has the text turns
these into lines. The rules follow the file: what an earlier step named may be meant by a later one.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from swimnomad.names import Value
from swimnomad.scenario.model import (
    ClusterSpec,
    Condition,
    Expectation,
    HealArgs,
    NetworkSpec,
    RepeatArgs,
    Scenario,
    StartArgs,
    Step,
)
from swimnomad.scenario.targets import is_random, matching
from swimnomad.scenario.vocabulary import (
    CHECKS,
    CONDITIONS,
    LINK_STEPS,
    STEPS,
    why_not_args,
    why_not_on,
)

NODES_MAX = 10_000
TIMES_MAX = 10_000
TARGET_FIELDS = ("target", "peers", "side", "against", "to", "by", "of")
"""Fields of arguments that name nodes."""
NO_NAME = "*?[ /."
"""Characters that a name of a node or region may not have: globs, and what addresses need."""
NAMES_SHOWN_MAX = 8


class Complaint(Value, frozen=True):
    """What is wrong with a value: its dotted name (`steps[2].kill.target`), found and allowed."""

    key: str
    text: str


Complaints = Iterator[Complaint]


def complaints(scenario: Scenario, on: str) -> Complaints:
    """Everything that is wrong with a scenario on a backend, in the order of a file."""
    return _Survey(scenario, on).all()


class _Survey:
    """One scenario under scrutiny, and what it has named so far."""

    def __init__(self, scenario: Scenario, on: str) -> None:
        self._scenario = scenario
        self._on = on
        self._names: dict[str, str] = {}
        self._steps_by_id: dict[str, tuple[str, Step]] = {}
        """Id to the step and its own dotted name."""
        self._last_at = 0.0

    def all(self) -> Complaints:
        scenario = self._scenario
        yield from self._cluster(scenario.cluster)
        yield from self._network(scenario.network)
        for place, step in enumerate(scenario.steps):
            yield from self._step(step, f"steps[{place}]", is_repeated=False)
        if not scenario.expect:
            text = "missing or empty; a scenario expects at least one thing"
            yield Complaint("expect", text)
        for place, expectation in enumerate(scenario.expect):
            yield from self._expectation(expectation, f"expect[{place}]")

    def _cluster(self, cluster: ClusterSpec) -> Complaints:
        total = sum(cluster.sizes.values())
        if not 1 <= total <= NODES_MAX:
            yield Complaint("cluster", f"found {total} nodes; allowed are 1 to {NODES_MAX}")
        if not 0 < cluster.scale <= 1000:
            text = f"found {cluster.scale:g}; allowed is a number above 0, up to 1000"
            yield Complaint("cluster.scale", text)
        if cluster.regions and self._on != "sim":
            yield Complaint("cluster.regions", f"not possible on {self._on}; use nodes")
        for region in cluster.regions:
            if not _is_name(region):
                yield Complaint(f"cluster.regions.{region}", "not a name for a region")
        self._names = dict(cluster.node_regions)

    def _network(self, network: NetworkSpec) -> Complaints:
        if self._on != "sim" and network != NetworkSpec():
            text = f"not possible on {self._on}: its network is what it is; use latency and loss"
            yield Complaint("network", text)
        regions = self._scenario.cluster.sizes
        for place, link in enumerate(network.links):
            key = f"network.links[{place}].between"
            if len(link.between) != 2:
                yield Complaint(key, f"found {len(link.between)}; allowed are two regions")
            for region in link.between:
                if region not in regions:
                    yield Complaint(key, f"found {region!r}; allowed are {', '.join(regions)}")

    def _step(self, step: Step, key: str, *, is_repeated: bool) -> Complaints:
        if step.at is not None:
            if step.after is not None or is_repeated:
                text = "allowed is `at` or `after`, in a repeat `after`"
                yield Complaint(f"{key}.at", text)
            if step.at < self._last_at:
                text = f"found {step.at:g} s after a step at {self._last_at:g} s; steps go in order"
                yield Complaint(f"{key}.at", text)
            self._last_at = step.at
        if isinstance(step.after, Condition):
            yield from self._condition(step.after, f"{key}.after")
        yield from self._word(step, f"{key}.{step.word}")
        if step.id:
            if step.id in self._steps_by_id:
                yield Complaint(f"{key}.id", f"found {step.id!r} twice")
            self._steps_by_id[step.id] = key, step

    def _word(self, step: Step, key: str) -> Complaints:
        """What is wrong with a step's arguments."""
        if reason := why_not_on(step.word, STEPS, self._on) or why_not_args(step.args, self._on):
            yield Complaint(key, reason)
        match step.args:
            case RepeatArgs(times=times, steps=steps):
                if not 1 <= times <= TIMES_MAX:
                    yield Complaint(f"{key}.times", f"found {times}; allowed are 1 to {TIMES_MAX}")
                for place, inner in enumerate(steps):
                    yield from self._step(inner, f"{key}.steps[{place}]", is_repeated=True)
                return
            case StartArgs():
                yield from self._started(step.args, key)
            case HealArgs(step=healed):
                yield from self._healed(healed, key)
            case _:
                pass
        yield from self._targets(step.args, key)

    def _condition(self, condition: Condition, key: str) -> Complaints:
        word = condition.word
        if word not in CONDITIONS:
            yield Complaint(key, f"found {word}; allowed are {', '.join(CONDITIONS)}")
        if reason := why_not_on(word, CHECKS, self._on):
            yield Complaint(f"{key}.{word}", reason)
        yield from self._targets(condition.args, f"{key}.{word}")

    def _started(self, args: StartArgs, key: str) -> Complaints:
        for name in args.target:
            if not _is_name(name):
                text = f"found {name!r}; allowed is a name: letters, digits and hyphens"
                yield Complaint(key, text)
            if name in self._names:
                text = f"found {name!r}, which is there already; use restart for a dead node"
                yield Complaint(key, text)
            self._names[name] = args.region

    def _healed(self, healed: Sequence[str], key: str) -> Complaints:
        known = [name for name, (_, step) in self._steps_by_id.items() if step.word in LINK_STEPS]
        for one in healed:
            if one not in known:
                allowed = ", ".join(known) or "none: give the step that breaks links an id"
                yield Complaint(key, f"found {one!r}; allowed are {allowed}")

    def _targets(self, args: Value, key: str) -> Complaints:
        """Every target means somebody: one of the cluster, or started by an earlier step."""
        for field in TARGET_FIELDS:
            value = getattr(args, field, ())
            for target in (value,) if isinstance(value, str) else value:
                if target and not is_random(target) and not matching(target, self._names):
                    some = ", ".join(list(self._names)[:NAMES_SHOWN_MAX])
                    text = (
                        f"found {target!r}; allowed are names of nodes ({some}, …), globs, random"
                    )
                    yield Complaint(f"{key}.{field}", text)

    def _expectation(self, expectation: Expectation, key: str) -> Complaints:
        word, of, within = expectation.word, expectation.of, expectation.within
        if reason := why_not_on(word, CHECKS, self._on):
            yield Complaint(f"{key}.{word}", reason)
        yield from self._targets(expectation.args, f"{key}.{word}")
        if sum((expectation.always, expectation.at is not None, within is not None)) > 1:
            yield Complaint(key, "allowed is one of at, within, always")
        if of and of not in self._steps_by_id:
            ids = ", ".join(self._steps_by_id) or "none: no step has an id"
            yield Complaint(f"{key}.of", f"found {of!r}; allowed are ids of steps: {ids}")
            return
        if within is not None and not self._scenario.steps:
            yield Complaint(f"{key}.within", "there is no step to count from")
            return
        if within == "bound" and word != "converged":
            yield Complaint(f"{key}.within", "found 'bound'; allowed only for converged")
        if word == "detected":
            yield from self._detected(expectation, key)

    def _detected(self, expectation: Expectation, key: str) -> Complaints:
        if expectation.within is None:
            yield Complaint(key, "within is missing: detected is a matter of time")
            return
        steps = self._scenario.steps
        place, step = f"steps[{len(steps) - 1}]", steps[-1]
        if expectation.of:
            place, step = self._steps_by_id[expectation.of]
        if step.word != "kill":
            yield Complaint(key, f"found {place} ({step.word}) to count from; allowed is a kill")


def _is_name(text: str) -> bool:
    return bool(text) and not is_random(text) and not any(one in text for one in NO_NAME)
