"""The option precision=float16: within the bounds of its type, half the size, and refused where it cannot be."""

import numpy as np
import onnx
import pytest
import torch
from torch import nn

import neurokit as nk
from neurokit.cli import main
from neurokit.errors import ArtifactError, InputError, UnsupportedError
from neurokit.reports import ParityReport
from neurokit.spec import ModelSpec, TensorSpec


def net():
    torch.manual_seed(0)
    parts = [nn.Conv2d(3, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU(), nn.Conv2d(16, 16, 3, groups=4), nn.GELU()]
    return nn.Sequential(*parts, nn.AdaptiveAvgPool2d(4), nn.Flatten(), nn.Linear(256, 64), nn.Linear(64, 10)).eval()


@pytest.fixture(scope="module")
def spec():
    module = net()
    return ModelSpec("net", lambda: module, (TensorSpec("image", (3, 16, 16)),))


def test_it_is_the_network_within_11_bits(spec, tmp_path, tamper_tensor):
    plain = nk.lower(spec, "onnx", tmp_path / "plain", verified=False)
    half = nk.lower(spec, "onnx", tmp_path / "half", precision="float16")
    assert ParityReport.from_json(half.manifest.parity).passed
    sizes = [(made.path / "model.onnx").stat().st_size for made in (half, plain)]
    assert sizes[0] < 0.65 * sizes[1]
    stored = {tensor.data_type for tensor in onnx.load(str(half.path / "model.onnx")).graph.initializer if tensor.dims}
    assert onnx.TensorProto.FLOAT16 in stored
    x = torch.rand(4, 3, 16, 16)
    with nk.open(half) as runner, torch.no_grad():
        found, wanted = runner(x.numpy()), net().double()(x.double()).numpy()
    off = np.linalg.norm(found - wanted) / np.linalg.norm(wanted)
    assert 1e-6 < off < 1e-2  # rounded, and no more
    wrong = tamper_tensor(half, lambda name: "8.weight" in name or "val" in name, lambda w: -w, tmp_path / "wrong")
    assert not nk.verify(wrong).passed
    with pytest.raises(ArtifactError, match="precision is float16, and nothing in the file is"):
        nk.verify(plain.with_target_info(precision="float16"))


def test_refusals(spec, tmp_path, capsys):
    with pytest.raises(InputError, match="precision is 'half'"):
        nk.lower(spec, "onnx", tmp_path / "m", precision="half")
    with pytest.raises(UnsupportedError) as caught:
        nk.lower("spiking_cnn", "onnx", tmp_path / "m", precision="float16")
    assert "flip its spikes" in caught.value.reasons[0].why
    words = ["export", "spiking_cnn", "--out", str(tmp_path / "m"), "--option", "precision=float16"]
    assert main(words) == 2
    assert "leave precision away" in capsys.readouterr().err
    assert not (tmp_path / "m").exists()
