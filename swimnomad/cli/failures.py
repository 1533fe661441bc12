"""What went wrong, as one sentence and an exit status."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import click

from swimnomad.errors import OperationError, SwimnomadError, UsageError

OPERATION_FAILED = 1
BAD_USAGE = 2


class QuestionFailed(SwimnomadError):
    """An agent could not be asked, or refused to answer. Questions change nothing."""


class CheckFailed(SwimnomadError):
    """The command did its work, and what it was to make sure of is not so."""


class NotWritten(SwimnomadError):
    """The command did its work, and what came out could not be written where it was wanted."""


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Say which file could not be written, and why.

    Raises:
        NotWritten: In place of an `OSError`.
    """
    try:
        yield
    except OSError as error:
        why = (error.strerror or str(error)).lower()
        raise NotWritten(f"{path} cannot be written: {why}") from None


def exit_status(error: Exception) -> int | None:
    """The exit status that `error` stands for; None for our own mistakes (let them be seen)."""
    match error:
        case click.UsageError() | click.FileError() | UsageError():
            return BAD_USAGE
        case click.ClickException() | click.Abort() | SwimnomadError():
            return OPERATION_FAILED
        case _:
            return None


def describe(error: Exception, words: Sequence[str] = ()) -> str:
    """One sentence for standard error: which command, what was wrong, what is allowed.

    Args:
        error: One that has an exit status.
        words: The command line, for what Click has cut out of it.
    """
    match error:
        case click.exceptions.NoArgsIsHelpError():
            return error.format_message()
        case click.UsageError():
            command = error.ctx.command_path if error.ctx else "swimnomad"
            return f"{command}: {_usage_text(error, words)}"
        case click.ClickException():
            return f"swimnomad: {error.format_message()}"
        case click.Abort():
            return "swimnomad: interrupted; what was under way may or may not have happened"
        case OperationError(may_have_happened=True):
            return f"swimnomad: {error} (outcome unknown: it may have happened)"
        case OperationError():
            return f"swimnomad: {error} (certainly not done)"
        case _:
            return f"swimnomad: {error}"


def _usage_text(error: click.UsageError, words: Sequence[str]) -> str:
    """Click's words, with what is allowed where Click does not name it, as one line."""
    match error:
        case click.NoSuchOption(ctx=click.Context() as ctx):
            allowed = [o for p in ctx.command.get_params(ctx) for o in p.opts if o.startswith("--")]
            # Click reads `-nope` as `-n -o -p -e` and names only the first.
            named = next((w for w in words if w.startswith(error.option_name)), error.option_name)
            text = f"unknown option {named}: allowed are {', '.join(allowed)}"
        case click.NoSuchCommand(ctx=click.Context(command=click.Group() as group) as ctx):
            known = ", ".join(group.list_commands(ctx))
            text = f"unknown command {error.command_name!r}: allowed are {known}"
        case click.MissingParameter(param=click.Argument() as argument):
            text = f"{argument.make_metavar(error.ctx or _BARE)} is missing"
        case click.MissingParameter(param=click.Option() as option):
            text = f"{max(option.opts, key=len)} is missing"
        case click.BadParameter(param=click.Parameter() as parameter):
            is_option = isinstance(parameter, click.Option)
            text = (
                f"{max(parameter.opts, key=len) if is_option else parameter.name}: {error.message}"
            )
        case _:
            text = error.format_message()
    return " ".join(text.split()).removesuffix(".")


_BARE = click.Context(click.Command("swimnomad"))
