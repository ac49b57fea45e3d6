"""The networks that vendors' mappers and hw_sim are asked about: plain data, which both environments can read."""

from __future__ import annotations

from typing import Any

# ("c", in, out, kernel, stride, padding[, bias]): convolution and neurons; ("p", k): average pooling;
# ("f", in, out): flatten, fully connected and neurons.
Layers = list[tuple[Any, ...]]

DYNAPCNN: dict[str, tuple[tuple[int, int, int], Layers]] = {
    "gesture": (
        (2, 128, 128),
        [
            ("c", 2, 16, 2, 2, 0),
            ("p", 2),
            ("c", 16, 16, 3, 1, 1),
            ("p", 2),
            ("c", 16, 32, 3, 1, 1),
            ("p", 2),
            ("c", 32, 32, 3, 1, 1),
            ("p", 2),
            ("c", 32, 64, 3, 1, 1),
            ("p", 2),
            ("f", 256, 11),
        ],
    ),
    "gesture strides": (
        (2, 128, 128),
        [
            ("c", 2, 8, 2, 2, 0),
            ("c", 8, 16, 3, 2, 1),
            ("c", 16, 32, 3, 2, 1),
            ("c", 32, 32, 3, 2, 1),
            ("c", 32, 64, 3, 2, 1),
            ("c", 64, 11, 4, 1, 0),
        ],
    ),
    "wide": ((2, 32, 32), [("c", 2, 40, 3, 2, 1), *[("c", 40, 40, 3, 1, 1)] * 4, ("c", 40, 11, 4, 4, 0)]),
    "biases": (
        (2, 32, 32),
        [("c", 2, 16, 3, 2, 1, True), ("c", 16, 16, 3, 2, 1, True), ("p", 4), ("c", 16, 11, 2, 1, 0, True)],
    ),
    "ten layers": ((2, 16, 16), [("c", 2, 4, 3, 1, 1), *[("c", 4, 4, 3, 1, 1)] * 8, ("f", 1024, 4)]),
    "nine layers": ((2, 16, 16), [("c", 2, 4, 3, 1, 1), *[("c", 4, 4, 3, 1, 1)] * 7, ("f", 1024, 4)]),
    "many neurons": ((2, 64, 64), [("c", 2, 24, 3, 1, 1), ("p", 4), ("f", 6144, 4)]),
    "a side above a power of two": ((1, 66, 66), [("c", 1, 8, 3, 2, 1), ("c", 8, 8, 3, 2, 1), ("f", 2312, 5)]),
    "n-mnist": (
        (2, 34, 34),
        [
            ("c", 2, 8, 3, 2, 1),
            ("c", 8, 16, 3, 1, 1),
            ("p", 2),
            ("c", 16, 16, 3, 1, 1),
            ("p", 2),
            ("f", 256, 256),
            ("f", 256, 10),
        ],
    ),
    "kernel too large": ((2, 32, 32), [("c", 2, 16, 3, 2, 1), ("c", 16, 96, 7, 2, 3), ("c", 96, 4, 4, 4, 0)]),
}

# One convolution or fully connected layer in one block: (input channels, side, output channels, kernel, stride), or
# (inputs, outputs). All of a layer's targets lie in the block.
LOIHI_CONV: dict[str, tuple[int, int, int, int, int]] = {
    "16 to 4 channels": (16, 4, 4, 3, 1),
    "64 to 8 channels": (64, 4, 8, 3, 1),
    "512 to 2 channels": (512, 4, 2, 3, 1),
    "image": (1, 28, 1, 5, 1),
    "stride 2": (8, 16, 16, 3, 2),
    "kernel of one": (64, 8, 16, 1, 1),
    "too many synapses": (256, 10, 16, 3, 1),
    "too many neurons": (2, 34, 2, 3, 1),
}
LOIHI_DENSE: dict[str, tuple[int, int]] = {
    "mnist": (784, 128),
    "square": (1024, 1024),
    "axon wall": (4096, 10),
    "beyond the axon wall": (4100, 10),
    "one row over": (100, 65),
    "whole lists": (100, 64),
}

# For Akida, with the same padding everywhere: weights of four bits, spikes in and out.
AKIDA: dict[str, tuple[tuple[int, int, int], list[tuple[Any, ...]]]] = {
    "small": ((2, 32, 32), [("c", 2, 16, 3, 2, 1), ("c", 16, 32, 3, 2, 1), ("f", 2048, 11)]),
    "filters beyond a memory": ((64, 8, 8), [("c", 64, 256, 3, 1, 1), ("c", 256, 256, 3, 2, 1)]),
    "gesture": (
        (2, 128, 128),
        [("c", 2, 16, 3, 2, 1), ("c", 16, 32, 3, 2, 1), ("c", 32, 64, 3, 2, 1), ("f", 16384, 11)],
    ),
    "tall": ((16, 100, 40), [("c", 16, 32, 3, 1, 1), ("c", 32, 8, 5, 1, 2)]),
    "wide": ((16, 40, 100), [("c", 16, 32, 3, 1, 1), ("c", 32, 8, 5, 1, 2)]),
    "kernels of one": ((64, 16, 16), [("c", 64, 600, 1, 1, 0), ("c", 600, 32, 1, 1, 0)]),
    "kernels of five and seven": (
        (16, 24, 24),
        [("c", 16, 48, 5, 1, 2), ("c", 48, 20, 7, 1, 3), ("c", 20, 10, 3, 1, 1)],
    ),
    "deep": (
        (8, 48, 48),
        [("c", 8, 64, 3, 2, 1), ("c", 64, 128, 3, 2, 1), ("c", 128, 128, 3, 1, 1), ("c", 128, 64, 1, 1, 0)],
    ),
    "many places": ((64, 64, 64), [("c", 64, 16, 3, 1, 1), ("c", 16, 64, 3, 1, 1)]),
    "eight filters too large": ((256, 16, 16), [("c", 256, 512, 3, 1, 1), ("c", 512, 512, 3, 1, 1)]),
    "eighty nodes": ((256, 8, 8), [("c", 256, 256, 3, 1, 1)] * 5),
    "seventy-eight nodes": ((256, 8, 8), [*[("c", 256, 256, 3, 1, 1)] * 4, ("c", 256, 224, 3, 1, 1)]),
    "a large layer": ((32, 16, 16), [("c", 32, 500, 3, 1, 1), ("f", 128000, 10)]),
    "one row over": ((4, 33, 32), [("c", 4, 8, 3, 1, 1), ("c", 8, 8, 3, 1, 1)]),
}

# For Xylo Audio 2: sizes of dense layers, inputs first, and whether the first layer is recurrent.
XYLO: dict[str, tuple[list[int], bool]] = {
    "one hidden layer": ([16, 100, 8], False),
    "two hidden layers": ([16, 63, 63, 8], False),
    "three hidden layers": ([16, 100, 100, 100, 8], False),
    "recurrent": ([16, 100, 8], True),
    "all hidden neurons": ([16, 1000, 8], False),
    "one hidden neuron over": ([16, 1001, 8], False),
    "all in two layers": ([16, 990, 10, 8], False),
    "one over in two layers": ([16, 990, 11, 8], False),
    "one hidden neuron over, one output less": ([16, 1001, 7], False),
    "one output over": ([16, 100, 9], False),
    "no hidden layer": ([16, 8], False),
    "few inputs": ([2, 940, 60, 1], False),
}
