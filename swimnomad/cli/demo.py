"""`swimnomad demo`: five agents, and what they believe about each other while things happen."""

from __future__ import annotations

import click

from swimnomad.cli.options import option


@click.command("demo")
@option("--base", metavar="IP", help="First of five neighbouring addresses. [default: one free]")
def command(*, base: str | None) -> int:
    """Watch five agents notice a crash, a leave and a return.

    Five agents start as processes on loopback. One is killed, then forced out; another leaves; the
    killed one comes back. Every step must be seen by every live agent: exit status 0 if it was, 1
    if not. Takes about 25 s at a terminal, a minute at most; nothing is left running.
    """
    import trio

    from swimnomad.cli.story.show import show

    return trio.run(show, base)
