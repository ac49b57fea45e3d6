"""A small network without neurons, trained on real handwritten digits, in float and in int8.

    python examples/digits_ann.py build/digits
    neurokit export examples/digits_ann.py:digits_cnn --target onnx-int8 --out build/digits/int8 \
        --calibration build/digits/calibration.npy --data build/digits/heldout.npz

The first command writes 256 training images for calibration, and the 450 held-out images with their labels.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from neurokit.data.digits import load_digits
from neurokit.spec import ModelSpec, TensorSpec

CALIBRATION = 256
EPOCHS, BATCH = 12, 64


def digits_cnn() -> ModelSpec:
    """Two convolutions with batch normalisation, pooling and a linear layer: 8x8 images, 10 classes."""
    return ModelSpec(
        "digits_cnn",
        trained,
        (TensorSpec("image", (1, 8, 8)),),
        classes=tuple("0123456789"),
        description="small convolutional network, handwritten digits",
        source="UCI handwritten digits",
        example=lambda batch, steps, seed: load_digits().train_images[seed * batch : (seed + 1) * batch],
    )


def trained() -> nn.Module:
    """Trains on the training images, for about two seconds; the same weights every time on one machine."""
    digits = load_digits()
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        net = nn.Sequential(
            nn.Conv2d(1, 16, 3, padding=1, bias=False),
            nn.BatchNorm2d(16),
            nn.ReLU(),
            nn.Conv2d(16, 32, 3, padding=1, bias=False),
            nn.BatchNorm2d(32),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Flatten(),
            nn.Linear(32 * 4 * 4, 10),
        )
        optimiser = torch.optim.AdamW(net.parameters(), lr=3e-3)
        for _ in range(EPOCHS):
            for rows in torch.randperm(len(digits.train_labels)).split(BATCH):
                loss = F.cross_entropy(net(digits.train_images[rows]), digits.train_labels[rows])
                optimiser.zero_grad()
                loss.backward()
                optimiser.step()
    return net.eval()


def write_data(folder: Path) -> None:
    """Writes calibration.npy and heldout.npz."""
    digits = load_digits()
    folder.mkdir(parents=True, exist_ok=True)
    np.save(folder / "calibration.npy", digits.train_images[:CALIBRATION].numpy())
    np.savez(folder / "heldout.npz", x=digits.test_images.numpy(), y=digits.test_labels.numpy())


if __name__ == "__main__":
    write_data(Path(sys.argv[1]))
