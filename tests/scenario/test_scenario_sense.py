"""What is refused before a run: what could not be done, and what could not fail."""

from __future__ import annotations

import pytest

from swimnomad.errors import ConfigError
from swimnomad.scenario.loader import load_text

EXPECT = "expect:\n  - converged:\n"
TIMED = "duration: 5s\n"


@pytest.mark.parametrize(
    ("text", "line", "complaint"),
    [
        ("cluster: {nodes: [a, b, a]}\n" + EXPECT, 1, "cluster.nodes: found 'a' twice"),
        ("cluster: {nodes: [a, 'b c']}\n" + EXPECT, 1, "found 'b c'; allowed is a name"),
        ("cluster: {nodes: []}\n" + EXPECT, 1, "cluster: found 0 nodes"),
        (
            "cluster:\n  regions: {eu: [us-1], us: 2}\n" + EXPECT,
            2,
            "cluster.regions: found a name that a numbered node has, too",
        ),
        (
            "cluster:\n  overrides:\n    suspicion_mul: 3\n" + EXPECT,
            3,
            "cluster.overrides.suspicion_mul: unknown setting (close: suspicion_mult",
        ),
        ("cluster: {overrides: {name: x}}\n" + EXPECT, 1, "overrides.name: unknown setting"),
        (
            "cluster: {overrides: {probe_interval: 5}}\n" + EXPECT,
            1,
            "overrides.probe_interval: found '5'; allowed is a duration",
        ),
        (
            "cluster: {overrides: {retransmit_mult: 0}}\n" + EXPECT,
            1,
            "cluster.overrides: retransmit_mult is 0; allowed is 1 or more",
        ),
        (
            "steps:\n  - repeat:\n      times: 2\n      every: 3s\n"
            "      steps: [{after: 2s, heal: }, {after: 2s, heal: }]\n" + EXPECT,
            4,
            "repeat.every: found 3 s for a round that takes 4 s",
        ),
        ("steps:\n  - repeat: {times: 2, steps: []}\n" + EXPECT, 2, "steps: found none"),
        (
            "steps:\n  - repeat: {times: 2, steps: [{start: late}]}\n" + EXPECT,
            2,
            "a node can be started only once",
        ),
        ("steps:\n  - {timeout: 5s, heal: }\n" + EXPECT, 2, "only with a condition"),
        (
            "steps:\n  - partition: {side: node-1, against: [node-1, node-2]}\n" + EXPECT,
            2,
            "against: found 'node-1' on both sides",
        ),
        ("steps:\n  - partition: {side: '*'}\n" + EXPECT, 2, "nobody on the other side"),
        ("steps:\n  - churn: {every: 2m}\n" + EXPECT, 2, "churn.every: found 120 s; allowed"),
        ("steps:\n  - flood: {target: node-1, rate: 0}\n" + EXPECT, 2, "flood.rate: found 0"),
        ("steps:\n  - flood: {target: node-1, size: 70000}\n" + EXPECT, 2, "1 to 65507"),
        ("steps:\n  - flood: {target: node-1, for: 0}\n" + EXPECT, 2, "flood.for: found 0 s"),
        (
            "steps:\n  - {at: 9s, heal: , id: late}\nexpect:\n  - converged:\n    at: 5s\n"
            "    of: late\n",
            5,
            "at: found 5 s, before its step",
        ),
        (
            "steps:\n  - {after: 20s, heal: }\n  - {at: 15s, heal: }\n" + EXPECT,
            3,
            "at: found 15 s after a step at 20 s or later",
        ),
        (
            "steps:\n  - {at: 5s, heal: }\n"
            "  - repeat: {times: 3, every: 10s, steps: [{after: 2s, heal: }]}\n"
            "  - {at: 34s, heal: }\n" + EXPECT,
            4,
            "at: found 34 s after a step at 35 s or later",
        ),
        (
            "steps:\n  - repeat: {times: 3, steps: [{after: 4s, heal: }, {after: 1s, heal: }]}\n"
            "  - {at: 14s, heal: }\n" + EXPECT,
            3,
            "at: found 14 s after a step at 15 s or later",
        ),
        (
            "steps:\n  - {after: 9s, heal: , id: late}\nexpect:\n  - converged:\n    at: 5s\n"
            "    of: late\n",
            5,
            "at: found 5 s, before its step, which begins after 9 s",
        ),
        (
            "steps:\n  - repeat: {times: 1000, steps: [{repeat: {times: 1000, steps: [heal: ]}}]}\n"
            + EXPECT,
            1,
            "steps: found 1001001 steps, repeats in full; allowed are up to 100000",
        ),
        ("steps:\n  - kill: random 0\n" + EXPECT, 2, "found 'random 0'; allowed are 1 to 5 nodes"),
        ("steps:\n  - kill: random 6\n" + EXPECT, 2, "found 'random 6'; allowed are 1 to 5 nodes"),
        (
            "steps:\n  - loss: {share: 90%, burst: 2}\n" + EXPECT,
            2,
            "steps[0].loss.share: found 0.9 in bursts of 2; allowed is above 0, at most 0.6667",
        ),
    ],
)
def test_what_could_not_be_done_is_refused(text: str, line: int, complaint: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load_text(text)
    assert str(caught.value).startswith(f"scenario:{line}: ")
    assert complaint in str(caught.value)


NO_SHARE = "found 0%; allowed is above 0%, up to 100%"
NO_DELAY = "found 0 s at all times; allowed is above 0 s"
NO_TIME = "found 0 s; allowed is above 0 s"


@pytest.mark.parametrize(
    ("step", "key", "complaint"),
    [
        ("loss: 0%", "loss.share", NO_SHARE),
        ("loss: {share: 0, burst: 3}", "loss.share", NO_SHARE),
        ("duplicate: 0%", "duplicate.share", NO_SHARE),
        ("reorder: 0%", "reorder.share", NO_SHARE),
        ("corrupt: {share: 0%, target: node-2}", "corrupt.share", NO_SHARE),
        ("reorder: {delay: 0s}", "reorder.delay", NO_TIME),
        ("latency: 0s", "latency.delay", NO_DELAY),
        ("starve: {target: node-1, delay: 0s}", "starve.delay", NO_DELAY),
        ("starve: {target: node-1, delay: {uniform: [0s, 0s]}}", "starve.delay", NO_DELAY),
        ("starve: {target: node-1, delay: {normal: [0s, 0s]}}", "starve.delay", NO_DELAY),
        ("starve: {target: node-1, delay: {lognormal: [0s, 2]}}", "starve.delay", NO_DELAY),
        ("starve: {target: node-1, delay: {pareto: [0s, 2]}}", "starve.delay", NO_DELAY),
        ("starve: {target: node-1, delay: {trace: [0s, 0ms]}}", "starve.delay", NO_DELAY),
        ("starve: {target: node-1, for: 0s}", "starve.for", NO_TIME),
        ("skew: {target: node-1, rate: 2, for: 0s}", "skew.for", NO_TIME),
        ("conflict: {target: node-1, for: 0s}", "conflict.for", NO_TIME),
        ("{after: converged, timeout: 0s, kill: node-1}", "timeout", NO_TIME),
    ],
)
def test_a_step_that_would_do_nothing_is_refused(step: str, key: str, complaint: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load_text(f"steps:\n  - heal:\n  - {step}\n{EXPECT}")
    assert str(caught.value) == f"scenario:3: steps[1].{key}: {complaint}"


@pytest.mark.parametrize(
    "step",
    [
        "loss: 0.1%",
        "reorder: {delay: 1ms}",
        "starve: {target: node-1, delay: {uniform: [0s, 1ms]}}",
        "starve: {target: node-1, delay: {normal: [0s, 1ms]}}",
        "latency: {delay: {trace: [0s, 1ms]}}",
        "skew: {target: node-1, jump: 1s}",
        "{after: converged, timeout: 1ms, kill: node-1}",
    ],
)
def test_a_step_that_does_little_is_accepted(step: str) -> None:
    load_text(f"steps:\n  - {step}\n{EXPECT}")


@pytest.mark.parametrize(
    ("text", "line", "complaint"),
    [
        ("expect:\n  - false-positives: 0\n", 2, "no time passes in this run"),
        ("expect:\n  - no-errors:\n    at: end\n", 2, "no time passes in this run"),
        ("steps:\n  - kill: node-1\nexpect:\n  - no-errors:\n", 4, "no time passes"),
        (
            "steps:\n  - {after: 1s, kill: node-1}\nexpect:\n  - false-positives: 0\n"
            "    within: 5s\n",
            5,
            "holds at once or never",
        ),
        (TIMED + "expect:\n  - status: {of: [], as: alive}\n", 3, "status.of: found nobody"),
        (
            TIMED + "expect:\n  - status: {of: node-1, as: alive, seen-by: []}\n",
            3,
            "status.by: found nobody",
        ),
        (
            TIMED + "expect:\n  - status: {of: node-1, as: alive, seen-by: node-1}\n",
            3,
            "only node-1 looking at itself",
        ),
        (
            TIMED + "expect:\n  - status: {of: node-1, as: [alive, failed, left, none]}\n",
            3,
            "it could not fail",
        ),
        (TIMED + "expect:\n  - status: {of: node-1, as: []}\n", 3, "status.as: found none"),
        (TIMED + "expect:\n  - status: {of: random, as: alive}\n", 3, "found 'random'; allowed in"),
        ("cluster: {nodes: 1}\nexpect:\n  - converged:\n", 3, "found one node in all"),
        ("cluster: {nodes: 1}\nexpect:\n  - agree:\n", 3, "found one node in all"),
        (TIMED + "expect:\n  - load: {}\n", 3, "load: found no limit"),
        ("expect:\n  - health-score: 7\n", 2, "no score is above 7, so allowed are 0 to 6"),
        (
            "cluster: {profile: paper}\nexpect:\n  - health-score: 8\n",
            3,
            "no score is above 8, so allowed are 0 to 7",
        ),
        (
            "steps:\n  - kill: node-1\nexpect:\n  - detected: {of: node-2}\n    within: 5s\n",
            4,
            "found node-2; allowed are the nodes of its step: node-1",
        ),
        (
            "steps:\n  - event: {name: deploy}\nexpect:\n  - event-delivered: update\n",
            4,
            "found 'update'; allowed are events that are sent: deploy",
        ),
        (
            "expect:\n  - dissemination: {of: 'node-*', as: alive, max: 5s}\n",
            2,
            "allowed is the name of one node",
        ),
    ],
)
def test_what_could_not_fail_or_never_hold_is_refused(text: str, line: int, complaint: str) -> None:
    with pytest.raises(ConfigError) as caught:
        load_text(text)
    assert str(caught.value).startswith(f"scenario:{line}: ")
    assert complaint in str(caught.value)


@pytest.mark.parametrize(
    "text",
    [
        TIMED + "expect:\n  - false-positives: 0\n",
        "expect:\n  - false-positives: 0\n    at: 5s\n",
        "expect:\n  - health-score: 6\n",
        "steps:\n  - kill: random\nexpect:\n  - detected: {of: node-2}\n    within: 5s\n",
        "steps:\n  - {after: converged, timeout: 5s, churn: {for: 2m}}\nexpect:\n  - agree:\n",
        "steps:\n  - partition: {side: random 2}\n" + EXPECT,
        "cluster: {nodes: [a, b]}\nsteps:\n  - kill: a\n" + EXPECT,
        "steps:\n  - {after: 20s, heal: }\n  - {after: agree, heal: }\n  - {at: 20s, heal: }\n"
        + EXPECT,
        "steps:\n  - repeat: {times: 3, every: 10s, steps: [{after: 2s, heal: }]}\n"
        "  - {at: 30s, heal: }\n" + EXPECT,
    ],
)
def test_what_can_fail_and_be_done_is_accepted(text: str) -> None:
    load_text(text)
