from __future__ import annotations

import io
import json
import re

from hypothesis import given
from hypothesis import strategies as st

from swimnomad.live.console import Console, configuration_block
from swimnomad.live.event_log import EventLog
from swimnomad.live.hostile import HostileLog
from swimnomad.live.log import AgentLog, Level, LogLine, json_form, text_form
from swimnomad.names import Address
from swimnomad.nomad.config import AgentConfig, ServerConfig, dev_config
from swimnomad.nomad.peers import ServerAdded
from swimnomad.nomad.tags import Server
from swimnomad.serf.events import Member, MemberFailed, MemberJoined, MemberLeft, Status
from swimnomad.swim.effects import Event
from swimnomad.swim.events import InputDropped, NodeSuspected

any_char = st.characters(exclude_categories=())
VERSIONS = bytes((1, 5, 2, 2, 5, 4))
MEMBER = Member("s1.global", bytes((10, 0, 0, 1)), 4648, {}, Status.ALIVE, VERSIONS)


def lines_of(*events: Event) -> list[str]:
    lines: list[LogLine] = []
    log = AgentLog(Level.TRACE, lines.append)
    event_log = EventLog("me.global", log.write, lambda: 0.0)
    for event in events:
        event_log.note(event)
    return [text_form(line).partition(" ")[2] for line in lines]


def test_member_events_are_worded_as_by_serf() -> None:
    assert lines_of(
        MemberJoined(MEMBER), MemberFailed(MEMBER), MemberLeft(MEMBER), MemberLeft(MEMBER, True)
    ) == [
        "[INFO]  nomad: serf: EventMemberJoin: s1.global 10.0.0.1",
        "[INFO]  nomad: serf: EventMemberFailed: s1.global 10.0.0.1",
        "[INFO]  nomad: serf: EventMemberLeave: s1.global 10.0.0.1",
        "[INFO]  nomad: serf: EventMemberLeave (forced): s1.global 10.0.0.1",
    ]


def test_a_suspicion_is_logged_by_the_node_whose_probe_failed_only() -> None:
    node = ("s2.global", bytes(4), 4648, b"", VERSIONS, 1)
    assert lines_of(NodeSuspected(*node, accuser="other.global")) == []
    assert lines_of(NodeSuspected(*node, accuser="me.global")) == [
        "[INFO]  nomad: memberlist: Suspect s2.global has failed, no acks received"
    ]


def test_pairs_are_quoted_where_a_reader_would_stumble() -> None:
    line = LogLine(0.0, Level.WARN, "agent.joiner", "join failed", {"a": "b c", "n": 3, "e": ""})
    assert text_form(line).endswith('[WARN]  agent.joiner: join failed: a="b c" n=3 e=""')


def test_json_lines_carry_the_keys_of_nomad() -> None:
    line = LogLine(1614119386.123456, Level.INFO, "nomad", "serf: hello", {"server": "s1"})
    record = json.loads(json_form(line))
    assert record["@level"] == "info"
    assert record["@message"] == "serf: hello"
    assert record["@module"] == "nomad"
    assert record["server"] == "s1"
    assert re.fullmatch(
        r"2021-02-2\dT\d\d:\d\d:\d\d\.123456(Z|[+-]\d\d:\d\d)", record["@timestamp"]
    )


@given(st.text(any_char), st.text(any_char))
def test_words_of_peers_never_make_up_a_line_or_drive_a_terminal(message: str, value: str) -> None:
    lines: list[LogLine] = []
    AgentLog(Level.INFO, lines.append).write(Level.INFO, "nomad", message, key=value)
    assert text_form(lines[0]).isprintable()
    assert json_form(lines[0]).isprintable()


def test_lines_below_the_level_are_not_written() -> None:
    lines: list[LogLine] = []
    log = AgentLog(Level.WARN, lines.append)
    log.write(Level.INFO, "agent", "quiet")
    log.level = Level.INFO
    log.write(Level.INFO, "agent", "loud")
    assert [line.message for line in lines] == ["loud"]


def test_a_hostile_source_is_logged_once_an_interval_with_what_was_swallowed() -> None:
    log = HostileLog(interval=10.0)
    assert log.note("10.0.0.1", "bad checksum", now=0.0) == (
        "dropped input from 10.0.0.1: bad checksum"
    )
    assert log.note("10.0.0.1", "bad checksum", now=5.0) is None
    assert log.note("10.0.0.1", "other", now=9.9) is None
    assert log.note("10.0.0.2", "bad label", now=9.9) is not None
    assert log.note("10.0.0.1", "bad label", now=10.0) == (
        "dropped input from 10.0.0.1: bad label (2 more since the last such line)"
    )


def test_forged_sources_share_one_entry_once_the_table_is_full() -> None:
    log = HostileLog(interval=10.0, sources_max=100)
    logged = [log.note(f"10.0.{n // 250}.{n % 250}", "junk", now=1.0) for n in range(5000)]
    assert sum(line is not None for line in logged) == 101
    assert len(log) == 101
    assert log.note("192.0.2.1", "junk", now=20.0) is not None
    assert len(log) == 1  # entries whose silence is over make room


def test_a_flood_of_dropped_input_is_one_line() -> None:
    drops = [InputDropped(Address("10.0.0.9", port), "not a message") for port in range(1, 500)]
    assert lines_of(*drops) == [
        "[WARN]  nomad: memberlist: dropped input from 10.0.0.9: not a message"
    ]


def test_server_table_changes_are_worded_as_by_nomad() -> None:
    server = next(iter(_servers()))
    assert lines_of(ServerAdded(server)) == [
        '[INFO]  nomad: adding server: server="s1.global (Addr: 10.0.0.1:4647) (DC: dc1)"'
    ]


def _servers() -> list[Server]:
    from swimnomad.nomad.tags import parse_server, server_tags

    config = AgentConfig(name="s1", server=ServerConfig(enabled=True))
    tags = server_tags(config, "")
    server = parse_server(Member("s1.global", bytes((10, 0, 0, 1)), 4648, tags, Status.ALIVE, b""))
    assert server is not None
    return [server]


def test_the_console_holds_log_lines_back_until_the_agent_has_started() -> None:
    out, errors = io.StringIO(), io.StringIO()
    console = Console(out, errors)
    log = AgentLog(Level.INFO, console.log)
    console.announce_start(dev_config())
    log.write(Level.INFO, "nomad", "early")
    assert "early" not in out.getvalue()
    console.announce_started(dev_config(), Address("127.0.0.1", 4646))
    log.write(Level.INFO, "nomad", "late")
    text = out.getvalue()
    assert text.startswith(
        "==> No configuration files loaded\n==> Starting Nomad agent...\n"
        "==> Nomad agent configuration:\n\n"
    )
    started = text.index("==> Nomad agent started! Log data will stream in below:\n\n    ")
    assert started < text.index("nomad: early") < text.index("nomad: late")
    assert errors.getvalue() == ""


def test_json_output_has_no_decoration() -> None:
    out, errors = io.StringIO(), io.StringIO()
    console = Console(out, errors, as_json=True)
    console.announce_start(dev_config())
    console.announce_started(dev_config(), None)
    AgentLog(Level.INFO, console.log).write(Level.INFO, "nomad", "hello")
    assert [json.loads(line)["@message"] for line in out.getvalue().splitlines()] == ["hello"]


def test_the_colons_of_the_configuration_block_stand_in_one_column() -> None:
    block = configuration_block(dev_config(), None).splitlines()
    assert len({line.index(":") for line in block}) == 1
    assert "       Advertise Addrs: HTTP: 127.0.0.1:4646; RPC: 127.0.0.1:4647;" in block[0]
    assert "                Client: true" in block
