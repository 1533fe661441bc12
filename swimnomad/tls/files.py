"""Reading the files of the `tls` block, so that whatever is wrong with them is one sentence.

OpenSSL reads them once more by path. It would say no more than that something is wrong, and ask
for the password of an encrypted key on the terminal.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_pem_private_key,
)

from swimnomad.errors import ConfigError
from swimnomad.names import Value
from swimnomad.nomad.ciphers import split_suites
from swimnomad.nomad.config import TlsConfig

FILE_BYTES_MAX = 1024 * 1024


class TlsFiles(Value, frozen=True):
    """The files of a `tls` block, read and checked.

    `authorities` is the text of `ca_file`, empty if it is not set. `checksum` is the MD5 of all of
    them, in hexadecimal: Nomad shows it, to tell whether agents have the same files.
    """

    authorities: str
    checksum: str


def read_files(tls: TlsConfig) -> TlsFiles:
    """Read the files that are named, and check that they can be used together.

    Raises:
        ConfigError: Naming the key and the file, and what is wrong with it.
    """
    digest = hashlib.md5(usedforsecurity=False)
    authorities = b""
    if tls.ca_file:
        authorities = _read("tls.ca_file", tls.ca_file)
        _parse_certificates("tls.ca_file", tls.ca_file, authorities)
        digest.update(authorities)
    if tls.cert_file and tls.key_file:
        certificate = _read("tls.cert_file", tls.cert_file)
        key = _read("tls.key_file", tls.key_file)
        digest.update(certificate)
        digest.update(key)
        _check_pair(tls, certificate, key)
    return TlsFiles(authorities.decode("ascii", "replace"), digest.hexdigest())


def _read(key: str, path: str) -> bytes:
    try:
        with Path(path).open("rb") as file:
            data = file.read(FILE_BYTES_MAX + 1)
    except (OSError, ValueError) as error:
        why = (error.strerror if isinstance(error, OSError) else None) or str(error)
        raise ConfigError(f"{key} cannot be read: {path}: {why.lower()}") from None
    if len(data) > FILE_BYTES_MAX:
        raise ConfigError(f"{key} cannot be used: {path} has more than {FILE_BYTES_MAX} bytes")
    return data


def _parse_certificates(key: str, path: str, data: bytes) -> list[x509.Certificate]:
    try:
        return x509.load_pem_x509_certificates(data)
    except ValueError:
        text = f"{key} cannot be used: {path} holds no certificate in PEM form"
        raise ConfigError(text) from None


def _check_pair(tls: TlsConfig, certificate_data: bytes, key_data: bytes) -> None:
    certificate = _parse_certificates("tls.cert_file", tls.cert_file, certificate_data)[0]
    try:
        private = load_pem_private_key(key_data, password=None)
    except TypeError:
        text = f"tls.key_file cannot be used: {tls.key_file} is encrypted with a password"
        raise ConfigError(text) from None
    except (ValueError, UnsupportedAlgorithm):
        text = f"tls.key_file cannot be used: {tls.key_file} holds no private key in PEM form"
        raise ConfigError(text) from None
    form = (Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    public = certificate.public_key()
    if private.public_key().public_bytes(*form) != public.public_bytes(*form):
        raise ConfigError(
            f"tls.key_file does not belong to tls.cert_file: the key in {tls.key_file} is not that "
            f"of the certificate in {tls.cert_file}"
        )
    suites = split_suites(tls.tls_cipher_suites)
    is_ecdsa = isinstance(public, ec.EllipticCurvePublicKey)
    if not suites or not (is_ecdsa or isinstance(public, rsa.RSAPublicKey)):
        return
    if not any(("_ECDSA_" in name) == is_ecdsa for name in suites):
        kind = "an ECDSA" if is_ecdsa else "an RSA"
        raise ConfigError(
            f"tls.tls_cipher_suites has no suite for {kind} key, which {tls.cert_file} has"
        )
