"""Runs every example of every kernel, or of those named, without pytest: what compute-sanitizer watches on a GPU.

compute-sanitizer --tool memcheck python tests/kernels/run_examples.py
compute-sanitizer --tool racecheck python tests/kernels/run_examples.py
"""

from __future__ import annotations

import sys

import torch

from neurokit.kernels import lif
from neurokit.kernels.contract import KERNELS


def main() -> None:
    """Runs the examples on the GPU and one backward pass."""
    device = torch.device("cuda")
    count = 0
    for name in sys.argv[1:] or KERNELS.names():
        kernel = KERNELS.get(name)
        print(name, flush=True)
        for example in kernel.examples(device, torch.float16):
            kernel.function(*example.args, **example.kwargs)
            count += 1
    x = torch.randn(4, 37, 40, device=device, requires_grad=True)
    lif(x)[0].sum().backward()
    torch.cuda.synchronize()
    print(f"{count} examples ran")


if __name__ == "__main__":
    main()
