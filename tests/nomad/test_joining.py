"""Join addresses taken apart, looked up, and reported on."""

from __future__ import annotations

import pytest
import trio
from hypothesis import given, settings
from hypothesis import strategies as st

from swimnomad.names import Address
from swimnomad.nomad.joining import (
    BadAddress,
    JoinReport,
    WrittenAddress,
    errors_text,
    find_targets,
    report,
    split_address,
)
from swimnomad.swim.events import JoinFinished
from swimnomad.swim.inputs import JoinTarget


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("10.0.0.1", ("", "10.0.0.1", 4648)),
        ("10.0.0.1:99", ("", "10.0.0.1", 99)),
        ("s1.global/10.0.0.1", ("s1.global", "10.0.0.1", 4648)),
        ("s1/host.test:1", ("s1", "host.test", 1)),
        ("[::1]:99", ("", "::1", 99)),
        ("[::1]", ("", "::1", 4648)),
        ("fe80::1", ("", "fe80::1", 4648)),
        ("", ("", "", 4648)),
    ],
)
def test_an_address_is_name_host_and_port(text: str, parts: tuple[str, str, int]) -> None:
    """agent F07"""
    assert split_address(text, 4648) == WrittenAddress(*parts)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("/10.0.0.1", "empty node name provided"),
        ("host:", 'strconv.ParseUint: parsing "": invalid syntax'),
        ("host:-1", 'strconv.ParseUint: parsing "-1": invalid syntax'),
        ("host:65536", 'strconv.ParseUint: parsing "65536": value out of range'),
        ("host:" + "9" * 30, f'strconv.ParseUint: parsing "{"9" * 30}": value out of range'),
    ],
)
def test_what_is_no_address_is_refused_in_the_words_of_the_reference(text: str, words: str) -> None:
    with pytest.raises(BadAddress) as caught:
        split_address(text, 4648)
    assert str(caught.value) == words


@settings(deadline=None)
@given(st.text(alphabet="a1.:[]/٣", max_size=20))
def test_any_text_is_taken_apart_or_refused(text: str) -> None:
    try:
        written = split_address(text, 4648)
    except BadAddress:
        return
    assert 0 <= written.port <= 65_535


async def resolve(host: str, port: int) -> list[str]:
    await trio.lowlevel.checkpoint()
    match host:
        case "two.test":
            return ["10.0.0.1", "10.0.0.2"]
        case "none.test":
            return []
        case "odd.test":
            raise OSError(-3, "Temporary failure in name resolution")
        case "label.test":
            raise UnicodeError("label too long")
        case _:
            raise OSError(-2, "Name or service not known")


async def test_every_address_of_a_name_is_a_target() -> None:
    found = await find_targets(["n/two.test:7", "::1"], 4648, resolve)
    assert found == [
        JoinTarget(Address("10.0.0.1", 7), "n"),
        JoinTarget(Address("10.0.0.2", 7), "n"),
        JoinTarget(Address("::1", 4648)),
    ]


async def test_names_without_addresses_say_why() -> None:
    """agent F03"""
    names = ["none.test", "odd.test", "label.test", "nope.test", ""]
    assert await find_targets(names, 4648, resolve) == [
        "Failed to resolve none.test: lookup none.test: no such host",
        "Failed to resolve odd.test: lookup odd.test: Temporary failure in name resolution",
        "Failed to resolve label.test: lookup label.test: no such host",
        "Failed to resolve nope.test: lookup nope.test: no such host",
        "Failed to resolve : lookup : no such host",
    ]


FIRST, SECOND = JoinTarget(Address("10.0.0.1", 1)), JoinTarget(Address("::1", 1))


def test_one_success_makes_the_failures_nobodys_business() -> None:
    """agent F05"""
    outcome = JoinFinished(1, 1, ((FIRST, "refused"),))
    assert report([FIRST, "bad", SECOND], outcome) == JoinReport(1, "")


def test_failures_stand_in_the_order_of_the_addresses() -> None:
    """agent F04"""
    outcome = JoinFinished(1, 0, ((FIRST, "refused"), (SECOND, "late")))
    assert report([FIRST, "bad", SECOND], outcome) == JoinReport(
        0,
        "3 errors occurred:\n\t* Failed to join 10.0.0.1: refused\n\t* bad\n"
        "\t* Failed to join ::1: late\n\n",
    )


def test_without_a_single_target_only_the_lookups_failed() -> None:
    assert report(["bad"], None) == JoinReport(0, "1 error occurred:\n\t* bad\n\n")


def test_errors_are_laid_out_as_the_reference_does() -> None:
    assert errors_text(["a"]) == "1 error occurred:\n\t* a\n\n"
    assert errors_text(["a", "b"]) == "2 errors occurred:\n\t* a\n\t* b\n\n"
