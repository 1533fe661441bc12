"""Bands, verdicts and the page: a miss is shown as a miss, whatever else is said."""

from __future__ import annotations

import math
from pathlib import Path

import msgspec
import pytest

from reproduce.__main__ import PAGE, main, parse
from reproduce.expectations import EXPECTATIONS
from reproduce.experiments import EXPERIMENTS
from reproduce.reasons import REASONS, UNKNOWN
from reproduce.report import Circumstances, Run, Session, misses, page, terminal_lines
from reproduce.rows import Band, Expectation, Measurement, Verdict, around, judge, near
from reproduce.setups import SETUPS

ROW = Expectation("row", "a quantity", "a source", "10", near(10, 1))
CIRCUMSTANCES = Circumstances(seed=1, jobs=2, quick=False, python="3.11")


def measured(value: float, key: str = "row") -> Measurement:
    return Measurement(key, value, f"{value:g}", "1 trial")


@pytest.mark.parametrize("value", [9.0, 10.0, 11.0])
def test_a_value_on_or_between_the_edges_is_in_band(value: float) -> None:
    assert judge(ROW, measured(value)) is Verdict.IN_BAND


@pytest.mark.parametrize("value", [8.999, 11.001, math.nan, math.inf, -math.inf])
def test_a_value_outside_or_no_number_is_a_miss(value: float) -> None:
    assert judge(ROW, measured(value)) is Verdict.MISS


def test_a_measurement_is_not_judged_by_the_row_of_another() -> None:
    with pytest.raises(AssertionError):
        judge(ROW, measured(10, "other"))


def test_bands_are_made_around_a_value_by_share_or_distance() -> None:
    assert (around(200, 0.02).low, around(200, 0.02).high) == pytest.approx((196, 204))
    assert (near(-1.7, 0.4).low, near(-1.7, 0.4).high) == pytest.approx((-2.1, -1.3))


@pytest.mark.parametrize(
    ("band", "text"),
    [
        (Band(0, 0), "exactly 0"),
        (Band(high=3), "≤ 3"),
        (Band(low=5), "≥ 5"),
        (Band(9.4, 10.2), "9.4 … 10.2"),
    ],
)
def test_a_band_reads_as_people_write_it(band: Band, text: str) -> None:
    assert str(band) == text


def test_a_miss_is_marked_on_the_page_with_its_reason() -> None:
    key = "kill-100-p50"
    run = Run("memberlist-kill", (measured(20.0, key), measured(12.0, "kill-100-p99")), 3.0, 5.0)
    text = page(Session((run,), CIRCUMSTANCES))
    assert [one.key for one in misses([run])] == [key]
    assert "2 rows, 1 in band, 1 missed" in text
    assert f"| 20 | **{Verdict.MISS.value}** |" in text
    reason = " ".join(REASONS.get(key, UNKNOWN).split())
    assert f"**MISS** {EXPECTATIONS[key].quantity}: {reason}." in text
    assert "MISS     kill-100-p50" in "\n".join(terminal_lines(run))


def test_a_row_in_band_gives_no_reason() -> None:
    run = Run("memberlist-kill", (measured(12.0, "kill-100-p99"),), 3.0, 5.0)
    assert "MISS" not in page(Session((run,), CIRCUMSTANCES))


def test_reasons_and_setups_name_rows_and_experiments_that_exist() -> None:
    assert set(REASONS) <= set(EXPECTATIONS)
    assert list(SETUPS) == list(EXPERIMENTS)


def test_only_a_full_run_of_everything_writes_the_page_unasked() -> None:
    assert parse([]).output == PAGE
    assert parse(["--quick"]).output is None
    assert parse(["formulas"]).output is None
    assert parse(["formulas", "--output", "here.md"]).output == Path("here.md")


@pytest.mark.parametrize("arguments", [["nothing-of-the-kind"], ["--jobs", "0"]])
def test_bad_usage_ends_with_status_2(arguments: list[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        parse(arguments)
    assert ended.value.code == 2


def test_what_was_kept_is_reported_again_without_running(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    kept, first, second = (tmp_path / name for name in ("kept", "first.md", "second.md"))
    asked = ["formulas", "--quick", "--jobs", "1", "--keep", str(kept), "--output", str(first)]
    assert main(asked) == 0
    assert "in band  retransmits" in capsys.readouterr().out
    assert main(["--again", str(kept), "--output", str(second)]) == 0
    assert first.read_text() == second.read_text()
    assert "6 rows, 6 in band, 0 missed. A quick run" in first.read_text()


def test_a_measurement_that_is_no_number_survives_being_kept() -> None:
    session = Session((Run("formulas", (measured(math.nan),), 1.0, 1.0),), CIRCUMSTANCES)
    again = msgspec.msgpack.decode(msgspec.msgpack.encode(session), type=Session)
    assert math.isnan(again.runs[0].measurements[0].value)
