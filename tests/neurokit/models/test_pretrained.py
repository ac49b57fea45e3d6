"""Published weights: torchvision's own loader, a last layer that stays, and one line where they cannot be had."""

from __future__ import annotations

from urllib.error import URLError

import pytest
import torch
from torchvision.models import get_model

from neurokit.errors import WeightsError
from neurokit.loading import load
from neurokit.models.baselines import BASELINES
from neurokit.soundness import has_random_weights
from neurokit.spec import MODELS

NAME = "mobilenet_v3_small"


@pytest.fixture
def server(monkeypatch):
    """A stand-in for torchvision's server: a network of 1,000 classes with weights of its own."""
    torch.manual_seed(7)
    state = get_model(NAME, weights=None).state_dict()
    monkeypatch.setattr("torchvision.models._api.load_state_dict_from_url", lambda *given, **more: dict(state))
    return state


def test_everything_but_the_last_layer_is_the_published_one(server):
    plain, given = load(NAME).build().state_dict(), load(NAME, weights="pretrained").build().state_dict()
    last = {"classifier.3.weight", "classifier.3.bias"}
    assert all(torch.equal(given[name], value) for name, value in server.items() if name not in last)
    assert all(torch.equal(given[name], plain[name]) for name in last)
    assert given["classifier.3.weight"].shape[0] == 15


def test_the_specification_says_so_and_a_last_layer_at_random_is_warned_of():
    spec = load(NAME, weights="pretrained")
    assert spec.options["weights"] == "pretrained but for the last layer"
    assert has_random_weights(spec)
    whole = load("puppets_ms_resnet34", weights="pretrained")
    assert whole.options["weights"] == "pretrained"
    assert not has_random_weights(whole)


def test_without_a_network_it_is_one_line(monkeypatch, tmp_path):
    def refuse(*given, **more):
        raise URLError("Name or service not known")

    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    monkeypatch.setattr("torch.hub.download_url_to_file", refuse)
    with pytest.raises(WeightsError) as caught:
        load("resnet34", weights="pretrained").build()
    said = str(caught.value)
    assert "Name or service not known" in said
    assert f"{tmp_path}/hub/checkpoints/resnet34-" in said
    assert "--weights FILE" in said


def test_a_damaged_file_is_one_line(monkeypatch, tmp_path):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    (tmp_path / "hub" / "checkpoints").mkdir(parents=True)
    (tmp_path / "hub" / "checkpoints" / "resnet34-b627a593.pth").write_bytes(b"none")
    with pytest.raises(WeightsError, match="cannot be had"):
        load("resnet34", weights="pretrained").build()


def test_a_model_without_published_weights_says_so():
    with pytest.raises(WeightsError, match=r"no weights are published for 'puppets_sew_resnet34'"):
        load("puppets_sew_resnet34", weights="pretrained")


def test_a_file_of_that_name_is_a_file(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "pretrained").write_bytes(b"none")
    with pytest.raises(WeightsError, match=r"\.safetensors"):
        load("spiking_cnn", weights="pretrained").build()


def test_every_baseline_has_a_loader():
    names = [*BASELINES, "mobilenet_v2", "resnet34", "puppets_mobilenet_v2", "puppets_resnet34"]
    assert all(MODELS.get(name)().pretrained for name in names)


@pytest.mark.parametrize("name", ["puppets_ms_resnet34", "puppets_mobilenet_v2_035"])
def test_the_shipped_networks_know_the_puppets(name):
    """Two pictures of each class that training has not seen; on the 750 of seed 0 they have 97.9 and 98.8 %."""
    from spikingjelly.activation_based import functional

    from neurokit.data.puppets import render

    spec = load(name, weights="pretrained")
    net = spec.build()
    x, y = render("test", 2, 64, seed=1)
    functional.reset_net(net)
    given = torch.from_numpy(x)[:, None]
    with torch.no_grad():
        found = net(given if spec.time_steps is None else given[None].repeat(spec.time_steps, 1, 1, 1, 1)).argmax(1)
    assert int((found == torch.from_numpy(y)).sum()) >= 27
