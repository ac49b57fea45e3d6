"""Fine-tuning for int8: the training graph against ONNX Runtime, and what it wins back where calibration loses."""

import numpy as np
import onnx
import pytest
import torch
import torch.nn.functional as F
from torch import nn

import neurokit as nk
from neurokit.cli import main
from neurokit.data.digits import load_digits
from neurokit.data.labelled import Labelled
from neurokit.errors import InputError, UnsupportedError
from neurokit.export.onnx.finetune import _float
from neurokit.export.onnx.int8_layers import layers_of
from neurokit.export.onnx.qdq_training import RoundedProgram, answers, on_grid
from neurokit.export.onnx.quantise import quantise, settings_of
from neurokit.export.ort import new_session
from neurokit.reports import ParityReport
from neurokit.spec import ModelSpec, TensorSpec
from neurokit.target import LowerOptions

UNEQUAL = 2.0 ** torch.linspace(-4, 4, 16)


class Net(nn.Module):
    """A convolutional network whose channels have unequal ranges, which one scale an activation serves badly."""

    def __init__(self):
        super().__init__()
        self.a, self.norm = nn.Conv2d(1, 16, 3, padding=1, bias=False), nn.BatchNorm2d(16)
        self.b = nn.Conv2d(16, 16, 3, padding=1, groups=16)
        self.c, self.fc = nn.Conv2d(16, 16, 1), nn.Linear(256, 10)

    def forward(self, x):
        x = torch.relu(self.b(torch.relu(self.norm(self.a(x)))))
        return self.fc(F.max_pool2d(torch.relu(self.c(x)), 2).flatten(1))

    def stretch(self):
        """Multiplies channels by powers of two and divides what reads them: in float the same function, bit for bit."""
        with torch.no_grad():
            self.norm.weight *= UNEQUAL
            self.norm.bias *= UNEQUAL
            self.b.weight /= UNEQUAL[:, None, None, None]
            self.b.weight *= UNEQUAL.flip(0)[:, None, None, None]
            self.b.bias *= UNEQUAL.flip(0)
            self.c.weight /= UNEQUAL.flip(0)[None, :, None, None]


@pytest.fixture(scope="module")
def digits():
    return load_digits()


@pytest.fixture(scope="module")
def net(digits):
    torch.manual_seed(0)
    made = Net().train()
    optimiser = torch.optim.Adam(made.parameters(), 1e-2)
    for _ in range(6):
        for rows in torch.randperm(len(digits.train_labels)).split(64):
            optimiser.zero_grad()
            F.cross_entropy(made(digits.train_images[rows]), digits.train_labels[rows]).backward()
            optimiser.step()
    made.eval().stretch()
    return made


def spec_of(net, shape=(1, 8, 8)):
    return ModelSpec("net", lambda: net, (TensorSpec("image", shape),))


@pytest.fixture(scope="module")
def training(digits):
    return Labelled(digits.train_images.numpy(), digits.train_labels.numpy(), "train")


@pytest.mark.slow  # two artifacts and 220 steps; the fast suite trains in test_other_tasks...
def test_training_gains_back_what_calibration_loses(net, digits, training, tmp_path):
    test = Labelled(digits.test_images.numpy(), digits.test_labels.numpy(), "test")
    captured, kept = nk.capture(spec_of(net)), [value.clone() for value in net.state_dict().values()]
    given = {"calibration": digits.train_images[:256], "data": test, "reduce_range": False}
    lost, won = (
        nk.lower(captured, "onnx-int8", tmp_path / name, **given, **more).manifest
        for name, more in (("ptq", {}), ("qat", {"fine_tune": training}))
    )
    assert all(torch.equal(p, q) for p, q in zip(net.state_dict().values(), kept, strict=True))  # the user's own
    float_score = lost.target_info["accuracy"]["before"]
    assert won.target_info["accuracy"]["before"] == float_score > 0.95
    assert float_score - lost.target_info["accuracy"]["after"] > 0.01
    still = float_score - won.target_info["accuracy"]["after"]
    assert still < (float_score - lost.target_info["accuracy"]["after"]) / 2
    assert all(ParityReport.from_json(made.parity).passed for made in (lost, won))
    said = won.target_info["quantisation"]["fine_tuning"]
    assert said["taken"]
    assert said["after"] > said["before"]
    assert "fine_tuning" not in lost.target_info["quantisation"]
    # Measured once more, by ONNX Runtime alone.
    session = new_session(tmp_path / "qat" / "model.onnx")
    found = np.concatenate([session.run(None, {"image": x[None]})[0] for x in test.x])
    assert (found.argmax(1) == test.y).mean() == won.target_info["accuracy"]["after"]


class Mixed(nn.Module):
    """Every kind of layer that is rounded: convolutions with and without norms, products of two and three axes."""

    def __init__(self):
        super().__init__()
        self.a, self.norm = nn.Conv2d(3, 8, 3, stride=2, padding=1), nn.BatchNorm2d(8, affine=False)
        self.line, self.norm2 = nn.Conv1d(8, 8, 3, padding=1, groups=2), nn.BatchNorm1d(8)
        self.each, self.fc = nn.Linear(8, 8), nn.Linear(8, 5)
        self.w = nn.Parameter(torch.randn(8, 8) / 3)

    def forward(self, x):
        x = self.line(torch.relu(self.norm(self.a(x))).flatten(2))
        x = F.gelu(self.each(torch.relu(self.norm2(x)).transpose(1, 2)))
        return self.fc((F.layer_norm(x, (8,)) @ self.w).mean(1))


@pytest.mark.parametrize("options", [{"device": "tensorrt"}, {"reduce_range": True}])
def test_the_training_graph_is_the_written_one(options, tmp_path):
    torch.manual_seed(0)
    net = Mixed().eval()
    nn.init.uniform_(net.norm.running_var, 0.1, 0.5)
    nn.init.normal_(net.norm2.running_mean)
    captured = nk.capture(spec_of(net, (3, 8, 8)))
    x = torch.randn(32, 3, 8, 8)
    settings = settings_of(LowerOptions(extra={"method": "minmax", "reduce_range": False, **options}))
    _float(captured, tmp_path / "float.onnx")
    layers = layers_of(onnx.load(str(tmp_path / "float.onnx")), captured)
    feeds = {"image": x.numpy()}
    quantise(tmp_path / "float.onnx", tmp_path / "int8.onnx", feeds, 1, settings, [layer.node for layer in layers])
    written = onnx.load(str(tmp_path / "int8.onnx"))
    run = RoundedProgram(captured, written, layers, 64 if settings.reduce_range else 127)
    assert run.rounded == len(layers) == 5
    with torch.no_grad():
        mine = answers(run, [x])[0].numpy()
    session = new_session(tmp_path / "int8.onnx", level=1)
    theirs = session.run(None, {"image": x.numpy()})[0]
    scale = np.abs(theirs).max() / 127
    assert (np.abs(mine - theirs) < 1e-6 + scale / 50).mean() > 0.95  # the same integers but for ties
    assert np.abs(mine - theirs).max() < 3 * scale
    assert np.abs(mine - net(x).detach().numpy()).max() > scale / 10  # it does round
    answers(run, [x])[0].square().sum().backward()
    assert all(p.grad is not None and p.grad.abs().sum() > 0 for p in run.learnt())


def test_a_weight_is_rounded_a_channel_at_a_time():
    weight = torch.tensor([[0.5, -1.27, 0.004], [0.0, 0.0, 0.0]], requires_grad=True)
    rounded = on_grid(weight, 0, 127)
    torch.testing.assert_close(rounded.detach(), torch.tensor([[0.5, -1.27, 0.0], [0.0, 0.0, 0.0]]))
    rounded.sum().backward()
    assert weight.grad.tolist() == [[1.0] * 3] * 2


def test_other_tasks_learn_from_the_float_network(net, training, digits, tmp_path):
    """Labels that are no classes: what is trained on are the float network's own answers."""
    masks = Labelled(training.x[:128], np.zeros((128, 8, 8), np.int64), "masks")
    options = {"calibration": digits.train_images[:64], "fine_tune": masks, "epochs": 3}
    made = nk.lower(nk.capture(spec_of(net)), "onnx-int8", tmp_path / "m", **options).manifest
    said = made.target_info["quantisation"]["fine_tuning"]
    assert said["trained_on"] == "the float network's answers"
    assert said["float"] == 1.0
    assert said["after"] > said["before"]


def test_refusals(net, training, digits, tmp_path, capsys):
    captured = nk.capture(spec_of(net))
    given = {"calibration": digits.train_images[:64]}
    with pytest.raises(InputError, match="epochs is a setting of fine-tuning"):
        nk.lower(captured, "onnx-int8", tmp_path / "m", **given, epochs=3)
    for wrong in ({"epochs": 0}, {"epochs": True}, {"learning_rate": 2}):
        with pytest.raises(InputError, match=next(iter(wrong))):
            nk.lower(captured, "onnx-int8", tmp_path / "m", **given, **wrong, fine_tune=training)
    with pytest.raises(InputError, match="8 bits"):
        nk.lower(captured, "onnx-int8", tmp_path / "m", **given, activations="float", fine_tune=training)
    with pytest.raises(InputError, match="training data"):
        nk.lower(captured, "onnx-int8", tmp_path / "m", **given, fine_tune=Labelled(training.x[:, :, :4], training.y))
    with pytest.raises(InputError, match="labels go from"):
        nk.lower(captured, "onnx-int8", tmp_path / "m", **given, fine_tune=Labelled(training.x, training.y + 1))
    with pytest.raises(InputError, match="numerics 'float'"):
        nk.lower(captured, "onnx", tmp_path / "m", fine_tune=training)
    assert not (tmp_path / "m").exists()
    np.savez(tmp_path / "data.npz", x=training.x, y=training.y)
    words = ["export", "spiking_cnn", "--out", str(tmp_path / "m"), "--fine-tune", str(tmp_path / "data.npz")]
    assert main(words) == 2
    assert "--target onnx-int8" in capsys.readouterr().err


def test_a_program_that_would_train_another_network_is_refused(net, training, digits, tmp_path, monkeypatch):
    monkeypatch.setattr("neurokit.export.onnx.qdq_training._norms_behind", lambda node: ())
    with pytest.raises(UnsupportedError, match="cannot be fine-tuned"):
        nk.lower(
            nk.capture(spec_of(net)),
            "onnx-int8",
            tmp_path / "m",
            calibration=digits.train_images[:64],
            fine_tune=training,
        )
