"""Fill the test column of docs/conformance.md from the tests themselves.

A test that shows a row says so in its docstring's first line: `gossip 40.17`, `serf 35.9` or
`agent C08`, several separated by commas. `--check` changes nothing and fails if the table is stale,
or if a row that is not marked as later has no test.
"""

from __future__ import annotations

import ast
import re
import sys
from collections import defaultdict
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
TABLE = ROOT / "docs" / "conformance.md"
MARK = re.compile(r"\b(gossip 40\.\d+|serf 35\.\d+|agent [A-R]\d\d)\b")
ROW = re.compile(r"^\| (gossip 40\.\d+|serf 35\.\d+|agent [A-R]\d\d) \| (.*) \| (.*) \|$")


def tests_by_row() -> dict[str, list[str]]:
    """Row to the tests that show it, as `path::name`, in the order of the tree."""
    found: dict[str, list[str]] = defaultdict(list)
    for path in sorted((ROOT / "tests").rglob("test_*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                continue
            first_line = (ast.get_docstring(node) or "").split("\n")[0]
            for row in dict.fromkeys(MARK.findall(first_line)):
                found[row].append(f"{path.relative_to(ROOT / 'tests')}::{node.name}")
    return found


def filled(text: str) -> tuple[str, list[str]]:
    """The table with its test column renewed, and the rows that lack a test."""
    tests, missing, lines = tests_by_row(), [], []
    for line in text.splitlines():
        if match := ROW.match(line):
            row, what, cell = match.groups()
            if not cell.startswith("later"):
                names = tests.get(row, [])
                if not names:
                    missing.append(row)
                cell = "<br>".join(f"`{name}`" for name in names)
                line = f"| {row} | {what} | {cell} |"
        lines.append(line)
    return "\n".join(lines) + "\n", missing


def main() -> int:
    """Renew or check the table; exit status 1 if it is stale or a row lacks its test."""
    before = TABLE.read_text()
    after, missing = filled(before)
    for row in missing:
        print(f"{TABLE.name}: no test shows {row}")
    if "--check" in sys.argv[1:]:
        if after != before:
            print(f"{TABLE.name} is stale: run python scripts/conformance.py")
        return int(bool(missing) or after != before)
    TABLE.write_text(after)
    return int(bool(missing))


if __name__ == "__main__":
    sys.exit(main())
