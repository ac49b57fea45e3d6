"""Models that take bytes of pixels or samples of sound: declared arithmetic as the first layers of the module."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from neurokit.data.sound import SMALLEST, sinc_of, spectrum_of
from neurokit.spec import PreprocessStep


def arithmetic_of(steps: Sequence[PreprocessStep], model: nn.Module | None = None) -> PixelModel:
    """Returns ToDtype and Normalize as a module, with a model behind them or alone."""
    scale = any(step.name == "ToDtype" and step.settings.get("scale") for step in steps)
    norms = [(step.settings["mean"], step.settings["std"]) for step in steps if step.name == "Normalize"]
    return PixelModel(nn.Identity() if model is None else model, scale, norms)


class PixelModel(nn.Module):
    """Scales and normalises `[..., C, H, W]` of bytes, then runs a model.

    Args:
        model: Takes float32.
        scale: Whether bytes become 0 to 1.
        norms: Mean and deviation a channel, or one each; applied in order.
    """

    def __init__(self, model: nn.Module, scale: bool, norms: Sequence[tuple[Sequence[float], Sequence[float]]]) -> None:
        super().__init__()
        self.model, self.scale = model, scale
        for at, (mean, std) in enumerate(norms):
            self.register_buffer(f"mean{at}", torch.tensor(mean).reshape(-1, 1, 1))
            self.register_buffer(f"std{at}", torch.tensor(std).reshape(-1, 1, 1))
        self.count = len(norms)

    def forward(self, x: Tensor) -> Tensor:
        """Returns what the model says of pixels."""
        x = x.to(torch.float32)
        if self.scale:
            x = x / 255.0
        for at in range(self.count):
            x = (x - getattr(self, f"mean{at}")) / getattr(self, f"std{at}")
        return self.model(x)


class SoundModel(nn.Module):
    """Resamples samples `[..., N]`, makes mel spectrograms and decibels of them, then runs a model.

    Transforms are strided convolutions with fixed filters, so that an exporter sees Conv and a runtime needs no complex
    numbers; the filters are those by which files are prepared outside of a graph (`neurokit.data.sound`).

    Args:
        model: Takes `[..., *shape]`.
        steps: Resample, MelSpectrogram and AmplitudeToDB, in order.
        shape: Of one sample, as the model takes it.
    """

    def __init__(self, model: nn.Module, steps: Sequence[PreprocessStep], shape: Sequence[int]) -> None:
        super().__init__()
        self.model, self.shape = model, tuple(shape)
        self.steps = nn.ModuleList(_LAYERS[step.name](**step.settings) for step in steps)

    def forward(self, x: Tensor) -> Tensor:
        """Returns what the model says of sound."""
        lead = x.shape[:-1]
        x = x.reshape(-1, 1, x.shape[-1])
        for step in self.steps:
            x = step(x)
        return self.model(x.reshape(*lead, *self.shape))


class _Resample(nn.Module):
    kernels: Tensor

    def __init__(self, orig_freq: int = 16_000, new_freq: int = 16_000) -> None:
        super().__init__()
        kernels, self.width, self.old, self.new = sinc_of(orig_freq, new_freq)
        self.register_buffer("kernels", torch.from_numpy(kernels).float().unsqueeze(1), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        if self.old == self.new:
            return x
        made = F.conv1d(F.pad(x, (self.width, self.width + self.old)), self.kernels, stride=self.old)
        length = math.ceil(self.new * x.shape[-1] / self.old)
        return made.transpose(1, 2).reshape(-1, 1, made.shape[1] * made.shape[2])[..., :length]


class _MelSpectrogram(nn.Module):
    filters: Tensor
    bands: Tensor

    def __init__(self, **settings: Any) -> None:
        super().__init__()
        made = spectrum_of(settings)
        self.hop, self.zeros, self.edge, self.power = made.hop, made.zeros, made.edge, made.power
        self.pad_mode = made.pad_mode
        self.register_buffer("filters", torch.from_numpy(made.filters).unsqueeze(1), persistent=False)
        self.register_buffer("bands", torch.from_numpy(made.bands).unsqueeze(2), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        if self.zeros:
            x = F.pad(x, (self.zeros, self.zeros))
        if self.edge:
            x = F.pad(x, (self.edge, self.edge), mode=self.pad_mode)
        real, imaginary = F.conv1d(x, self.filters, stride=self.hop).chunk(2, dim=1)
        power = real * real + imaginary * imaginary
        return F.conv1d(power if self.power == 2 else power.sqrt(), self.bands)


class _Decibels(nn.Module):
    def __init__(self, stype: str = "power", top_db: float | None = None) -> None:
        super().__init__()
        self.factor, self.top_db = (10.0 if stype == "power" else 20.0) / math.log(10.0), top_db

    def forward(self, x: Tensor) -> Tensor:
        level = x.clamp_min(SMALLEST).log() * self.factor
        return level if self.top_db is None else torch.maximum(level, level.amax((1, 2), keepdim=True) - self.top_db)


_LAYERS: dict[str, Callable[..., nn.Module]] = {
    "Resample": _Resample,
    "MelSpectrogram": _MelSpectrogram,
    "AmplitudeToDB": _Decibels,
}
