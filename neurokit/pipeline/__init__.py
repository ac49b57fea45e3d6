"""The pipeline from a model to a verified artifact: one function a stage, each also a verb of the command line."""

from __future__ import annotations

from neurokit.parity.compare import compare
from neurokit.pipeline.capturing import capture, exact, exact_finetune, with_random
from neurokit.pipeline.lowering import lower
from neurokit.pipeline.using import NOT_RECORDED, need_runtime, open, trust, verify
from neurokit.simulation import simulate

__all__ = [
    "NOT_RECORDED",
    "capture",
    "compare",
    "exact",
    "exact_finetune",
    "lower",
    "need_runtime",
    "open",
    "simulate",
    "trust",
    "verify",
    "with_random",
]
