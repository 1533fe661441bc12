"""Which names in a certificate stand for which role, and in which region.

A server's certificate has the name `server.<region>.nomad`, a client's `client.<region>.nomad`.

Source: rpc.md §2.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping

DOMAIN = "nomad"


def role_name(role: str, region: str, domain: str = DOMAIN) -> str:
    """The name of a role in a region, as `server.global.nomad`."""
    return f"{role}.{region}.{domain}"


def may_call(names: Iterable[str], region: str) -> bool:
    """Whether one of a peer's names lets it call a server of `region`.

    Clients may only call their own region; servers any, since regions talk to each other.
    """
    return any(_may_call(name, region) for name in names)


def _may_call(name: str, region: str) -> bool:
    if name == role_name("client", region):
        return True
    labels = name.split(".")
    return len(labels) >= 3 and labels[0] == "server" and labels[-1] == DOMAIN


def names_of(certificate: Mapping[str, object] | None) -> Iterator[str]:
    """The names in a certificate: DNS names, then common names.

    Args:
        certificate: As `SSLSocket.getpeercert()` gives it; None and an empty one have no names.
    """
    if not certificate:
        return
    for kind, value in _pairs(certificate.get("subjectAltName")):
        if kind == "DNS":
            yield value
    for part in _items(certificate.get("subject")):
        for kind, value in _pairs(part):
            if kind == "commonName":
                yield value


def _pairs(value: object) -> Iterator[tuple[str, str]]:
    for item in _items(value):
        match item:
            case (str(kind), str(text)):
                yield kind, text
            case _:
                pass


def _items(value: object) -> tuple[object, ...]:
    return value if isinstance(value, tuple) else ()
