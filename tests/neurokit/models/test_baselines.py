"""HaSPeR's baselines: published parameter counts on the meta device, and every target on small images."""

import onnx
import pytest
import torch

from neurokit import pipeline
from neurokit.errors import UnsupportedError
from neurokit.models.baselines import BASELINES, network, small
from neurokit.spec import MODELS

# Millions, of the networks with one linear head for 15 classes; for 1,000 classes they are those of torchvision's list.
MILLIONS = {
    "squeezenet1_1": 0.730,
    "shufflenet_v2_x1_0": 1.269,
    "mobilenet_v3_small": 1.533,
    "mnasnet1_0": 3.122,
    "regnet_y_400mf": 3.910,
    "efficientnet_b0": 4.027,
    "mobilenet_v3_large": 4.221,
    "googlenet": 5.615,
    "densenet121": 6.969,
    "resnet18": 11.184,
    "inception_v3": 21.816,
    "resnext50_32x4d": 23.011,
    "resnet50": 23.539,
    "swin_t": 27.531,
    "convnext_tiny": 27.832,
    "maxvit_t": 30.415,
    "resnet101": 42.531,
    "resnet152": 58.175,
    "alexnet": 57.065,
    "wide_resnet50_2": 66.865,
    "vit_b_16": 85.810,
    "swin_b": 86.759,
    "resnext101_32x8d": 86.773,
    "vgg16": 134.322,
    "vgg19": 139.632,
    "convnext_large": 196.253,
}
QUICK = ("squeezenet1_1",)  # in every run; `make test-slow` takes the others
# Published with 1,000 classes and an auxiliary head, which is no part of the network here.
_AUXILIARY = {"googlenet", "inception_v3"}


def test_the_table_is_complete():
    assert set(MILLIONS) == set(BASELINES)
    assert all(MODELS.get(name)().name == name for name in BASELINES)


@pytest.mark.parametrize("name", sorted(BASELINES))
def test_parameters_are_the_published_count(name):
    from torchvision.models import get_model_weights

    # RegNet computes its widths with tensors, which have no values there.
    with torch.device("cpu" if name.startswith("regnet") else "meta"):
        module = network(name)
    count = sum(parameter.numel() for parameter in module.parameters())
    assert count == pytest.approx(MILLIONS[name] * 1e6, abs=501)
    published = get_model_weights(name).DEFAULT.meta["num_params"]  # with 1,000 classes
    heads = [layer for layer in module.modules() if isinstance(layer, torch.nn.Linear | torch.nn.Conv2d)]
    head = next(layer for layer in reversed(heads) if layer.weight.shape[0] == 15)
    if name not in _AUXILIARY:
        assert count == published - 985 * (head.weight[0].numel() + (head.bias is not None))


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=() if name in QUICK else pytest.mark.slow) for name in sorted(BASELINES)]
)
def test_a_baseline_takes_every_form_or_says_why_not(name, tmp_path):
    captured = pipeline.capture(small(name))
    artifact = pipeline.lower(captured, "onnx", tmp_path / "onnx", verified=False)
    report = pipeline.verify(artifact)
    assert report.passed, report
    onnx.checker.check_model(str(artifact.file("model.onnx")), full_check=True)
    for form in ("onnx-step", "onnx-scan"):
        with pytest.raises(UnsupportedError):
            pipeline.lower(captured, form, tmp_path / form)
