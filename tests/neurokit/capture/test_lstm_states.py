"""The last states of an LSTM, which most classifiers read, against torch itself: torch traces them an axis too many."""

import pytest
import torch
from torch import nn

import neurokit as nk
from neurokit.loading import spec_of_module
from tests.neurokit.capture.networks.registry import Network, boosted, eager, seeded
from tests.neurokit.capture.test_networks import onnx_outputs

T, FEATURES, HIDDEN = 5, 6, 8


class States(nn.Module):
    """All that an LSTM returns, and what a classifier reads of it."""

    def __init__(self, layers=1, both=False, projected=0):
        super().__init__()
        named = {"num_layers": layers, "bidirectional": both, "proj_size": projected}
        self.lstm = nn.LSTM(FEATURES, HIDDEN, batch_first=True, **named)
        self.out = nn.Linear((projected or HIDDEN) * (1 + both), 3)

    def forward(self, x):
        y, (h, c) = self.lstm(x)
        last = torch.cat((h[-2], h[-1]), 1) if self.lstm.bidirectional else h[-1]
        return self.out(last), y, h, c


class Translated(nn.Module):
    """A second LSTM that begins with the first one's states."""

    def __init__(self):
        super().__init__()
        self.read, self.write = (nn.LSTM(FEATURES, HIDDEN, batch_first=True) for _ in range(2))

    def forward(self, x):
        return self.write(x.flip(1), self.read(x)[1])[0]


class Spiking(nn.Module):
    """Spikes by hand before a bidirectional LSTM: it was said to mix the samples of a batch."""

    def __init__(self):
        super().__init__()
        self.fc, self.states = nn.Linear(FEATURES, FEATURES), States(both=True)

    def forward(self, x):
        v, spikes = torch.zeros(x.shape[1], FEATURES, dtype=x.dtype), []
        for x_t in x:
            v = 0.8 * v + self.fc(x_t)
            spikes.append((v > 1.0).to(x.dtype))
            v = v - spikes[-1]
        return self.states(torch.stack(spikes, 1))[0]


@pytest.mark.parametrize("layers", [1, 2])
@pytest.mark.parametrize("both", [False, True])
@pytest.mark.parametrize("projected", [0, 4])
def test_a_program_has_the_shapes_of_its_module(layers, both, projected):
    module = States(layers, both, projected).eval()
    captured = nk.capture(spec_of_module(module, "net", (T, FEATURES)))
    wanted = module(torch.zeros(3, T, FEATURES))
    found = [tuple(3 if str(size) == "B" else size for size in port.shape) for port in captured.outputs]
    assert found == [tuple(y.shape) for y in wanted]


@pytest.mark.parametrize("name", ["one", pytest.param("both ways", marks=pytest.mark.slow), "translated", "spiking"])
def test_an_artifact_is_the_network(name, tmp_path):
    kinds = {"one": States, "both ways": lambda: States(2, True), "translated": Translated, "spiking": Spiking}

    def build():
        seeded()
        return boosted(kinds[name](), 4.0)

    shape, steps = ((FEATURES,), T) if name == "spiking" else ((T, FEATURES), None)
    captured = nk.capture(spec_of_module(build(), "net", shape, steps))
    x = torch.rand((T, 3, FEATURES) if steps else (3, T, FEATURES), generator=torch.Generator().manual_seed(7))
    for found, wanted in zip(onnx_outputs(captured, x), eager(Network(name, build, shape, steps), x), strict=True):
        assert wanted.std() > 0
        torch.testing.assert_close(torch.from_numpy(found).double(), wanted, rtol=0, atol=2e-6)
    artifact = nk.lower(captured, "onnx", tmp_path / "a")
    assert artifact.manifest.parity["verdict"] != "failed"
