"""Fine-tuning under the grid: what it gains on held-out digits, and that its result is exact like any other."""

import copy
import dataclasses
import json

import numpy as np
import pytest
import torch
from torch import nn

import neurokit as nk
from neurokit import cli
from neurokit.data.digits import as_sequence, load_digits
from neurokit.data.labelled import Labelled
from neurokit.errors import InputError
from neurokit.exact import finetune
from neurokit.tasks.evaluate import headline_score


@pytest.fixture(scope="module")
def digits(trained):
    module, accuracy = trained
    data = load_digits()
    captured = nk.capture(dataclasses.replace(nk.load("spiking_cnn"), build=lambda: copy.deepcopy(module)))
    training = Labelled(data.train_images.numpy(), data.train_labels.numpy(), "training")
    held_out = Labelled(data.test_images.numpy(), data.test_labels.numpy(), "held out")
    return captured, training, held_out, accuracy


def test_gradients_pass_straight_through():
    x = torch.tensor([0.2, 0.7, -1.4], requires_grad=True)
    y = finetune.straight_through(x, torch.round(x))
    assert y.tolist() == [0.0, 1.0, -1.0]
    (y * torch.tensor([1.0, 2.0, 3.0])).sum().backward()
    assert x.grad.tolist() == [1.0, 2.0, 3.0]


def test_few_bits_win_back_what_they_lost_on_held_out_digits(digits, tmp_path):
    captured, training, held_out, accuracy = digits
    calibration = as_sequence(torch.from_numpy(training.x[:256]))
    before = headline_score(nk.exact(captured, calibration, bits=2).captured, held_out)
    made = nk.exact_finetune(captured, training, bits=2, epochs=10)
    after = headline_score(made.captured, held_out)
    assert before < accuracy - 0.01, "nothing was lost, so nothing can be won back"
    assert after > before + 0.01
    assert after >= accuracy - 0.015
    assert made.proof.status == "exact"
    assert all(int(numbers.integers.abs().max()) <= 1 for numbers in made.plan.linears.values())
    assert "fine-tuning" in made.notes[-1]
    report = nk.verify(nk.lower(made, "onnx", tmp_path / "a", verified=False))
    assert report.verdict == "exact"


def test_the_same_seed_gives_the_same_weights(digits):
    captured, training, _, _ = digits
    few = Labelled(training.x[:96], training.y[:96])
    made = [nk.exact_finetune(captured, few, bits=3, epochs=2, seed=seed) for seed in (5, 5, 6)]
    weights = [torch.cat([q.integers.reshape(-1) for q in each.plan.linears.values()]) for each in made]
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])


def test_training_computes_what_will_run(digits):
    """Before the first step, the network in training is the exact network of post-training rounding."""
    from neurokit.exact.fold import fold
    from neurokit.exact.rewrite import place

    captured, training, held_out, _ = digits
    made = nk.exact(captured, as_sequence(torch.from_numpy(training.x[:64])), bits=4)
    folded = fold(captured.program, captured.time_steps)
    placed = place(fold(captured.program, captured.time_steps), made.plan)
    grids = [finetune._Grid(folded.weight(i), made.plan.linears[i], 4) for i in range(len(folded.linears))]
    x = torch.from_numpy(held_out.x[:50])[:, None].repeat(1, captured.time_steps, 1, 1, 1)
    with torch.no_grad():
        found = finetune.logits(finetune._Run(placed, grids), captured, x)
    from neurokit.capture.reference import record

    program = made.captured.program.module()
    wanted = record(program, (x.transpose(0, 1).contiguous(), *made.captured.initial_states(50)))[0][0]
    assert torch.equal(found, wanted)


def test_a_network_without_neurons_can_be_fine_tuned():
    data = load_digits()
    training = Labelled(data.train_images[:640].numpy(), data.train_labels[:640].numpy())
    held_out = Labelled(data.test_images.numpy(), data.test_labels.numpy())
    torch.manual_seed(1)
    # So few channels that two bits cost several percent, however the processor rounds in training.
    net = nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Flatten(), nn.Linear(144, 10))
    optimiser = torch.optim.AdamW(net.parameters(), lr=5e-3)
    for _ in range(60):
        loss = nn.functional.cross_entropy(net(data.train_images[:640]), data.train_labels[:640])
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    captured = nk.capture(net.eval(), data.train_images[:2])
    before = headline_score(nk.exact(captured, data.train_images[:256], bits=2).captured, held_out)
    made = nk.exact_finetune(captured, training, bits=2, epochs=8)
    assert made.proof.status == "exact"
    assert before < headline_score(captured, held_out) - 0.02, "nothing was lost, so nothing can be won back"
    assert headline_score(made.captured, held_out) > before + 0.01


def test_refusals(digits, tmp_path):
    captured, training, _, _ = digits
    for wrong in ({"epochs": 0}, {"learning_rate": 0.0}, {"batch": 0}, {"bits": 1}):
        with pytest.raises(InputError):
            nk.exact_finetune(captured, training, **wrong)
    with pytest.raises(InputError, match="labels go from"):
        nk.exact_finetune(captured, Labelled(training.x[:64], training.y[:64] + 5))
    with pytest.raises(InputError, match="expected"):
        nk.exact_finetune(captured, Labelled(training.x[:64, :, :4], training.y[:64]))
    with pytest.raises(InputError, match="whole numbers"):
        Labelled(training.x[:4], np.zeros(4))
    with pytest.raises(InputError, match="float"):
        nk.lower(captured, "onnx", tmp_path / "a", fine_tune=training)


def test_the_command_line(tmp_path, capsys):
    data = load_digits()
    np.savez(tmp_path / "train.npz", x=data.train_images[:64].numpy(), y=data.train_labels[:64].numpy())
    np.savez(tmp_path / "test.npz", x=data.test_images[:64].numpy(), y=data.test_labels[:64].numpy())
    arguments = [
        "export",
        "spiking_cnn",
        "--out",
        str(tmp_path / "a"),
        "--fine-tune",
        str(tmp_path / "train.npz"),
        "--data",
        str(tmp_path / "test.npz"),
        "--bits",
        "4",
        "--json",
    ]
    assert cli.main(arguments) == 2
    capsys.readouterr()
    assert cli.main([*arguments, "--numerics", "exact"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert said["parity"]["verdict"] == "exact"
    assert said["accuracy"]["samples"] == 64
    proof = nk.Artifact.load(tmp_path / "a").manifest.target_info["proof"]
    assert any("fine-tuning" in note for note in proof["notes"])
