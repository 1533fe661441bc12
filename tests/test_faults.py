from __future__ import annotations

import contextlib
import os
import random
import re
import statistics
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from swimnomad import faults
from swimnomad.errors import UsageError
from swimnomad.faults import (
    DELAY_MAX,
    FAULTS_MAX,
    SIMULATED_ONLY,
    Bandwidth,
    Burst,
    Delivery,
    FaultTable,
    Latency,
    LinkFault,
    Transport,
    fault_from_json,
    fault_from_value,
    fault_to_json,
    find_simulated_only,
    read_trace,
)

DATA = b"\x00" * 64
TRAFFIC: tuple[tuple[Transport, bool], ...] = (
    ("udp", True),
    ("udp", False),
    ("tcp", True),
    ("tcp", False),
)


def table_of(*faults: LinkFault) -> FaultTable:
    table = FaultTable()
    for number, fault in enumerate(faults):
        table.set_fault(f"fault-{number}", fault)
    return table


def test_an_empty_table_delivers_at_once_and_draws_nothing() -> None:
    rng = random.Random(1)
    before = rng.getstate()
    assert FaultTable().verdict("udp", True, "10.0.0.1", DATA, rng) == (Delivery(0.0, DATA),)
    assert rng.getstate() == before


def test_faults_that_are_off_or_certain_to_block_draw_nothing() -> None:
    rng = random.Random(1)
    before = rng.getstate()
    constant = LinkFault(latency=Latency("constant", 0.25))
    assert table_of(constant).verdict("udp", False, "10.0.0.1", DATA, rng) == (
        Delivery(0.25, DATA),
    )
    blocked = LinkFault(blocked=True, loss=0.5)
    assert table_of(blocked).verdict("udp", False, "10.0.0.1", DATA, rng) == ()
    assert rng.getstate() == before


def test_a_fault_concerns_only_its_hosts() -> None:
    table = table_of(LinkFault(hosts=("10.0.0.2", "::1"), blocked=True))
    assert table.blocks("udp", True, "10.0.0.2")
    assert table.blocks("tcp", False, "::1")
    assert not table.blocks("udp", True, "10.0.0.3")
    assert table.verdict("udp", True, "10.0.0.2", DATA, random.Random(1)) == ()
    assert len(table.verdict("udp", True, "10.0.0.3", DATA, random.Random(1))) == 1


def test_a_host_in_another_spelling_is_the_same_host() -> None:
    table = table_of(LinkFault(hosts=("::ffff:10.0.0.2", "0:0:0:0:0:0:0:1"), blocked=True))
    assert table.blocks("udp", True, "10.0.0.2")
    assert table.blocks("udp", True, "::1")


@pytest.mark.parametrize("direction", ["in", "out", "both"])
@pytest.mark.parametrize("transport", ["udp", "tcp", "both"])
def test_a_fault_concerns_only_its_direction_and_transport(transport: str, direction: str) -> None:
    fault = fault_from_value({"direction": direction, "transport": transport, "blocked": True})
    table = table_of(fault)
    for kind, inbound in TRAFFIC:
        way = "in" if inbound else "out"
        expected = transport in (kind, "both") and direction in (way, "both")
        assert table.applies(kind, inbound) is expected
        assert table.blocks(kind, inbound, "10.0.0.9") is expected


def test_loss_is_as_frequent_as_asked_for() -> None:
    table, rng = table_of(LinkFault(loss=0.2)), random.Random(7)
    lost = sum(not table.verdict("udp", True, "h", DATA, rng) for _ in range(20_000))
    assert 3_800 < lost < 4_200


def test_a_duplicate_is_delivered_twice_each_with_its_own_delay() -> None:
    fault = LinkFault(duplicate=1.0, latency=Latency("uniform", 0.1, 0.2))
    first, second = table_of(fault).verdict("udp", True, "h", DATA, random.Random(3))
    assert first.data == second.data == DATA
    assert first.delay != second.delay


def test_reordering_holds_a_datagram_back_for_at_most_the_reorder_delay() -> None:
    table, rng = table_of(LinkFault(reorder=0.5, reorder_delay=0.3)), random.Random(3)
    delays = [table.verdict("udp", True, "h", DATA, rng)[0].delay for _ in range(1000)]
    assert 400 < sum(delay > 0 for delay in delays) < 600
    assert max(delays) <= 0.3


def test_corruption_flips_one_bit() -> None:
    table, rng = table_of(LinkFault(corrupt=1.0)), random.Random(3)
    for _ in range(50):
        (damaged,) = table.verdict("udp", True, "h", DATA, rng)
        difference = int.from_bytes(damaged.data, "big") ^ int.from_bytes(DATA, "big")
        assert len(damaged.data) == len(DATA)
        assert difference.bit_count() == 1


def test_corrupting_an_empty_datagram_leaves_it_empty() -> None:
    assert table_of(LinkFault(corrupt=1.0)).verdict("udp", True, "h", b"", random.Random(1)) == (
        Delivery(0.0, b""),
    )


def test_a_stream_knows_only_blocking_and_latency() -> None:
    fault = LinkFault(
        loss=1.0, duplicate=1.0, reorder=1.0, corrupt=1.0, latency=Latency("constant", 0.5)
    )
    assert table_of(fault).verdict("tcp", True, "h", DATA, random.Random(1)) == (
        Delivery(0.5, DATA),
    )


def test_delays_of_several_faults_add_up() -> None:
    table = table_of(
        LinkFault(latency=Latency("constant", 0.5)), LinkFault(latency=Latency("constant", 0.25))
    )
    assert table.verdict("udp", True, "h", DATA, random.Random(1))[0].delay == 0.75


def test_a_fault_set_again_is_replaced_and_a_cleared_one_is_gone() -> None:
    table = FaultTable()
    table.set_fault("one", LinkFault(loss=0.5))
    table.set_fault("two", LinkFault(corrupt=0.5))
    table.set_fault("one", LinkFault(loss=1.0))
    assert list(table.list_faults()) == ["one", "two"]
    assert table.verdict("udp", True, "h", DATA, random.Random(1)) == ()
    assert table.clear_faults("one") == 1
    assert table.clear_faults("one") == 0
    assert table.clear_faults() == 1
    assert not table.applies("udp", True)


def test_the_table_has_a_limit_and_names_have_a_length() -> None:
    table = FaultTable()
    for number in range(FAULTS_MAX):
        table.set_fault(f"{number}", LinkFault(blocked=True, hosts=("10.0.0.1",)))
    with pytest.raises(UsageError, match="at most 1024"):
        table.set_fault("one more", LinkFault())
    table.set_fault("0", LinkFault())  # replacing is still fine
    for name in ("", "x" * 129):
        with pytest.raises(UsageError, match="1 to 128 characters"):
            table.set_fault(name, LinkFault())


@pytest.mark.parametrize(
    ("latency", "mean"),
    [
        (Latency("constant", 0.1), 0.1),
        (Latency("uniform", 0.1, 0.3), 0.2),
        (Latency("normal", 0.5, 0.05), 0.5),
        (Latency("lognormal", 0.1, 0.5), 0.1 * 2.718281828 ** (0.5**2 / 2)),
        (Latency("pareto", 0.1, 4.0), 0.1 * 4 / 3),
    ],
)
def test_a_latency_distribution_has_its_mean(latency: Latency, mean: float) -> None:
    latency.validate()
    rng = random.Random(5)
    drawn = statistics.fmean(latency.sample(rng) for _ in range(20_000))
    assert drawn == pytest.approx(mean, rel=0.02)


def test_delays_are_never_negative_and_never_above_the_limit() -> None:
    rng = random.Random(5)
    assert min(Latency("normal", 0.0, 1.0).sample(rng) for _ in range(100)) == 0.0
    assert max(Latency("pareto", 3600.0, 0.1).sample(rng) for _ in range(100)) == DELAY_MAX


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ('{"loss": 1.5}', "loss must be 0 to 1, not 1.5"),
        ('{"corrupt": -0.1}', "corrupt must be 0 to 1"),
        ('{"hosts": ["nowhere"]}', "hosts: 'nowhere' is not an IP address"),
        ('{"direction": "up"}', r"\$\.direction"),
        ('{"loss": "much"}', r"Expected `float`, got `str` - at `\$\.loss`"),
        ('{"los": 0.5}', "unknown field los: allowed are hosts, direction, transport"),
        ('{"latency": {"mean": 1}}', "unknown field latency.mean: allowed are kind, a, b"),
        ('{"latency": {"kind": "uniform", "a": 2, "b": 1}}', "latency.b must be 2 to 3600"),
        ('{"latency": {"kind": "pareto", "a": 2}}', "latency.b must be 0.1 to 1000"),
        ('{"latency": {"kind": "constant", "a": 2, "b": 1}}', "latency.b must be absent"),
        ('{"latency": {"a": 1e9}}', "latency.a must be 0 to 3600"),
        ('{"reorder_delay": -1}', "reorder_delay must be 0 to 3600"),
        ("[]", "not a link fault"),
        ("{", "not a link fault"),
        ('{"loss": NaN}', "not a link fault"),
        ('{"hosts": "10.0.0.1"}', r"\$\.hosts"),
    ],
)
def test_a_fault_that_is_not_allowed_is_refused_by_field(text: str, complaint: str) -> None:
    with pytest.raises(UsageError, match=complaint):
        fault_from_json(text.encode())


def test_bytes_that_are_no_text_are_refused() -> None:
    with pytest.raises(UsageError, match="not a link fault"):
        fault_from_json(b'{"hosts": ["\xff"]}')


FAULTS = st.builds(
    LinkFault,
    hosts=st.lists(st.ip_addresses().map(str), max_size=3).map(tuple),
    direction=st.sampled_from(["in", "out", "both"]),
    transport=st.sampled_from(["udp", "tcp", "both"]),
    blocked=st.booleans(),
    loss=st.floats(0, 1),
    latency=st.none()
    | st.builds(Latency, st.just("uniform"), st.floats(0, 1), st.floats(1, 2))
    | st.builds(Latency, st.just("pareto"), st.floats(0, 1), st.floats(0.1, 9)),
    duplicate=st.floats(0, 1),
    reorder=st.floats(0, 1),
    corrupt=st.floats(0, 1),
)


@given(FAULTS)
@settings(max_examples=50, deadline=None)
def test_a_fault_comes_back_from_json_as_it_was(fault: LinkFault) -> None:
    assert fault_from_json(fault_to_json(fault)) == fault


@given(st.lists(FAULTS, max_size=4), st.binary(max_size=40), st.integers())
@settings(max_examples=50, deadline=None)
def test_a_verdict_is_a_function_of_table_bytes_and_seed(
    faults: list[LinkFault], data: bytes, seed: int
) -> None:
    table, same_table = table_of(*faults), table_of(*faults)
    for transport, inbound in TRAFFIC:
        verdict = table.verdict(transport, inbound, "h", data, random.Random(seed))
        assert verdict == same_table.verdict(transport, inbound, "h", data, random.Random(seed))
        assert all(0 <= one.delay <= DELAY_MAX for one in verdict)
        assert all(len(one.data) == len(data) for one in verdict)
        if transport == "tcp":
            assert len(verdict) <= 1


@given(st.binary(max_size=60))
@settings(max_examples=50, deadline=None)
def test_arbitrary_bytes_are_a_fault_or_a_usage_error(data: bytes) -> None:
    with contextlib.suppress(UsageError):
        fault_from_json(data).validate()


# --- bursts, bandwidth, MTU, traces ---------------------------------------------------------------


def losses(table: FaultTable, remote: str, count: int, rng: random.Random) -> list[bool]:
    return [not table.verdict("udp", False, remote, DATA, rng) for _ in range(count)]


def test_each_host_has_a_line_of_its_own_unless_it_is_shared() -> None:
    """A burst that never ends hits one host, or everybody at once."""
    for shared in (False, True):
        rng = random.Random(2)
        fault = LinkFault(burst=Burst(enter=0.5, leave=0.0), shared=shared)
        table = table_of(fault)
        while not all(losses(table, "10.0.0.1", 1, rng)):
            pass
        always = random.Random(1)
        always.random = lambda: 0.9  # type: ignore[method-assign]  # no line enters a burst
        assert losses(table, "10.0.0.1", 1, always) == [True]
        assert losses(table, "10.0.0.2", 1, always) == [shared]


def test_a_burst_goes_on_when_another_fault_changes() -> None:
    table = table_of(LinkFault(burst=Burst(enter=1.0, leave=0.0)))
    rng = random.Random(1)
    assert all(losses(table, "10.0.0.1", 5, rng))
    table.set_fault("other", LinkFault(direction="in", loss=0.5))
    line = table._known["fault-0"].line(False, "10.0.0.1")
    assert line._is_bad
    table.set_fault("fault-0", LinkFault(burst=Burst(enter=0.0, leave=0.0)))
    assert not any(losses(table, "10.0.0.1", 5, rng))


def test_bandwidth_needs_a_clock_and_shares_a_line_if_told_to() -> None:
    rng = random.Random(1)
    slow = LinkFault(bandwidth=Bandwidth(64.0, queue_bytes=64), shared=True)
    table = table_of(slow)
    assert table.verdict("udp", False, "10.0.0.1", DATA, rng) == (Delivery(0.0, DATA),)
    delays = [
        [one.delay for one in table.verdict("udp", False, f"10.0.0.{host}", DATA, rng, 5.0)]
        for host in (1, 2, 3)
    ]
    assert delays == [[1.0], [2.0], []]
    assert table.verdict("tcp", False, "10.0.0.4", DATA, rng, 5.0)[0].delay == 3.0
    assert table.verdict("udp", True, "10.0.0.1", DATA, rng, 5.0)[0].delay == 1.0
    assert find_simulated_only(slow).keys() == {"bandwidth"}
    assert find_simulated_only(LinkFault(mtu=500, burst=Burst(0.1, 0.1))) == {}
    assert set(SIMULATED_ONLY) <= set(LinkFault.__struct_fields__)


def test_datagrams_above_the_mtu_are_lost_and_streams_are_not() -> None:
    rng = random.Random(1)
    table = table_of(LinkFault(mtu=92))
    assert table.verdict("udp", False, "10.0.0.1", DATA, rng)
    assert not table.verdict("udp", False, "10.0.0.1", DATA + b"x", rng)
    assert not table.verdict("udp", False, "fd00::1", DATA, rng)
    assert table.verdict("tcp", False, "10.0.0.1", bytes(9999), rng)


def test_a_trace_is_drawn_in_order_for_each_host_or_shuffled() -> None:
    rng = random.Random(1)
    trace = Latency("trace", values=(0.1, 0.2, 0.3))
    table = table_of(LinkFault(latency=trace))

    def delays(host: str, count: int) -> list[float]:
        return [table.verdict("udp", False, host, DATA, rng)[0].delay for _ in range(count)]

    assert delays("10.0.0.1", 4) == [0.1, 0.2, 0.3, 0.1]
    assert delays("10.0.0.2", 2) == [0.1, 0.2]
    table = table_of(LinkFault(latency=Latency("trace", values=(0.1, 0.2, 0.3), shuffled=True)))
    assert {round(one, 1) for one in delays("10.0.0.1", 60)} == {0.1, 0.2, 0.3}


def test_beyond_so_many_hosts_the_rest_share_a_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(faults, "LINES_MAX", 2)
    table = table_of(LinkFault(burst=Burst(0.5, 0.5)))
    for number in range(50):
        table.verdict("udp", False, f"10.0.0.{number}", DATA, random.Random(1))
    assert len(table._known["fault-0"]._lines) == 3


def test_a_trace_file_is_read_with_comments(tmp_path: Path) -> None:
    path = tmp_path / "trace"
    path.write_bytes("\ufeff# seconds, ü\r\n0.1\r\n\r\n0.25 # slow\r\n-0\n1e-3".encode())
    latency = read_trace(path)
    assert latency == Latency("trace", values=(0.1, 0.25, 0.0, 0.001))
    assert "-" not in str(latency.values)
    assert read_trace(path, shuffled=True).shuffled


@pytest.mark.parametrize(
    ("data", "problem"),
    [
        (b"0.1\nfast\n", ":2: found 'fast'; allowed is a number of seconds, 0 to 3600"),
        (b"0.1\n# x\n-1\n", ":3: found '-1'; allowed is"),
        (b"nan\n", ":1: found 'nan'; allowed is"),
        (b"3601\n", ":1: found '3601'; allowed is"),
        (b"0.1 0.2\n", ":1: found '0.1 0.2'; allowed is"),
        (b"# nothing\n", ": found 0 delays; allowed are 1 to 1000000, one a line"),
        (b"0.1\n\xff\n", ": found other bytes; allowed is text in UTF-8"),
        (b"#" * (faults.TRACE_BYTES_MAX + 1), ": found more bytes than the 16777216 allowed"),
    ],
    ids=["word", "below", "nan", "above", "two", "empty", "binary", "long"],
)
def test_the_errors_of_a_trace_file_name_file_line_and_what_is_allowed(
    tmp_path: Path, data: bytes, problem: str
) -> None:
    path = tmp_path / "trace"
    path.write_bytes(data)
    with pytest.raises(UsageError, match=re.escape(f"{path}{problem}")):
        read_trace(path)


def test_what_is_no_file_is_no_trace_and_is_not_waited_for(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for name, problem in (
        ("nowhere", "No such file"),
        ("pipe", "allowed is a file of text"),
        (".", "allowed is a file of text"),
        ("a\0b", "null byte"),
        ("n" * 5000, "too long"),
    ):
        with pytest.raises(UsageError, match=problem):
            read_trace(tmp_path / name)


@pytest.mark.parametrize(
    ("value", "problem"),
    [
        ({"burst": {"enter": 2, "leave": 0}}, "burst.enter must be 0 to 1, not 2"),
        ({"burst": {"entre": 1}}, "unknown field burst.entre: allowed are enter, leave"),
        ({"burst": {"enter": 1}}, "leave"),
        ({"bandwidth": {"rate": 0}}, "bandwidth.rate must be 1 to 1e"),
        ({"bandwidth": {"rate": 10, "queue_bytes": -1}}, "bandwidth.queue_bytes must be 0 to"),
        ({"bandwidth": {"bps": 1}}, "unknown field bandwidth.bps: allowed are rate, queue_bytes"),
        ({"mtu": 20}, "mtu must be 68 to 65575, not 20"),
        ({"latency": {"kind": "trace"}}, "latency.values must be 1 to"),
        ({"latency": {"kind": "trace", "a": 1, "values": [1]}}, "latency.a and b must be absent"),
        ({"latency": {"values": [1]}}, "latency.values and shuffled must be absent"),
    ],
)
def test_new_fields_are_checked_by_name(value: object, problem: str) -> None:
    with pytest.raises(UsageError, match=problem):
        fault_from_value(value)


def test_a_fault_with_every_field_survives_json() -> None:
    fault = LinkFault(
        burst=Burst(0.1, 0.2, 0.9, 0.01),
        bandwidth=Bandwidth(1000.0, 5),
        mtu=1500,
        shared=True,
        latency=Latency("trace", values=(0.1,), shuffled=True),
    )
    assert fault_from_json(fault_to_json(fault)) == fault
