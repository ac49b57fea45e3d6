"""What people wrap around a module or its forward: compiled, contexts of precision and gradients, plain lists."""

import warnings

import numpy as np
import pytest
import snntorch as snn
import torch
from spikingjelly.activation_based import functional, neuron
from torch import nn

import neurokit as nk
from neurokit.errors import UnsupportedError
from neurokit.loading import spec_of_module

from .test_networks import onnx_outputs

T, B, WIDTH = 4, 3, 8


class Base(nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.fc, self.lif, self.out = nn.Linear(WIDTH, 6), neuron.LIFNode(step_mode="m"), nn.Linear(6, 3)
        with torch.no_grad():
            self.fc.weight.mul_(6)

    def forward(self, x):
        return self.out(self.lif(self.fc(x))).mean(0)


class Contexts(Base):
    """Precision for another device, precision that is off, gradients on and off."""

    def forward(self, x):
        with torch.autocast("cpu", enabled=False), torch.no_grad():
            h = self.fc(x)
        with torch.enable_grad(), torch.autocast("cuda"):
            return self.out(self.lif(h)).mean(0)


class PlainList(Base):
    """Neurons in a list that torch does not know of."""

    def __init__(self):
        super().__init__()
        del self.lif
        self.neurons, self.more = [neuron.LIFNode(), neuron.IFNode()], {"last": neuron.LIFNode(v_threshold=0.2)}

    def forward(self, x):
        for one in (*self.neurons, self.more["last"]):
            one.reset()
        first, second = self.neurons
        return torch.stack([self.more["last"](self.out(second(first(self.fc(x_t))))) for x_t in x]).mean(0)


class OtherNames(Base):
    """The same neurons under their names and in a list, of a library whose neurons are replaced."""

    def __init__(self):
        super().__init__()
        self.lif, self.last = snn.Leaky(0.9, threshold=0.5), snn.Leaky(0.8, threshold=0.2)
        self.neurons = [self.lif, self.last]

    def forward(self, x):
        membranes, spikes = [each.init_leaky() for each in self.neurons], []
        for x_t in x:
            for at, (weights, each) in enumerate(zip((self.fc, self.out), self.neurons, strict=True)):
                x_t, membranes[at] = each(weights(x_t), membranes[at])
            spikes.append(x_t)
        return torch.stack(spikes)


@pytest.mark.parametrize("kind", [Contexts, PlainList, OtherNames])
def test_it_is_the_network_that_its_library_runs(kind):
    net = kind().eval()
    x = torch.rand(T, B, WIDTH, generator=torch.Generator().manual_seed(2))
    with warnings.catch_warnings(), torch.no_grad():
        warnings.simplefilter("ignore")  # no CUDA
        expected = net(x).detach()
        captured = nk.capture(spec_of_module(kind().eval(), "net", (WIDTH,), T))
    assert expected.std() > 0
    assert len(captured.neurons) == {Contexts: 1, PlainList: 3, OtherNames: 2}[kind]
    np.testing.assert_allclose(onnx_outputs(captured, x)[0], expected.numpy(), rtol=1e-5, atol=1e-6)


def test_the_users_list_stays_a_list():
    net = PlainList().eval()
    nk.capture(net, torch.rand(T, B, WIDTH))
    assert isinstance(net.neurons, list)
    assert isinstance(net.more, dict)
    assert not [name for name, _ in net.named_modules() if name.startswith(("neurons", "more"))]


@pytest.mark.parametrize("in_place", [False, True])
def test_a_compiled_module_is_captured_as_what_was_compiled(in_place):
    net = Base().eval()
    compiled = net.compile() or net if in_place else torch.compile(net)  # compiled at its first call, which never comes
    captured = nk.capture(spec_of_module(compiled, "net", (WIDTH,), T))
    assert [layer.path for layer in captured.neurons] == ["lif"]
    x = torch.rand(T, B, WIDTH, generator=torch.Generator().manual_seed(2))
    with torch.no_grad():
        assert torch.equal(captured.program.module()(x, *captured.initial_states(B))[0], Base().eval()(x))


class Lowered(Base):
    def forward(self, x):
        with torch.autocast("cpu", dtype=torch.bfloat16):
            return super().forward(x).float()


def test_lower_precision_is_refused_by_name_and_taken_out_on_request():
    spec = spec_of_module(Lowered().eval(), "net", (WIDTH,), T)
    with pytest.raises(UnsupportedError, match=r"torch.autocast in bfloat16.*--transform float32"):
        nk.capture(spec)
    captured = nk.capture(spec, transforms=["float32"])
    x = torch.rand(T, B, WIDTH)
    with torch.no_grad():
        assert torch.equal(captured.program.module()(x, *captured.initial_states(B))[0], Base().eval()(x))


@pytest.mark.parametrize(("sizes", "works"), [((6,), False), ((2, 3, 3), True)])
def test_gated_neurons_take_images_alone(sizes, works):
    """Its gates are [1, C, 1, 1]: on vectors they would take the batch for channels."""
    net = nn.Sequential(neuron.GatedLIFNode(T)).eval()
    spec = spec_of_module(net, "net", sizes, T)
    if not works:
        with pytest.raises(UnsupportedError, match=r"0: GatedLIFNode: its gates are \[1, C, 1, 1\]"):
            nk.capture(spec)
        return
    x = 4 * torch.rand(T, B, *sizes)
    with torch.no_grad():
        expected = spec.build()(x)
        captured = nk.capture(spec)
    functional.reset_net(net)
    assert 0 < expected.mean() < 1
    assert np.array_equal(onnx_outputs(captured, x)[0], expected.numpy())
