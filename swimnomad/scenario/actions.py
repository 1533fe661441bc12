"""What each step does: chooses its nodes, keeps the facts true, and asks the backend to act."""

from __future__ import annotations

import random
from collections.abc import Sequence
from functools import partial

from swimnomad.errors import UsageError
from swimnomad.faults import LinkFault
from swimnomad.scenario.agenda import Agenda
from swimnomad.scenario.backend import Backend
from swimnomad.scenario.facts import Facts, Life
from swimnomad.scenario.links import LinkRule, standing_rules
from swimnomad.scenario.model import (
    BlockArgs,
    ChurnArgs,
    ClusterSpec,
    ConflictArgs,
    EventArgs,
    FloodArgs,
    ForceLeaveArgs,
    HealArgs,
    JoinArgs,
    LinkArgs,
    NetworkSpec,
    PartitionArgs,
    RestartArgs,
    SkewArgs,
    StartArgs,
    StarveArgs,
    Step,
    TagsArgs,
    TargetArgs,
)
from swimnomad.scenario.targets import Names, resolve

ANY_LIFE: tuple[Life, ...] = ("running", "paused", "killed", "left")
ROUNDING = 1e-9
JOIN_SEEDS_MAX = 3
"""Running nodes that a started or restarted one is told to join."""


class Actions:
    """Performs the steps of one run."""

    def __init__(
        self,
        cluster: ClusterSpec,
        backend: Backend,
        facts: Facts,
        agenda: Agenda,
        rng: random.Random,
    ) -> None:
        self._cluster = cluster
        self._backend = backend
        self._facts = facts
        self._agenda = agenda
        self._rng = rng
        self._rules: dict[str, LinkRule] = {}
        self._standing: dict[str, LinkRule] = {}
        """Those of the network, which no step heals."""
        self._starved: dict[str, tuple[str, ...]] = {}
        self._skewed: dict[str, tuple[str, ...]] = {}
        """Steps that go on, to their nodes."""
        self._installed: dict[tuple[str, str], LinkFault] = {}

    async def install_network(self, network: NetworkSpec) -> None:
        """Put what the network does to datagrams at the nodes, once they run."""
        self._standing = standing_rules(network, self._cluster.node_regions)
        await self._install_rules()

    async def perform(self, step: Step, place: str) -> tuple[str, ...]:
        """Do one step; return the nodes it acted upon.

        `place` is where the step stands in its file, as `2` or `2.1`: it names the faults of a step
        without an id.

        Raises:
            UsageError: If its nodes are not in a state for it.
            OperationError: If the backend failed to do it.
        """
        match step.args:
            case TargetArgs(target=target):
                return await self._on_processes(step.word, target)
            case StartArgs():
                return await self._start(step.args)
            case RestartArgs():
                return await self._restart(step.args)
            case JoinArgs():
                return await self._join(step.args)
            case ForceLeaveArgs():
                return await self._force_leave(step.args, prune=step.word == "prune")
            case LinkArgs() | PartitionArgs():
                return await self._worsen_links(step.id or f"step-{place}", step.args)
            case HealArgs(step=steps):
                return await self._heal(steps)
            case TagsArgs():
                return await self._set_tags(step.args)
            case EventArgs():
                return await self._send_event(step.args)
            case StarveArgs():
                return await self._starve(step.args, step.id or f"step-{place}", place)
            case SkewArgs():
                return await self._skew(step.args, step.id or f"step-{place}", place)
            case ChurnArgs():
                return self._churn(step.args, f"{place} (churn)")
            case ConflictArgs():
                return await self._conflict(step.args, f"{place} (conflict)")
            case FloodArgs():
                return await self._flood(step.args, f"{place} (flood)")
            case _:
                raise AssertionError(f"no action for {step.word}")

    async def _on_processes(self, word: str, target: Sequence[str]) -> tuple[str, ...]:
        """Kill, pause, resume, leave."""
        backend, facts = self._backend, self._facts
        allowed: tuple[Life, ...] = {
            "kill": ("running", "paused"),
            "pause": ("running",),
            "resume": ("paused",),
            "leave": ("running",),
        }[word]  # type: ignore[assignment]  # the values are lives
        names = self._choose(target, allowed)
        if word == "leave":
            facts.set_lives(backend.now, dict.fromkeys(names, "left"))
            await backend.leave(names)
            return names
        for name in names:
            # Noted first: with real processes, reports may arrive before the call returns.
            if word == "kill":
                facts.set_lives(backend.now, {name: "killed"})
                await backend.kill(name)
            elif word == "pause":
                facts.set_lives(backend.now, {name: "paused"})
                await backend.pause(name)
            else:
                facts.set_lives(backend.now, {name: "running"})
                await backend.resume(name)
                await self._install_rules()
        return names

    async def _start(self, args: StartArgs) -> tuple[str, ...]:
        for name in args.target:
            if name in self._facts.lives:
                raise UsageError(f"{name} is there already: restart is for dead nodes")
            self._facts.set_label(name, self._cluster.label_of(name))
            seeds = self._seeds(name) if args.join else []
            self._facts.set_lives(self._backend.now, {name: "running"})
            await self._backend.start(name, args.region, seeds)
            await self._install_rules()
        return args.target

    async def _restart(self, args: RestartArgs) -> tuple[str, ...]:
        names = self._choose(args.target, ("killed", "left"))
        for name in names:
            self._forget_faults(name)
            if args.label is not None:
                self._facts.set_label(name, args.label)
            seeds = self._seeds(name) if args.join else []
            self._facts.set_lives(self._backend.now, {name: "running"})
            await self._backend.restart(
                name,
                same_data=args.data == "same",
                new_address=args.address == "new",
                join=seeds,
                label=args.label,
            )
            # A new process has no faults, and may have an address that the rules do not know.
            await self._install_rules()
        return names

    async def _join(self, args: JoinArgs) -> tuple[str, ...]:
        names = self._choose(args.target, ("running",))
        facts = self._facts
        near = facts.running_with(names[0]) if names and not args.to else facts.running
        others = [name for name in near if name not in names]
        to = resolve(args.to or ("random",), list(facts.lives), others, self._rng)
        await self._backend.join(names, to)
        return names

    async def _force_leave(self, args: ForceLeaveArgs, *, prune: bool) -> tuple[str, ...]:
        names = self._choose(args.target, ANY_LIFE)
        for name in names:
            near = self._facts.running if args.by else self._facts.running_with(name)
            others = [one for one in near if one != name]
            by = resolve((args.by or "random",), list(self._facts.lives), others, self._rng)[0]
            if by not in others:
                raise UsageError(f"{by} does not run, or is the node to be declared left")
            await self._backend.force_leave(by, name, prune=prune)
        return names

    async def _worsen_links(self, rule: str, args: LinkArgs | PartitionArgs) -> tuple[str, ...]:
        everybody = tuple(self._facts.lives)
        first = args.side if isinstance(args, PartitionArgs) else args.target
        second = args.against if isinstance(args, PartitionArgs) else args.peers
        is_cut = isinstance(args, PartitionArgs | BlockArgs)
        targets = tuple(resolve(first, everybody, everybody, self._rng))
        eligible = [
            name for name in everybody if not isinstance(args, PartitionArgs) or name not in targets
        ]
        peers = tuple(resolve(second, everybody, eligible, self._rng))
        self._rules[rule] = LinkRule(args, targets, peers, is_cut)
        if is_cut:
            self._facts.disturb(targets + peers)
        await self._install_rules()
        return targets

    async def _heal(self, steps: Sequence[str]) -> tuple[str, ...]:
        healed = [
            self._rules.pop(rule) for rule in steps or tuple(self._rules) if rule in self._rules
        ]
        still_cut = {
            name: None
            for rule in self._rules.values()
            if rule.is_cut
            for name in rule.targets + rule.peers
        }
        await self._install_rules()
        await self._heal_nodes(steps)
        names = {name: None for rule in healed for name in rule.targets + rule.peers}
        calmed = [name for name in names if name not in still_cut]
        running = [name for name in calmed if self._facts.lives[name] != "paused"]
        self._facts.calm(self._backend.now, running)
        return tuple(names)

    async def _heal_nodes(self, steps: Sequence[str]) -> None:
        """Feed the starved and set the clocks right, of some steps or all."""
        for step in steps or tuple(self._starved):
            for name in self._starved.pop(step, ()):
                if self._facts.lives[name] in ("running", "paused"):
                    await self._backend.feed(name)
        for step in steps or tuple(self._skewed):
            for name in self._skewed.pop(step, ()):
                await self._backend.skew(name, rate=1.0, jump=0.0, drift=0.0, every=0.0)

    async def _starve(self, args: StarveArgs, rule: str, place: str) -> tuple[str, ...]:
        names = self._choose(args.target, ("running",))
        for name in names:
            await self._backend.starve(name, args.delay)
        self._starved[rule] = names
        self._end_later(args.lasting, rule, f"{place} (starve)")
        return names

    async def _skew(self, args: SkewArgs, rule: str, place: str) -> tuple[str, ...]:
        names = self._choose(args.target, ANY_LIFE)
        for name in names:
            await self._backend.skew(
                name, rate=args.rate, jump=args.jump, drift=args.drift, every=args.every
            )
        if args.rate is not None or args.drift:
            self._skewed[rule] = names
            self._end_later(args.lasting, rule, f"{place} (skew)")
        return names

    def _end_later(self, lasting: float | None, rule: str, step: str) -> None:
        if lasting is not None:
            end = self._backend.now + lasting
            self._agenda.add(end, step, partial(self._heal_nodes, (rule,)))

    async def _install_rules(self) -> None:
        """Bring the faults at all running nodes in line with the rules in force.

        A paused node cannot be told; `resume` comes here again.
        """
        lives, installed = self._facts.lives, self._installed
        everybody, host_of = tuple(lives), self._backend.host_of
        wanted = {
            (node, f"{rule_name}.{suffix}"): fault
            for rule_name, rule in (*self._standing.items(), *self._rules.items())
            for (node, suffix), fault in rule.faults(host_of, everybody).items()
            if lives[node] == "running"
        }
        for node, name in list(installed):
            if (node, name) not in wanted and lives[node] == "running":
                await self._backend.clear_fault(node, name)
                del installed[node, name]
        for key, fault in wanted.items():
            if installed.get(key) != fault:
                await self._backend.set_fault(*key, fault)
                installed[key] = fault

    def _forget_faults(self, node: str) -> None:
        """The node's process is dead, and its faults with it."""
        self._installed = {key: fault for key, fault in self._installed.items() if key[0] != node}

    async def _set_tags(self, args: TagsArgs) -> tuple[str, ...]:
        names = self._choose(args.target, ("running",))
        for name in names:
            await self._backend.set_tags(name, args.set, args.remove)
        return names

    async def _send_event(self, args: EventArgs) -> tuple[str, ...]:
        names = self._choose(args.target, ("running",))
        for name in names:
            await self._backend.send_event(name, args.name, args.payload.encode())
        return names

    def _churn(self, args: ChurnArgs, step: str) -> tuple[str, ...]:
        """Plan every departure now; who it is, is drawn when it happens."""
        names = self._choose(args.target, ANY_LIFE)
        start = self._backend.now
        # Counted, since adding up floats would lose the last turn now and then.
        for turn in range(1, int(args.lasting / args.every + ROUNDING) + 1):
            self._agenda.add(start + turn * args.every, step, partial(self._depart, args, step))
        return names

    async def _depart(self, args: ChurnArgs, step: str) -> None:
        running = self._facts.running
        meant = Names(args.target)
        candidates = [name for name in running if name in meant]
        if not candidates or len(running) < 2:
            return
        name = self._rng.choice(candidates)
        await self._on_processes(args.how, (name,))
        back = self._backend.now + args.down
        self._agenda.add(back, step, partial(self._return, name, args))

    async def _return(self, name: str, args: ChurnArgs) -> None:
        # A step may have seen to the node in the meantime.
        life = self._facts.lives[name]
        if args.how == "pause":
            if life == "paused":
                await self._on_processes("resume", (name,))
        elif life in ("killed", "left"):
            await self._restart(RestartArgs((name,), data=args.data))

    async def _conflict(self, args: ConflictArgs, step: str) -> tuple[str, ...]:
        names = self._choose(args.target, ("running",))
        for name in names:
            # Which of the two the others believe in is for them to find out.
            self._facts.disturb((name,))
            await self._backend.start_twin(name, self._seeds(name))
            if args.lasting is not None:
                end = self._backend.now + args.lasting
                self._agenda.add(end, step, partial(self._end_conflict, name))
        return names

    async def _end_conflict(self, name: str) -> None:
        await self._backend.kill_twin(name)
        self._facts.calm(self._backend.now, (name,))

    async def _flood(self, args: FloodArgs, step: str) -> tuple[str, ...]:
        names = self._choose(args.target, ANY_LIFE)
        rng = random.Random(self._rng.getrandbits(64))
        for name in names:
            await self._backend.flood(name, args.rate, args.size, args.lasting, rng)
        self._agenda.add(self._backend.now + args.lasting, step, _nothing)
        return names

    def _choose(self, targets: Sequence[str], lives: Sequence[Life]) -> tuple[str, ...]:
        """The nodes meant, all in one of the given states."""
        facts = self._facts
        eligible = [name for name, life in facts.lives.items() if life in lives]
        names = resolve(targets, list(facts.lives), eligible, self._rng)
        for name in names:
            if name not in eligible:
                allowed = " or ".join(lives)
                raise UsageError(f"{name} is {facts.lives[name]}; it must be {allowed}")
        return tuple(names)

    def _seeds(self, name: str) -> list[str]:
        """Whom a booting node joins: the first few that run in its cluster."""
        return self._facts.running_with(name)[:JOIN_SEEDS_MAX]


async def _nothing() -> None:
    """The run lasts until here; there is nothing to do."""
