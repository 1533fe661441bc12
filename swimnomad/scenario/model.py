"""What a scenario file says, as typed values. Durations are seconds, shares 0 … 1.

A step is `Step(word, args, …)`, an expectation `Expectation(word, args, …)`: the words are the
closed vocabulary of `vocabulary.py`, which maps each to its class of arguments here.

Targets are texts: the name of a node, a glob such as `node-*`, or `random` (a running node, drawn
from the run's seed), `random 3` for several.
"""

from __future__ import annotations

from typing import ClassVar, Literal

import msgspec

from swimnomad.faults import Bandwidth, Latency
from swimnomad.names import Value
from swimnomad.scenario.quantities import Duration, Nodes, Settings, Share, SignedDuration
from swimnomad.scenario.targets import matching
from swimnomad.sim.cluster import node_names

Targets = tuple[str, ...]
STEP_TIMEOUT = 300.0
"""Seconds that a step waits for its condition unless told otherwise."""


class ClusterSpec(Value, frozen=True):
    """The nodes that run when the scenario begins, and what they are told."""

    nodes: Nodes = 5
    """How many, or their names."""
    regions: dict[str, Nodes] = msgspec.field(default_factory=dict)
    """Region to its nodes; if given, it replaces `nodes`."""
    profile: Literal["lan", "wan", "local", "nomad", "paper"] = "local"
    scale: float = 1.0
    """Factor on every duration of the profile."""
    compat: Literal["safe", "upstream"] = "safe"
    """Whether nodes follow the safe rules or those of real memberlist and Serf."""
    overrides: Settings = msgspec.field(default_factory=dict)
    """Settings that differ from the profile; they are not scaled."""
    labels: dict[str, Targets] = msgspec.field(default_factory=dict)
    """Label to the nodes that have it, those started later included; the others have none.
    Nodes with different labels refuse each other's packets: they are different clusters."""
    start: Literal["empty", "converged"] = "empty"
    """`empty`: nodes boot alone and join. `converged`: everybody knows everybody."""

    @property
    def groups(self) -> dict[str, int | tuple[str, ...]]:
        """Region to its nodes."""
        return self.regions or {"global": self.nodes}

    @property
    def sizes(self) -> dict[str, int]:
        """Region to number of nodes."""
        return {
            region: nodes if isinstance(nodes, int) else len(nodes)
            for region, nodes in self.groups.items()
        }

    @property
    def node_regions(self) -> dict[str, str]:
        """Short name of every node to its region, in order of boot."""
        numbered = node_names(self.sizes)
        found: dict[str, str] = {}
        for region, nodes in self.groups.items():
            names = [name for name, its in numbered.items() if its == region]
            found.update(dict.fromkeys(names if isinstance(nodes, int) else nodes, region))
        return found

    def label_of(self, name: str) -> str:
        """The label that a node boots with for the first time; empty if none."""
        for label, targets in self.labels.items():
            if any(matching(one, (name,)) for one in targets):
                return label
        return ""


class LinkFields(Value, frozen=True, rename="kebab"):
    """What a way between two nodes is like without faults. `loss` 0 and None: as usual."""

    latency: Latency | None = None
    loss: Share = 0.0
    burst: float = 0.0
    """Datagrams lost in a row on average; 0: each is lost or not on its own."""
    bandwidth: Bandwidth | None = None
    mtu: int = 0
    """Bytes of the longest IP packet; datagrams that need a longer one are lost. 0: any."""
    duplicate: Share = 0.0
    reorder: Share = 0.0
    reorder_delay: Duration = 0.05
    corrupt: Share = 0.0


class LinkSpec(LinkFields, frozen=True, rename={"source": "from", "target": "to"}):
    """A rule for some ways: `between` two regions or nodes, or one way `from` … `to`."""

    between: Targets = ()
    source: Targets = ()
    target: Targets = ()
    transport: Literal["udp", "tcp", "both"] = "both"


class NetworkSpec(LinkFields, frozen=True):
    """What all ways are like, and those that are different."""

    links: tuple[LinkSpec, ...] = ()


class StartArgs(Value, frozen=True):
    """Boot nodes that are new to the cluster and let them join."""

    SHORT: ClassVar[str] = "target"
    target: Targets
    region: str = "global"
    join: bool = True


class JoinArgs(Value, frozen=True):
    """Let nodes join others; `to` is a running node unless named."""

    SHORT: ClassVar[str] = "target"
    target: Targets
    to: Targets = ()


class TargetArgs(Value, frozen=True):
    """Which nodes: leave, kill, pause, resume."""

    SHORT: ClassVar[str] = "target"
    target: Targets


class ForceLeaveArgs(Value, frozen=True):
    """Declare nodes left; asked of `by`, a running node unless named."""

    SHORT: ClassVar[str] = "target"
    target: Targets
    by: str = ""


class RestartArgs(Value, frozen=True):
    """Boot dead nodes again: with the data they had or none, at the same or a new address."""

    SHORT: ClassVar[str] = "target"
    target: Targets
    data: Literal["same", "empty"] = "same"
    address: Literal["same", "new"] = "same"
    join: bool = True
    label: str | None = None
    """That of the cluster they belong to from now on, empty for none; None: as before."""


class PartitionArgs(Value, frozen=True, rename="kebab"):
    """Cut two groups apart.

    `side` against `against` (everybody else unless named); nodes in neither keep all their links:
    a partial partition. One-way: what `side` sends does not arrive, what it is sent does.
    """

    SHORT: ClassVar[str] = "side"
    side: Targets
    against: Targets = ("*",)
    one_way: bool = False


class HealArgs(Value, frozen=True):
    """Remove faults: those of the steps with these ids, or all."""

    SHORT: ClassVar[str] = "step"
    step: Targets = ()


class LinkArgs(Value, frozen=True):
    """Base of the steps that make links worse: those of `target` with `peers`."""

    target: Targets = ("*",)
    peers: Targets = ("*",)
    direction: Literal["in", "out", "both"] = "both"
    """As `target` sees it."""


class LossArgs(LinkArgs, frozen=True):
    """Lose datagrams."""

    SHORT: ClassVar[str] = "share"
    share: Share = 0.1
    burst: float = 0.0
    """Datagrams lost in a row on average; 0: each is lost or not on its own."""


class LatencyArgs(LinkArgs, frozen=True):
    """Delay datagrams and streams."""

    SHORT: ClassVar[str] = "delay"
    delay: Latency = Latency("constant", 0.1)
    transport: Literal["udp", "tcp", "both"] = "both"


class DuplicateArgs(LinkArgs, frozen=True):
    """Deliver datagrams twice."""

    SHORT: ClassVar[str] = "share"
    share: Share = 0.1


class ReorderArgs(LinkArgs, frozen=True):
    """Hold datagrams back while later ones pass, each for up to `delay`."""

    SHORT: ClassVar[str] = "share"
    share: Share = 0.1
    delay: Duration = 0.05


class CorruptArgs(LinkArgs, frozen=True):
    """Flip a bit in datagrams."""

    SHORT: ClassVar[str] = "share"
    share: Share = 0.1


class BlockArgs(LinkArgs, frozen=True):
    """Let nothing of a transport through."""

    SHORT: ClassVar[str] = "target"
    transport: Literal["udp", "tcp", "both"] = "both"


class StarveArgs(Value, frozen=True, rename={"lasting": "for"}):
    """Let nodes read late: whatever arrives, and every timer, waits for a delay drawn anew.

    For `lasting` seconds, or until healed.
    """

    SHORT: ClassVar[str] = "target"
    target: Targets
    delay: Latency = Latency("uniform", 0.0, 1.0)
    lasting: Duration | None = None


class SkewArgs(Value, frozen=True, rename={"lasting": "for"}):
    """Let the clocks of nodes run wrong.

    `rate`: seconds they count in a real one. `jump`: they show so much more at once; below 0 they
    stand still for as long, since the clocks that timeouts are taken from never go back. `drift`:
    the rate wanders, a new one every `every` seconds, at most so far from 1. Rate and drift end
    after `lasting` seconds, or when healed.
    """

    SHORT: ClassVar[str] = "target"
    target: Targets
    rate: float | None = None
    jump: SignedDuration = 0.0
    drift: Share = 0.0
    every: Duration = 1.0
    lasting: Duration | None = None


class ChurnArgs(Value, frozen=True, rename={"lasting": "for"}):
    """Let nodes come and go while the scenario goes on.

    Every `every` seconds, for `lasting` seconds, one running node of `target` drawn at random is
    killed, leaves or is paused, and is back after `down` seconds. The last one that runs is spared.
    """

    SHORT: ClassVar[str] = "target"
    target: Targets = ("*",)
    every: Duration = 10.0
    down: Duration = 10.0
    lasting: Duration = 60.0
    how: Literal["kill", "leave", "pause"] = "kill"
    data: Literal["same", "empty"] = "same"


class ConflictArgs(Value, frozen=True, rename={"lasting": "for"}):
    """Boot a second node with the name of one that is there, elsewhere; it joins.

    It runs for `lasting` seconds, or to the end of the run.
    """

    SHORT: ClassVar[str] = "target"
    target: Targets
    lasting: Duration | None = None


class FloodArgs(Value, frozen=True, rename={"lasting": "for"}):
    """Send junk datagrams to nodes from outside: `rate` a second to each, of `size` bytes.

    The scenario goes on meanwhile.
    """

    SHORT: ClassVar[str] = "target"
    target: Targets
    rate: int = 1000
    size: int = 512
    lasting: Duration = 10.0


class TagsArgs(Value, frozen=True):
    """Set and remove tags of nodes."""

    target: Targets
    set: dict[str, str] = msgspec.field(default_factory=dict)
    remove: Targets = ()


class EventArgs(Value, frozen=True):
    """Broadcast a user event from a node."""

    SHORT: ClassVar[str] = "name"
    name: str
    payload: str = ""
    target: Targets = ("random",)


class RepeatArgs(Value, frozen=True):
    """Do steps several times over; each round begins `every` after the last one began."""

    times: int
    steps: tuple[Step, ...]
    every: Duration = 0.0


class StatusArgs(Value, frozen=True, rename={"seen": "as", "by": "seen-by"}):
    """Whether running observers (`seen-by`) see each of `of` as one of `as`."""

    of: Targets
    seen: tuple[Literal["alive", "failed", "left", "none"], ...]
    by: Targets = ("*",)


class NoArgs(Value, frozen=True):
    """Nothing to say: converged, agree, no-errors, invariants."""


class DetectedArgs(Value, frozen=True):
    """Whether every running observer has reported each killed node of `of` as failed."""

    SHORT: ClassVar[str] = "of"
    of: Targets = ()
    """Nodes; the step's own targets unless named."""


class LimitArgs(Value, frozen=True):
    """At most so many: false-positives, health-score."""

    SHORT: ClassVar[str] = "max"
    max: int = 0


class DisseminationArgs(Value, frozen=True, rename={"seen": "as"}):
    """Time from the first to the last observer's report that a node has a status."""

    of: str
    seen: Literal["alive", "failed", "left"]
    max: Duration


class LoadArgs(Value, frozen=True, rename="kebab"):
    """What a node sends on average, at most."""

    messages_per_second: float | None = None
    bytes_per_second: float | None = None


class DeliveredArgs(Value, frozen=True):
    """Whether every running node of `to` has received a user event since the step."""

    SHORT: ClassVar[str] = "name"
    name: str
    to: Targets = ("*",)


class Condition(Value, frozen=True):
    """A check that a step waits for."""

    word: str
    args: Value


class Step(Value, frozen=True):
    """One thing that happens, in the order of the file.

    `at` is a time since the cluster stood, `after` a time since the previous step was done, or a
    condition that must hold for the step to begin; within `timeout` seconds, or the run fails.
    """

    word: str
    args: Value
    at: float | None = None
    after: float | Condition | None = None
    timeout: float = STEP_TIMEOUT
    id: str = ""


class Expectation(Value, frozen=True):
    """One thing that must be true.

    At a time (`at`), at the end (none of the others), at some moment `within` seconds after step
    `of`, or `always` from that step on (without `of`, from the beginning). `within` may be the
    computed convergence bound.
    """

    word: str
    args: Value
    at: float | None = None
    within: float | Literal["bound"] | None = None
    of: str = ""
    always: bool = False


class Scenario(Value, frozen=True):
    """A whole file."""

    name: str
    description: str
    cluster: ClusterSpec
    network: NetworkSpec
    steps: tuple[Step, ...]
    expect: tuple[Expectation, ...]
    duration: float = 0.0
    """The run lasts at least this long after the cluster stood."""
