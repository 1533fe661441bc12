"""Sentences about errors that wrap others."""

from __future__ import annotations

import ssl

import pytest

from swimnomad.tls.failures import (
    CertificateRefused,
    describe_failure,
    is_refusal,
    last_words,
    tls_error_in,
)


def caused(cause: BaseException) -> Exception:
    try:
        raise RuntimeError("stream is broken") from cause
    except RuntimeError as error:
        return error


def tls_error(reason: str) -> ssl.SSLError:
    error = ssl.SSLError(1, f"[SSL: {reason}] some words (_ssl.c:1006)")
    error.reason = reason
    return error


@pytest.mark.parametrize(
    ("error", "text"),
    [
        (CertificateRefused("no"), "no"),
        (caused(CertificateRefused("no")), "no"),
        (caused(tls_error("NO_SHARED_CIPHER")), "the peer offers no cipher suite that is allowed"),
        (tls_error("SOME_NEW_REASON"), "some new reason"),
        (ssl.SSLError(1, "odd"), "odd"),
        (ssl.SSLEOFError(8, "eof"), "the peer closed the connection during the TLS handshake"),
        (caused(ConnectionResetError()), "the peer closed the connection during"),
        (caused(ValueError("x\ny")), "stream is broken"),
        (ValueError(), "ValueError"),
    ],
)
def test_the_cause_is_what_is_told(error: BaseException, text: str) -> None:
    assert describe_failure(error).startswith(text)


def test_a_loop_of_causes_ends() -> None:
    first, second = RuntimeError("first"), RuntimeError("second")
    first.__cause__, second.__cause__ = second, first
    assert describe_failure(first) == "first"
    assert tls_error_in(first) is None


def test_a_hidden_context_is_a_cause_all_the_same() -> None:
    """As in what httpcore raises."""
    error = RuntimeError("other")
    error.__context__ = tls_error("NO_SHARED_CIPHER")
    error.__suppress_context__ = True
    assert tls_error_in(error) is error.__context__


def test_a_verification_error_that_is_not_in_the_table_is_in_openssls_words() -> None:
    error = ssl.SSLCertVerificationError(1, "[SSL: CERTIFICATE_VERIFY_FAILED]")
    error.verify_code, error.verify_message = 53, "unsupported name constraint type"
    text = "the peer's certificate is not valid: unsupported name constraint type"
    assert describe_failure(error) == text
    error.verify_code, error.verify_message = 64, "IP address mismatch, for 'a'."
    assert describe_failure(error).endswith("for the name: IP address mismatch, for 'a'")


def test_alerts_are_refusals_and_a_closed_connection_is_no_tls_error() -> None:
    alert = tls_error("TLSV1_ALERT_UNKNOWN_CA")
    assert is_refusal(caused(alert))
    assert tls_error_in(caused(alert)) is alert
    assert not is_refusal(tls_error("NO_SHARED_CIPHER"))
    assert tls_error_in(ssl.SSLEOFError(8, "eof")) is None


def test_only_a_broken_stream_has_last_words() -> None:
    assert last_words(object()) == b""
