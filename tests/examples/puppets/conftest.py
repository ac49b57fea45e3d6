"""Networks for the page of the puppets: a small one as it is, in int8 and spiking, and the modules of the example."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
APP = ROOT / "examples" / "puppets" / "app"


def module_of(path: Path):
    spec = importlib.util.spec_from_file_location(path.stem, path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[path.stem] = module  # serve.py imports its neighbour by name, as a script does
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def bundling():
    """The module bundle.py of the example."""
    return module_of(APP / "bundle.py")


@pytest.fixture(scope="session")
def serving(bundling):
    """The module serve.py of the example."""
    return module_of(APP / "serve.py")


@pytest.fixture(scope="session")
def browsers():
    """The browser of the pages' tests."""
    return module_of(ROOT / "tests" / "neurokit" / "page" / "browser.py").Browser


@pytest.fixture(scope="session")
def runtime(bundling):
    """ONNX Runtime's WebAssembly, which npm fetches."""
    if not (bundling.RUNTIME / bundling.RUNTIME_FILES[1]).is_file():
        pytest.skip("onnxruntime-web was not fetched: npm ci --ignore-scripts --prefix examples/puppets/app")
    return bundling.RUNTIME


@pytest.fixture(scope="session")
def artifacts(tmp_path_factory):
    """Artifacts of a classifier of 8-bit pictures: random convolutions, and a linear layer set to the nearest mean."""
    import torch
    from torch import nn

    from neurokit import pipeline
    from neurokit.data.puppets import CLASSES, render
    from neurokit.spec import ModelSpec, TensorSpec

    pictures, _ = render("test", 4, 64)

    class Net(nn.Module):
        def __init__(self):
            super().__init__()
            self.first, self.second = nn.Conv2d(1, 8, 5, 4, 2), nn.Conv2d(8, 16, 3, 2, 1)
            self.head = nn.Linear(16, len(CLASSES))

        def features(self, x):
            x = torch.relu(self.first((x.float() > 90).float()))
            return torch.relu(self.second(x)).mean((2, 3))

        def forward(self, x):
            return self.head(self.features(x))

    torch.manual_seed(3)
    net = Net().eval()
    with torch.no_grad():  # |f - mean|^2 is least where 2 f mean - mean^2 is largest; scaled, as trained scores are
        means = net.features(torch.from_numpy(pictures).unsqueeze(1)).unflatten(0, (len(CLASSES), -1)).mean(1)
        net.head.weight.copy_(2000 * means)
        net.head.bias.copy_(-1000 * (means**2).sum(1))
    spec = ModelSpec(
        "small_puppets",
        lambda: net,
        (TensorSpec("image", (1, 64, 64), "uint8", high=255),),
        classes=CLASSES,
        example=lambda batch, steps, seed: torch.from_numpy(pictures[seed : seed + batch]).unsqueeze(1),
    )
    folder = tmp_path_factory.mktemp("puppets")
    plain = pipeline.capture(spec)
    made = {name: pipeline.lower(plain, name, folder / name, verified=False) for name in ("onnx", "onnx-int8")}
    return Made(made, spec=spec, folder=folder)


class Made(dict):
    """Artifacts by their targets, and what they were made of."""

    def __init__(self, artifacts, *, spec, folder):
        super().__init__(artifacts)
        self.spec, self.folder = spec, folder


@pytest.fixture(scope="session")
def every_form(artifacts):
    """The artifacts, and a spiking one that takes a time step a call."""
    from neurokit import pipeline

    spiking = pipeline.capture(artifacts.spec, transforms=["rate_coding:time_steps=32"])
    step = pipeline.lower(spiking, "onnx-step", artifacts.folder / "onnx-step", verified=False)
    return {**artifacts, "onnx-step": step}


@pytest.fixture(scope="session")
def trained(tmp_path_factory):
    """The trained networks that come with the package: MobileNetV2 as it is and in int8, and the spiking one."""
    import torch

    from neurokit import pipeline
    from neurokit.data.puppets import render
    from neurokit.loading import load

    folder = tmp_path_factory.mktemp("trained")
    seen = torch.from_numpy(render("train", 10, 64)[0]).unsqueeze(1)
    plain = pipeline.capture(load("puppets_mobilenet_v2_035", weights="pretrained"))
    spiking = pipeline.capture(load("puppets_ms_resnet34", weights="pretrained"))
    return {
        "onnx": pipeline.lower(plain, "onnx", folder / "onnx", verified=False),
        "onnx-int8": pipeline.lower(plain, "onnx-int8", folder / "onnx-int8", verified=False, calibration=seen),
        "onnx-step": pipeline.lower(spiking, "onnx-step", folder / "onnx-step", verified=False),
    }
