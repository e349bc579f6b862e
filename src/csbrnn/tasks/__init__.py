"""Data sets, models and training loops: what studies, the demo and benchmarks train on."""
