"""A module of another library run in the way that its users run it, twice the same."""

import pytest
import torch

from neurokit.capture.reference import run_module
from neurokit.loading import spec_of_module
from tests.neurokit.capture.networks import registry

NAMES = {
    "snntorch_nets": ["snntorch_leaky_subtract", "snntorch_output"],
    "norse_nets": ["norse_cells", "norse_linear_readout"],
    "by_hand": ["by_hand_attribute_checked", "by_hand_readout"],
}


@pytest.mark.parametrize(("home", "name"), [(home, name) for home, names in NAMES.items() for name in names])
def test_every_run_starts_from_rest(home, name):
    pytest.importorskip(home.partition("_")[0]) if home != "by_hand" else None
    __import__(f"tests.neurokit.capture.networks.{home}")
    entry = registry.NETWORKS[name]
    spec = spec_of_module(entry.build(), name, entry.shape, entry.time_steps)
    x = torch.rand((entry.time_steps, 3, *entry.shape), generator=torch.Generator().manual_seed(7)) * 2
    module = spec.build()
    first, second = run_module(module, spec, x), run_module(module, spec, x)
    expected = registry.eager(entry, x)
    assert len(first) == len(expected)
    for a, b, right in zip(first, second, expected, strict=True):
        assert torch.equal(a, b)
        assert torch.allclose(a.double(), right.double(), atol=1e-5)
