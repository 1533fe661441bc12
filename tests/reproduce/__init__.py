"""Tests of the experiments that hold the program against published numbers."""
