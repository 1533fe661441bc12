"""Tests of nomad."""
