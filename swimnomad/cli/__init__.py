"""The command line: one file a subcommand, each loaded when it is called.

Exit status: 0 done (for `run`: every check held), 1 the operation or a check failed or its
outcome is unknown, 2 bad usage or a bad file. Errors are one sentence on standard error.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

import click

from swimnomad.cli.failures import OPERATION_FAILED, describe, exit_status


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command line and return the exit status.

    Args:
        arguments: Words after the program's name; None takes those of the process.
    """
    from swimnomad.cli.root import root

    words = sys.argv[1:] if arguments is None else list(arguments)
    try:
        outcome = root.main(args=words, prog_name="swimnomad", standalone_mode=False)
        sys.stdout.flush()
    except BrokenPipeError:
        # The reader (`| head`) has gone. Python would complain once more when it flushes at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return OPERATION_FAILED
    except Exception as error:
        if (status := exit_status(error)) is None:
            raise
        click.echo(describe(error, words), err=True)
        return status
    return outcome if isinstance(outcome, int) else 0
