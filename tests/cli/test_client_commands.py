"""The commands that ask an agent, against recorded answers of real Nomad agents."""

from __future__ import annotations

import base64
import socket

import pytest

from tests.cli.cli_support import (
    RECORDED,
    CommandLine,
    Reply,
    fake_agent,
    members_reply,
    recorded,
    recorded_members,
    reply,
)

MEMBERS = "GET /v1/agent/members"
JOIN = "PUT /v1/agent/join"
FORCE_LEAVE = "PUT /v1/agent/force-leave"
SELF = "GET /v1/agent/self"
HEALTH = "GET /v1/agent/health"
SERVERS = "GET /v1/agent/servers"
SET_SERVERS = "PUT /v1/agent/servers"
LEAVE = "PUT /v1/swimnomad/leave"


@pytest.fixture
def swimnomad(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> CommandLine:
    return CommandLine(capsys, monkeypatch)


def lines(text: str) -> list[list[str]]:
    return [line.split() for line in text.splitlines()]


def test_members_are_a_table_sorted_by_region_datacenter_and_name(swimnomad: CommandLine) -> None:
    with fake_agent({MEMBERS: recorded("members")}) as agent:
        outcome = swimnomad("members", "--address", agent.address)
    assert (outcome.status, outcome.err) == (0, "")
    heading, *rows = lines(outcome.out)
    assert heading[:4] == ["Name", "Address", "Port", "Status"]
    assert [row[0] for row in rows] == sorted(member["Name"] for member in recorded_members())
    assert rows[0] == ["s1.global", "127.0.61.1", "4648", "alive", "2", "1.0.4", "dc1", "global"]


def test_members_as_json_are_the_agents_own_answer(swimnomad: CommandLine) -> None:
    with fake_agent({MEMBERS: recorded("members")}) as agent:
        outcome = swimnomad("members", "--address", agent.address, "--json")
    assert outcome.status == 0
    assert outcome.json() == RECORDED["members"]["body"]


def test_long_rows_are_not_folded_or_cut_in_a_pipe(swimnomad: CommandLine) -> None:
    with fake_agent({MEMBERS: members_reply(**{"n" * 300: "alive"})}) as agent:
        outcome = swimnomad("members", "--address", agent.address)
    assert "n" * 300 + ".global" in outcome.out
    assert len(outcome.out.splitlines()) == 2


def test_a_name_that_looks_like_markup_is_printed_as_it_is(swimnomad: CommandLine) -> None:
    with fake_agent({MEMBERS: members_reply(**{"[red]x[/red]": "alive"})}) as agent:
        outcome = swimnomad("members", "--address", agent.address)
    assert "[red]x[/red].global" in outcome.out


def test_statuses_are_coloured_unless_no_color_is_set(swimnomad: CommandLine) -> None:
    with fake_agent({MEMBERS: members_reply(s1="alive", s9="failed")}) as agent:
        swimnomad.environment.setenv("FORCE_COLOR", "1")
        swimnomad.environment.setenv("TERM", "xterm")
        plain = swimnomad("members", "--address", agent.address)
        swimnomad.environment.delenv("NO_COLOR")
        coloured = swimnomad("members", "--address", agent.address)
        as_json = swimnomad("members", "--json", "--address", agent.address)
    assert "\x1b[32malive" in coloured.out
    assert "\x1b[1;31mfailed" in coloured.out
    assert "\x1b[3" not in plain.out
    assert "\x1b" not in as_json.out


def test_address_token_and_region_come_from_the_environment(swimnomad: CommandLine) -> None:
    with fake_agent({MEMBERS: recorded("members")}) as agent:
        swimnomad.environment.setenv("NOMAD_ADDR", agent.address)
        swimnomad.environment.setenv("NOMAD_TOKEN", "698faf48-793e-39d3-747f-394f0bde264e")
        swimnomad.environment.setenv("NOMAD_REGION", "eu")
        assert swimnomad("members").status == 0
        [request] = agent.requests
    assert request.headers["X-Nomad-Token"] == "698faf48-793e-39d3-747f-394f0bde264e"
    assert request.query == [("region", "eu")]


def test_flags_win_over_the_environment_and_take_one_dash_as_nomads_do(
    swimnomad: CommandLine,
) -> None:
    with fake_agent({MEMBERS: recorded("members")}) as agent:
        swimnomad.environment.setenv("NOMAD_ADDR", "http://127.0.77.2:1")
        swimnomad.environment.setenv("NOMAD_REGION", "eu")
        outcome = swimnomad("members", f"-address={agent.address}", "-region", "us", "-json")
        assert outcome.status == 0
        assert agent.requests[0].query == [("region", "us")]


def test_no_token_header_is_sent_without_a_token(swimnomad: CommandLine) -> None:
    with fake_agent({MEMBERS: recorded("members")}) as agent:
        swimnomad("members", "--address", agent.address)
        assert "X-Nomad-Token" not in agent.requests[0].headers


def test_a_refused_question_is_one_sentence_with_the_agents_words(swimnomad: CommandLine) -> None:
    with fake_agent({MEMBERS: recorded("members-denied")}) as agent:
        outcome = swimnomad("members", "--address", agent.address)
    assert (outcome.status, outcome.out) == (1, "")
    outcome.assert_one_line(agent.address, "/v1/agent/members", "403", "Permission denied")


def test_an_agent_that_does_not_run_is_named_with_how_to_name_another(
    swimnomad: CommandLine,
) -> None:
    with socket.create_server(("127.0.77.3", 0)) as taken:
        address = f"http://127.0.77.3:{taken.getsockname()[1]}"
    for words in (["members"], ["info"], ["health"], ["servers"]):
        outcome = swimnomad(*words, "--address", address)
        assert (outcome.status, outcome.out) == (1, "")
        outcome.assert_one_line(address, "no connection", "--address", "NOMAD_ADDR")
        assert "certainly not done" not in outcome.err  # a question changes nothing anyway
    for words in (["join", "127.0.0.2"], ["leave"], ["servers", "--set", "127.0.0.2"]):
        outcome = swimnomad(*words, "--address", address)
        assert outcome.status == 1
        outcome.assert_one_line(address, "no connection", "certainly not done")


def test_a_connection_that_breaks_after_the_request_leaves_the_outcome_unknown(
    swimnomad: CommandLine,
) -> None:
    import threading

    with socket.create_server(("127.0.77.4", 0)) as server:

        def read_and_hang_up() -> None:
            peer, _ = server.accept()
            with peer:
                peer.recv(65_536)

        thread = threading.Thread(target=read_and_hang_up)
        thread.start()
        address = f"http://127.0.77.4:{server.getsockname()[1]}"
        outcome = swimnomad("leave", "--address", address)
        thread.join()
    assert outcome.status == 1
    outcome.assert_one_line(address, "the connection broke", "outcome unknown")


@pytest.mark.parametrize("words", [["members"], ["members", "--json"], ["info"], ["health"]])
def test_something_that_is_no_agent_is_noticed(swimnomad: CommandLine, words: list[str]) -> None:
    page = Reply(200, b"<html>hello</html>", "text/html")
    with fake_agent({MEMBERS: page, SELF: page, HEALTH: page}) as agent:
        outcome = swimnomad(*words, "--address", agent.address)
    assert (outcome.status, outcome.out) == (1, "")
    outcome.assert_one_line(agent.address, "what no agent does")


def test_json_of_another_shape_is_noticed_and_named(swimnomad: CommandLine) -> None:
    with fake_agent({MEMBERS: reply({"Members": [{"Name": "x"}]})}) as agent:
        outcome = swimnomad("members", "--address", agent.address)
    assert outcome.status == 1
    outcome.assert_one_line("Addr", "$.Members[0]")


def test_join_sends_every_address_and_says_how_many_answered(swimnomad: CommandLine) -> None:
    with fake_agent({JOIN: recorded("join")}) as agent:
        outcome = swimnomad("join", "127.0.61.2", "127.0.61.3:4648", "--address", agent.address)
        [request] = agent.requests
    assert (outcome.status, outcome.out, outcome.err) == (0, "Joined: 2 contacts answered\n", "")
    assert request.query == [("address", "127.0.61.2"), ("address", "127.0.61.3:4648")]


def test_a_join_that_half_succeeded_says_so(swimnomad: CommandLine) -> None:
    with fake_agent({JOIN: recorded("join-one")}) as agent:
        outcome = swimnomad("join", "127.0.61.2", "127.0.61.99", "--address", agent.address)
    assert outcome.status == 0
    assert outcome.out == "Joined: 1 contact answered; 1 of the 2 addresses did not\n"


def test_a_refused_join_is_certainly_not_done(swimnomad: CommandLine) -> None:
    with fake_agent({JOIN: recorded("join-refused")}) as agent:
        outcome = swimnomad("join", "127.0.61.99", "--address", agent.address)
    assert (outcome.status, outcome.out) == (1, "")
    outcome.assert_one_line("dial tcp 127.0.61.99:4648", "refused", "certainly not done")


def test_a_join_that_failed_halfway_leaves_the_outcome_unknown(swimnomad: CommandLine) -> None:
    error = (
        "2 errors occurred:\n\t* Failed to join 127.0.61.98: dial tcp 127.0.61.98:4648: connect:"
        " connection refused\n\t* Failed to join 127.0.2.1: Remote state is encrypted and"
        " encryption is not configured\n\n"
    )
    with fake_agent({JOIN: reply({"error": error, "num_joined": 0})}) as agent:
        outcome = swimnomad("join", "127.0.61.98", "127.0.2.1", "--address", agent.address)
    assert outcome.status == 1
    outcome.assert_one_line("refused; Failed to join 127.0.2.1: Remote", "outcome unknown")


def test_a_failed_join_as_json_prints_the_answer_and_still_fails(swimnomad: CommandLine) -> None:
    with fake_agent({JOIN: recorded("join-refused")}) as agent:
        outcome = swimnomad("join", "127.0.61.99", "--json", "--address", agent.address)
    assert outcome.status == 1
    assert outcome.json() == RECORDED["join-refused"]["body"]


def test_joining_through_a_client_agent_is_refused_as_the_agent_says(
    swimnomad: CommandLine,
) -> None:
    with fake_agent({JOIN: recorded("join-wrong-role")}) as agent:
        outcome = swimnomad("join", "127.0.61.1", "--address", agent.address)
    assert outcome.status == 1
    outcome.assert_one_line("501 Invalid method", "certainly not done")


def test_force_leave_looks_before_and_after(swimnomad: CommandLine) -> None:
    before, after = members_reply(s1="alive", s9="failed"), members_reply(s1="alive", s9="left")
    with fake_agent({MEMBERS: [before, after], FORCE_LEAVE: recorded("force-leave")}) as agent:
        outcome = swimnomad("force-leave", "s9.global", "--address", agent.address)
        asked = [(request.method, request.path, request.query) for request in agent.requests]
    assert (outcome.status, outcome.out) == (0, "s9.global was failed and is now left\n")
    assert asked[1] == ("PUT", "/v1/agent/force-leave", [("node", "s9.global")])


def test_force_leave_as_json_tells_both_statuses(swimnomad: CommandLine) -> None:
    before, after = members_reply(s9="failed"), members_reply(s9="left")
    with fake_agent({MEMBERS: [before, after], FORCE_LEAVE: recorded("force-leave")}) as agent:
        outcome = swimnomad("force-leave", "s9.global", "--json", "--address", agent.address)
    assert outcome.status == 0
    assert outcome.json() == {"node": "s9.global", "before": "failed", "after": "left"}


def test_force_leave_of_an_unknown_name_does_nothing_and_names_the_known(
    swimnomad: CommandLine,
) -> None:
    with fake_agent({MEMBERS: members_reply(s1="alive", s9="failed")}) as agent:
        outcome = swimnomad("force-leave", "s9", "--address", agent.address)
        assert [request.method for request in agent.requests] == ["GET"]
    assert outcome.status == 1
    outcome.assert_one_line("'s9'", "s1.global, s9.global", "certainly not done")


def test_force_leave_of_a_live_member_is_no_success(swimnomad: CommandLine) -> None:
    before, after = members_reply(s1="alive", s2="alive"), members_reply(s1="alive", s2="leaving")
    with fake_agent({MEMBERS: [before, after], FORCE_LEAVE: recorded("force-leave")}) as agent:
        outcome = swimnomad("force-leave", "s2.global", "--address", agent.address)
    assert (outcome.status, outcome.out) == (1, "")
    outcome.assert_one_line("s2.global was alive and is leaving", "outcome unknown")


def test_pruning_asks_for_it_and_expects_the_member_to_be_forgotten(
    swimnomad: CommandLine,
) -> None:
    before, gone, left = (
        members_reply(s1="alive", s9="failed"),
        members_reply(s1="alive"),
        members_reply(s1="alive", s9="left"),
    )
    words = ("force-leave", "--prune", "s9.global", "--address")
    with fake_agent({MEMBERS: [before, gone], FORCE_LEAVE: recorded("force-leave")}) as agent:
        outcome = swimnomad(*words, agent.address)
        assert agent.requests[1].query == [("node", "s9.global"), ("prune", "1")]
    assert (outcome.status, outcome.out) == (0, "s9.global was failed and is now forgotten\n")
    with fake_agent({MEMBERS: [before, left], FORCE_LEAVE: recorded("force-leave")}) as agent:
        outcome = swimnomad(*words, agent.address)
    assert outcome.status == 1
    outcome.assert_one_line("s9.global is left but not forgotten")


def test_a_denied_force_leave_is_certainly_not_done(swimnomad: CommandLine) -> None:
    replies = {MEMBERS: members_reply(s9="failed"), FORCE_LEAVE: recorded("force-leave-denied")}
    with fake_agent(replies) as agent:
        outcome = swimnomad("force-leave", "s9.global", "--address", agent.address)
    assert outcome.status == 1
    outcome.assert_one_line("403 Permission denied", "certainly not done")


def test_a_force_leave_that_timed_out_leaves_the_outcome_unknown(swimnomad: CommandLine) -> None:
    late = Reply(500, b"timed out broadcasting node removal", "text/plain; charset=utf-8")
    with fake_agent({MEMBERS: members_reply(s9="failed"), FORCE_LEAVE: late}) as agent:
        outcome = swimnomad("force-leave", "s9.global", "--address", agent.address)
    assert outcome.status == 1
    outcome.assert_one_line("timed out broadcasting node removal", "outcome unknown")


def test_leave_tells_the_agent_to_leave(swimnomad: CommandLine) -> None:
    with fake_agent({LEAVE: reply({"heard": True})}) as agent:
        outcome = swimnomad("leave", "--address", agent.address)
        as_json = swimnomad("leave", "--json", "--address", agent.address)
    assert outcome.status == 0
    assert agent.address in outcome.out
    assert as_json.json() == {"heard": True}


def test_a_leave_that_nobody_may_have_heard_is_unknown(swimnomad: CommandLine) -> None:
    with fake_agent({LEAVE: reply({"heard": False})}) as agent:
        outcome = swimnomad("leave", "--address", agent.address)
    assert (outcome.status, outcome.out) == (1, "")
    outcome.assert_one_line("has left", "outcome unknown")


def test_a_real_nomad_agent_cannot_be_told_to_leave(swimnomad: CommandLine) -> None:
    with fake_agent({}) as agent:
        outcome = swimnomad("leave", "--address", agent.address)
    assert outcome.status == 1
    outcome.assert_one_line("404", "certainly not done")


def test_info_prints_the_statistics_block_by_block(swimnomad: CommandLine) -> None:
    with fake_agent({SELF: recorded("self")}) as agent:
        outcome = swimnomad("info", "--address", agent.address)
        as_json = swimnomad("info", "--json", "--address", agent.address)
    stats: dict[str, dict[str, str]] = RECORDED["self"]["body"]["stats"]
    expected = []
    for block in sorted(stats):
        expected += [block, *(f"  {key} = {stats[block][key]}" for key in sorted(stats[block]))]
    assert outcome.out.splitlines() == expected
    assert as_json.json() == RECORDED["self"]["body"]


def test_a_healthy_agent_is_status_0(swimnomad: CommandLine) -> None:
    with fake_agent({HEALTH: recorded("health")}) as agent:
        outcome = swimnomad("health", "--address", agent.address)
        as_json = swimnomad("health", "--json", "--address", agent.address)
    assert outcome.status == 0
    assert lines(outcome.out)[1:] == [["client", "healthy", "ok"], ["server", "healthy", "ok"]]
    assert (as_json.status, as_json.json()) == (0, RECORDED["health"]["body"])


def test_an_unhealthy_agent_is_status_1_with_its_reason(swimnomad: CommandLine) -> None:
    with fake_agent({HEALTH: recorded("health-sick")}) as agent:
        outcome = swimnomad("health", "--address", agent.address)
        as_json = swimnomad("health", "--json", "--address", agent.address)
    assert outcome.status == as_json.status == 1
    assert lines(outcome.out)[1] == ["server", "unhealthy", "No", "cluster", "leader"]
    outcome.assert_one_line(agent.address, "server: No cluster leader")
    assert as_json.json() == {"server": {"ok": False, "message": "No cluster leader"}}


def test_servers_of_a_client_agent_are_listed(swimnomad: CommandLine) -> None:
    with fake_agent({SERVERS: recorded("servers")}) as agent:
        outcome = swimnomad("servers", "--address", agent.address)
        as_json = swimnomad("servers", "--json", "--address", agent.address)
    assert outcome.out.split() == as_json.json() == RECORDED["servers"]["body"]


def test_servers_of_a_server_agent_are_refused_as_it_says(swimnomad: CommandLine) -> None:
    replies = {
        SERVERS: recorded("servers-wrong-role"),
        SET_SERVERS: recorded("servers-set-wrong-role"),
    }
    with fake_agent(replies) as agent:
        outcome = swimnomad("servers", "--address", agent.address)
        setting = swimnomad("servers", "--set", "127.0.61.1", "--address", agent.address)
    assert outcome.status == setting.status == 1
    outcome.assert_one_line("501 Invalid method")
    setting.assert_one_line("501 Invalid method", "certainly not done")


def test_setting_servers_prints_the_list_that_the_agent_has_then(swimnomad: CommandLine) -> None:
    replies = {SERVERS: reply(["127.0.61.1:4647"]), SET_SERVERS: recorded("servers-set")}
    with fake_agent(replies) as agent:
        words = ("servers", "--set", "127.0.61.1:4647", "127.0.61.99", "--address", agent.address)
        outcome = swimnomad(*words)
        assert agent.requests[0].query == [
            ("address", "127.0.61.1:4647"),
            ("address", "127.0.61.99"),
        ]
    assert (outcome.status, outcome.out) == (0, "127.0.61.1:4647\n")


def test_servers_that_do_not_answer_are_refused_as_the_agent_says(swimnomad: CommandLine) -> None:
    with fake_agent({SET_SERVERS: recorded("servers-set-refused")}) as agent:
        outcome = swimnomad("servers", "--set", ":4647", "--address", agent.address)
    assert outcome.status == 1
    outcome.assert_one_line("Server at address :4647 failed ping", "certainly not done")


def test_keys_are_32_random_bytes_in_base64(swimnomad: CommandLine) -> None:
    first, second = swimnomad("keygen"), swimnomad("keygen", "--json")
    assert first.status == second.status == 0
    keys = {first.out.strip(), second.json()["Key"]}
    assert [len(base64.b64decode(key, validate=True)) for key in keys] == [32, 32]
