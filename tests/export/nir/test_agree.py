"""A manifest that contradicts its .nir file is refused by the name of the field; one that fits is not."""

from __future__ import annotations

import json
import shutil

import pytest
import torch
from spikingjelly.activation_based import functional, layer, neuron
from torch import nn

import neurokit as nk
from neurokit.artifact import Artifact, write_artifact
from neurokit.errors import ArtifactError
from neurokit.manifest import Manifest
from neurokit.spec import ModelSpec, TensorSpec


def build():
    torch.manual_seed(0)
    net = nn.Sequential(
        layer.Linear(6, 5), neuron.LIFNode(tau=3.0, v_threshold=0.5), layer.Linear(5, 4), neuron.IFNode()
    )
    functional.set_step_mode(net, "m")
    return net.eval()


@pytest.fixture(scope="module")
def sound(tmp_path_factory):
    spec = ModelSpec("agree", build, (TensorSpec("x", (6,)),), time_steps=4)
    return nk.lower(nk.capture(spec), "nir", tmp_path_factory.mktemp("agree") / "a", verified=False)


def edited(sound: Artifact, out, change) -> Artifact:
    """Returns a copy whose manifest is another one, sealed again."""
    manifest = json.loads(sound.manifest.to_text())
    change(manifest)
    with write_artifact(out, force=True) as draft:
        for name in sound.manifest.files:
            shutil.copy(sound.file(name), draft.path / name)
        draft.manifest = Manifest.model_validate({**manifest, "files": {}, "digest": "", "parity": None})
    return draft.artifact


def of_neuron(at, key, value):
    return lambda m: m["neurons"][at]["parameters"].__setitem__(key, value)


def of_port(side, key, value):
    return lambda m: m["graphs"][0][side][0].__setitem__(key, value)


def of_info(key, value):
    return lambda m: m["target_info"].__setitem__(key, value)


EDITS = {
    "v_threshold of neuron '1'": of_neuron(0, "v_threshold", 0.5000001),
    "tau of neuron '1'": of_neuron(0, "tau", 3.01),
    "r of neuron '1'": of_neuron(0, "decay_input", False),
    "v_leak of neuron '1'": of_neuron(0, "v_reset", 0.1),
    "v_threshold of neuron '3'": of_neuron(1, "v_threshold", 2.0),
    "time_steps": lambda m: m.__setitem__("time_steps", 2),
    "time_output": of_info("time_output", "mean"),
    "inputs.0.meaning": of_port("inputs", "meaning", "another"),
    "inputs.0.shape.2": of_port("inputs", "shape", [4, "B", 7]),
    "inputs.0.high": of_port("inputs", "high", 255.0),
    "outputs.0.name": of_port("outputs", "name", "z"),
    "dt is": of_info("dt", 1e-3),
    "layers of them": of_info("layers", [[0, "1"]]),
    "target_info.dt of its manifest is missing": lambda m: m["target_info"].pop("dt") and None,
    "target_info.dt of its manifest is of another form": of_info("dt", "1e-4"),
    "target_info.layers of its manifest is missing": lambda m: m["target_info"].pop("layers") and None,
    "target_info.layers.1.1 of its manifest": of_info("layers", [[0, "1"], [0, 3]]),
    "target_info.layers of its manifest is of another form": of_info("layers", [[0, "1"], [1, "3"]]),
    "target_info.inputs of its manifest": of_info("inputs", ["input"]),
    "target_info.covered of its manifest is missing": of_info("parts", ["model.nir"]),
    "has no node": of_info("layers", [[0, "1"], [0, "other"]]),
}


def test_what_fits_is_opened_and_verified(sound, tmp_path):
    assert nk.verify(edited(sound, tmp_path / "same", lambda m: None), record=False).passed


@pytest.mark.parametrize("said", EDITS)
def test_what_contradicts_is_named(sound, tmp_path, said):
    artifact = edited(sound, tmp_path / "other", EDITS[said])
    with pytest.raises(ArtifactError) as caught:
        nk.open(artifact)
    assert said in str(caught.value)
    assert "\n" not in caught.value.what
    with pytest.raises(ArtifactError):  # by the test vectors, where these say so first
        nk.verify(artifact, record=False)
