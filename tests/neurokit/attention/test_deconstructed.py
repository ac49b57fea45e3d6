"""The seven forms and two recurrences against the equations in numpy, and what they can and cannot learn."""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from neurokit.attention.deconstructed import Deconstructed
from neurokit.attention.mixers.approximate import Approximate, NonApproximate
from neurokit.errors import InputError

from . import oracle

ORACLE = oracle.load("deconstruct")


def drawn(name, *shape):
    return torch.from_numpy(oracle.draw("deconstruct", name, shape, float))


def module(form):
    net = Deconstructed(form, 32, 4).double()
    names = {"q": "Wq", "k": "Wk", "v": "Wv", "o": "Wo", "gate": "Wgate", "up": "Wup", "down": "Wdown"}
    with torch.no_grad():
        for name, layer in net.named_children():
            layer.weight.copy_(drawn(names[name], *layer.weight.shape) / layer.weight.shape[1] ** 0.5)
    return net


HIDDEN, STATIC, FIXED = drawn("hidden", 2, 24, 32), drawn("static_embedding", 2, 24, 32), drawn("fixed_stream", 24, 32)


@pytest.mark.parametrize(
    ("form", "stream", "key"),
    [
        ("standard", None, "standard"),
        ("approximate", None, "approximate"),
        ("non_approximate", None, "non_approximate"),
        ("rnd_emb_qk", FIXED, "fixed_(RndEmbQK,_FixedSeqQK)"),
        ("fixed_seq_qk", FIXED, "fixed_(RndEmbQK,_FixedSeqQK)"),
        ("static_emb_qk", STATIC, "static_emb_qk"),
        ("mlp", None, "mlp"),
    ],
)
def test_a_form_is_its_equation(form, stream, key):
    assert oracle.worst(ORACLE["outputs"][key], module(form)(HIDDEN, stream).detach()) < 5e-9


def test_weights_and_recurrences():
    stored = ORACLE["attention"]
    net = module("fixed_seq_qk")
    assert oracle.worst(stored["fixed_[H,L,L] first head"], net.fixed_map(FIXED)[0].detach()) < 5e-9
    q, k, v = (net._split(layer(HIDDEN)).detach() for layer in (net.q, net.k, net.v))
    last = NonApproximate().weights(q, k)[:, :, -1]
    assert oracle.worst(stored["non_approximate_last_row_[B,H,L]"], last) < 5e-9
    assert oracle.worst(stored["approximate_last_row_[B,H,L]"], Approximate.weights(q, k)[:, :, -1]) < 5e-9
    for mixer, key in ((Approximate(), "approximate"), (NonApproximate(), "non_approximate")):
        mixed, _ = mixer.recurrent(q, k, v, mixer.start(q, v))
        assert oracle.worst(ORACLE["outputs"][key], net.o(mixed.transpose(1, 2).flatten(2)).detach()) < 5e-9


def test_a_fixed_map_is_one_product_without_softmax_queries_or_keys():
    net = module("fixed_seq_qk").freeze(FIXED)
    assert (net(HIDDEN) - net(HIDDEN, FIXED)).abs().max() < 1e-14
    program = torch.export.export(net, (HIDDEN,))
    names = " ".join(str(node.target) for node in program.graph.nodes)
    assert "softmax" not in names
    assert not [node for node in program.graph_signature.parameters if node.startswith(("q.", "k."))] or not any(
        node.users and node.name in ("p_q_weight", "p_k_weight") for node in program.graph.nodes
    )
    with pytest.raises(InputError, match="fixed map of 24"):
        net(torch.zeros(1, 25, 32, dtype=torch.float64))


class Copier(nn.Module):
    def __init__(self, forms):
        super().__init__()
        self.embed = nn.Embedding(10, 32)
        self.place = nn.Parameter(torch.randn(16, 32) * 0.3)
        self.layers = nn.ModuleList(Deconstructed(form, 32, 4) for form in forms)
        self.norms = nn.ModuleList(nn.LayerNorm(32) for _ in forms)
        self.head = nn.Linear(32, 10)

    def forward(self, ids):
        x = self.embed(ids) + self.place
        for norm, layer in zip(self.norms, self.layers, strict=True):
            x = x + layer(norm(x))
        return self.head(x)


@pytest.mark.slow
@pytest.mark.parametrize(("forms", "learns"), [(("mlp", "mlp"), False), (("approximate", "standard"), True)])
def test_the_copy_task_needs_mixing(forms, learns):
    torch.manual_seed(0)
    net = Copier(forms)
    optimiser = torch.optim.Adam(net.parameters(), 3e-3)
    for _ in range(600):
        half = torch.randint(0, 10, (64, 8))
        loss = F.cross_entropy(net(torch.cat([half, torch.zeros_like(half)], 1))[:, 8:].flatten(0, 1), half.flatten())
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    half = torch.randint(0, 10, (256, 8))
    right = (net(torch.cat([half, torch.zeros_like(half)], 1))[:, 8:].argmax(-1) == half).float().mean()
    assert right >= 0.95 if learns else right < 0.2
