"""What contexts let through, and the sentence at each end about what they do not."""

from __future__ import annotations

import hashlib
import ssl
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)

from swimnomad.errors import ConfigError
from swimnomad.nomad.ciphers import CIPHER_SUITES
from swimnomad.nomad.config import AgentConfig, TlsConfig
from swimnomad.tls.authority import Role
from swimnomad.tls.contexts import AgentTls
from swimnomad.tls.failures import CertificateRefused, describe_failure, is_refusal
from tests.tls.pki import EXPIRED, NOT_YET_VALID, VALID, Files, Pki, Side, shake_hands, user_context


@pytest.fixture
def pki(tmp_path: Path) -> Pki:
    return Pki(tmp_path)


@pytest.fixture
def foreign(tmp_path: Path) -> Pki:
    (tmp_path / "foreign").mkdir()
    return Pki(tmp_path / "foreign", "foreign")


STRICT = {"verify_server_hostname": True}
UNKNOWN = "the peer's certificate is signed by an unknown authority"
UNKNOWN_OVER_THERE = "the peer does not know the authority that signed our certificate"
CLOSED = "the peer closed the connection during the TLS handshake"


def rpc_call(dialler: AgentTls, listener: AgentTls, region: str = "global") -> tuple[str, str]:
    """Dial a server of a region; what went wrong at the dialler and at the listener."""
    dialling = dialler.rpc_client.context_for(region)
    assert dialling is not None
    assert listener.rpc_server.context is not None
    name = dialling.server_hostname
    near = Side(dialling.context, name=name, is_server=False)
    far = Side(listener.rpc_server.context, name=None, is_server=True)
    near.also(lambda: near.tls.read(1))  # with TLS 1.3 a refusal comes after the handshake
    shake_hands(near, far)
    says = [
        "" if side.error is None else describe_failure(side.error, name=name or "")
        for side in (near, far)
    ]
    if far.error is None:
        try:
            listener.rpc_server.check_peer(far.tls)
        except CertificateRefused as error:
            says[1] = str(error)
    return says[0], says[1]


def test_servers_and_clients_of_a_region_reach_a_server(pki: Pki) -> None:
    server = AgentTls(pki.config(pki.issue(), **STRICT))
    client = AgentTls(pki.config(pki.issue(Role.CLIENT), **STRICT))
    assert rpc_call(server, server) == ("", "")
    assert rpc_call(client, server) == ("", "")


def test_the_other_ends_authority_must_be_known(pki: Pki, foreign: Pki) -> None:
    ours = AgentTls(pki.config(pki.issue()))
    theirs = AgentTls(foreign.config(foreign.issue()))
    assert rpc_call(ours, theirs) == (UNKNOWN, UNKNOWN_OVER_THERE)
    files = foreign.issue(Role.CLIENT)
    half = AgentTls(pki.config(files))  # knows our authority, and is of theirs
    assert rpc_call(half, ours) == (UNKNOWN_OVER_THERE, UNKNOWN)


def test_expired_certificates_are_named_at_both_ends(pki: Pki) -> None:
    good = AgentTls(pki.config(pki.issue()))
    old = AgentTls(pki.config(pki.issue(validity=EXPIRED, name="old")))
    expired = "the peer's certificate has expired"
    ours = "the peer says that our certificate has expired"
    assert rpc_call(good, old) == (expired, ours)
    assert rpc_call(old, good) == (ours, expired)
    early = AgentTls(pki.config(pki.issue(validity=NOT_YET_VALID, name="early")))
    not_yet = "the peer's certificate is not valid yet; compare the clocks"
    assert rpc_call(good, early) == (not_yet, "the peer refused our certificate")


def test_a_dialler_wants_the_name_of_the_region(pki: Pki) -> None:
    dialler = AgentTls(pki.config(pki.issue(), **STRICT))
    eu = AgentTls(pki.config(pki.issue(region="eu"), **STRICT))
    client = AgentTls(pki.config(pki.issue(Role.CLIENT), **STRICT))
    assert rpc_call(dialler, eu, "eu") == ("", "")
    wrong = "the peer's certificate is not valid for the name server.global.nomad"
    refused = "the peer refused our certificate"
    assert rpc_call(dialler, eu, "global") == (wrong, refused)
    assert rpc_call(dialler, client, "global") == (wrong, refused)
    careless = AgentTls(pki.config(pki.issue()))
    assert rpc_call(careless, client, "global")[0] == ""


def test_a_listener_wants_a_role_of_its_region(pki: Pki) -> None:
    listener = AgentTls(pki.config(pki.issue(), **STRICT))
    wrong = "invalid role or region for certificate"
    for files, outcome in (
        (pki.issue(region="eu"), ""),
        (pki.issue(Role.CLIENT, "eu"), wrong),
        (pki.issue(Role.CLI), wrong),
    ):
        assert rpc_call(AgentTls(pki.config(files, **STRICT)), listener) == ("", outcome)
    careless = AgentTls(pki.config(pki.issue()))
    assert rpc_call(AgentTls(pki.config(pki.issue(Role.CLI))), careless) == ("", "")


def test_a_dialler_without_a_certificate_is_turned_away(pki: Pki) -> None:
    listener = AgentTls(pki.config(pki.issue()))
    assert listener.rpc_server.context is not None
    near = Side(user_context(pki.ca), name="localhost", is_server=False)
    far = Side(listener.rpc_server.context, name=None, is_server=True)
    near.also(lambda: near.tls.read(1))
    shake_hands(near, far)
    assert far.error is not None
    assert near.error is not None
    assert describe_failure(far.error) == "the peer gave no certificate"
    assert describe_failure(near.error) == "the peer wants a certificate and was given none"
    assert is_refusal(near.error)
    assert not is_refusal(far.error)


def test_a_certificate_for_commands_cannot_listen(pki: Pki) -> None:
    listener = AgentTls(pki.config(pki.issue(Role.CLI)))
    near, far = rpc_call(AgentTls(pki.config(pki.issue())), listener)
    assert "extended key usage" in near
    assert far == "the peer says that our certificate is for another use"


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (
            b"GET /v1/agent/self HTTP/1.1\r\n\r\n",
            "the peer sent a plain HTTP request to a TLS port",
        ),
        (b"\x06\x00\x01\x00\x00\x00\x00\x01\x00\x00\x00\x00", "the peer does not speak TLS"),
        (b"\x16\x03\x01\x00\x05hello" * 9, ""),
    ],
)
def test_what_is_no_handshake_is_named(pki: Pki, data: bytes, says: str) -> None:
    context = AgentTls(pki.config(pki.issue())).http.context
    assert context is not None
    far = Side(context, name=None, is_server=True)
    far.incoming.write(data)
    far.go_on()
    assert far.error is not None
    text = describe_failure(far.error)
    assert text.startswith(says)
    assert text


@pytest.mark.parametrize(
    ("data", "says"),
    [(b"HTTP/1.1 400 Bad Request\r\n\r\n", "the peer does not speak TLS"), (b"", CLOSED)],
)
def test_a_plain_listener_is_named(pki: Pki, data: bytes, says: str) -> None:
    dialling = AgentTls(pki.config(pki.issue())).rpc_client.context_for("global")
    assert dialling is not None
    near = Side(dialling.context, name=None, is_server=False)
    near.go_on()
    near.incoming.write(data) if data else near.incoming.write_eof()
    near.go_on()
    assert near.error is not None
    assert describe_failure(near.error).startswith(says)


def test_a_client_of_https_shows_a_certificate_only_if_asked(pki: Pki, foreign: Pki) -> None:
    files = pki.issue()

    def outcome(user: Files | None, **tls: bool) -> str:
        context = AgentTls(pki.config(files, **tls)).http.context
        assert context is not None
        near = Side(user_context(pki.ca, user), name="127.0.0.1", is_server=False)
        far = Side(context, name=None, is_server=True)
        shake_hands(near, far)
        return "" if far.error is None else describe_failure(far.error)

    assert outcome(None) == ""
    assert outcome(None, verify_https_client=True) == "the peer gave no certificate"
    assert outcome(pki.issue(Role.CLI), verify_https_client=True) == ""
    assert outcome(foreign.issue(Role.CLI), verify_https_client=True) == UNKNOWN


@pytest.mark.parametrize(
    ("minimum", "offered", "allowed"),
    [
        ("", ssl.TLSVersion.TLSv1_1, False),
        ("", ssl.TLSVersion.TLSv1_2, True),
        ("", ssl.TLSVersion.TLSv1_3, True),
        ("tls11", ssl.TLSVersion.TLSv1_1, True),
        ("tls11", ssl.TLSVersion.TLSv1, False),
        ("tls10", ssl.TLSVersion.TLSv1, True),
    ],
)
@pytest.mark.filterwarnings("ignore:ssl.TLSVersion.TLSv1:DeprecationWarning")
def test_the_minimum_version(
    pki: Pki, minimum: str, offered: ssl.TLSVersion, allowed: bool
) -> None:
    context = AgentTls(pki.config(pki.issue(), tls_min_version=minimum)).http.context
    assert context is not None
    user = user_context(pki.ca)
    user.set_ciphers("DEFAULT:@SECLEVEL=0")
    user.minimum_version = user.maximum_version = offered
    near = Side(user, name="localhost", is_server=False)
    far = Side(context, name=None, is_server=True)
    shake_hands(near, far)
    assert (far.error is None) is allowed
    if far.error is not None:
        assert near.error is not None
        version = "the peer does not speak a TLS version that is allowed here"
        assert describe_failure(far.error) == version
        assert describe_failure(near.error) == "the peer does not allow our TLS version"


def suite_chosen(pki: Pki, user_suites: str, **tls: object) -> str:
    """The suite of TLS 1.2 on which both agree; empty for none."""
    context = AgentTls(pki.config(pki.issue(), **tls)).http.context
    assert context is not None
    user = user_context(pki.ca)
    user.maximum_version = ssl.TLSVersion.TLSv1_2
    user.set_ciphers(user_suites)
    near = Side(user, name="localhost", is_server=False)
    shake_hands(near, Side(context, name=None, is_server=True))
    chosen = near.tls.cipher() if near.error is None else None
    return chosen[0] if chosen else ""


A, B = "ECDHE-ECDSA-AES128-GCM-SHA256", "ECDHE-ECDSA-AES256-GCM-SHA384"
A_THEN_B = "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384"


def test_suites_are_those_that_are_named(pki: Pki) -> None:
    only = {"tls_cipher_suites": A_THEN_B.partition(",")[0]}
    assert suite_chosen(pki, f"{B}:{A}", **only) == A
    assert suite_chosen(pki, B, **only) == ""


def test_the_order_of_suites_is_the_clients_unless_the_server_prefers(pki: Pki) -> None:
    suites = {"tls_cipher_suites": A_THEN_B}
    assert suite_chosen(pki, f"{B}:{A}", **suites) == B
    assert suite_chosen(pki, f"{B}:{A}", **suites, tls_prefer_server_cipher_suites=True) == A


@pytest.mark.parametrize("name", CIPHER_SUITES)
def test_openssl_knows_every_suite(name: str) -> None:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.set_ciphers(CIPHER_SUITES[name])
    assert CIPHER_SUITES[name] in [cipher["name"] for cipher in context.get_ciphers()]


def test_without_tls_there_are_no_contexts() -> None:
    off = AgentTls(AgentConfig(tls=TlsConfig(verify_server_hostname=True)))
    assert off.http.context is None
    assert off.rpc_server.context is None
    assert off.rpc_server.required is False
    assert off.rpc_client.context_for("global") is None
    assert off.checksum == ""


def test_upgrade_mode_does_not_require_tls(pki: Pki) -> None:
    files = pki.issue()
    assert AgentTls(pki.config(files)).rpc_server.required is True
    upgrade = AgentTls(pki.config(files, rpc_upgrade_mode=True)).rpc_server
    assert upgrade.required is False
    assert upgrade.context is not None


@pytest.mark.parametrize("region", ["", "a..b", "x" * 64])
def test_a_region_that_no_certificate_can_name_cannot_be_called(pki: Pki, region: str) -> None:
    strict = AgentTls(pki.config(pki.issue(), **STRICT)).rpc_client
    with pytest.raises(CertificateRefused, match="no certificate can have the name"):
        strict.context_for(region)
    careless = AgentTls(pki.config(pki.issue())).rpc_client
    assert careless.context_for(region) is not None


def problem(config: AgentConfig) -> str:
    with pytest.raises(ConfigError) as caught:
        AgentTls(config)
    text = str(caught.value)
    assert "\n" not in text
    return text


def test_files_that_cannot_be_used_are_named_with_their_key(pki: Pki, tmp_path: Path) -> None:
    good = pki.issue()
    junk, missing = tmp_path / "junk.pem", str(tmp_path / "missing.pem")
    junk.write_text("junk")
    huge = tmp_path / "huge.pem"
    huge.write_bytes(b"x" * (1024 * 1024 + 1))
    gone = "no such file or directory"
    for found, expected in (
        (pki.config(good, ca_file=missing), f"tls.ca_file cannot be read: {missing}: {gone}"),
        (pki.config(good, ca_file=str(junk)), f"tls.ca_file cannot be used: {junk} holds no cert"),
        (pki.config(good, ca_file=str(huge)), f"tls.ca_file cannot be used: {huge} has more than"),
        (pki.config(good, ca_file=str(tmp_path)), f"tls.ca_file cannot be read: {tmp_path}: is a"),
        (pki.config(Files(missing, good.key)), f"tls.cert_file cannot be read: {missing}: {gone}"),
        (pki.config(Files(str(junk), good.key)), f"tls.cert_file cannot be used: {junk} holds no"),
        (pki.config(Files(good.certificate, missing)), f"tls.key_file cannot be read: {missing}:"),
        (pki.config(Files(good.certificate, str(junk))), "tls.key_file cannot be used: "),
        (
            pki.config(Files(good.certificate, pki.issue(Role.CLIENT).key)),
            "tls.key_file does not belong to tls.cert_file: the key in ",
        ),
        (pki.config(Files("", good.key)), "tls.rpc needs tls.cert_file, which is not set"),
    ):
        assert problem(found).startswith(expected)


def test_an_encrypted_key_is_refused_and_no_password_asked_for(pki: Pki) -> None:
    files = pki.issue()
    key = load_pem_private_key(Path(files.key).read_bytes(), None)
    Path(files.key).write_bytes(
        key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"secret"))
    )
    assert problem(pki.config(files)).endswith("is encrypted with a password")


def test_suites_must_fit_the_key_of_the_certificate(pki: Pki) -> None:
    suites = "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256"
    text = problem(pki.config(pki.issue(), tls_cipher_suites=suites))
    assert text.startswith("tls.tls_cipher_suites has no suite for an ECDSA key, which ")


def test_a_key_that_openssl_finds_too_short_is_refused(pki: Pki, tmp_path: Path) -> None:
    key, name = rsa.generate_private_key(65537, 1024), x509.Name([])
    certificate = (
        x509.CertificateBuilder(name, name, key.public_key(), 1)
        .not_valid_before(VALID.not_before)
        .not_valid_after(VALID.not_after)
        .sign(key, SHA256())
    )
    files = Files(str(tmp_path / "short.pem"), str(tmp_path / "short.key"))
    Path(files.certificate).write_bytes(certificate.public_bytes(Encoding.PEM))
    Path(files.key).write_bytes(
        key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    )
    text = f"tls.cert_file cannot be used: {files.certificate}: OpenSSL says: ee key too small"
    assert problem(pki.config(files)) == text


def test_a_reload_serves_the_next_connection_with_what_the_files_hold(pki: Pki) -> None:
    files = pki.issue()
    config = pki.config(files, **STRICT)
    listener, dialler = AgentTls(config), AgentTls(pki.config(pki.issue(name="own"), **STRICT))
    before = listener.checksum
    standing = listener.rpc_server.context
    assert not listener.reload(config)
    assert listener.rpc_server.context is standing
    pki.issue(region="eu", name="server-global")  # the same file
    assert listener.reload(config)
    assert listener.rpc_server.context is not standing
    assert listener.checksum != before
    assert rpc_call(dialler, listener, "eu") == ("", "")


def test_a_bad_reload_leaves_everything_as_it_was(pki: Pki) -> None:
    files = pki.issue()
    config = pki.config(files)
    tls = AgentTls(config)
    kept = (tls.http.context, tls.rpc_server.context, tls.rpc_client.context_for("x"), tls.checksum)
    good = Path(files.key).read_bytes()
    Path(files.key).write_text("half a key")
    with pytest.raises(ConfigError, match=r"tls\.key_file cannot be used"):
        tls.reload(config)
    now = (tls.http.context, tls.rpc_server.context, tls.rpc_client.context_for("x"), tls.checksum)
    assert now == kept
    Path(files.key).write_bytes(good)
    assert not tls.reload(config)
    assert rpc_call(tls, tls) == ("", "")


def test_a_reload_can_switch_tls_off_and_on(pki: Pki) -> None:
    config = pki.config(pki.issue())
    tls = AgentTls(AgentConfig())
    assert tls.reload(config)
    assert tls.rpc_server.required
    assert tls.reload(msgspec.structs.replace(config, tls=TlsConfig()))
    assert tls.rpc_server.context is None
    assert tls.http.context is None
    assert tls.rpc_client.context_for("global") is None


def test_the_checksum_is_that_of_all_three_files(pki: Pki) -> None:
    files = pki.issue()
    data = b"".join(Path(path).read_bytes() for path in (pki.ca, files.certificate, files.key))
    assert AgentTls(pki.config(files)).checksum == hashlib.md5(data).hexdigest()


def test_an_intermediate_authority_is_enough(pki: Pki, tmp_path: Path) -> None:
    """Whatever is in ca_file is trusted, as Go does: here a certificate trusts itself."""
    files = pki.issue()
    tls = AgentTls(pki.config(files, ca_file=files.certificate))
    assert rpc_call(tls, tls) == ("", "")


def test_agents_without_tls_do_not_load_the_library_for_certificates() -> None:
    program = (
        "import sys; from swimnomad.tls.contexts import AgentTls; "
        "from swimnomad.nomad.config import AgentConfig; AgentTls(AgentConfig()); "
        "sys.exit('cryptography' in sys.modules)"
    )
    subprocess.run([sys.executable, "-c", program], check=True, timeout=30)
