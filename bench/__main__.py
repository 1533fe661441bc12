"""All benchmarks, one after another; a name as argument runs one of them."""

from __future__ import annotations

import runpy
import sys

BENCHMARKS = ("wire", "agents", "pool", "sim", "rpc", "raft")

if __name__ == "__main__":
    wanted = sys.argv[1:2] or list(BENCHMARKS)
    for name in wanted:
        if name not in BENCHMARKS:
            sys.exit(f"unknown benchmark {name!r}: allowed are {', '.join(BENCHMARKS)}")
        sys.argv = [f"bench.{name}", *sys.argv[2:]]
        runpy.run_module(f"bench.{name}", run_name="__main__")
