"""Single calls of neurons in ONNX Runtime: code that does not run is told in a line."""

import numpy as np
import onnx
import pytest
from spikingjelly.activation_based import functional, layer, neuron
from torch import nn

import neurokit as nk
from neurokit.errors import ArtifactError
from neurokit.spec import ModelSpec, TensorSpec
from tests.mutation.plant import resealed


def test_a_neuron_whose_code_does_not_run_is_refused_in_a_line(tmp_path):
    """ONNX Runtime's own exceptions, which have no common base, came out of a verification."""
    net = nn.Sequential(layer.Linear(3, 4), neuron.LIFNode()).eval()
    functional.set_step_mode(net, "m")
    sound = nk.lower(ModelSpec("net", lambda: net, (TensorSpec("x", (3,)),), time_steps=2), "onnx-step", tmp_path / "a")
    model = onnx.load(str(sound.file("model.onnx")))
    (function,) = (f for f in model.functions if f.name.startswith("LIF"))
    squeeze = next(node for node in function.node if node.op_type == "Squeeze")
    axes = next(node for node in function.node if squeeze.input[1] in node.output).attribute[0]
    axes.ints[:] = [1]
    faulty = resealed(sound, model, tmp_path / "p")
    with pytest.raises(ArtifactError, match=r"ONNX Runtime cannot run the neuron .*Squeeze"):
        nk.verify(faulty, record=False)
    assert np.isfinite(nk.open(sound)(np.zeros((2, 1, 3), np.float32))).all()
