"""Puts the support of the rooms' own tests on the path: properties use the same builders."""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).resolve().parents[1] / "swim"))
