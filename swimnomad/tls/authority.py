"""Making a certificate authority, and certificates for agents and their users.

ECDSA over P-256, signed with SHA-256. Everything that both OpenSSL and Go look at when they verify
is there: basic constraints, key usages, key identifiers of subject and authority.

Nothing here reads a clock or touches a file: dates come in, PEM goes out.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Sequence
from datetime import datetime, timedelta
from enum import Enum

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_pem_private_key,
)
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from swimnomad.errors import UsageError
from swimnomad.names import Value
from swimnomad.tls.names import DOMAIN, role_name

AUTHORITY_DAYS = 1825
CERTIFICATE_DAYS = 365
"""Defaults, those of `nomad tls`."""

COMMON_NAME_MAX = 64
LABEL_MAX = 63
"""Characters, of X.520 and of DNS."""

_BACKDATING = timedelta(minutes=1)
"""A certificate is valid from a little before it is made: clocks of machines differ."""

SigningKey = (
    ec.EllipticCurvePrivateKey
    | rsa.RSAPrivateKey
    | ed25519.Ed25519PrivateKey
    | ed448.Ed448PrivateKey
)


class Role(Enum):
    """Whom a certificate is for."""

    SERVER = "server"
    CLIENT = "client"
    CLI = "cli"

    @property
    def usages(self) -> tuple[x509.ObjectIdentifier, ...]:
        """Extended key usages. Agents listen and dial, commands only dial."""
        if self is Role.CLI:
            return (ExtendedKeyUsageOID.CLIENT_AUTH,)
        return (ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH)


class KeyPair(Value, frozen=True):
    """A certificate and its private key, both PEM."""

    certificate: bytes
    key: bytes

    @property
    def not_after(self) -> datetime:
        """When the certificate expires; UTC."""
        return x509.load_pem_x509_certificate(self.certificate).not_valid_after_utc


class Validity(Value, frozen=True):
    """From when to when a certificate is valid; times with a zone."""

    not_before: datetime
    not_after: datetime

    @classmethod
    def days(cls, now: datetime, days: int) -> Validity:
        """From about now, for some days.

        Raises:
            UsageError: That is beyond what a certificate can say.
        """
        try:
            return cls(now - _BACKDATING, now + timedelta(days=days))
        except OverflowError:
            raise UsageError(f"{days} days from now is beyond the year 9999") from None


def create_authority(validity: Validity, *, common_name: str = "", domain: str = DOMAIN) -> KeyPair:
    """A new authority, which signs itself.

    Args:
        validity: When it is valid.
        common_name: Its name; empty for one with its serial number, so that two can be told apart.
        domain: Last label of the names it is for; part of the name that is given for an empty one.

    Raises:
        UsageError: The name is too long, or no text for a certificate.
    """
    key = ec.generate_private_key(ec.SECP256R1())
    serial = x509.random_serial_number()
    own = f"{domain.capitalize()} Agent CA "
    name = _distinguished(common_name or own + str(serial)[: COMMON_NAME_MAX - len(own)])
    identifier = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
    usage = _key_usage(certificates=True)
    builder = (
        _builder(name, name, key.public_key(), serial, validity)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .add_extension(usage, critical=True)
        .add_extension(identifier, critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(identifier),
            critical=False,
        )
    )
    return _pair(builder.sign(key, SHA256()), key)


def create_certificate(
    authority: KeyPair,
    validity: Validity,
    *,
    role: Role,
    region: str = "global",
    domain: str = DOMAIN,
    dns_names: Sequence[str] = (),
    ip_addresses: Sequence[str] = (),
) -> KeyPair:
    """A certificate for a role in a region, signed by an authority.

    Its names are `<role>.<region>.<domain>`, `localhost` and 127.0.0.1, then those that are given.
    It does not outlive its authority.

    Args:
        authority: Who signs.
        validity: When the certificate is valid.
        role: Whom it is for.
        region: The region of that agent.
        domain: Last label of its name; agents know only `nomad`.
        dns_names: More names under which it may be reached.
        ip_addresses: More addresses under which it may be reached.

    Raises:
        UsageError: A name or address is not one, or the authority cannot sign.
    """
    issuer, signer = _open_authority(authority)
    if validity.not_before >= issuer.not_valid_after_utc:
        raise UsageError(f"the authority expired on {issuer.not_valid_after_utc:%Y-%m-%d}")
    if validity.not_after > issuer.not_valid_after_utc:
        validity = Validity(validity.not_before, issuer.not_valid_after_utc)
    common_name = _checked_name(role_name(role.value, region, domain))
    if len(common_name) > COMMON_NAME_MAX:
        raise UsageError(
            f"the name {common_name} has {len(common_name)} characters; at most "
            f"{COMMON_NAME_MAX} are allowed"
        )
    names = dict.fromkeys((common_name, "localhost", *map(_checked_name, dns_names)))
    addresses = dict.fromkeys(("127.0.0.1", *map(_checked_address, ip_addresses)))
    alternatives = [
        *(x509.DNSName(name) for name in names),
        *(x509.IPAddress(ipaddress.ip_address(address)) for address in addresses),
    ]
    key = ec.generate_private_key(ec.SECP256R1())
    public = key.public_key()
    serial = x509.random_serial_number()
    builder = (
        _builder(_distinguished(common_name), issuer.subject, public, serial, validity)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_key_usage(certificates=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage(role.usages), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
        .add_extension(_authority_identifier(issuer), critical=False)
        .add_extension(x509.SubjectAlternativeName(alternatives), critical=False)
    )
    hashed = isinstance(signer, ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey)
    return _pair(builder.sign(signer, SHA256() if hashed else None), key)


def _builder(
    subject: x509.Name,
    issuer: x509.Name,
    public: ec.EllipticCurvePublicKey,
    serial: int,
    validity: Validity,
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(public)
        .serial_number(serial)
        .not_valid_before(validity.not_before)
        .not_valid_after(validity.not_after)
    )


def _key_usage(*, certificates: bool) -> x509.KeyUsage:
    """Signing certificates (and lists of revoked ones), or signing handshakes."""
    return x509.KeyUsage(
        digital_signature=not certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=certificates,
        crl_sign=certificates,
        encipher_only=False,
        decipher_only=False,
    )


def _authority_identifier(issuer: x509.Certificate) -> x509.AuthorityKeyIdentifier:
    """What the issuer calls its key; it is followed even if it is no hash of the key."""
    try:
        extension = issuer.extensions.get_extension_for_class(x509.SubjectKeyIdentifier)
    except x509.ExtensionNotFound:
        public = issuer.public_key()
        return x509.AuthorityKeyIdentifier(
            x509.SubjectKeyIdentifier.from_public_key(public).digest, None, None
        )
    return x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(extension.value)


def _open_authority(authority: KeyPair) -> tuple[x509.Certificate, SigningKey]:
    try:
        certificate = x509.load_pem_x509_certificate(authority.certificate)
    except ValueError:
        raise UsageError("the authority's certificate is no certificate in PEM form") from None
    try:
        key = load_pem_private_key(authority.key, password=None)
    except TypeError:
        raise UsageError("the authority's key is encrypted with a password") from None
    except (ValueError, UnsupportedAlgorithm):
        raise UsageError("the authority's key is no private key in PEM form") from None
    if not isinstance(key, SigningKey):
        raise UsageError("the authority's key cannot sign certificates")
    form = (Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    if key.public_key().public_bytes(*form) != certificate.public_key().public_bytes(*form):
        raise UsageError("the authority's key is not that of its certificate")
    try:
        constraints = certificate.extensions.get_extension_for_class(x509.BasicConstraints)
    except (x509.ExtensionNotFound, ValueError):
        constraints = None
    if constraints is None or not constraints.value.ca:
        raise UsageError("the authority's certificate is not that of an authority")
    return certificate, key


def _pair(certificate: x509.Certificate, key: ec.EllipticCurvePrivateKey) -> KeyPair:
    return KeyPair(
        certificate.public_bytes(Encoding.PEM),
        key.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption()),
    )


def _distinguished(common_name: str) -> x509.Name:
    if not common_name.isprintable() or len(common_name) > COMMON_NAME_MAX:
        raise UsageError(
            f"the name {common_name!r} is not allowed: at most {COMMON_NAME_MAX} printable "
            "characters are"
        )
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common_name)])


def _checked_name(name: str) -> str:
    """A DNS name as it is, also with a star as its first label.

    Raises:
        UsageError: It is none.
    """
    labels = name.removeprefix("*.").split(".")
    for label in labels:
        letters = label.replace("-", "").replace("_", "")
        if not (letters.isascii() and letters.isalnum()) or len(label) > LABEL_MAX:
            raise UsageError(
                f"{name!r} is no DNS name: allowed are labels of 1 to {LABEL_MAX} letters, "
                "digits, - and _, with dots between them"
            )
    return name


def _checked_address(address: str) -> str:
    try:
        return str(ipaddress.ip_address(address))
    except ValueError:
        raise UsageError(f"{address!r} is not an IP address") from None
