"""The proof: static bounds for every sum and membrane of a program, from its own numbers and nothing else."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any, Literal

import torch
from torch import Tensor
from torch.export import ExportedProgram
from torch.fx import Node

from neurokit.exact.bounds import LIMIT, Finding, Range
from neurokit.exact.dyadic import ANY
from neurokit.exact.ranges import Ranges
from neurokit.program import nodes
from neurokit.program.ops import Kind, kind_of
from neurokit.program.readable import readable

INT32_BITS = 31  # of magnitude, beside the sign
_TOLERANCE = "--numerics float: only tolerance applies from here on"
# Operations that end in one division of a sum that is itself exact: IEEE 754 says how that is rounded.
_DIVIDED_ONCE = (Kind.DIVIDE, Kind.MULTIPLY, Kind.SUM, Kind.POOL)
_IN_INT32 = "; it fits 32-bit integers, so that integer engines are exact"
Status = Literal["exact", "elementwise", "inexact"]


@dataclass(frozen=True)
class LayerProof:
    """What is proven of one layer.

    Attributes:
        name: Module path of the convolution, linear map or neuron, or the node's name.
        kind: "sum", "neuron" or "output".
        status: "exact": every partial result is a number of at most 24 bits, so every order, fusion and precision
            from float32 up gives the same; "elementwise": the inputs are exact, and the layer's own few operations
            give the same bits wherever float32 operations are rounded as IEEE 754 says and not contracted;
            "inexact": rounding in sums, so other targets may differ.
        bits: log2 of the largest partial sum in units of its grid; exact below 24.
        membrane_bits: The same for a neuron's membrane.
        steps: Time steps for which the membrane is exact; None for any number.
        why: The reason, where it is not exact.
        fix: What to change, where it is not exact.
    """

    name: str
    kind: str
    status: Status
    bits: float
    membrane_bits: float | None = None
    steps: int | None = None
    why: str = ""
    fix: str = ""

    @property
    def int32(self) -> bool:
        """Whether every partial result fits into an integer of 32 bits: exact on integer engines and chips."""
        return max(self.bits, -ANY if self.membrane_bits is None else self.membrane_bits) < INT32_BITS


@dataclass(frozen=True)
class Proof:
    """What is proven of a network.

    Attributes:
        layers: One entry a convolution, linear map, neuron and output, in order; other sums only if not exact.
        time_steps: T of the proof.
    """

    layers: tuple[LayerProof, ...]
    time_steps: int | None

    @property
    def status(self) -> Status:
        """The weakest status of all layers."""
        found = {layer.status for layer in self.layers}
        return "inexact" if "inexact" in found else "elementwise" if "elementwise" in found else "exact"

    @property
    def int32(self) -> bool:
        """Whether every layer is exact on engines that add integers of 32 bits, whatever float32 does."""
        return all(layer.int32 for layer in self.layers)

    @property
    def steps(self) -> int | None:
        """Time steps for which every layer is exact in any precision; None for any number."""
        counts = [layer.steps for layer in self.layers if layer.steps is not None]
        return min(counts, default=None) if counts else None

    @property
    def tolerance_from(self) -> str | None:
        """The first layer from which on only tolerance applies, or None."""
        return next((layer.name for layer in self.layers if layer.status == "inexact"), None)

    @property
    def worst(self) -> LayerProof:
        """The layer with the least room."""
        return max(self.layers, key=lambda layer: max(layer.bits, layer.membrane_bits or -ANY))

    def failures(self) -> list[LayerProof]:
        """Returns the layers that are not exact."""
        return [layer for layer in self.layers if layer.status != "exact"]

    def to_json(self) -> dict[str, Any]:
        """Returns the proof as a JSON object."""
        layers = [{**{k: _plain(v) for k, v in asdict(layer).items()}, "int32": layer.int32} for layer in self.layers]
        return {
            "status": self.status,
            "time_steps": self.time_steps,
            "steps_any_precision": self.steps,
            "limit_bits": LIMIT,
            "int32_bits": INT32_BITS,
            "exact_in_int32": self.int32,
            "tolerance_from": self.tolerance_from,
            "layers": layers,
        }


def _plain(value: Any) -> Any:
    if isinstance(value, float):
        return round(value, 3) if math.isfinite(value) else str(value)
    return value


def prove(
    program: ExportedProgram, calls: Sequence[str], states: tuple[Tensor, ...], steps: int | None, by_step: bool = False
) -> tuple[Proof, list[Finding]]:
    """Proves a program in the sequence form, or a single step run T times.

    Args:
        program: The program; its inputs may be any number, so it must limit and round them itself.
        calls: Module path of every neuron node, in order.
        states: Initial states for one sample.
        steps: T.
        by_step: Whether the program is a single step.

    Returns:
        The proof, and the findings it was made from (with the numbers of linear maps and neurons).
    """
    module: Any = readable(program)
    linears: list[str] = []
    names: list[str] = []
    neurons: list[str] = []
    shapes: list[tuple[int, ...]] = []
    for node in module.graph.nodes:
        if node.op == "placeholder":
            shapes.append(_one_sample(node))
        elif nodes.is_weighted(node) and node.args[1].op == "get_attr" and len(node.args) > 2 and node.args[2]:
            linears.append(node.name)
            names.append(_path(str(node.args[1].target)))
        elif nodes.is_op(node, nodes.NEURONS):
            neurons.append(node.name)
    run = Ranges(module, linears, neurons, None, steps or 1)
    given = [_anything(shape) for shape in shapes[: len(shapes) - len(states)]]
    found = run.start_steps(given, states, steps or 1) if by_step else run.start(*given, *states)
    users = {node.name: node for node in module.graph.nodes}
    layers = [layer for finding in found if (layer := _layer(finding, users, names, calls)) is not None]
    if by_step:  # a membrane's own count of steps starts from where the step before left it
        layers = [replace(layer, steps=None if run.settled else steps) for layer in layers]
    return Proof(tuple(layers), steps), found


def _anything(shape: tuple[int, ...]) -> Range:
    """Returns the range of an input that may be any number."""
    huge = torch.full(shape, 1e30)
    return Range(huge, huge, torch.full(shape, -149.0, dtype=torch.float64))


def _one_sample(node: Node) -> tuple[int, ...]:
    """Returns the input's shape with every free size 1: the one free size is the batch."""
    return tuple(size if isinstance(size, int) else 1 for size in node.meta["val"].shape)


def _path(target: str) -> str:
    layer = target.removeprefix("net.").removeprefix("_run.net.").removeprefix("_run.").removesuffix(".weight")
    return re.sub(r"\.turned_\d+$", "", layer)  # a transposed convolution


def _layer(finding: Finding, nodes: dict[str, Node], names: list[str], calls: Sequence[str]) -> LayerProof | None:
    last = all(user.op == "output" for user in nodes[finding.node].users)
    if finding.kind == "neuron" or (finding.kind == "inexact" and finding.index is not None):
        return _neuron(finding, calls[finding.index or 0])
    name = finding.node if finding.index is None else names[finding.index]
    last = last and finding.kind in ("sum", "inexact")
    kind = kind_of(nodes[finding.node].target)
    if finding.kind == "inexact":
        if last and kind in _DIVIDED_ONCE:
            return LayerProof(name, "output", "elementwise", -ANY, why="the output is divided once")
        fix = "leave it out of the module, and apply it to what the artifact gives" if last else _TOLERANCE
        return LayerProof(name, "sum", "inexact", math.inf, why=finding.why, fix=fix)
    if finding.bits >= LIMIT:
        if last and kind in (Kind.MULTIPLY, Kind.DIVIDE):
            return LayerProof(name, "output", "elementwise", finding.bits, why="the output is rounded once")
        if finding.kind == "output":
            return None
        why = f"a partial sum may need {finding.bits:.1f} bits, more than {LIMIT}" + _integers(finding.bits)
        return LayerProof(name, "sum", "inexact", finding.bits, why=why, fix="fewer bits, or split the layer")
    if finding.index is None and finding.kind == "sum":
        return None
    return LayerProof(name, finding.kind, "exact", finding.bits)


def _integers(bits: float) -> str:
    return _IN_INT32 if bits < INT32_BITS else ""


def _neuron(finding: Finding, path: str) -> LayerProof:
    bounds = finding.membrane
    if bounds is None:
        why, fix = "its input is rounded in another order elsewhere", _TOLERANCE
        return LayerProof(path, "neuron", "inexact", math.inf, why=why, fix=fix)
    if finding.bits >= LIMIT:
        why = f"its input current may need {finding.bits:.1f} bits, more than {LIMIT}" + _integers(finding.bits)
        return LayerProof(path, "neuron", "inexact", finding.bits, bounds.bits, bounds.steps, why, "fewer bits")
    if bounds.bits >= LIMIT:
        why = f"its membrane may need {bounds.bits:.1f} bits, more than {LIMIT}" + _integers(bounds.bits)
        fix = "fewer time steps or bits; else float32 targets without contraction only"
        return LayerProof(path, "neuron", "elementwise", finding.bits, bounds.bits, bounds.steps, why, fix)
    return LayerProof(path, "neuron", "exact", finding.bits, bounds.bits, bounds.steps)
