"""Meta-SpikeFormer against the public model code's float64 run, and the laws of its RepConv merge."""

from __future__ import annotations

import copy
import json
import zlib
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from spikingjelly.activation_based import functional, neuron
from torch import nn

from neurokit.data.synthetic import repeated_images
from neurokit.errors import InputError
from neurokit.models.common.untrained import calibrate_batch_norm, firing_rates
from neurokit.models.metaspikeformer.net import BNAndPad, MetaSpikeFormer, RepConv, merge_repconv
from neurokit.spec import MODELS

REFERENCE = json.loads((Path(__file__).parents[2] / "data" / "metaspikeformer_15m.json").read_text())
SIZES = {
    "metaspikeformer_15m": ((64, 128, 256, 360), 15_112_208),
    "metaspikeformer_31m": ((96, 192, 384, 480), 31_333_864),
    "metaspikeformer_55m": ((128, 256, 512, 640), 55_350_248),
}
SMALL = (16, 16, 16, 24)


def reference_value(name: str, shape: tuple[int, ...]) -> torch.Tensor:
    """The reference's fill rule: a tensor from its name and shape alone."""
    z = np.random.RandomState(zlib.crc32(name.encode())).standard_normal(shape)
    if name.endswith("running_var"):
        z = 1 + 0.1 * np.abs(z)
    elif name.endswith("running_mean"):
        z = 0.1 * z
    elif len(shape) == 1:
        z = 1 + 0.1 * z if name.endswith("weight") else 0.2 + 0.2 * z
    else:
        z = z * np.sqrt(2 / np.prod(shape[1:]))
    return torch.from_numpy(z)


def fill(module: nn.Module) -> nn.Module:
    state = {
        name: value if name.endswith("num_batches_tracked") else reference_value(name, tuple(value.shape))
        for name, value in module.state_dict().items()
    }
    module.load_state_dict(state)
    return module


@pytest.fixture
def small() -> nn.Module:
    torch.manual_seed(0)
    return fill(MetaSpikeFormer(SMALL, classes=5).double().eval())


@pytest.mark.parametrize("name", SIZES)
def test_parameter_count_and_neurons(name: str) -> None:
    channels, parameters = SIZES[name]
    assert MODELS.get(name)().options["channels"] == list(channels)
    with torch.device("meta"):
        module = MetaSpikeFormer(channels)
    assert sum(parameter.numel() for parameter in module.parameters()) == parameters
    neurons = [layer for layer in module.modules() if isinstance(layer, neuron.BaseNode)]
    assert len(neurons) == 77
    assert sum(layer.v_threshold == 0.5 for layer in neurons) == 8  # one attn_lif a transformer block


def test_state_names_and_shapes_are_the_public_checkpoints() -> None:
    with torch.device("meta"):
        state = MetaSpikeFormer((64, 128, 256, 360)).state_dict()
    assert {name: list(value.shape) for name, value in state.items()} == REFERENCE["state"]


def test_reproduces_the_public_code_in_float64() -> None:
    module = fill(MetaSpikeFormer((64, 128, 256, 360)).double().eval())
    image = torch.from_numpy(np.random.RandomState(7).uniform(0, 1, (1, 3, 224, 224)))
    spikes = []
    for name, layer in module.named_modules():
        if isinstance(layer, neuron.BaseNode):
            layer.register_forward_hook(
                lambda _module, _inputs, output, name=name: spikes.append([name, int(output.sum()), output.numel()])
            )
    with torch.no_grad():
        logits = module(image)
    assert spikes == REFERENCE["spikes"]
    torch.testing.assert_close(logits[0], torch.tensor(REFERENCE["logits"], dtype=torch.float64), rtol=0, atol=1e-9)


def test_image_equals_the_sequence_that_repeats_it(small: nn.Module) -> None:
    image = torch.rand(2, 3, 32, 32, dtype=torch.float64)
    with torch.no_grad():
        shown_once = small(image)
        functional.reset_net(small)
        repeated = small(image.unsqueeze(0).repeat(4, 1, 1, 1, 1))
    assert torch.equal(shown_once, repeated)


def test_export_keeps_time_and_batch_symbolic(small: nn.Module) -> None:
    class Threshold(nn.Module):
        """Stands for the neurons, which capture replaces by one op each: no loop over T, no state."""

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            return (x >= 0.5).to(x)

    for parent in list(small.modules()):
        for name, child in list(parent.named_children()):
            if isinstance(child, neuron.BaseNode):
                setattr(parent, name, Threshold())
    x = torch.rand(3, 2, 3, 32, 32, dtype=torch.float64)
    axes = {0: torch.export.Dim("T", min=1, max=64), 1: torch.export.Dim("B", min=1, max=64)}
    program = torch.export.export(small, (x,), dynamic_shapes=(axes,), strict=False)
    other = torch.rand(5, 4, 3, 32, 32, dtype=torch.float64)
    with torch.no_grad():
        torch.testing.assert_close(program.module()(other), small(other), rtol=1e-12, atol=1e-12)
    called = {str(node.target) for node in program.graph.nodes if node.op == "call_function"}
    assert not [name for name in called if "copy" in name or "scatter" in name or "slice" in name]


def test_border_of_bn_and_pad_is_what_bn_makes_of_zero() -> None:
    layer = fill(BNAndPad(4, padding=1).double()).eval()
    x = torch.randn(2, 4, 5, 6, dtype=torch.float64)
    zero = layer.bn(torch.zeros(1, 4, 1, 1, dtype=torch.float64)).detach()
    y = layer(x).detach()
    expected = zero.expand(2, 4, 7, 8).clone()
    expected[:, :, 1:-1, 1:-1] = layer.bn(x).detach()
    assert torch.equal(y, expected)


def test_border_of_bn_and_pad_in_training_leaves_the_batch_statistics_alone() -> None:
    layer = fill(BNAndPad(4, padding=1).double()).train()
    plain = copy.deepcopy(layer.bn)
    x = torch.randn(2, 4, 5, 6, dtype=torch.float64) + 3
    y = layer(x)
    torch.testing.assert_close(y[:, :, 1:-1, 1:-1], plain(x), rtol=0, atol=0)
    torch.testing.assert_close(layer.bn.running_mean, plain.running_mean, rtol=0, atol=0)
    zero = plain.eval()(torch.zeros(1, 4, 1, 1, dtype=torch.float64)).flatten()
    torch.testing.assert_close(y[0, :, 0, 0], zero)


@pytest.mark.parametrize("size", [(1, 1), (2, 5), (7, 6)])
def test_merged_repconv_is_the_same_function_borders_included(size: tuple[int, int]) -> None:
    branch = nn.Sequential(RepConv(6), nn.BatchNorm2d(6))
    branch = fill(branch.double()).eval()
    # A shift far from zero makes a wrong border visible.
    with torch.no_grad():
        branch[0].body[1].bn.bias += 3
    x = torch.randn(3, 6, *size, dtype=torch.float64)
    holder = nn.Module()
    holder.conv = branch
    merged = merge_repconv(holder.eval()).conv
    assert isinstance(merged[0], nn.Conv2d)
    assert merged[0].kernel_size == (3, 3)
    assert merged[0].groups == 1
    with torch.no_grad():
        expected, actual = branch(x), merged(x)
    assert float((actual - expected).abs().max() / expected.abs().max()) < 1e-12


def test_merge_changes_no_spike_of_the_network_and_not_the_original(small: nn.Module) -> None:
    x = repeated_images(2, 4, 1, (3, 32, 32)).double()
    before = {name: value.clone() for name, value in small.state_dict().items()}
    merged = merge_repconv(small)
    assert not [layer for layer in merged.modules() if isinstance(layer, RepConv)]
    assert sum(1 for layer in small.modules() if isinstance(layer, RepConv)) == 32
    assert firing_rates(merged, x) == firing_rates(small, x)
    with torch.no_grad():
        torch.testing.assert_close(merged(x), small(x), rtol=1e-12, atol=1e-12)
    assert all(torch.equal(before[name], value) for name, value in small.state_dict().items())


def test_merge_computes_in_double_and_keeps_the_type() -> None:
    conv = fill(RepConv(8)).float().eval()
    merged = merge_repconv(conv)
    assert merged.weight.dtype == torch.float32
    wide = merge_repconv(copy.deepcopy(conv).double())
    assert torch.equal(merged.weight, wide.weight.float())


def test_merge_refuses_training_mode() -> None:
    with pytest.raises(InputError, match="training mode"):
        merge_repconv(RepConv(4).train())


def test_gradients_reach_every_parameter(small: nn.Module) -> None:
    small.train()
    loss = F.cross_entropy(small(torch.rand(2, 2, 3, 32, 32, dtype=torch.float64)), torch.tensor([1, 3]))
    loss.backward()
    without = [name for name, parameter in small.named_parameters() if parameter.grad is None]
    assert not without


def test_calibration_gives_a_random_network_a_plausible_rate() -> None:
    torch.manual_seed(0)
    module = MetaSpikeFormer(SMALL, classes=5).eval()
    x = repeated_images(2, 4, 0, (3, 64, 64))
    calibrate_batch_norm(module, x)
    rates = firing_rates(module, repeated_images(2, 4, 1, (3, 64, 64)))
    assert len(rates) == 77
    # Uncalibrated, 74 of the 77 neurons are silent.
    assert 0.02 < sum(rates.values()) / 77 < 0.3
