"""Synthetic inputs that excite a network as photographs do, where no real ones are at hand."""

from __future__ import annotations

import torch


def images(batch: int, shape: tuple[int, int, int], seed: int = 0) -> torch.Tensor:
    """Returns noise with the 1/f amplitude spectrum of natural images (Field, J. Opt. Soc. Am. A 4, 1987).

    Args:
        batch: Number of images.
        shape: (C, H, W) of one image.
        seed: Seed of the generator.

    Returns:
        `[batch, C, H, W]`, float32, each image with zero mean and unit variance, as normalised photographs have.
    """
    generator = torch.Generator().manual_seed(seed)
    noise = torch.randn(batch, *shape, generator=generator)
    rows, columns = torch.fft.fftfreq(shape[1]), torch.fft.rfftfreq(shape[2])
    frequency = torch.sqrt(rows[:, None] ** 2 + columns[None, :] ** 2)
    # The constant term carries no structure; the lowest frequency that an image has is 1 / its size.
    spectrum = torch.fft.rfft2(noise) / frequency.clamp_min(1.0 / max(shape[1:]))
    pictures = torch.fft.irfft2(spectrum, s=shape[1:])
    mean = pictures.mean((1, 2, 3), keepdim=True)
    return (pictures - mean) / pictures.std((1, 2, 3), keepdim=True)


def repeated_images(batch: int, time_steps: int, seed: int, shape: tuple[int, int, int]) -> torch.Tensor:
    """Returns `images`, each shown at every step: `[T, B, C, H, W]`."""
    return images(batch, shape, seed).unsqueeze(0).repeat(time_steps, 1, 1, 1, 1)
