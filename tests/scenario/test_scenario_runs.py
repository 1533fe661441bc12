from __future__ import annotations

import hashlib
import json
from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console

from swimnomad.errors import UsageError
from swimnomad.scenario.loader import load_text
from swimnomad.scenario.report import print_report
from swimnomad.scenario.result import Result
from swimnomad.scenario.run import run_file, run_scenario
from swimnomad.sim.world import World

RESULT_KEYS = [
    "scenario",
    "backend",
    "seed",
    "passed",
    "checks",
    "wall_seconds",
    "cluster_seconds",
    "nodes",
    "journal_sha256",
    "detection",
    "false_positives",
    "messages",
    "bytes",
]


class Lab:
    """Writes a scenario, runs it on the simulator and keeps the result."""

    def __init__(self, directory: Path) -> None:
        self.path = directory / "lab.yaml"

    def run(self, text: str, seed: int = 1, on: str = "sim") -> Result:
        self.path.write_text(text)
        return run_file(self.path, on=on, seed=seed)

    def verdicts(self, text: str, seed: int = 1) -> list[tuple[str, bool]]:
        return [(check.name, check.passed) for check in self.run(text, seed).checks]


@pytest.fixture
def lab(tmp_path: Path) -> Lab:
    return Lab(tmp_path)


KILL = """
cluster: {nodes: 4, profile: local}
steps:
  - {after: converged, kill: node-4, id: crash}
expect:
  - detected:
    within: WITHIN
    of: crash
"""


def test_the_result_is_the_json_object_of_the_command_line(lab: Lab) -> None:
    result = lab.run(KILL.replace("WITHIN", "60s"), seed=3)
    found = json.loads(result.to_json())
    assert list(found) == RESULT_KEYS
    assert list(found["checks"][0]) == ["name", "passed", "expected", "measured"]
    assert list(found["detection"]) == ["count", "p50_s", "p90_s", "p99_s", "max_s"]
    assert (found["scenario"], found["backend"], found["seed"]) == ("lab", "sim", 3)
    assert (found["passed"], found["nodes"], found["false_positives"]) == (True, 4, 0)
    assert found["detection"]["count"] == 3
    assert 3.0 < found["detection"]["p50_s"] < 20.0
    assert found["wall_seconds"] < found["cluster_seconds"]
    assert found["messages"] > 0
    assert found["bytes"] > found["messages"]


def test_a_check_that_does_not_hold_fails_the_run_and_says_what_was_found(lab: Lab) -> None:
    result = lab.run(KILL.replace("WITHIN", "100ms"))
    assert not result.passed
    assert "none from node-1 about node-4" in result.checks[0].measured


def test_the_journal_is_written_and_its_hash_is_that_of_the_file(lab: Lab, tmp_path: Path) -> None:
    lab.path.write_text(KILL.replace("WITHIN", "60s"))
    journal = tmp_path / "run.jsonl"
    result = run_file(lab.path, seed=2, journal_path=journal)
    assert hashlib.sha256(journal.read_bytes()).hexdigest() == result.journal_sha256
    assert result.journal_sha256 != run_file(lab.path, seed=5).journal_sha256


def test_a_condition_that_never_holds_fails_its_step_and_ends_the_run(lab: Lab) -> None:
    result = lab.run("""
cluster: {nodes: 2, profile: local}
steps:
  - {after: {status: {of: node-2, as: failed}}, timeout: 7s, kill: node-1, id: never}
expect:
  - converged:
  - detected:
    within: 5s
    of: never
""")
    assert [(c.name, c.passed) for c in result.checks] == [
        ("step 1 (kill)", False),
        ("converged", True),
        ("detected", False),
    ]
    assert result.cluster_seconds == pytest.approx(7.0, abs=0.2)


def test_a_step_on_a_node_in_the_wrong_state_fails_with_the_reason(lab: Lab) -> None:
    result = lab.run("""
cluster: {nodes: 3, profile: local}
duration: 1s
steps:
  - kill: node-3
  - pause: node-3
expect:
  - false-positives: 0
""")
    assert result.checks[0].name == "step 2 (pause)"
    assert "node-3 is killed; it must be running" in result.checks[0].measured


def test_steps_happen_at_their_times_and_in_order(lab: Lab, tmp_path: Path) -> None:
    lab.path.write_text("""
cluster: {nodes: 3, profile: local}
duration: 20s
steps:
  - {at: 5s, pause: node-2}
  - {after: 2s, resume: node-2}
  - {at: 10s, kill: node-3}
expect:
  - false-positives: 0
""")
    journal = tmp_path / "run.jsonl"
    result = run_file(lab.path, journal_path=journal)
    lines = [json.loads(line) for line in journal.read_text().splitlines()]
    found = [
        (line["fault"], round(line["time"], 6), line["node"])
        for line in lines
        if line.get("fault") in ("pause", "resume", "kill")
    ]
    assert found == [("pause", 5.0, "node-2"), ("resume", 7.0, "node-2"), ("kill", 10.0, "node-3")]
    assert result.cluster_seconds == pytest.approx(20.0)


def test_a_repeat_does_its_steps_over_and_over(lab: Lab, tmp_path: Path) -> None:
    lab.path.write_text("""
cluster: {nodes: 3, profile: local}
steps:
  - repeat: {times: 3, every: 5s, steps: [{pause: node-2}, {after: 100ms, resume: node-2}]}
expect:
  - false-positives: 0
""")
    journal = tmp_path / "run.jsonl"
    assert run_file(lab.path, journal_path=journal).passed
    lines = [json.loads(line) for line in journal.read_text().splitlines()]
    pauses = [line["time"] for line in lines if line.get("fault") == "pause"]
    assert [round(after - pauses[0], 6) for after in pauses] == [0.0, 5.0, 10.0]


def test_every_link_step_reaches_the_nodes_and_heal_takes_it_back(lab: Lab, tmp_path: Path) -> None:
    lab.path.write_text("""
cluster: {nodes: 3, profile: local}
steps:
  - {loss: 10%, id: one}
  - latency: 20ms
  - {duplicate: {share: 20%, target: node-1, direction: out}}
  - {reorder: {share: 5%, peers: node-2}}
  - corrupt: 1%
  - {block: {target: node-3, transport: tcp}}
  - {after: 1s, heal: one}
  - {after: 1s, heal: }
expect:
  - converged:
    within: bound
""")
    journal = tmp_path / "run.jsonl"
    result = run_file(lab.path, journal_path=journal)
    assert result.passed
    lines = [json.loads(line) for line in journal.read_text().splitlines()]
    set_at = {(line["node"], line["name"]) for line in lines if line.get("fault") == "set-fault"}
    cleared = {
        (line["node"], line["name"]) for line in lines if line.get("fault") == "clear-faults"
    }
    assert set_at == cleared
    assert {("node-1", "one.in"), ("node-2", "one.in"), ("node-3", "one.in")} <= set_at
    # All are targets: what one sends, another receives, and it must not be lost twice.
    assert ("node-1", "one.out") not in set_at


def test_a_one_way_partition_cuts_one_way(lab: Lab, tmp_path: Path) -> None:
    lab.path.write_text("""
cluster: {nodes: 2, profile: local}
duration: 1s
steps:
  - partition: {side: node-1, one-way: true}
expect:
  - false-positives: 0
""")
    journal = tmp_path / "run.jsonl"
    run_file(lab.path, journal_path=journal)
    lines = [json.loads(line) for line in journal.read_text().splitlines()]
    rules = {line["node"]: line["rule"] for line in lines if line.get("fault") == "set-fault"}
    assert rules["node-1"]["direction"] == "out"
    assert rules["node-2"]["direction"] == "in"


def test_nodes_start_join_leave_and_come_back(lab: Lab) -> None:
    assert lab.verdicts("""
cluster: {nodes: 3, profile: lan}
steps:
  - {after: converged, start: {target: late, join: false}}
  - {after: 1s, join: {target: late, to: node-1}, id: joined}
  - {after: converged, leave: late, id: gone}
  - {after: 5s, restart: {target: late, data: empty, address: new}, id: back}
expect:
  - converged:
    within: bound
    of: joined
  - status: {of: late, as: left}
    within: 10s
    of: gone
  - status: {of: late, as: alive}
    within: 60s
    of: back
  - false-positives: 0
    always: true
""") == [("converged", True), ("status", True), ("status", True), ("false-positives", True)]


def test_a_join_that_reaches_nobody_fails_its_step(lab: Lab) -> None:
    result = lab.run("""
cluster: {nodes: 2, profile: local}
steps:
  - kill: node-2
  - join: {target: node-1, to: node-2}
expect:
  - false-positives: 0
""")
    assert result.checks[0].name == "step 2 (join)"
    assert "node-1 could not join" in result.checks[0].measured


def test_events_and_tags_reach_everybody(lab: Lab) -> None:
    assert lab.verdicts("""
cluster: {nodes: 4, profile: lan}
steps:
  - {after: converged, tags: {target: node-2, set: {colour: red}}}
  - {event: {name: deploy, payload: v2, target: node-1}, id: sent}
expect:
  - event-delivered: deploy
    within: 30s
    of: sent
  - no-errors:
""") == [("event-delivered", True), ("no-errors", True)]


def test_damaged_messages_are_errors(lab: Lab) -> None:
    result = lab.run("""
cluster: {nodes: 3, profile: local}
steps:
  - {after: converged, corrupt: 50%}
  - {after: 20s, heal: }
expect:
  - no-errors:
""")
    assert not result.passed
    assert int(result.checks[0].measured.split(":")[0]) > 0


def test_load_health_dissemination_and_agreement_are_measured(lab: Lab) -> None:
    result = lab.run("""
cluster: {nodes: 5, profile: lan}
steps:
  - {after: converged, kill: node-5, id: crash}
expect:
  - dissemination: {of: node-5, as: failed, max: 30s}
    of: crash
  - load: {messages-per-second: 100, bytes-per-second: 1}
    of: crash
  - health-score: 6
  - agree:
  - detected: {of: node-5}
    within: 60s
""")
    assert [(c.name, c.passed) for c in result.checks] == [
        ("dissemination", True),
        ("load", False),
        ("health-score", True),
        ("agree", True),
        ("detected", True),
    ]
    assert "bytes/s" in result.checks[1].measured
    assert result.checks[3].measured.startswith("1: ")


def test_always_fails_for_a_moment_that_a_look_now_and_then_would_miss(lab: Lab) -> None:
    text = """
cluster: {nodes: 3, profile: local}
steps:
  - {after: converged, kill: node-3, id: crash}
  - {after: {status: {of: node-3, as: failed}}, restart: node-3, id: back}
expect:
  - status: {of: node-3, as: [alive, failed], seen-by: node-1}
    always: true
    of: crash
  - status: {of: node-3, as: alive, seen-by: node-1}
    always: true
    of: crash
  - status: {of: node-3, as: alive}
    within: 60s
    of: back
"""
    assert [passed for _, passed in lab.verdicts(text)] == [True, False, True]


def test_regions_and_slow_links_are_one_cluster(lab: Lab) -> None:
    result = lab.run("""
cluster: {regions: {eu: 2, us: 2}, profile: wan}
network:
  latency: 1ms
  links: [{between: [eu, us], latency: {normal: [80ms, 5ms]}, loss: 1%}]
steps:
  - {after: converged, kill: us-2}
expect:
  - detected:
    within: 4m
  - false-positives: 0
    always: true
""")
    assert result.passed
    assert result.nodes == 4


def test_the_report_shows_every_check_and_the_figures(lab: Lab) -> None:
    result = lab.run(KILL.replace("WITHIN", "60s"))
    out = StringIO()
    print_report(result, Console(file=out, width=160))
    text = out.getvalue()
    for wanted in ("lab on sim, seed 1", "detected", "3 reports", "passed: 4 nodes", "p99"):
        assert wanted in text
    assert f"{result.journal_sha256}" in text


def test_the_simulator_needs_neither_trio_nor_a_http_client(lab: Lab) -> None:
    import subprocess
    import sys

    lab.path.write_text(KILL.replace("WITHIN", "60s"))
    program = (
        "import sys, pathlib; from swimnomad.scenario.run import run_file;"
        f"run_file(pathlib.Path({str(lab.path)!r}));"
        "assert not {'trio', 'httpx', 'rich'} & set(sys.modules), sorted(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", program], check=True)


def test_rules_reach_a_node_that_was_paused_or_dead_when_they_were_made(
    lab: Lab, tmp_path: Path
) -> None:
    lab.path.write_text("""
cluster: {nodes: 3, profile: local}
steps:
  - pause: node-1
  - kill: node-2
  - {loss: 10%, id: rain}
  - {after: 1s, resume: node-1}
  - {after: 1s, restart: node-2}
  - {after: 1s, pause: node-1}
  - heal: rain
  - {after: 1s, resume: node-1}
expect:
  - false-positives: 0
""")
    journal = tmp_path / "run.jsonl"
    assert run_file(lab.path, journal_path=journal).passed
    lines = [json.loads(line) for line in journal.read_text().splitlines()]
    found = [
        (line["fault"], round(line["time"]), line["node"])
        for line in lines
        if line.get("name") == "rain.in"
    ]
    assert found == [
        ("set-fault", 0, "node-3"),
        ("set-fault", 1, "node-1"),
        ("set-fault", 2, "node-2"),
        ("clear-faults", 3, "node-3"),
        ("clear-faults", 3, "node-2"),
        ("clear-faults", 4, "node-1"),
    ]


def test_a_cluster_too_large_for_processes_is_a_plain_usage_error(lab: Lab) -> None:
    """Nothing is started, and no group of exceptions comes out of the live backend's tasks."""
    with pytest.raises(UsageError, match="1 to 250 nodes, not 300"):
        lab.run("cluster: {nodes: 300}\nexpect:\n  - converged:\n", on="live")


@pytest.mark.live
def test_floods_starving_and_churn_are_possible_on_real_agents(lab: Lab) -> None:
    result = lab.run(
        """
cluster: {nodes: 3, profile: local}
steps:
  - {after: converged, flood: {target: node-1, rate: 500, for: 2s}}
  - {starve: {target: node-2, delay: {uniform: [50ms, 300ms]}, for: 2s}}
  - {loss: {share: 20%, burst: 3}}
  - {after: 2s, churn: {target: node-3, every: 1s, down: 1s, for: 1s}}
  - {after: 4s, heal: , id: calm}
expect:
  - load: {bytes-per-second: 100000}
  - load: {bytes-per-second: 1}
  - converged:
    within: bound
    of: calm
""",
        on="live",
    )
    assert [check.passed for check in result.checks] == [True, False, True], result.checks
    assert (result.messages, result.bytes) == (None, None)


@pytest.mark.live
def test_the_same_scenario_passes_on_real_agents() -> None:
    path = Path(__file__).resolve().parents[2] / "scenarios" / "kill-one.yaml"
    result = run_file(path, on="live", seed=1)
    assert result.passed, result.checks
    assert result.journal_sha256 is None
    assert result.detection.count == 4
    assert result.wall_seconds < 60


def test_an_observer_sees_the_world_after_everything_that_happens_and_changes_nothing() -> None:
    scenario = load_text(KILL.replace("WITHIN", "60s"))
    seen: list[int] = []

    def observe(world: World) -> None:
        seen.append(world.schedule.executed)

    watched = run_scenario(scenario, 3, observe=observe)
    assert seen == list(range(1, len(seen) + 1))
    assert len(seen) > 100
    assert watched.journal_sha256 == run_scenario(scenario, 3).journal_sha256


def test_what_an_observer_raises_ends_the_run() -> None:
    def observe(world: World) -> None:
        assert world.now < 2.0, "too late"

    with pytest.raises(AssertionError, match="too late"):
        run_scenario(load_text(KILL.replace("WITHIN", "60s")), observe=observe)


def test_a_run_without_a_journal_has_the_same_outcome() -> None:
    scenario = load_text(KILL.replace("WITHIN", "60s"))
    with_journal, without = run_scenario(scenario, 3), run_scenario(scenario, 3, has_journal=False)
    assert without.journal_sha256 is None
    assert without.checks == with_journal.checks
    assert without.messages == with_journal.messages
