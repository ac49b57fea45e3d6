"""Zoo names, a user's own files, and everything that can be wrong with either."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch
from spikingjelly.activation_based import functional, neuron
from torch import nn

import neurokit as nk
from neurokit.errors import InputError, ModelLoadError, NeurokitError, UnknownNameError, WeightsError
from neurokit.loading import load
from neurokit.spec import ModelSpec, TensorSpec

HEADER = """
import torch
from torch import nn
from spikingjelly.activation_based import functional, layer, neuron
from neurokit.spec import ModelSpec, TensorSpec
"""


@pytest.fixture
def write(tmp_path: Path):
    def write(body: str, name: str = "mine.py") -> str:
        (tmp_path / name).write_text(HEADER + body)
        return str(tmp_path / name)

    return write


PLAIN = "def net():\n    return nn.Sequential(nn.Flatten(), nn.Linear(12, 3))\n"


def test_zoo_name_and_spec_pass_through() -> None:
    spec = load("spiking_cnn")
    assert (spec.name, spec.time_steps, spec.inputs[0].shape) == ("spiking_cnn", 4, (1, 8, 8))
    assert load(spec) is spec


def test_unknown_zoo_name_gives_the_nearest() -> None:
    with pytest.raises(UnknownNameError, match="did you mean mobilenet_v2") as caught:
        load("mobilnet_v2")
    assert "path/file.py:factory" in str(caught.value)


def test_choices_override_the_spec() -> None:
    spec = load("sew_resnet18", input_shape=(3, 64, 64), time_steps=6)
    assert (spec.time_steps, spec.inputs[0].shape, spec.inputs[0].name) == (6, (3, 64, 64), "image")
    assert spec.example is None  # it would have the old shape
    assert load("sew_resnet18", input_shape=[3, 224, 224]).example is not None


@pytest.mark.parametrize("shape", [(), (3, 0), (3, -1), (3, 2.5), (True, 3)])
def test_refuses_an_impossible_input_shape(shape: tuple) -> None:
    with pytest.raises(InputError, match="input shape"):
        load("spiking_cnn", input_shape=shape)


@pytest.mark.parametrize("steps", [0, -3, 2.0, True])
def test_refuses_impossible_time_steps(steps: object) -> None:
    with pytest.raises(InputError, match="time_steps"):
        load("spiking_cnn", time_steps=steps)  # type: ignore[arg-type]


def test_refuses_another_number_of_axes_and_time_without_neurons() -> None:
    with pytest.raises(InputError, match="does not fit"):
        load("mobilenet_v2", input_shape=(224, 224))
    with pytest.raises(InputError, match="no spiking neurons"):
        load("mobilenet_v2", time_steps=4)


def test_weights_are_loaded_by_build(tmp_path: Path) -> None:
    state = {name: value + 1 for name, value in load("spiking_cnn").build().state_dict().items()}
    torch.save(state, tmp_path / "w.pt")
    spec = load("spiking_cnn", weights=tmp_path / "w.pt")
    assert spec.options["weights"] == "w.pt"
    assert all(torch.equal(value, state[name]) for name, value in spec.build().state_dict().items())
    with pytest.raises(WeightsError, match="does not exist"):
        load("spiking_cnn", weights=tmp_path / "absent.pt")


def test_factory_of_a_bare_module(write) -> None:
    spec = load(write(PLAIN) + ":net", input_shape=(3, 2, 2))
    assert (spec.name, spec.time_steps, spec.inputs) == ("net", None, (TensorSpec("input", (3, 2, 2)),))
    first, second = spec.build(), spec.build()
    assert not first.training
    assert torch.equal(first[1].weight, second[1].weight)  # one model, however often it is built
    assert first[1].weight is not second[1].weight


def test_the_users_module_is_left_as_it_was(write) -> None:
    body = "NET = nn.Sequential(layer.Linear(4, 3, step_mode='m'), neuron.LIFNode(step_mode='m')).train()\n"
    body += "NET(torch.ones(2, 1, 4)); CALLS = []\n"
    body += "NET[1].register_forward_hook(lambda *_: CALLS.append(1))\nNET[1].v = torch.full((1, 3), 0.25)\n"
    spec = load(write(body + "def net():\n    return NET\n") + ":net", input_shape=(4,))
    spec.build()
    user = next(module for name, module in sys.modules.items() if name.endswith(".mine") and hasattr(module, "NET"))
    assert user.NET.training
    assert user.CALLS == []
    assert torch.equal(user.NET[1].v, torch.full((1, 3), 0.25))


def test_factory_of_a_spec(write) -> None:
    body = PLAIN + "def spec():\n    return ModelSpec('mine', net, (TensorSpec('x', (3, 2, 2)),))\n"
    spec = load(write(body) + ":spec")
    assert spec.name == "mine"
    assert isinstance(spec.build(), nn.Module)


def test_a_class_is_a_factory_too(write) -> None:
    body = "class Net(nn.Module):\n    def forward(self, x):\n        return x\n"
    assert load(write(body) + ":Net", input_shape=(3,)).name == "Net"


def test_imports_from_its_own_folder(write, tmp_path: Path) -> None:
    write("WIDTH = 7\n", "sizes_for_test.py")
    write("DEPTH = 5\n", "late_for_test.py")
    body = "from .sizes_for_test import WIDTH\nimport sizes_for_test\n"
    body += "def net():\n    from late_for_test import DEPTH\n    return nn.Linear(WIDTH, DEPTH)\n"
    path = list(sys.path)
    module = load(write(body) + ":net", input_shape=(7,)).build()
    assert (module.in_features, module.out_features) == (7, 5)
    assert sys.path == path


def test_a_changed_file_is_read_again(write) -> None:
    ref = write("def net():\n    return nn.Linear(2, 3)\n") + ":net"
    assert load(ref, input_shape=(2,)).build().out_features == 3
    write("def net():\n    return nn.Linear(2, 44)\n")
    assert load(ref, input_shape=(2,)).build().out_features == 44


@pytest.mark.parametrize(
    ("body", "name", "message"),
    [
        ("def f(:\n", "f", r"failed on import: SyntaxError.*\(line 6\)"),
        ("import no_such_package\n", "f", "failed on import: ModuleNotFoundError: No module named 'no_such_package'"),
        ("raise SystemExit(3)\n", "f", "failed on import: SystemExit: 3"),
        (PLAIN, "nett", "has no function 'nett'.*did you mean net"),
        ("model = nn.Linear(1, 1)\n", "model", "is a Linear, not a function"),
        ("answer = 42\n", "answer", "is a int, not a function"),
        ("def f(width):\n    return nn.Linear(width, 1)\n", "f", "without arguments: missing a required argument"),
        ("def f():\n    raise ValueError('no\\nluck')\n", "f", "raised ValueError: no$"),
        ("def f():\n    assert False\n", "f", "raised AssertionError: no message"),
        ("def f():\n    return 3\n", "f", "returned a int; expected: an nn.Module or"),
        ("def f():\n    pass\n", "f", "returned a NoneType"),
        ("def f():\n    return nn.Linear\n", "f", "returned a type"),
    ],
)
def test_a_broken_file_or_factory_is_one_clear_line(write, body: str, name: str, message: str) -> None:
    with pytest.raises(ModelLoadError, match=message) as caught:
        load(f"{write(body)}:{name}", input_shape=(1,))
    assert "\n" not in str(caught.value)


def test_a_missing_file_gives_the_nearest(write, tmp_path: Path) -> None:
    write(PLAIN, "network.py")
    with pytest.raises(ModelLoadError, match=r"does not exist.*did you mean .*network\.py"):
        load(f"{tmp_path}/netwrk.py:net")


@pytest.mark.parametrize("ref", ["mine.py", "mine.py:", ":net", "folder/mine", "folder/mine.txt:net"])
def test_a_reference_without_file_or_factory(ref: str) -> None:
    with pytest.raises(ModelLoadError, match=r"path/file\.py:factory"):
        load(ref)


def test_a_bare_module_needs_its_input_shape(write) -> None:
    with pytest.raises(InputError, match="--input-shape 3,224,224"):
        load(write(PLAIN) + ":net")


def test_a_spec_whose_build_fails_says_so_in_one_line(write) -> None:
    body = "def build():\n    return nn.Linear(-1, 'a')\n"
    body += "def spec():\n    return ModelSpec('mine', build, (TensorSpec('x', (3,)),))\n"
    spec = load(write(body) + ":spec")
    with pytest.raises(NeurokitError, match="raised"):
        spec.build()


def test_a_stale_membrane_with_a_gradient_is_that_of_a_network_at_rest(write) -> None:
    body = (
        "def net():\n    n = nn.Sequential(nn.Linear(4, 3), neuron.IFNode())\n    n(torch.ones(1, 4))\n    return n\n"
    )
    spec = load(write(body) + ":net", input_shape=(4,), time_steps=6)
    captured, x = nk.capture(spec), torch.rand(6, 2, 4) * 3
    net = spec.build()
    functional.reset_net(net)
    wanted = torch.stack([net(x_t) for x_t in x])
    assert wanted.std() > 0.1
    with torch.no_grad():
        assert torch.equal(captured.program.module()(x, *captured.initial_states(2))[0], wanted)


def test_a_module_that_cannot_be_copied_is_explained(write) -> None:
    body = "import threading\ndef net():\n    n = nn.Linear(4, 3)\n    n.lock = threading.Lock()\n    return n\n"
    with pytest.raises(ModelLoadError, match=r"cannot be copied.*lock"):
        load(write(body) + ":net", input_shape=(4,))


MULTI = "nn.Sequential(layer.Linear(4, 3, step_mode='m'), neuron.IFNode(step_mode='m'))"
SINGLE = "nn.Sequential(layer.Linear(4, 3), neuron.LIFNode(), layer.Linear(3, 2), neuron.IFNode())"
CLASS = """
class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.T = 6
        self.body = {body}
    def forward(self, x):
        {forward}
def net():
    return Net()
"""


@pytest.mark.parametrize(
    ("body", "expected", "steps"),
    [
        (f"def net():\n    return {MULTI}\n", "sequence", 4),
        (f"def net():\n    return {SINGLE}\n", "step", 4),
        # single-step neurons in a container that loops over time
        (
            "def net():\n    return nn.Sequential(layer.SeqToANNContainer(nn.Linear(4, 3), nn.BatchNorm1d(3)), "
            "layer.MultiStepContainer(neuron.IFNode()))\n",
            "sequence",
            4,
        ),
        # repeats an image only
        (CLASS.format(body=MULTI, forward="return self.body(x.unsqueeze(0).repeat(self.T, 1, 1)).mean(0)"), "image", 6),
        # would also run on a sequence, but take its time axis for the batch
        (CLASS.format(body=MULTI, forward="return self.body(torch.stack([x] * self.T)).mean(0)"), "image", 6),
        # takes both
        (
            CLASS.format(
                body=MULTI, forward="return self.body(x if x.dim() == 3 else x.unsqueeze(0).repeat(self.T, 1, 1))"
            ),
            "sequence",
            6,
        ),
        # loops over time itself
        (CLASS.format(body=SINGLE, forward="return sum(self.body(x) for _ in range(self.T)) / self.T"), "image", 6),
        # an attribute T that has nothing to do with the forward
        (CLASS.format(body=SINGLE, forward="return self.body(x)"), "step", 6),
    ],
    ids=["multi", "single", "container", "repeat", "stack", "both", "loop", "unused T"],
)
def test_finds_out_what_a_bare_module_takes_over_time(write, body: str, expected: str, steps: int) -> None:
    spec = load(write(body) + ":net", input_shape=(4,))
    assert (spec.time_input, spec.time_steps) == (expected, steps)
    spec = load(write(body) + ":net", input_shape=(4,), time_steps=2)
    assert (spec.time_input, spec.time_steps) == (expected, 2)
    if expected == "image":
        assert spec.build().T == 2


@pytest.mark.parametrize("shape", [(5,), (2, 4, 4)])
def test_an_input_shape_that_does_not_fit_shows_both_attempts(write, shape: tuple[int, ...]) -> None:
    body = f"def net():\n    return {MULTI}\n".replace("layer.Linear(4, 3,", "layer.Conv2d(1, 3, 3,")
    with pytest.raises(ModelLoadError, match=r"\[T=4, B=1, .*raised.*\[B=1, .*raised") as caught:
        load(write(body) + ":net", input_shape=shape)
    assert "\n" not in str(caught.value)


def test_a_double_module_has_a_double_input(write) -> None:
    spec = load(write(f"def net():\n    return {MULTI}.double()\n") + ":net", input_shape=(4,))
    assert spec.inputs[0].dtype == "float64"


def test_time_steps_of_an_image_spec_reach_the_module() -> None:
    class Net(nn.Module):
        T = 4

    spec = ModelSpec("net", Net, (TensorSpec("x", (3,)),), time_steps=4, time_input="image")
    assert load(spec, time_steps=9).build().T == 9
    fixed = ModelSpec("fixed", nn.Identity, (TensorSpec("x", (3,)),), time_steps=4, time_input="image")
    with pytest.raises(ModelLoadError, match="no attribute T"):
        load(fixed, time_steps=9).build()


SNNTORCH = """
import snntorch as snn
import torch
from torch import nn


def hidden():
    return nn.Sequential(nn.Linear(6, 5), snn.Leaky(beta=0.9, init_hidden=True))


class Loop(nn.Module):
    num_steps = 7

    def __init__(self, static):
        super().__init__()
        self.fc, self.lif, self.static = nn.Linear(6, 5), snn.Leaky(beta=0.9), static

    def forward(self, x):
        mem, found = self.lif.init_leaky(), []
        for step in range(self.num_steps if self.static else x.shape[0]):
            spk, mem = self.lif(self.fc(x if self.static else x[step]), mem)
            found.append(spk)
        return torch.stack(found)


def loop():
    return Loop(False)


def static():
    return Loop(True)


def mlp():
    return nn.Linear(6, 5)


class Hand(nn.Module):
    def __init__(self):
        super().__init__()
        self.fc = nn.Linear(6, 5)

    def forward(self, x):
        v, found = 0.0, []
        for x_t in x:
            v = 0.5 * v + self.fc(x_t)
            found.append((v > 0.1).float())
        return torch.stack(found)
"""


def test_what_snntorchs_networks_and_those_by_hand_take_over_time(write) -> None:
    pytest.importorskip("snntorch")
    path = write(SNNTORCH)
    takes = {}
    for name, asked in (("hidden", 10), ("hidden", None), ("loop", 10), ("static", None), ("static", 7), ("Hand", 10)):
        spec = load(f"{path}:{name}", input_shape=(6,), time_steps=asked)
        takes[name, asked] = (spec.time_input, spec.time_steps)
    assert takes == {
        ("hidden", 10): ("step", 10),
        ("hidden", None): ("step", 4),
        ("loop", 10): ("sequence", 10),
        ("static", None): ("image", 7),
        ("static", 7): ("image", 7),
        ("Hand", 10): ("sequence", 10),
    }
    with pytest.raises(InputError, match="runs 7 time steps itself, and time_steps=5 was given"):
        load(f"{path}:static", input_shape=(6,), time_steps=5)
    with pytest.raises(InputError, match="has no spiking neurons, and its answer at a time step is that of the step"):
        load(f"{path}:mlp", input_shape=(6,), time_steps=5)


def test_modules_and_factories_are_models_as_names_are():
    net = nn.Linear(4, 2)
    assert load(net, input_shape=(4,)).name == "Linear"
    assert load(lambda: net, input_shape=(4,)).inputs[0].shape == (4,)
    assert load(load("spiking_cnn")).name == load("spiking_cnn").name
    for wrong in (3, None, ["spiking_cnn"]):
        with pytest.raises(InputError, match="was given as the model"):
            load(wrong)
    with pytest.raises(ModelLoadError, match="raised TypeError"):
        load(nn.Linear, input_shape=(4,))


class ByHand(nn.Module):
    """Its own dynamics; the neuron that an earlier version used is still a part of it."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.mix, self.head, self.left_over = nn.Linear(6, 8), nn.Linear(8, 3), neuron.LIFNode()

    def forward(self, x):
        v, answers = torch.zeros(x.shape[1], 8, dtype=x.dtype), []
        for now in x:
            v = 0.5 * v + 3.0 * self.mix(now)
            fired = (v > 1.0).to(x.dtype)
            v = v - fired
            answers.append(self.head(fired))
        return torch.stack(answers)


def test_a_neuron_that_nobody_calls_does_not_make_the_dynamics_unclear():
    module = ByHand().eval()
    captured = nk.capture(nk.load(module, input_shape=(6,), time_steps=5))
    x = torch.rand(5, 3, 6, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        found = captured.program.module(check_guards=False)(x)
        torch.testing.assert_close(found[0] if isinstance(found, tuple) else found, module(x), rtol=0.0, atol=1e-6)
    assert not captured.neurons
