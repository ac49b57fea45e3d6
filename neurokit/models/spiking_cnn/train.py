"""Training of `SpikingCNN` on real handwritten digits."""

from __future__ import annotations

import time

import torch
import torch.nn.functional as F
from spikingjelly.activation_based import functional
from torch import nn

from neurokit.data.digits import Digits, as_sequence, load_digits
from neurokit.errors import InputError
from neurokit.models.spiking_cnn.net import SpikingCNN
from neurokit.tasks.choice import best_class

BATCH = 64


LEARNING_RATE = 1e-2


def accuracy(module: nn.Module, images: torch.Tensor, labels: torch.Tensor) -> float:
    """Returns the share of `images` that `module` classifies rightly, in evaluation mode."""
    training = module.training
    module.eval()
    functional.reset_net(module)
    with torch.no_grad():
        right = (best_class(module(as_sequence(images)).numpy()) == labels.numpy()).mean()
    functional.reset_net(module)
    module.train(training)
    return float(right)


def train_digits(seconds: float = 60.0, seed: int = 0, epochs: int = 20) -> tuple[nn.Module, float]:
    """Trains a `SpikingCNN` on the digits.

    Args:
        seconds: Wall-clock time of training after which no further epoch is begun; the first is always run.
        seed: Seed of the split, the weights and the order of the batches; torch's own generator is left alone.
        epochs: Passes over the training images.

    Returns:
        The module, in evaluation mode and reset, and its accuracy on the held-out images.

    Raises:
        InputError: If there is no time or no epoch to train in.
        MissingRuntimeError: If scikit-learn is not installed.
    """
    if not seconds > 0 or epochs < 1:
        raise InputError(f"cannot train for {seconds} s and {epochs} epochs", expected="more than 0 s and 0 epochs")
    digits = load_digits(seed)
    start = time.perf_counter()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        module = SpikingCNN().train()
        batches = -(-len(digits.train_labels) // BATCH)
        optimiser = torch.optim.AdamW(module.parameters(), lr=LEARNING_RATE, weight_decay=1e-3)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, LEARNING_RATE, total_steps=epochs * batches)
        for epoch in range(epochs):
            if epoch and time.perf_counter() - start > seconds:
                break
            _train_epoch(module, digits, optimiser, schedule)
    module.eval()
    return module, accuracy(module, digits.test_images, digits.test_labels)


def _train_epoch(
    module: nn.Module,
    digits: Digits,
    optimiser: torch.optim.Optimizer,
    schedule: torch.optim.lr_scheduler.LRScheduler,
) -> None:
    for picked in torch.randperm(len(digits.train_labels)).split(BATCH):
        logits = module(as_sequence(digits.train_images[picked]))
        loss = F.cross_entropy(logits, digits.train_labels[picked])
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        schedule.step()
        functional.reset_net(module)
