"""Tests of `csbrnn.nn`."""
