"""From a step that makes links worse to the faults of each node, so that every backend does alike.

A step concerns the links between its targets and their peers. The fault stands at the targets, on
what they receive and what they send; but a link between two targets must not be made worse twice,
so sending is left alone where the receiver is a target, too.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import msgspec

from swimnomad.faults import LinkFault, partition_faults
from swimnomad.names import Value
from swimnomad.scenario.model import (
    BlockArgs,
    CorruptArgs,
    DuplicateArgs,
    LatencyArgs,
    LinkArgs,
    LossArgs,
    PartitionArgs,
    ReorderArgs,
)


class LinkRule(Value, frozen=True):
    """A step on links with its nodes chosen: what must be at which node until it is healed."""

    args: LinkArgs | PartitionArgs
    targets: tuple[str, ...]
    peers: tuple[str, ...]
    """Never empty; with the others of a partition, or all nodes."""
    is_cut: bool
    """Whether it can make healthy nodes unreachable for each other."""

    def faults(self, host_of: Callable[[str], str]) -> dict[tuple[str, str], LinkFault]:
        """Node and suffix of the fault's name to fault; addresses as they are now."""
        if isinstance(self.args, PartitionArgs):
            found = partition_faults(
                {name: host_of(name) for name in self.targets},
                {name: host_of(name) for name in self.peers},
                one_way=self.args.one_way,
            )
            return {(name, "cut"): fault for name, fault in found.items()}
        template = _template(self.args)
        faults: dict[tuple[str, str], LinkFault] = {}
        for name in self.targets:
            others = [peer for peer in self.peers if peer != name]
            outside = [peer for peer in others if peer not in self.targets]
            if self.args.direction in ("in", "both"):
                self._add(faults, name, "in", others, template, host_of)
            if self.args.direction == "out":
                self._add(faults, name, "out", others, template, host_of)
            elif self.args.direction == "both":
                self._add(faults, name, "out", outside, template, host_of)
        return faults

    def _add(
        self,
        faults: dict[tuple[str, str], LinkFault],
        name: str,
        direction: str,
        peers: Sequence[str],
        template: LinkFault,
        host_of: Callable[[str], str],
    ) -> None:
        if peers:  # no hosts would mean all hosts
            hosts = tuple(host_of(peer) for peer in peers)
            faults[name, direction] = msgspec.structs.replace(
                template, hosts=hosts, direction=direction
            )


def _template(args: LinkArgs) -> LinkFault:
    match args:
        case LossArgs(share=share):
            return LinkFault(transport="udp", loss=share)
        case DuplicateArgs(share=share):
            return LinkFault(transport="udp", duplicate=share)
        case ReorderArgs(share=share, delay=delay):
            return LinkFault(transport="udp", reorder=share, reorder_delay=delay)
        case CorruptArgs(share=share):
            return LinkFault(transport="udp", corrupt=share)
        case LatencyArgs(delay=latency, transport=transport):
            return LinkFault(transport=transport, latency=latency)
        case BlockArgs(transport=transport):
            return LinkFault(transport=transport, blocked=True)
        case _:
            raise AssertionError(f"no fault for {type(args).__name__}")
