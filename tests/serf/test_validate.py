"""What a configuration must fulfil before a node starts."""

from __future__ import annotations

import msgspec
import pytest

from swimnomad.errors import UsageError
from swimnomad.serf.config import SerfConfig
from swimnomad.serf.validate import NOT_NEGATIVE, POSITIVE
from swimnomad.swim.config import SwimConfig


def config(name: str = "a", /, **settings: object) -> SerfConfig:
    return msgspec.structs.replace(SerfConfig(SwimConfig(name=name)), **settings)


@pytest.mark.parametrize("version", [2, 3, 4, 5])
def test_protocol_versions_2_to_5_are_accepted(version: int) -> None:
    """serf 35.1: accepts Serf protocol versions 2-5 at start."""
    config(protocol_version=version).validate()


@pytest.mark.parametrize("version", [-1, 0, 1, 6])
def test_other_protocol_versions_are_refused(version: int) -> None:
    """serf 35.1: refuses 6."""
    with pytest.raises(UsageError, match=f"version {version} is not supported: .* 2 to 5"):
        config(protocol_version=version).validate()


@pytest.mark.parametrize("field", NOT_NEGATIVE)
def test_no_limit_or_duration_is_negative(field: str) -> None:
    with pytest.raises(UsageError, match=field):
        config(**{field: -1}).validate()


def test_a_duration_is_a_number() -> None:
    with pytest.raises(UsageError, match="flap_timeout"):
        config(flap_timeout=float("nan")).validate()


@pytest.mark.parametrize("field", POSITIVE)
def test_rings_have_at_least_one_slot(field: str) -> None:
    with pytest.raises(UsageError, match=field):
        config(**{field: 0}).validate()
    config(**{field: 1}).validate()


def test_the_limit_for_user_events_has_a_limit_itself() -> None:
    config(user_event_bytes_max=9216).validate()
    with pytest.raises(UsageError, match="user_event_bytes_max must be at most 9216"):
        config(user_event_bytes_max=9217).validate()


@pytest.mark.parametrize("name", ["space here", "under_score", "ümlaut", "x" * 129])
def test_invalid_node_names_are_refused_where_validation_is_on(name: str) -> None:
    """serf 35.35: refuses invalid node names when validation is on (bad characters, > 128)."""
    config(name).validate()
    with pytest.raises(UsageError, match="node name"):
        config(name, validate_node_names=True).validate()


def test_good_node_names_pass_validation() -> None:
    config("Srv-1.global", validate_node_names=True).validate()
    config("x" * 128, validate_node_names=True).validate()


def test_a_name_that_is_no_text_is_refused() -> None:
    with pytest.raises(UsageError, match="not text"):
        config("\ud800").validate()


def test_overlong_tags_and_bad_gossip_settings_are_refused() -> None:
    with pytest.raises(UsageError, match="tags"):
        config(tags={"a": "x" * 600}).validate()
    with pytest.raises(UsageError, match="probe_timeout"):
        config(swim=SwimConfig(name="a", probe_timeout=-1.0)).validate()
