"""What this host and this process say of themselves, read from the system.

Everything here may block for a moment, or for good where a file system hangs: call it in a thread.
"""

from __future__ import annotations

import ipaddress
import os
import socket
from collections.abc import Iterator
from pathlib import Path

import psutil

from swimnomad.nomad.host import SKIPPED_FILE_SYSTEMS, FileSystem, HostFacts

FILE_BYTES_MAX = 64 * 1024
"""What is shown of a text file at most."""


def read_host() -> HostFacts:
    """The host as it is now; what cannot be read is left out or replaced by the reason."""
    uname = os.uname()
    return HostFacts(
        uname=(uname.machine, uname.nodename, uname.release, uname.sysname, uname.version),
        interfaces=tuple(_interfaces()),
        resolv_conf=_read_text("/etc/resolv.conf"),
        hosts=_read_text("/etc/hosts"),
        environment=dict(os.environ),
        file_systems=tuple(_file_systems()),
    )


def read_command_line() -> list[str]:
    """The arguments this process was started with, the program's name first."""
    return psutil.Process().cmdline()


def _interfaces() -> Iterator[tuple[str, int]]:
    for addresses in psutil.net_if_addrs().values():
        for entry in addresses:
            if entry.family not in (socket.AF_INET, socket.AF_INET6) or not entry.netmask:
                continue
            yield entry.address.partition("%")[0], _prefix_length(entry.netmask)


def _prefix_length(netmask: str) -> int:
    return int(ipaddress.ip_address(netmask)).bit_count()


def _file_systems() -> Iterator[FileSystem]:
    for mount in psutil.disk_partitions(all=True):
        if mount.fstype in SKIPPED_FILE_SYSTEMS:
            continue
        try:
            found = os.statvfs(mount.mountpoint)
        except OSError:
            continue
        total, available = found.f_blocks * found.f_frsize, found.f_bavail * found.f_frsize
        yield FileSystem(mount.mountpoint, total, available)


def _read_text(path: str) -> str:
    try:
        with Path(path).open("rb") as file:
            return file.read(FILE_BYTES_MAX).decode("utf-8", "surrogateescape")
    except OSError as error:
        return f"open {path}: {(error.strerror or str(error)).lower()}"
