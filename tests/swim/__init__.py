"""Tests of swim."""
