"""`swimnomad keygen`: a gossip encryption key."""

from __future__ import annotations

import base64
import os

import click

from swimnomad.cli.options import json_option

KEY_BYTES = 32
"""AES-256, as `nomad operator keygen` makes them."""


@click.command("keygen")
@json_option
def command(*, as_json: bool) -> None:
    """Print a new gossip encryption key.

    It is the base64 of 32 random bytes: give it to every agent as --encrypt.
    """
    key = base64.b64encode(os.urandom(KEY_BYTES)).decode()
    if as_json:
        from swimnomad.cli.output import echo_json

        echo_json({"Key": key})
    else:
        click.echo(key)
