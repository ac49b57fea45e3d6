"""The example factories: alive, repeatable, and what their specs say."""

from __future__ import annotations

import inspect
import statistics
from pathlib import Path

import pytest
import torch
from spikingjelly.activation_based import functional
from torch import nn

from neurokit.loading import load
from neurokit.models.common.untrained import firing_rates

FILE = Path(__file__).parents[2] / "examples" / "spikingjelly_models.py"
# name: parameters of the published configuration, measured once from SpikingJelly 2.0.0
PARAMETERS = {
    "spiking_vgg11_bn": 132_868_840,
    "ms_resnet18": 11_693_736,
    "spikformer_ti": 4_400_392,
    "qkformer_10_384": 16_472_584,
    "sdt_8_384": 16_816_744,
}


@pytest.mark.parametrize("name", PARAMETERS)
def test_small_twin_is_alive_and_repeatable(name: str) -> None:
    spec = load(f"{FILE}:{name}_small")
    module = spec.build()
    x = spec.example(2, spec.time_steps, 1)
    with torch.no_grad():
        y = module(x)
    assert y.shape == ((4, 2, 10) if spec.time_output == "sequence" else (2, 10))
    assert torch.isfinite(y).all()
    rates = firing_rates(module, x)
    assert len(rates) >= 8
    assert 0.05 < statistics.mean(rates.values()) < 0.3
    assert min(rates.values()) > 0.01
    again = spec.build().state_dict()
    assert all(torch.equal(value, again[key]) for key, value in module.state_dict().items())


@pytest.mark.parametrize("name", PARAMETERS)
def test_stated_time_input_is_also_what_trying_finds(name: str, tmp_path: Path) -> None:
    (tmp_path / "bare.py").write_text(
        f"from neurokit.loading import load\ndef net():\n    return load({f'{FILE}:{name}_small'!r}).build()\n"
    )
    stated = load(f"{FILE}:{name}_small")
    found = load(f"{tmp_path}/bare.py:net", input_shape=stated.inputs[0].shape)
    assert (found.time_input, found.time_steps) == (stated.time_input, stated.time_steps)


@pytest.mark.parametrize("name", ["ms_resnet18", "qkformer_10_384", "sdt_8_384"])
def test_stated_mean_is_a_mean_over_time(name: str) -> None:
    """Every step alone, from the state the last one left, averages to the output of the whole sequence."""
    spec = load(f"{FILE}:{name}_small")
    module = spec.build().double()
    x = spec.example(1, 3, 2).double()
    with torch.no_grad():
        whole = module(x)
        functional.reset_net(module)
        steps = [module(x_t.unsqueeze(0)) for x_t in x]
    torch.testing.assert_close(torch.stack(steps).mean(0), whole, rtol=1e-9, atol=1e-9)


@pytest.mark.slow
@pytest.mark.parametrize("name", PARAMETERS)
def test_full_size(name: str) -> None:
    spec = load(f"{FILE}:{name}")
    module: nn.Module = spec.build()
    assert sum(parameter.numel() for parameter in module.parameters()) == PARAMETERS[name]
    rates = firing_rates(module, spec.example(1, 4, 1))
    assert 0.05 < statistics.mean(rates.values()) < 0.3


def test_every_factory_of_the_file_is_tested() -> None:
    namespace: dict[str, object] = {}
    exec(compile(FILE.read_text(), str(FILE), "exec"), namespace)
    factories = {
        name
        for name, value in namespace.items()
        if inspect.isfunction(value) and value.__code__.co_filename == str(FILE) and not name.startswith("_")
    }
    assert factories == {name + suffix for name in PARAMETERS for suffix in ("", "_small")}
