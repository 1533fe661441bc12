"""Join addresses as operators write them, and the report of what became of them.

An address is `[name/]host[:port]`. The words of every failure are those of the reference, since
scripts and people know them.

Source: gossip.md §30; agent-http.md §4.4; memberlist memberlist.go, resolveAddr.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Awaitable, Callable, Sequence

from swimnomad.names import PORT_MAX, Address, Value
from swimnomad.swim.events import JoinFinished
from swimnomad.swim.inputs import JoinTarget

Resolve = Callable[[str, int], Awaitable[list[str]]]

UINT64_MAX = 2**64 - 1


class BadAddress(Exception):
    """An address that cannot be understood, in the reference's words."""


class WrittenAddress(Value, frozen=True):
    """The parts of a join address. `name` is empty if there was none."""

    name: str
    host: str
    port: int


class JoinReport(Value, frozen=True):
    """How many contacts succeeded; `error` is empty if any did."""

    joined: int
    error: str


def split_address(text: str, default_port: int) -> WrittenAddress:
    """Take an address apart.

    Raises:
        BadAddress: With the reference's words.
    """
    name, slash, rest = text.partition("/")
    if not slash:
        name, rest = "", text
    elif not name:
        raise BadAddress("empty node name provided")
    if not _has_port(rest):
        return WrittenAddress(name, rest.strip("[]"), default_port)
    host, _, digits = rest.rpartition(":")
    return WrittenAddress(name, host.strip("[]"), _parse_port(digits))


def _has_port(text: str) -> bool:
    if text.startswith("["):
        return text.rfind(":") > text.rfind("]")
    # More than one colon outside brackets is an IPv6 address, which then has no port.
    return text.count(":") == 1


def _parse_port(digits: str) -> int:
    if not (digits.isascii() and digits.isdigit()):
        raise BadAddress(f'strconv.ParseUint: parsing "{digits}": invalid syntax')
    if int(digits[:20]) > PORT_MAX:
        raise BadAddress(f'strconv.ParseUint: parsing "{digits}": value out of range')
    return int(digits)


async def find_targets(
    addresses: Sequence[str], default_port: int, resolve: Resolve
) -> list[JoinTarget | str]:
    """Targets of every address in order; a text in place of one says why it has none.

    Args:
        addresses: As the caller wrote them.
        default_port: For addresses without a port.
        resolve: Finds the addresses of a host name; raises OSError with the resolver's words.
    """
    found: list[JoinTarget | str] = []
    for text in addresses:
        try:
            written = split_address(text, default_port)
            hosts = await find_hosts(written.host, written.port, resolve)
        except BadAddress as error:
            found.append(f"Failed to resolve {text}: {error}")
            continue
        found += [JoinTarget(Address(host, written.port), written.name) for host in hosts]
    return found


async def find_hosts(host: str, port: int, resolve: Resolve) -> list[str]:
    """Addresses of a host: itself if it is an address, else what the resolver says, at least one.

    Raises:
        BadAddress: With the reference's words.
    """
    try:
        return [str(ipaddress.ip_address(host))]
    except ValueError:
        pass
    if not host:
        raise BadAddress("lookup : no such host")
    try:
        hosts = await resolve(host, port)
    except (OSError, UnicodeError) as error:
        raise BadAddress(f"lookup {host}: {_resolver_words(error)}") from None
    if not hosts:
        raise BadAddress(f"lookup {host}: no such host")
    return hosts


# Texts of EAI_NONAME and EAI_NODATA as the C library has them.
_NO_SUCH_HOST = ("Name or service not known", "No address associated with hostname")


def _resolver_words(error: OSError | UnicodeError) -> str:
    if isinstance(error, UnicodeError):  # a label too long or empty: no such name can exist
        return "no such host"
    words = error.strerror or str(error)
    return "no such host" if words in _NO_SUCH_HOST else words


def report(found: Sequence[JoinTarget | str], outcome: JoinFinished | None) -> JoinReport:
    """Put resolution and contacts together, failures in the order of the addresses.

    Args:
        found: As `find_targets` returned it.
        outcome: Of the targets in it; None if there were none.
    """
    if outcome is not None and outcome.joined > 0:
        return JoinReport(outcome.joined, "")
    failures = list(outcome.failures) if outcome is not None else []
    texts: list[str] = []
    for item in found:
        if isinstance(item, str):
            texts.append(item)
        elif failures and failures[0][0] == item:
            # Failures come in the order of the targets.
            texts.append(f"Failed to join {item.address.host}: {failures.pop(0)[1]}")
    return JoinReport(0, errors_text(texts))


def errors_text(texts: Sequence[str]) -> str:
    """Several failures as one text, laid out as the reference's multi-error."""
    count = "1 error" if len(texts) == 1 else f"{len(texts)} errors"
    return f"{count} occurred:\n" + "".join(f"\t* {text}\n" for text in texts) + "\n"
