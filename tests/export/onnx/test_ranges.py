"""`method=auto` is the method whose artifact answers nearest to the float network, and the manifest says how near."""

import numpy as np
import pytest
import torch
from torch import nn

import neurokit as nk
from neurokit.spec import ModelSpec, TensorSpec


def network():
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(2, 16, 3), nn.ReLU(), nn.Conv2d(16, 8, 3), nn.Flatten(), nn.Linear(8 * 12 * 12, 5))


@pytest.mark.parametrize("outlier", [1.0, 300.0])
def test_auto_is_the_nearer_of_both(outlier, tmp_path):
    captured = nk.capture(ModelSpec("net", network, (TensorSpec("x", (2, 16, 16)),)))
    x = torch.rand(64, 2, 16, 16, generator=torch.Generator().manual_seed(1))
    x[5, 0, 3, 3] = outlier  # one pixel that is broken
    made = {
        method: nk.lower(captured, "onnx-int8", tmp_path / method, verified=False, calibration=x, method=method)
        for method in ("auto", "minmax", "percentile")
    }
    info = {name: artifact.manifest.target_info for name, artifact in made.items()}
    errors = {name: info[name]["against_float"]["output_relative_l2"] for name in ("minmax", "percentile")}
    assert info["auto"]["quantisation"]["method"] == min(errors, key=errors.get)
    assert info["auto"]["quantisation"]["methods_tried"] == pytest.approx(errors, rel=1e-6)
    if outlier > 1:  # the broken pixel makes every step coarse
        assert info["auto"]["quantisation"]["method"] == "percentile"
    with nk.open(made["auto"]) as one, nk.open(made[info["auto"]["quantisation"]["method"]]) as other:
        assert np.array_equal(one(x[:8].numpy()), other(x[:8].numpy()))
