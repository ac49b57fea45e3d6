"""Runs a rewrite of ONNX graphs on a module and holds what is left against the module in float64."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import onnx_ir as ir
import torch
from torch import nn

import neurokit as nk
from neurokit.spec import ModelSpec, TensorSpec


def rewritten(
    module: nn.Module, sizes: tuple[int, ...], rewrite: Callable[[ir.Model], None], folder: Path
) -> tuple[Counter, Counter, float]:
    """Returns operators before and after, and the largest error after it, of batches of 1 and 3.

    Args:
        module: Takes `[B, *sizes]`.
        sizes: Of one sample.
        rewrite: Changes a model in place.
        folder: For the file.
    """
    import onnxruntime

    from neurokit.export.onnx.convert import onnx_from_captured

    module = module.eval()
    model = onnx_from_captured(nk.capture(ModelSpec("net", lambda: module, (TensorSpec("x", sizes),))))
    before = Counter(node.op_type for node in model.graph)
    names = [value.name for value in model.graph.outputs]
    rewrite(model)
    assert [value.name for value in model.graph.outputs] == names
    ir.save(model, folder / "after.onnx")
    onnx.checker.check_model(folder / "after.onnx", full_check=True)
    assert all(value.uses() for value in model.graph.initializers.values())  # no weight that nothing reads
    session = onnxruntime.InferenceSession(folder / "after.onnx", providers=["CPUExecutionProvider"])
    error = 0.0
    for batch in (1, 3):
        x = np.random.default_rng(batch).standard_normal((batch, *sizes), np.float32)
        with torch.no_grad():
            wanted = module.double()(torch.from_numpy(x).double()).numpy()
        found = session.run(None, {"x": x})[0]
        assert found.shape == wanted.shape
        error = max(error, float(np.abs(found - wanted).max() / np.abs(wanted).max()))
    module.float()
    return before, Counter(node.op_type for node in model.graph), error
