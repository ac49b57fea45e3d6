"""Runs the smallest examples of every kernel, or of those named, without pytest: what compute-sanitizer watches.

compute-sanitizer --tool memcheck python tests/kernels/run_examples.py lif pack

tests/kernels/sanitize.py does this for every kernel and tool.
"""

from __future__ import annotations

import contextlib
import sys
from typing import Any

import torch

from neurokit.kernels import config, lif, pack, unpack
from neurokit.kernels.contract import KERNELS

# A kernel of 7 x 7 taps for 14 rows has thousands of instructions, and a checker adds to each of them.
SMALL: dict[str, dict[str, Any]] = {"depthwise": {"tall": 2, "wide": 4, "cols": 32, "num_warps": 4}}


def size_of(example: Any) -> int:
    """Returns how many elements an example's tensors have."""
    return sum(x.numel() for x in example.args if isinstance(x, torch.Tensor))


def extras(name: str, device: torch.device) -> int:
    """Runs what belongs to a kernel's folder and is not its public function; returns how many calls."""
    if name == "lif":
        x = torch.randn(4, 37, 40, device=device, requires_grad=True)
        lif(x)[0].sum().backward()
        return 1
    if name == "pack":
        words = pack(torch.ones(3, 70, device=device))
        for dtype in (torch.float16, torch.int8):
            unpack(words, 70, dtype)
        unpack(pack(torch.ones(3, 64, device=device)), 64)
        return 3
    return 0


def main() -> None:
    """Runs the examples on the GPU."""
    device = torch.device("cuda")
    count = 0
    for name in sys.argv[1:] or KERNELS.names():
        kernel = KERNELS.get(name)
        small = config.override(name, SMALL[name]) if name in SMALL else contextlib.nullcontext()
        examples = sorted(kernel.examples(device, torch.float16), key=size_of)
        with small:
            for example in examples[:12]:
                kernel.function(*example.args, **example.kwargs)
                count += 1
            count += extras(name, device)
    torch.cuda.synchronize()
    print(f"{count} examples ran")


if __name__ == "__main__":
    main()
