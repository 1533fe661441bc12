"""From files and flags to one checked `AgentConfig`.

Sources in order: built-in defaults, those of dev mode if asked for, files as given, flags. A
directory stands for its `*.hcl` and `*.json` in alphabetical order; what editors leave behind is
skipped. Blocks and keys are those of `schema.py`, the merge is that of `settings.py`.

Source: nomad-agent.md §8-11.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import msgspec

from swimnomad.errors import ConfigError
from swimnomad.names import Value
from swimnomad.nomad import hcl
from swimnomad.nomad.addresses import resolve_template
from swimnomad.nomad.config import AgentConfig
from swimnomad.nomad.rules import check_start, warnings_of
from swimnomad.nomad.settings import KEYS, Places, Settings, merge, read_settings

FILE_BYTES_MAX = 4 * 1024 * 1024

_DEV: Settings = {
    "bind_addr": "127.0.0.1",
    "log_level": "DEBUG",
    "enable_debug": True,
    "server.enabled": True,
    "server.bootstrap_expect": 1,
    "client.enabled": True,
}
"""What dev mode changes before any file is read; see `dev_config`."""

_ADDRESS_KEYS = ("bind_addr", *(f"addresses.{name}" for name in ("http", "rpc", "serf")))


class Loaded(Value, frozen=True):
    """A configuration, and what its user should be told before it is used."""

    config: AgentConfig
    warnings: tuple[str, ...] = ()


def load_config(
    paths: Sequence[str] = (), flags: Mapping[str, object] | None = None, *, dev: bool = False
) -> Loaded:
    """Read and merge every source, and check the outcome as an agent does before it starts.

    Args:
        paths: Files and directories, later ones win.
        flags: Values from the command line by dotted path of the key (`server.enabled`,
            `server.server_join.retry_join`); lists as tuples, durations in seconds. They win.
        dev: Start from the defaults of dev mode.

    Raises:
        ConfigError: Naming the file, line and key where they are known, what was found and what is
            allowed.
    """
    settings: Settings = dict(_DEV) if dev else {}
    places: Places = {}
    files: list[str] = []
    warnings: list[str] = []
    for path in paths:
        found = list(_files_of(Path(path)))
        for file in found:
            read, read_places = _read_file(file)
            settings = merge(settings, read)
            places |= read_places
            files.append(str(file))
            if not read:
                warnings.append(f"No configuration loaded from {file}")
        if not found:
            warnings.append(f"No configuration loaded from {path}")
    flags = flags or {}
    unknown = [path for path in flags if path not in KEYS]
    assert not unknown, f"flags for keys that do not exist: {unknown}"
    settings = merge(settings, flags)
    try:
        config = build_config(settings, tuple(files), dev=dev)
        check_start(config, settings, flags)
    except ConfigError as error:
        raise _with_place(
            error, {path: places[path] for path in places if path not in flags}
        ) from None
    return Loaded(config, (*warnings, *warnings_of(config, settings)))


def _with_place(error: ConfigError, places: Places) -> ConfigError:
    """The same error with the file and line of the key it begins with, if a file gave that."""
    text = str(error)
    place = places.get(text.partition(" ")[0])
    return ConfigError(f"{place}: {text}") if place else error


def build_config(
    settings: Mapping[str, object], files: tuple[str, ...] = (), *, dev: bool = False
) -> AgentConfig:
    """The values that checked settings stand for.

    Raises:
        ConfigError: A value is out of range, or an address or its template gives no address.
    """
    ours: dict[str, object] = {"dev_mode": dev, "files": files}
    foreign: dict[str, object] = {}
    for path, value in settings.items():
        if not KEYS[path].ours:
            foreign[path] = value
            continue
        if path in _ADDRESS_KEYS or path.startswith("advertise."):
            value = resolve_template(str(value), path)
        *blocks, name = path.split(".")
        block = ours
        for part in blocks:
            inner = block.setdefault(part, {})
            assert isinstance(inner, dict)
            block = inner
        block[name] = value
    config = msgspec.convert({**ours, "foreign": foreign}, AgentConfig)
    config.validate()
    return config


def _files_of(path: Path) -> Iterator[Path]:
    try:
        if not path.is_dir():
            path.stat()
            yield path
            return
        for file in sorted(path.iterdir()):
            if file.suffix in (".hcl", ".json") and not _is_temporary(file.name):
                yield file
    except OSError as error:
        raise ConfigError(f"{path}: {(error.strerror or str(error)).lower()}") from None


def _is_temporary(name: str) -> bool:
    return name.endswith("~") or name.startswith(".#") or re.fullmatch("#.*#", name) is not None


def _read_file(path: Path) -> tuple[Settings, Places]:
    try:
        with path.open("rb") as file:
            data = file.read(FILE_BYTES_MAX + 1)
    except OSError as error:
        raise ConfigError(f"{path}: {(error.strerror or str(error)).lower()}") from None
    if len(data) > FILE_BYTES_MAX:
        raise ConfigError(f"{path}: more than {FILE_BYTES_MAX} bytes")
    try:
        tree = hcl.parse(data.decode())
    except UnicodeDecodeError as error:
        raise ConfigError(f"{path}: not UTF-8 at byte {error.start}") from None
    except ConfigError as error:
        raise ConfigError(f"{path}: {error}") from None
    return read_settings(tree, str(path))
