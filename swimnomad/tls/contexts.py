"""The `tls` block as contexts of the standard library, for each use, and their renewal.

`AgentTls` has one object for each use, and these stay the same for as long as an agent lives.
What they hold is replaced by `reload`: whoever keeps such an object asks it for its context once
for each new connection, and never keeps the context. Connections that stand are left alone.

RPC is mutual at both ends. OpenSSL checks the chain and, for the dialler, the name; the role rule
of a listener is ours and runs after the handshake (OpenSSL's own hook is not reachable from
Python), before a byte is read.

Source: rpc.md §2; nomad-agent.md §7.1, §10.
"""

from __future__ import annotations

import ssl
import warnings
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import msgspec

from swimnomad.errors import ConfigError
from swimnomad.nomad.ciphers import CIPHER_SUITES, split_suites
from swimnomad.nomad.config import AgentConfig, TlsConfig
from swimnomad.tls.failures import WRONG_ROLE, CertificateRefused, describe_failure
from swimnomad.tls.names import may_call, names_of, role_name

if TYPE_CHECKING:
    from swimnomad.tls.files import TlsFiles

_VERSIONS = {
    "tls10": ssl.TLSVersion.TLSv1,
    "tls11": ssl.TLSVersion.TLSv1_1,
    "tls12": ssl.TLSVersion.TLSv1_2,
}


class Connected(Protocol):
    """A TLS connection after its handshake: `ssl.SSLObject`, `ssl.SSLSocket`, `trio.SSLStream`."""

    @property
    def getpeercert(self) -> Any:  # noqa: ANN401 - trio gives its attributes no types
        """The peer's certificate; see `ssl.SSLSocket.getpeercert`."""


class TlsServer:
    """What a listener needs to know.

    Attributes:
        context: For the next connection; None while TLS is switched off, which is then as if
            there were no `TlsServer` at all.
        required: Whether plain connections are refused.
    """

    def __init__(self) -> None:
        self.context: ssl.SSLContext | None = None
        self.required = False
        self._region: str | None = None

    def check_peer(self, connected: Connected) -> None:
        """Hold the peer's names against the rule of roles, if that is asked for.

        Raises:
            CertificateRefused: `invalid role or region for certificate`.
        """
        if self._region is None:
            return
        if not may_call(names_of(connected.getpeercert()), self._region):
            raise CertificateRefused(WRONG_ROLE)

    def _set(self, context: ssl.SSLContext | None, required: bool, region: str | None) -> None:
        self.context, self.required, self._region = context, required, region


class Dialling(NamedTuple):
    """How to speak TLS to a server: the context, and the name it must have (None for any)."""

    context: ssl.SSLContext
    server_hostname: str | None


class TlsClient:
    """What a dialler needs to know."""

    def __init__(self) -> None:
        self._context: ssl.SSLContext | None = None

    def context_for(self, region: str) -> Dialling | None:
        """How to dial a server of a region; None while TLS is switched off: dial in the clear.

        Raises:
            CertificateRefused: No certificate can have the name that this region's must have.
        """
        if self._context is None:
            return None
        if not self._context.check_hostname:
            return Dialling(self._context, None)
        name = role_name("server", region)
        try:
            name.encode("idna")
        except UnicodeError:
            text = f"no certificate can have the name {name!r} of the region's servers"
            raise CertificateRefused(text) from None
        return Dialling(self._context, name)

    def _set(self, context: ssl.SSLContext | None) -> None:
        self._context = context


class AgentTls:
    """TLS of one agent.

    Attributes:
        http: For the HTTP listener; its `required` says nothing, HTTPS is never optional.
        rpc_server: For the RPC listener.
        rpc_client: For whoever dials RPC.
        checksum: Of the files as they were last read.
    """

    def __init__(self, config: AgentConfig) -> None:
        """Read the files of the configuration.

        Raises:
            ConfigError: They cannot be used; the text names the key and the file.
        """
        self._region = config.region
        self.http = TlsServer()
        self.rpc_server = TlsServer()
        self.rpc_client = TlsClient()
        self.checksum = ""
        self._config = TlsConfig()
        self.reload(config)

    def reload(self, config: AgentConfig) -> bool:
        """Read the files again; new connections use what they hold now.

        Args:
            config: As it is now; only its `tls` counts. TLS may be switched on and off too.

        Returns:
            Whether anything has changed.

        Raises:
            ConfigError: The files cannot be used. Everything stays as it was.
        """
        tls = config.tls
        tls.validate()
        files = _read(tls) if tls.http or tls.rpc else None
        tls = msgspec.structs.replace(tls, checksum=files.checksum if files else "")
        if tls == self._config:
            return False
        authorities = files.authorities if files else ""
        # All of it is made before any of it is used.
        http = _server_context(tls, authorities, tls.verify_https_client) if tls.http else None
        listening = _server_context(tls, authorities, verify=True) if tls.rpc else None
        dialling = _client_context(tls, authorities) if tls.rpc else None
        self.http._set(http, tls.http, None)
        region = self._region if tls.rpc and tls.verify_server_hostname else None
        self.rpc_server._set(listening, tls.rpc and not tls.rpc_upgrade_mode, region)
        self.rpc_client._set(dialling)
        self.checksum, self._config = tls.checksum, tls
        return True


def _read(tls: TlsConfig) -> TlsFiles:
    # Imported here, so that agents without TLS start without loading all of X.509.
    from swimnomad.tls.files import read_files

    return read_files(tls)


def _server_context(tls: TlsConfig, authorities: str, verify: bool) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    _configure(context, tls, authorities if verify else "")
    if verify:
        context.verify_mode = ssl.CERT_REQUIRED
    # Python prefers the server's order of suites unless told otherwise; Nomad the client's.
    if tls.tls_prefer_server_cipher_suites:
        context.options |= ssl.OP_CIPHER_SERVER_PREFERENCE
    else:
        context.options &= ~ssl.OP_CIPHER_SERVER_PREFERENCE
    # No resumed sessions: each connection shows its certificate to the rules as they are now.
    context.num_tickets = 0
    context.options |= ssl.OP_NO_TICKET
    return context


def _client_context(tls: TlsConfig, authorities: str) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = tls.verify_server_hostname
    # Names stand in the list of alternative names; Go does not look elsewhere either.
    context.hostname_checks_common_name = False
    _configure(context, tls, authorities)
    return context


def _configure(context: ssl.SSLContext, tls: TlsConfig, authorities: str) -> None:
    """What both ends have in common: versions, suites, certificate, authorities."""
    version = tls.tls_min_version or "tls12"
    suites = ":".join(CIPHER_SUITES[name] for name in split_suites(tls.tls_cipher_suites))
    with warnings.catch_warnings():
        # TLS 1.0 and 1.1 are deprecated: whoever names one as the minimum knows.
        warnings.simplefilter("ignore", DeprecationWarning)
        context.minimum_version = _VERSIONS[version]
    try:
        if version != "tls12":
            # OpenSSL 3 counts their signatures as insecure and would refuse them without a word.
            context.set_ciphers(f"{suites or 'DEFAULT'}:@SECLEVEL=0")
        elif suites:
            context.set_ciphers(suites)
    except ssl.SSLError:
        text = "tls.tls_cipher_suites has no suite that this machine's OpenSSL allows"
        raise ConfigError(text) from None
    try:
        # The password is there so that OpenSSL never asks for one on the terminal.
        context.load_cert_chain(tls.cert_file, tls.key_file, password=lambda: "")
    except (OSError, ssl.SSLError, ValueError) as error:
        why = describe_failure(error)
        text = f"tls.cert_file cannot be used: {tls.cert_file}: OpenSSL says: {why}"
        raise ConfigError(text) from None
    if authorities:
        # As in Go, whatever is in the file is trusted: an intermediate authority need not come
        # with its root.
        context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
        try:
            context.load_verify_locations(cadata=authorities)
        except (ssl.SSLError, ValueError) as error:
            why = describe_failure(error)
            text = f"tls.ca_file cannot be used: {tls.ca_file}: OpenSSL says: {why}"
            raise ConfigError(text) from None
