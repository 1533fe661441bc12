"""The commands about nodes, Raft, autopilot and ACLs, against answers of real Nomad agents."""

from __future__ import annotations

import io
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from tests.cli.cli_support import (
    RECORDED,
    CommandLine,
    FakeAgent,
    Outcome,
    Reply,
    fake_agent,
    members_reply,
    recorded,
    reply,
)

NODES = "GET /v1/nodes"
RAFT = "GET /v1/operator/raft/configuration"
PEER = "DELETE /v1/operator/raft/peer"
TRANSFER = "PUT /v1/operator/raft/transfer-leadership"
AUTOPILOT = "GET /v1/operator/autopilot/configuration"
SET_AUTOPILOT = "PUT /v1/operator/autopilot/configuration"
HEALTH = "GET /v1/operator/autopilot/health"
BOOTSTRAP = "PUT /v1/acl/bootstrap"
POLICIES = "GET /v1/acl/policies"
TOKENS = "GET /v1/acl/tokens"
MEMBERS = "GET /v1/agent/members"

NODE_ID = "b651d636-4792-1f6f-1677-a8e708a22567"
NODE = f"GET /v1/node/{NODE_ID}"
ACCESSOR = "7a85ead8-dc64-3ad1-2a55-b4788e5b1115"
TOKEN = f"/v1/acl/token/{ACCESSOR}"


class Site:
    """Command lines that ask one fake agent."""

    def __init__(self, swimnomad: CommandLine) -> None:
        self._swimnomad = swimnomad
        self.agent: FakeAgent

    def ask(self, replies: Mapping[str, Reply | list[Reply]], *words: str) -> Outcome:
        """Run a command line against an agent that answers so."""
        with fake_agent(replies) as self.agent:
            return self._swimnomad(*words, "--address", self.agent.address)

    def asked(self) -> list[tuple[str, str, list[tuple[str, str]]]]:
        """What the agent was asked: method, path, query."""
        return [(item.method, item.path, item.query) for item in self.agent.requests]


@pytest.fixture
def swimnomad(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> CommandLine:
    return CommandLine(capsys, monkeypatch)


@pytest.fixture
def site(swimnomad: CommandLine) -> Site:
    return Site(swimnomad)


def lines(text: str) -> list[list[str]]:
    return [line.split() for line in text.splitlines()]


def body_of(name: str) -> Any:  # noqa: ANN401 (tests look into any JSON)
    return RECORDED[name]["body"]


# --- nodes ----------------------------------------------------------------------------------------


def test_nodes_are_a_table_as_nomads(site: Site) -> None:
    outcome = site.ask({NODES: recorded("nodes")}, "nodes")
    assert (outcome.status, outcome.err) == (0, "")
    assert lines(outcome.out) == [
        ["ID", "DC", "Name", "Class", "Drain", "Eligibility", "Status"],
        ["8f0eef19", "dc1", "c1", "<none>", "false", "eligible", "ready"],
    ]
    assert site.asked() == [("GET", "/v1/nodes", [])]


def test_more_of_nodes_is_shown_on_demand(site: Site) -> None:
    outcome = site.ask({NODES: recorded("nodes")}, "nodes", "-verbose", "-stale")
    heading, row = lines(outcome.out)
    assert heading[4:6] == ["Address", "Version"]
    assert row[0] == "8f0eef19-c8e1-0bb1-88ed-33a5c47b3159"
    assert row[4:6] == ["127.0.61.11", "1.0.4"]
    assert site.asked() == [("GET", "/v1/nodes", [("stale", "")])]


def test_nodes_stand_by_datacenter_and_name(site: Site) -> None:
    [one] = body_of("nodes")
    listed = [
        {**one, "Datacenter": datacenter, "Name": name}
        for datacenter, name in (("dc2", "a"), ("dc1", "c"), ("dc1", "b"))
    ]
    outcome = site.ask({NODES: reply(listed)}, "nodes")
    assert [row[2] for row in lines(outcome.out)[1:]] == ["b", "c", "a"]


def test_a_region_without_nodes_says_so(site: Site) -> None:
    assert site.ask({NODES: reply([])}, "nodes").out == "No nodes registered\n"
    assert site.ask({NODES: reply([])}, "nodes", "--json").json() == []


def test_without_a_leader_nothing_is_listed(site: Site) -> None:
    outcome = site.ask({NODES: recorded("nodes-no-leader")}, "nodes")
    assert (outcome.status, outcome.out) == (1, "")
    outcome.assert_one_line("500 No cluster leader")


@pytest.mark.parametrize(
    ("given", "prefix"), [("b651", "b651"), ("B651d", "b651"), (NODE_ID, NODE_ID)]
)
def test_a_node_is_found_by_the_beginning_of_its_id(site: Site, given: str, prefix: str) -> None:
    outcome = site.ask({NODES: recorded("nodes-prefix"), NODE: recorded("node")}, "node", given)
    assert (outcome.status, outcome.err) == (0, "")
    described, _, events = outcome.out.partition("\n\n")
    pairs = dict(line.replace(" ", "").split("=") for line in described.splitlines())
    assert pairs["ID"] == NODE_ID
    assert (pairs["Name"], pairs["Class"], pairs["DC"]) == ("dev1", "<none>", "dc1")
    assert (pairs["Address"], pairs["Version"]) == ("127.0.60.1:4646", "1.0.4")
    assert (pairs["Drain"], pairs["Eligibility"], pairs["Status"]) == ("false", "eligible", "ready")
    assert lines(events)[:2] == [["Node", "Events"], ["Time", "Subsystem", "Message"]]
    assert lines(events)[2][2:] == ["Node", "registered"]
    assert site.asked()[0] == ("GET", "/v1/nodes", [("prefix", prefix)])


def test_the_latest_event_of_a_node_stands_first(site: Site) -> None:
    events = [
        {"Timestamp": f"2026-11-23T09:3{number}:00Z", "Subsystem": "Cluster", "Message": text}
        for number, text in enumerate(("Node registered", "Node heartbeat missed"))
    ]
    shown = {**body_of("node"), "Events": events, "Status": "down", "StatusDescription": "gone"}
    replies = {NODES: recorded("nodes-prefix"), NODE: reply(shown)}
    outcome = site.ask(replies, "node", NODE_ID)
    assert "missed" in outcome.out.splitlines()[-2]
    assert "registered" in outcome.out.splitlines()[-1]
    assert "Description = gone" in outcome.out
    without = {NODES: recorded("nodes-prefix"), NODE: reply({**shown, "Events": None})}
    assert "Node Events" not in site.ask(without, "node", NODE_ID).out


def test_a_node_as_json_is_the_agents_own_answer(site: Site) -> None:
    replies = {NODES: recorded("nodes-prefix"), NODE: recorded("node")}
    assert site.ask(replies, "node", "b651", "--json").json() == body_of("node")


def test_a_node_that_is_not_there_or_not_the_only_one_is_not_shown(site: Site) -> None:
    [one] = body_of("nodes-prefix")
    other = {**one, "ID": NODE_ID[:-1] + "0", "Name": "dev2"}
    unknown = site.ask({NODES: recorded("nodes-prefix")}, "node", "b65f0")
    assert unknown.status == 1
    unknown.assert_one_line("no node whose id begins with 'b65f0'")
    both = site.ask({NODES: reply([one, other])}, "node", "b651")
    assert both.status == 1
    both.assert_one_line("several ids", f"{NODE_ID} (dev1)", "(dev2)")
    assert len(site.asked()) == 1


# --- Raft -----------------------------------------------------------------------------------------


def test_peers_are_a_table_as_nomads(site: Site) -> None:
    outcome = site.ask({RAFT: recorded("raft")}, "operator", "raft", "list-peers")
    assert (outcome.status, outcome.err) == (0, "")
    assert lines(outcome.out) == [
        ["Node", "ID", "Address", "State", "Voter", "RaftProtocol"],
        ["s3.global", "127.0.61.3:4647", "127.0.61.3:4647", "follower", "true", "2"],
        ["s2.global", "127.0.61.2:4647", "127.0.61.2:4647", "leader", "true", "2"],
        ["s1.global", "127.0.61.1:4647", "127.0.61.1:4647", "follower", "true", "2"],
    ]


def test_peers_may_be_asked_of_anybody_and_as_json(site: Site) -> None:
    words = ("operator", "raft", "list-peers", "--stale", "--json")
    assert site.ask({RAFT: recorded("raft")}, *words).json() == body_of("raft")
    assert site.asked() == [("GET", "/v1/operator/raft/configuration", [("stale", "")])]
    none = site.ask({RAFT: reply({"Index": 0, "Servers": None})}, *words[:3])
    assert len(none.out.splitlines()) == 1
    without = site.ask({RAFT: recorded("raft-no-leader")}, *words[:3])
    assert without.status == 1
    without.assert_one_line("500 No cluster leader")


@pytest.mark.parametrize(
    ("flag", "what", "value"),
    [("--peer-address", "address", "127.0.61.9:4647"), ("-peer-id", "id", ACCESSOR)],
)
def test_a_peer_is_removed(site: Site, flag: str, what: str, value: str) -> None:
    words = ("operator", "raft", "remove-peer", flag, value)
    outcome = site.ask({PEER: Reply(200)}, *words)
    assert (outcome.status, outcome.out) == (0, f"Removed peer with {what} {value}\n")
    assert site.asked() == [("DELETE", "/v1/operator/raft/peer", [(what, value)])]
    assert site.ask({PEER: Reply(200)}, *words, "--json").json() == {}


def test_a_peer_that_is_none_is_certainly_not_removed(site: Site) -> None:
    words = ("operator", "raft", "remove-peer", "--peer-address", "127.0.60.9:4647")
    outcome = site.ask({PEER: recorded("raft-peer-unknown")}, *words)
    assert (outcome.status, outcome.out) == (1, "")
    outcome.assert_one_line("DELETE", "was not found in the Raft", "certainly not done")
    lost = site.ask({PEER: Reply(500, b"leadership lost while committing log")}, *words)
    lost.assert_one_line("leadership lost", "outcome unknown")


@pytest.mark.parametrize(
    ("peer", "what"), [(ACCESSOR, "id"), ("127.0.61.3:4647", "address"), ("[::1]:4647", "address")]
)
def test_leadership_is_handed_to_whom_the_operator_names(site: Site, peer: str, what: str) -> None:
    words = ("operator", "raft", "transfer-leadership", peer)
    outcome = site.ask({TRANSFER: Reply(200)}, *words)
    assert (outcome.status, outcome.out) == (0, f"Leadership is handed over to {peer}\n")
    assert site.asked() == [("PUT", "/v1/operator/raft/transfer-leadership", [(what, peer)])]


def test_leadership_is_handed_to_a_voter_that_is_alive(site: Site) -> None:
    replies = {
        MEMBERS: members_reply(s1="alive", s2="alive", s3="failed"),
        RAFT: recorded("raft"),
        TRANSFER: Reply(200),
    }
    words = ("operator", "raft", "transfer-leadership")
    outcome = site.ask(replies, *words)
    assert outcome.out == "Leadership is handed over to 127.0.61.1:4647\n"
    assert site.asked()[-1][2] == [("address", "127.0.61.1:4647")]
    alone = site.ask(replies | {MEMBERS: members_reply(s2="alive", s3="failed")}, *words)
    assert alone.status == 1
    alone.assert_one_line("no other voter is alive", "certainly not done")
    assert all(method == "GET" for method, _, _ in site.asked())


# --- autopilot ------------------------------------------------------------------------------------


def test_what_autopilot_was_told_is_shown_as_nomads(site: Site) -> None:
    words = ("operator", "autopilot", "get-config")
    outcome = site.ask({AUTOPILOT: recorded("autopilot")}, *words)
    assert outcome.status == 0
    assert sorted(outcome.out.splitlines()) == [
        "CleanupDeadServers = true",
        "DisableUpgradeMigration = false",
        "EnableCustomUpgrades = false",
        "EnableRedundancyZones = false",
        "LastContactThreshold = 200ms",
        "MaxTrailingLogs = 250",
        "MinQuorum = 0",
        "ServerStabilizationTime = 10s",
    ]
    as_json = site.ask({AUTOPILOT: recorded("autopilot")}, *words, "--json")
    assert as_json.json() == body_of("autopilot")


def test_autopilot_is_told_only_what_changes(site: Site) -> None:
    replies = {AUTOPILOT: recorded("autopilot"), SET_AUTOPILOT: reply(True)}
    flags = ("-cleanup-dead-servers=false", "-min-quorum", "3", "--last-contact-threshold", "1s")
    outcome = site.ask(replies, "operator", "autopilot", "set-config", *flags)
    assert (outcome.status, outcome.out, outcome.err) == (0, "Configuration updated\n", "")
    changes = {"CleanupDeadServers": False, "MinQuorum": 3, "LastContactThreshold": "1s"}
    order = site.agent.requests[-1]
    assert order.query == [("cas", "4")]
    assert order.json() == body_of("autopilot") | changes


def test_a_switch_alone_is_on_as_gos_flags_are(site: Site) -> None:
    replies = {AUTOPILOT: recorded("autopilot"), SET_AUTOPILOT: reply(True)}
    flags = ("--enable-custom-upgrades", "--server-stabilization-time", "20s", "--json")
    outcome = site.ask(replies, "operator", "autopilot", "set-config", *flags)
    assert outcome.json() is True
    sent = site.agent.requests[-1].json()
    assert (sent["EnableCustomUpgrades"], sent["ServerStabilizationTime"]) == (True, "20s")


def test_a_change_that_came_second_is_not_made(site: Site) -> None:
    replies = {AUTOPILOT: recorded("autopilot"), SET_AUTOPILOT: reply(False)}
    outcome = site.ask(replies, "operator", "autopilot", "set-config", "--max-trailing-logs", "9")
    assert (outcome.status, outcome.out) == (1, "")
    outcome.assert_one_line("changed by somebody else", "certainly not done")


def region_health(*, healthy: bool) -> dict[str, object]:
    server = {
        "LastContact": "0s",
        "ID": ACCESSOR,
        "Name": "s1.global",
        "Address": "127.0.61.1:4647",
        "SerfStatus": "alive",
        "Version": "1.0.4",
        "Leader": True,
        "LastTerm": 2,
        "LastIndex": 12,
        "Healthy": True,
        "Voter": True,
        "StableSince": "2026-11-23T09:30:10Z",
    }
    sick = {**server, "Name": "s2.global", "Leader": False, "Healthy": healthy}
    return {"FailureTolerance": 0, "Healthy": healthy, "Servers": [server, sick]}


def test_health_of_the_servers_is_a_table_and_a_status(site: Site) -> None:
    words = ("operator", "autopilot", "health")
    outcome = site.ask({HEALTH: reply(region_health(healthy=True))}, *words)
    assert (outcome.status, outcome.err) == (0, "")
    shown = lines(outcome.out)
    assert shown[:2] == [["Healthy", "=", "true"], ["FailureTolerance", "=", "0"]]
    assert shown[4][:8] == [
        *("s1.global", ACCESSOR, "127.0.61.1:4647", "alive", "1.0.4", "leader", "true", "true")
    ]
    sick = site.ask({HEALTH: reply(region_health(healthy=False), 429)}, *words, "--json")
    assert sick.status == 1
    assert sick.json() == region_health(healthy=False)
    sick.assert_one_line("not healthy: s2.global")


def test_health_needs_a_new_raft_protocol(site: Site) -> None:
    words = ("operator", "autopilot", "health")
    outcome = site.ask({HEALTH: recorded("autopilot-health-old")}, *words)
    assert outcome.status == 1
    outcome.assert_one_line("raft_protocol set to 3 or higher")


# --- ACL ------------------------------------------------------------------------------------------


def test_the_first_token_is_shown_as_nomads(site: Site) -> None:
    outcome = site.ask({BOOTSTRAP: recorded("acl-bootstrap")}, "acl", "bootstrap")
    assert outcome.status == 0
    assert outcome.out.splitlines() == [
        "Accessor ID  = d655c864-6fab-663f-7922-36481a56f15b",
        "Secret ID    = c6d5666e-60af-cecc-edf2-2fbd378a5db2",
        "Name         = Bootstrap Token",
        "Type         = management",
        "Global       = true",
        "Policies     = n/a",
        "Create Time  = 2026-11-23T09:39:10.557992244Z",
        "Create Index = 17",
        "Modify Index = 17",
    ]
    again = site.ask({BOOTSTRAP: recorded("acl-bootstrap-again")}, "acl", "bootstrap")
    assert again.status == 1
    again.assert_one_line("ACL bootstrap already done (reset index: 17)", "certainly not done")
    off = site.ask({BOOTSTRAP: recorded("acl-off")}, "acl", "bootstrap", "--json")
    off.assert_one_line("ACL support disabled", "certainly not done")


@pytest.mark.parametrize("words", [("acl",), ("acl", "policy"), ("acl", "token")], ids=" ".join)
def test_the_help_says_that_acls_are_not_enforced(
    swimnomad: CommandLine, words: tuple[str, ...]
) -> None:
    outcome = swimnomad(*words, "--help")
    assert outcome.status == 0
    assert "not enforced" in " ".join(outcome.out.split())


def test_a_policy_is_written_from_a_file(site: Site, tmp_path: Path) -> None:
    rules = tmp_path / "rules.hcl"
    rules.write_text('agent { policy = "read" }')
    words = ("acl", "policy", "apply", "-description", "x y", "agent-read", str(rules))
    replies = {"PUT /v1/acl/policy/agent-read": recorded("acl-policy-written")}
    outcome = site.ask(replies, *words)
    assert (outcome.status, outcome.out) == (0, "Wrote policy agent-read\n")
    assert site.agent.requests[0].json() == {
        "Name": "agent-read",
        "Description": "x y",
        "Rules": 'agent { policy = "read" }',
    }


def test_a_policy_is_written_from_standard_input(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(b"node {}")))
    replies = {"PUT /v1/acl/policy/a": Reply(200)}
    assert site.ask(replies, "acl", "policy", "apply", "a", "-", "--json").json() == {}
    assert site.agent.requests[0].json()["Rules"] == "node {}"


def test_rules_that_are_no_text_are_not_sent(site: Site, tmp_path: Path) -> None:
    rules = tmp_path / "rules.hcl"
    rules.write_bytes(b"\xff")
    outcome = site.ask({}, "acl", "policy", "apply", "a", str(rules))
    outcome.assert_usage_error("rules.hcl is not UTF-8 text")
    missing = site.ask({}, "acl", "policy", "apply", "a", str(tmp_path / "none"))
    missing.assert_usage_error("none")
    assert site.asked() == []


def test_policies_are_listed_shown_and_deleted(site: Site) -> None:
    listed = site.ask({POLICIES: recorded("acl-policies")}, "acl", "policy", "list")
    assert lines(listed.out)[:2] == [
        ["Name", "Description"],
        ["agent-deny", "agent-deny", "policy"],
    ]
    assert site.ask({POLICIES: reply([])}, "acl", "policy", "list").out == "No policies found\n"
    shown = site.ask(
        {"GET /v1/acl/policy/agent-read": recorded("acl-policy")},
        *("acl", "policy", "info", "agent-read"),
    )
    assert shown.out.splitlines() == [
        "Name        = agent-read",
        "Description = agent-read policy",
        'Rules       = agent { policy = "read" }',
        "CreateIndex = 18",
        "ModifyIndex = 18",
    ]
    gone = site.ask({"DELETE /v1/acl/policy/x": Reply(200)}, "acl", "policy", "delete", "x")
    assert (gone.status, gone.out) == (0, "Deleted policy x\n")


def test_policies_as_json_are_the_agents_own_answers(site: Site) -> None:
    listed = site.ask({POLICIES: recorded("acl-policies")}, "acl", "policy", "list", "--json")
    assert listed.json() == body_of("acl-policies")
    one = {"GET /v1/acl/policy/agent-read": recorded("acl-policy")}
    shown = site.ask(one, "acl", "policy", "info", "agent-read", "--json")
    assert shown.json() == body_of("acl-policy")


def test_a_policy_that_is_not_there_is_said_so(site: Site) -> None:
    unknown = {"GET /v1/acl/policy/nope": recorded("acl-policy-unknown")}
    outcome = site.ask(unknown, "acl", "policy", "info", "nope")
    assert outcome.status == 1
    outcome.assert_one_line("404 ACL policy not found")


def test_a_name_with_odd_characters_stays_one_name(site: Site) -> None:
    with_slash = site.ask({}, "acl", "policy", "delete", "a/b?c")
    assert with_slash.status == 1
    assert site.asked() == [("DELETE", "/v1/acl/policy/a%2Fb%3Fc", [])]


def test_a_token_is_made_with_its_policies(site: Site) -> None:
    flags = ("-name", "agent-read", "-policy=agent-read", "--policy", "b", "--global")
    outcome = site.ask(
        {"PUT /v1/acl/token": recorded("acl-token")}, "acl", "token", "create", *flags
    )
    assert outcome.status == 0
    assert "Policies     = [agent-read]" in outcome.out
    assert site.agent.requests[0].json() == {
        "Name": "agent-read",
        "Type": "client",
        "Policies": ["agent-read", "b"],
        "Global": True,
    }
    words = ("acl", "token", "create", "-type", "management", "--json")
    made = site.ask({"PUT /v1/acl/token": recorded("acl-token")}, *words)
    assert made.json() == body_of("acl-token")
    assert site.agent.requests[0].json()["Policies"] is None


def test_tokens_are_listed_without_secrets(site: Site) -> None:
    outcome = site.ask({TOKENS: recorded("acl-tokens")}, "acl", "token", "list")
    heading, first, *rest = outcome.out.splitlines()
    assert heading.split() == ["Name", "Type", "Global", "Accessor", "ID"]
    assert first.split() == [
        *("agent-write", "client", "false", "03a3cdee-36ea-a1d1-48ca-b0d8be0fa924")
    ]
    assert len(rest) == len(body_of("acl-tokens")) - 1
    assert site.ask({TOKENS: reply([])}, "acl", "token", "list").out == "No tokens found\n"
    as_json = site.ask({TOKENS: recorded("acl-tokens")}, "acl", "token", "list", "--json")
    assert as_json.json() == body_of("acl-tokens")


def test_a_token_is_shown_by_its_accessor_or_its_secret(site: Site) -> None:
    by_accessor = site.ask(
        {f"GET {TOKEN}": recorded("acl-token-self")}, "acl", "token", "info", ACCESSOR
    )
    own = {"GET /v1/acl/token/self": recorded("acl-token-self")}
    by_secret = site.ask(own, "acl", "token", "self", "--token", NODE_ID)
    assert by_secret.out == by_accessor.out
    assert "Accessor ID  = 6020ab00-e87e-e8eb-4687-a33b79877b4d\n" in by_secret.out
    assert site.agent.requests[0].headers["X-Nomad-Token"] == NODE_ID


def test_a_token_is_deleted_once(site: Site) -> None:
    words = ("acl", "token", "delete", ACCESSOR)
    outcome = site.ask({f"DELETE {TOKEN}": recorded("acl-token-deleted")}, *words)
    assert (outcome.status, outcome.out) == (0, f"Deleted token {ACCESSOR}\n")
    again = site.ask({f"DELETE {TOKEN}": recorded("acl-token-deleted-again")}, *words)
    assert again.status == 1
    again.assert_one_line("Cannot delete nonexistent tokens", "certainly not done")


# --- usage ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "named"),
    [
        ("node", "ID is missing"),
        ("node b", "at least two characters"),
        ("operator raft remove-peer", "exactly one of --peer-address and --peer-id"),
        ("operator raft remove-peer --peer-id a --peer-address b", "exactly one of"),
        ("operator autopilot set-config", "nothing to change is given"),
        ("operator autopilot set-config --min-quorum -1", "--min-quorum"),
        ("operator autopilot set-config --cleanup-dead-servers=no", "--cleanup-dead-servers"),
        ("acl token create", "--policy NAME"),
        ("acl token create --type management --policy a", "--policy is for client tokens"),
        ("acl token create --type other", "--type"),
        ("acl token info", "ACCESSOR is missing"),
        ("acl policy info", "NAME is missing"),
        ("acl token self", "--token or NOMAD_TOKEN is needed"),
        ("operator nope", "allowed are autopilot, raft"),
    ],
)
def test_bad_usage_is_one_sentence_and_asks_nobody(site: Site, words: str, named: str) -> None:
    site.ask({}, *words.split()).assert_usage_error(named)
    assert site.asked() == []


@pytest.mark.parametrize(
    "words", [("acl", "token", "info", ""), ("acl", "policy", "delete", "")], ids=" ".join
)
def test_an_empty_name_is_bad_usage(site: Site, words: tuple[str, ...]) -> None:
    site.ask({}, *words).assert_usage_error("is empty")
