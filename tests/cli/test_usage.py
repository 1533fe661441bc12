"""Help, bad usage, and how long it takes to say so."""

from __future__ import annotations

import importlib
import resource
import subprocess
import sys

import pytest

from swimnomad import __version__
from swimnomad.cli.root import LINES
from tests.cli.cli_support import CommandLine

HEAVY = ("rich", "httpx", "trio", "msgspec", "yaml", "hypercorn", "starlette", "cryptography")
HELP_SECONDS_MAX = 0.3


@pytest.fixture
def swimnomad(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> CommandLine:
    return CommandLine(capsys, monkeypatch)


def test_help_lists_every_command_with_its_line(swimnomad: CommandLine) -> None:
    outcome = swimnomad("--help")
    assert (outcome.status, outcome.err) == (0, "")
    width = max(map(len, LINES))
    for name, line in LINES.items():
        assert f"\n  {name.ljust(width)}  {line}\n" in outcome.out


@pytest.mark.parametrize("name", LINES)
def test_help_of_each_command_begins_with_its_line_in_the_table(
    swimnomad: CommandLine, name: str
) -> None:
    for flag in ("--help", "-h"):
        outcome = swimnomad(name, flag)
        assert (outcome.status, outcome.err) == (0, "")
        usage, _, first = outcome.out.splitlines()[:3]
        assert usage.startswith(f"Usage: swimnomad {name} ")
        assert first.strip() == LINES[name]


@pytest.mark.parametrize("name", LINES)
def test_a_command_is_named_as_in_the_table(name: str) -> None:
    module = importlib.import_module(f"swimnomad.cli.{name.replace('-', '_')}")
    assert module.command.name == name


def test_the_version_is_the_packages(swimnomad: CommandLine) -> None:
    assert swimnomad("--version").out == f"swimnomad {__version__}\n"


def test_no_command_prints_the_help_and_is_bad_usage(swimnomad: CommandLine) -> None:
    outcome = swimnomad()
    assert (outcome.status, outcome.out) == (2, "")
    assert outcome.err == swimnomad("--help").out


def test_an_unknown_command_is_answered_with_the_known(swimnomad: CommandLine) -> None:
    swimnomad("membres").assert_usage_error("'membres'", *LINES)


@pytest.mark.parametrize("flag", ["--nope", "-nope", "--nope=3"])
def test_an_unknown_option_is_answered_with_the_known(swimnomad: CommandLine, flag: str) -> None:
    outcome = swimnomad("members", flag)
    outcome.assert_usage_error("swimnomad members:", flag.partition("=")[0], "--address", "--json")


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (["join"], "ADDR... is missing"),
        (["join", ""], "ADDR is empty"),
        (["force-leave"], "NAME is missing"),
        (["force-leave", "a.global", "b.global"], "b.global"),
        (["keygen", "x"], "x"),
        (["servers", "--set"], "--set needs at least one ADDR"),
        (["servers", "127.0.0.1"], "127.0.0.1 is given without --set"),
        (["members", "--address"], "--address"),
        (["members", "--token", "two\nlines"], "--token: a token is printable ASCII"),
    ],
)
def test_bad_usage_is_one_sentence(swimnomad: CommandLine, words: list[str], named: str) -> None:
    swimnomad(*words).assert_usage_error(named)


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1:4646",
        "ftp://127.0.0.1",
        "http://",
        "http://host:0",
        "http://host:99999",
        "http://host:x",
        "http://[::1",
        "http://host/path",
        "http://user@host",
        "",
    ],
)
def test_a_bad_address_is_refused_before_anything_is_asked(
    swimnomad: CommandLine, address: str
) -> None:
    swimnomad("members", "--address", address).assert_usage_error(
        "--address", repr(address), "http://HOST:PORT"
    )
    if address:
        swimnomad.environment.setenv("NOMAD_ADDR", address)
        swimnomad("members").assert_usage_error(repr(address))


def seconds_of(*words: str) -> float:
    """Seconds of processor time that this Python needs for `words`, the least of several runs.

    Not the time on the wall: that is the same on an idle machine, and says nothing on a busy one.
    """
    runs = []
    for _ in range(5):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run([sys.executable, *words], check=True, stdout=subprocess.DEVNULL)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        runs.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
    return min(runs)


def test_help_answers_within_its_time_beyond_bare_python() -> None:
    bare = seconds_of("-c", "pass")
    assert seconds_of("-m", "swimnomad", "--help") - bare < HELP_SECONDS_MAX


@pytest.mark.parametrize(
    "words",
    [
        *(["--help"], ["agent", "-h"], ["cluster", "-h"], ["demo", "-h"], ["run", "-h"]),
        *(["nodes", "-h"], ["operator", "raft", "-h"], ["acl", "token", "create", "-h"]),
        ["keygen"],
    ],
)
def test_help_imports_nothing_heavy(words: list[str]) -> None:
    script = (
        "import sys; from swimnomad.cli import main; main(sys.argv[1:]);"
        "print(*sys.modules, file=sys.stderr)"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, *words], check=True, capture_output=True, text=True
    )
    assert not set(HEAVY) & set(done.stderr.split())


def test_a_reader_that_goes_away_is_no_crash() -> None:
    with subprocess.Popen(
        [sys.executable, "-m", "swimnomad", "--help"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    ) as program:
        assert program.stdout is not None
        assert program.stderr is not None
        program.stdout.close()  # before the program has begun to write
        assert program.stderr.read() == b""
        assert program.wait(timeout=10) == 1
