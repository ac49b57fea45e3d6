"""Real handwritten digits, and the training of `SpikingCNN` on them."""

from __future__ import annotations

from dataclasses import dataclass

import torch

from neurokit.errors import MissingRuntimeError

TIME_STEPS = 4


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
