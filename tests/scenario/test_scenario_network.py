"""The section `network:`, losses in bursts, starved nodes and wrong clocks."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

import pytest

from swimnomad.errors import ConfigError, UsageError
from swimnomad.faults import Bandwidth, Burst, Latency
from swimnomad.scenario.loader import load_text
from swimnomad.scenario.model import LossArgs
from swimnomad.scenario.run import run_scenario
from swimnomad.scenario.units import parse_bytes, parse_signed, write_bytes, write_signed
from swimnomad.scenario.wiring import Way, bursts, default_link, links_of
from swimnomad.scenario.writing import to_yaml
from swimnomad.sim.network import Link

NETWORK = """
cluster: {regions: {eu: 2, us: [west, east]}, profile: lan}
duration: 1s
network:
  latency: 1ms
  loss: 1%
  duplicate: 2%
  links:
    - {between: [eu, us], latency: {normal: [80ms, 5ms]}, loss: 5%, burst: 4}
    - {from: eu, to: us, bandwidth: {rate: 10Mbit, queue: 64kB}, transport: udp}
    - {between: [eu-1, west], mtu: 576}
    - {from: east, to: 'eu-*', corrupt: 1%, reorder: 3%, reorder-delay: 10ms}
    - {between: [us, us], latency: {trace: [1ms, 2ms, 30ms]}}
expect:
  - false-positives: 0
"""


def journal_of(text: str, directory: Path, seed: int = 1) -> list[dict[str, Any]]:
    path = directory / "run.jsonl"
    run_scenario(load_text(text), seed, journal_path=path)
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_a_link_is_as_the_rules_for_it_say_the_nearest_first() -> None:
    scenario = load_text(NETWORK)
    names = scenario.cluster.node_regions
    links = dict(links_of(scenario.network, names))
    usual = default_link(scenario.network)
    assert usual == Link(latency=Latency("constant", 0.001), loss=0.01)
    far = Latency("normal", 0.08, 0.005)
    burst = bursts(0.05, 4.0)
    line = Bandwidth(1_250_000.0, 64_000)
    assert links[Way("us", "eu", "udp")] == Link(latency=far, burst=burst)
    assert links[Way("eu", "us", "udp")] == Link(latency=far, burst=burst, bandwidth=line)
    assert links[Way("eu", "us", "tcp")] == Link(latency=far, burst=burst)
    near = links[Way("eu-1", "west", "udp")]
    assert near == Link(latency=far, burst=burst, bandwidth=line, mtu=576)
    assert links[Way("west", "eu-1", "tcp")].mtu == 576
    assert links[Way("us", "us", "udp")].latency.values == (0.001, 0.002, 0.03)
    assert links[Way("us", "us", "udp")].loss == 0.01
    assert Way("west", "eu-2", "udp") not in links


def test_the_network_reads_back_from_what_was_written() -> None:
    scenario = load_text(NETWORK)
    assert load_text(to_yaml(scenario)) == scenario


def test_what_links_cannot_do_stands_at_the_nodes_that_receive(tmp_path: Path) -> None:
    lines = journal_of(NETWORK, tmp_path)
    rules = [line for line in lines if line.get("fault") == "set-fault"]
    everywhere = [line for line in rules if line["rule"]["duplicate"] == 0.02]
    assert {line["node"] for line in everywhere} == {"eu-1", "eu-2", "west", "east"}
    assert all(line["rule"]["direction"] == "in" for line in everywhere)
    assert all(line["rule"]["hosts"] == [] for line in everywhere)
    damaged = [line for line in rules if line["rule"]["corrupt"] == 0.01]
    assert {line["node"] for line in damaged} == {"eu-1", "eu-2"}
    assert {len(line["rule"]["hosts"]) for line in damaged} == {1}
    assert [line["rule"]["reorder_delay"] for line in rules if line["rule"]["reorder"]] == [
        0.01
    ] * 2


def test_no_step_heals_the_network_and_restarted_and_new_nodes_have_it(tmp_path: Path) -> None:
    lines = journal_of(
        """
cluster: {nodes: 3, profile: local}
network: {duplicate: 5%}
steps:
  - {after: 1s, loss: 10%}
  - {after: 1s, heal: }
  - {after: 1s, kill: node-3}
  - {after: 1s, restart: node-3}
  - {after: 1s, start: late}
expect:
  - false-positives: 0
""",
        tmp_path,
    )
    rules = [
        (line["node"], line["name"])
        for line in lines
        if line.get("fault") == "set-fault" and line["rule"]["duplicate"]
    ]
    nodes = ["node-1", "node-2", "node-3", "node-3", "late"]
    assert rules == [(node, "network.0.in") for node in nodes]
    healed = {line["name"] for line in lines if line.get("fault") == "clear-faults"}
    assert "network.0.in" not in healed


@pytest.mark.parametrize(
    ("rules", "line", "complaint"),
    [
        (
            "[{between: [eu, us], loss: 1%}, {from: us, to: eu, loss: 2%}]",
            3,
            "another loss from us",
        ),
        ("[{between: [eu, us], mtu: 1400}, {between: [us, eu], mtu: 1500}]", 3, "another mtu"),
        ("[{from: 'eu-*', to: us-1, loss: 1%}, {from: eu-2, to: us-1, loss: 2%}]", 3, "from eu-2"),
        ("[{between: [eu, mars], loss: 1%}]", 3, "found 'mars'; allowed are eu, us"),
        ("[{between: [eu], loss: 1%}]", 3, "found 1; allowed are two"),
        ("[{between: [eu, us], to: eu, loss: 1%}]", 3, "either between, or from and to"),
        ("[{from: eu, loss: 1%}]", 3, "to is missing"),
        ("[{between: [eu, us]}]", 3, "says nothing of its links"),
        ("[{between: [eu, us], mtu: 10}]", 3, "mtu: found 10; allowed are 0 (any) or 68"),
        ("[{between: [eu, us], loss: 90%, burst: 2}]", 3, "at most 0.6667"),
        ("[{between: [eu, us], burst: 2}]", 3, "found 0 in bursts of 2"),
        ("[{between: [eu, us], loss: 9%, burst: 0.5}]", 3, "allowed is 1 or more in a row"),
        ("[{between: [eu, us], bandwidth: 10}]", 3, "found '10'; allowed is a number of bytes"),
        ("[{between: [eu, us], bandwidth: {queue: 1kB}}]", 3, "rate is missing"),
        ("[{between: [eu, us], latency: {trace: []}}]", 3, "found nothing; allowed is a list"),
        ("[{between: [eu, us], corrupt: 1%, transport: tcp}]", 3, "are for datagrams"),
    ],
)
def test_rules_that_contradict_or_mean_nothing_are_refused(
    rules: str, line: int, complaint: str
) -> None:
    text = f"cluster: {{regions: {{eu: 2, us: 2}}}}\nnetwork:\n  links: {rules}\n"
    with pytest.raises(ConfigError) as caught:
        load_text(text + "expect:\n  - converged:\n")
    assert str(caught.value).startswith(f"scenario:{line}: network.links[")
    assert complaint in str(caught.value)


def test_rules_that_agree_or_are_of_different_widths_are_not_contradictions() -> None:
    load_text("""
cluster: {regions: {eu: 2, us: 2}}
network:
  links:
    - {between: [eu, us], loss: 1%}
    - {between: [us, eu], loss: 1%, mtu: 1400}
    - {between: [eu-1, us-1], loss: 50%}
expect:
  - converged:
""")


@pytest.mark.parametrize(("share", "length"), [(0.1, 5.0), (0.3, 2.0), (0.02, 1.0), (0.5, 1.0)])
def test_bursts_have_the_share_and_the_length_that_was_asked_for(
    share: float, length: float
) -> None:
    burst = bursts(share, length)
    assert burst.enter / (burst.enter + burst.leave) == pytest.approx(share)
    assert 1 / burst.leave == pytest.approx(length)
    burst.validate()


def test_a_loss_in_bursts_reaches_the_nodes(tmp_path: Path) -> None:
    text = """
cluster: {nodes: 3, profile: local}
duration: 2s
steps:
  - {at: 1s, loss: {share: 20%, burst: 4}, id: rain}
expect:
  - false-positives: 0
"""
    scenario = load_text(text)
    assert scenario.steps[0].args == LossArgs(share=0.2, burst=4.0)
    assert load_text(to_yaml(scenario)) == scenario
    rules = [line["rule"] for line in journal_of(text, tmp_path) if "rule" in line]
    assert rules[0]["loss"] == 0.0
    found = rules[0]["burst"]
    wanted = bursts(0.2, 4.0)
    assert Burst(found["enter"], found["leave"]) == wanted
    with pytest.raises(ConfigError, match=r"loss\.share: found 0.95 in bursts of 4"):
        load_text(text.replace("20%", "95%"))


STARVE = """
cluster: {nodes: 5, profile: local}
steps:
  - {after: converged, starve: {target: node-2, delay: {uniform: [500ms, 2s]}, for: 30s}, id: slow}
  - {after: 10s, starve: {target: node-3, delay: 100ms}, id: slower}
  - {after: 10s, heal: slower}
expect:
  - health-score: 0
    always: true
    of: slow
  - converged:
    within: 5m
    of: slow
"""


def test_a_starved_node_reads_late_until_its_time_is_over_or_it_is_healed(tmp_path: Path) -> None:
    lines = journal_of(STARVE, tmp_path)
    found = {
        (line["fault"], line["node"]): line["time"]
        for line in lines
        if line.get("fault") in ("starve", "feed")
    }
    begin = found["starve", "node-2"]
    assert found["feed", "node-2"] == pytest.approx(begin + 30)
    assert found["starve", "node-3"] == pytest.approx(begin + 10)
    assert found["feed", "node-3"] == pytest.approx(begin + 20)
    result = run_scenario(load_text(STARVE))
    assert [check.passed for check in result.checks] == [False, True], result.checks


def test_clocks_run_wrong_until_they_are_set_right(tmp_path: Path) -> None:
    lines = journal_of(
        """
cluster: {nodes: 4, profile: local}
duration: 30s
steps:
  - {at: 5s, skew: {target: node-1, rate: 1.5, for: 10s}}
  - {at: 6s, skew: {target: node-2, jump: 20s}}
  - {at: 6s, skew: {target: node-2, jump: -2s}}
  - {at: 7s, skew: {target: node-3, drift: 10%, every: 500ms}, id: wander}
  - {at: 20s, heal: }
expect:
  - converged:
""",
        tmp_path,
    )
    clocks = [
        (line["node"], line["fault"], round(line["time"], 6), line.get("rate", line.get("seconds")))
        for line in lines
        if str(line.get("fault", "")).startswith("clock")
    ]
    assert ("node-1", "clock-rate", 5.0, 1.5) in clocks
    assert ("node-1", "clock-rate", 15.0, 1.0) in clocks
    assert ("node-2", "clock-jump", 6.0, 20.0) in clocks
    assert ("node-2", "clock-jump", 6.0, -2.0) in clocks
    assert ("node-3", "clock-drift", 7.0, None) in clocks
    assert ("node-3", "clock-rate", 20.0, 1.0) in clocks
    assert len(clocks) == 6


@pytest.mark.parametrize(
    ("skew", "complaint"),
    [
        ("{target: node-1}", "found no change"),
        ("{target: node-1, rate: 0}", "rate: found 0; allowed are 0.01 to 100"),
        ("{target: node-1, rate: 2, drift: 10%}", "found beside rate"),
        ("{target: node-1, drift: 95%}", "drift: found 0.95"),
        ("{target: node-1, drift: 5%, every: 0}", "every: found 0 s"),
        ("{target: node-1, jump: 48h}", "up to a day"),
    ],
)
def test_clocks_that_cannot_be_are_refused(skew: str, complaint: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load_text(f"steps:\n  - skew: {skew}\nexpect:\n  - converged:\n")
    assert complaint in str(caught.value)


def test_signed_durations_and_bytes_are_read_and_written() -> None:
    for seconds in (-2.5, 0.0, 0.25, -1 / 3, 86400.0):
        assert parse_signed(write_signed(seconds)) == seconds
    for count in (1.0, 1_250_000.0, 64_000.0, math.pi):
        assert parse_bytes(write_bytes(count)) == count
    assert [parse_bytes(t) for t in ("1500B", "64 kB", "1.5MB", "10Mbit", "1Gbit")] == [
        1500.0,
        64_000.0,
        1_500_000.0,
        1_250_000.0,
        125_000_000.0,
    ]
    for text in ("5", "10Kbit", "-1B", "MB"):
        with pytest.raises(UsageError, match="allowed is a number of bytes"):
            parse_bytes(text)
