"""The proof of the exact form against brute force, and networks that have none."""

import dataclasses
import itertools
import json
import math

import numpy as np
import pytest
import torch
from spikingjelly.activation_based import layer, neuron
from torch import nn

import neurokit as nk
from neurokit.errors import InputError, UnsupportedError
from neurokit.exact import prove

from .nets import NEURONS, STEPS, make_net, run, same, shuffled

# --- the proof


def test_the_bound_of_a_sum_is_that_of_brute_force():
    """All subsets of the terms of one neuron's current, as integers."""
    torch.manual_seed(1)
    net = nn.Sequential(neuron.IFNode(step_mode="m"), layer.Linear(10, 1, step_mode="m"), neuron.IFNode(step_mode="m"))
    x = torch.rand(1, 3, 10)
    made = nk.exact(nk.capture(net, x, time_steps=1), x)
    numbers = made.plan.linears[0]
    unit = min(int(numbers.exponent[0]), int(numbers.bias_exponent[0]))
    terms = [int(q) << (int(numbers.exponent[0]) - unit) for q in numbers.integers[0]]
    terms.append(int(numbers.bias[0]) << (int(numbers.bias_exponent[0]) - unit))
    worst = max(abs(sum(s)) for r in range(len(terms) + 1) for s in itertools.combinations(terms, r))
    proven = next(entry for entry in made.proof.layers if entry.kind == "sum")
    finest = min((t & -t).bit_length() - 1 for t in terms if t)
    assert proven.bits == pytest.approx(math.log2(worst) - finest, abs=1e-5)


@pytest.fixture(scope="module")
def small():
    torch.manual_seed(0)
    net = make_net(["conv"], NEURONS["lif"])
    x = torch.rand(STEPS, 2, 2, 12, 12)
    return nk.exact(nk.capture(net, x), x), x


def test_a_weight_off_the_grid_breaks_the_proof(small):
    made, _ = small
    assert made.proof.status == "exact"

    def nudge(name, value):
        value = value.clone()
        if name.endswith("blocks.0.conv.weight"):
            value.data.view(-1)[value.abs().argmax()] *= 1.0 + 2.0**-20
        return value

    clean = prove(made.captured.program, made.captured.calls, made.captured.initial_states(1), STEPS)[0]
    assert clean.status == "exact"
    module = made.captured.program
    key = next(k for k in module.state_dict if k.endswith("blocks.0.conv.weight"))
    kept = module.state_dict[key]
    try:
        module.state_dict[key] = nn.Parameter(nudge(key, kept), requires_grad=False)
        found = prove(module, made.captured.calls, made.captured.initial_states(1), STEPS)[0]
    finally:
        module.state_dict[key] = kept
    assert found.status == "inexact"
    assert "blocks.0.conv" in {entry.name for entry in found.failures()}


def test_the_verifier_catches_a_threshold_nudged_by_one_unit_and_a_weight(small, tamper_tensor, tmp_path):
    made, x = small
    artifact = nk.lower(made, "onnx", tmp_path / "a", inputs=x)
    assert artifact.manifest.parity["verdict"] == "exact"
    nudged = tamper_tensor(
        artifact, lambda name: "v_threshold" in name, lambda v: np.nextafter(v, np.float32(2), dtype=np.float32)
    )
    assert nk.verify(nudged).verdict == "failed"
    artifact = nk.lower(made, "onnx", tmp_path / "a", inputs=x, force=True)

    def one_unit(weight):
        weight[:] += np.float32(2.0 ** int(made.plan.linears[0].exponent.min()))
        return weight

    assert nk.verify(tamper_tensor(artifact, lambda name: "stem.0.weight" in name, one_unit)).verdict == "failed"


def test_the_manifest_holds_the_proof(small, tmp_path):
    made, x = small
    proof = nk.lower(made, "onnx", tmp_path / "a", inputs=x).manifest.target_info["proof"]
    assert proof["status"] == "exact"
    assert proof["bits"] == 8
    assert {"stem.0", "blocks.0.conv", "fc"} <= {entry["name"] for entry in proof["layers"]}
    assert all(float(entry["bits"]) < 24 for entry in proof["layers"])
    json.dumps(proof, allow_nan=False)


# --- where it cannot be had


class Softmax(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.one = layer.Linear(6, 6, step_mode="m"), neuron.LIFNode(step_mode="m")
        self.b, self.two = layer.Linear(6, 4, step_mode="m"), neuron.LIFNode(step_mode="m")

    def forward(self, x):
        return self.two(self.b(torch.softmax(self.one(self.a(x)), -1)))


def test_softmax_is_named_and_refused(tmp_path):
    x = torch.rand(STEPS, 2, 6)
    captured = nk.capture(Softmax(), x)
    made = nk.exact(captured, x)
    assert made.proof.status == "inexact"
    names = {entry.name: entry.status for entry in made.proof.layers}
    assert names["one"] == "exact"
    assert names["two"] == "inexact"
    with pytest.raises(UnsupportedError, match="softmax"):
        nk.lower(captured, "onnx", tmp_path / "a", numerics="exact", calibration=x)
    assert not (tmp_path / "a").exists()


def test_many_steps_are_reported_as_elementwise():
    net = make_net(["conv"], NEURONS["lif"])
    x = torch.rand(24, 1, 2, 12, 12)
    made = nk.exact(nk.capture(net, x), x)
    assert made.proof.status in ("elementwise", "exact")
    assert made.proof.steps is not None
    neurons = [entry for entry in made.proof.layers if entry.kind == "neuron"]
    assert any(entry.status == "elementwise" and entry.steps < 24 for entry in neurons)
    assert same(run(made.captured, x), shuffled(made.captured, x, 0))


def test_what_breaks_float32_but_not_int32_is_said():
    net = make_net(["conv"], NEURONS["lif"])
    made = nk.exact(nk.capture(net, torch.rand(9, 1, 2, 12, 12)), torch.rand(9, 1, 2, 12, 12))
    wide = [entry for entry in made.proof.layers if entry.status == "elementwise"]
    assert wide, "nothing is too wide, so nothing is tested"
    for entry in wide:
        assert entry.int32 is (max(entry.bits, entry.membrane_bits or -1.0) < 31)
        if entry.kind == "neuron":
            assert ("32-bit integers" in entry.why) is entry.int32
    assert any(entry.int32 for entry in wide)
    assert made.proof.to_json()["exact_in_int32"] is all(entry.int32 for entry in made.proof.layers)
    # The same in integers of Python: 31 bits hold a number below 2**31 and no other.
    at_limit = dataclasses.replace(wide[0], membrane_bits=math.log2(2**31 - 1) - 1e-9)
    assert at_limit.int32
    assert not dataclasses.replace(wide[0], membrane_bits=31.0).int32


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"bits": 9}, "2 to 8"),
        ({"bits": 1}, "2 to 8"),
        ({"calibration": torch.rand(3, 1)}, "calibration"),
        ({"calibration": torch.full((STEPS, 1, 2, 12, 12), math.nan)}, "finite"),
    ],
)
def test_bad_arguments(change, message):
    captured = nk.capture(make_net(["conv"], NEURONS["if"]), torch.rand(STEPS, 1, 2, 12, 12))
    with pytest.raises(InputError, match=message):
        nk.exact(captured, **{"calibration": None, **change})


def test_integer_layers_are_the_weights_of_the_program(small):
    from neurokit.exact.integers import integer_layers

    made, _ = small
    held = {k.removeprefix("net."): v for k, v in made.captured.program.state_dict.items()}
    layers = integer_layers(made)
    assert [entry.name for entry in layers] == ["stem.0", "blocks.0.conv", "fc"]
    for entry in layers:
        assert entry.weight.dtype == np.int8
        scale = np.exp2(entry.exponent.astype(np.float64)).reshape([-1] + [1] * (entry.weight.ndim - 1))
        assert np.array_equal(entry.weight * scale, held[f"{entry.name}.weight"].double().numpy())
        bias = entry.bias * np.exp2(entry.bias_exponent.astype(np.float64))
        assert np.array_equal(bias, held[f"{entry.name}.bias"].double().numpy())
