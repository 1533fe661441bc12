"""Roles and regions in the names of certificates."""

from __future__ import annotations

import pytest

from swimnomad.tls.names import may_call, names_of, role_name


@pytest.mark.parametrize(
    ("name", "allowed"),
    [
        ("server.global.nomad", True),
        ("server.eu.nomad", True),  # servers of all regions talk to each other
        ("server.a.b.nomad", True),
        ("client.global.nomad", True),
        ("client.eu.nomad", False),
        ("client.x.global.nomad", False),
        ("cli.global.nomad", False),
        ("server.nomad", False),
        ("server.global.consul", False),
        ("xserver.global.nomad", False),
        ("Server.global.nomad", False),
        ("", False),
    ],
)
def test_servers_may_call_any_region_and_clients_their_own(name: str, allowed: bool) -> None:
    assert may_call([name], "global") is allowed
    assert may_call(["localhost", name], "global") is allowed


def test_dns_names_come_before_common_names() -> None:
    certificate = {
        "subject": ((("countryName", "DE"),), (("commonName", "server.global.nomad"),)),
        "subjectAltName": (("DNS", "localhost"), ("IP Address", "127.0.0.1"), ("DNS", "a")),
    }
    assert list(names_of(certificate)) == ["localhost", "a", "server.global.nomad"]


@pytest.mark.parametrize("certificate", [None, {}, {"subject": 3, "subjectAltName": (1, ("a",))}])
def test_a_certificate_without_names_has_none(certificate: dict[str, object] | None) -> None:
    assert list(names_of(certificate)) == []


def test_the_name_of_a_role() -> None:
    assert role_name("server", "eu") == "server.eu.nomad"
