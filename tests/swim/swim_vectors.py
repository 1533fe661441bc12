"""The tables of formulas and scripts recorded from the reference."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

FORMULAS = Path(__file__).resolve().parents[1] / "vectors" / "formulas.json"


@cache
def _formulas() -> dict[str, dict[str, Any]]:
    return {vector["name"]: vector for vector in json.loads(FORMULAS.read_bytes())}


def table(name: str) -> list[dict[str, int]]:
    """The rows of a table, each as column name to value."""
    vector = _formulas()[name]
    rows = [dict(zip(vector["columns"], row, strict=True)) for row in vector["rows"]]
    assert rows
    return rows


def scripts(prefix: str) -> list[Any]:
    """What was recorded under each name that begins with `prefix`."""
    found = [v["decoded"] for name, v in sorted(_formulas().items()) if name.startswith(prefix)]
    assert found
    return found
