"""Tests of `csbrnn.cells`."""
