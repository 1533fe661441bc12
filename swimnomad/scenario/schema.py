"""The format of scenario files as a JSON Schema, for editors that complete and check while typing.

Made from the same annotations that drive the reading. What one value must be is said here; what
values must be together is said by `sense.py` alone, when a file is loaded.

    python -m swimnomad.scenario.schema > docs/scenario.schema.json
"""

from __future__ import annotations

import inspect
import json
import sys
import types
import typing
from collections.abc import Mapping
from typing import Annotated, Any, Literal

import msgspec

from swimnomad.faults import Bandwidth, Latency
from swimnomad.names import Value
from swimnomad.scenario.model import ClusterSpec, NetworkSpec, RepeatArgs
from swimnomad.scenario.reading import LATENCIES, TRACES
from swimnomad.scenario.settings import SETTING_KINDS
from swimnomad.scenario.vocabulary import CHECKS, CONDITIONS, STEPS, Word

DIALECT = "https://json-schema.org/draft/2020-12/schema"
Json = dict[str, Any]

_NUMBER = r"(\d+(\.\d+)?|\.\d+)"
_DURATION = rf"^\s*({_NUMBER}\s*(ms|s|m|h)|0)\s*$"
DEFINITIONS: Mapping[str, Json] = {
    "duration": {
        "description": "a duration: 200ms, 5s, 2m, 1h",
        "oneOf": [{"type": "string", "pattern": _DURATION}, {"const": 0}],
    },
    "signed": {
        "description": "a duration that may be below 0: -5s",
        "oneOf": [{"type": "string", "pattern": rf"^\s*-?{_DURATION[1:]}"}, {"const": 0}],
    },
    "share": {
        "description": "a share: 5% or 0.05",
        "oneOf": [
            {"type": "string", "pattern": rf"^\s*{_NUMBER}\s*%?\s*$"},
            {"type": "number", "minimum": 0, "maximum": 1},
        ],
    },
    "number": {"type": "number", "minimum": 0},
    "bytes": {
        "description": "bytes, of a rate a second: 1500B, 64kB, 10Mbit",
        "type": "string",
        "pattern": rf"^\s*{_NUMBER}\s*([kMG]?B|[kMG]bit)\s*$",
    },
}
_NOTHING: Json = {"type": "null"}


def scenario_schema() -> Json:
    """The whole schema; the same at every call."""
    definitions = {name: dict(value) for name, value in DEFINITIONS.items()}
    definitions["latency"] = _latency()
    definitions["bandwidth"] = _bandwidth()
    definitions["settings"] = _mapping({name: _kind(kind) for name, kind in SETTING_KINDS.items()})
    definitions["step"] = _words(STEPS, _step_keys())
    definitions["expectation"] = _words(CHECKS, _expectation_keys())
    return {
        "$schema": DIALECT,
        "title": "A scenario of swimnomad",
        "description": "What happens to a cluster and what must hold; see docs/scenarios.md.",
        **_mapping(
            {
                "name": {"type": "string"},
                "description": {"type": "string"},
                "cluster": _struct(ClusterSpec),
                "network": _struct(NetworkSpec),
                "duration": _ref("duration"),
                "steps": {"type": "array", "items": _ref("step")},
                "expect": {"type": "array", "items": _ref("expectation"), "minItems": 1},
            },
            ["expect"],
        ),
        "$defs": definitions,
    }


def _step_keys() -> Json:
    condition = {word: _arguments(CHECKS[word]) for word in CONDITIONS}
    return {
        "at": _ref("duration"),
        "after": {
            "oneOf": [
                _ref("duration"),
                {"enum": list(CONDITIONS)},
                {**_mapping(condition), "minProperties": 1, "maxProperties": 1},
            ]
        },
        "timeout": _ref("duration"),
        "id": {"type": "string"},
    }


def _expectation_keys() -> Json:
    return {
        "at": {"oneOf": [_ref("duration"), {"const": "end"}]},
        "within": {"oneOf": [_ref("duration"), {"const": "bound"}]},
        "of": {"type": "string"},
        "always": {"type": "boolean"},
    }


def _words(known: Mapping[str, Word], others: Json) -> Json:
    """An object with exactly one word of the vocabulary, and what may stand beside it."""
    usable = {word: one for word, one in known.items() if one.args is not None}
    properties = {word: _arguments(one) for word, one in usable.items()}
    return {
        **_mapping({**others, **properties}),
        "oneOf": [{"required": [word]} for word in usable],
    }


def _arguments(word: Word) -> Json:
    """What a word is told: a mapping, its short form, or nothing if nothing must be said."""
    kind = word.args
    assert kind is not None
    if kind is RepeatArgs:
        steps = {"type": "array", "items": _ref("step"), "minItems": 1}
        times = {"type": "integer", "minimum": 1}
        repeat = {"times": times, "every": _ref("duration"), "steps": steps}
        return {**_mapping(repeat, ["times", "steps"]), "description": _first_line(kind)}
    forms = [_struct(kind)]
    fields = msgspec.structs.fields(kind)
    short = getattr(kind, "SHORT", None)
    if short is not None:
        forms.append(_kind(typing.get_type_hints(kind, include_extras=True)[short]))
    if not any(field.required for field in fields):
        forms.append(_NOTHING)
    return {"description": _first_line(kind), "anyOf": forms}


def _struct(kind: type[Value]) -> Json:
    hints = typing.get_type_hints(kind, include_extras=True)
    fields = msgspec.structs.fields(kind)
    properties = {field.encode_name: _kind(hints[field.name]) for field in fields}
    return _mapping(properties, [field.encode_name for field in fields if field.required])


def _kind(kind: Any) -> Json:  # noqa: ANN401 - any type of the model
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin is Annotated:
        return _annotated(arguments[1])
    if origin in (typing.Union, types.UnionType):
        options = [one for one in arguments if one is not type(None)]
        return {"anyOf": [*map(_kind, options), _NOTHING]}
    if origin is Literal:
        return {"enum": list(arguments)}
    if origin is tuple:
        one = _kind(arguments[0])
        return {"anyOf": [one, {"type": "array", "items": one}]}
    if origin is dict:
        return {"type": "object", "additionalProperties": _kind(arguments[1])}
    if kind is Latency:
        return _ref("latency")
    if kind is Bandwidth:
        return _ref("bandwidth")
    if isinstance(kind, type) and issubclass(kind, Value):
        return _struct(kind)
    return dict(_SCALARS[kind])


def _annotated(marker: str) -> Json:
    if marker == "nodes":
        names = {"type": "array", "items": {"type": "string"}, "minItems": 1}
        return {"anyOf": [{"type": "integer", "minimum": 1}, names]}
    return _ref(marker)


def _latency() -> Json:
    forms: Json = {}
    for name, parameters in LATENCIES.items():
        wanted = [_ref(one) for one in parameters if one]
        listed = {
            "type": "array",
            "prefixItems": wanted,
            "minItems": len(wanted),
            "maxItems": len(wanted),
        }
        forms[name] = listed if len(wanted) > 1 else {"anyOf": [wanted[0], listed]}
    for name in TRACES:
        listed = {"type": "array", "items": _ref("duration"), "minItems": 1}
        file = {"description": "a file, as seen from this one", "type": "string"}
        forms[name] = {"anyOf": [listed, file]}
    distribution = {**_mapping(forms), "minProperties": 1, "maxProperties": 1}
    return {"anyOf": [_ref("duration"), distribution]}


def _bandwidth() -> Json:
    parts = {"rate": _ref("bytes"), "queue": _ref("bytes")}
    return {"anyOf": [_ref("bytes"), _mapping(parts, ["rate"])]}


def _mapping(properties: Json, required: list[str] | None = None) -> Json:
    found: Json = {
        "type": "object",
        "properties": properties,
        "additionalProperties": False,
    }
    if required:
        found["required"] = required
    return found


def _ref(name: str) -> Json:
    return {"$ref": f"#/$defs/{name}"}


def _first_line(kind: type[Value]) -> str:
    return (inspect.getdoc(kind) or "").partition("\n")[0]


_SCALARS: Mapping[Any, Json] = {
    # A number or a word such as yes stands for itself where a text is wanted.
    str: {"type": ["string", "number", "boolean"]},
    int: {"type": "integer", "minimum": 0},
    float: {"type": "number", "minimum": 0},
    bool: {"type": "boolean"},
}


def schema_text() -> str:
    """The schema as the file in docs has it."""
    return json.dumps(scenario_schema(), indent=2, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    sys.stdout.write(schema_text())
