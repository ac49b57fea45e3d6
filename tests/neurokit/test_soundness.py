"""Random weights and generated input are said first and last, and nothing is concluded from them."""

import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

import neurokit as nk
from neurokit.cli import main
from neurokit.loading import load
from neurokit.soundness import GENERATED_INPUT, RANDOM_WEIGHTS, has_random_weights


def fixed():
    module = nn.Linear(4, 2).eval()
    with torch.no_grad():
        module.weight.fill_(0.5)
        module.bias.fill_(0.0)
    return module


@pytest.mark.parametrize(("build", "random"), [(lambda: nn.Linear(4, 2).eval(), True), (fixed, False)])
def test_a_factory_that_draws_its_weights_is_seen(build, random):
    spec = nk.ModelSpec("own", build, (nk.TensorSpec("x", (4,)),))
    assert has_random_weights(spec) is random


def test_a_model_of_the_zoo_without_weights_is_random_though_it_draws_them_by_a_seed():
    spec = load("spiking_cnn")
    module = spec.build()
    assert has_random_weights(replace(spec, build=lambda: module))
    assert not has_random_weights(replace(spec, build=lambda: module, source="a copy of mine"))


def test_the_zoo_is_not_imported_for_a_model_that_is_none_of_it():
    code = """
import sys
from torch import nn
import neurokit as nk
from neurokit.soundness import has_random_weights
module = nn.Linear(4, 2).eval()
assert not has_random_weights(nk.ModelSpec("own", lambda: module, (nk.TensorSpec("x", (4,)),)))
print(sorted(name for name in sys.modules if name.startswith("neurokit.models.")))
"""
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"


def test_energy_of_an_untrained_model_on_noise_concludes_nothing(tmp_path, capsys):
    from neurokit.models.spiking_cnn.net import SpikingCNN

    common = ["energy", "spiking_cnn", "--chip", "loihi1", "--time-steps", "2"]
    page = tmp_path / "page.html"
    assert main([*common, "--html", str(page)]) == 0
    lines = [line for line in " ".join(capsys.readouterr().out.split()).split("warning: ") if line]
    assert len(lines) == 4  # both, before and after
    assert RANDOM_WEIGHTS in lines[0]
    assert GENERATED_INPUT in lines[1]
    assert page.read_text().count(RANDOM_WEIGHTS) == 2
    torch.save(SpikingCNN().state_dict(), tmp_path / "w.pt")
    Image.fromarray(np.full((8, 8), 200, np.uint8)).save(tmp_path / "a.png")
    assert main([*common, "--weights", str(tmp_path / "w.pt"), "--data", str(tmp_path / "a.png")]) == 0
    assert "warning" not in capsys.readouterr().out
