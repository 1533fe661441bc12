"""The house rules of the design: imports, what the core never touches, how big things get."""

from __future__ import annotations

import ast
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "swimnomad"
SOURCES = sorted(PACKAGE.rglob("*.py"))

SHARED = {"names", "errors", "faults"}
CORE = {"wire", "swim", "serf", "raft"}
MAY_IMPORT = {
    "wire": set(),
    "swim": {"wire"},
    "serf": {"wire", "swim"},
    "raft": set(),
    "nomad": {"wire", "swim", "serf", "raft"},
    "journal": {"wire", "swim", "serf", "nomad"},
    "sim": {"wire", "swim", "serf", "raft", "nomad", "journal"},
    "tls": {"nomad"},
    "rpc": {"wire", "serf", "raft", "nomad", "tls"},
    "http": {"swim", "serf", "nomad", "tls"},
    "live": {"wire", "swim", "serf", "raft", "nomad", "journal", "tls", "rpc", "http"},
    "scenario": {"wire", "swim", "serf", "raft", "nomad", "journal", "sim", "live"},
    "explore": {"wire", "swim", "serf", "raft", "nomad", "journal", "sim", "scenario"},
    "cli": {
        "wire",
        "swim",
        "serf",
        "raft",
        "nomad",
        "journal",
        "sim",
        "live",
        "tls",
        "rpc",
        "http",
        "scenario",
        "explore",
        "testing",
    },
    "testing": {"wire", "swim", "serf", "raft", "nomad", "sim", "live", "http", "scenario"},
}
WORLD_MODULES = {"trio", "time", "socket", "asyncio", "threading", "select", "selectors"}
MAY_IMPORT_TRIO = {"live", "rpc", "http", "cli", "testing", "scenario"}
MAY_IMPORT_MSGPACK = {"wire", "rpc"}
FILE_LINES_MAX = 600
FUNCTION_LINES_MAX = 60


def imports_of(path: Path) -> Iterator[tuple[int, str]]:
    """Every module that `path` imports, with its line; relative imports are not used here."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}:{node.lineno} imports relatively"
            yield node.lineno, node.module or ""


def room_of(path: Path) -> str:
    """The room a source file stands in; the file's own name for those at the top."""
    inside = path.relative_to(PACKAGE)
    return inside.parts[0] if len(inside.parts) > 1 else inside.stem


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_a_room_imports_only_the_rooms_below_it(path: Path) -> None:
    room = room_of(path)
    allowed = MAY_IMPORT.get(room)
    for line, module in imports_of(path):
        parts = module.split(".")
        if parts[0] != "swimnomad" or len(parts) == 1 or allowed is None:
            continue
        assert parts[1] in SHARED | allowed | {room}, f"{path}:{line} imports {module}"


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_the_core_touches_no_clock_socket_or_task(path: Path) -> None:
    room = room_of(path)
    for line, module in imports_of(path):
        top = module.split(".")[0]
        if room in CORE | {"nomad", "journal", "sim"} | SHARED:
            assert top not in WORLD_MODULES, f"{path}:{line} imports {module}"
        if top == "msgpack":
            assert room in MAY_IMPORT_MSGPACK, f"{path}:{line} imports msgpack"
        if top == "trio":
            assert room in MAY_IMPORT_TRIO, f"{path}:{line} imports trio"


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_files_and_functions_stay_readable(path: Path) -> None:
    text = path.read_text()
    assert text.count("\n") <= FILE_LINES_MAX, f"{path} is past {FILE_LINES_MAX} lines"
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            lines = (node.end_lineno or node.lineno) - node.lineno + 1
            assert lines <= FUNCTION_LINES_MAX, f"{path}:{node.lineno} {node.name}: {lines} lines"


def test_nothing_tracked_refers_outside_the_project() -> None:
    listing = subprocess.run(
        ["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    outside = re.compile(r"\.\./share[d]|/wor[k]/|/roo[t]/|index-ur[l]|extra-inde[x]")
    for name in filter(None, listing.stdout.split("\0")):
        path = ROOT / name
        if path.suffix == ".json" or not path.is_file():
            continue
        for number, line in enumerate(path.read_text(errors="replace").splitlines(), 1):
            if "no-emit-index-url" in line:
                continue
            assert not outside.search(line), f"{name}:{number}: {line.strip()}"
