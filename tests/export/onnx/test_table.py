"""Torch's table of translations, read quickly, is the one that torch reads."""

import torch
from torch.onnx._internal.exporter._registration import ONNXRegistry

from neurokit.export.onnx.table import read_table

OPSET = 20


def said(entries):
    return [
        (entry.onnx_function.__name__, entry.fx_target, entry.is_complex, entry.opset_introduced, str(entry.signature))
        for entry in entries
    ]


def test_every_operation_has_the_translations_and_signatures_that_torch_gives_it():
    quick, own = read_table(OPSET, ONNXRegistry.from_torchlib), ONNXRegistry.from_torchlib(OPSET)
    assert quick.opset_version == own.opset_version
    assert list(quick.functions) == list(own.functions)
    assert len(quick.functions) > 300
    unsigned = sum(entry.signature is None for entries in quick.functions.values() for entry in entries)
    assert unsigned > 300  # else nothing is saved
    for name, entries in own.functions.items():
        assert said(quick.get_decomps(entries[0].fx_target)) == said(own.get_decomps(entries[0].fx_target)), name


def test_torchs_own_entries_are_signed_for_whoever_exports_next():
    read_table(OPSET, ONNXRegistry.from_torchlib)
    for entries in ONNXRegistry.from_torchlib(OPSET).functions.values():
        assert all(entry.signature is not None or entry.skip_signature_inference for entry in entries)


def test_a_callers_translation_comes_first_and_is_signed():
    def mine(x: float) -> float:
        return x

    table = read_table(OPSET, ONNXRegistry.from_torchlib)
    table.register_op(torch.ops.aten.relu.default, mine)
    first, *others = table.get_decomps(torch.ops.aten.relu.default)
    assert first.onnx_function is mine
    assert all(entry.signature is not None for entry in others)
