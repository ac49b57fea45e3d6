"""Weights that are parameters of their own, multiplied by `@` and einsum: linear maps of the exact form."""

import numpy as np
import pytest
import torch
from spikingjelly.activation_based import neuron
from torch import nn

import neurokit as nk

T = 4


class Matmul(nn.Module):
    """Weights `[C_in, C_out]` and a bias by hand."""

    def __init__(self):
        super().__init__()
        self.w, self.b = nn.Parameter(torch.randn(8, 12)), nn.Parameter(0.1 * torch.randn(12))
        self.fire, self.v = neuron.IFNode(step_mode="m"), nn.Parameter(0.3 * torch.randn(12, 5))

    def forward(self, x):
        return (self.fire(x @ self.w + self.b) @ self.v).mean(0)


class Einsum(nn.Module):
    """Letters in any order, the weight first, another axis behind the one that is summed."""

    def __init__(self):
        super().__init__()
        self.w, self.fire = nn.Parameter(torch.randn(12, 4)), neuron.IFNode(step_mode="m")
        self.v = nn.Parameter(0.3 * torch.randn(2, 5))

    def forward(self, x):
        h = torch.einsum("oc,tbcf->tbof", self.w, x.unflatten(2, (4, 2)))
        return torch.einsum("tbof, fk -> btok", self.fire(h), self.v).transpose(0, 1)


class Tied(nn.Module):
    """One weight there and back."""

    def __init__(self):
        super().__init__()
        self.a, self.fire = nn.Linear(8, 12), neuron.LIFNode(step_mode="m", v_threshold=0.2)

    def forward(self, x):
        return self.fire(4 * self.a(x)) @ self.a.weight + 0.5


@pytest.mark.parametrize("kind", [Matmul, Einsum, Tied])
def test_a_product_with_a_parameter_is_exact_and_near_the_float_network(kind, tmp_path):
    torch.manual_seed(0)
    net, x = kind().eval(), torch.rand(T, 16, 8)
    made = nk.exact(nk.capture(net, x), x)
    assert made.proof.status == "exact"
    fresh = torch.rand(T, 3, 8, generator=torch.Generator().manual_seed(7))
    with torch.no_grad():
        wanted = kind.__call__(net, fresh).double().numpy()
    found = []
    for target in ("onnx", "onnx-step", "c"):
        artifact = nk.lower(made, target, tmp_path / target, inputs=x[:, :1])
        assert artifact.manifest.parity["verdict"] == "exact"
        with nk.open(artifact) as runner:
            found.append(runner(fresh.numpy()))
    assert np.array_equal(found[0], found[1])
    assert np.array_equal(found[0], found[2])
    assert np.linalg.norm(found[0] - wanted) < 0.05 * np.linalg.norm(wanted)


def test_what_is_no_product_with_one_matrix_is_left_as_it_is():
    from neurokit.exact.products import _operands

    node = torch.fx.Graph().placeholder("x")
    assert _operands("bc,bc->b", [node, node]) is None  # two activations
    assert _operands("...c,ck->...k", [node, node]) is None
