"""Reads scenario files, and refuses what cannot be run before anything runs.

Two steps: what the text says becomes typed values here; whether these make sense together, and on
this backend, is asked of `sense.py`, which knows no text. Complaints from there get their lines
here.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, TypeVar

import yaml

from swimnomad.errors import ConfigError
from swimnomad.names import Value
from swimnomad.scenario.composing import TEXT_BYTES_MAX, compose
from swimnomad.scenario.model import (
    STEP_TIMEOUT,
    ClusterSpec,
    Condition,
    Expectation,
    NetworkSpec,
    RepeatArgs,
    Scenario,
    Step,
)
from swimnomad.scenario.reading import Reader, is_empty, show
from swimnomad.scenario.sense import complaints
from swimnomad.scenario.units import parse_duration
from swimnomad.scenario.vocabulary import (
    BACKENDS,
    BACKENDS_AVAILABLE,
    CHECKS,
    CONDITIONS,
    EXPECT_KEYS,
    REPEAT_KEYS,
    STEP_KEYS,
    STEPS,
    TOP_KEYS,
    Word,
    why_unknown,
)

T = TypeVar("T")


def load_scenario(path: Path, on: str = "sim") -> Scenario:
    """Read and check a scenario file for a backend.

    Raises:
        ConfigError: Naming file, line and key, what was found and what is allowed.
    """
    try:
        with path.open("rb") as file:
            data = file.read(TEXT_BYTES_MAX + 1)
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror or error}") from None
    if len(data) > TEXT_BYTES_MAX:
        raise ConfigError(f"{path}: larger than {TEXT_BYTES_MAX} bytes")
    return _load(data, str(path), path.stem, on, path.parent)


def load_text(text: str, on: str = "sim", *, source: str = "scenario") -> Scenario:
    """Read and check a scenario from a text; `source` stands for the file in errors.

    Such a scenario can name no trace files: there is no place from which to look for them.

    Raises:
        ConfigError: As `load_scenario` does.
    """
    return _load(text.encode(errors="surrogatepass"), source, source, on, None)


def check_scenario(scenario: Scenario, on: str = "sim") -> None:
    """Check a scenario that was made in memory, as a loaded one is.

    Raises:
        ConfigError: Naming the key, what was found and what is allowed.
    """
    check_backend(on)
    for complaint in complaints(scenario, on):
        raise ConfigError(f"{scenario.name}: {complaint.key}: {complaint.text}")


def check_backend(on: str) -> None:
    """Check that scenarios can be run there.

    Raises:
        ConfigError: If not; says where they can.
    """
    available = ", ".join(BACKENDS_AVAILABLE)
    if on not in BACKENDS:
        raise ConfigError(f"unknown backend {on!r}; allowed are {available}")
    if on not in BACKENDS_AVAILABLE:
        raise ConfigError(f"backend {on} is not available yet; allowed are {available}")


def _load(data: bytes, source: str, name: str, on: str, folder: Path | None) -> Scenario:
    check_backend(on)
    reader = Reader(source, folder)
    scenario = _Parser(reader).scenario(compose(data, source), name)
    for complaint in complaints(scenario, on):
        reader.fail_at(complaint.key, complaint.text)
    return scenario


class _Parser:
    """Makes the values of the model from nodes."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader

    def scenario(self, root: yaml.MappingNode, name: str) -> Scenario:
        reader = self._reader
        found = reader.pairs(root, "")
        for key, node in found.items():
            if key not in TOP_KEYS:
                reader.fail(node, key, f"unknown key; allowed are {', '.join(TOP_KEYS)}")
        return Scenario(
            name=self._read(found, "", "name", str, name),
            description=self._read(found, "", "description", str, ""),
            cluster=self._read(found, "", "cluster", ClusterSpec, ClusterSpec()),
            network=self._read(found, "", "network", NetworkSpec, NetworkSpec()),
            duration=self._seconds(found, "", "duration", 0.0),
            steps=tuple(
                self._step(node, f"steps[{place}]")
                for place, node in enumerate(self._items(found, "steps"))
            ),
            expect=tuple(
                self._expectation(node, f"expect[{place}]")
                for place, node in enumerate(self._items(found, "expect"))
            ),
        )

    def _read(
        self, found: Mapping[str, yaml.Node], above: str, key: str, kind: type[T], default: T
    ) -> T:
        if key not in found:
            return default
        value: T = self._reader.read(found[key], kind, f"{above}.{key}" if above else key)
        return value

    def _seconds(
        self, found: Mapping[str, yaml.Node], above: str, key: str, default: float | None
    ) -> Any:  # noqa: ANN401 - a float, or the default
        if key not in found:
            return default
        name = f"{above}.{key}" if above else key
        return self._reader.quantity(found[key], name, parse_duration)

    def _items(self, found: Mapping[str, yaml.Node], key: str) -> list[yaml.Node]:
        return self._reader.items(found[key], key) if key in found else []

    def _step(self, node: yaml.Node, key: str) -> Step:
        found = self._reader.pairs(node, key)
        word, args = self._word("step", found, STEPS, STEP_KEYS, node, key)
        return Step(
            word=word,
            args=args,
            at=self._seconds(found, key, "at", None),
            after=self._after(found["after"], f"{key}.after") if "after" in found else None,
            timeout=self._seconds(found, key, "timeout", STEP_TIMEOUT),
            id=self._read(found, key, "id", str, ""),
        )

    def _after(self, node: yaml.Node, key: str) -> float | Condition:
        """A duration, the name of a condition, or a mapping with one condition."""
        if isinstance(node, yaml.ScalarNode) and not is_empty(node):
            if node.value not in CHECKS:
                return float(self._reader.quantity(node, key, parse_duration))
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
        if reason := why_unknown(kind, word, known):
            reader.fail(where if where.start_mark else node, key, reason)
        if word == "repeat":
            return word, self._repeat(where, key)
        args_class = known[word].args
        assert args_class is not None
        return word, reader.struct(where, args_class, key)

    def _repeat(self, node: yaml.Node, key: str) -> RepeatArgs:
        reader = self._reader
        found = reader.pairs(node, key)
        allowed = ", ".join(REPEAT_KEYS)
        for name, value in found.items():
            if name not in REPEAT_KEYS:
                reader.fail(value, f"{key}.{name}", f"unknown key; allowed are {allowed}")
        for name in ("times", "steps"):
            if name not in found:
                reader.fail(node, key, f"{name} is missing; allowed are {allowed}")
        steps = tuple(
            self._step(item, f"{key}.steps[{place}]")
            for place, item in enumerate(reader.items(found["steps"], f"{key}.steps"))
        )
        times = reader.read(found["times"], int, f"{key}.times")
        return RepeatArgs(times=times, steps=steps, every=self._seconds(found, key, "every", 0.0))

    def _expectation(self, node: yaml.Node, key: str) -> Expectation:
        reader = self._reader
        found = reader.pairs(node, key)
        word, args = self._word("check", found, CHECKS, EXPECT_KEYS, node, key)
        return Expectation(
            word=word,
            args=args,
            at=self._at(found["at"], f"{key}.at") if "at" in found else None,
            within=self._within(found["within"], key) if "within" in found else None,
            of=self._read(found, key, "of", str, ""),
            always=self._read(found, key, "always", bool, False),
        )

    def _at(self, node: yaml.Node, key: str) -> float | None:
        """A time, or `end`."""
        if isinstance(node, yaml.ScalarNode) and node.value == "end":
            return None
        return float(self._reader.quantity(node, key, parse_duration))

    def _within(self, node: yaml.Node, key: str) -> float | Literal["bound"]:
        if isinstance(node, yaml.ScalarNode) and node.value == "bound":
            return "bound"
        if not isinstance(node, yaml.ScalarNode):
            self._reader.fail(node, f"{key}.within", f"found {show(node)}; allowed is one value")
        return float(self._reader.quantity(node, f"{key}.within", parse_duration))
