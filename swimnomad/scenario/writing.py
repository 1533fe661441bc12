"""Writes a scenario as the YAML that reads back as the same scenario: `load_text(to_yaml(s)) == s`.

The text is meant for people: what is as usual is left out, one element stands without a list, and
arguments take their short form where they have one. For what the forms are, see `reading.py`.

What was read from a trace file is written as the list of its delays: the text needs no other file.
"""

from __future__ import annotations

import typing
from typing import Annotated, Any

import msgspec
import yaml

from swimnomad.faults import Bandwidth, Latency
from swimnomad.names import Value
from swimnomad.scenario.model import (
    STEP_TIMEOUT,
    Condition,
    Expectation,
    RepeatArgs,
    Scenario,
    Step,
)
from swimnomad.scenario.reading import LATENCIES
from swimnomad.scenario.settings import SETTING_KINDS
from swimnomad.scenario.units import write_bytes, write_duration, write_share, write_signed
from swimnomad.scenario.vocabulary import CHECKS

LINE_WIDTH = 100


def to_yaml(scenario: Scenario, comment: str = "") -> str:
    """The scenario as a file's text.

    Args:
        scenario: What to write; texts in it must be printable.
        comment: Lines for the head of the file, without their `#`.
    """
    head = "".join(f"# {line}".rstrip() + "\n" for line in comment.splitlines())
    document: dict[str, object] = {"name": scenario.name}
    if scenario.description:
        document["description"] = scenario.description
    cluster = scenario.cluster
    size = {} if cluster.regions else {"nodes": _annotated(cluster.nodes, "nodes")}
    # Said even where it is as usual: nobody should have to know the defaults of these.
    document["cluster"] = {**size, "profile": cluster.profile, **_fields(cluster)}
    if network := _fields(scenario.network):
        document["network"] = network
    if scenario.duration:
        document["duration"] = write_duration(scenario.duration)
    if scenario.steps:
        document["steps"] = [_step(step) for step in scenario.steps]
    document["expect"] = [_expectation(one) for one in scenario.expect]
    body: str = yaml.dump(
        document, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=LINE_WIDTH
    )
    return head + body


class _Dumper(yaml.SafeDumper):
    """What fits on a line stands on one, lists of values on as few as they need; no aliases."""

    def ignore_aliases(self, data: object) -> bool:
        return True

    def represent_mapping(self, tag: str, mapping: Any, flow_style: bool | None = None) -> Any:  # noqa: ANN401 - as the base has it
        return super().represent_mapping(tag, mapping, flow_style=_is_line(mapping))

    def represent_sequence(self, tag: str, sequence: Any, flow_style: bool | None = None) -> Any:  # noqa: ANN401 - as the base has it
        # A long list of plain values, as a trace is one, is wrapped: not each on a line of its own.
        return super().represent_sequence(tag, sequence, flow_style=not _has_rows(sequence))


def _is_line(value: Any) -> bool:  # noqa: ANN401 - what a document is made of
    return len(str(value)) <= LINE_WIDTH - 10 and not _has_rows(value)


def _has_rows(value: Any) -> bool:  # noqa: ANN401 - what a document is made of
    """Whether there is a list of mappings in it: the steps, what is expected."""
    if isinstance(value, dict):
        return any(_has_rows(item) for item in value.values())
    return isinstance(value, list) and any(isinstance(item, dict) for item in value)


def _step(step: Step) -> dict[str, object]:
    written: dict[str, object] = {}
    if step.at is not None:
        written["at"] = write_duration(step.at)
    match step.after:
        case None:
            pass
        case Condition(word=word, args=args):
            value = _arguments(args)
            # A bare word, which only means a condition if nothing is said about it.
            written["after"] = word if value == {} and word in CHECKS else {word: value}
        case seconds:
            written["after"] = write_duration(seconds)
    if step.timeout != STEP_TIMEOUT:
        written["timeout"] = write_duration(step.timeout)
    written[step.word] = _arguments(step.args)
    if step.id:
        written["id"] = step.id
    return written


def _expectation(expectation: Expectation) -> dict[str, object]:
    written: dict[str, object] = {expectation.word: _arguments(expectation.args)}
    if expectation.at is not None:
        written["at"] = write_duration(expectation.at)
    if expectation.within is not None:
        within = expectation.within
        written["within"] = within if isinstance(within, str) else write_duration(within)
    if expectation.of:
        written["of"] = expectation.of
    if expectation.always:
        written["always"] = True
    return written


def _arguments(args: Value) -> object:
    """What a word is told: its short form if that says everything."""
    if isinstance(args, RepeatArgs):
        written: dict[str, object] = {"times": args.times}
        if args.every:
            written["every"] = write_duration(args.every)
        return {**written, "steps": [_step(step) for step in args.steps]}
    fields = _fields(args)
    short = getattr(type(args), "SHORT", None)
    names = {field.name: field.encode_name for field in msgspec.structs.fields(type(args))}
    if short and list(fields) == [names[short]] and not isinstance(fields[names[short]], dict):
        return fields[names[short]]
    return fields


def _fields(value: Value) -> dict[str, object]:
    """The fields of a struct that are not as usual, by the names that files use."""
    kind = type(value)
    hints = typing.get_type_hints(kind, include_extras=True)
    written: dict[str, object] = {}
    for field in msgspec.structs.fields(kind):
        found = getattr(value, field.name)
        default = field.default
        if field.default_factory is not msgspec.NODEFAULT:
            default = field.default_factory()
        if field.required or found != default:
            written[field.encode_name] = _written(found, hints[field.name])
    return written


def _written(value: Any, kind: Any) -> object:  # noqa: ANN401 - any value of the model
    if typing.get_origin(kind) is Annotated:
        return _annotated(value, typing.get_args(kind)[1])
    options = [one for one in typing.get_args(kind) if one is not type(None)]
    if value is None:
        return None
    if isinstance(value, tuple):
        items = [_written(item, options[0]) for item in value]
        # An empty text alone would read as nothing at all.
        return items[0] if len(items) == 1 and not isinstance(items[0], list) else items
    if isinstance(value, dict):
        return {name: _written(item, options[1]) for name, item in value.items()}
    if isinstance(value, Latency):
        return _latency(value)
    if isinstance(value, Bandwidth):
        return {"rate": write_bytes(value.rate), "queue": write_bytes(value.queue_bytes)}
    if isinstance(value, Value):
        return _fields(value)
    if len(options) == 1 and typing.get_origin(options[0]) is Annotated:
        return _written(value, options[0])
    return value


def _annotated(value: Any, marker: str) -> object:  # noqa: ANN401 - any value of the model
    match marker:
        case "nodes":
            return value if isinstance(value, int) else list(value)
        case "settings":
            return {name: _written(item, SETTING_KINDS[name]) for name, item in value.items()}
        case _:
            return _QUANTITIES[marker](value)


def _latency(latency: Latency) -> object:
    if latency.kind == "constant":
        return write_duration(latency.a)
    if latency.kind == "trace":
        kind = "shuffled" if latency.shuffled else "trace"
        return {kind: [write_duration(value) for value in latency.values]}
    first, second = LATENCIES[latency.kind]
    return {latency.kind: [_QUANTITIES[first](latency.a), _QUANTITIES[second](latency.b)]}


_QUANTITIES: dict[str, typing.Callable[[Any], object]] = {
    "duration": write_duration,
    "signed": write_signed,
    "share": write_share,
    "number": lambda number: number,
}
