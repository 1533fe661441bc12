"""`swimnomad agent`: run one agent."""

from __future__ import annotations

from collections.abc import Mapping

import click

from swimnomad.cli.options import option

PORT = click.IntRange(0, 65_535)
COUNT = click.IntRange(min=0)

KEYS = {
    "server": "server.enabled",
    "client": "client.enabled",
    "node": "name",
    "region": "region",
    "dc": "datacenter",
    "bind": "bind_addr",
    "http_port": "ports.http",
    "rpc_port": "ports.rpc",
    "serf_port": "ports.serf",
    "join": "server.server_join.start_join",
    "servers": "client.servers",
    "retry_join": "server.server_join.retry_join",
    "retry_max": "server.server_join.retry_max",
    "retry_interval": "server.server_join.retry_interval",
    "bootstrap_expect": "server.bootstrap_expect",
    "encrypt": "server.encrypt",
    "profile": "gossip.profile",
    "label": "gossip.label",
    "data_dir": "data_dir",
    "leave_on_terminate": "leave_on_terminate",
    "leave_on_interrupt": "leave_on_interrupt",
    "allow_faults": "gossip.allow_faults",
    "allow_any_serf": "gossip.allow_any_serf",
    "journal": "gossip.journal",
    "log_level": "log_level",
    "log_json": "log_json",
}
"""Option -> the key of the configuration file that it sets."""
CLIENT_KEYS = {
    "servers": "client.servers",
    "join": "client.servers",
    "retry_join": "client.server_join.retry_join",
    "retry_max": "client.server_join.retry_max",
    "retry_interval": "client.server_join.retry_interval",
}
"""What some options set with `--client` alone: a client finds servers, it joins no pool."""


def _seconds(_ctx: click.Context, _param: click.Parameter, text: str | None) -> float | None:
    if text is None:
        return None
    from swimnomad.errors import UsageError
    from swimnomad.nomad.durations import parse_duration

    try:
        seconds = parse_duration(text)
    except UsageError as error:
        raise click.BadParameter(str(error)) from None
    if seconds <= 0:
        raise click.BadParameter(f"{text!r} must be above 0, as 30s")
    return seconds


def _listed(
    _ctx: click.Context, _param: click.Parameter, texts: tuple[str, ...]
) -> tuple[str, ...]:
    return tuple(part.strip() for text in texts for part in text.split(",") if part.strip())


def _label(_ctx: click.Context, _param: click.Parameter, text: str | None) -> str | None:
    from swimnomad.errors import UsageError
    from swimnomad.wire.labels import label_bytes

    try:
        label_bytes(text or "")
    except UsageError as error:
        raise click.BadParameter(str(error)) from None
    return text


@click.command("agent")
@option(
    "-c",
    "--config",
    "files",
    multiple=True,
    metavar="FILE|DIR",
    help="HCL or JSON file, or a directory of them; repeatable, later ones win.",
)
@option("--dev", is_flag=True, help="Both roles on loopback, in memory, with debugging open.")
@option("--server", is_flag=True, help="Run the server role.")
@option("--client", is_flag=True, help="Run the client role; alone, the agent does not gossip.")
@option("--node", metavar="NAME", help="Name of this node. [default: the host's]")
@option("--region", metavar="NAME", help="Region of this agent. [default: global]")
@option("--dc", metavar="NAME", help="Datacenter of this agent. [default: dc1]")
@option("--bind", metavar="IP", help="Address to listen on. [default: 127.0.0.1]")
@option("--http-port", type=PORT, metavar="PORT", help="Port of the HTTP API. [default: 4646]")
@option("--rpc-port", type=PORT, metavar="PORT", help="Port of RPC. [default: 4647]")
@option("--serf-port", type=PORT, metavar="PORT", help="Port of gossip. [default: 4648]")
@option(
    "--join",
    multiple=True,
    metavar="ADDR",
    help="Agent to join at the start, which fails if none answers; repeatable. For a client as"
    " --servers.",
)
@option(
    "--servers",
    multiple=True,
    callback=_listed,
    metavar="ADDR,...",
    help="Servers of a client, by their RPC addresses; repeatable.",
)
@option(
    "--retry-join",
    multiple=True,
    metavar="ADDR",
    help="Agent to join, tried until one answers; repeatable.",
)
@option("--retry-max", type=COUNT, metavar="N", help="Retries before giving up; 0 is for ever.")
@option(
    "--retry-interval",
    callback=_seconds,
    metavar="DURATION",
    help="Time between retries, as 500ms or 1m. [default: 30s]",
)
@option("--bootstrap-expect", type=COUNT, metavar="N", help="Number of servers to expect.")
@option("--encrypt", metavar="KEY", help="Gossip key, base64 of 16, 24 or 32 bytes; see keygen.")
@option(
    "--profile",
    metavar="NAME",
    help="Gossip timings: lan, wan, local, nomad or paper. [default: nomad]",
)
@option(
    "--label",
    callback=_label,
    metavar="TEXT",
    help="Gossip only with agents of the same label. [default: none]",
)
@option("--data-dir", metavar="DIR", help="Where identity and keys are kept (absolute path).")
@option("--leave-on-terminate", is_flag=True, help="Leave gracefully on SIGTERM.")
@option("--leave-on-interrupt", is_flag=True, help="Leave gracefully on SIGINT.")
@option("--allow-faults", is_flag=True, help="Open fault injection to the HTTP API.")
@option("--allow-any-serf", is_flag=True, help="Admit members that are no Nomad servers.")
@option("--journal", metavar="FILE", help="Write all that the protocol does, for `replay`.")
@option("--log-level", metavar="LEVEL", help="TRACE, DEBUG, INFO, WARN or ERROR. [default: INFO]")
@option("--log-json", is_flag=True, help="Log JSON, one object a line.")
def command(*, files: tuple[str, ...], dev: bool, **given: object) -> int:
    """Run one agent until it is told to stop.

    Flags win over files. Nomad's spelling with one dash (-node) works too. SIGINT and SIGTERM stop
    the agent at once with status 1, unless it is told to leave first, which ends with status 0.
    """
    from swimnomad.nomad.load import load_config

    flags = flag_settings(given)
    loaded = load_config(files, flags, dev=dev)
    for warning in loaded.warnings:
        click.echo(f"==> {warning}", err=True)
    from swimnomad.live.program import run_agent

    return run_agent(loaded.config, lambda: load_config(files, flags, dev=dev).config)


def flag_settings(given: Mapping[str, object]) -> dict[str, object]:
    """The options that were given, by key; a switch that is off was not given."""
    is_client_only = given.get("client") and not given.get("server")
    keys = {**KEYS, **CLIENT_KEYS} if is_client_only else KEYS
    settings: dict[str, object] = {}
    for name, value in given.items():
        if value is None or value is False or value == ():
            continue
        others = settings.get(keys[name])
        if isinstance(others, tuple) and isinstance(value, tuple):
            value = (*others, *value)
        settings[keys[name]] = value
    return settings
