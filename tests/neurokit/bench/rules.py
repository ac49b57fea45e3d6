"""How the tests measure: a fraction of a second."""

from neurokit.bench.job import Rules

FAST = Rules(seconds=0.15, samples=20, warm_up_runs=10, warm_up_s=0.02, warm_up_limit_s=0.5)
