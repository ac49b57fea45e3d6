"""The exact form, and SpikingJelly's neurons for those of other libraries, as transforms of a specification."""

import pytest
import torch
from spikingjelly.activation_based import functional, neuron
from torch import nn

import neurokit as nk
from neurokit.cli import main
from neurokit.errors import InputError, UnsupportedError
from neurokit.spec import ModelSpec, TensorSpec

snn = pytest.importorskip("snntorch", reason="snntorch is not installed")
T = 5


def test_the_exact_form_is_what_numerics_exact_gives(tmp_path):
    spec = nk.load("spiking_cnn")
    asked = nk.lower(nk.transform(spec, ["exact:bits=6"]), "onnx", tmp_path / "a")
    plain = nk.lower(nk.capture(spec), "onnx", tmp_path / "b", numerics="exact", bits=6)
    assert (asked.manifest.numerics, asked.manifest.parity["verdict"]) == ("exact", "exact")
    assert asked.manifest.files["model.onnx"] == plain.manifest.files["model.onnx"]
    assert asked.manifest.target_info["proof"]["bits"] == 6
    (applied,) = asked.manifest.transforms
    assert (applied.name, applied.settings) == ("exact", {"bits": 6})


def test_it_is_priced_in_its_exact_form():
    spec = nk.load("spiking_cnn")
    meant = nk.simulate(nk.transform(spec, ["exact"]), chips="loihi1", check_events=True)
    plain = nk.simulate(nk.exact(spec).captured, chips="loihi1")
    assert meant.event_check.differing == 0
    assert meant.chips[0].total == plain.chips[0].total


def test_by_command(tmp_path, capsys):
    out = str(tmp_path / "a")
    assert main(["export", "spiking_cnn", "--target", "onnx", "--transform", "exact:bits=4", "--out", out]) == 0
    assert "proof" in capsys.readouterr().out


def test_what_has_no_exact_form_is_refused():
    with pytest.raises(InputError, match="2 to 8"):
        nk.transform(nk.load("spiking_cnn"), ["exact:bits=9"])
    with pytest.raises(UnsupportedError, match="exact"):
        nk.transform(nk.load("spiking_cnn"), ["exact", "exact"])
    with pytest.raises(UnsupportedError, match="exact"):
        nk.transform(nk.load("tiny_lm"), ["exact"])


def network(**more):
    torch.manual_seed(0)
    leaky = [snn.Leaky(beta=0.5, init_hidden=True, reset_mechanism="zero", reset_delay=False, **more) for _ in range(2)]
    net = nn.Sequential(nn.Linear(6, 9), leaky[0], nn.Linear(9, 4), leaky[1]).eval()
    with torch.no_grad():
        net[0].weight.mul_(3)
        net[2].weight.mul_(3)
    return net


def spec_of(net):
    return ModelSpec("net", lambda: net, (TensorSpec("x", (6,)),), time_steps=T, time_input="step")


def test_neurons_of_another_library_become_spikingjellys():
    """The module that the new specification builds fires as snnTorch's own, run by snnTorch."""
    net = network()
    spec = nk.transform(spec_of(net), ["adopt"])
    made = spec.build()
    kinds = [type(part) for part in made.modules() if isinstance(part, neuron.BaseNode)]
    assert len(kinds) == 2
    assert not any(isinstance(part, snn.Leaky) for part in made.modules())
    x = torch.rand(T, 3, 6, generator=torch.Generator().manual_seed(1)) * 2
    net[1].reset_hidden()
    net[3].reset_hidden()
    functional.reset_net(made)
    with torch.no_grad():
        theirs = torch.stack([net(step) for step in x])
        ours = torch.stack([made(step) for step in x])
    assert 0.05 < theirs.mean() < 0.95
    assert torch.equal(ours, theirs)
    assert "replaced" in spec.transforms[0].notes[0]


def test_a_neuron_without_an_equal_is_named():
    with pytest.raises(UnsupportedError) as refused:
        nk.transform(spec_of(nn.Sequential(nn.Linear(6, 4), snn.Alpha(0.9, 0.8, init_hidden=True))), ["adopt"])
    assert [reason.what for reason in refused.value.reasons] == ["Alpha"]
