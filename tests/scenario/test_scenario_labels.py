"""Labels: clusters that could reach each other and refuse to, on the simulator and on live."""

from __future__ import annotations

from pathlib import Path

import pytest

from swimnomad.errors import ConfigError, UsageError
from swimnomad.live.cluster import ClusterSpec as LocalSpec
from swimnomad.live.cluster import LocalCluster
from swimnomad.scenario.backend import run_to_end
from swimnomad.scenario.facts import Facts
from swimnomad.scenario.loader import load_text
from swimnomad.scenario.model import ClusterSpec, RestartArgs
from swimnomad.scenario.result import Result
from swimnomad.scenario.run import run_file, run_scenario
from swimnomad.scenario.runner import Runner
from swimnomad.scenario.sim_backend import SimBackend
from swimnomad.scenario.writing import to_yaml

EXPECT = "duration: 30s\nexpect: [{false-positives: 0, always: true}]\n"
TWO = "nodes: [a-1, a-2, b-1, b-2], labels: {red: a-*, blue: b-*}"
APART = """
  - status: {of: "b-*", as: none, seen-by: [a-1]}
    always: true
  - status: {of: [a-1], as: none, seen-by: "b-*"}
    always: true
"""


def verdicts(result: Result) -> list[tuple[str, bool]]:
    return [(check.name, check.passed) for check in result.checks]


def errors_of(text: str) -> list[str]:
    """What nodes complained of in a run, with the node."""
    scenario, facts = load_text(text), Facts(0.0)
    run_to_end(Runner(scenario, SimBackend(facts, 1), facts, 1).run())
    return [f"{node}: {error}" for _, node, error in facts.errors]


def test_labels_are_read_and_written() -> None:
    text = f"""
cluster: {{{TWO}}}
steps:
  - {{at: 1s, kill: [a-1, a-2]}}
  - {{restart: {{target: a-1, label: blue}}}}
  - {{restart: {{target: a-2, label: ''}}}}
{EXPECT}"""
    loaded = load_text(text)
    assert loaded.cluster.labels == {"red": ("a-*",), "blue": ("b-*",)}
    _, moved, freed = (step.args for step in loaded.steps)
    assert isinstance(moved, RestartArgs)
    assert isinstance(freed, RestartArgs)
    assert (moved.label, freed.label) == ("blue", "")
    assert load_text(to_yaml(loaded)).cluster == loaded.cluster
    assert load_text(to_yaml(loaded)).steps == loaded.steps


def test_a_label_is_meant_for_nodes_by_name_and_glob() -> None:
    cluster = ClusterSpec(labels={"red": ("a-*", "x"), "blue": ("b",)})
    names = ("a-1", "a-99", "x", "b", "b-1")
    assert [cluster.label_of(name) for name in names] == ["red", "red", "red", "blue", ""]


@pytest.mark.parametrize(
    ("text", "line", "complaint"),
    [
        ("cluster:\n  labels: {red: c-*}\n", 2, "labels.red: found 'c-*'; allowed are names of"),
        ("cluster:\n  labels: {red: random}\n", 2, "labels.red: found 'random'; allowed are names"),
        ("cluster:\n  labels: {red: }\n", 2, "labels.red: found nobody; allowed are names"),
        ("cluster:\n  labels: {'': node-1}\n", 2, "found an empty label; allowed is a text of 1"),
        ("cluster:\n  labels: red\n", 2, "cluster.labels: found 'red'; allowed is a mapping"),
        (
            "cluster:\n  labels:\n    red: node-*\n    blue: node-2\n",
            4,
            "labels.blue: found node-2, which has the label 'red'; a node has one",
        ),
        (f"cluster:\n  labels: {{{'x' * 256}: node-1}}\n", 2, "found 256 bytes; allowed is a text"),
        ('cluster:\n  labels: {"\\uD800": node-1}\n', 2, "allowed is a text of 1 to 255 bytes"),
        (
            f"steps:\n  - kill: node-1\n  - restart: {{target: node-1, label: {'ü' * 128}}}\n",
            3,
            "steps[1].restart.label: found 256 bytes; allowed is a text of 1 to 255",
        ),
        (
            "cluster:\n  overrides: {label: red}\n",
            2,
            "overrides.label: is not set here; allowed is cluster.labels",
        ),
        ("cluster:\n  overrides: {compat: safe}\n", 2, "allowed is cluster.compat"),
    ],
)
def test_a_mistake_is_named_with_its_line(text: str, line: int, complaint: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load_text(text + EXPECT)
    assert str(caught.value).startswith(f"scenario:{line}: ")
    assert complaint in str(caught.value)


@pytest.mark.parametrize("seed", range(1, 4))
@pytest.mark.parametrize("change", ["label: blue", "label: ''", "label: blue, data: empty"])
def test_invariants_hold_where_a_label_changes(change: str, seed: int) -> None:
    """The node goes over at once, before anybody has missed it, and one of each label dies later.

    The run is long enough for `agreement` to be judged.
    """
    scenario = load_text(f"""
cluster: {{nodes: [a-1, a-2, a-3, b-1, b-2, b-3], labels: {{red: a-*, blue: b-*}}}}
steps:
  - {{at: 5s, kill: a-2}}
  - restart: {{target: a-2, {change}}}
  - {{after: 20s, kill: [a-3, b-3]}}
  - {{after: 20s, restart: {{target: [a-3, b-3], address: new}}}}
duration: 10m
expect:
  - {{invariants: , always: true}}
  - converged:
""")
    result = run_scenario(scenario, seed)
    assert result.passed, result.checks
    assert SimBackend(Facts(0.0), 1).patience(6) < 10 * 60 - 45


@pytest.mark.parametrize("start", ["empty", "converged"])
def test_each_label_is_a_cluster_of_its_own_and_is_judged_by_itself(start: str) -> None:
    result = run_scenario(
        load_text(f"""
cluster: {{{TWO}, start: {start}}}
steps:
  - {{after: converged, timeout: 10s, kill: b-2, id: crash}}
duration: 60s
expect:{APART}
  - {{detected: , within: 30s, of: crash}}
  - {{dissemination: {{of: b-2, as: failed, max: 5s}}, of: crash}}
  - converged:
  - agree:
  - false-positives: 0
""")
    )
    assert result.passed, result.checks
    assert result.detection.count == 1


def test_views_of_one_cluster_that_differ_are_no_agreement() -> None:
    result = run_scenario(
        load_text("""
cluster: {nodes: [a-1, a-2, a-3, b-1], labels: {red: a-*}}
steps:
  - {after: converged, partition: a-1}
  - {after: 30s, kill: a-3}
duration: 60s
expect: [agree: , converged: ]
""")
    )
    assert verdicts(result) == [("agree", False), ("converged", False)]


def test_agreement_needs_two_of_a_label() -> None:
    text = "cluster: {nodes: [a, b], labels: {red: a, blue: b}}\nduration: 5s\nexpect: [agree: ]\n"
    (check,) = run_scenario(load_text(text)).checks
    assert (check.passed, check.measured) == (False, "there was nothing to look at")


MOVE = f"""
cluster: {{{TWO}}}
steps:
  - {{after: converged, kill: a-2}}
  - after: {{status: {{of: a-2, as: failed, seen-by: a-1}}}}
    restart: {{target: a-2, label: blue}}
duration: 150s
"""


@pytest.mark.parametrize("data", ["same", "empty"])
def test_who_is_moved_to_another_cluster_refuses_the_packets_of_the_old_one(data: str) -> None:
    text = MOVE.replace("label: blue", f"data: {data}, label: blue")
    result = run_scenario(
        load_text(f"""{text}
expect:{APART}
  - status: {{of: a-2, as: alive, seen-by: "b-*"}}
  - status: {{of: a-2, as: failed, seen-by: a-1}}
  - converged:
  - agree:
""")
    )
    assert result.passed, result.checks
    errors = errors_of(text + "expect: [converged: ]\n")
    assert any(
        error.startswith("a-2: ") and "label b'red' is not ours" in error for error in errors
    )


def test_a_node_without_a_label_is_in_neither_cluster() -> None:
    text = MOVE.replace("label: blue", "label: ''")
    result = run_scenario(load_text(f"{text}expect:{APART}\n  - converged:\n"))
    assert result.passed, result.checks


def test_who_is_started_later_has_the_label_of_its_name() -> None:
    result = run_scenario(
        load_text("""
cluster: {nodes: [a-1, a-2], labels: {red: a-*, blue: [b-1, b-2]}}
steps:
  - {after: converged, start: {target: [b-1, b-2, a-3]}}
duration: 60s
expect:
  - status: {of: "b-*", as: none, seen-by: "a-*"}
  - status: {of: a-3, as: alive, seen-by: [a-1, a-2]}
  - status: {of: b-1, as: alive, seen-by: b-2}
  - converged:
""")
    )
    assert result.passed, result.checks


def test_who_is_not_told_whom_to_ask_asks_its_own_cluster() -> None:
    result = run_scenario(
        load_text("""
cluster: {nodes: [a-1, b-1, b-2, b-3], labels: {red: a-*, blue: b-*}}
steps:
  - {after: converged, start: {target: late, join: false}}
  - {join: b-2}
  - {conflict: {target: b-3, for: 5s}}
  - {after: 10s, kill: b-1}
  - {after: 20s, force-leave: b-1}
  - {after: 5s, prune: b-1}
duration: 60s
expect:
  - status: {of: b-1, as: none, seen-by: [b-2, b-3]}
""")
    )
    assert result.passed, result.checks


def test_an_order_to_join_another_cluster_fails() -> None:
    text = f"cluster: {{{TWO}}}\nsteps:\n  - {{after: converged, join: {{target: a-1, to: b-1}}}}\n"
    result = run_scenario(load_text(f"{text}duration: 20s\nexpect: [converged: ]\n"))
    assert result.checks[0].name == "step 1 (join)"
    assert "a-1 could not join" in result.checks[0].measured


def test_a_member_that_went_over_to_another_cluster_is_not_failed_falsely() -> None:
    facts = Facts(0.0)
    facts.labels.update(a="red", b="red", c="blue")
    facts.set_lives(0.0, dict.fromkeys("abc", "running"))
    facts.all_see_all(0.0)
    assert facts.views == {"a": {"b": "alive"}, "b": {"a": "alive"}, "c": {}}
    assert facts.converged.wrong == 0
    assert facts.running_with("a") == ["a", "b"]
    facts.set_lives(1.0, {"b": "killed"})
    assert facts.kills["b"].observers == ("a",)
    facts.set_label("b", "blue")
    facts.set_lives(2.0, {"b": "running"})
    assert [(o, s) for o, s, _ in facts.converged.differences("abc")] == [
        ("a", "b"),
        ("b", "c"),
        ("c", "b"),
    ]
    facts.saw(3.0, "a", "b", "failed")
    facts.saw(3.0, "c", "b", "alive")
    facts.saw(3.0, "b", "c", "alive")
    assert facts.converged.wrong == 0
    facts.saw(4.0, "c", "b", "failed")
    assert [report.observer for report in facts.false_positives] == ["c"]


def test_a_local_cluster_has_a_label_for_each_node_or_none(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="2 nodes need as many labels or none, not 1"):
        LocalCluster._plan(LocalSpec(count=2, labels=("red",)), tmp_path)


@pytest.mark.live
def test_labels_keep_real_agents_apart(tmp_path: Path) -> None:
    """A restarted agent has its new label, and its old cluster can reach it no more."""
    path = tmp_path / "apart.yaml"
    path.write_text(f"""
cluster: {{{TWO}}}
steps:
  - {{kill: a-2, id: crash}}
  - after: {{status: {{of: a-2, as: failed, seen-by: a-1}}}}
    restart: {{target: a-2, label: blue}}
  - {{after: converged, timeout: 20s, join: {{target: [b-1], to: a-2}}}}
  - {{join: {{target: a-1, to: a-2}}}}
expect:{APART}
  - {{detected: , within: 30s, of: crash}}
  - converged:
  - agree:
""")
    result = run_file(path, on="live")
    failed, *held = result.checks
    assert (failed.name, failed.passed) == ("step 4 (join)", False)
    assert "a-1 could not join" in failed.measured
    assert all(check.passed for check in held), held
