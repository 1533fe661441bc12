"""Latencies from trace files: found beside the scenario, refused with both lines, written whole."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from swimnomad.errors import ConfigError
from swimnomad.faults import Latency, fault_to_json
from swimnomad.scenario import traces
from swimnomad.scenario.composing import TEXT_BYTES_MAX
from swimnomad.scenario.links import LinkRule
from swimnomad.scenario.loader import load_scenario, load_text
from swimnomad.scenario.model import LatencyArgs, Scenario, StarveArgs
from swimnomad.scenario.run import run_file
from swimnomad.scenario.writing import to_yaml

EXPECT = "duration: 20s\nexpect: [{false-positives: 0, always: true}]\n"
HTTP_BODY_BYTES_MAX = 1024 * 1024


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "traces").mkdir()
    (tmp_path / "traces" / "line").write_text("# a line\n0.01\n0.03\n")
    return tmp_path


def load(folder: Path, text: str, on: str = "sim") -> Scenario:
    path = folder / "try.yaml"
    path.write_text(text + EXPECT)
    return load_scenario(path, on)


def test_a_trace_may_stand_wherever_a_latency_does(folder: Path) -> None:
    loaded = load(
        folder,
        """
network:
  latency: {trace: traces/line}
  links: [{between: [node-1, node-2], latency: {shuffled: traces/line}}]
steps:
  - {latency: {delay: {trace: traces/line}}}
  - {starve: {target: node-1, delay: {shuffled: traces/line}, for: 1s}}
""",
    )
    in_order = Latency("trace", values=(0.01, 0.03))
    shuffled = Latency("trace", values=(0.01, 0.03), shuffled=True)
    assert loaded.network.latency == in_order
    assert loaded.network.links[0].latency == shuffled
    delayed, starved = (step.args for step in loaded.steps)
    assert isinstance(delayed, LatencyArgs)
    assert isinstance(starved, StarveArgs)
    assert (delayed.delay, starved.delay) == (in_order, shuffled)


def test_steps_with_traces_are_possible_on_live_and_links_are_not(folder: Path) -> None:
    load(folder, "steps: [{latency: {delay: {trace: traces/line}}}]\n", on="live")
    with pytest.raises(ConfigError, match="network: not possible on live"):
        load(folder, "network: {latency: {trace: traces/line}}\n", on="live")


def test_a_file_and_the_list_of_its_delays_mean_the_same_run(folder: Path) -> None:
    def journal_of(delays: str) -> str | None:
        step = f"steps: [{{latency: {{delay: {{trace: {delays}}}}}}}]\n"
        (folder / "same.yaml").write_text(step + EXPECT)
        return run_file(folder / "same.yaml", seed=5).journal_sha256

    assert journal_of("traces/line") == journal_of("[10ms, 30ms]") != journal_of("[30ms, 10ms]")


def test_an_absolute_name_is_itself_and_a_folder_of_the_caller_does_not_matter(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = f"network: {{latency: {{trace: {folder / 'traces' / 'line'}}}}}\n"
    assert load(folder, text).network.latency == Latency("trace", values=(0.01, 0.03))
    monkeypatch.chdir(folder / "traces")
    with pytest.raises(ConfigError, match="No such file"):
        load(folder, "network: {latency: {trace: line}}\n")


@pytest.mark.parametrize(
    ("value", "complaint"),
    [
        ("{trace: nowhere}", "found 'nowhere': FOLDER/nowhere: No such file or directory; allowed"),
        ("{shuffled: traces}", "found 'traces': FOLDER/traces: found something else; allowed is a"),
        ("{trace: bad}", "found 'bad': FOLDER/bad:3: found 'fast'; allowed is a number of seconds"),
        ("{trace: none}", "found 'none': FOLDER/none: found 0 delays; allowed are 1 to"),
        ("{trace: 5ms}", "found '5ms': FOLDER/5ms: No such file"),
        ("{trace: }", "found nothing; allowed is a list of durations, or the name of a file"),
        ("{trace: []}", "found nothing; allowed is a list of durations, or the name of a file"),
        ("{trace: {file: bad}}", "found a mapping; allowed is a list of durations, or the name"),
        ("{trace: [0.1]}", "found '0.1'; allowed is a duration"),
    ],
)
def test_what_is_wrong_with_a_trace_is_said_with_the_line_that_names_it(
    folder: Path, value: str, complaint: str
) -> None:
    (folder / "bad").write_text("0.1\n\nfast\n")
    (folder / "none").write_text("# later\n")
    with pytest.raises(ConfigError) as caught:
        load(folder, f"steps:\n  - latency:\n      delay: {value}\n")
    kind = value[1:].partition(":")[0]
    text = str(caught.value)
    assert text.startswith(f"{folder / 'try.yaml'}:3: steps[0].latency.delay.{kind}")
    assert complaint.replace("FOLDER", str(folder)) in text


def test_a_scenario_in_no_file_names_none() -> None:
    with pytest.raises(ConfigError, match=r"scenario:1: network.latency.trace: found 'line'; a sc"):
        load_text("network: {latency: {trace: line}}\n" + EXPECT)


def test_a_written_scenario_holds_the_delays_and_needs_no_file(folder: Path) -> None:
    text = to_yaml(load(folder, "network: {latency: {shuffled: traces/line}}\n"))
    assert "network: {latency: {shuffled: [10ms, 30ms]}}" in text
    assert load_text(text).network.latency == Latency("trace", values=(0.01, 0.03), shuffled=True)


def test_the_longest_traces_can_be_written_and_sent_and_longer_ones_are_refused(
    folder: Path,
) -> None:
    longest = "\n".join(f"3599.{number:09d}" for number in range(traces.DELAYS_MAX))
    (folder / "long").write_text(longest)
    loaded = load(folder, "steps: [{latency: {delay: {trace: long}}}]\n")
    text = to_yaml(loaded)
    assert len(text) < TEXT_BYTES_MAX * 0.9
    assert load_text(text, source="try") == loaded
    (step,) = loaded.steps
    assert isinstance(step.args, LatencyArgs)
    rule = LinkRule(step.args, ("a",), ("b",), False)
    (fault, *_) = rule.faults({"a": "10.0.0.1", "b": "10.0.0.2"}.__getitem__, "ab").values()
    assert len(fault_to_json(fault)) < HTTP_BODY_BYTES_MAX * 0.9
    first = "  - latency: {delay: {trace: long}}\n"
    for other in ("trace: long", "trace: [1ms]"):
        two = f"steps:\n{first}  - starve: {{target: node-1, delay: {{{other}}}}}\n"
        with pytest.raises(ConfigError, match=re.escape("try.yaml:3: steps[1].starve.delay.trace")):
            load(folder, two)


def test_a_file_that_is_named_often_is_read_once(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[Path] = []

    def noted(path: Path) -> Latency:
        read.append(path)
        return Latency("trace", values=(0.01,))

    monkeypatch.setattr(traces, "read_trace", noted)
    first = "  - latency: {delay: {trace: traces/line}}\n"
    load(folder, "steps:\n" + first * 50)
    assert read == [folder / "traces" / "line"]
