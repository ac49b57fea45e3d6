"""What the compiler's own run of a kernel is given for a descriptor."""

from unittest import mock

import pytest
import torch

from neurokit.export.aoti.described import examples_of_descriptors
from neurokit.kernels._compat import INTERPRET

pytestmark = pytest.mark.skipif(INTERPRET, reason="interpreted kernels are not compiled")


def test_a_descriptor_of_a_view_is_made_of_a_tensor_that_lies_as_the_view():
    pytest.importorskip("triton")
    import triton
    from torch._inductor import ir
    from torch._inductor.codegen.wrapper import PythonWrapperCodegen
    from torch._inductor.select_algorithm import AlgorithmSelectorCache
    from torch._inductor.virtualized import V

    view = mock.Mock()
    view.get_size.return_value, view.get_stride.return_value = [2, 3, 7, 7, 32], [4704, 1568, 224, 32, 1]
    view.get_device.return_value, view.get_dtype.return_value = torch.device("cpu"), torch.int8
    descriptor = object.__new__(ir.TMADescriptorStable)
    object.__setattr__(descriptor, "tensor", view)
    object.__setattr__(descriptor, "block_shape", (2, 1, 2, 4, 32))
    graph = mock.Mock()
    graph.sizevars.optimization_hints = list
    lines: list[str] = []
    wrapper = mock.Mock()
    wrapper.kernel_autotune_calls.writeline = lines.append
    usual = PythonWrapperCodegen.generate_example_arg_value
    with examples_of_descriptors(), V.set_graph_handler(graph):
        assert PythonWrapperCodegen.generate_example_arg_value(wrapper, "buf7", torch.int8, descriptor) == "buf7"
    assert PythonWrapperCodegen.generate_example_arg_value is usual
    names = {
        "triton": triton,
        "torch": torch,
        "generate_example_value": AlgorithmSelectorCache.generate_example_value,
    }
    exec("\n".join(lines), names)
    made = names["buf7"]
    assert list(made.shape) == [2, 3, 7, 7, 32]
    assert list(made.strides) == [4704, 1568, 224, 32, 1]
    assert list(made.block_shape) == [2, 1, 2, 4, 32]
    assert made.base.dtype == torch.int8
