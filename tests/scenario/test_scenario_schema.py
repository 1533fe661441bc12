"""The JSON Schema in docs: fresh, true of every shipped scenario, and strict where it must be."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from swimnomad.scenario.schema import DIALECT, schema_text

ROOT = Path(__file__).resolve().parents[2]
SCHEMA = ROOT / "docs" / "scenario.schema.json"
SCENARIOS = sorted((ROOT / "scenarios").glob("*.yaml"))
TYPES: dict[str, Any] = {
    "object": dict,
    "array": list,
    "string": str,
    "integer": int,
    "number": (int, float),
    "boolean": bool,
    "null": type(None),
}
KEYWORDS = {"$schema", "$defs", "$ref", "title", "description", "type", "enum", "const"} | {
    *("oneOf", "anyOf", "properties", "required", "additionalProperties"),
    *("minProperties", "maxProperties", "items", "prefixItems", "minItems", "maxItems"),
    *("pattern", "minimum", "maximum"),
}


class Validator:
    """As much of JSON Schema as our schema uses; a keyword that it does not know is an error."""

    def __init__(self, schema: dict[str, Any]) -> None:
        self._root = schema

    def holds(self, value: Any, schema: dict[str, Any] | bool | None = None) -> bool:  # noqa: ANN401
        schema = self._root if schema is None else schema
        if isinstance(schema, bool):
            return schema
        assert set(schema) <= KEYWORDS, set(schema) - KEYWORDS
        if "$ref" in schema:
            name = schema["$ref"].removeprefix("#/$defs/")
            return self.holds(value, self._root["$defs"][name])
        return (
            self._is_value(value, schema)
            and self._is_one_of(value, schema)
            and (not isinstance(value, dict) or self._is_object(value, schema))
            and (not isinstance(value, list) or self._is_array(value, schema))
        )

    def _is_value(self, value: Any, schema: dict[str, Any]) -> bool:  # noqa: ANN401
        kinds = schema.get("type", [])
        kinds = [kinds] if isinstance(kinds, str) else kinds
        is_number = isinstance(value, int | float) and not isinstance(value, bool)
        return (
            (not kinds or any(self._is_type(value, kind) for kind in kinds))
            and ("enum" not in schema or value in schema["enum"])
            and ("const" not in schema or value == schema["const"])
            and (
                "pattern" not in schema
                or not isinstance(value, str)
                or re.search(schema["pattern"], value) is not None
            )
            and (not is_number or schema.get("minimum", value) <= value)
            and (not is_number or value <= schema.get("maximum", value))
        )

    def _is_type(self, value: Any, kind: str) -> bool:  # noqa: ANN401
        if isinstance(value, bool) and kind != "boolean":
            return False
        return isinstance(value, TYPES[kind])

    def _is_one_of(self, value: Any, schema: dict[str, Any]) -> bool:  # noqa: ANN401
        if "anyOf" in schema and not any(self.holds(value, one) for one in schema["anyOf"]):
            return False
        return "oneOf" not in schema or sum(self.holds(value, one) for one in schema["oneOf"]) == 1

    def _is_object(self, value: dict[str, Any], schema: dict[str, Any]) -> bool:
        properties = schema.get("properties", {})
        others = schema.get("additionalProperties", True)
        return (
            all(name in value for name in schema.get("required", ()))
            and all(self.holds(item, properties.get(name, others)) for name, item in value.items())
            and schema.get("minProperties", 0) <= len(value)
            and len(value) <= schema.get("maxProperties", len(value))
        )

    def _is_array(self, value: list[Any], schema: dict[str, Any]) -> bool:
        first = schema.get("prefixItems", [])
        return (
            schema.get("minItems", 0) <= len(value) <= schema.get("maxItems", len(value))
            and all(self.holds(item, one) for item, one in zip(value, first, strict=False))
            and all(self.holds(item, schema.get("items", True)) for item in value[len(first) :])
        )


@pytest.fixture(scope="module")
def validator() -> Validator:
    return Validator(json.loads(SCHEMA.read_text()))


def test_the_schema_in_docs_is_fresh() -> None:
    command = "python -m swimnomad.scenario.schema > docs/scenario.schema.json"
    assert SCHEMA.read_text() == schema_text(), f"write it anew: {command}"
    assert json.loads(SCHEMA.read_text())["$schema"] == DIALECT


@pytest.mark.parametrize("path", SCENARIOS, ids=lambda path: path.stem)
def test_every_shipped_scenario_is_valid(path: Path, validator: Validator) -> None:
    assert validator.holds(yaml.safe_load(path.read_text()))


EXPECT = "expect: [{converged: }]\n"


@pytest.mark.parametrize(
    "text",
    [
        "cluster: {nodes: [a, b], profile: lan, start: converged}\n" + EXPECT,
        "cluster: {regions: {eu: 3}, overrides: {probe_interval: 1s, buddy: false}}\n" + EXPECT,
        "network: {latency: {uniform: [1ms, 5ms]}, links: [{between: [a, b], mtu: 9}]}\n" + EXPECT,
        "network: {links: {from: a, to: b, bandwidth: {rate: 1MB}, loss: 0.5}}\n" + EXPECT,
        "steps: [{kill: node-1}, {heal: }, {at: 5s, loss: 10%}, {churn: }]\n" + EXPECT,
        "steps: [{after: {status: {of: a, as: failed}}, latency: 5ms}]\n" + EXPECT,
        "steps: [{skew: {target: a, jump: -5s}, after: converged}]\n" + EXPECT,
        "steps: [{repeat: {times: 2, steps: [{pause: a}]}}]\n" + EXPECT,
        "steps: [{latency: {delay: {shuffled: [1ms, 2ms]}}}]\n" + EXPECT,
        "network: {latency: {trace: traces/line.txt}}\n" + EXPECT,
        "cluster: {labels: {red: a, blue: [b, c]}}\n" + EXPECT,
        "steps: [{restart: {target: a, label: red}}, {restart: {target: b, label: ''}}]\n" + EXPECT,
        "expect: [{detected: , within: bound, of: x}, {agree: , at: end}]\n",
    ],
)
def test_what_the_format_allows_is_valid(text: str, validator: Validator) -> None:
    assert validator.holds(yaml.safe_load(text))


@pytest.mark.parametrize(
    "text",
    [
        "name: x\n",
        "expect: []\n",
        "colour: red\n" + EXPECT,
        "cluster: {profile: fast}\n" + EXPECT,
        "cluster: {overrides: {probe_intervall: 1s}}\n" + EXPECT,
        "cluster: {overrides: {label: red}}\n" + EXPECT,
        "cluster: {labels: red}\n" + EXPECT,
        "steps: [{explode: node-1}]\n" + EXPECT,
        "steps: [{kill: node-1, pause: node-2}]\n" + EXPECT,
        "steps: [{kill: }]\n" + EXPECT,
        "steps: [{at: 5, kill: a}]\n" + EXPECT,
        "steps: [{loss: 10 percent}]\n" + EXPECT,
        "steps: [{query: x}]\n" + EXPECT,
        "steps: [{latency: {delay: {uniform: [1ms]}}}]\n" + EXPECT,
        "network: {loss: 5}\n" + EXPECT,
        "network: {latency: {trace: {file: line.txt}}}\n" + EXPECT,
        "expect: [{status: {of: a, as: dead}}]\n",
        "expect: [{converged: , within: soon}]\n",
    ],
)
def test_what_the_format_does_not_allow_is_not_valid(text: str, validator: Validator) -> None:
    assert not validator.holds(yaml.safe_load(text))
