"""Names of ports come first: values and parameters that have one of them are renamed."""

import torch
from torch import nn

import neurokit as nk


class Namesakes(nn.Module):
    """Its outputs are named like operators and parameters of it, an input like an operator."""

    def __init__(self):
        super().__init__()
        self.y, self.weight = nn.Parameter(torch.rand(4)), nn.Parameter(torch.rand(4))
        self.table = nn.Embedding(5, 4)

    def forward(self, linear, ids):
        y = (linear * self.y).softmax(-1) + self.table(ids)
        return {"softmax": y * self.weight, "embedding": y.softmax(-1), "y": y, "add": y + y, "weight": 2 * y}


def test_outputs_named_like_operators_and_parameters_are_verified(tmp_path):
    torch.manual_seed(0)
    inputs = (nk.TensorSpec("linear", (4,), layout="F"), nk.TensorSpec("ids", (), "int64", "", high=4))
    spec = nk.ModelSpec("namesakes", lambda: Namesakes().eval(), inputs)
    artifact = nk.lower(nk.capture(spec), "onnx", tmp_path / "a")
    assert artifact.manifest.parity["verdict"] in ("within tolerance", "exact")
    assert [port.name for port in artifact.manifest.outputs] == ["softmax", "embedding", "y", "add", "weight"]
