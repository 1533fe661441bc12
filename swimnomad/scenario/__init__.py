"""Scenario files: what happens to a cluster and what must hold, on any backend."""
