"""The convolutions and products that benchmarks/int8_conv.py measures, and the launch parameters that it tries."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass, replace

from neurokit.kernels.config import Config
from neurokit.kernels.spike_conv_lif import boxes, place, splits
from neurokit.kernels.spike_conv_lif import rows as by_rows

from .shapes import WIDTHS, expansions, mixers, reductions

STEPS = 4


@dataclass(frozen=True)
class Shape:
    """A convolution: `inner` to `cols` channels at `size` x `size` pixels, padded by half its kernel.

    With `shortcut` a residual is added, the sum is rounded to a grid and handed on, as where a block ends. `width` is
    the bytes of a spike and of a weight: 1 for int8, 2 for float16. A 1x1 `picture` is a convolution of one row, and
    not a product of rows. With `numbers` the input are those from 0 to 255, in int8 less 128, and so is the output.
    """

    network: str
    batch: int
    inner: int
    cols: int
    size: int
    stride: int = 1
    kernel: int = 3
    steps: int = STEPS
    shortcut: bool = False
    width: int = 1
    picture: bool = False
    numbers: bool = False

    @property
    def out(self) -> int:
        """Pixels across the output."""
        return (self.size - 1) // self.stride + 1

    @property
    def few(self) -> bool:
        """Whether there are few neurons, as at batch 1."""
        return self.pixels * self.cols < boxes.FEW

    @property
    def single(self) -> bool:
        """Whether there are fewer tiles than multiprocessors."""
        return self.pixels * self.cols < boxes.SINGLE

    @property
    def flat(self) -> bool:
        """Whether it is a product of rows, or a convolution of one row, as a 1x1 convolution of stride 1 is."""
        return self.kernel == 1 and self.stride == 1

    @property
    def pixels(self) -> int:
        """Pixels of one step of the output; a product's rows."""
        return self.size if self.flat else self.batch * self.out**2

    @property
    def label(self) -> str:
        """How the shape is named in the record."""
        end = ", shortcut" if self.shortcut else ""
        if self.flat:
            return f"1x1 {self.inner} to {self.cols}, M={self.size}{end}"
        place = f"{self.size} /{self.stride}, B={self.batch}{end}"
        return f"{self.kernel}x{self.kernel} {self.inner} to {self.cols} at {place}"

    @property
    def operations(self) -> float:
        """Additions and multiplications."""
        return 2.0 * self.steps * self.pixels * self.cols * self.taps

    @property
    def taps(self) -> int:
        """Products of a neuron's sum."""
        return self.kernel**2 * self.inner

    @property
    def moved(self) -> float:
        """Bytes that have to be read and written once."""
        read = self.size if self.flat else self.batch * self.size**2
        currents = 8 // self.width if self.shortcut else 0  # two: float32, or float16 beside float16 weights
        written = self.pixels * self.cols * (self.width + currents)
        return self.steps * (self.width * read * self.inner + written) + self.width * self.cols * self.taps


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


def _sew_resnet(batch: int, network: str = "sew_resnet18/34", across: int = 56) -> Iterator[Shape]:
    for halved, width in enumerate((64, 128, 256, 512)):
        yield Shape(network, batch, width, width, across >> halved)
        if width < 512:
            yield Shape(network, batch, width, 2 * width, across >> halved, 2)


def puppets(batch: int) -> Iterator[Shape]:
    """Yields every 3x3 convolution on spikes of puppets_sew_resnet34, whose pictures have 64 x 64 pixels."""
    return _sew_resnet(batch, "puppets_sew_resnet34", 16)


def products(batch: int) -> Iterator[Shape]:
    """Yields every 1x1 product on spikes of the three Meta-SpikeFormers, each once, as an image of one row."""
    seen = set()
    for size in ("31m", "55m", "15m"):
        listed = expansions(size, batch) + reductions(size, batch) + mixers(size, batch)
        listed += [(rows, cols, inner) for rows, inner, cols in mixers(size, batch)]
        listed += [(rows, inner, 3 * inner) for rows, inner, _ in mixers(size, batch)]  # of Q, K and V, each its own
        for rows, inner, cols in listed:
            if (rows, inner, cols) not in seen and cols % place.ALIGNED == 0:
                seen.add((rows, inner, cols))
                yield Shape(f"metaspikeformer_{size}", 1, inner, cols, rows, 1, 1)


def repconvs(batch: int) -> Iterator[Shape]:
    """Yields the 3x3 convolutions that an exact Meta-SpikeFormer makes of its RepConvs: those of Q, K, V, and the last.

    Q, K and V of one input are one convolution; the last one's ends at the shortcut.
    """
    for size in ("31m", "55m", "15m"):
        for width in WIDTHS[size][2:]:
            if width % place.ALIGNED == 0:
                yield Shape(f"metaspikeformer_{size}", batch, width, 3 * width, 14)
                yield Shape(f"metaspikeformer_{size}", batch, width, width, 14, shortcut=True)


def shortcuts(batch: int) -> Iterator[Shape]:
    """Yields the convolutions and products that end a block of a Meta-SpikeFormer."""
    for size in ("31m", "55m", "15m"):
        network, (c1, c2, *_) = f"metaspikeformer_{size}", WIDTHS[size]
        for width, across in ((c1 // 2, 112), (c1, 56), (c2, 28)):
            yield Shape(network, batch, 4 * width, width, across, shortcut=True)
        listed = reductions(size, batch) + [(rows, cols, inner) for rows, inner, cols in mixers(size, batch)]
        listed += [(rows, inner, inner) for rows, inner, _ in mixers(size, batch)]  # what ends a RepConv
        for rows, inner, cols in listed:
            if cols % place.ALIGNED == 0:
                yield Shape(network, 1, inner, cols, rows, 1, 1, shortcut=True)


# Channels in and out, and pixels across the input, of convolutions and products of spiking networks of SpikingJelly.
_VGG11 = ((64, 128, 112), (128, 256, 56), (256, 256, 56), (256, 512, 28), (512, 512, 28), (512, 512, 14))
_SPIKFORMER = ((32, 64, 112), (64, 128, 56), (128, 256, 28), (256, 256, 14))
_QKFORMER = ((48, 96, 112), (96, 96, 56), (96, 192, 56), (192, 192, 28), (192, 384, 28), (384, 384, 14))


def zoo(batch: int) -> Iterator[Shape]:
    """Yields the convolutions and products on spikes of spiking_vgg11_bn, spikformer_ti, qkformer and ms_resnet18."""
    for name, listed in (("spiking_vgg11", _VGG11), ("spikformer_ti", _SPIKFORMER), ("qkformer", _QKFORMER)):
        for inner, cols, across in listed:
            yield Shape(name, batch, inner, cols, across)
    for inner, cols in ((25088, 4096), (4096, 4096), (4096, 1000)):
        yield Shape("spiking_vgg11" + " head" * (cols == 1000), 1, inner, cols, batch, 1, 1)
    yield Shape("ms_resnet18", batch, 64, 64, 112, 2)
    for inner, cols, across in ((64, 64, 112), (64, 128, 56), (128, 256, 28), (256, 512, 14)):
        yield Shape("ms_resnet18 shortcut", batch, inner, cols, across, 2, 1, picture=True)
    for name, width, tokens in (("spikformer_ti", 256, 196), ("qkformer", 384, 196), ("qkformer", 192, 784)):
        for inner, cols in ((width, 3 * width), (width, width), (width, 4 * width), (4 * width, width)):
            if tokens == 196 or cols != 3 * width:
                yield Shape(name, 1, inner, cols, batch * tokens, 1, 1)
    yield Shape("qkformer", 1, 192, 384, batch * 784, 1, 1)
    for inner, cols in ((96, 192), (96, 96), (96, 384), (384, 96)):
        yield Shape("qkformer", 1, inner, cols, batch * 3136, 1, 1)


# Channels of mobilenet_v2's bottlenecks, and of what they expand to, and pixels across.
_BOTTLENECKS = (
    (16, 96, 112),
    (24, 144, 56),
    (32, 192, 28),
    (64, 384, 14),
    (96, 576, 14),
    (160, 960, 7),
    (320, 1280, 7),
)
_REDUCED = ((32, 16, 112), (96, 24, 56), (144, 24, 56), (144, 32, 28), (192, 32, 28), (192, 64, 14), (384, 64, 14))
_REDUCED_LATE = ((384, 96, 14), (576, 96, 14), (576, 160, 7), (960, 160, 7), (960, 320, 7))


def images8(batch: int) -> Iterator[Shape]:
    """Yields the convolutions of exact resnet34, on int8 numbers less 128, and the expansions of exact mobilenet_v2."""
    for shape in _resnet34(batch):
        yield replace(shape, numbers=True)
    for inner, cols, across in _BOTTLENECKS:
        yield Shape("mobilenet_v2", 1, inner, cols, batch * across**2, 1, 1, 1)


def images16(batch: int) -> Iterator[Shape]:
    """Yields the convolutions on whole numbers as float16 of exact mobilenet_v2, and those of resnet34 in float16."""
    for inner, cols, across in (*_REDUCED, *_REDUCED_LATE):
        yield Shape("mobilenet_v2", 1, inner, cols, batch * across**2, 1, 1, 1, picture=True)
    for name, inner in (("mobilenet_v2", 1280), ("resnet34", 512)):  # their heads, of 15 classes
        yield Shape(f"{name} head", 1, inner, 15, batch, 1, 1, 1, picture=True)
    yield from _resnet34(batch)


def _resnet34(batch: int) -> Iterator[Shape]:
    for width, across in ((64, 56), (128, 28), (256, 14), (512, 7)):
        yield Shape("resnet34", batch, width, width, across, steps=1)
        if width < 512:
            yield Shape("resnet34", batch, width, 2 * width, across, 2, steps=1)
            yield Shape("resnet34", batch, width, 2 * width, across, 2, 1, steps=1, picture=True)


def candidates(shape: Shape) -> list[Config]:
    """Returns the parameters to try: (channels, lanes, warps) of a tile, blocks of the sum, one or many tiles."""
    tiles = [(64, 256, 4), (128, 256, 8), (128, 128, 4), (256, 128, 8)]
    if shape.few:
        tiles += [(64, 128, 4), (64, 64, 4), (128, 64, 4)]
    if shape.single:
        tiles = [(64, 128, 4), (64, 64, 4), (64, 32, 4), (128, 32, 4), (128, 64, 4), (64, 16, 4), (128, 128, 4)]
    least = -(-shape.cols // 64) * 64
    if least == 64:
        tiles.append((64, 512, 8))
    found = []
    for tile in tiles:
        if -(-shape.cols // tile[0]) * tile[0] <= 1.26 * least:
            many = (0,) if shape.few else (8 // tile[2],)
            found += [_config(shape, tile, blocks, waves) for blocks in _blocks(shape) for waves in many]
    if shape.cols % 128 == 64 and shape.cols < 256:  # a third of the lanes idle, but each box serves twice as many
        found += [_config(shape, (128, 256, 8), blocks, 1) for blocks in _blocks(shape)[:1]]
    if shape.single:
        found += [split for one in found for split in _split(shape, one)]
    return [c for c in found if c["num_stages"] >= 2]


# Programs of a split sum that are aimed at: one, two and four on each of an H200's multiprocessors.
_PROGRAMS = (132, 264, 528)


def _split(shape: Shape, whole: Config) -> list[Config]:
    """Returns parameters whose sums are split over programs, where whole ones leave multiprocessors idle."""
    if whole["tail_k"]:
        return []
    if whole["cols"] * whole["images"] * whole["tall"] * whole["wide"] * boxes.padded_steps(shape.steps) < 64 * 64:
        return []  # tiles this small are another way to have more programs
    size = (1, 1, shape.size) if shape.flat else (shape.batch, shape.out, shape.out)
    tiles = boxes.tiles_of(size, shape.cols, whole)
    inner = place.filled(shape.inner)
    paired = boxes.pairs(shape.stride, shape.size, inner, whole)
    blocks = -(-inner // whole["block_k"])
    rounds = splits.rounds(shape.kernel, shape.kernel, shape.stride, shape.kernel // 2, paired, blocks)
    possible = [n for n in range(2, sum(rounds) // 2 + 1) if splits.parts(n, tiles, rounds) == n]
    chosen = {min(possible, key=lambda n: abs(n * tiles - aim)) for aim in _PROGRAMS} if possible else set()
    return [{**whole, "splits": n} for n in sorted(chosen) if n * tiles <= 1.5 * _PROGRAMS[-1]]


def row_candidates(shape: Shape) -> list[Config]:
    """Returns parameters to try of the kernel whose taps share rows: two programs of four warps, or one of eight.

    Of int8 boxes win where tiles leave multiprocessors idle; in 16 bits a tile takes twice as long, and both are tried.
    """
    if shape.kernel <= shape.stride or shape.size % shape.stride or (shape.width == 1 and shape.single):
        return []
    size, most = (shape.batch, shape.out, shape.out), boxes.LANES // (2 if shape.single else 1)
    broad = -(-shape.cols // 128) * 128 <= 1.26 * -(-shape.cols // 64) * 64
    found = []
    for lanes in (most, most // 2):
        pixels = lanes // boxes.padded_steps(shape.steps)
        cost = lambda tile: by_rows.cost(tile, size, shape.stride)  # noqa: E731
        tallest = {tile[1]: tile for tile in sorted(by_rows.tiles(pixels), key=cost, reverse=True)}
        best = sorted(tallest.values(), key=cost)  # of each height the best one
        for tile in best[: 3 if lanes == most else 2]:
            found += _rows_of(shape, tile, broad and lanes == boxes.LANES)
    sizes = by_rows.Sizes(shape.width, shape.width, (4 if shape.width == 1 else 2) * shape.shortcut)
    fits = (by_rows.fitted(one, shape.steps, shape.kernel, sizes, shape.stride) for one in found)
    held = [one for one, fit in zip(found, fits, strict=True) if fit and fit["programs"] == one["programs"]]
    return [one for one in held if shape.stride == 1 or place.filled(shape.inner) % one["block_k"] == 0]


def _rows_of(shape: Shape, tile: tuple[int, int, int], broad: bool) -> list[Config]:
    """Returns parameters of a tile of so many (images, rows, columns), of 128 channels, too, where it may be broad."""
    of = dict(zip(("images", "tall", "wide"), tile, strict=True))
    blocks = (64,) if shape.width == 1 else (32, 64)  # of 64 and 128 bytes of a pixel
    if shape.width == 1 and place.filled(shape.inner) % 64:
        blocks = (32, 64)
    narrow = [{**of, "block_k": k, "cols": 64, "num_warps": 4, "programs": 2} for k in blocks]
    wide = [{**of, "block_k": k, "cols": 128, "num_warps": 8, "programs": 1} for k in blocks]
    return narrow + wide if broad else narrow


def pointer_candidates(shape: Shape) -> list[Config]:
    """Returns parameters to try of the kernel by pointers, which may win where a pixel has few channels."""
    if shape.inner > 128 and shape.kernel > 1:
        return []
    block = 32 if shape.inner <= 32 else 64 if shape.inner <= 64 or shape.inner % 128 or shape.width > 1 else 128
    names = ("rows", "cols", "block_k", "num_warps", "num_stages", "chunk")
    rows = [(64, 64, block, 4, 4, 4), (64, 128, block, 8, 4, 4), (128, 64, block, 8, 4, 4)]
    if shape.kernel == 1:
        rows[2:] = [(64, 128, 128, 8, 3, 4), (64, 64, 128, 4, 3, 4)]
        if shape.single:
            rows += [(64, 32, 128, 4, 4, 4), (16, 32, 256, 4, 3, 4)]
    return [dict(zip(names, row, strict=True)) for row in rows]


def _config(shape: Shape, tile: tuple[int, int, int], blocks: tuple[int, int], waves: int) -> Config:
    cols, lanes, warps = tile
    pixels = lanes // boxes.padded_steps(shape.steps)
    size = (1, 1, shape.size) if shape.flat else (shape.batch, shape.out, shape.out)
    images, tall, wide = boxes.divide(pixels, *size)
    return {
        "images": images,
        "tall": tall,
        "wide": wide,
        "cols": cols,
        "block_k": blocks[0],
        "tail_k": blocks[1],
        "waves": waves,
        "num_warps": warps,
        "num_stages": min(6, boxes.SHARED[warps] // ((cols + lanes) * sum(blocks) * shape.width)),
    }


def _blocks(shape: Shape) -> list[tuple[int, int]]:
    whole = place.filled(shape.inner)
    if shape.width > 1:  # 64 numbers are the 128 bytes that a descriptor swizzles
        return [(32 if whole == 32 else 64, 0)] + ([(64, 32)] if whole == 96 else [])
    first = boxes.blocks_of(whole)
    more = {192: [(128, 64)], 96: [(128, 0)]}.get(whole, [])
    return [first, *more]
