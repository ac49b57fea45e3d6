"""Transforms: settings, order, records, refusals, and the way through the command line into the manifest."""

import json

import numpy as np
import pytest
import torch
from torch import nn

import neurokit as nk
from neurokit.cli import main
from neurokit.errors import InputError, UnknownNameError, UnsupportedError
from neurokit.spec import AppliedTransform, ModelSpec, TensorSpec
from neurokit.transforms import TRANSFORMS
from neurokit.transforms.transform import parse, resolve


def relu_net():
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(144, 3)).eval()


SPEC = ModelSpec("relu_net", relu_net, (TensorSpec("image", (1, 8, 8)),), classes=("a", "b", "c"))


def test_settings_are_read_and_typed():
    assert parse("rate_coding:time_steps=8,percentile=99") == ("rate_coding", {"time_steps": 8, "percentile": 99})
    _, settings = resolve("rate_coding:percentile=99")
    assert settings == {"time_steps": 32, "percentile": 99.0}
    assert resolve(("rate_coding", {"time_steps": 4}))[1]["time_steps"] == 4


@pytest.mark.parametrize(
    ("step", "what"),
    [
        ("rate_coding:steps=8", "has no setting 'steps'"),
        ("rate_coding:time_steps=many", "time_steps is 'many'"),
        ("rate_coding:time_steps=1.5", "time_steps is 1.5"),
        ("rate_coding:time_steps", "transform 'rate_coding:time_steps'"),
        ("rate_coding:time_steps=1,time_steps=2", "each key once"),
    ],
)
def test_wrong_settings_are_refused_by_name(step, what):
    with pytest.raises(InputError, match=what):
        nk.transform(SPEC, [step])


def test_unknown_transforms_name_the_nearest():
    with pytest.raises(UnknownNameError, match="did you mean rate_coding"):
        nk.transform(SPEC, ["rate_codign"])


def test_a_transform_is_recorded_and_keeps_the_task():
    spec = nk.transform(SPEC, ["rate_coding:time_steps=8"])
    assert (spec.time_steps, spec.task.name) == (8, "classification")
    (applied,) = spec.transforms
    assert isinstance(applied, AppliedTransform)
    assert applied.settings == {"time_steps": 8, "percentile": 99.9}
    assert "rate code of 1 ReLU layers over 8 steps" in applied.notes[0]
    with pytest.raises(UnsupportedError, match="cannot take"):
        nk.transform(spec, ["rate_coding"])


def test_merging_as_a_transform_is_what_capture_merges():
    spec = nk.load("metaspikeformer_15m")
    assert nk.transform(spec, ["merge"]).merge_reparameterised is None
    with pytest.raises(UnsupportedError, match="how they are merged"):
        nk.transform(SPEC, ["merge"])


def test_rates_approach_the_source(tmp_path):
    """More steps, less error: against the network itself, not against our own report."""
    x = torch.from_numpy(np.random.default_rng(0).random((5, 1, 8, 8), dtype=np.float32))
    wanted = relu_net()(x).detach().numpy()
    errors = []
    for steps in (4, 64):
        captured = nk.capture(SPEC, transforms=[("rate_coding", {"time_steps": steps})])
        artifact = nk.lower(captured, "onnx", tmp_path / str(steps))
        assert artifact.manifest.transforms[0].name == "rate_coding"
        with nk.open(artifact) as runner:
            y = np.asarray(runner(x.numpy()[None].repeat(steps, 0)))
        errors.append(float(np.linalg.norm(y - wanted) / np.linalg.norm(wanted)))
    assert errors[1] < 0.1 < errors[0]


def test_the_command_line_takes_transforms(tmp_path, capsys):
    (tmp_path / "nets.py").write_text(
        "from torch import nn\n"
        "from neurokit.spec import ModelSpec, TensorSpec\n"
        "def net():\n"
        "    build = lambda: nn.Sequential(nn.Flatten(), nn.Linear(16, 8), nn.ReLU(), nn.Linear(8, 3)).eval()\n"
        "    return ModelSpec('net', build, (TensorSpec('x', (1, 4, 4)),))\n"
    )
    call = ["export", f"{tmp_path / 'nets.py'}:net", "--out", str(tmp_path / "out"), "--json"]
    assert main([*call, "--transform", "rate_coding:time_steps=4"]) == 0
    manifest = json.loads((tmp_path / "out" / "manifest.json").read_text())
    assert manifest["transforms"][0]["settings"] == {"time_steps": 4, "percentile": 99.9}
    assert main([*call[:-2], str(tmp_path / "b"), "--transform", "nonsense"]) == 2
    assert not (tmp_path / "b").exists()
    assert "unknown transform 'nonsense'" in capsys.readouterr().err


def test_every_transform_documents_its_settings():
    for name, transform in TRANSFORMS.items():
        assert transform.info.name == name
        assert transform.info.summary
        assert all(option.meaning for option in transform.info.options.values())


def test_a_value_of_deep_brackets_is_text_as_for_an_option():
    deep = "[" * 100_000
    assert parse(f"rate_coding:time_steps={deep}")[1] == {"time_steps": deep}
    with pytest.raises(InputError, match="time_steps is"):
        resolve(f"rate_coding:time_steps={deep}")
