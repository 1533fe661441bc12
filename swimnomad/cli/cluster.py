"""`swimnomad cluster`: agents as processes on this machine."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from swimnomad.cli.failures import OPERATION_FAILED
from swimnomad.cli.options import json_option, option

if TYPE_CHECKING:
    from collections.abc import Sequence

    from swimnomad.live.cluster import ClusterSpec, LocalCluster, NodeStatus

NODES_MAX = 250
HEADINGS = ("Node", "Process", "State", "HTTP API", "Gossip", "Sees alive")


@click.group("cluster")
def command() -> None:
    """Start, show and stop a cluster of agents on this machine."""


def _check_profile(_ctx: click.Context, _param: click.Parameter, name: str) -> str:
    from swimnomad.swim.config import PROFILES

    if name not in PROFILES:
        raise click.BadParameter(f"unknown profile {name!r}: allowed are {', '.join(PROFILES)}")
    return name


@command.command("up")
@option(
    "-n",
    "--nodes",
    type=click.IntRange(1, NODES_MAX),
    default=5,
    show_default=True,
    metavar="N",
    help=f"How many agents, 1 to {NODES_MAX}.",
)
@option(
    "--profile",
    default="local",
    show_default=True,
    metavar="NAME",
    callback=_check_profile,
    help="Gossip timings: lan, wan, local, nomad or paper.",
)
@option(
    "--base",
    default="127.0.0.1",
    show_default=True,
    metavar="IP",
    help="Address of the first agent; the others follow.",
)
@option("--allow-faults", is_flag=True, help="Open fault injection at every agent.")
@option("--detach", is_flag=True, help="Return when all agents see each other; leave them running.")
def up(*, nodes: int, profile: str, base: str, allow_faults: bool, detach: bool) -> int:
    """Start agents s1, s2, ... and let them join and elect a leader.

    The leader keeps failed servers in its region until they are forced out (force-leave).

    Without --detach the cluster lives until Ctrl-C. There is one cluster at a time; it is
    remembered for `status` and `down`.
    """
    import trio

    from swimnomad.live.cluster import ClusterSpec
    from swimnomad.live.places import plan_places

    plan_places(base, nodes)  # a base that cannot be is bad usage, said before anything starts
    spec = ClusterSpec(nodes, profile, base, allow_faults=allow_faults, elects=True)
    return trio.run(_up, spec, detach)


@command.command("status")
@json_option
def status(*, as_json: bool) -> None:
    """Show every agent of the cluster.

    Its process, state and addresses, and how many members it sees alive.
    """
    import trio

    cluster = _find()
    nodes = trio.run(cluster.status)
    if not as_json:
        _echo_nodes(nodes)
        return
    from swimnomad.cli.output import echo_json

    echo_json({"directory": str(cluster.directory), "nodes": [_node_json(node) for node in nodes]})


@command.command("down")
def down() -> None:
    """End every agent of the cluster and forget it.

    They stop without leaving; what does not stop within 5 s is killed.
    """
    import trio

    cluster = _find()
    trio.run(cluster.down)
    click.echo(f"Took down {len(cluster.nodes)} agents")


async def _up(spec: ClusterSpec, detach: bool) -> int:
    import trio

    from swimnomad.cli.interrupts import cancelled_by_signals
    from swimnomad.errors import OperationError, UsageError
    from swimnomad.live.cluster import LocalCluster

    cluster: LocalCluster | None = None
    async with cancelled_by_signals() as interruption:
        try:
            cluster = await LocalCluster.up(spec)
        except UsageError as error:  # in use, or up already: not the fault of the command line
            raise OperationError(str(error), may_have_happened=False) from None
        _echo_nodes(await cluster.status())
        click.echo(f"Logs and data: {cluster.directory / 'nodes'}")
        if not detach:
            click.echo("Ctrl-C takes the cluster down")
            await trio.sleep_forever()
    if not interruption.cancelled_caught:
        return 0
    if cluster is None:
        click.echo("swimnomad cluster up: interrupted; nothing is left running", err=True)
        return OPERATION_FAILED
    await cluster.down()
    click.echo(f"Took down {len(cluster.nodes)} agents")
    return 0


def _find() -> LocalCluster:
    """The cluster that is up.

    Raises:
        OperationError: If none is.
        UsageError: If its state file cannot be understood.
    """
    from swimnomad.errors import OperationError
    from swimnomad.live.cluster import LocalCluster, default_directory
    from swimnomad.live.cluster_state import read_state

    if read_state(default_directory()) is None:
        text = "no cluster is up: start one with `swimnomad cluster up --detach`"
        raise OperationError(text, may_have_happened=False)
    return LocalCluster.find()


def _echo_nodes(nodes: Sequence[NodeStatus]) -> None:
    from rich.text import Text

    from swimnomad.cli.output import echo_table

    styles = {"running": "green", "paused": "yellow", "stopped": "bold red"}
    echo_table(
        HEADINGS,
        [
            (
                node.name,
                "-" if node.pid is None else str(node.pid),
                Text(node.condition, style=styles[node.condition]),
                f"http://{node.place.http}",
                str(node.place.serf),
                "-" if node.alive_seen is None else str(node.alive_seen),
            )
            for node in nodes
        ],
    )


def _node_json(node: NodeStatus) -> dict[str, object]:
    return {
        "name": node.name,
        "pid": node.pid,
        "state": node.condition,
        "http": f"http://{node.place.http}",
        "gossip": str(node.place.serf),
        "alive_seen": node.alive_seen,
    }
