"""Real handwritten digits, and the training of `SpikingCNN` on them."""

from __future__ import annotations

import time
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from spikingjelly.activation_based import functional
from torch import nn

from neurokit.errors import InputError, MissingRuntimeError
from neurokit.nets.spiking_cnn import SpikingCNN

TIME_STEPS = 4
BATCH = 64
LEARNING_RATE = 1e-2


@dataclass(frozen=True)
class Digits:
    """The UCI handwritten digits that scikit-learn ships, split into training and held-out images.

    Attributes:
        train_images: `[N, 1, 8, 8]`, float32, brightness 0 to 1.
        train_labels: `[N]`, 0 to 9.
        test_images: Held-out images, a quarter of all, the same share of every digit.
        test_labels: Their labels.
    """

    train_images: torch.Tensor
    train_labels: torch.Tensor
    test_images: torch.Tensor
    test_labels: torch.Tensor


def load_digits(seed: int = 0) -> Digits:
    """Returns the 1,797 digits in a split that depends on `seed` alone.

    Raises:
        MissingRuntimeError: If scikit-learn is not installed.
    """
    try:
        from sklearn.datasets import load_digits as sklearn_digits
        from sklearn.model_selection import train_test_split
    except ImportError as error:
        raise MissingRuntimeError(
            "the digits come with scikit-learn, which is not installed",
            fix='pip install "neurokit-edge[demo]"',
        ) from error
    data = sklearn_digits()
    images = torch.from_numpy(data.images).float().unsqueeze(1) / 16  # 4-bit brightness, 0 to 16
    labels = torch.from_numpy(data.target)
    train, test = train_test_split(range(len(labels)), test_size=0.25, random_state=seed, stratify=data.target)
    return Digits(images[train], labels[train], images[test], labels[test])


def as_sequence(images: torch.Tensor, time_steps: int = TIME_STEPS) -> torch.Tensor:
    """Shows every image at each of T steps: `[B, 1, 8, 8]` to `[T, B, 1, 8, 8]`."""
    return images.unsqueeze(0).repeat(time_steps, 1, 1, 1, 1)


def accuracy(module: nn.Module, images: torch.Tensor, labels: torch.Tensor) -> float:
    """Returns the share of `images` that `module` classifies rightly, in evaluation mode."""
    training = module.training
    module.eval()
    functional.reset_net(module)
    with torch.no_grad():
        right = (module(as_sequence(images)).argmax(1) == labels).float().mean()
    functional.reset_net(module)
    module.train(training)
    return float(right)


def train_digits(seconds: float = 60.0, seed: int = 0, epochs: int = 20) -> tuple[nn.Module, float]:
    """Trains a `SpikingCNN` on the digits.

    Args:
        seconds: Wall-clock time after which no further epoch is begun.
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
    start = time.perf_counter()
    digits = load_digits(seed)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        module = SpikingCNN().train()
        batches = -(-len(digits.train_labels) // BATCH)
        optimiser = torch.optim.AdamW(module.parameters(), lr=LEARNING_RATE, weight_decay=1e-3)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, LEARNING_RATE, total_steps=epochs * batches)
        for _ in range(epochs):
            if time.perf_counter() - start > seconds:
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
