"""`swimnomad tls`: a certificate authority, and certificates for agents."""

from __future__ import annotations

import os
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import click

from swimnomad.cli.options import json_option, option
from swimnomad.errors import OperationError, UsageError

if TYPE_CHECKING:
    from swimnomad.tls.authority import KeyPair, Validity

DAYS = click.IntRange(min=1)
DIRECTORY = click.Path(file_okay=False, path_type=Path)
FILE = click.Path(dir_okay=False, path_type=Path)

out_option = option(
    "--out",
    type=DIRECTORY,
    default=".",
    metavar="DIR",
    help="Where the files go; made if it is not there. [default: here]",
)
force_option = option("--force", is_flag=True, help="Overwrite files that are there.")
domain_option = option(
    "--domain",
    default="nomad",
    show_default=True,
    metavar="LABEL",
    help="Last label of the names. Agents know no other than nomad.",
)


@click.group("tls")
def command() -> None:
    """Make an authority and certificates for TLS.

    First `tls ca create`, once; then `tls cert create` for each role and region. Every agent gets
    the authority's certificate as tls.ca_file, and its own as tls.cert_file and tls.key_file. The
    key of the authority stays with whoever makes certificates.
    """


@command.group("ca")
def authority() -> None:
    """Make a certificate authority."""


@command.group("cert")
def certificate() -> None:
    """Make certificates."""


@authority.command("create")
@option("--common-name", default="", metavar="NAME", help="Name of the authority.")
@option("--days", type=DAYS, default=1825, show_default=True, help="How long it is valid.")
@domain_option
@out_option
@force_option
@json_option
def create_authority(
    *, common_name: str, days: int, domain: str, out: Path, force: bool, as_json: bool
) -> None:
    """Make a certificate authority.

    Writes <domain>-agent-ca.pem and <domain>-agent-ca-key.pem. Whoever has the key can make
    certificates that all agents believe.
    """
    from swimnomad.tls import authority

    made = authority.create_authority(_validity(days), common_name=common_name, domain=domain)
    stem = f"{_file_part('--domain', domain)}-agent-ca"
    saved = _save(out, stem, made, force=force)
    _report(saved, made, as_json=as_json)


@certificate.command("create")
@option("--server", "roles", flag_value="server", multiple=True, help="For a server.")
@option("--client", "roles", flag_value="client", multiple=True, help="For a client agent.")
@option("--cli", "roles", flag_value="cli", multiple=True, help="For commands and browsers.")
@option("--region", default="global", show_default=True, metavar="NAME", help="Its region.")
@domain_option
@option("--ca", type=FILE, metavar="FILE", help="The authority. [default: in --out, of --domain]")
@option("--key", type=FILE, metavar="FILE", help="Its key. [default: in --out, of --domain]")
@option("--additional-dnsname", "names", multiple=True, metavar="NAME", help="One more DNS name.")
@option("--additional-ipaddress", "addresses", multiple=True, metavar="IP", help="One more IP.")
@option("--days", type=DAYS, default=365, show_default=True, help="How long it is valid.")
@out_option
@force_option
@json_option
def create_certificate(
    *,
    roles: Sequence[str],
    region: str,
    domain: str,
    ca: Path | None,
    key: Path | None,
    names: Sequence[str],
    addresses: Sequence[str],
    days: int,
    out: Path,
    force: bool,
    as_json: bool,
) -> None:
    """Make a certificate for an agent or its users.

    One of --server, --client and --cli says for whom. Writes <region>-<role>-<domain>.pem and
    <region>-<role>-<domain>-key.pem. It is good for the names <role>.<region>.<domain> and
    localhost and for 127.0.0.1; a server's lets its holder take part in the cluster as a server.
    """
    from swimnomad.tls import authority

    if len(roles) != 1:
        raise click.UsageError("exactly one of --server, --client and --cli is needed")
    stem = f"{_file_part('--region', region)}-{roles[0]}-{_file_part('--domain', domain)}"
    signer = authority.KeyPair(
        _read("--ca", ca or out / f"{domain}-agent-ca.pem"),
        _read("--key", key or out / f"{domain}-agent-ca-key.pem"),
    )
    made = authority.create_certificate(
        signer,
        _validity(days),
        role=authority.Role(roles[0]),
        region=region,
        domain=domain,
        dns_names=names,
        ip_addresses=addresses,
    )
    saved = _save(out, stem, made, force=force)
    _report(saved, made, as_json=as_json)


class Saved(NamedTuple):
    """Where a certificate and its key are."""

    certificate: Path
    key: Path


def _validity(days: int) -> Validity:
    from swimnomad.tls.authority import Validity

    return Validity.days(datetime.now(UTC), days)


def _file_part(name: str, value: str) -> str:
    """A value that becomes part of a file's name."""
    if not value or set(value) & set("/\0") or value.startswith("."):
        raise click.UsageError(f"{name}: {value!r} cannot be part of a file's name")
    return value


def _read(name: str, path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        why = (error.strerror or str(error)).lower()
        raise UsageError(f"{name} cannot be read: {path}: {why}; see `tls ca create`") from None


def _save(directory: Path, stem: str, pair: KeyPair, *, force: bool) -> Saved:
    """Write both files, or none."""
    saved = Saved(directory / f"{stem}.pem", directory / f"{stem}-key.pem")
    there = [str(path) for path in saved if os.path.lexists(path)]
    if there and not force:
        raise UsageError(f"{' and '.join(there)}: already there; --force overwrites")
    path = directory
    try:
        directory.mkdir(parents=True, exist_ok=True)
        path = saved.key
        _write(path, pair.key, 0o600, force=force)
        path = saved.certificate
        _write(path, pair.certificate, 0o644, force=force)
    except OSError as error:
        if path == saved.certificate and not force:
            saved.key.unlink(missing_ok=True)
        why = (error.strerror or str(error)).lower()
        raise OperationError(f"cannot write {path}: {why}", may_have_happened=force) from None
    return saved


def _write(path: Path, data: bytes, mode: int, *, force: bool) -> None:
    """Make a file that has its mode from the first moment on; replace one only by force."""
    # A file that is there is replaced as a whole: its mode may be wrong, an agent may read it now.
    target = path.with_name(f".{path.name}.new") if force else path
    if force:
        target.unlink(missing_ok=True)
    with open(os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "wb") as file:
        file.write(data)
    if force:
        target.replace(path)


def _report(saved: Saved, pair: KeyPair, *, as_json: bool) -> None:
    if as_json:
        from swimnomad.cli.output import echo_json

        echo_json(
            {
                "Certificate": str(saved.certificate),
                "Key": str(saved.key),
                "NotAfter": pair.not_after.isoformat().replace("+00:00", "Z"),
            }
        )
        return
    click.echo(f"certificate: {saved.certificate} (valid until {pair.not_after:%Y-%m-%d})")
    click.echo(f"key:         {saved.key}")
