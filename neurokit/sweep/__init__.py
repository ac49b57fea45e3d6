"""Studies over models, time steps, bits, thresholds, targets, chips and mappings: `neurokit sweep STUDY.toml`."""

from neurokit.sweep.api import sweep

__all__ = ["sweep"]
