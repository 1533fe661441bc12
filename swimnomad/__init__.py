"""Clusters of Nomad-shaped agents that gossip for real, live and in virtual time."""

__version__ = "0.1.0"
