"""Vectors are made once for all forms of a capture, and again where its weights were written."""

import torch
from spikingjelly.activation_based import layer, neuron
from torch import nn

import neurokit as nk
from neurokit.parity import kept_vectors


def build():
    torch.manual_seed(0)
    parts = layer.Linear(6, 5, step_mode="m"), neuron.LIFNode(v_threshold=0.2, step_mode="m")
    return nn.Sequential(*parts).eval()


def test_all_forms_share_them_until_a_weight_is_written(tmp_path, monkeypatch):
    made, real = [], kept_vectors.make_vectors
    monkeypatch.setattr(kept_vectors, "make_vectors", lambda *args, **kwargs: made.append(1) or real(*args, **kwargs))
    captured = nk.capture(build(), torch.rand(4, 2, 6))
    files = [nk.lower(captured, form, tmp_path / form).file("vectors.npz") for form in ("onnx", "onnx-scan")]
    assert len(made) == 1
    assert files[0].read_bytes() == files[1].read_bytes()
    name = next(name for name in captured.program.state_dict if name.endswith("weight"))
    captured.program.state_dict[name].data.mul_(-3.0)
    again = nk.lower(captured, "onnx", tmp_path / "again", verified=False)
    assert len(made) == 2
    assert again.file("vectors.npz").read_bytes() != files[0].read_bytes()
    key = (id(captured), False)
    assert key in kept_vectors._kept
    del captured, again
    import gc

    gc.collect()
    assert key not in kept_vectors._kept
