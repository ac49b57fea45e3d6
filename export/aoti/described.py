"""Kernels that are given tensor descriptors, in PyTorch's compiler: examples of them while it tries the kernels."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from neurokit.export.aoti.replaced import replaced


@contextmanager
def examples_of_descriptors() -> Iterator[None]:
    """Has the compiler make a descriptor's example of a tensor of its own, as it lies.

    PyTorch 2.11 runs every kernel once while it compiles a package, by a Python program. Of a descriptor of a view (a
    lattice of a picture, a weight as a matrix) it writes the view's C++ into that program, which is none then; and it
    gives the tensor behind it the view's size, although other kernels read the whole.
    """
    from torch._inductor import ir
    from torch._inductor.codegen.wrapper import PythonWrapperCodegen
    from torch._inductor.virtualized import V

    usual = PythonWrapperCodegen.generate_example_arg_value

    def example(self: Any, arg: Any, arg_type: Any, raw_arg: Any = None) -> Any:
        if not isinstance(raw_arg, ir.TMADescriptorStable):
            return usual(self, arg, arg_type, raw_arg)
        tensor, hints = raw_arg.get_tensor(), V.graph.sizevars.optimization_hints
        size, stride = list(hints(tensor.get_size())), list(hints(tensor.get_stride()))
        blank = f"generate_example_value({size}, {stride}, '{tensor.get_device()}', {tensor.get_dtype()}, 0)"
        maker = "triton.tools.tensor_descriptor.TensorDescriptor.from_tensor"
        self.kernel_autotune_calls.writeline(f"{arg} = {maker}({blank}, {list(raw_arg.block_shape)})")
        return arg

    with replaced(PythonWrapperCodegen, "generate_example_arg_value", example):
        yield
