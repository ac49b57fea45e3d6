"""The parts of benchmarks/kernels.py and what its tuner shares with it."""
