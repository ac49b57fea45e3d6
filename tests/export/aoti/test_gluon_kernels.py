"""Kernels of Gluon in PyTorch's compiler: a stub is written for one, and the kernel is compiled in its place."""

import importlib.util
import pickle

import pytest
import torch

from neurokit.export.aoti import gluon_kernels
from neurokit.kernels import spike_conv_lif
from neurokit.kernels._compat import INTERPRET
from neurokit.kernels.spike_conv_lif import rows

pytestmark = pytest.mark.skipif(INTERPRET or not rows.gluon(), reason="Gluon is compiled by Triton 3.6")


@pytest.fixture
def kernel():
    pytest.importorskip("triton")
    from neurokit.kernels.spike_conv_lif.gluon_rows import spike_conv_lif_rows_kernel

    return spike_conv_lif_rows_kernel


@pytest.fixture
def stub(kernel, tmp_path, monkeypatch):
    """What PyTorch would make of the text that is written: a function of Triton's, and what it stands for."""
    from torch._inductor.runtime import triton_heuristics

    monkeypatch.setattr(triton_heuristics, "ASTSource", triton_heuristics.ASTSource)
    made, _, said = gluon_kernels.stub_of(kernel).partition("from neurokit")
    file = tmp_path / "stub.py"
    file.write_text(f"import triton\nimport triton.language as tl\n@triton.jit\n{made}")
    spec = importlib.util.spec_from_file_location("stub", file)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)

    class Autotuner:  # PyTorch's decorator stands above the function
        fn = module.spike_conv_lif_rows_kernel

    exec(f"from neurokit{said}", {"spike_conv_lif_rows_kernel": Autotuner})
    return Autotuner.fn


def test_a_stub_has_the_kernels_parameters_and_code(kernel, stub):
    constants = lambda function: [one.name for one in function.params if one.is_constexpr]  # noqa: E731
    assert stub.arg_names == kernel.arg_names
    assert constants(stub) == constants(kernel)
    assert kernel.cache_key in gluon_kernels.stub_of(kernel)


def test_stubs_are_written_for_gluon_alone_and_while_a_package_is_compiled(kernel, stub):
    from torch._inductor.codegen import wrapper

    written = "user_defined_triton_kernel_transitive_closure_source_code"
    usual = getattr(wrapper, written)
    with gluon_kernels.stubs():
        assert getattr(wrapper, written)(kernel) == gluon_kernels.stub_of(kernel)
        assert getattr(wrapper, written)(stub) == usual(stub)
    assert getattr(wrapper, written) is usual


def test_the_kernel_is_compiled_in_its_stubs_place_and_goes_to_another_process(kernel, stub, offline):
    """What PyTorch gives up of a function before it pickles it, the stub gives up."""
    import triton
    from torch._inductor.runtime import triton_heuristics

    spikes, weight = torch.zeros(2, 1, 8, 8, 32, dtype=torch.int8), torch.zeros(32, 3, 3, 32, dtype=torch.int8)
    with offline.capture(90, offline.Launch) as done:
        spike_conv_lif(spikes, weight, path="rows", padding=1, form="int8")
    (launch,) = done
    plain = offline.source_of(stub, (), dict(launch.kwargs))  # types as PyTorch names them, without layouts
    constants = {stub.arg_names[index]: value for (index,), value in plain.constants.items()}
    assert "tensordesc<i8[2, 1, 1, 8, 64]>" in plain.signature.values()
    source = triton_heuristics.ASTSource(stub, plain.signature, constants, plain.attrs)
    binary = triton.compile(source, target=offline.target_of(90), options=launch.options)
    assert "wgmma.mma_async" in binary.asm["ptx"]
    stub.fn = stub.__globals__ = stub.used_global_vals = stub.repr = stub._hash_lock = None
    result = triton_heuristics.TritonCompileResult(binary, None, {}, {})
    again = pickle.loads(pickle.dumps(result)).kernel
    assert again.src.fn.arg_names == kernel.arg_names
    assert again.asm["cubin"] == binary.asm["cubin"]


def test_other_functions_are_compiled_as_they_are(stub):
    import triton
    from torch._inductor.runtime import triton_heuristics
    from triton.compiler import ASTSource

    from neurokit.kernels.lif.triton import lif_forward_kernel

    assert isinstance(lif_forward_kernel, triton.JITFunction)
    assert type(triton_heuristics.ASTSource(lif_forward_kernel, {}, {}, {})) is ASTSource
