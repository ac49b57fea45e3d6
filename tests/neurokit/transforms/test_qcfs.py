"""Conversion to few steps: against the published equations, the network itself, and every target."""

from __future__ import annotations

import json

import numpy as np
import pytest
import torch
from spikingjelly.activation_based import functional
from torch import nn

import neurokit as nk
from neurokit import cli
from neurokit.data.synthetic import images
from neurokit.errors import InputError, UnsupportedError
from neurokit.spec import ModelSpec, TensorSpec
from neurokit.transforms import transform
from neurokit.transforms.common.graph import fold_batch_norms, relu_graph
from neurokit.transforms.qcfs.convert import converted
from neurokit.transforms.qcfs.finetune import Training, one_cycle
from neurokit.transforms.qcfs.layers import QCFS

SHAPE = (2, 8, 8)
ONNX = ("onnx", "onnx-scan", "onnx-step")


def run(spec: ModelSpec, x: torch.Tensor, steps: int) -> torch.Tensor:
    net = spec.build()
    functional.reset_net(net)
    with torch.no_grad():
        return net(x.unsqueeze(0).expand(steps, *x.shape))


def test_an_activation_is_that_of_the_paper_and_lets_gradients_through():
    """Bu et al., equation 14, written out in numpy; 15: the scale's gradient by hand."""
    x = torch.linspace(-2, 4, 600, dtype=torch.float64).reshape(1, 1, -1).requires_grad_()
    layer = QCFS(torch.tensor([2.0], dtype=torch.float64), 4)
    y = layer(x)
    given = x.detach().numpy()
    np.testing.assert_allclose(y.detach().numpy(), 2.0 / 4 * np.clip(np.floor(given * 4 / 2.0 + 0.5), 0, 4))
    y.sum().backward()
    inside = (given > 0) & (given < 2.0)
    np.testing.assert_allclose(x.grad.numpy(), inside.astype(float))
    level = y.detach().numpy() / 2.0
    np.testing.assert_allclose(
        layer.scale.grad.numpy()[0], np.where(given >= 2.0, 1.0, level - inside * given / 2.0).sum(), rtol=1e-9
    )


@pytest.mark.parametrize("steps", [1, 2, 4, 8])
def test_one_layer_of_neurons_is_the_activation_of_as_many_levels(steps):
    """Under a constant current the mean of T steps is the activation of L = T levels exactly: the paper's theorem 2."""
    torch.manual_seed(1)
    net = nn.Sequential(nn.Linear(3, 6), nn.ReLU()).eval().requires_grad_(False)
    x = torch.randn(32, 3)
    spec = ModelSpec("one", lambda: net, (TensorSpec("x", (3,), low=-3.0, high=3.0),))
    done = converted(spec, steps, x, data=(x, None), training=Training(0, 0))  # as calibrated, without a shift
    currents, made = net[0](x), run(done.spec, x, steps)
    wanted = QCFS(torch.full((6,), scale_of(done.spec, net)), steps)(currents).detach()
    assert torch.allclose(made, wanted, atol=1e-5)


def scale_of(spec: ModelSpec, net: nn.Module) -> float:
    """The scale that was chosen: weights before the neurons were divided by it."""
    made = [p for name, p in spec.build().named_parameters() if name.endswith("weight")]
    return float((net[0].weight / made[0]).mean())


def test_folding_normalisations_changes_nothing(small_relus):
    graph, _ = relu_graph(small_relus)
    x = images(8, SHAPE, 3)
    before = graph.double()(x.double())
    assert fold_batch_norms(graph) == 4
    assert not any("batch_norm" in str(node.target) for node in graph.graph.nodes)
    assert torch.allclose(graph(x.double()), before, rtol=1e-5, atol=1e-6)  # folded in float64, kept in float32


def test_the_error_falls_as_the_steps_grow(small_relus):
    x = images(32, SHAPE, 1)
    with torch.no_grad():
        wanted = small_relus.build()(x)  # the network itself is the oracle
    found = [run(converted(small_relus, steps, x).spec, x, steps) for steps in (2, 8, 32, 128)]
    errors = [float((y - wanted).norm() / wanted.norm()) for y in found]
    assert errors == sorted(errors, reverse=True)
    assert errors[-1] < 0.03 < errors[0]


class Tokens(nn.Module):
    """Linear maps over tokens, whose features are the last axis; there are fewer tokens than features."""

    def __init__(self) -> None:
        super().__init__()
        self.wide, self.narrow = nn.Linear(6, 10), nn.Linear(10, 3)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.narrow(self.wide(x).relu()).mean(1)


def test_features_of_tokens_lie_behind_them():
    torch.manual_seed(0)
    net = Tokens().eval()
    spec = ModelSpec("tokens", lambda: net, (TensorSpec("x", (4, 6), layout="LC", low=-1),))
    x = 2 * torch.rand(16, 4, 6, generator=torch.Generator().manual_seed(1)) - 1
    with torch.no_grad():
        wanted = net(x)
    errors = []
    for steps in (2, 8, 32):
        y = run(converted(spec, steps, x).spec, x, steps)
        y = y.mean(0) if y.dim() == 3 else y
        errors.append(float((y - wanted).norm() / wanted.norm()))
    assert errors == sorted(errors, reverse=True)
    assert errors[-1] < 0.05


def test_every_neuron_fires_ones_and_starts_at_half_its_threshold(small_relus):
    captured = nk.capture(converted(small_relus, 4).spec)
    assert len(captured.neurons) == 6
    thresholds = [neuron.parameters["v_threshold"] for neuron in captured.neurons]
    assert [state.init for state in captured.states] == [pytest.approx(t / 2) for t in thresholds]
    assert thresholds.count(1.0) == 5  # only the sum before a ReLU has no weights of its own


def test_the_rate_is_that_of_torchs_one_cycle():
    optimiser = torch.optim.SGD([torch.zeros(1, requires_grad=True)], 1.0)
    steps = 501
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, 1.0, total_steps=steps, pct_start=0.1)
    for step in range(steps):
        assert one_cycle(step / (steps - 1)) == pytest.approx(schedule.get_last_lr()[0], abs=0.02)
        optimiser.step()
        if step < steps - 1:
            schedule.step()


@pytest.mark.parametrize("samples", [1, 10, 11])  # at 10 steps torch's schedule divides by zero
def test_any_number_of_steps_trains(small_relus, samples):
    x = images(samples, SHAPE, 5)
    done = converted(small_relus, 2, x, data=(x, None), training=Training(1, 1, batch=1))
    assert all(f"1 epochs of {samples} samples" in note for note in done.notes[1:])
    assert all(torch.isfinite(p).all() for p in done.spec.build().parameters())


def test_training_ends_with_its_seconds(small_relus):
    x = images(4, SHAPE, 5)
    how = Training(10**6, 10**6, seconds=0.2, spiking_seconds=0.2)
    done = converted(small_relus, 2, x, data=(x, None), training=how)
    assert len(done.notes) == 3
    with pytest.raises(InputError, match="positive"):
        Training(seconds=0.0)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="CUDA graphs need a GPU")
def test_recorded_steps_train_as_launched_ones(small_relus):
    x = images(64, SHAPE, 5)
    with torch.no_grad():
        y = small_relus.build()(x).argmax(1)
    nets = []
    for recorded in (False, True):
        torch.manual_seed(0)  # the order of the samples
        how = Training(30, 30, 1e-2, 16, device="cuda", recorded=recorded)
        nets.append(converted(small_relus, 2, x, data=(x, y), training=how).spec)
    right = [float((run(spec, x, 2).argmax(1) == y).float().mean()) for spec in nets]
    assert min(right) > 0.9  # 0.78 untrained


def test_recording_without_a_gpu_is_one_line():
    with pytest.raises(InputError, match="recorded on 'cpu'"):
        Training(recorded=True)


@pytest.fixture(scope="module")
def trained(small_relus, tmp_path_factory):
    """The network, trained on for T=2 on its own answers as labels, by way of a file."""
    path = tmp_path_factory.mktemp("data") / "train.npz"
    x = images(192, SHAPE, 5)
    with torch.no_grad():
        y = small_relus.build()(x).argmax(1)
    np.savez(path, x=x.numpy(), y=y.numpy())
    step = f"qcfs:time_steps=2,train={path},epochs=30,spiking_epochs=30,learning_rate=0.01"
    return transform(small_relus, [step]), x, y


def test_training_brings_few_steps_near(small_relus, trained):
    spec, x, y = trained
    plain = transform(small_relus, ["qcfs:time_steps=2"])
    right = [float((run(made, x, 2).argmax(1) == y).float().mean()) for made in (plain, spec)]
    assert right[1] > max(right[0], 0.9)
    assert sum("trained" in note for note in spec.transforms[-1].notes) == 2
    assert spec.transforms[-1].settings["epochs"] == 30


@pytest.mark.parametrize("target", [ONNX[0], *(pytest.param(form, marks=pytest.mark.slow) for form in ONNX[1:])])
def test_the_exact_form_has_the_same_spikes_on_every_target(trained, target, tmp_path):
    spec, x, y = trained
    captured = nk.capture(spec)
    sequence = x[:64].unsqueeze(0).expand(2, 64, *SHAPE).contiguous()
    artifact = nk.lower(captured, target, tmp_path / target, numerics="exact", calibration=sequence)
    assert artifact.manifest.parity["verdict"] == "exact"
    assert artifact.manifest.transforms[0].name == "qcfs"
    if target == "onnx":
        answers = nk.open(artifact)(sequence.numpy())
        assert (answers.argmax(-1) == y[:64].numpy()).mean() > 0.9


def test_what_was_trained_is_kept_in_a_file(small_relus, trained, tmp_path):
    """The second time nothing is trained, and the network is the same bit for bit; another network is refused."""
    _, x, y = trained
    path = tmp_path / "kept.safetensors"
    data, how = (x, y), Training(1, 1)
    first = converted(small_relus, 2, data=data, training=how, keep=path)
    again = converted(small_relus, 2, x[:8], keep=path)
    assert torch.equal(run(first.spec, x, 2), run(again.spec, x, 2))
    assert again.notes == (f"weights and thresholds of {path}",)
    other = ModelSpec("one", lambda: nn.Sequential(nn.Linear(3, 6), nn.ReLU()).eval(), (TensorSpec("x", (3,)),))
    with pytest.raises(InputError, match="another network"):
        converted(other, 2, keep=path)
    path.write_bytes(b"none")
    with pytest.raises(InputError, match="holds no converted weights"):
        converted(small_relus, 2, keep=path)


def test_events_alone_give_the_same_spikes(trained):
    spec, x, _ = trained
    made = nk.exact(nk.capture(spec), x[:64].unsqueeze(0).expand(2, 64, *SHAPE).contiguous())
    report = nk.simulate(made.captured, x[:1].unsqueeze(0).expand(2, 1, *SHAPE), ["loihi2"], check_events=True)
    assert report.event_check.decisions > 1000
    assert report.event_check.differing == 0


def test_the_command_line_converts_and_says_how_near_it_is(tmp_path, capsys):
    (tmp_path / "net.py").write_text(
        "from torch import nn\nfrom neurokit.spec import ModelSpec, TensorSpec\n"
        "def make():\n"
        "    build = lambda: nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU6(), nn.Flatten(), nn.Linear(144, 3)).eval()\n"
        "    return ModelSpec('net', build, (TensorSpec('x', (1, 8, 8)),))\n"
    )
    np.save(tmp_path / "x.npy", np.random.default_rng(0).random((8, 1, 8, 8), np.float32))
    step = f"qcfs:time_steps=4,calibration={tmp_path / 'x.npy'}"
    done = cli.main(["export", f"{tmp_path / 'net.py'}:make", "--transform", step, "--out", str(tmp_path / "a")])
    capsys.readouterr()
    assert done == 0
    manifest = json.loads((tmp_path / "a" / "manifest.json").read_text())
    assert manifest["time_steps"] == 4
    assert "1 ReLU layers as IF neurons over 4 steps" in manifest["transforms"][0]["notes"][-1]


@pytest.mark.parametrize(
    ("step", "said"),
    [
        ("qcfs:time_steps=0", "time_steps from 1"),
        ("qcfs:levels=-1", "levels of 0 or more"),
        ("qcfs:calibration=/none.npy", "holds no inputs"),
        ("qcfs:train=/none.npz", "holds no labelled data"),
        ("qcfs:epochs=-1", "epochs of 0 or more"),
        ("qcfs:learning_rate=0", "positive numbers"),
        ("ann2snn:mode=most", "99.9%"),
        ("ann2snn:mode=0%", "99.9%"),
        ("ann2snn:time_steps=0", "1 to 1024"),
    ],
)
def test_bad_settings_are_one_line(small_relus, step, said):
    with pytest.raises(InputError, match=r"transform|epochs|holds|training") as caught:
        transform(small_relus, [step])
    assert said in str(caught.value)


@pytest.mark.parametrize("name", ["qcfs", "ann2snn"])
@pytest.mark.parametrize("array", [np.zeros((0, 2, 8, 8)), np.zeros((3, 8, 8)), np.full((3, 2, 8, 8), np.nan)])
def test_bad_inputs_are_one_line(small_relus, name, array, tmp_path):
    np.save(tmp_path / "x.npy", array)
    with pytest.raises(InputError, match=r"x\.npy holds"):
        transform(small_relus, [f"{name}:calibration={tmp_path / 'x.npy'}"])


@pytest.mark.parametrize("name", ["qcfs", "ann2snn", "rate_coding"])
def test_what_is_no_network_of_relus_is_refused(name):
    plain = ModelSpec("plain", lambda: nn.Sequential(nn.Linear(3, 4), nn.Tanh()).eval(), (TensorSpec("x", (3,)),))
    for spec in (plain, nk.load("spiking_cnn")):
        with pytest.raises(UnsupportedError) as caught:
            transform(spec, [name])
        assert "ReLU" in str(caught.value) or "spik" in str(caught.value)
