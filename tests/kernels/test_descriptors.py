"""Tensor descriptors that the host makes: their boxes, the lattices of a picture, and what a trace says of them."""

import json
import subprocess
import sys
from contextlib import ExitStack
from importlib import import_module
from pathlib import Path
from unittest import mock

import pytest
import torch
from torch._subclasses.fake_tensor import FakeTensorMode

import neurokit.kernels
from neurokit.errors import InputError
from neurokit.export.aoti.mutations import found_once
from neurokit.kernels import spike_conv_lif
from neurokit.kernels._compat import INTERPRET
from neurokit.kernels.common.descriptors import Boxes, described, host_makes
from neurokit.kernels.spike_conv_lif import boxes, rows
from neurokit.kernels.spike_conv_lif.lattices import lattices
from neurokit.kernels.spike_conv_lif.place import filled

compiled = pytest.mark.skipif(INTERPRET, reason="interpreted kernels are not compiled")
SWIZZLE = {32: 1, 64: 2, 128: 3}  # CUtensorMapSwizzle, as AOTInductor's helper takes it from a row's bytes


def shipped(name=boxes.NAME):
    """Returns the shipped launch parameters of a kernel, that by boxes or by rows, by key."""
    for file in (Path(neurokit.kernels.__file__).parent / "configs").glob("*.json"):
        yield from json.loads(file.read_text())["kernels"].get(name, {}).items()


def test_shipped_parameters_read_by_boxes_that_the_host_makes():
    wrong, count = [], 0
    for key, chosen in shipped():
        if "block_k" not in chosen:
            continue
        steps, size = boxes.padded_steps(int(key.split(",")[0])), 2 if key.endswith("float16") else 1
        pixels = (chosen["images"], chosen["tall"], chosen["wide"])
        for block in filter(None, (chosen["block_k"], chosen["tail_k"])):
            count += 1
            if not host_makes((steps, *pixels, block), size) or not host_makes((chosen["cols"], block), size):
                wrong.append((key, chosen))
    assert not wrong
    assert count > 200


def test_shipped_parameters_by_rows_have_room_and_are_read_by_boxes_that_the_host_makes():
    wrong, count = [], 0
    for key, chosen in shipped(rows.NAME):
        count += 1
        steps, channels, kernel, stride = (int(key.split(",")[at]) for at in (0, 2, 4, 5))
        size = 2 if key.endswith("float16") else 1
        fit = rows.fitted(chosen, steps, kernel, rows.Sizes(size, size), stride)
        row = (boxes.padded_steps(steps), chosen["images"], 1, chosen["wide"], chosen["block_k"])
        made = host_makes(row, size) and host_makes((chosen["cols"], chosen["block_k"]), size)
        if fit != {**chosen, "num_stages": fit and fit["num_stages"]} or not made:
            wrong.append((key, chosen, fit))
        if stride == 2 and filled(channels) % chosen["block_k"]:
            wrong.append((key, "a block ends in a neighbour's channels"))
    assert not wrong
    assert count > 20


@pytest.mark.parametrize("size", [1, 2])
@pytest.mark.parametrize("steps", [1, 2, 4, 8])
@pytest.mark.parametrize("channels", [32, 64, 96, 128, 320, 512])
def test_default_parameters_read_by_boxes_that_the_host_makes(channels, steps, size):
    for batch, side in ((1, 7), (1, 56), (32, 7), (32, 56)):
        chosen = boxes.default(steps, batch, side, side, channels, 128, size)
        for block in filter(None, (chosen["block_k"], chosen["tail_k"])):
            assert host_makes((steps, chosen["images"], chosen["tall"], chosen["wide"], block), size)
            assert host_makes((chosen["cols"], block), size)


@compiled
@pytest.mark.parametrize(
    ("channels", "cols", "kernel", "stride", "side", "dtype"),
    [(64, 64, 3, 1, 14, torch.int8), (96, 48, 3, 2, 15, torch.int8), (128, 64, 3, 2, 14, torch.float16)],
)
def test_triton_wants_the_descriptors_that_a_compiled_package_makes(
    channels, cols, kernel, stride, side, dtype, offline
):
    """A box of another size never arrives, one of another layout is read in another order."""
    spikes, weight = torch.zeros(4, 2, side, side, channels, dtype=dtype), torch.zeros(cols, kernel, kernel, channels)
    with offline.capture(90, offline.Launch) as launched:
        spike_conv_lif(spikes, weight.to(dtype), form="int8", stride=stride, padding=kernel // 2, path="boxes")
    given = {name: value for name, value in launched[0].given.items() if isinstance(value, Boxes)}
    asked = offline.Compiled(launched[0].kernel, (), {**launched[0].kwargs, **launched[0].options}, 90)
    found = list(asked.binary.metadata.tensordesc_meta)
    names = [name for name in launched[0].kernel.arg_names if name in given]
    assert len(found) == len(names) >= 3
    for name, one in zip(names, found, strict=True):
        row = given[name].shape[-1] * given[name].tensor.itemsize
        assert tuple(one["block_size"]) == given[name].shape
        assert one["swizzle"] == SWIZZLE[row]


@pytest.mark.parametrize(("stride", "height", "width"), [(1, 5, 6), (2, 5, 7), (2, 6, 6)])
def test_a_lattice_is_every_other_pixel(stride, height, width):
    x = torch.randn(2, 3, height, width, 16)
    for p, view in enumerate(lattices(x, 16, stride, False)):
        assert torch.equal(view, x[:, :, p // stride :: stride, p % stride :: stride])
        assert view.untyped_storage().data_ptr() == x.untyped_storage().data_ptr()


def test_paired_neighbours_are_one_pixel():
    x = torch.randn(2, 3, 5, 6, 16)
    for p, view in enumerate(lattices(x, 16, 2, True)):
        assert torch.equal(view, x[:, :, p::2].unflatten(3, (3, 2)).flatten(4))


def test_a_pixel_of_a_narrow_pitch_has_its_right_neighbours_channels():
    x = torch.randn(1, 2, 4, 6, 16)
    (view,) = lattices(x, 48, 1, False)
    assert torch.equal(view, x.flatten(3).unfold(3, 48, 16))


@pytest.fixture
def gpu(offline):
    """Returns nothing: inside, tensors that are traced seem to lie on a GPU with descriptors."""
    op = import_module("neurokit.kernels.spike_conv_lif.op")
    with ExitStack() as stack:
        stack.enter_context(mock.patch.object(op, "use_triton", return_value=True))
        stack.enter_context(mock.patch.object(boxes, "capability", return_value=(9, 0)))
        stack.enter_context(offline.named())
        stack.enter_context(FakeTensorMode())
        yield


class Convolved(torch.nn.Module):
    def forward(self, *given):
        spikes, weight = given
        return (spike_conv_lif(spikes, weight, stride=2, padding=1, form="int8", path="boxes")[0],)


@compiled
def test_a_trace_says_which_tensors_are_given_by_boxes(gpu):
    from torch._functorch.aot_autograd import aot_export_module

    given = torch.empty(4, 2, 14, 14, 64, dtype=torch.int8, device="cuda"), torch.empty(32, 3, 3, 64, device="cuda")
    with found_once():
        graph, _ = aot_export_module(Convolved(), (given[0], given[1].to(torch.int8)), trace_joint=False)
    (node,) = (node for node in graph.graph.nodes if "triton_kernel_wrapper_functional" in str(node.target))
    said, kwargs = node.kwargs["tma_descriptor_metadata"], node.kwargs["kwargs"]
    assert set(said) == {"view0", "view1", "weight", "spikes"}
    assert node.kwargs["tensors_to_clone"] == ["spikes"]
    assert [tuple(kwargs[name].meta["val"].shape) for name in ("view0", "view1", "weight", "spikes")] == [
        (4, 2, 7, 7, 128),
        (4, 2, 7, 7, 128),
        (32, 576),
        (4, 2, 7, 7, 32),
    ]
    kind, (shape,) = said["view0"]
    assert kind == "stable"
    assert len(shape) == 5


@compiled
@pytest.mark.slow
def test_programs_that_name_descriptors_find_them():
    """torch.compile's, read from its cache in a process that traces nothing, import `triton` alone."""
    code = "import torch, neurokit.kernels, triton; triton.tools.tensor_descriptor.TensorDescriptor"
    subprocess.run([sys.executable, "-c", code], check=True)


@compiled
def test_a_trace_refuses_boxes_that_a_package_would_make_otherwise(gpu):
    with (
        mock.patch("neurokit.kernels.common.descriptors._traced", return_value=True),
        pytest.raises(InputError, match="view0 is given in boxes"),
    ):
        described(object())[(1,)](view0=Boxes(torch.empty(4, 256, device="cuda"), (1, 256)))
