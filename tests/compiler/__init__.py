"""Tests of `csbrnn.compiler`."""
