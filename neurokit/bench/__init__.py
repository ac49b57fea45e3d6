"""On-device latency: how to measure it, on what, where, and how to compare what was measured."""
