"""A model that is given one number a sample beside its image is counted and priced."""

from __future__ import annotations

import torch
from torch import Tensor, nn

import neurokit as nk
from neurokit.spec import ModelSpec, TensorSpec


class Labelled(nn.Module):
    """A linear map, shifted by a label's row."""

    def __init__(self) -> None:
        super().__init__()
        self.map, self.rows = nn.Linear(6, 5), nn.Embedding(4, 5)

    def forward(self, x: Tensor, label: Tensor) -> Tensor:
        return self.map(x) + self.rows(label)


def test_a_number_a_sample_is_one_value() -> None:
    torch.manual_seed(0)
    net = Labelled().eval()
    ports = (TensorSpec("x", (6,)), TensorSpec("label", (), dtype="int64", low=0, high=3))
    report = nk.simulate(nk.capture(ModelSpec("labelled", lambda: net, ports))).to_json()
    sizes = {layer["name"]: layer["size"] for layer in report["layers"] if layer["role"] == "input"}
    assert sizes == {"x": 6, "label": 1}
    assert report["synapses"] == 30  # of the map; a row is read, not multiplied
    assert {entry["name"] for entry in report["estimators"]} >= {"ann-int8", "ann-fp32"}
