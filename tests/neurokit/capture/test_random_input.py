"""Random draws as inputs: the user's own module, torch's draws replaced by the very numbers, is the oracle."""

from functools import cache

import numpy as np
import pytest
import torch
from spikingjelly.activation_based import encoding, functional, neuron
from torch import nn

import neurokit as nk
from neurokit import cli
from neurokit.errors import InputError, UnsupportedError
from neurokit.spec import ModelSpec, TensorSpec

F = nn.functional
T, B, WIDTH = 4, 3, 8


class PoissonImage(nn.Module):
    """The tutorials' encoder inside of forward: an image, a loop over T, the mean of the spikes."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.T, self.encoder = T, encoding.PoissonEncoder()
        self.fc, self.lif = nn.Linear(WIDTH, 5), neuron.LIFNode()
        with torch.no_grad():
            self.fc.weight.mul_(4)

    def forward(self, x):
        functional.reset_net(self)
        return sum(self.lif(self.fc(F.dropout(self.encoder(x), 0.3, training=True))) for _ in range(self.T)) / self.T


class NoisySequence(nn.Module):
    """Bernoulli spikes, noise on them and a dropout that is left on, over a whole sequence."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.fc, self.lif, self.out = nn.Linear(WIDTH, 5), neuron.LIFNode(step_mode="m"), nn.Linear(5, 3)
        with torch.no_grad():
            self.fc.weight.mul_(4)

    def forward(self, x):
        spikes = self.lif(self.fc(torch.bernoulli(x) + 0.1 * torch.randn_like(x)))
        return self.out(F.dropout(spikes, 0.2, True))


class Stochastic(neuron.SimpleBaseNode):
    """Fires with a probability that grows with its membrane."""

    def neuronal_charge(self, x):
        self.v = 0.5 * self.v + x

    def neuronal_fire(self):
        return (torch.rand_like(self.v) < torch.sigmoid(4 * (self.v - self.v_threshold))).to(self.v)


class StochasticStep(nn.Module):
    """A stochastic neuron before a common one, one step a call."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.fc, self.noisy, self.out, self.last = nn.Linear(WIDTH, 5), Stochastic(), nn.Linear(5, 3), neuron.IFNode()

    def forward(self, x):
        return self.last(self.out(self.noisy(3 * self.fc(x))))


CASES = {
    "image": (PoissonImage, "image", {"encoder_rand_like": "uniform", "dropout": "uniform"}),
    "sequence": (NoisySequence, "sequence", {"bernoulli": "uniform", "randn_like": "normal", "dropout": "uniform"}),
    "step": (StochasticStep, "step", {"noisy_rand_like": "uniform"}),
}


def spec_of(name):
    build, time_input, _ = CASES[name]
    shape = (TensorSpec("x", (WIDTH,), layout="F"),)
    return ModelSpec(name, lambda: build().eval(), shape, time_steps=T, time_input=time_input)


@cache
def captured_of(name):
    return nk.capture(spec_of(name), random="input")


@pytest.fixture
def sequence():
    return captured_of("sequence")


def feeds_of(captured):
    generator = np.random.default_rng(5)
    made = {}
    for port in captured.inputs:
        shape = [B if not isinstance(size, int) else size for size in port.shape]
        value = generator.standard_normal(shape) if port.distribution == "normal" else generator.random(shape)
        made[port.name] = value.astype("float32")
    return made


def by_the_module(name, feeds, monkeypatch):
    """Runs the module as it was written; what torch draws comes from the feeds, in the order of the calls."""
    image = name == "image"
    draws = {key: torch.from_numpy(value) for key, value in feeds.items() if key != "x"}
    turn = dict.fromkeys(draws, 0)

    def next_of(key, x):
        value = draws[key]
        if value.dim() > x.dim():
            value = value.select(1 if image else 0, turn[key])
            turn[key] += 1
        return value

    monkeypatch.setattr(torch, "rand_like", lambda x: next_of(next(k for k in draws if k.endswith("rand_like")), x))
    monkeypatch.setattr(torch, "randn_like", lambda x: next_of("randn_like", x))
    monkeypatch.setattr(torch, "bernoulli", lambda x: (next_of("bernoulli", x) < x).float())
    monkeypatch.setattr(F, "dropout", lambda x, p, training=True: x * (next_of("dropout", x) < 1 - p) / (1 - p))
    module, x = CASES[name][0]().eval(), torch.from_numpy(feeds["x"])
    with torch.no_grad():
        y = torch.stack([module(step) for step in x]) if name == "step" else module(x)
    monkeypatch.undo()
    return y


@pytest.mark.parametrize("name", CASES)
def test_draws_are_named_and_typed_inputs_with_their_distribution(name):
    captured = captured_of(name)
    wanted = CASES[captured.spec.name][2]
    assert {port.name: port.distribution for port in captured.inputs[1:]} == wanted
    assert {port.dtype for port in captured.inputs} == {"float32"}
    assert all("a draw, " in port.meaning for port in captured.inputs[1:])
    assert [step.name for step in captured.spec.transforms] == ["random_input"]
    assert captured.fidelity.comparisons


_slow = pytest.mark.slow
FORMS = [("image", "onnx"), ("image", "onnx-step"), ("sequence", "onnx-step")]
MORE = [("sequence", "onnx"), ("sequence", "onnx-scan"), ("step", "onnx"), ("step", "onnx-scan"), ("step", "onnx-step")]


@pytest.mark.parametrize(("name", "target"), [*FORMS, *(pytest.param(*form, marks=_slow) for form in MORE)])
def test_every_form_gives_the_modules_answers_for_the_same_draws(name, target, tmp_path, monkeypatch):
    captured = captured_of(name)
    artifact = nk.lower(captured, target, tmp_path / "a")
    assert artifact.manifest.parity["verdict"] in ("exact", "benign rounding")
    assert {p.name: p.distribution for p in artifact.manifest.inputs[1:]} == CASES[name][2]
    feeds = feeds_of(captured)
    want = by_the_module(name, feeds, monkeypatch)
    assert want.abs().sum() > 0
    with nk.open(artifact) as runner:
        (found,) = runner(feeds).values()
        np.testing.assert_allclose(found, want.numpy(), atol=2e-6)
        drawn = runner(feeds["x"])  # the draws come from the runner's stream
        assert drawn.shape == found.shape
    with nk.open(artifact) as again, nk.open(artifact, seed=1) as other:
        assert np.array_equal(again({"x": feeds["x"]})[artifact.manifest.outputs[0].name], drawn)
        assert any(not np.array_equal(other(feeds["x"]), drawn) for _ in range(5))
    assert nk.verify(artifact, record=False).passed


def test_draws_that_are_mixed_up_move_the_answer(sequence, tmp_path):
    """So that the comparisons above have something to see."""
    artifact = nk.lower(sequence, "onnx", tmp_path / "a", verified=False)
    captured = sequence
    feeds = feeds_of(captured)
    with nk.open(artifact) as runner:
        (right,) = runner(feeds).values()
        (wrong,) = runner({**feeds, "bernoulli": feeds["bernoulli"][::-1].copy()}).values()
    assert not np.allclose(right, wrong, atol=1e-3)


def test_energy_counts_the_spikes_of_the_draws_that_are_given(sequence, monkeypatch):
    captured = sequence
    feeds = {name: value[:, :1].copy() for name, value in feeds_of(captured).items()}
    spikes = []
    module = NoisySequence().eval()
    monkeypatch.setattr(torch, "randn_like", lambda x: torch.from_numpy(feeds["randn_like"]))
    monkeypatch.setattr(torch, "bernoulli", lambda x: (torch.from_numpy(feeds["bernoulli"]) < x).float())
    module.lif.register_forward_hook(lambda m, i, y: spikes.append(float(y.sum())))
    with torch.no_grad():
        module(torch.from_numpy(feeds["x"]))
    monkeypatch.undo()
    report = nk.simulate(captured, {name: torch.from_numpy(value) for name, value in feeds.items()}, ["loihi1"])
    (fired,) = [layer.spikes for layer in report.layers if layer.name == "lif"]
    assert sum(fired) == spikes[0] > 0
    assert nk.simulate(captured, torch.from_numpy(feeds["x"]), ["loihi1"]).chips  # a seeded stream stands in


def test_calibration_data_are_given_the_draws_that_they_lack(sequence):
    from neurokit.exact.calibration import calibration_of
    from neurokit.export.targets.onnx_int8 import calibration_of as of_int8

    many = 6
    x = torch.rand(T, many, WIDTH)
    given, *draws = calibration_of(sequence, x)
    again = calibration_of(sequence, {"x": x})
    assert torch.equal(given, x)
    assert [draw.shape[:2] for draw in draws] == [(T, many)] * len(draws)
    assert all(torch.equal(a, b) for a, b in zip(draws, again[1:], strict=True))
    assert all(draw.std() > 0.1 for draw in draws)
    own = torch.zeros_like(draws[0])
    assert torch.equal(calibration_of(sequence, {"x": x, sequence.inputs[1].name: own})[1], own)
    feeds, _ = of_int8(captured_of("image"), torch.rand(many, WIDTH))
    assert {name: value.shape[:1] for name, value in feeds.items()} == dict.fromkeys(feeds, (many,))


class MaskOfAnImage(PoissonImage):
    """One dropout mask for all steps of an image."""

    def forward(self, x):
        functional.reset_net(self)
        kept = F.dropout(torch.ones_like(x), 0.3, training=True)
        return sum(self.lif(self.fc(kept * x)) for _ in range(self.T)) / self.T


def test_a_draw_that_serves_all_steps_of_an_image_has_no_step_form(tmp_path):
    shape = (TensorSpec("x", (WIDTH,), layout="F"),)
    spec = ModelSpec("mask", lambda: MaskOfAnImage().eval(), shape, time_steps=T, time_input="image")
    captured = nk.capture(spec, random="input")
    with pytest.raises(UnsupportedError, match="draws dropout once for all steps of an image"):
        nk.lower(captured, "onnx-step", tmp_path / "a")


class Shared(nn.Module):
    def forward(self, x):
        return x + torch.randn(WIDTH)


class Poisson(nn.Module):
    def forward(self, x):
        return x + torch.poisson(x)


class Numpy(nn.Module):
    def forward(self, x):
        return torch.bernoulli(x) + float(np.random.rand())  # noqa: NPY002


@pytest.mark.parametrize(
    ("kind", "why"),
    [
        (Shared, r"it draws \[8\], which all samples would share"),
        (Poisson, "it draws by poisson"),
        (Numpy, "what numpy or Python draws is no input"),
        (nn.Identity, "draws no random numbers"),
    ],
)
def test_draws_that_can_be_no_inputs_are_refused_by_name(kind, why):
    with pytest.raises(UnsupportedError, match=why):
        nk.capture(kind(), torch.rand(2, WIDTH), random="input")


def test_the_refusal_names_the_option_and_the_option_its_values():
    with pytest.raises(UnsupportedError, match=r"encoder: PoissonEncoder: it draws random numbers.*--random input"):
        nk.capture(spec_of("image"))
    with pytest.raises(InputError, match="random is 'seed'; expected: one of refuse, input"):
        nk.capture(spec_of("image"), random="seed")


def test_the_distributions_are_torchs():
    """Every rule against torch's own draws: the same mean and spread over many."""
    from neurokit.capture.draws import Draws

    many = torch.full((20_000,), 0.3)
    rules = {
        "rand": lambda: torch.rand(20_000),
        "randn": lambda: torch.randn((20_000,)),
        "randint": lambda: torch.randint(2, 7, (20_000,)).float(),
        "bernoulli": lambda: torch.bernoulli(many),
        "bernoulli_": lambda: torch.empty(20_000).bernoulli_(0.2),
        "uniform_": lambda: torch.empty(20_000).uniform_(-1, 3),
        "normal_": lambda: torch.empty(20_000).normal_(2.0, 0.5),
        "normal": lambda: torch.normal(many, 0.1),
        "exponential_": lambda: torch.empty(20_000).exponential_(4.0),
        "dropout": lambda: F.dropout(many, 0.4),
        "dropout2d": lambda: F.dropout2d(many.reshape(2000, 10, 1, 1), 0.4).flatten(),
        "alpha_dropout": lambda: F.alpha_dropout(many, 0.4, training=True),
    }

    def supply(call, path, normal, shape, dtype):
        return (torch.randn if normal else torch.rand)(shape)

    for name, rule in rules.items():
        torch.manual_seed(0)
        want = rule()
        with Draws(nn.Identity(), supply):
            found = rule()
        assert Draws.taken
        spread = float(want.std())
        assert abs(float(found.mean() - want.mean())) < 0.05 * spread, name
        assert abs(float(found.std()) - spread) < 0.05 * spread, name
        assert found.dtype == want.dtype, name


def test_the_command_line(tmp_path, monkeypatch, capsys):
    (tmp_path / "net.py").write_text(
        "import torch\nfrom torch import nn\nfrom spikingjelly.activation_based import neuron\n"
        "class Net(nn.Module):\n"
        "    def __init__(self):\n        super().__init__()\n        self.fc = nn.Linear(4, 3)\n"
        "        self.lif = neuron.LIFNode(step_mode='m')\n"
        "    def forward(self, x):\n        return self.lif(12 * self.fc((torch.rand_like(x) <= x).to(x)))\n"
        "def net():\n    torch.manual_seed(1)\n    return Net().eval()\n"
    )
    np.save(tmp_path / "x.npy", np.linspace(0, 1, 4).astype("float32"))
    monkeypatch.chdir(tmp_path)
    made = ["net.py:net", "--input-shape", "4", "--time-steps", "3", "--random", "input"]
    assert cli.main(["export", *made, "--out", "a"]) == 0
    assert cli.main(["verify", "a"]) == 0
    answers = []
    for seed in (0, 0, 1, 2, 3):
        capsys.readouterr()
        assert cli.main(["run", "a", "x.npy", "--seed", str(seed)]) == 0
        answers.append(capsys.readouterr().out)
    assert answers[0] == answers[1]
    assert len(set(answers)) > 1
    u = np.random.default_rng(0).random((3, 4)).astype("float32")
    np.savez(tmp_path / "both.npz", input=np.load(tmp_path / "x.npy"), rand_like=u)  # a file may hold its draws by name
    said = []
    for seed in (0, 1):
        capsys.readouterr()
        assert cli.main(["run", "a", "both.npz", "--seed", str(seed)]) == 0
        said.append(capsys.readouterr().out)
    assert said[0] == said[1]
    np.savez(tmp_path / "short.npz", input=np.load(tmp_path / "x.npy"), rand_like=u[:, :2])
    assert cli.main(["run", "a", "short.npz"]) == 2
    assert "has shape [3, 2]" in capsys.readouterr().err
    assert cli.main(["energy", *made, "--chip", "loihi1"]) == 0
