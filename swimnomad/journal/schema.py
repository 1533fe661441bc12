"""The format of a journal as JSON Schema, made from the classes whose values it holds.

python -m swimnomad.journal.schema > docs/journal.schema.json
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import msgspec

from swimnomad.journal.types import EFFECTS, INPUTS, Json, definitions, fields_schema
from swimnomad.journal.writer import FORMAT, LINE_KEYS

_START: Mapping[str, Json] = {
    "time": {"type": "number", "description": "seconds since the world began"},
    "node": {"type": "string"},
}
_CLOCK: Json = {"type": "number", "description": "what the core was told, if it is not `time`"}


def journal_schema() -> Json:
    """JSON Schema (2020-12) of one line of a journal."""
    lines = [
        _object({"journal": {"const": FORMAT}, "seed": {"type": ["integer", "string"]}}),
        _object(
            {
                "roster": {"type": "integer", "minimum": 1},
                "nodes": {"type": "array", "items": {"$ref": "#/$defs/KnownNode"}},
            }
        ),
        *(_line("input", kind) for kind in INPUTS.values()),
        *(_line("effect", kind) for kind in EFFECTS.values()),
        {
            "type": "object",
            "description": "what the world does to a node; further keys by the kind of fault",
            "properties": {**_START, "fault": {"type": "string"}},
            "required": [*_START, "fault"],
        },
    ]
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "One line of a swimnomad journal",
        "description": "Bytes are hexadecimal; keys stand in the order given here.",
        "oneOf": lines,
        "$defs": definitions(),
    }


def _line(what: str, kind: type[msgspec.Struct]) -> Json:
    fields = {
        f"{field}_" if field in LINE_KEYS else field: schema
        for field, schema in fields_schema(kind).items()
    }
    clock = {"clock": _CLOCK} if what == "input" else {}
    line = _object({**_START, **clock, what: {"const": kind.__name__}, **fields})
    line["required"] = [key for key in line["required"] if key != "clock"]
    return {"description": (kind.__doc__ or "").split("\n")[0], **line}


def _object(properties: Mapping[str, Any]) -> Json:
    return {
        "type": "object",
        "properties": dict(properties),
        "required": list(properties),
        "additionalProperties": False,
    }


def schema_text() -> str:
    """The schema as it stands in `docs/journal.schema.json`."""
    return json.dumps(journal_schema(), indent=1) + "\n"


if __name__ == "__main__":
    print(schema_text(), end="")
