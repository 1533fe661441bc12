"""The two pictures of Rapid's paper in which memberlist does not settle: links that fail one way.

1 % of the members are faulty: they lose what comes in, all of it for 20 s and then nothing for
20 s, or 80 % of it all the time. A stable view would be one without them.
"""

from __future__ import annotations

from reproduce.effort import Effort
from reproduce.pool import Pool, settings_of
from reproduce.rows import Measurement
from swimnomad.faults import LinkFault
from swimnomad.names import Value
from swimnomad.swim.events import NodeJoined, NodeLeft

SIZE = 1000
PHASE = 20.0
QUIET = 2.0


class Course(Value, frozen=True):
    """A run: `loss` at what comes in to 1 % of the members; flapping, or for all of `run`."""

    size: int
    loss: float
    is_flapping: bool
    run: float
    seed: str


class Views(Value, frozen=True):
    """What the healthy members' views did.

    `cycles_changed`: cycles of 40 s in which some view changed. `final_removals`: faulty members
    that no healthy one held alive at the end, and that nobody took back in the last third;
    `all_removed`: whether those were all. `false`: failures reported of healthy members.
    """

    cycles: int
    cycles_changed: int
    final_removals: int
    all_removed: bool
    removals: int
    returns: int
    false: int


def watch_views(course: Course) -> Views:
    """Run one course and watch who removes whom and takes whom back."""
    pool = Pool(course.size, settings_of("lan"), course.seed)
    world = pool.world
    faulty = dict.fromkeys(pool.rng.sample(pool.names, max(1, course.size // 100)))
    removed: list[tuple[float, str]] = []
    returned: list[tuple[float, str]] = []
    false = 0

    def note_left(now: float, node: str, event: NodeLeft) -> None:
        nonlocal false
        if node not in faulty:
            if event.name in faulty:
                removed.append((now, event.name))
            else:
                false += 1

    def note_joined(now: float, node: str, event: NodeJoined) -> None:
        if node not in faulty and event.name in faulty:
            returned.append((now, event.name))

    pool.watch(NodeLeft, note_left)
    pool.watch(NodeJoined, note_joined)
    world.run_for(QUIET)
    started = world.now
    fault = LinkFault(direction="in", loss=course.loss, transport="udp")
    blocked = LinkFault(direction="in", blocked=True)
    while world.now < started + course.run:
        for name in faulty:
            world.set_fault(name, "rapid", blocked if course.loss >= 1 else fault)
        world.run_for(PHASE)
        if course.is_flapping:
            for name in faulty:
                world.clear_faults(name, "rapid")
        world.run_for(PHASE)
    cycles = round((world.now - started) / (2 * PHASE))
    changed = {int((at - started) // (2 * PHASE)) for at, _ in (*removed, *returned)}
    calm_since = started + course.run * 2 / 3
    back_late = {name for at, name in returned if at >= calm_since}
    gone = [name for name in faulty if name not in back_late and _is_gone(pool, name, faulty)]
    return Views(
        cycles,
        len([cycle for cycle in changed if cycle < cycles]),
        len(gone),
        len(gone) == len(faulty),
        len(removed),
        len(returned),
        false,
    )


def _is_gone(pool: Pool, name: str, faulty: dict[str, None]) -> bool:
    """Whether no healthy member holds it as alive or suspect."""
    for own_name, node in pool.nodes.items():
        entry = node.table.get(name)
        if own_name not in faulty and entry is not None and entry.is_live:
            return False
    return True


def rapid_views(effort: Effort) -> list[Measurement]:
    """The rows on one-way failures of 1 % of the members."""
    size = effort.pick(SIZE, 200)
    run = float(effort.pick(240, 80))
    flapping = Course(size, 1.0, is_flapping=True, run=run, seed=f"{effort.seed}/flap")
    lossy = Course(size, 0.8, is_flapping=False, run=run, seed=f"{effort.seed}/lossy")
    flap, loss = effort.spread(watch_views, [flapping, lossy])
    trials = f"{size:,} members, {run:g} s, one run"
    shown = f"{flap.cycles_changed} of {flap.cycles} cycles"
    seen = f"{flap.removals:,} removals, {flap.returns:,} returns, {flap.false} false"
    seen_loss = f"{loss.removals:,} removals, {loss.returns:,} returns, {loss.false} false"
    return [
        Measurement("rapid-flapping", flap.cycles_changed / flap.cycles, shown, trials, seen),
        Measurement(
            "rapid-flapping-removed",
            float(flap.all_removed),
            f"{flap.final_removals} for good",
            trials,
        ),
        Measurement(
            "rapid-loss", loss.final_removals, f"{loss.final_removals} for good", trials, seen_loss
        ),
    ]
