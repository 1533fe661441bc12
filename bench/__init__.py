"""Benchmarks: `make bench` prints tables with ratios measured in one run."""
