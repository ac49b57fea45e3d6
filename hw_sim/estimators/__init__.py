"""Energy by the named rules of the literature, each with the source of its equations."""

from __future__ import annotations

from neurokit.hw_sim.estimators._base import (
    ESTIMATORS,
    Rule,
    dense_macs,
    estimate,
    estimator_names,
    register_estimator,
)

__all__ = ["ESTIMATORS", "Rule", "dense_macs", "estimate", "estimator_names", "register_estimator"]
