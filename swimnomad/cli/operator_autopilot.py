"""`swimnomad operator autopilot`: how the leader looks after the servers."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from swimnomad.cli.options import Decorator, agent_options, option

if TYPE_CHECKING:
    from rich.text import Text

    from swimnomad.cli.answers import RegionHealth, ServerHealth
    from swimnomad.cli.client import AgentClient

CONFIGURATION = "/v1/operator/autopilot/configuration"
INDEXES = ("CreateIndex", "ModifyIndex")
HEALTH_HEADINGS = (
    *("Node", "ID", "Address", "SerfStatus", "Version", "State", "Voter", "Healthy"),
    *("LastContact", "LastTerm", "LastIndex", "StableSince"),
)


@click.group("autopilot")
def group() -> None:
    """Show and change how the leader looks after the servers."""


@group.command("get-config")
@agent_options
def get_config(*, agent: AgentClient, as_json: bool) -> None:
    """Show what autopilot was told."""
    from swimnomad.cli.output import go_text

    answer = agent.ask(CONFIGURATION)
    if as_json:
        click.echo(answer.text())
        return
    for name, value in answer.read(dict[str, str | bool | int]).items():
        if name not in INDEXES:
            click.echo(f"{name} = {go_text(value)}")


def _switch(name: str, about: str) -> Decorator:
    """An option that is true, false, or not given; alone it is true, as Go's flags are."""
    words = click.Choice(["true", "false"], case_sensitive=False)
    return option(name, type=words, is_flag=False, flag_value="true", help=about)


def _text(name: str, about: str) -> Decorator:
    return option(name, metavar="DURATION", help=about)


def _count(name: str, about: str) -> Decorator:
    return option(name, type=click.IntRange(min=0), metavar="N", help=about)


@group.command("set-config")
@_switch("--cleanup-dead-servers", "Force out failed servers, never below the quorum.")
@_text("--last-contact-threshold", "Longest silence of a healthy server, as 200ms.")
@_count("--max-trailing-logs", "Log entries that a healthy server may be behind.")
@_count("--min-quorum", "Servers below which no dead one is removed.")
@_text("--server-stabilization-time", "How long a server is healthy before it votes, as 10s.")
@_switch("--enable-redundancy-zones", "Kept, without effect: of Nomad Enterprise.")
@_switch("--disable-upgrade-migration", "Kept, without effect: of Nomad Enterprise.")
@_switch("--enable-custom-upgrades", "Kept, without effect: of Nomad Enterprise.")
@agent_options
def set_config(*, agent: AgentClient, as_json: bool, **given: str | int | None) -> None:
    """Change what autopilot is told.

    What is not given stays. If somebody else changes it at the same time, nothing is done.
    """
    from swimnomad.errors import OperationError

    changes = {_key(name): _value(value) for name, value in given.items() if value is not None}
    if not changes:
        raise click.UsageError("nothing to change is given: at least one of the options is needed")
    config = agent.ask(CONFIGURATION).read(dict[str, str | bool | int]) | changes
    index = str(config.get("ModifyIndex", 0))
    answer = agent.order(CONFIGURATION, [("cas", index)], body=config)
    if as_json:
        click.echo(answer.text())
    if not answer.read(bool):
        raise OperationError(
            "set-config: the configuration was changed by somebody else meanwhile: try again",
            may_have_happened=False,
        )
    if not as_json:
        click.echo("Configuration updated")


def _key(name: str) -> str:
    """`min_quorum` as the agent spells it: `MinQuorum`."""
    return name.title().replace("_", "")


def _value(value: str | int) -> str | bool | int:
    return value == "true" if value in ("true", "false") else value


@group.command("health")
@agent_options
def health(*, agent: AgentClient, as_json: bool) -> None:
    """Show how the servers are, as the leader sees them.

    Exit status 0 if all are healthy, 1 if one is not. All must speak Raft protocol 3
    (`raft_protocol = 3` in the `server` block).
    """
    from swimnomad.cli.answers import RegionHealth
    from swimnomad.cli.failures import CheckFailed

    answer = agent.ask("/v1/operator/autopilot/health", accept=(429,))
    region = answer.read(RegionHealth)
    if as_json:
        click.echo(answer.text())
    else:
        _describe(region)
    if not region.healthy:
        sick = [server.name for server in region.servers or () if not server.healthy]
        raise CheckFailed(f"health: not healthy: {', '.join(sick) or 'the region'}")


def _describe(region: RegionHealth) -> None:
    from swimnomad.cli.output import echo_pairs, echo_table

    echo_pairs([("Healthy", region.healthy), ("FailureTolerance", region.failure_tolerance)])
    click.echo()
    echo_table(HEALTH_HEADINGS, map(_row, region.servers or ()))


def _row(server: ServerHealth) -> tuple[str | Text, ...]:
    from swimnomad.cli.output import go_text, styled

    return (
        server.name,
        server.id,
        server.address,
        styled(server.serf_status),
        server.version,
        "leader" if server.leader else "follower",
        go_text(server.voter),
        go_text(server.healthy),
        server.last_contact,
        str(server.last_term),
        str(server.last_index),
        server.stable_since,
    )
