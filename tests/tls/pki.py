"""Authorities and certificates for tests, made anew for each of them."""

from __future__ import annotations

import ssl
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import NamedTuple

from swimnomad.nomad.config import AgentConfig, TlsConfig
from swimnomad.tls.authority import (
    KeyPair,
    Role,
    Validity,
    create_authority,
    create_certificate,
)

NOW = datetime.now(UTC)
VALID = Validity.days(NOW, 30)
EXPIRED = Validity(NOW - timedelta(days=3), NOW - timedelta(days=1))
NOT_YET_VALID = Validity(NOW + timedelta(days=1), NOW + timedelta(days=3))


class Files(NamedTuple):
    """Where a certificate and its key are."""

    certificate: str
    key: str


class Pki:
    """An authority and the files it makes, all in one directory."""

    def __init__(self, directory: Path, name: str = "ca") -> None:
        self._directory = directory
        self.pair = create_authority(VALID, common_name=f"Test {name}")
        self.ca = self._write(name, self.pair).certificate

    def issue(
        self,
        role: Role = Role.SERVER,
        region: str = "global",
        *,
        domain: str = "nomad",
        validity: Validity = VALID,
        name: str = "",
    ) -> Files:
        """A certificate and its key; `name` is that of the file."""
        pair = create_certificate(self.pair, validity, role=role, region=region, domain=domain)
        return self._write(name or f"{role.value}-{region}", pair)

    def config(self, files: Files, **tls: object) -> AgentConfig:
        """A configuration with TLS for RPC and HTTP, which may be changed."""
        given = {"http": True, "rpc": True, "ca_file": self.ca, **tls}
        block = TlsConfig(cert_file=files.certificate, key_file=files.key, **given)  # type: ignore[arg-type]
        return AgentConfig(tls=block)

    def _write(self, name: str, pair: KeyPair) -> Files:
        files = Files(str(self._directory / f"{name}.pem"), str(self._directory / f"{name}.key"))
        Path(files.certificate).write_bytes(pair.certificate)
        Path(files.key).write_bytes(pair.key)
        return files


def user_context(ca: str, files: Files | None = None) -> ssl.SSLContext:
    """What a user's client has: an authority, and perhaps a certificate."""
    context = ssl.create_default_context(cafile=ca)
    if files:
        context.load_cert_chain(files.certificate, files.key)
    return context


class Side:
    """One end of a TLS connection in memory."""

    def __init__(self, context: ssl.SSLContext, *, name: str | None, is_server: bool) -> None:
        self.incoming, self.outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.tls = context.wrap_bio(
            self.incoming, self.outgoing, server_side=is_server, server_hostname=name
        )
        self.error: ssl.SSLError | None = None
        self._steps: list[Callable[[], object]] = [self.tls.do_handshake]

    def also(self, step: Callable[[], object]) -> None:
        """Something to do after the handshake."""
        self._steps.append(step)

    def go_on(self) -> bool:
        """Do what can be done; whether anything came of it."""
        if self.error or not self._steps:
            return False
        try:
            self._steps[0]()
        except ssl.SSLWantReadError:
            return bool(self.outgoing.pending)
        except ssl.SSLError as error:
            self.error = error
            return True
        self._steps.pop(0)
        return True


def shake_hands(dialler: Side, listener: Side) -> None:
    """Let both go on until neither can; their errors are kept in them."""
    moved = True
    while moved:
        moved = False
        for one, other in ((dialler, listener), (listener, dialler)):
            moved |= one.go_on()
            if data := one.outgoing.read():
                other.incoming.write(data)
                moved = True
