"""Exact networks on the kernels: bfloat16 products with float32 sums give the spikes of PyTorch's float32 on a CPU."""

from __future__ import annotations

import pytest
import torch

import neurokit as nk
from neurokit.capture.reference import example_input, record
from neurokit.exact import exact
from neurokit.kernels import lif, spike_conv_lif
from neurokit.kernels._compat import INTERPRET

ON_GPU = torch.cuda.is_available() and not INTERPRET
NEURONS = (torch.ops.neurokit.lif.default, torch.ops.neurokit.if_.default)


class OnKernels(torch.fx.Interpreter):
    """Runs a captured program with every neuron, and the convolution before it, on the fused kernels."""

    def __init__(self, module):
        super().__init__(module, garbage_collect_values=False)
        self.spikes = []
        self.fused = 0

    def run_node(self, node):
        if node.op == "call_module":  # a guard on the inputs
            return None
        if node.target == torch.ops.aten.conv2d.default:
            # In float64, because a vendor's float32 convolution may be Winograd's, which rounds other numbers.
            args, _ = self.fetch_args_kwargs_from_env(node)
            return node.target(*(a.double() if isinstance(a, torch.Tensor) else a for a in args)).float()
        if node.target not in NEURONS:
            return super().run_node(node)
        x, _, *rest = self.fetch_args_kwargs_from_env(node)[0]
        tau, threshold, v_reset, decay_input = rest[:4] if "lif" in str(node.target) else (None, *rest[:2], True)
        neuron = {"tau": tau, "threshold": threshold, "v_reset": v_reset, "decay_input": decay_input}
        conv = node.args[0].args[0]
        fired = None
        if conv.target == torch.ops.aten.conv2d.default:
            fired = self.fuse(conv, x.shape[0], neuron)
        if fired is None:
            fired = lif(x.contiguous(), want_v=False, **neuron)[0]
        self.spikes.append(fired.to(torch.uint8).cpu())
        return fired, torch.zeros_like(fired[0])

    def fuse(self, conv, steps, neuron):
        """Returns the spikes of a convolution of whole numbers, or None if its input is no such thing (an image)."""
        image, weight, bias, *rest = self.fetch_args_kwargs_from_env(conv)[0]
        stride = rest[0] if rest else [1, 1]
        padding = rest[1] if len(rest) > 1 else [0, 0]
        if not torch.equal(image.bfloat16().float(), image) or not torch.equal(image.round(), image):
            return None
        narrow = weight.bfloat16()
        assert torch.equal(narrow.float(), weight), "a weight of 8 bits fits into bfloat16"
        x = image.unflatten(0, (steps, -1)).permute(0, 1, 3, 4, 2).contiguous().bfloat16()
        fired, _ = spike_conv_lif(
            x,
            narrow.permute(0, 2, 3, 1).contiguous(),
            bias=bias.contiguous(),
            stride=stride[0],
            padding=padding[0],
            path="fused",
            form="same",
            **neuron,
        )
        self.fused += 1
        return fired.permute(0, 1, 4, 2, 3).float()


@pytest.mark.parametrize(
    ("name", "layers"),
    [
        ("spiking_cnn", 2),
        pytest.param("sew_resnet18", 19, marks=[] if ON_GPU else pytest.mark.slow),
    ],
)
@pytest.mark.skipif(INTERPRET, reason="takes minutes under the interpreter")
def test_exact_network_flips_no_spike(name, layers, device):
    spec = nk.load(name)
    captured = exact(nk.capture(spec, time_steps=4)).captured
    module = captured.program.module()
    x = example_input(spec, 4, 1, 7)
    states = captured.initial_states(x.shape[1])
    with torch.no_grad():
        for node in list(module.graph.nodes):
            if node.op == "call_module":
                module.graph.erase_node(node)
        module.recompile()
        outputs, records = record(module, (x, *states))
        ours = OnKernels(module.to(device))
        result = ours.run(x.to(device), *(s.to(device) for s in states))
    assert ours.fused >= layers
    assert len(ours.spikes) == len(records)
    for mine, theirs in zip(ours.spikes, records, strict=True):
        assert int((mine != theirs.spikes.reshape(mine.shape).to(torch.uint8)).sum()) == 0
    assert sum(float(s.float().mean()) > 0.01 for s in ours.spikes) >= layers
    torch.testing.assert_close(result[0].cpu(), outputs[0], rtol=1e-6, atol=1e-6)
