"""Why a TLS connection failed, as one sentence for the log.

OpenSSL says what it met; a person wants to know what is wrong and at which end. In the sentences
*the peer's certificate* was refused here, *our certificate* was refused over there.
"""

from __future__ import annotations

import ssl
from collections.abc import Iterator, Mapping

from swimnomad.errors import SwimnomadError

WRONG_ROLE = "invalid role or region for certificate"


class CertificateRefused(SwimnomadError):
    """A certificate is valid, and still not one that may do this."""


UNKNOWN_AUTHORITY = "the peer's certificate is signed by an unknown authority"
NO_CERTIFICATE = "the peer gave no certificate"
EXPIRED = "the peer's certificate has expired"
NOT_YET_VALID = "the peer's certificate is not valid yet; compare the clocks"
NOT_TLS = "the peer does not speak TLS: what it sent is no TLS record"
PLAIN_HTTP = "the peer sent a plain HTTP request to a TLS port"
CLOSED = "the peer closed the connection during the TLS handshake"

_BY_VERIFY_CODE: Mapping[int, str] = {
    7: UNKNOWN_AUTHORITY,  # the signature is not that of the authority with this name
    18: "the peer's certificate is signed by itself and by no known authority",
    19: UNKNOWN_AUTHORITY,
    20: UNKNOWN_AUTHORITY,
    21: UNKNOWN_AUTHORITY,
    9: NOT_YET_VALID,
    10: EXPIRED,
    23: "the peer's certificate is revoked",
    24: "the peer's certificate is signed by one that is no authority",
    26: "the peer's certificate is for another use: a dialler's needs the extended key usage "
    "clientAuth, a listener's serverAuth",
    79: "the peer's certificate is signed by one that is no authority",
}
"""OpenSSL's X509_V_ERR numbers, of include/openssl/x509_vfy.h."""

_BY_REASON: Mapping[str, str] = {
    "PEER_DID_NOT_RETURN_A_CERTIFICATE": NO_CERTIFICATE,
    "HTTP_REQUEST": PLAIN_HTTP,
    "HTTPS_PROXY_REQUEST": PLAIN_HTTP,
    "WRONG_VERSION_NUMBER": NOT_TLS,
    "UNKNOWN_PROTOCOL": NOT_TLS,
    "RECORD_LAYER_FAILURE": NOT_TLS,
    "PACKET_LENGTH_TOO_LONG": NOT_TLS,
    "BAD_RECORD_TYPE": NOT_TLS,
    "UNEXPECTED_EOF_WHILE_READING": CLOSED,
    "UNSUPPORTED_PROTOCOL": "the peer does not speak a TLS version that is allowed here",
    "VERSION_TOO_LOW": "the peer does not speak a TLS version that is allowed here",
    "NO_PROTOCOLS_AVAILABLE": "no TLS version is allowed here",
    "NO_SHARED_CIPHER": "the peer offers no cipher suite that is allowed here",
    "TLSV1_ALERT_UNKNOWN_CA": "the peer does not know the authority that signed our certificate",
    "TLSV13_ALERT_CERTIFICATE_REQUIRED": "the peer wants a certificate and was given none",
    "SSLV3_ALERT_BAD_CERTIFICATE": "the peer refused our certificate",
    "SSLV3_ALERT_CERTIFICATE_EXPIRED": "the peer says that our certificate has expired",
    "SSLV3_ALERT_CERTIFICATE_REVOKED": "the peer says that our certificate is revoked",
    "SSLV3_ALERT_CERTIFICATE_UNKNOWN": "the peer refused our certificate",
    "SSLV3_ALERT_UNSUPPORTED_CERTIFICATE": "the peer says that our certificate is for another use",
    "SSLV3_ALERT_HANDSHAKE_FAILURE": "the peer refused the handshake: it wants a certificate that "
    "was not given, or a version or cipher suite that is not allowed here",
    "TLSV1_ALERT_PROTOCOL_VERSION": "the peer does not allow our TLS version",
    "TLSV1_ALERT_INSUFFICIENT_SECURITY": "the peer does not allow our cipher suites",
    "TLSV1_ALERT_ACCESS_DENIED": "the peer denied access",
    "TLSV1_UNRECOGNIZED_NAME": "the peer does not know the name it was called by",
}
"""OpenSSL's reason -> our words. The reasons with ALERT are what the peer said."""

_REFUSALS = frozenset(
    reason for reason in _BY_REASON if "ALERT" in reason or reason == "TLSV1_UNRECOGNIZED_NAME"
)


def describe_failure(error: BaseException, *, name: str = "") -> str:
    """One sentence, without a stop, about a handshake or connection that failed.

    Args:
        error: What was raised: an `ssl.SSLError`, a `CertificateRefused`, or an exception that
            one of them caused (as `trio.BrokenResourceError` and httpx's errors are).
        name: The name that the peer's certificate had to have, if one was asked for.
    """
    for cause in _causes(error):
        match cause:
            case CertificateRefused():
                return str(cause)
            case ssl.SSLCertVerificationError():
                return _describe_verification(cause, name)
            case ssl.SSLEOFError() | ssl.SSLZeroReturnError():
                return CLOSED
            case ssl.SSLError():
                return _BY_REASON.get(_reason(cause), _raw(cause))
            case ConnectionResetError() | BrokenPipeError():
                return CLOSED
            case _:
                continue
    return _raw(error)


def is_refusal(error: BaseException) -> bool:
    """Whether the peer answered with a TLS alert that ends a handshake.

    With TLS 1.3 a dialler learns of it when it reads first, so it may have sent something by then:
    the peer has not looked at it.
    """
    return any(
        isinstance(cause, ssl.SSLError) and _reason(cause) in _REFUSALS for cause in _causes(error)
    )


def last_words(connection: object) -> bytes:
    """What a broken `trio.SSLStream` has not sent: the alert that tells the peer what was wrong.

    Without it the peer sees no more than the end of the connection. Send it on the stream inside,
    once. Empty if there is none.
    """
    # Trio has no public way to get at it.
    outgoing = getattr(connection, "_outgoing", None)
    return outgoing.read() if isinstance(outgoing, ssl.MemoryBIO) else b""


def tls_error_in(error: BaseException) -> ssl.SSLError | None:
    """The TLS error that an exception is, or that caused it; None if it has nothing to do with TLS.

    A peer that just closed the connection is not one: that happens without TLS too.
    """
    for cause in _causes(error):
        if isinstance(cause, ssl.SSLError) and not isinstance(cause, ssl.SSLEOFError):
            return cause
    return None


def _causes(error: BaseException) -> Iterator[BaseException]:
    """An exception and what led to it, the latest first."""
    seen: list[BaseException] = []
    current: BaseException | None = error
    while current is not None and not any(current is other for other in seen):
        yield current
        seen.append(current)
        # Also a context that is hidden from tracebacks: httpcore hides all of them.
        current = current.__cause__ or current.__context__


def _describe_verification(error: ssl.SSLCertVerificationError, name: str) -> str:
    code: int = error.verify_code
    if code in (62, 64):  # a name or an IP address that is not in the certificate
        wanted = f" {name}" if name else f": {error.verify_message.rstrip('.')}"
        return f"the peer's certificate is not valid for the name{wanted}"
    return _BY_VERIFY_CODE.get(code, f"the peer's certificate is not valid: {error.verify_message}")


def _reason(error: ssl.SSLError) -> str:
    """OpenSSL's name for it; empty if it was not OpenSSL that raised."""
    return getattr(error, "reason", None) or ""


def _raw(error: BaseException) -> str:
    if isinstance(error, ssl.SSLError) and (reason := _reason(error)):
        return reason.lower().replace("_", " ")
    return " ".join(str(error).split()) or type(error).__name__
