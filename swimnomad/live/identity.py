"""What an agent keeps between runs: the identifiers of a server and of a client, gossip keys.

Source: nomad-agent.md §13, §14.
"""

from __future__ import annotations

import base64
import binascii
import os
import uuid
from pathlib import Path

import msgspec

from swimnomad.errors import KeyringError, UsageError
from swimnomad.live.log import Level, LogWriter
from swimnomad.nomad.config import AgentConfig
from swimnomad.wire.keyring import Keyring

_KEYS_MAX = 1024


def node_id(config: AgentConfig) -> str:
    """The server's UUID, made on the first start; a new one each time without a data directory.

    Raises:
        UsageError: If the directory cannot be used or the file holds no UUID.
    """
    if not config.data_dir:
        return str(uuid.uuid4())
    return _kept_uuid(_server_dir(config) / "node-id", 0o600)


def client_ids(config: AgentConfig) -> tuple[str, str]:
    """Identifier and secret of the client's node, kept as `node_id` keeps that of a server.

    Raises:
        UsageError: If the directory cannot be used or a file holds no UUID.
    """
    if not config.data_dir or config.dev_mode:
        return str(uuid.uuid4()), str(uuid.uuid4())
    folder = _made_dir(Path(config.data_dir) / "client", 0o700)
    return _kept_uuid(folder / "client-id", 0o700), _kept_uuid(folder / "secret-id", 0o700)


def load_keyring(config: AgentConfig, log: LogWriter) -> Keyring | None:
    """The ring kept in the data directory, else one of `server.encrypt`, which is then kept.

    Returns:
        None if encryption is off.

    Raises:
        UsageError: If the file or the key cannot be used.
    """
    path = _server_dir(config) / "serf.keyring" if config.data_dir else None
    if path is not None and path.exists():
        if config.server.encrypt:
            log(Level.WARN, "agent", "keyring exists but -encrypt given, using keyring")
        return _read_keyring(path)
    if not config.server.encrypt:
        return None
    ring = _ring_of([config.server.encrypt])
    if path is not None:
        save_keyring(path, ring)
    return ring


def save_keyring(path: Path, ring: Keyring) -> None:
    """Write a ring as a JSON array of base64 texts, the primary first; mode 0600.

    Raises:
        UsageError: If the file cannot be written.
    """
    texts = [base64.b64encode(key).decode() for key in ring.keys]
    _write_private(path, msgspec.json.encode(texts).decode())


def _read_keyring(path: Path) -> Keyring:
    try:
        texts = msgspec.json.decode(path.read_bytes(), type=list[str])
    except (OSError, msgspec.DecodeError) as error:
        raise UsageError(f"cannot read the keyring {path}: {error}") from None
    if not 0 < len(texts) <= _KEYS_MAX:
        raise UsageError(f"the keyring {path} must hold 1 to {_KEYS_MAX} keys, not {len(texts)}")
    return _ring_of(texts)


def _ring_of(texts: list[str]) -> Keyring:
    try:
        keys = [base64.b64decode(text, validate=True) for text in texts]
        return Keyring(keys[1:], primary=keys[0])
    except (binascii.Error, KeyringError):
        raise UsageError(
            "failed to configure keyring: Invalid key: key size must be 16, 24 or 32 bytes"
        ) from None


def _kept_uuid(path: Path, mode: int) -> str:
    """The UUID in a file; a new one, written there, if there is no such file."""
    try:
        text = path.read_text(encoding="ascii").strip()
    except FileNotFoundError:
        text = str(uuid.uuid4())
        _write_private(path, text, mode)
        return text
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(f"cannot read the node identifier in {path}: {error}") from None
    try:
        return str(uuid.UUID(text))
    except ValueError:
        shown = "something else" if path.name == "secret-id" else repr(text[:60])
        raise UsageError(f"{path} must hold a UUID, not {shown}") from None


def _server_dir(config: AgentConfig) -> Path:
    return _made_dir(Path(config.data_dir) / "server", 0o755)


def _made_dir(path: Path, mode: int) -> Path:
    try:
        path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
        path.mkdir(mode=mode, exist_ok=True)
    except OSError as error:
        raise UsageError(f"cannot create the data directory {path}: {error}") from None
    return path


def _write_private(path: Path, text: str, mode: int = 0o600) -> None:
    """Write a file only its owner may read; whole or not at all."""
    draft = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    try:
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, mode)
        with os.fdopen(descriptor, "w", encoding="ascii") as file:
            file.write(text)
        draft.replace(path)
    except OSError as error:
        raise UsageError(f"cannot write {path}: {error}") from None
