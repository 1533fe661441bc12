"""Skips what needs the real agent where it is missing, and fails where it must not be."""

from __future__ import annotations

import os
import shutil

import pytest

MISSING = "the real serf agent is needed: install the Debian package `serf` (apt-get install serf)"


@pytest.fixture(scope="session")
def serf() -> str:
    """Path of the `serf` program."""
    path = shutil.which("serf")
    if path is None and os.environ.get("CI"):
        pytest.fail(MISSING)
    if path is None:
        pytest.skip(MISSING)
    return path
