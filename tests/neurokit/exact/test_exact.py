"""The exact form: its bounds against brute force, its spikes on every runtime, and planted faults."""

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
from neurokit.capture.reference import record
from neurokit.errors import InputError, UnsupportedError
from neurokit.exact import prove
from neurokit.exact.dyadic import ANY, dyadic_decay, lowest_bit, snap, top_exponent
from neurokit.exact.membranes import membrane
from neurokit.exact.search import round_jointly
from neurokit.target import TARGETS

STEPS = 4


def run(captured, x, dtype=torch.float32):
    """Outputs and spikes of a captured program, in any precision."""
    module = captured.program.module().to(dtype)
    for node in module.graph.nodes:
        if node.op == "call_module":
            module.graph.erase_node(node)
    module.recompile()
    outputs, records = record(module, (x.to(dtype), *(s.to(dtype) for s in captured.initial_states(x.shape[1]))))
    return outputs[0].float(), [r.spikes.to(torch.uint8) for r in records]


def fired(run_):
    return sum(int(s.sum()) for s in run_[1]) / max(1, sum(s.numel() for s in run_[1]))


def same(a, b):
    return torch.equal(a[0], b[0]) and all(torch.equal(p, q.reshape(p.shape)) for p, q in zip(a[1], b[1], strict=True))


def shuffled(captured, x, seed):
    """The same network with the input channels of its convolutions in another order: sums in another order."""
    generator = torch.Generator().manual_seed(seed)
    program = captured.program.module()
    for node in program.graph.nodes:
        if node.op == "call_module":
            program.graph.erase_node(node)
    program.recompile()

    class Shuffle(torch.fx.Interpreter):
        def __init__(self):
            super().__init__(program)
            self.spikes = []

        def call_function(self, target, args, kwargs):
            if target is torch.ops.aten.conv2d.default and (len(args) < 7 or args[6] == 1):
                order = torch.randperm(args[0].shape[1], generator=generator)
                flip = torch.flip(args[0][:, order], (-1,)), torch.flip(args[1][:, order], (-1,))
                if len(args) < 4 or args[3] in ([1], [1, 1]):
                    return torch.flip(target(*flip, *args[2:], **kwargs), (-1,))
                return target(args[0][:, order], args[1][:, order], *args[2:], **kwargs)
            result = super().call_function(target, args, kwargs)
            if str(target).startswith("neurokit."):
                self.spikes.append(result[0].to(torch.uint8))
            return result

    with torch.no_grad():
        interpreter = Shuffle()
        outputs = interpreter.run(x, *captured.initial_states(x.shape[1]))
    return outputs[0], interpreter.spikes


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


# --- random networks of every layer and neuron

NEURONS = {
    "if": lambda: neuron.IFNode(),
    "if soft": lambda: neuron.IFNode(v_reset=None),
    "lif": lambda: neuron.LIFNode(tau=2.0),
    "lif soft": lambda: neuron.LIFNode(tau=2.0, v_reset=None),
    "lif undecayed": lambda: neuron.LIFNode(tau=4.0, decay_input=False, v_threshold=0.7),
    "lif rest": lambda: neuron.LIFNode(tau=2.0, v_reset=-0.3),
    "lif odd tau": lambda: neuron.LIFNode(tau=3.0),
    "plif": lambda: neuron.ParametricLIFNode(init_tau=2.5),
}
BLOCKS = (
    "conv",
    "strided",
    "depthwise",
    "separable",
    "residual",
    "spikes added",
    "max pool",
    "average pool 2",
    "average pool 3",
    "norm alone",
    "scaled",
    "product",
)


class Block(nn.Module):
    def __init__(self, kind, fire, channels):
        super().__init__()
        self.kind, c = kind, channels
        conv = lambda **k: layer.Conv2d(c, c, 3, padding=1, **k)  # noqa: E731
        self.conv = conv(stride=2) if kind == "strided" else conv(groups=c) if kind == "depthwise" else conv(bias=False)
        self.bn = layer.BatchNorm2d(c)
        if kind == "separable":
            self.conv = nn.Sequential(conv(groups=c, bias=False), layer.Conv2d(c, c, 1, bias=False))
        if kind == "max pool":
            self.bn = nn.Sequential(self.bn, layer.MaxPool2d(2))
        if kind.startswith("average"):
            self.conv = nn.Sequential(layer.AvgPool2d(int(kind[-1])), self.conv)
        if kind == "norm alone":
            self.conv = nn.Identity()
        self.second = conv() if kind in ("residual", "product") else None
        self.fire, self.again = fire(), fire()

    def forward(self, x):
        y = self.bn(self.conv(x))
        if self.kind == "scaled":
            y = y * 0.3
        if self.kind == "residual":
            return self.again(y + self.second(self.fire(y)))
        if self.kind == "product":
            return self.fire(y) * self.again(self.second(x))
        return self.fire(y) + x if self.kind == "spikes added" else self.fire(y)


class Net(nn.Module):
    def __init__(self, kinds, fire, channels=6):
        super().__init__()
        self.stem = nn.Sequential(layer.Conv2d(2, channels, 3, padding=1), layer.BatchNorm2d(channels), fire())
        self.blocks = nn.Sequential(*(Block(kind, fire, channels) for kind in kinds))
        self.fc = layer.Linear(channels, 5)
        functional.set_step_mode(self, "m")

    def forward(self, x):
        return self.fc(self.blocks(self.stem(x)).mean((-2, -1))).mean(0)


def make_net(kinds, fire, seed=0):
    torch.manual_seed(seed)
    net = Net(kinds, fire).eval()
    for part in net.modules():
        if isinstance(part, nn.BatchNorm2d):
            nn.init.uniform_(part.weight, 0.8, 3.0)
            nn.init.uniform_(part.bias, -0.2, 0.8)
            nn.init.uniform_(part.running_var, 0.1, 0.5)
    return net


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


def test_digits_keep_their_accuracy():
    from neurokit.data.digits import as_sequence, load_digits
    from neurokit.models.spiking_cnn.train import train_digits

    module, accuracy = train_digits(seconds=60, epochs=6)
    digits = load_digits()
    spec = dataclasses.replace(nk.load("spiking_cnn"), build=lambda: module)
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
