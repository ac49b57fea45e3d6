"""Packages for a GPU, up to the compilers: what PyTorch writes for the kernels is a program."""

import ast
import re
from pathlib import Path

import pytest

from neurokit.capture import capture
from neurokit.exact import exact, refuse
from neurokit.kernels import config
from neurokit.kernels._compat import INTERPRET
from neurokit.kernels.spike_conv_lif import boxes
from neurokit.loading import load

from .without_gpu import generated

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(INTERPRET, reason="interpreted kernels are not compiled"),
]
EXAMPLES = Path(__file__).parents[3] / "examples" / "spikingjelly_models.py"
SEW = "sew_resnet18"  # of the zoo
MODELS = (SEW, "ms_resnet18_small", "spikformer_ti_small", "qkformer_10_384_small", "spiking_vgg11_bn_small")


@pytest.mark.parametrize("batch", [1, None])
@pytest.mark.parametrize("numerics", ["exact", "float16"])
@pytest.mark.parametrize("name", MODELS)
def test_what_is_written_for_a_gpu_is_python_and_has_descriptors_and_numbers(name, numerics, batch):
    pytest.importorskip("triton")
    captured = capture(load(name).in_small() if name == SEW else load(f"{EXAMPLES}:{name}"))
    extra = {}
    if numerics == "exact":
        made = exact(captured)
        refuse(made)
        captured = made.captured
    else:
        extra = {"precision": "float16"}
    captured = captured if batch is None else captured.retrace(batch=batch)
    found = generated(captured, "exact" if numerics == "exact" else "float", **extra)
    ast.parse(found.tried)
    described = found.source.count("alignas(64) StableTMADescriptor")
    assert described >= 3
    assert found.tried.count("TensorDescriptor.from_tensor(generate_example_value") >= 3
    if name == SEW:  # the shortcuts of its four blocks are added by kernels
        assert not re.search(r"call_triton_\w*add\w*\(", found.source)
    assert not re.search(r"(?<![\w.])-?(inf|nan)(?!\w)", found.source)
    # A whole division of Python's would be a comment there.
    assert not re.search(r"(global_shape|strides)\[\d\] = [^;\n]*(//|$)", found.source)


@pytest.mark.parametrize("numerics", ["exact", "float16", "bfloat16"])
def test_kernels_of_gluon_are_written_as_stubs(numerics):
    """Every one says which kernel it stands for, and is called with descriptors."""
    pytest.importorskip("triton")
    captured, whole = capture(load(SEW).in_small()), numerics == "exact"
    if whole:
        made = exact(captured)
        refuse(made)
        captured = made.captured
    with config.override(boxes.NAME, {"path": "rows"}):
        extra = {} if whole else {"precision": numerics}
        found = generated(captured.retrace(batch=2), "exact" if whole else "float", **extra)
    ast.parse(found.tried)
    stubs = found.tried.count("def spike_conv_lif_rows_kernel(")
    assert stubs >= 3
    assert found.tried.count("stands_for(spike_conv_lif_rows_kernel, ") == stubs
    assert "call_spike_conv_lif_rows_kernel" in found.source
    kind = "int8" if whole else numerics
    assert len(re.findall(rf"Descriptor\.from_tensor\(generate_example_value\([^\n]* torch\.{kind},", found.tried)) >= 3


def test_convolutions_of_numbers_less_128_are_written_with_their_tables():
    """All of a ResNet's but the image's are given one."""
    pytest.importorskip("triton")
    made = exact(capture(load("resnet34").in_small()))
    refuse(made)
    found = generated(made.captured, "exact")
    ast.parse(found.tried)
    assert len(re.findall(r'original_fqn = "[^"]*\.corrections"', found.source)) == 11
    assert not re.search(r"(?<![\w.])-?(inf|nan)(?!\w)", found.source)
