"""Whether a scenario makes sense: what would fail in the middle of a run, or could never fail.

Every rule yields complaints about values of the model by their dotted names; who has the text turns
these into lines. The rules follow the file: what an earlier step named may be meant by a later one.
"""

from __future__ import annotations

from collections.abc import Sequence

from swimnomad.errors import UsageError
from swimnomad.names import Value
from swimnomad.scenario.complaint import Complaint, Complaints
from swimnomad.scenario.idle import idle
from swimnomad.scenario.labels import label_complaints, text_complaints
from swimnomad.scenario.model import (
    STEP_TIMEOUT,
    ChurnArgs,
    ClusterSpec,
    Condition,
    Expectation,
    FloodArgs,
    HealArgs,
    LinkFields,
    LossArgs,
    NetworkSpec,
    PartitionArgs,
    RepeatArgs,
    RestartArgs,
    Scenario,
    SkewArgs,
    StartArgs,
    Step,
)
from swimnomad.scenario.quantities import NODES_MAX
from swimnomad.scenario.settings import gossip_settings, serf_settings
from swimnomad.scenario.targets import is_random, matching, random_count
from swimnomad.scenario.vacuity import flat, vacuous
from swimnomad.scenario.vocabulary import (
    CHECKS,
    CONDITIONS,
    HEALED_STEPS,
    STEPS,
    why_not_args,
    why_not_on,
)
from swimnomad.scenario.wiring import burst_complaints, network_complaints
from swimnomad.serf.config import SerfConfig
from swimnomad.sim.clock import JUMP_MAX, RATE_MAX, RATE_MIN
from swimnomad.sim.host import DRIFT_INTERVAL_MIN, DRIFT_MAX

TIMES_MAX = 10_000
STEPS_MAX = 100_000
"""Steps that a run may do: a few repeats inside each other would never end."""
TARGET_FIELDS = ("target", "peers", "side", "against", "to", "by", "of")
"""Fields of arguments that name nodes."""
NO_NAME = "*?[ /.+"
"""Characters that a name of a node or region may not have: globs, and what addresses need."""
NAME_ALLOWED = "a name: letters, digits and hyphens"
NAMES_SHOWN_MAX = 8
FLOOD_RATE_MAX = 100_000
DATAGRAM_BYTES_MAX = 65_507


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
        self._begins: dict[str, float] = {}
        """Id to the time at which its step begins at the earliest."""
        self._earliest = 0.0
        """When all steps so far may be done: a condition may take no time."""

    def all(self) -> Complaints:
        scenario = self._scenario
        yield from self._cluster(scenario.cluster)
        yield from self._network(scenario.network)
        for place, step in enumerate(scenario.steps):
            yield from self._step(step, f"steps[{place}]", is_repeated=False)
        if (count := _count(scenario.steps)) > STEPS_MAX:
            text = f"found {count} steps, repeats in full; allowed are up to {STEPS_MAX}"
            yield Complaint("steps", text)
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
        if cluster.overrides and self._on != "sim":
            yield Complaint("cluster.overrides", f"not possible on {self._on}")
        for region in cluster.regions:
            if not _is_name(region):
                yield Complaint(f"cluster.regions.{region}", "not a name for a region")
        yield from self._node_names(cluster)
        yield from self._settings(cluster)
        self._names = dict(cluster.node_regions)
        steps = [step.args for step in flat(self._scenario.steps)]
        later = [name for args in steps if isinstance(args, StartArgs) for name in args.target]
        yield from label_complaints(cluster, dict.fromkeys([*self._names, *later]))

    def _node_names(self, cluster: ClusterSpec) -> Complaints:
        seen: dict[str, str] = {}
        for region, nodes in cluster.groups.items():
            key = f"cluster.regions.{region}" if cluster.regions else "cluster.nodes"
            for name in () if isinstance(nodes, int) else nodes:
                if not _is_name(name):
                    yield Complaint(key, f"found {name!r}; allowed is {NAME_ALLOWED}")
                if name in seen:
                    yield Complaint(key, f"found {name!r} twice; a name is allowed once")
                seen[name] = region
        if len(cluster.node_regions) != sum(cluster.sizes.values()):
            yield Complaint("cluster.regions", "found a name that a numbered node has, too")

    def _settings(self, cluster: ClusterSpec) -> Complaints:
        """Whether nodes would start with these settings."""
        try:
            swim = gossip_settings(cluster.profile, cluster.scale, cluster.overrides)
            serf_settings(cluster.overrides, SerfConfig(swim=swim)).validate()
        except UsageError as error:
            yield Complaint("cluster.overrides", str(error))

    def _network(self, network: NetworkSpec) -> Complaints:
        if self._on != "sim" and network != NetworkSpec():
            text = f"not possible on {self._on}: its network is what it is; use latency and loss"
            yield Complaint("network", text)
        yield from network_complaints(network, self._names)

    def _step(self, step: Step, key: str, *, is_repeated: bool) -> Complaints:
        if step.at is not None:
            if step.after is not None or is_repeated:
                text = "allowed is `at` or `after`, in a repeat `after`"
                yield Complaint(f"{key}.at", text)
            if step.at < self._earliest:
                before = f"a step at {self._earliest:g} s or later"
                text = f"found {step.at:g} s after {before}; steps go in order"
                yield Complaint(f"{key}.at", text)
        if isinstance(step.after, Condition):
            yield from self._condition(step.after, f"{key}.after")
            if not step.timeout > 0:
                yield Complaint(f"{key}.timeout", "found 0 s; allowed is above 0 s")
        elif step.timeout != STEP_TIMEOUT:
            yield Complaint(f"{key}.timeout", "allowed only with a condition to wait for (after)")
        begin = self._earliest if is_repeated else _begin(step, self._earliest)
        yield from self._word(step, f"{key}.{step.word}")
        if not is_repeated:
            self._earliest = begin + _length(step)
        if step.id:
            if step.id in self._steps_by_id:
                yield Complaint(f"{key}.id", f"found {step.id!r} twice")
            self._steps_by_id[step.id] = key, step
            self._begins[step.id] = begin

    def _word(self, step: Step, key: str) -> Complaints:
        """What is wrong with a step's arguments."""
        if reason := why_not_on(step.word, STEPS, self._on) or why_not_args(step.args, self._on):
            yield Complaint(key, reason)
        yield from idle(step.args, key)
        match step.args:
            case RepeatArgs(times=times):
                if not 1 <= times <= TIMES_MAX:
                    yield Complaint(f"{key}.times", f"found {times}; allowed are 1 to {TIMES_MAX}")
                yield from self._repeated(step.args, key)
                return
            case StartArgs():
                yield from self._started(step.args, key)
            case RestartArgs(label=str(label)):
                yield from text_complaints(label, f"{key}.label")
            case HealArgs(step=healed):
                yield from self._healed(healed, key)
            case LossArgs(share=share, burst=burst):
                yield from burst_complaints(LinkFields(loss=share, burst=burst), key, "share")
            case PartitionArgs():
                yield from self._cut(step.args, key)
            case SkewArgs():
                yield from _skew(step.args, key)
            case ChurnArgs() | FloodArgs():
                yield from _amounts(step.args, key)
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
                yield Complaint(key, f"found {name!r}; allowed is {NAME_ALLOWED}")
            if name in self._names:
                text = f"found {name!r}, which is there already; use restart for a dead node"
                yield Complaint(key, text)
            self._names[name] = args.region

    def _repeated(self, args: RepeatArgs, key: str) -> Complaints:
        length = _round_length(args)
        if 0 < args.every < length:
            text = f"found {args.every:g} s for a round that takes {length:g} s"
            yield Complaint(f"{key}.every", text)
        if not args.steps:
            yield Complaint(f"{key}.steps", "found none; a repeat has at least one step")
        for place, inner in enumerate(args.steps):
            if isinstance(inner.args, StartArgs) and args.times > 1:
                text = "a node can be started only once; use restart"
                yield Complaint(f"{key}.steps[{place}]", text)
            yield from self._step(inner, f"{key}.steps[{place}]", is_repeated=True)

    def _cut(self, args: PartitionArgs, key: str) -> Complaints:
        """A partition has somebody on each side, and nobody on both."""
        side = {name for one in args.side for name in matching(one, self._names)}
        both = [name for name in args.against if name in side]
        if both:
            yield Complaint(f"{key}.against", f"found {both[0]!r} on both sides")
        against = {name for one in args.against for name in matching(one, self._names)}
        if not any(map(is_random, args.side + args.against)) and against <= side:
            yield Complaint(key, "found nobody on the other side")

    def _healed(self, healed: Sequence[str], key: str) -> Complaints:
        known = [name for name, (_, step) in self._steps_by_id.items() if step.word in HEALED_STEPS]
        for one in healed:
            if one not in known:
                allowed = ", ".join(known) or "none: give the step to be healed an id"
                yield Complaint(key, f"found {one!r}; allowed are {allowed}")

    def _targets(self, args: Value, key: str) -> Complaints:
        """Every target means somebody: one of the cluster, or started by an earlier step."""
        for field in TARGET_FIELDS:
            value = getattr(args, field, ())
            for target in (value,) if isinstance(value, str) else value:
                if (count := random_count(target)) is not None:
                    if not 1 <= count <= len(self._names):
                        text = f"found {target!r}; allowed are 1 to {len(self._names)} nodes"
                        yield Complaint(f"{key}.{field}", text)
                elif target and not matching(target, self._names):
                    some = ", ".join(list(self._names)[:NAMES_SHOWN_MAX])
                    text = (
                        f"found {target!r}; allowed are names of nodes ({some}, …), globs, random"
                    )
                    yield Complaint(f"{key}.{field}", text)

    def _expectation(self, expectation: Expectation, key: str) -> Complaints:
        word, of, within = expectation.word, expectation.of, expectation.within
        args = expectation.args
        if reason := why_not_on(word, CHECKS, self._on) or why_not_args(args, self._on):
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
        step = self._steps_by_id[of][1] if of else None
        begin = self._begins[of] if of else 0.0
        if expectation.at is not None and expectation.at < begin:
            text = f"found {expectation.at:g} s, before its step, which begins after {begin:g} s"
            yield Complaint(f"{key}.at", text)
        if step is None and within is not None:
            step = self._scenario.steps[-1]
        yield from vacuous(expectation, step, self._scenario, self._names, key)

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


def _begin(step: Step, earliest: float) -> float:
    """When a step begins at the earliest, in seconds, if the one before it can be done then."""
    if isinstance(step.after, float | int):
        return earliest + step.after
    return max(earliest, step.at or 0.0)


def _length(step: Step) -> float:
    """Seconds that a step takes at least: only those of repeats are known beforehand."""
    if not isinstance(step.args, RepeatArgs):
        return 0.0
    return step.args.times * max(step.args.every, _round_length(step.args))


def _round_length(args: RepeatArgs) -> float:
    """Seconds that one round of a repeat takes at least."""
    return sum(_begin(step, 0.0) + _length(step) for step in args.steps)


def _count(steps: Sequence[Step]) -> int:
    """How many steps are done, those of repeats counted for every round."""
    return sum(
        1 + (step.args.times * _count(step.args.steps) if isinstance(step.args, RepeatArgs) else 0)
        for step in steps
    )


def _amounts(args: ChurnArgs | FloodArgs, key: str) -> Complaints:
    if isinstance(args, ChurnArgs):
        if not 0 < args.every <= args.lasting:
            text = f"found {args.every:g} s; allowed is above 0, up to `for`, {args.lasting:g} s"
            yield Complaint(f"{key}.every", text)
        return
    for field, most in (("rate", FLOOD_RATE_MAX), ("size", DATAGRAM_BYTES_MAX)):
        found = getattr(args, field)
        if not 1 <= found <= most:
            yield Complaint(f"{key}.{field}", f"found {found}; allowed are 1 to {most}")
    if not args.lasting > 0:
        yield Complaint(f"{key}.for", f"found {args.lasting:g} s; allowed is above 0")


def _skew(args: SkewArgs, key: str) -> Complaints:
    if args.rate is None and not args.jump and not args.drift:
        yield Complaint(key, "found no change; allowed are rate, jump, drift")
    if args.rate is not None and args.drift:
        yield Complaint(f"{key}.drift", "found beside rate; a rate that wanders is not fixed")
    if args.rate is not None and not RATE_MIN <= args.rate <= RATE_MAX:
        text = f"found {args.rate:g}; allowed are {RATE_MIN:g} to {RATE_MAX:g}"
        yield Complaint(f"{key}.rate", text)
    if not abs(args.jump) <= JUMP_MAX:
        yield Complaint(f"{key}.jump", f"found {args.jump:g} s; allowed is up to a day either way")
    if not args.drift <= DRIFT_MAX:
        yield Complaint(f"{key}.drift", f"found {args.drift:g}; allowed are 0 to {DRIFT_MAX:g}")
    if args.drift and not args.every >= DRIFT_INTERVAL_MIN:
        text = f"found {args.every:g} s; allowed is {DRIFT_INTERVAL_MIN:g} s or more"
        yield Complaint(f"{key}.every", text)


def _is_name(text: str) -> bool:
    return bool(text) and not is_random(text) and not any(one in text for one in NO_NAME)
