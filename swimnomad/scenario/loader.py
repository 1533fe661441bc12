"""Reads a scenario file and refuses what cannot be run, before anything runs."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

import yaml

from swimnomad.errors import ConfigError
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
from swimnomad.scenario.reading import Reader, is_empty, show
from swimnomad.scenario.targets import is_random, matching
from swimnomad.scenario.units import parse_duration
from swimnomad.scenario.vocabulary import (
    BACKENDS,
    BACKENDS_AVAILABLE,
    CHECKS,
    CONDITIONS,
    LINK_STEPS,
    STEPS,
    Word,
    why_not,
    why_not_args,
)

TOP_KEYS = ("name", "description", "cluster", "network", "duration", "steps", "expect")
STEP_KEYS = ("at", "after", "timeout", "id")
EXPECT_KEYS = ("at", "within", "of", "always")
NODES_MAX = 10_000
TIMES_MAX = 10_000
TARGET_FIELDS = ("target", "peers", "side", "against", "to", "by", "of")
"""Fields that name nodes."""


def load_scenario(path: Path, on: str = "sim") -> Scenario:
    """Read and check a scenario file for a backend.

    Raises:
        ConfigError: Naming file, line and key, what was found and what is allowed.
    """
    available = ", ".join(BACKENDS_AVAILABLE)
    if on not in BACKENDS:
        raise ConfigError(f"unknown backend {on!r}; allowed are {available}")
    if on not in BACKENDS_AVAILABLE:
        raise ConfigError(f"backend {on} is not available yet; allowed are {available}")
    return _Loader(path, on).load()


class _Loader:
    """One file being read, and what it has named so far."""

    def __init__(self, path: Path, on: str) -> None:
        self._path = path
        self._reader = Reader(path)
        self._on = on
        self._names: dict[str, str] = {}
        self._steps_by_id: dict[str, Step] = {}
        self._last_at = 0.0

    def load(self) -> Scenario:
        reader = self._reader
        root = reader.compose()
        found = reader.pairs(root, "scenario")
        for key, node in found.items():
            if key not in TOP_KEYS:
                reader.fail(node, key, f"unknown key; allowed are {', '.join(TOP_KEYS)}")
        cluster: ClusterSpec = self._read(found, "cluster", ClusterSpec, ClusterSpec())
        self._check_cluster(cluster, found.get("cluster", root))
        network: NetworkSpec = self._read(found, "network", NetworkSpec, NetworkSpec())
        self._check_network(network, cluster, found.get("network", root))
        duration = self._duration(found["duration"], "duration") if "duration" in found else 0.0
        steps = tuple(
            self._step(node, f"steps[{place}]")
            for place, node in enumerate(self._items(found, "steps"))
        )
        expect = tuple(
            self._expectation(node, f"expect[{place}]", steps)
            for place, node in enumerate(self._items(found, "expect"))
        )
        if not expect:
            reader.fail(root, "expect", "missing or empty; a scenario expects at least one thing")
        return Scenario(
            name=self._read(found, "name", str, self._path.stem),
            description=self._read(found, "description", str, ""),
            cluster=cluster,
            network=network,
            steps=steps,
            expect=expect,
            duration=duration,
        )

    def _read(self, found: Mapping[str, yaml.Node], key: str, kind: type, default: Any) -> Any:  # noqa: ANN401 - a `kind`
        return self._reader.read(found[key], kind, key) if key in found else default

    def _items(self, found: Mapping[str, yaml.Node], key: str) -> list[yaml.Node]:
        return self._reader.items(found[key], key) if key in found else []

    def _duration(self, node: yaml.Node, key: str) -> float:
        return float(self._reader.quantity(node, key, parse_duration))

    def _check_cluster(self, cluster: ClusterSpec, node: yaml.Node) -> None:
        total = sum(cluster.sizes.values())
        if not 1 <= total <= NODES_MAX:
            self._reader.fail(node, "cluster", f"found {total} nodes; allowed are 1 to {NODES_MAX}")
        if not 0 < cluster.scale <= 1000:
            text = f"found {cluster.scale:g}; allowed is a number above 0, up to 1000"
            self._reader.fail(node, "cluster.scale", text)
        if cluster.regions and self._on != "sim":
            self._reader.fail(node, "cluster.regions", f"not possible on {self._on}; use nodes")
        for region in cluster.regions:
            if is_random(region) or any(character in region for character in "*?[ /."):
                self._reader.fail(node, f"cluster.regions.{region}", "not a name for a region")
        self._names = cluster.node_regions

    def _check_network(self, network: NetworkSpec, cluster: ClusterSpec, node: yaml.Node) -> None:
        if self._on != "sim" and network != NetworkSpec():
            text = f"not possible on {self._on}: its network is what it is; use latency and loss"
            self._reader.fail(node, "network", text)
        for place, link in enumerate(network.links):
            key = f"network.links[{place}].between"
            if len(link.between) != 2:
                self._reader.fail(node, key, f"found {len(link.between)}; allowed are two regions")
            for region in link.between:
                if region not in cluster.sizes:
                    allowed = ", ".join(cluster.sizes)
                    self._reader.fail(node, key, f"found {region!r}; allowed are {allowed}")

    def _step(self, node: yaml.Node, key: str, *, is_repeated: bool = False) -> Step:
        reader = self._reader
        found = reader.pairs(node, key)
        word, args = self._word("step", found, STEPS, STEP_KEYS, node, key)
        if "at" in found and ("after" in found or is_repeated):
            reader.fail(found["at"], f"{key}.at", "allowed is `at` or `after`, in a repeat `after`")
        at = self._duration(found["at"], f"{key}.at") if "at" in found else None
        if at is not None:
            if at < self._last_at:
                text = f"found {at:g} s after a step at {self._last_at:g} s; steps go in order"
                reader.fail(found["at"], f"{key}.at", text)
            self._last_at = at
        timeout = self._duration(found["timeout"], f"{key}.timeout") if "timeout" in found else 300
        step = Step(
            word=word,
            args=args,
            line=node.start_mark.line + 1,
            at=at,
            after=self._after(found["after"], f"{key}.after") if "after" in found else None,
            timeout=timeout,
            id=self._read(found, "id", str, ""),
        )
        if step.id:
            if step.id in self._steps_by_id:
                reader.fail(found["id"], f"{key}.id", f"found {step.id!r} twice")
            self._steps_by_id[step.id] = step
        return step

    def _after(self, node: yaml.Node, key: str) -> float | Condition:
        """A duration, the name of a condition, or a mapping with one condition."""
        if isinstance(node, yaml.ScalarNode) and not is_empty(node):
            if node.value not in CHECKS:
                return self._duration(node, key)
            found: dict[str, yaml.Node] = {node.value: yaml.ScalarNode("", "")}
        else:
            found = self._reader.pairs(node, key)
        word, args = self._word("condition", found, CHECKS, (), node, key)
        if word not in CONDITIONS:
            self._reader.fail(node, key, f"found {word}; allowed are {', '.join(CONDITIONS)}")
        return Condition(word, args)

    def _word(
        self,
        kind: str,
        found: Mapping[str, yaml.Node],
        known: Mapping[str, Word],
        others: tuple[str, ...],
        node: yaml.Node,
        key: str,
    ) -> tuple[str, Value]:
        """The one key of a mapping that is a word of the vocabulary, and its arguments."""
        reader = self._reader
        words = [name for name in found if name not in others]
        if len(words) != 1:
            listed = ", ".join(words) or "none"
            reader.fail(node, key, f"found {listed}; allowed is one {kind}: {', '.join(known)}")
        word = words[0]
        where, key = found[word], f"{key}.{word}"
        if reason := why_not(kind, word, known, self._on):
            reader.fail(where if where.start_mark else node, key, reason)
        if word == "repeat":
            return word, self._repeat(where, key)
        args_class = known[word].args
        assert args_class is not None
        args = reader.struct(where, args_class, key)
        if reason := why_not_args(args, self._on):
            reader.fail(where, key, reason)
        if isinstance(args, StartArgs):
            self._add_names(args, where, key)
        elif isinstance(args, HealArgs):
            self._check_healed(args, where, key)
        self._check_names(args, where if where.start_mark else node, key)
        return word, args

    def _repeat(self, node: yaml.Node, key: str) -> RepeatArgs:
        reader = self._reader
        found = reader.pairs(node, key)
        allowed = ("times", "every", "steps")
        for name, value in found.items():
            if name not in allowed:
                reader.fail(
                    value, f"{key}.{name}", f"unknown key; allowed are {', '.join(allowed)}"
                )
        for name in ("times", "steps"):
            if name not in found:
                reader.fail(node, key, f"{name} is missing; allowed are {', '.join(allowed)}")
        times = reader.read(found["times"], int, f"{key}.times")
        if not 1 <= times <= TIMES_MAX:
            text = f"found {times}; allowed are 1 to {TIMES_MAX}"
            reader.fail(found["times"], f"{key}.times", text)
        steps = tuple(
            self._step(item, f"{key}.steps[{place}]", is_repeated=True)
            for place, item in enumerate(reader.items(found["steps"], f"{key}.steps"))
        )
        every = self._duration(found["every"], f"{key}.every") if "every" in found else 0.0
        return RepeatArgs(times=times, steps=steps, every=every)

    def _add_names(self, args: StartArgs, node: yaml.Node, key: str) -> None:
        for name in args.target:
            if is_random(name) or not name or any(character in name for character in "*?[ /."):
                text = f"found {name!r}; allowed is a name: letters, digits and hyphens"
                self._reader.fail(node, key, text)
            if name in self._names:
                text = f"found {name!r}, which is there already; use restart for a dead node"
                self._reader.fail(node, key, text)
            self._names[name] = args.region

    def _check_healed(self, args: HealArgs, node: yaml.Node, key: str) -> None:
        for one in args.step:
            if one not in self._steps_by_id or self._steps_by_id[one].word not in LINK_STEPS:
                ids = [name for name, s in self._steps_by_id.items() if s.word in LINK_STEPS]
                allowed = ", ".join(ids) or "none: give the step that breaks links an id"
                self._reader.fail(node, key, f"found {one!r}; allowed are {allowed}")

    def _check_names(self, args: Value, node: yaml.Node, key: str) -> None:
        """Every target means somebody: one of the cluster, or started by an earlier step."""
        for field in TARGET_FIELDS:
            value = getattr(args, field, ())
            for target in (value,) if isinstance(value, str) else value:
                if target and not is_random(target) and not matching(target, self._names):
                    some = ", ".join(list(self._names)[:8])
                    text = (
                        f"found {target!r}; allowed are names of nodes ({some}, …), globs, random"
                    )
                    self._reader.fail(node, f"{key}.{field}", text)

    def _expectation(self, node: yaml.Node, key: str, steps: tuple[Step, ...]) -> Expectation:
        reader = self._reader
        found = reader.pairs(node, key)
        word, args = self._word("check", found, CHECKS, EXPECT_KEYS, node, key)
        always = self._read(found, "always", bool, False)
        if sum((always, "at" in found, "within" in found)) > 1:
            reader.fail(node, key, "allowed is one of at, within, always")
        of = self._read(found, "of", str, "")
        if of and of not in self._steps_by_id:
            ids = ", ".join(self._steps_by_id) or "none: no step has an id"
            reader.fail(found["of"], f"{key}.of", f"found {of!r}; allowed are ids of steps: {ids}")
        if "within" in found and not steps:
            reader.fail(found["within"], f"{key}.within", "there is no step to count from")
        if word == "detected" and "within" not in found:
            reader.fail(node, key, "within is missing: detected is a matter of time")
        expectation = Expectation(
            word=word,
            args=args,
            line=node.start_mark.line + 1,
            at=self._at(found["at"], f"{key}.at") if "at" in found else None,
            within=self._within(found["within"], word, key) if "within" in found else None,
            of=of,
            always=always,
        )
        self._check_detected(expectation, steps, node, key)
        return expectation

    def _check_detected(
        self, expectation: Expectation, steps: tuple[Step, ...], node: yaml.Node, key: str
    ) -> None:
        if expectation.word != "detected":
            return
        step = self._steps_by_id[expectation.of] if expectation.of else steps[-1]
        if step.word != "kill":
            text = f"found the step {step.word} (line {step.line}) to count from; allowed is a kill"
            self._reader.fail(node, key, text)

    def _at(self, node: yaml.Node, key: str) -> float | None:
        """A time, or `end`."""
        if isinstance(node, yaml.ScalarNode) and node.value == "end":
            return None
        return self._duration(node, key)

    def _within(self, node: yaml.Node, word: str, key: str) -> float | Literal["bound"]:
        if isinstance(node, yaml.ScalarNode) and node.value == "bound":
            if word != "converged":
                text = f"found {show(node)}; allowed only for converged"
                self._reader.fail(node, f"{key}.within", text)
            return "bound"
        return self._duration(node, f"{key}.within")
