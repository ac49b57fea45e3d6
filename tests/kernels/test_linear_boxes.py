"""`spike_linear_lif` in 16 bits by tensor descriptors: when it goes so, by which key, and its machine code."""

from __future__ import annotations

import pytest
import torch

from neurokit.errors import InputError
from neurokit.kernels import config, spike_linear_lif
from neurokit.kernels._compat import INTERPRET
from neurokit.kernels.spike_conv_lif import boxes

from .test_assembly import assembly

compiles = pytest.mark.skipif(INTERPRET, reason="interpreted kernels are not compiled")
HALVES = {torch.float16: "f16", torch.bfloat16: "bf16"}


def operands(dtype, inner=96):
    return torch.zeros(4, 196, inner, dtype=dtype), torch.zeros(64, inner, dtype=dtype)


def names(offline, *given, **more):
    """Returns the kernels that a call launches."""
    with offline.capture(90, offline.Launch) as done:
        spike_linear_lif(*given, **{"form": "same", **more})
    return [one.name for one in done]


@compiles
@pytest.mark.parametrize("dtype", HALVES)
def test_machine_code_multiplies_from_shared_memory(dtype, offline):
    """The weight and the spikes of a box are operands as they lie; registers are set and none is spilled."""
    row = torch.zeros(64)
    with offline.capture(90) as done:
        spike_linear_lif(*operands(dtype), scale=row, bias=row, form="same", path="boxes")
    (one,) = done
    assert one.name == "spike_conv_lif_boxes_kernel"
    assert one.count(rf"wgmma\.mma_async\S*k16\.f32\.{HALVES[dtype]}\.{HALVES[dtype]}") >= 2
    cubin = one.binary.asm["cubin"]
    assert "STACK:0 " in assembly.resource_usage(cubin)
    assert assembly.unset_registers(assembly.disassemble(cubin)) == []


@compiles
@pytest.mark.parametrize("inner", [96, 384])
def test_auto_goes_by_boxes_where_that_was_measured_and_of_int8_above_128_channels(inner, offline):
    half, whole = operands(torch.float16, inner), operands(torch.int8, inner)
    assert "spike_conv_lif_boxes_kernel" not in names(offline, *half)
    by_default = names(offline, *whole, form="int8")
    assert by_default == ["spike_conv_lif_boxes_kernel" if inner > 128 else "spike_linear_lif_kernel"]
    with config.override(boxes.NAME, {"path": "boxes"}):
        assert names(offline, *half) == ["spike_conv_lif_boxes_kernel"]
        assert names(offline, *half, path="fused") == ["spike_linear_lif_kernel"]


@compiles
@pytest.mark.parametrize(("dtype", "more"), [(torch.int8, ()), (torch.float16, ("float16",))])
def test_what_was_measured_is_looked_up_by_the_type(dtype, more, offline, monkeypatch):
    """bfloat16 by the parameters of float16, as convolutions."""
    asked = []
    monkeypatch.setattr(boxes, "preferred", lambda key, device, default: asked.append(key) or default)
    names(offline, *operands(dtype), form="int8")
    if dtype == torch.float16:
        names(offline, *operands(torch.bfloat16), form="int8")
    assert set(asked) == {(4, 1, 96, 64, 1, 1, "single", *more)}
    assert len(asked) == 1 + len(more)


@compiles
@pytest.mark.parametrize(
    ("more", "why"),
    [
        ({"form": "packed"}, "form 'packed'"),
        ({"want_v": True}, "a membrane"),
        ({"v0": torch.zeros(196, 64)}, "a membrane"),
    ],
)
def test_what_boxes_cannot_take_is_refused_or_goes_by_pointers(more, why, offline):
    given = operands(torch.float16)
    with pytest.raises(InputError, match=why):
        names(offline, *given, path="boxes", **more)
    assert names(offline, *given, **more) == ["spike_linear_lif_kernel"]


@compiles
def test_spikes_of_another_type_than_the_weight_are_refused_by_boxes(offline):
    spikes, weight = operands(torch.float16)
    with pytest.raises(InputError, match=r"spikes are torch\.int8, the weight torch\.float16"):
        names(offline, spikes.to(torch.int8), weight, path="boxes")


def grouped(dtype, groups, inner, cols):
    return torch.zeros(4, 196, groups * inner, dtype=dtype), torch.zeros(groups * cols, inner, dtype=dtype)


@compiles
@pytest.mark.parametrize("cols", [64, 480])
@pytest.mark.parametrize("dtype", HALVES)
def test_groups_go_by_boxes_and_keep_to_their_own_channels(dtype, cols, offline):
    """Machine code of tiles that end with a group's outputs, and of those that end behind them (480 of 512)."""
    with offline.capture(90) as done:
        spike_linear_lif(*grouped(dtype, 3, 96, cols), form="same", groups=3)
    (one,) = done
    assert one.name == "spike_conv_lif_boxes_kernel"
    cubin = one.binary.asm["cubin"]
    assert "STACK:0 " in assembly.resource_usage(cubin)
    assert assembly.unset_registers(assembly.disassemble(cubin)) == []


@compiles
@pytest.mark.parametrize(
    ("given", "more"),
    [
        (grouped(torch.float16, 3, 40, 64), {}),  # a group's channels are no multiple of 32
        (grouped(torch.float16, 3, 96, 64), {"want_v": True}),
        (grouped(torch.float16, 3, 96, 64), {"path": "gemm"}),
    ],
)
def test_other_groups_are_the_vendors_products_and_lif(given, more, offline):
    assert names(offline, *given, groups=3, **more) == ["lif_forward_kernel"]


@pytest.mark.parametrize(
    ("given", "more", "why"),
    [
        (grouped(torch.float16, 3, 96, 64), {"groups": 3, "path": "fused"}, "path='fused' of 3 groups"),
        (grouped(torch.float16, 3, 96, 64), {}, "columns for a weight of K=96"),
        (grouped(torch.float16, 3, 96, 64), {"groups": 5}, "5 groups of 192 outputs"),
        (grouped(torch.float16, 3, 96, 64), {"groups": 0}, "0 groups of 192 outputs"),
        (grouped(torch.int8, 2, 96, 64), {"groups": 2}, "2 groups of 128 outputs, the weight torch.int8"),
        (grouped(torch.float16, 3, 40, 64), {"groups": 3, "path": "boxes"}, "groups of 40 channels"),
    ],
)
def test_what_is_no_product_of_groups_is_refused(given, more, why, offline):
    with pytest.raises(InputError, match=why), offline.capture(90, offline.Launch):
        spike_linear_lif(*given, form="int8" if given[1].dtype == torch.int8 else "same", **more)
