"""Options as all commands share them: Nomad's single-dash spelling, and how to reach an agent."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from click.parser import _OptionParser

    from swimnomad.cli.client import AgentClient

DEFAULT_ADDRESS = "http://127.0.0.1:4646"

Decorator = Callable[[Callable[..., object]], Callable[..., object]]


class NomadOption(click.Option):
    """An option that also answers to one dash (`-node` beside `--node`), as Nomad's flags do.

    The single-dash form stays out of help texts: one spelling is enough to learn.
    """

    def add_to_parser(self, parser: _OptionParser, ctx: click.Context) -> None:
        """Register both spellings."""
        shown = self.opts
        self.opts = [*shown, *(name[1:] for name in shown if name.startswith("--"))]
        try:
            super().add_to_parser(parser, ctx)
        finally:
            self.opts = shown


option = functools.partial(click.option, cls=NomadOption)


def _check_address(_ctx: click.Context, _param: click.Parameter, value: str) -> str:
    from urllib.parse import urlsplit

    allowed = "allowed is http://HOST:PORT or https://HOST:PORT"
    try:
        parts = urlsplit(value)
        port = parts.port
    except ValueError:
        raise click.BadParameter(f"{value!r} is not the address of an agent: {allowed}") from None
    beyond = parts.path.strip("/") or parts.query or parts.fragment or parts.username
    if parts.scheme not in ("http", "https") or not parts.hostname or port == 0 or beyond:
        raise click.BadParameter(f"{value!r} is not the address of an agent: {allowed}")
    return value.rstrip("/")


def _check_token(_ctx: click.Context, _param: click.Parameter, value: str) -> str:
    if not (value.isascii() and (value.isprintable() or not value)):
        # The value itself stays out of the message: it may be a secret with a stray newline.
        raise click.BadParameter("a token is printable ASCII text (a UUID of 36 characters)")
    return value


_AGENT_OPTIONS: tuple[Decorator, ...] = (
    option(
        "--address",
        envvar="NOMAD_ADDR",
        default=DEFAULT_ADDRESS,
        show_default=True,
        metavar="URL",
        callback=_check_address,
        help="HTTP API of the agent to ask; also NOMAD_ADDR.",
    ),
    option(
        "--token",
        envvar="NOMAD_TOKEN",
        default="",
        metavar="UUID",
        callback=_check_token,
        help="ACL token to send; also NOMAD_TOKEN.",
    ),
    option(
        "--region",
        envvar="NOMAD_REGION",
        default="",
        metavar="NAME",
        help="Region to pass the request on to; also NOMAD_REGION. [default: the agent's]",
    ),
)

json_option = option("--json", "as_json", is_flag=True, help="Print JSON instead of text.")


def agent_options(command: Callable[..., object]) -> Callable[..., object]:
    """Give a command --address, --token, --region and --json.

    The function gets them as `agent` (an open `AgentClient`, closed afterwards) and `as_json`.
    """

    @functools.wraps(command)
    def with_client(*, address: str, token: str, region: str, **rest: object) -> object:
        from swimnomad.cli.client import AgentClient

        agent: AgentClient
        with AgentClient(address, token=token, region=region) as agent:
            return command(agent=agent, **rest)

    decorated: Callable[..., object] = json_option(with_client)
    for add in reversed(_AGENT_OPTIONS):
        decorated = add(decorated)
    return decorated
