"""`swimnomad replay`: one node of a journal once more."""

from __future__ import annotations

from pathlib import Path

import click

from swimnomad.cli.failures import OPERATION_FAILED
from swimnomad.cli.options import json_option, option


@click.command("replay")
@click.argument("journal", type=click.Path(exists=True, dir_okay=False, path_type=Path))
@option("--node", required=True, metavar="NAME", help="The node, as the journal names it.")
@json_option
def command(journal: Path, node: str, *, as_json: bool) -> int:
    """Replay a node from a journal and compare what it does.

    The JOURNAL is of `swimnomad run --journal`. The node's core is made anew from the settings and
    the seed that stand at its boot, is given its inputs again, and must ask for the same effects.
    The first difference is shown with its line, and the exit status is 1.
    """
    from swimnomad.errors import UsageError
    from swimnomad.journal.replay import replay

    try:
        with journal.open(encoding="utf-8") as lines:
            result = replay(lines, node)
    except UnicodeDecodeError:
        raise UsageError(f"{journal}: not a journal: it is not text") from None
    except UsageError as error:
        raise UsageError(f"{journal}: {error}") from None
    difference = result.difference
    if as_json:
        import msgspec

        from swimnomad.cli.output import echo_json

        echo_json({"node": node, "equal": difference is None, **msgspec.to_builtins(result)})
    elif difference is None:
        click.echo(f"{node}: equal, {result.inputs} inputs, {result.effects} effects")
    else:
        click.echo(f"{node}: differs at line {difference.line}, after {result.inputs} inputs")
        click.echo(f"  journal: {difference.expected or 'no such effect'}")
        click.echo(f"  replay:  {difference.found or 'no such effect'}")
    return 0 if difference is None else OPERATION_FAILED
