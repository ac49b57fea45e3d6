"""What kernels say that they write to is what PyTorch finds, which of other kernels is found out once."""

import inspect
import math
from contextlib import ExitStack
from importlib import import_module
from unittest import mock

import pytest
import torch

from neurokit.export.aoti.mutations import found_once
from neurokit.kernels import config
from neurokit.kernels._compat import INTERPRET
from neurokit.kernels.common.descriptors import Boxes
from neurokit.kernels.contract import KERNELS

pytestmark = pytest.mark.skipif(INTERPRET, reason="interpreted kernels are not compiled")
KERNELS_OF_PACKAGES = ("depthwise", "gate_lif", "lif", "pool_lif", "sdsa_lif", "spike_conv_lif", "spike_linear_lif")


class Driver:
    """A driver of a GPU that is not there."""

    def get_current_target(self):
        from triton.backends.compiler import GPUTarget

        return GPUTarget("cuda", 90, 32)


@pytest.fixture
def wrap():
    pytest.importorskip("triton")
    from torch._higher_order_ops import triton_kernel_wrap
    from triton.runtime import driver

    with mock.patch.object(type(driver), "active", Driver()):
        yield triton_kernel_wrap


def launches(offline, name):
    """Returns a few launches of a kernel with different constants, as (kernel, arguments by name)."""
    return [(one.kernel, one.given) for one in offline.launches_of(KERNELS.get(name))]


@pytest.fixture
def silent(offline, monkeypatch):
    """Two things of a kernel that does not say what it writes to: the kernel, and the arguments of a launch."""
    kernel, kwargs = launches(offline, "lif")[0]
    monkeypatch.delattr(kernel, "writes")
    return kernel, kwargs


@pytest.mark.parametrize("most", [4, pytest.param(None, marks=pytest.mark.slow)])
@pytest.mark.parametrize("name", KERNELS_OF_PACKAGES)
def test_what_a_kernel_says_is_what_pytorch_finds(name, most, wrap, offline):
    # PyTorch finds nothing of a descriptor that is not there; what kernels by boxes write is compared elsewhere.
    given = [one for one in launches(offline, name) if not any(isinstance(value, Boxes) for value in one[1].values())]
    given = given[:most]
    read = inspect.unwrap(wrap.identify_mutated_tensors)  # PyTorch's own, which takes nobody's word
    wanted = [read(kernel, dict(kwargs), {}) for kernel, kwargs in given]
    assert all(0 < len(names) < 4 for names in wanted)  # where PyTorch fails, it takes every tensor for written
    with found_once() as known, mock.patch.object(wrap, "generate_ttir", side_effect=AssertionError("generated")):
        assert [wrap.identify_mutated_tensors(kernel, dict(kwargs), {}) for kernel, kwargs in given] == wanted
    assert not known


def test_a_kernel_that_pytorch_cannot_read_is_taken_at_its_word(wrap, offline, monkeypatch):
    """On compute capability 9.0 kernels wait for the one before: assembly, at which PyTorch gives up."""
    from neurokit.kernels.common import triton as shared

    (kernel, kwargs), *_ = launches(offline, "lif")
    monkeypatch.setattr(shared, "PROCESSORS", type(shared.PROCESSORS)(132))
    for function in (kernel, shared.await_inputs):
        monkeypatch.setattr(function, "hash", None)
    tensors = {name for name, value in kwargs.items() if isinstance(value, torch.Tensor)}
    assert set(inspect.unwrap(wrap.identify_mutated_tensors)(kernel, dict(kwargs), {})) == tensors
    with mock.patch.object(wrap, "generate_ttir", side_effect=AssertionError("generated")):
        assert 0 < len(wrap.identify_mutated_tensors(kernel, dict(kwargs), {})) < len(tensors)


@pytest.mark.parametrize("parts", [1, 3])
def test_a_split_sum_writes_its_parts_but_not_what_it_restores(parts, wrap, offline):
    """Counters are zero behind the last program (test_splits), so that launches may share them."""
    spikes, weight = torch.zeros(4, 1, 7, 7, 64, dtype=torch.int8), torch.zeros(32, 3, 3, 64, dtype=torch.int8)
    op = import_module("neurokit.kernels.spike_conv_lif.op")
    with config.override("spike_conv_lif_boxes", {"splits": parts}), offline.capture(90, offline.Launch) as done:
        op.spike_conv_lif(spikes, weight, scale=torch.ones(32), padding=1, form="int8")
    (one,) = done
    with found_once():
        said = wrap.identify_mutated_tensors(one.kernel, dict(one.given), {})
    assert said == (["spikes", "partials"] if parts > 1 else ["spikes"])
    assert one.kernel.restores == ("counters",)


@pytest.mark.parametrize("name", KERNELS_OF_PACKAGES)
def test_numbers_of_a_launch_are_finite(name, offline):
    """A compiled program writes them into its text, where infinity has no name."""
    numbers = [value for _, given in launches(offline, name) for value in given.values() if isinstance(value, float)]
    assert all(math.isfinite(value) for value in numbers)


def test_of_a_kernel_that_does_not_say_it_is_found_once(silent, wrap):
    kernel, kwargs = silent
    wanted = wrap.identify_mutated_tensors(kernel, dict(kwargs), {})
    with found_once() as known:
        assert wrap.identify_mutated_tensors(kernel, dict(kwargs), {}) == wanted
        with mock.patch.object(wrap, "generate_ttir", side_effect=AssertionError("generated once more")):
            assert wrap.identify_mutated_tensors(kernel, dict(kwargs), {}) == wanted
    assert list(known.values()) == [wanted]


def test_other_constants_are_another_kernel(wrap, silent):
    kernel, kwargs = silent
    with found_once() as known:
        without = wrap.identify_mutated_tensors(kernel, {**kwargs, "WANT_CURRENT": False}, {})
        beside = wrap.identify_mutated_tensors(kernel, {**kwargs, "WANT_CURRENT": True}, {})
    assert set(beside) - set(without) == {"current"}
    assert len(known) == 2


@pytest.mark.parametrize("says", [True, False])
def test_a_choice_of_an_autotuner_counts_with_its_constants(says, wrap, offline, request):
    import triton

    kernel, kwargs = launches(offline, "lif")[0] if says else request.getfixturevalue("silent")
    rest = {name: value for name, value in kwargs.items() if name != "WANT_CURRENT"}
    choices = [triton.Config({"WANT_CURRENT": want}, num_warps=4) for want in (False, True)]
    with found_once() as known:
        without, beside = (
            wrap.identify_mutated_tensors(triton.autotune(configs=[one], key=[])(kernel), dict(rest), {})
            for one in choices
        )
    assert set(beside) - set(without) == {"current"}
    assert len(known) == (0 if says else 2)


def test_stages_of_the_compiler_share_what_is_found(wrap, silent):
    """The trace has fake tensors, Inductor boxes of its own; a pointer to the same elements is the same code."""
    kernel, kwargs = silent
    boxed = {
        name: mock.Mock(spec=["dtype"], dtype=value.dtype) if isinstance(value, torch.Tensor) else value
        for name, value in kwargs.items()
    }
    with found_once() as known:
        wanted = wrap.identify_mutated_tensors(kernel, dict(kwargs), {})
        with mock.patch.object(wrap, "generate_ttir", side_effect=AssertionError("generated once more")):
            assert wrap.identify_mutated_tensors(kernel, boxed, {}) == wanted
    assert len(known) == 1


def test_pytorch_has_its_own_again(wrap):
    own = wrap.identify_mutated_tensors
    with found_once():
        assert wrap.identify_mutated_tensors is not own
    with pytest.raises(ZeroDivisionError), found_once():
        raise ZeroDivisionError
    assert wrap.identify_mutated_tensors is own


def product(spikes, weight):
    """Two equal launches, as a network has them."""
    kernel = import_module("neurokit.kernels.spike_linear_lif.op").spike_linear_lif
    return (kernel(spikes, weight, form="int8")[0] + kernel(spikes, weight, form="int8")[0],)


def test_a_trace_asks_the_kernel_inside_the_autotuner_of_each_launch(wrap, offline):
    """PyTorch makes an autotuner of a launch that says its warps: an object of its own, each time."""
    from torch._functorch.aot_autograd import aot_export_module
    from torch._subclasses.fake_tensor import FakeTensorMode

    class Network(torch.nn.Module):
        def forward(self, *given):
            return product(*given)

    op = import_module("neurokit.kernels.spike_linear_lif.op")
    with ExitStack() as stack:
        stack.enter_context(mock.patch.object(op, "use_triton", return_value=True))
        stack.enter_context(offline.named())
        stack.enter_context(FakeTensorMode())
        spikes = torch.empty(4, 196, 384, dtype=torch.int8, device="cuda")
        given = (spikes, torch.empty(512, 384, dtype=torch.int8, device="cuda"))
        with found_once() as known:
            graph, _ = aot_export_module(Network(), given, trace_joint=False)
    launched = [node for node in graph.graph.nodes if "triton_kernel_wrapper_functional" in str(node.target)]
    assert [node.kwargs["tensors_to_clone"] for node in launched] == [["spikes"], ["spikes"]]
    assert not known  # nothing was left to find
