"""The 3x3 convolutions that benchmarks/int8_conv.py measures, and the launch parameters that it tries."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass

from neurokit.kernels.config import Config
from neurokit.kernels.spike_conv_lif import boxes

from .shapes import WIDTHS

STEPS = 4
# What one program may hold in shared memory, so that one or two of them fit beside each other (228 KB, CUDA C
# programming guide, compute capability 9.0).
SHARED = {8: 220_000, 4: 108_000}


@dataclass(frozen=True)
class Shape:
    """A convolution: `inner` to `cols` channels at `size` x `size` pixels, padded by half its kernel."""

    network: str
    batch: int
    inner: int
    cols: int
    size: int
    stride: int = 1
    kernel: int = 3
    steps: int = STEPS

    @property
    def out(self) -> int:
        """Pixels across the output."""
        return (self.size - 1) // self.stride + 1

    @property
    def label(self) -> str:
        """How the shape is named in the record."""
        return f"{self.kernel}x{self.kernel} {self.inner} to {self.cols} at {self.size} /{self.stride}, B={self.batch}"

    @property
    def operations(self) -> float:
        """Additions and multiplications."""
        return 2.0 * self.steps * self.batch * self.out**2 * self.cols * self.kernel**2 * self.inner

    @property
    def moved(self) -> float:
        """Bytes that have to be read and written once."""
        images = self.steps * self.batch
        return images * (self.size**2 * self.inner + self.out**2 * self.cols) + self.cols * self.kernel**2 * self.inner


def convolutions(batch: int) -> Iterator[Shape]:
    """Yields every 3x3 convolution on spikes of the three Meta-SpikeFormers and of SEW-ResNet-18 and 34, each once."""
    seen = set()
    for shape in itertools.chain(
        _metaspikeformer(batch, "31m"), _sew_resnet(batch), _metaspikeformer(batch, "55m", "15m")
    ):
        key = (shape.inner, shape.cols, shape.size, shape.stride)
        if key not in seen:
            seen.add(key)
            yield shape


def _metaspikeformer(batch: int, *sizes: str) -> Iterator[Shape]:
    for size in sizes:
        c1, c2, c3, c4 = WIDTHS[size]
        network = f"metaspikeformer_{size}"
        for width, across in ((c1 // 2, 112), (c1, 56), (c2, 28)):
            yield Shape(network, batch, width, 4 * width, across)
            yield Shape(network, batch, 4 * width, width, across)
        # Between the stages: the image is halved, except before the last one.
        yield Shape(network, batch, c1 // 2, c1, 112, 2)
        yield Shape(network, batch, c1, c2, 56, 2)
        yield Shape(network, batch, c2, c3, 28, 2)
        if c4 % 16 == 0:
            yield Shape(network, batch, c3, c4, 14)


def _sew_resnet(batch: int) -> Iterator[Shape]:
    for width, across in ((64, 56), (128, 28), (256, 14), (512, 7)):
        yield Shape("sew_resnet18/34", batch, width, width, across)
        if width < 512:
            yield Shape("sew_resnet18/34", batch, width, 2 * width, across, 2)


def candidates(shape: Shape) -> list[Config]:
    """Returns the parameters to try: (channels, lanes, warps) of a tile, blocks of the sum, one or many tiles."""
    tiles = [(64, 256, 4), (128, 256, 8), (128, 128, 4), (64, 128, 4), (256, 128, 8)]
    if shape.batch == 1:
        tiles += [(64, 64, 4), (128, 64, 4)]
    least = -(-shape.cols // 64) * 64
    found = []
    for tile in tiles:
        if -(-shape.cols // tile[0]) * tile[0] <= 1.26 * least:
            many = shape.batch > 1 and tile[:2] in ((64, 256), (128, 256))
            found += [_config(shape, tile, blocks, 0) for blocks in _blocks(shape.inner)]
            found += [_config(shape, tile, _blocks(shape.inner)[0], 8 // tile[2])] if many else []
    return [c for c in found if c["num_stages"] >= 2]


def _config(shape: Shape, tile: tuple[int, int, int], blocks: tuple[int, int], waves: int) -> Config:
    cols, lanes, warps = tile
    pixels = lanes // boxes.padded_steps(shape.steps)
    images, tall, wide = boxes.divide(pixels, shape.batch, shape.out, shape.out)
    return {
        "images": images,
        "tall": tall,
        "wide": wide,
        "cols": cols,
        "block_k": blocks[0],
        "tail_k": blocks[1],
        "waves": waves,
        "num_warps": warps,
        "num_stages": min(6, SHARED[warps] // ((cols + lanes) * sum(blocks))),
    }


def _blocks(channels: int) -> list[tuple[int, int]]:
    first = boxes.blocks_of(channels)
    more = [(64, 0)] if channels % 64 == 0 and first != (64, 0) else []
    if channels == 96:
        more = [(32, 0)]
    return [first, *more]
