"""A model as training calls it: images of bytes in, logits `[B, classes]` out, whatever it takes over time."""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from neurokit.data.in_graph import PixelModel, arithmetic_of
from neurokit.data.prepare import picture_steps
from neurokit.errors import InputError
from neurokit.models.common.silhouette import Silhouette
from neurokit.spec import ModelSpec


def channels_of(spec: ModelSpec) -> int:
    """Returns how many channels training images have: one for grey pictures, three for colours.

    Raises:
        InputError: If the model takes no image, or names no classes to learn.
    """
    task = spec.task.name if spec.task else None
    if task != "classification":
        raise InputError(
            f"model {spec.name!r} has {f'the task {task}' if task else 'no task'}",
            expected="a model of one image that classifies",
            fix="give its ModelSpec classes=(...)",
        )
    if spec.graphs or len(spec.inputs) != 1 or len(spec.inputs[0].shape) != 3:
        raise InputError(f"model {spec.name!r} takes no single image", expected="one input of C, H and W")
    channels = spec.inputs[0].numbers[0]
    if channels not in (1, 3):
        raise InputError(f"model {spec.name!r} takes {channels} channels", expected="1 (grey) or 3 (colours)")
    return 1 if _settings(spec).get("threshold") else channels


def _settings(spec: ModelSpec) -> dict[str, Any]:
    return dict(spec.task.settings) if spec.task else {}


class Prepared(nn.Module):
    """Brings images of bytes into the numbers that a model's input takes, as its task does for single files."""

    def __init__(self, spec: ModelSpec) -> None:
        super().__init__()
        port, settings = spec.inputs[0], _settings(spec)
        self.whole = "int" in port.dtype
        mean, std = settings.get("mean"), settings.get("std")
        self.front = Silhouette(port.numbers[1], mean or (0.0,), std or (1.0,)) if settings.get("threshold") else None
        span = (port.low, port.high - port.low)
        self.shift = _row(mean) if mean else torch.tensor(-span[0] / span[1])
        self.scale = _row(std) if std else torch.tensor(1 / span[1])
        self.dtype = getattr(torch, port.dtype)
        declared = spec.preprocess[len(picture_steps(spec.preprocess)) :]
        self.arithmetic = arithmetic_of(declared) if declared and not self.whole else None

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Returns `[B, C, H, W]` as the model takes it."""
        if self.front is not None:
            return self.front(images).to(self.dtype)
        if self.whole:
            return images.to(self.dtype)
        if self.arithmetic is not None:
            return self.arithmetic(images).to(self.dtype)
        shift, scale = self.shift.to(images.device), self.scale.to(images.device)
        return ((images.float() / 255 - shift) / scale).to(self.dtype)


def _row(values: Any) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.float32).reshape(-1, 1, 1)


class Classifier(nn.Module):
    """A model and what is around it in training.

    Attributes:
        model: The module that the specification builds.
        saved: The user's own module in it, without a preprocessing in the graph: what is saved, and what `--weights`
            of every command loads.
    """

    def __init__(self, spec: ModelSpec) -> None:
        super().__init__()
        self.prepare = Prepared(spec)
        self.model = spec.build()
        self.saved = self.model.model if isinstance(self.model, PixelModel) else self.model
        self.steps, self.time_input = spec.time_steps, spec.time_input

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Returns logits `[B, classes]`, of a spiking model their mean over time; its neurons are at rest before."""
        x = self.prepare(images)
        if self.steps is None:
            return _logits(self.model(x))
        from spikingjelly.activation_based import functional

        functional.reset_net(self.model)
        if self.time_input == "image":
            return _mean_over(_logits(self.model(x)), self.steps, len(x))
        if self.time_input == "step":
            return torch.stack([_logits(self.model(x)) for _ in range(self.steps)]).mean(0)
        return _mean_over(_logits(self.model(x.unsqueeze(0).repeat(self.steps, 1, 1, 1, 1))), self.steps, len(x))


def _logits(output: Any) -> torch.Tensor:
    if isinstance(output, tuple | list):
        output = output[0]
    elif isinstance(output, dict):
        output = next(iter(output.values()))
    return output


def _mean_over(y: torch.Tensor, steps: int, batch: int) -> torch.Tensor:
    return y.mean(0) if y.dim() == 3 and y.shape[:2] == (steps, batch) else y
