"""How a command speaks TLS to an agent, and what to do when that fails."""

from __future__ import annotations

import ssl
from pathlib import Path
from typing import NamedTuple

from swimnomad.errors import UsageError
from swimnomad.tls.failures import NOT_TLS, describe_failure


class Trust(NamedTuple):
    """The options about TLS. Empty texts are not set.

    Without `ca_cert` the system's authorities are trusted. `server_name` is asked for (and must
    be in the certificate) in place of the host in the address. `skip_verify` believes anyone.
    """

    ca_cert: str = ""
    client_cert: str = ""
    client_key: str = ""
    skip_verify: bool = False
    server_name: str = ""


def make_context(trust: Trust) -> ssl.SSLContext:
    """A context of the standard library that does as `trust` says.

    Raises:
        UsageError: A file cannot be used, or only one of certificate and key is given.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    if trust.skip_verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    elif trust.ca_cert:
        _trust_only(context, trust.ca_cert)
    else:
        context.load_default_certs()
    if bool(trust.client_cert) != bool(trust.client_key):
        given, missing = "--client-cert", "--client-key"
        if trust.client_key:
            given, missing = missing, given
        raise UsageError(f"{given} is given without {missing}: both are needed, or none")
    if trust.client_cert:
        _show(context, trust.client_cert, trust.client_key)
    return context


def _trust_only(context: ssl.SSLContext, path: str) -> None:
    _check_readable("--ca-cert", path)
    # As agents do: whatever is in the file is trusted, roots or not.
    context.verify_flags |= ssl.VERIFY_X509_PARTIAL_CHAIN
    try:
        context.load_verify_locations(cafile=path)
    except OSError:
        text = f"--ca-cert cannot be used: {path} holds no certificate in PEM form"
        raise UsageError(text) from None


def _show(context: ssl.SSLContext, certificate: str, key: str) -> None:
    _check_readable("--client-cert", certificate)
    _check_readable("--client-key", key)
    try:
        # The password is there so that OpenSSL never asks for one.
        context.load_cert_chain(certificate, key, password=lambda: "")
    except (OSError, ValueError) as error:
        if isinstance(error, ssl.SSLError) and error.reason == "KEY_VALUES_MISMATCH":
            why = "the key is not that of the certificate"
        else:
            why = "no certificate and key in PEM form, the key without a password"
        raise UsageError(
            f"--client-cert {certificate} and --client-key {key} cannot be used: {why}"
        ) from None


def _check_readable(option: str, path: str) -> None:
    """Refuse a file that is not there: OpenSSL does not say which of two it was."""
    try:
        with Path(path).open("rb"):
            pass
    except OSError as error:
        why = (error.strerror or str(error)).lower()
        raise UsageError(f"{option} cannot be read: {path}: {why}") from None


def explain(error: BaseException, host: str) -> str:
    """Why TLS with an agent failed, and which option may help.

    Args:
        error: One in which `tls_error_in` finds something.
        host: The name that the agent's certificate must have.
    """
    why = describe_failure(error, name=host)
    hint = next((hint for words, hint in _HINTS if words in why), "")
    return f"{why} ({hint})" if hint else why


_HINTS = (
    ("signed by", "set --ca-cert or NOMAD_CACERT to the file of its authority"),
    ("not valid for the name", "set --tls-server-name or NOMAD_TLS_SERVER_NAME to a name it has"),
    ("wants a certificate", "set --client-cert and --client-key"),
    ("does not know the authority", "is --client-cert of its authority?"),
    (NOT_TLS, "is its address http://?"),
)
