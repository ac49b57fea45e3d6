"""The neuron operations against SpikingJelly's own neurons: the same bits forward, the same gradients backward."""

from __future__ import annotations

import itertools

import pytest
import torch
from spikingjelly.activation_based import neuron, surrogate

from neurokit.errors import InputError
from neurokit.neurons import ops

RESETS = [0.0, -0.25, 0.3, None]
STEPS = [1, 2, 5]
SURROGATES = {
    "sigmoid": surrogate.Sigmoid(alpha=4.0),
    "atan": surrogate.ATan(alpha=2.0),
    "triangle": surrogate.PiecewiseQuadratic(alpha=1.0),
}
TAU = 2.7  # no power of two, so that dividing by it and multiplying by its inverse differ


def current(steps, dtype, *, scale=1.5):
    return torch.randn(steps, 3, 17, dtype=dtype) * scale + 0.4


def theirs(kind, v_reset, decay_input=True, *, dtype=torch.float32, act=None, detach=False, threshold=0.8):
    common = {
        "v_threshold": threshold,
        "v_reset": v_reset,
        "detach_reset": detach,
        "step_mode": "m",
        "surrogate_function": act or SURROGATES["sigmoid"],
    }
    if kind == "if_":
        return neuron.IFNode(**common)
    if kind == "lif":
        return neuron.LIFNode(tau=TAU, decay_input=decay_input, **common)
    return neuron.ParametricLIFNode(init_tau=TAU, decay_input=decay_input, **common).to(dtype)


def ours(kind, x, v0, node, v_reset, decay_input=True, *, name="sigmoid", alpha=4.0, detach=False, threshold=0.8):
    tail = (name, alpha, detach)
    if kind == "if_":
        return ops.if_(x, v0, threshold, v_reset, *tail)
    leak = TAU if kind == "lif" else node.w.sigmoid()
    return getattr(ops, kind)(x, v0, leak, threshold, v_reset, decay_input, *tail)


VARIANTS = [("if_", True), *itertools.product(("lif", "plif"), (True, False))]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("v_reset", RESETS)
@pytest.mark.parametrize(("kind", "decay_input"), VARIANTS)
def test_equals_spikingjelly_bit_for_bit(kind, decay_input, v_reset, dtype):
    for steps in STEPS:
        x = current(steps, dtype)
        v0 = torch.randn(3, 17, dtype=dtype) * 0.3
        node = theirs(kind, v_reset, decay_input, dtype=dtype)
        node.v = v0.clone()
        with torch.no_grad():
            expected = node(x)
            spikes, v = ours(kind, x, v0, node, v_reset, decay_input)
        assert 0 < expected.sum() < expected.numel()
        assert torch.equal(spikes, expected)
        assert torch.equal(v, node.v)
        assert spikes.dtype == v.dtype == dtype


@pytest.mark.parametrize("detach", [False, True])
@pytest.mark.parametrize("name", SURROGATES)
@pytest.mark.parametrize("v_reset", [0.0, 0.3, None])
@pytest.mark.parametrize(("kind", "decay_input"), VARIANTS)
def test_gradients_are_spikingjellys(kind, decay_input, v_reset, name, detach):
    act = SURROGATES[name]
    node = theirs(kind, v_reset, decay_input, dtype=torch.float64, act=act, detach=detach)
    x = current(5, torch.float64).requires_grad_()
    v0 = (torch.randn(3, 17, dtype=torch.float64) * 0.3).requires_grad_()
    weight, weight_v = torch.randn(5, 3, 17, dtype=torch.float64), torch.randn(3, 17, dtype=torch.float64)
    wanted = [x, v0, *node.parameters()]

    node.v = v0
    expected = torch.autograd.grad((node(x) * weight).sum() + (node.v * weight_v).sum(), wanted)
    spikes, v = ours(kind, x, v0, node, v_reset, decay_input, name=name, alpha=float(act.alpha), detach=detach)
    found = torch.autograd.grad((spikes * weight).sum() + (v * weight_v).sum(), wanted)
    for a, b in zip(found, expected, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-12)


def test_gradient_of_one_output_alone():
    """Neither output needs the other to be used."""
    x = current(3, torch.float64).requires_grad_()
    v0 = torch.zeros(3, 17, dtype=torch.float64)
    for output in (0, 1):
        node = theirs("lif", 0.0)
        spikes = node(x)
        (expected,) = torch.autograd.grad((spikes, node.v)[output].sum(), x)
        (found,) = torch.autograd.grad(ours("lif", x, v0, node, 0.0)[output].sum(), x)
        torch.testing.assert_close(found, expected, rtol=1e-10, atol=1e-12)


def test_a_surrogate_without_gradient_is_named():
    x = current(2, torch.float32).requires_grad_()
    spikes, _ = ops.if_(x, torch.zeros(3, 17), 1.0, 0.0, "none", 1.0, False)
    with pytest.raises(InputError, match="no gradient in a captured program"):
        spikes.sum().backward()


@pytest.mark.parametrize("v_reset", [0.0, None])
@pytest.mark.parametrize("steps", STEPS)
def test_opcheck(steps, v_reset):
    x = current(steps, torch.float32).requires_grad_()
    v0 = torch.zeros(3, 17, requires_grad=True)
    decay = torch.tensor(0.4, requires_grad=True)
    tail = ("sigmoid", 4.0, False)
    # The traced gradient is the same code for any number of steps; it takes nine tenths of the time, step by step.
    every = {} if steps == 2 else {"test_utils": ("test_schema", "test_faketensor")}
    torch.library.opcheck(torch.ops.neurokit.if_.default, (x, v0, 1.0, v_reset, *tail), **every)
    torch.library.opcheck(torch.ops.neurokit.lif.default, (x, v0, TAU, 1.0, v_reset, True, *tail), **every)
    torch.library.opcheck(torch.ops.neurokit.plif.default, (x, v0, decay, 1.0, v_reset, False, *tail), **every)


@pytest.mark.parametrize("v_reset", [0.0, None])
def test_a_membrane_equal_to_the_threshold_fires(v_reset):
    at = torch.tensor([[1.0, torch.nextafter(torch.tensor(1.0), torch.tensor(0.0)).item(), -1.0]])
    v0 = torch.zeros(3)
    for spikes, _ in (
        ops.if_(at, v0, 1.0, v_reset, "sigmoid", 4.0, False),
        ops.lif(2.0 * at, v0, 2.0, 1.0, v_reset, True, "sigmoid", 4.0, False),
        ops.plif(2.0 * at, v0, torch.tensor(0.5), 1.0, v_reset, True, "sigmoid", 4.0, False),
    ):
        assert spikes.tolist() == [[1.0, 0.0, 0.0]]


def test_no_steps_change_nothing():
    v0 = torch.randn(3, 17)
    spikes, v = ops.if_(torch.empty(0, 3, 17), v0, 1.0, 0.0, "sigmoid", 4.0, False)
    assert spikes.shape == (0, 3, 17)
    assert torch.equal(v, v0)
    assert v.data_ptr() != v0.data_ptr()


@pytest.mark.parametrize("shape", [(17,), (2, 17), (4, 3, 17), ()])
def test_a_state_of_another_shape_is_refused(shape):
    with pytest.raises(InputError, match=r"neuron state has shape .* its input \(4, 3, 17\)"):
        ops.lif(current(4, torch.float32), torch.zeros(shape), 2.0, 1.0, 0.0, True, "sigmoid", 4.0, False)


def test_a_state_of_higher_precision_keeps_it():
    """The membrane is computed in the state's type, spikes come out in the input's."""
    x = current(4, torch.float32)
    spikes, v = ops.lif(x.half(), torch.zeros(3, 17), TAU, 0.8, 0.0, True, "sigmoid", 4.0, False)
    expected, v_expected = ops.lif(x.half().float(), torch.zeros(3, 17), TAU, 0.8, 0.0, True, "sigmoid", 4.0, False)
    assert spikes.dtype == torch.float16
    assert v.dtype == torch.float32
    assert torch.equal(spikes.float(), expected)
    assert torch.equal(v, v_expected)
