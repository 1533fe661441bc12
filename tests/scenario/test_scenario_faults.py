"""The steps that go on by themselves, and what a cluster can be told, on the simulator."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from swimnomad.scenario.bounds import convergence_bound
from swimnomad.scenario.facts import Facts
from swimnomad.scenario.loader import load_text
from swimnomad.scenario.model import Scenario
from swimnomad.scenario.result import CheckResult
from swimnomad.scenario.run import run_scenario
from swimnomad.scenario.writing import to_yaml
from swimnomad.sim.world import World


def journal_of(text: str, directory: Path, seed: int = 1) -> list[dict[str, Any]]:
    path = directory / "run.jsonl"
    run_scenario(load_text(text), seed, journal_path=path)
    return [json.loads(line) for line in path.read_text().splitlines()]


def outcomes(text: str, seed: int = 1) -> list[tuple[str, bool]]:
    return [(check.name, check.passed) for check in run_scenario(load_text(text), seed).checks]


def failed_check(text: str) -> CheckResult:
    return next(check for check in run_scenario(load_text(text)).checks if not check.passed)


CHURN = """
cluster: {nodes: 5, profile: local}
steps:
  - {at: 10s, churn: {target: 'node-[1-3]', every: 5s, down: 3s, for: 20s, how: HOW}}
  - {at: 12s, loss: 1%}
  - {at: 40s, heal: , id: calm}
expect:
  - converged:
    within: bound
    of: calm
"""


@pytest.mark.parametrize(
    ("how", "fault"), [("kill", "kill"), ("leave", "stop"), ("pause", "pause")]
)
def test_churn_takes_nodes_down_and_up_while_the_steps_go_on(
    how: str, fault: str, tmp_path: Path
) -> None:
    lines = journal_of(CHURN.replace("HOW", how), tmp_path)
    gone = [(line["time"], line["node"]) for line in lines if line.get("fault") == fault]
    back = [line["time"] for line in lines if line.get("fault") in ("boot", "resume")][-4:]
    assert len(gone) == 4
    assert {node for _, node in gone} <= {"node-1", "node-2", "node-3"}
    if how != "leave":  # which takes seconds
        assert [round(time, 6) for time, _ in gone] == [15.0, 20.0, 25.0, 30.0]
        assert [round(time, 6) for time in back] == [18.0, 23.0, 28.0, 33.0]
    rules = [line["time"] for line in lines if line.get("fault") == "set-fault"]
    assert min(rules) == pytest.approx(12.0)


def test_churn_is_excused_converges_again_and_repeats_from_its_seed() -> None:
    text = CHURN.replace("HOW", "kill") + "  - false-positives: 0\n    always: true\n"
    scenario = load_text(text)
    first, again = run_scenario(scenario, 7), run_scenario(scenario, 7)
    assert first.passed, first.checks
    assert first.journal_sha256 == again.journal_sha256


def test_churn_spares_the_last_node_that_runs(tmp_path: Path) -> None:
    lines = journal_of(
        """
cluster: {nodes: 2, profile: local}
steps:
  - churn: {every: 1s, down: 30s, for: 10s}
expect:
  - false-positives: 0
""",
        tmp_path,
    )
    assert len([line for line in lines if line.get("fault") == "kill"]) == 1


def test_what_goes_wrong_in_the_background_fails_the_step_it_belongs_to() -> None:
    # The node that would be joined is itself declared left by nobody: there is none that answers.
    check = failed_check("""
cluster: {nodes: 3, profile: local}
steps:
  - {after: converged, partition: {side: node-1}}
  - churn: {target: node-1, every: 1s, down: 1s, for: 1s, how: leave}
  - {after: 30s, loss: 5%}
expect:
  - converged:
    at: 60s
""")
    assert check.name in ("step 2 (churn)", "converged")


CONFLICT = """
cluster: {nodes: 4, profile: local}
steps:
  - {after: converged, conflict: {target: node-2, for: 20s}, id: twins}
expect:
  - no-errors:
    at: 15s
  - status: {of: [node-1, node-3], as: alive, seen-by: node-4}
    always: true
    of: twins
"""


def test_two_nodes_of_one_name_are_noticed_and_the_second_goes_away(tmp_path: Path) -> None:
    lines = journal_of(CONFLICT, tmp_path)
    boots = [line for line in lines if line.get("fault") == "boot"]
    assert [line["node"] for line in boots][-1] == "node-2+twin"
    assert len({line["address"] for line in boots}) == 5
    kill = next(line for line in lines if line.get("fault") == "kill")
    assert kill["node"] == "node-2+twin"
    assert kill["time"] == pytest.approx(boots[-1]["time"] + 20.0, abs=1e-6)
    check = failed_check(CONFLICT)
    assert check.name == "no-errors"
    assert "conflict" in check.measured.lower()


def test_a_second_twin_is_refused_while_there_is_one() -> None:
    check = failed_check("""
cluster: {nodes: 3, profile: local}
duration: 1s
steps:
  - conflict: node-1
  - conflict: node-1
expect:
  - false-positives: 0
""")
    assert (check.name, check.measured) == (
        "step 2 (conflict)",
        "there is a second node-1 already",
    )


FLOOD = """
cluster: {nodes: 4, profile: lan}
steps:
  - {after: converged, flood: {target: node-1, rate: 200, size: 300, for: 5s}, id: junk}
expect:
  - converged:
  - false-positives: 0
    always: true
  - no-errors:
"""


def test_a_flood_of_junk_is_counted_as_errors_and_breaks_nothing(tmp_path: Path) -> None:
    assert outcomes(FLOOD) == [("converged", True), ("false-positives", True), ("no-errors", False)]
    lines = journal_of(FLOOD, tmp_path)
    addresses = {line["address"] for line in lines if line.get("fault") == "boot"}
    strange = [
        line
        for line in lines
        if line.get("input") == "DatagramReceived" and line["source"] not in addresses
    ]
    assert 990 <= len(strange) <= 1001
    assert {line["node"] for line in strange} == {"node-1"}
    assert {len(line["data"]) for line in strange} == {600}
    assert strange[-1]["time"] - strange[0]["time"] == pytest.approx(5.0, abs=0.02)


def test_overrides_and_compat_reach_every_node() -> None:
    scenario = load_text("""
cluster:
  nodes: [left, right]
  profile: lan
  compat: upstream
  overrides: {probe_interval: 250ms, suspicion_mult: 2, nack_fraction: 50%, buddy: false,
              suspicion_confirmations: 1, suspicion_min_fixed: ~, reconnect_timeout: 1h,
              cidrs_allowed: [10.0.0.0/8]}
expect:
  - converged:
    at: 1s
""")
    found: dict[str, Any] = {}

    def observe(world: World) -> None:
        for name, host in world.hosts.items():
            if host.core is not None:
                found[name] = host.core

    assert run_scenario(scenario, observe=observe).passed
    assert list(found) == ["left", "right"]
    for core in found.values():
        config = core.serf._context.config
        swim = core.serf.swim._context.config
        assert (swim.probe_interval, swim.suspicion_mult, swim.buddy) == (0.25, 2, False)
        assert (swim.nack_fraction, swim.suspicion_confirmations) == (0.5, 1)
        assert (swim.suspicion_min_fixed, swim.compat) == (None, "upstream")
        assert swim.cidrs_allowed == ("10.0.0.0/8",)
        assert config.reconnect_timeout == 3600.0
    assert load_text(to_yaml(scenario), source=scenario.name) == scenario


def test_overrides_change_the_computed_bound() -> None:
    usual = convergence_bound(5, "lan")
    tuned = convergence_bound(
        5, "lan", 1.0, {"suspicion_mult": 2, "reconnect_interval": 5.0, "gossip_interval": 0.1}
    )
    assert tuned.suspicion_max == usual.suspicion_max / 2
    assert tuned.reconnect == 5.0
    assert tuned.spread == pytest.approx(usual.spread / 2)


def test_faster_probes_find_a_death_sooner() -> None:
    def p50(overrides: str) -> float:
        result = run_scenario(
            load_text(f"""
cluster: {{nodes: 5, profile: lan, overrides: {overrides}}}
steps:
  - {{after: converged, kill: node-5}}
expect:
  - detected:
    within: 60s
""")
        )
        assert result.passed
        assert result.detection.p50_s is not None
        return result.detection.p50_s

    assert p50("{probe_interval: 200ms, probe_timeout: 100ms}") < p50("{}") / 2


def test_a_check_that_never_had_anything_to_look_at_fails() -> None:
    text = """
cluster: {nodes: 3, profile: local}
steps:
  - {after: 1s, kill: [node-1, node-2], id: end}
expect:
  - converged:
  - agree:
  - false-positives: 0
    of: end
  - status: {of: node-1, as: [failed, alive, left], seen-by: node-2}
    of: end
"""
    result = run_scenario(load_text(text))
    assert [(check.passed, check.measured) for check in result.checks][1:] == [
        (False, "there was nothing to look at")
    ] * 3


def test_regions_may_name_their_nodes() -> None:
    scenario: Scenario = load_text("""
cluster: {regions: {eu: [berlin, paris], us: 2}, profile: lan}
steps:
  - {after: converged, kill: berlin}
expect:
  - detected:
    within: 60s
""")
    assert scenario.cluster.node_regions == {
        "berlin": "eu",
        "paris": "eu",
        "us-1": "us",
        "us-2": "us",
    }
    assert run_scenario(scenario).passed


def test_a_cluster_may_begin_converged(tmp_path: Path) -> None:
    text = """
cluster: {nodes: 60, profile: lan, start: converged}
steps:
  - {at: 1s, kill: node-7, id: crash}
expect:
  - converged:
    at: 0s
  - detected:
    within: 60s
    of: crash
  - converged:
    within: bound
    of: crash
  - agree:
  - false-positives: 0
    always: true
"""
    result = run_scenario(load_text(text))
    assert result.passed, result.checks
    assert result.detection.count == 59
    assert not [line for line in journal_of(text, tmp_path) if line.get("input") == "Join"]


def test_a_thousand_nodes_cost_seconds_and_not_minutes() -> None:
    """Facts about a thousand nodes: a change of one life must not look at a million pairs."""
    facts = Facts(10.0)
    names = [f"node-{number}" for number in range(1000)]
    facts.set_lives(0.0, dict.fromkeys(names, "running"))
    facts.all_see_all(0.0)
    asked = 0

    def allowed(observer: str, subject: str) -> frozenset[str] | None:
        nonlocal asked
        asked += 1
        return frozenset(("alive",)) if observer != subject else None

    watch = facts.watch(allowed, 0.0)
    assert (watch.pairs, watch.wrong, asked) == (999_000, 0, 1_000_000)
    facts.set_lives(1.0, {"node-5": "killed"})
    facts.saw(2.0, "node-1", "node-5", "failed")
    assert watch.wrong == 1
    assert asked < 1_005_000
