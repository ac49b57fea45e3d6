"""The exact form: its bounds against brute force, its spikes on every runtime, and its accuracy."""

import copy
import dataclasses
import itertools
import json
import math
from fractions import Fraction

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from spikingjelly.activation_based import functional, layer, neuron
from torch import nn

import neurokit as nk
from neurokit import cli
from neurokit.exact.dyadic import ANY, dyadic_decay, lowest_bit, snap, top_exponent
from neurokit.exact.membranes import membrane
from neurokit.exact.search import round_jointly
from neurokit.target import TARGETS

from .nets import BLOCKS, NEURONS, STEPS, fired, make_net, run, same, shuffled

# --- dyadic numbers


@given(st.floats(-1e6, 1e6, width=32))
def test_lowest_bit_is_the_denominator_or_the_trailing_zeros(number):
    found = float(lowest_bit(torch.tensor([number]))[0])
    if number == 0:
        assert found == ANY
        return
    exact = Fraction(number)
    expected = -(exact.denominator.bit_length() - 1)
    if exact.denominator == 1:
        expected = (abs(exact.numerator) & -abs(exact.numerator)).bit_length() - 1
    assert found == expected


@given(st.floats(1e-6, 1e6), st.sampled_from([7, 31, 127, 1023]))
def test_top_exponent_is_the_smallest_that_holds(size, levels):
    e = int(top_exponent(torch.tensor([size], dtype=torch.float64), levels)[0])
    assert Fraction(size) <= levels * Fraction(2) ** e
    assert Fraction(size) > levels * Fraction(2) ** (e - 1) * Fraction(999999999, 1000000000)


def test_constants():
    assert snap(0.3, 4) == 5 / 16
    assert snap(Fraction(196)) == 196.0
    assert dyadic_decay(0.5) == 0.5
    assert dyadic_decay(2 / 3) == 21 / 32 or abs(dyadic_decay(2 / 3) - 2 / 3) <= 0.02 * 2 / 3


# --- membranes: the bound against all input sequences, in rational arithmetic


def charge(op, v, x, tau, reset, decay_input):
    rest = reset if reset is not None else Fraction(0)
    if op == "if_":
        return [v + x]
    w = v - rest
    if decay_input:
        d = x - w
        return [w, d, v + d / tau]
    return [w, v - w / tau, v - w / tau + x]


@settings(max_examples=40, deadline=None)
@given(
    st.sampled_from(["if_", "lif"]),
    st.sampled_from([None, 0.0, -0.25]),
    st.booleans(),
    st.sampled_from([2.0, 4.0]),
    st.integers(1, 8),
    st.integers(0, 8),
)
def test_membrane_bounds_hold_for_every_sequence(op, reset, decay_input, tau, pos, neg):
    unit = Fraction(1, 4)
    start = 0.0 if reset is None else reset
    settings_ = {"v_threshold": 1.0, "v_reset": reset, "decay_input": decay_input, "tau": tau}
    high, low = float(pos * unit), float(neg * unit)
    found = membrane(
        op,
        torch.full((STEPS, 1), high),
        torch.full((STEPS, 1), low),
        torch.full((STEPS, 1), -2.0, dtype=torch.float64),
        settings_,
        torch.full((1,), start),
        STEPS,
    )
    rest = None if reset is None else Fraction(reset)
    worst = Fraction(0)
    for xs in itertools.product((-neg, 0, pos), repeat=STEPS):
        v = Fraction(start)
        denominators = Fraction(1)
        for x in xs:
            parts = charge(op, v, x * unit, Fraction(tau), rest, decay_input)
            for part in parts:  # every intermediate result in units of its own finest digit
                worst = max(worst, abs(Fraction(part.numerator)))
            h = parts[-1]
            v = h if h < 1 else (h - 1 if rest is None else rest)
            denominators = max(denominators, Fraction(v.denominator))
    assert math.log2(max(worst, Fraction(1))) <= found.bits + 1e-9
    assert found.steps is None or found.steps >= STEPS


@settings(max_examples=6, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    st.lists(st.sampled_from(BLOCKS), min_size=1, max_size=3).filter(lambda b: b.count("average pool 3") < 3),
    st.sampled_from(sorted(NEURONS)),
    st.sampled_from([8, 8, 6, 4]),
    st.integers(0, 10**6),
)
def test_random_networks_are_the_same_in_any_order_and_precision(kinds, kind, bits, seed):
    net = make_net(kinds, NEURONS[kind], seed)
    x = torch.rand(STEPS, 2, 2, 12, 12, generator=torch.Generator().manual_seed(seed))
    made = nk.exact(nk.capture(net, x), x, bits=bits)
    assert made.proof.status != "inexact", made.proof.failures()
    reference = run(made.captured, x)
    assert same(reference, shuffled(made.captured, x, seed))
    with torch.backends.mkldnn.flags(enabled=False):
        assert same(reference, run(made.captured, x))
    if made.proof.status == "exact":
        assert same(reference, run(made.captured, x, torch.float64))


# In every run one form of each that has an operator of its own: `make test-slow` does the others.
QUICK = {"if": "onnx-step", "lif": "onnx", "lif rest": "onnx-scan", "plif": "onnx"}


@pytest.mark.parametrize(
    ("kind", "form"),
    [
        pytest.param(kind, form, marks=() if QUICK.get(kind) == form else pytest.mark.slow)
        for kind in sorted(NEURONS)
        for form in ("onnx", "onnx-scan", "onnx-step")
    ],
)
def test_every_neuron_on_onnx_runtime_in_three_forms(kind, form, tmp_path):
    net = make_net(["separable", "residual", "max pool"], NEURONS[kind])
    x = torch.rand(STEPS, 2, 2, 12, 12)
    made = nk.exact(nk.capture(net, x), x)
    reference = run(made.captured, x)
    assert 0.005 < fired(reference) < 0.9
    artifact = nk.lower(made, form, tmp_path / form, inputs=x, verified=False)
    for level, threads in itertools.product((0, 3), (1, 2)) if form == "onnx" else ((3, 1),):
        probe = TARGETS.get(form).probe(artifact, level=level, threads=threads)
        outputs, spikes = probe.free({artifact.manifest.inputs[0].name: x.numpy()})
        assert same(reference, (torch.as_tensor(outputs[0]), [torch.as_tensor(s).to(torch.uint8) for s in spikes]))
    report = nk.verify(artifact)
    assert report.verdict == "exact"
    assert all(entry.max_current_error == 0.0 for entry in report.layers)


def test_batches_do_not_matter():
    net = make_net(["residual"], NEURONS["lif"])
    x = torch.rand(STEPS, 5, 2, 12, 12)
    made = nk.exact(nk.capture(net, x), x)
    together = run(made.captured, x)
    for i in range(5):
        alone = run(made.captured, x[:, i : i + 1])
        assert torch.equal(alone[0], together[0][i : i + 1])
        assert all(torch.equal(a, t[:, i : i + 1]) for a, t in zip(alone[1], together[1], strict=True))


# --- accuracy


def test_the_search_keeps_sums_better_than_rounding():
    generator = torch.Generator().manual_seed(0)
    weight = torch.randn(16, 64, generator=generator)
    mixing = torch.rand(64, 64, generator=generator) ** 6
    x = (torch.rand(2000, 64, generator=generator).double() @ mixing.double() > mixing.double().sum(0) / 2).double()
    exponent = top_exponent(weight.abs().amax(1), 7)
    scale = torch.exp2(exponent)[:, None]
    nearest = torch.round(weight / scale).clamp(-7, 7)
    searched = round_jointly(weight, exponent, 4, x.T @ x / len(x))
    error = lambda q: float(((weight.double() - q.double() * scale) @ x.T).square().mean())  # noqa: E731
    assert error(searched) < 0.7 * error(nearest)


def test_digits_keep_their_accuracy(trained):
    from neurokit.data.digits import as_sequence, load_digits

    module, accuracy = trained
    digits = load_digits()
    spec = dataclasses.replace(nk.load("spiking_cnn"), build=lambda: copy.deepcopy(module))
    made = nk.exact(spec, as_sequence(digits.train_images[:128]))
    outputs = run(made.captured, as_sequence(digits.test_images))[0]
    assert made.proof.status == "exact"
    assert float((outputs.argmax(1) == digits.test_labels).float().mean()) >= accuracy - 0.005


def test_the_command_line(tmp_path, capsys):
    out = tmp_path / "a"
    np.save(tmp_path / "x.npy", np.random.default_rng(0).random((4, 3, 1, 8, 8), dtype=np.float32))
    arguments = [
        "export",
        "spiking_cnn",
        "--out",
        str(out),
        "--numerics",
        "exact",
        "--bits",
        "6",
        "--calibration",
        str(tmp_path / "x.npy"),
        "--json",
    ]
    assert cli.main(arguments) == 0
    assert json.loads(capsys.readouterr().out)["parity"]["verdict"] == "exact"
    manifest = nk.Artifact.load(out).manifest
    assert manifest.numerics == "exact"
    assert manifest.target_info["proof"]["bits"] == 6
    assert cli.main(["export", "spiking_cnn", "--out", str(tmp_path / "b"), "--bits", "6"]) == 2


class DeepCounts(nn.Module):
    """Spikes added many times, summed over places and averaged over time before the last map."""

    def __init__(self):
        super().__init__()
        self.stem = nn.Sequential(layer.Conv2d(2, 6, 3, padding=1, bias=False), layer.BatchNorm2d(6), neuron.IFNode())
        self.fc = layer.Linear(6, 5)
        functional.set_step_mode(self, "m")

    def forward(self, x):
        y = self.stem(x)
        for _ in range(9):
            y = y + y
        return self.fc(y.mean((-2, -1)).mean(0))


def test_what_is_rounded_before_a_mean_over_time_is_rounded_at_every_step(tmp_path):
    torch.manual_seed(0)
    net = DeepCounts().eval()
    nn.init.constant_(net.stem[1].running_var, 0.02)
    x = torch.rand(STEPS, 2, 2, 12, 12)
    made = nk.exact(nk.capture(net, x), x)
    assert made.plan.operands, "nothing is rounded, so nothing is tested"
    reference = run(made.captured, x)
    assert 0.05 < fired(reference) < 0.9
    artifact = nk.lower(made, "onnx-step", tmp_path / "a", inputs=x)
    assert artifact.manifest.parity["verdict"] == "exact"
    y = TARGETS.get("onnx-step").probe(artifact).free({artifact.manifest.inputs[0].name: x.numpy()})[0][0]
    assert torch.equal(torch.as_tensor(y), reference[0])
