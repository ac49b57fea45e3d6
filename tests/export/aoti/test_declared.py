"""Arrays of sizes in compiled C++: declared where they are used, whatever memory the text's buffers lie in."""

from importlib import import_module

import pytest
import torch

from neurokit.export.aoti.declared import arrays_declared_where_used


class Buffer:
    """Text that is written line by line."""

    def __init__(self):
        self.lines = []

    def writeline(self, line):
        self.lines.append(line)


@pytest.fixture
def wrapper():
    kind = import_module("torch._inductor.codegen.cpp_wrapper_cpu").CppWrapperCpu
    made = object.__new__(kind)
    made.int_array_id, made.declared_int_array_vars, made.codegen_int_array_var_cache = iter(range(99)), set(), {}
    return made


def used(wrapper, buffer, known=True):
    """Returns the name of an array in a buffer's text; the method that writes it is gone afterwards."""
    return wrapper.codegen_int_array_var("{1, 2}", buffer.writeline, known)


def test_every_buffer_declares_what_it_names(wrapper):
    with arrays_declared_where_used():
        for buffer in [Buffer() for _ in range(20)]:
            names = [used(wrapper, buffer), used(wrapper, buffer)]
            assert len(set(names)) == 2
            assert [any(f" {name}[]" in line for line in buffer.lines) for name in names] == [True, True]


def test_pytorch_has_its_own_again(wrapper):
    usual = type(wrapper).codegen_int_array_var
    with pytest.raises(ZeroDivisionError), arrays_declared_where_used():
        raise ZeroDivisionError
    assert type(wrapper).codegen_int_array_var is usual


def test_the_fault_is_there_where_it_is_known(wrapper):
    """Buffers that follow each other share an address, and with it a name. A release without the fault needs none."""
    if not torch.__version__.startswith("2.11."):
        pytest.skip(f"known of PyTorch 2.11, here is {torch.__version__}")
    buffers = [Buffer() for _ in range(20)]
    assert any(not any(f" {used(wrapper, buffer)}[]" in line for line in buffer.lines) for buffer in buffers)
