"""The check `invariants` in scenario files."""

from __future__ import annotations

import pytest

from swimnomad.errors import ConfigError
from swimnomad.scenario.loader import load_text
from swimnomad.scenario.run import run_scenario

MOVED = """
cluster: {nodes: 3, compat: %s}
duration: 20s
steps:
  - after: converged
    leave: node-3
  - restart: {target: node-3, address: new}
expect:
  - invariants:
    always: true
"""


def test_a_member_that_left_is_not_revived_from_a_new_address_under_safe_rules() -> None:
    result = run_scenario(load_text(MOVED % "safe", on="sim"), 1)
    assert [(check.name, check.passed) for check in result.checks] == [("invariants", True)]
    assert result.checks[0].measured == "they do"


def test_the_check_tells_of_the_first_invariant_that_was_broken() -> None:
    result = run_scenario(load_text(MOVED % "upstream", on="sim"), 1)
    (check,) = result.checks
    assert (check.name, check.passed) == ("invariants", False)
    assert check.expected == "every invariant holds, always"
    assert check.measured.startswith("revival at node-")


def test_invariants_that_nobody_expects_are_not_looked_at() -> None:
    text = (MOVED % "upstream").replace("invariants:", "no-errors:")
    assert run_scenario(load_text(text, on="sim"), 1).passed


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("expect: [invariants: ]", "no time passes in this run"),
        ("duration: 5s\nsteps: [kill: node-1]\nexpect: [{invariants: , within: 5s}]", "within"),
    ],
)
def test_an_expectation_of_invariants_that_could_not_fail_is_refused(
    text: str, complaint: str
) -> None:
    with pytest.raises(ConfigError, match=complaint):
        load_text(text, on="sim")


def test_invariants_cannot_be_looked_at_on_real_agents() -> None:
    with pytest.raises(ConfigError, match="not possible on live"):
        load_text("duration: 5s\nexpect: [invariants: ]", on="live")
