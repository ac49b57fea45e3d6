"""Places of the k largest: refused where they are chosen among equal numbers, for runtimes that choose others."""

import pytest
import torch
from torch import nn

import neurokit as nk
from neurokit.capture.equal_choices import other_choices
from neurokit.loading import spec_of_module
from neurokit.target import TARGETS


class Chosen(nn.Module):
    """The three largest of spike counts or of membranes: their places or their values."""

    def __init__(self, of, what):
        super().__init__()
        torch.manual_seed(0)
        self.of, self.what, self.fc = of, what, nn.Linear(6, 8)

    def forward(self, x):
        v, count = torch.zeros(x.shape[1], 8, dtype=x.dtype), 0
        for q in x:
            v = 0.9 * v + 4 * self.fc(q)
            spike = (v > 0.5).to(x.dtype)
            v, count = v - 0.5 * spike, count + spike
        largest = (count if self.of == "counts" else v).topk(3, dim=1)
        return largest.values if self.what == "values" else largest.indices


@pytest.mark.parametrize(
    ("of", "what", "target", "refused"),
    [
        ("counts", "places", "onnx", True),
        ("counts", "places", "onnx-scan", True),
        ("counts", "places", "onnx-step", True),
        ("counts", "places", "aoti", False),
        ("counts", "values", "onnx", False),
        ("membranes", "places", "onnx", False),
    ],
)
def test_places_of_equal_numbers(of, what, target, refused):
    captured = nk.capture(spec_of_module(Chosen(of, what).eval(), "net", (6,), 4))
    changes = {"onnx-scan": {"time_steps": "dynamic"}, "onnx-step": {"form": "step"}}.get(target, {})
    reasons = other_choices(captured.retrace(**changes) if changes else captured, TARGETS.get(target).info)
    assert [reason.what for reason in reasons] == ["topk"] * refused
