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


def _check_server_name(_ctx: click.Context, _param: click.Parameter, value: str) -> str:
    labels = value.removesuffix(".").split(".")
    if value and not (value.isascii() and all(0 < len(label) < 64 for label in labels)):
        raise click.BadParameter(f"{value!r} is not a name such as server.global.nomad")
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
    option(
        "--ca-cert",
        envvar="NOMAD_CACERT",
        default="",
        metavar="FILE",
        help="Authorities to trust for https; also NOMAD_CACERT. [default: the system's]",
    ),
    option(
        "--client-cert",
        envvar="NOMAD_CLIENT_CERT",
        default="",
        metavar="FILE",
        help="Certificate to show for https; also NOMAD_CLIENT_CERT.",
    ),
    option(
        "--client-key",
        envvar="NOMAD_CLIENT_KEY",
        default="",
        metavar="FILE",
        help="Key of that certificate; also NOMAD_CLIENT_KEY.",
    ),
    option(
        "--tls-server-name",
        envvar="NOMAD_TLS_SERVER_NAME",
        default="",
        metavar="NAME",
        callback=_check_server_name,
        help="Name in the agent's certificate; also NOMAD_TLS_SERVER_NAME. [default: the host]",
    ),
    option(
        "--tls-skip-verify",
        envvar="NOMAD_SKIP_VERIFY",
        is_flag=True,
        help="Believe any certificate; also NOMAD_SKIP_VERIFY.",
    ),
)

stale_option = option("--stale", is_flag=True, help="Any server may answer, leader or not.")

json_option = option("--json", "as_json", is_flag=True, help="Print JSON instead of text.")


def agent_options(command: Callable[..., object]) -> Callable[..., object]:
    """Give a command --address, --token, --region, the options for TLS, and --json.

    The function gets them as `agent` (an open `AgentClient`, closed afterwards) and `as_json`.
    """

    @functools.wraps(command)
    def with_client(
        *,
        address: str,
        token: str,
        region: str,
        ca_cert: str,
        client_cert: str,
        client_key: str,
        tls_server_name: str,
        tls_skip_verify: bool,
        **rest: object,
    ) -> object:
        from swimnomad.cli.client import AgentClient
        from swimnomad.cli.https import Trust

        trust = Trust(ca_cert, client_cert, client_key, tls_skip_verify, tls_server_name)
        agent: AgentClient
        with AgentClient(address, token=token, region=region, trust=trust) as agent:
            return command(agent=agent, **rest)

    decorated: Callable[..., object] = json_option(with_client)
    for add in reversed(_AGENT_OPTIONS):
        decorated = add(decorated)
    return decorated
