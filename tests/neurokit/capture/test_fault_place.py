"""A refusal of what depends on the values of tensors names the module and the call at fault."""

import pytest
import snntorch
import torch
from snntorch import spikegen
from torch import nn

import neurokit as nk
from neurokit.capture import capture
from neurokit.errors import UnsupportedError

WIDTH = 6


class Encodes(nn.Module):
    """snnTorch's latency code inside of the model, then its neuron in a loop."""

    def __init__(self):
        super().__init__()
        self.fc, self.lif = nn.Linear(WIDTH, 4), snntorch.Leaky(beta=0.9)

    def forward(self, x):
        spikes, mem, out = spikegen.latency(x, num_steps=3, normalize=True), self.lif.init_leaky(), []
        for step in spikes:
            spike, mem = self.lif(self.fc(step), mem)
            out.append(spike)
        return torch.stack(out)


class Decides(nn.Module):
    """Takes one of two ways."""

    def forward(self, x):
        scale = 2.0
        if (
            x.mean()
            > 0.5
        ):  # fmt: skip
            return scale * x
        return x


class Counts(nn.Module):
    """Has an output whose size is that of what was found."""

    def forward(self, x):
        return torch.nonzero(x > 0.5)


CASES = {
    "a library's encoder": (Encodes(), r"\(model\): spikegen.latency\(x, num_steps=3, normalize=True\) \(test_fault"),
    "an if in a submodule": (
        nn.Sequential(nn.Linear(WIDTH, 4), nn.Sequential(Decides())),
        r"1\.0: x\.mean\(\) > 0\.5 \(test_fault_place\.py:\d+\): its control flow",
    ),
    "an output of no fixed size": (nn.Sequential(Counts()), r"0: torch\.nonzero\(x > 0\.5\) \(test_fault_place\.py"),
}


@pytest.mark.parametrize("name", CASES)
def test_the_call_is_named(name):
    module, said = CASES[name]
    with pytest.raises(UnsupportedError, match=said):
        capture(module.eval(), torch.rand(2, WIDTH))


def test_where_a_library_decides_by_itself_its_line_is_named(tmp_path):
    file = tmp_path / "net.py"
    file.write_text(
        "import torch\nfrom torch import nn\n\nclass Norm(nn.Module):\n    def forward(self, x):\n"
        "        return x / x.norm() if x.norm() > 0 else x\n\ndef net():\n    return nn.Sequential(Norm())\n"
    )
    with pytest.raises(UnsupportedError, match=r"0: x\.norm\(\) > 0 \(net\.py:6\)"):
        capture(nk.load(f"{file}:net", (WIDTH,)))
