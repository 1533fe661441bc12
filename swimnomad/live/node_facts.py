"""What this host says of itself to the servers that a client's node registers with.

Everything here may block for a moment: call it in a thread.

Source: rpc.md §10.2; nomad client/fingerprint.
"""

from __future__ import annotations

import os
import platform
import shutil
import socket
from contextlib import suppress
from pathlib import Path

import psutil

from swimnomad.nomad.node_map import NodeFacts
from swimnomad.nomad.stats import go_arch

CPU_INFO = "/proc/cpuinfo"
CPU_INFO_BYTES_MAX = 64 * 1024
CGROUPS = "/sys/fs/cgroup"


def read_node_facts(ip: str, folder: str) -> NodeFacts:
    """The host as it is now; what cannot be read is left out.

    Args:
        ip: Where the node is reached.
        folder: Whose file system counts as the node's disk: the data directory.
    """
    uname = os.uname()
    system, version = _distribution()
    volume, total, free = _disk(folder)
    return NodeFacts(
        kernel=uname.sysname.lower(),
        kernel_version=uname.release,
        arch=go_arch(uname.machine),
        os=system,
        os_version=version,
        hostname=uname.nodename,
        ip=ip,
        interface=_interface(ip),
        cpu_count=os.cpu_count() or 1,
        cpu_mhz=_megahertz(),
        cpu_model=_cpu_model(),
        memory_bytes=psutil.virtual_memory().total,
        disk_volume=volume,
        disk_bytes=total,
        disk_free_bytes=free,
        cgroup_mountpoint=CGROUPS if Path(CGROUPS).is_dir() else "",
    )


def _distribution() -> tuple[str, str]:
    with suppress(OSError):
        release = platform.freedesktop_os_release()
        return release.get("ID", ""), release.get("VERSION_ID", "")
    return "", ""


def _disk(folder: str) -> tuple[str, int, int]:
    """Mount point, bytes, and bytes free of the file system that a folder is on."""
    path = Path(folder).absolute()
    try:
        usage = shutil.disk_usage(path)
    except OSError:
        return "", 0, 0
    while not path.is_mount() and path != path.parent:
        path = path.parent
    return str(path), usage.total, usage.free


def _interface(ip: str) -> str:
    for name, addresses in psutil.net_if_addrs().items():
        for entry in addresses:
            if entry.family in (socket.AF_INET, socket.AF_INET6) and entry.address == ip:
                return name
    return "lo"


def _megahertz() -> int:
    """Of one core, at its best; 0 if the system does not say."""
    try:
        frequency = psutil.cpu_freq()
    except (OSError, NotImplementedError, RuntimeError):
        return 0
    return int(frequency.max or frequency.current) if frequency is not None else 0


def _cpu_model() -> str:
    try:
        with Path(CPU_INFO).open("rb") as file:
            text = file.read(CPU_INFO_BYTES_MAX).decode("utf-8", "replace")
    except OSError:
        return ""
    for line in text.splitlines():
        key, _, value = line.partition(":")
        if key.strip() == "model name":
            return value.strip()
    return ""
