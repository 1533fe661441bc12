"""How many agents, how fast, how long: the demo's figures."""

from __future__ import annotations

AGENTS = 5
PROFILE = "lan"
SCALE = 0.5
"""LAN timings at double pace: a crash is known after about 3 s.

Not the profile `local`, although its probes and gossip are as fast: there a message is sent on
twice, not four times, and with five agents gossip then often passes one of them by, which learns
from a push/pull only, up to 30 s later. `tests/cli/test_story_in_virtual_time.py` tells the story
both ways in the simulator and compares.
"""
READING_SECONDS = 2.5
"""What a spectator at a terminal gets to read what is about to happen."""
STORY_SECONDS = 55.0
"""All chapters together; taking down what is left comes on top."""
