"""Certificates that OpenSSL accepts, and what is refused before one is made."""

from __future__ import annotations

import subprocess
from datetime import timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ed25519, rsa, x25519
from cryptography.hazmat.primitives.asymmetric.types import PrivateKeyTypes
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    KeySerializationEncryption,
    NoEncryption,
    PrivateFormat,
)

from swimnomad.errors import UsageError
from swimnomad.tls.authority import (
    KeyPair,
    Role,
    Validity,
    create_authority,
    create_certificate,
)
from tests.tls.pki import EXPIRED, NOW, VALID, Pki


def verify(pki: Pki, certificate: str, *options: str) -> str:
    """What `openssl verify` says, the name of the file left out."""
    done = subprocess.run(
        ["openssl", "verify", "-x509_strict", *options, "-CAfile", pki.ca, certificate],
        capture_output=True,
        text=True,
        timeout=30,
    )
    return (done.stdout + done.stderr).replace(certificate, "").strip()


@pytest.mark.parametrize("role", Role)
def test_openssl_accepts_the_certificate_of_each_role(tmp_path: Path, role: Role) -> None:
    pki = Pki(tmp_path)
    certificate = pki.issue(role).certificate
    for name in (f"{role.value}.global.nomad", "localhost"):
        assert verify(pki, certificate, "-purpose", "sslclient", "-verify_hostname", name) == ": OK"
    assert verify(pki, certificate, "-verify_ip", "127.0.0.1") == ": OK"
    listens = verify(pki, certificate, "-purpose", "sslserver")
    assert (listens == ": OK") is (role is not Role.CLI)
    assert "unsuitable certificate purpose" in listens or role is not Role.CLI
    assert "hostname mismatch" in verify(pki, certificate, "-verify_hostname", "server.eu.nomad")


def test_an_authority_of_the_same_name_did_not_sign(tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    pki, other = Pki(tmp_path), Pki(tmp_path / "other")
    assert "error" in verify(other, pki.issue().certificate)


def load(pair: KeyPair) -> x509.Certificate:
    return x509.load_pem_x509_certificate(pair.certificate)


def test_additional_names_and_addresses_come_after_its_own_and_once() -> None:
    made = create_certificate(
        create_authority(VALID),
        VALID,
        role=Role.CLIENT,
        region="eu",
        dns_names=["*.example.org", "localhost", "a-b.c_d"],
        ip_addresses=["::1", "127.0.0.1", "10.0.0.1"],
    )
    alternatives = load(made).extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert alternatives.get_values_for_type(x509.DNSName) == [
        "client.eu.nomad",
        "localhost",
        "*.example.org",
        "a-b.c_d",
    ]
    found = alternatives.get_values_for_type(x509.IPAddress)
    assert [str(address) for address in found] == ["127.0.0.1", "::1", "10.0.0.1"]


def test_authorities_without_a_name_can_be_told_apart() -> None:
    subjects = {load(create_authority(VALID)).subject.rfc4514_string() for _ in range(3)}
    assert len(subjects) == 3
    assert all(subject.startswith("CN=Nomad Agent CA ") for subject in subjects)


def test_a_certificate_does_not_outlive_its_authority() -> None:
    authority = create_authority(Validity.days(NOW, 10))
    made = create_certificate(authority, Validity.days(NOW, 365), role=Role.SERVER)
    assert made.not_after == authority.not_after
    assert made.not_after == (NOW + timedelta(days=10)).replace(microsecond=0)


@pytest.mark.parametrize(
    ("role_region", "names", "addresses", "words"),
    [
        ("eu west", (), (), "'server.eu west.nomad' is no DNS name"),
        ("é", (), (), "is no DNS name"),
        ("", (), (), "'server..nomad' is no DNS name"),
        ("x" * 64, (), (), "labels of 1 to 63"),
        ("x" * 60, (), (), "has 73 characters; at most 64"),
        ("global", ("a..b",), (), "'a..b' is no DNS name"),
        ("global", (), ("127.0.0",), "'127.0.0' is not an IP address"),
    ],
)
def test_names_and_addresses_must_be_such(
    role_region: str, names: tuple[str, ...], addresses: tuple[str, ...], words: str
) -> None:
    with pytest.raises(UsageError) as caught:
        create_certificate(
            create_authority(VALID),
            VALID,
            role=Role.SERVER,
            region=role_region,
            dns_names=names,
            ip_addresses=addresses,
        )
    assert words in str(caught.value)


@pytest.mark.parametrize("name", ["x" * 65, "a\nb"])
def test_the_name_of_an_authority_is_a_line(name: str) -> None:
    with pytest.raises(UsageError, match="at most 64 printable characters"):
        create_authority(VALID, common_name=name)


def test_days_end_with_the_calendar() -> None:
    with pytest.raises(UsageError, match="beyond the year 9999"):
        Validity.days(NOW, 10_000_000)


def pem(key: PrivateKeyTypes, encryption: KeySerializationEncryption | None = None) -> bytes:
    how = encryption or NoEncryption()
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, how)


def refusal(authority: KeyPair) -> str:
    with pytest.raises(UsageError) as caught:
        create_certificate(authority, VALID, role=Role.SERVER)
    return str(caught.value)


def test_what_cannot_sign_is_named() -> None:
    authority, other = create_authority(VALID), create_authority(VALID)
    leaf = create_certificate(authority, VALID, role=Role.SERVER)
    key = ed25519.Ed25519PrivateKey.generate()
    encrypted = pem(key, BestAvailableEncryption(b"secret"))
    expected = {
        KeyPair(b"x", authority.key): "the authority's certificate is no certificate in PEM form",
        KeyPair(authority.certificate, b"x"): "the authority's key is no private key in PEM form",
        KeyPair(authority.certificate, encrypted): "the authority's key is encrypted",
        KeyPair(authority.certificate, other.key): "the authority's key is not that of its cert",
        KeyPair(
            authority.certificate, pem(x25519.X25519PrivateKey.generate())
        ): "the authority's key cannot sign",
        leaf: "the authority's certificate is not that of an authority",
        create_authority(EXPIRED): "the authority expired on ",
    }
    for pair, words in expected.items():
        assert refusal(pair).startswith(words)


@pytest.mark.parametrize("kind", ["rsa", "ed25519"])
def test_an_authority_made_elsewhere_signs_with_its_own_kind_of_key(
    tmp_path: Path, kind: str
) -> None:
    key: rsa.RSAPrivateKey | ed25519.Ed25519PrivateKey
    if kind == "rsa":
        key = rsa.generate_private_key(65537, 2048)
    else:
        key = ed25519.Ed25519PrivateKey.generate()
    (tmp_path / "key.pem").write_bytes(pem(key))
    line = (
        "openssl req -x509 -new -key key.pem -subj /CN=Elsewhere -days 9 -out ca.pem"
        " -addext keyUsage=critical,keyCertSign"
    )
    subprocess.run(
        line.split(),
        cwd=tmp_path,
        check=True,
        capture_output=True,
        timeout=30,
    )
    pki = Pki(tmp_path, "unused")
    pki.pair = KeyPair((tmp_path / "ca.pem").read_bytes(), pem(key))
    pki.ca = str(tmp_path / "ca.pem")
    made = pki.issue(name="made").certificate
    assert verify(pki, made) == ": OK"


def test_an_authority_without_a_key_identifier_is_good_enough(tmp_path: Path) -> None:
    key = ed25519.Ed25519PrivateKey.generate()
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "Bare")])
    bare = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(7)
        .not_valid_before(VALID.not_before)
        .not_valid_after(VALID.not_after)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, None)
    )
    made = create_certificate(
        KeyPair(bare.public_bytes(Encoding.PEM), pem(key)), VALID, role=Role.SERVER
    )
    load(made).verify_directly_issued_by(bare)


def test_a_certificate_without_constraints_is_no_authority() -> None:
    key, name = ed25519.Ed25519PrivateKey.generate(), x509.Name([])
    plain = (
        x509.CertificateBuilder(name, name, key.public_key(), 7)
        .not_valid_before(VALID.not_before)
        .not_valid_after(VALID.not_after)
        .sign(key, None)
    )
    text = refusal(KeyPair(plain.public_bytes(Encoding.PEM), pem(key)))
    assert text == "the authority's certificate is not that of an authority"
