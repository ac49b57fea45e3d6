"""How far a reference without neurons is from itself in float64: what a network that amplifies rounding allows others.

The proven bound of a deep network's outputs is far beyond any fault, so without neurons outputs are held to a relative
error. Untrained or badly scaled networks amplify what they are given, and there every implementation in float32 is off
by more than that: how much more, one run in float64 shows.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from neurokit.parity.covering import OWN

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import torch

_NO_FLOAT64 = (RuntimeError, TypeError, ValueError)  # an operation that float64 does not have
_FAR = 4.0  # times less than what is allowed: samples of one kind are off by about as much
_DRAWN = 16.0  # the same of what is drawn over the declared range beside the example: 0.7 to 1.3 times as far was seen
_UNIT = 2.0**-24  # of float32, which is what outputs are held to
_MOST = 500_000_000  # parameters: their copy in float64 takes 4 GB


def doubled(module: Any) -> Any | None:
    """Returns a program in float64, or None where it has no such form, or its copy would take too much memory."""
    from neurokit.capture.sides import program_in_double

    held = sum(value.numel() for value in module.state_dict().values() if hasattr(value, "numel"))
    try:
        return None if held > _MOST else program_in_double(module)
    except _NO_FLOAT64:
        return None


def roundings(
    wide: Any | None,
    inputs: Sequence[torch.Tensor],
    outputs: Sequence[torch.Tensor],
    tolerance: float = 0.0,
    every: bool = False,
) -> list[float]:
    """Returns the relative L2 distance of each output from the same program in float64, of the sample furthest off.

    A run in float64 takes several times as long as one in float32. Where the first sample's distance allows far less
    than what is allowed anyway, the others are not run.

    Args:
        wide: The program in float64, or None.
        inputs: What it was given, samples first, if `tolerance` is not 0.
        outputs: What it answered.
        tolerance: What is allowed of every network.
        every: Whether the other samples are run in any case: beyond the declared range one was off by 80 times as much
            as another (`para_trans_cnn_32`).

    Returns:
        One number an output; 0 where float64 does not run, or where something is not finite.
    """
    batch = len(outputs[0]) if outputs and outputs[0].dim() else 1
    if tolerance and batch > 1 and all(value.dim() and len(value) == batch for value in (*inputs, *outputs)):
        try:
            alone = _distances(wide, [x[:1] for x in inputs], [y[:1] for y in outputs])
        except AssertionError:  # a guard of the program: a fixed batch takes no single sample
            alone = None
        finite = all(bool(y.isfinite().all()) for y in outputs)
        if alone and not every and _FAR * OWN * max(alone) < tolerance and finite:
            return alone
        if alone and (others := _distances(wide, [x[1:] for x in inputs], [y[1:] for y in outputs])):
            return [max(pair) for pair in zip(alone, others, strict=True)]
    return _distances(wide, inputs, outputs) or [0.0] * len(outputs)


def far_below(known: Mapping[str, float], tolerance: float) -> bool:
    """Returns whether inputs of the declared range need no run in float64, as far below as the example's own is.

    What is not run in float64 is held to the common tolerance, the strictest that there is. Beyond the range a network
    may amplify what it does not within it: a softmax of large numbers does.

    Args:
        known: The distance of each output from float64 on the example.
        tolerance: What is allowed of every network.
    """
    return bool(known) and all(0.0 < _DRAWN * OWN * value < tolerance for value in known.values())


def _distances(wide: Any | None, inputs: Sequence[torch.Tensor], outputs: Sequence[torch.Tensor]) -> list[float] | None:
    """Returns each output's distance, or None where float64 does not run."""
    exact = in_float64(wide, inputs)
    return None if exact is None else [_distance(y, found) for y, found in zip(outputs, exact, strict=False)]


def in_float64(wide: Any | None, inputs: Sequence[torch.Tensor]) -> Sequence[torch.Tensor] | None:
    """Returns what a program in float64 answers, or None where there is none or it does not run.

    Args:
        wide: What `doubled` gave.
        inputs: Of the program in float32.
    """
    import torch

    if wide is None:
        return None
    try:
        with torch.no_grad():
            return tuple(wide(*(x.double() if x.is_floating_point() else x for x in inputs)))
    except _NO_FLOAT64:
        return None


def of_long_sums(module: Any) -> float:
    """Returns by how much a program is off where its normalisations add up their elements one after another.

    PyTorch adds in a tree, others in a row: a sum of N numbers is then off by some sqrt(N) roundings, and those of
    several normalisations add up as independent ones do. ONNX Runtime's InstanceNormalization over 96 voxels a side is
    1e-5 off where PyTorch's is 4e-8 (measured, inputs far beyond the range).

    Args:
        module: The program as a graph module.
    """
    from neurokit.program.nodes import hints  # torch, which verifying needs not

    count = 0
    for node in module.graph.nodes:
        packet = str(getattr(node.target, "overloadpacket", ""))
        if packet not in ("aten.instance_norm", "aten.group_norm"):
            continue
        _, channels, *places = hints(node)
        groups = channels if packet == "aten.instance_norm" else node.args[1]
        count += math.prod(places) * channels // groups
    return _UNIT * math.sqrt(count)


def said(known: Mapping[str, float], tolerance: float) -> list[str]:
    """Returns one line for every output of which more than a tolerance is allowed."""
    return [
        f"output {name!r}: the network amplifies rounding, in float32 the reference itself is off by {value:.2g} of it "
        f"against float64; {OWN * value:.2g} is allowed"
        for name, value in known.items()
        if OWN * value > tolerance
    ]


def _distance(y: torch.Tensor, exact: torch.Tensor) -> float:
    if not y.is_floating_point() or y.shape != exact.shape or not bool(y.isfinite().all() and exact.isfinite().all()):
        return 0.0
    rows = (len(y), -1) if y.dim() else (1, 1)
    norms, off = exact.double().reshape(rows).norm(dim=1), (y.double() - exact).reshape(rows).norm(dim=1)
    return float((off / norms.where(norms > 0, norms.new_ones(()))).max()) if off.numel() else 0.0
