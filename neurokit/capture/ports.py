"""The ports of a captured program: which of its axes are free while it is traced, and what they are called after."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch.export import Dim as TorchDim
from torch.export import ExportedProgram

from neurokit.capture.obstacles import specialised
from neurokit.capture.signature import batch_and_time
from neurokit.capture.types import Form, PortInfo, StateInfo, TimeSteps
from neurokit.dims import Linear, Size, as_size, substitute
from neurokit.errors import Unsupported, UnsupportedError
from neurokit.spec import ModelSpec, TensorSpec


def input_ports(spec: ModelSpec, steps: TimeSteps, batch: int | str, form: Form) -> tuple[PortInfo, ...]:
    """Returns the inputs with all their axes."""
    timed = steps is not None and form == "sequence" and spec.time_input != "image"
    lead = batch_and_time(timed, steps, batch)
    return tuple(
        PortInfo(
            port.name,
            (*lead, *port.sizes_over(1 if form == "step" else None)),
            port.dtype,
            layout=("TB" if timed else "B") + port.layout if len(port.layout) == len(port.shape) else "",
            time_axis=0 if timed else None,
            low=port.low,
            high=port.high,
            meaning=_meaning(port, steps is not None, timed, form),
            source=port.source,
            distribution=port.distribution,
        )
        for port in spec.inputs
    )


def _meaning(port: TensorSpec, spiking: bool, timed: bool, form: Form) -> str:
    if port.distribution:
        return port.meaning + ("; one a time step" if timed or form == "step" else "")
    span = "true or false" if port.dtype == "bool" else f"values from {port.low:g} to {port.high:g}"
    span = f"{port.meaning}; {span}" if port.meaning else span
    if not spiking:
        return span
    if form == "step":
        return f"the input of one time step; {span}"
    return f"one input a time step; {span}" if timed else f"one image, repeated at every time step inside; {span}"


def output_meaning(over_time: str, steps: TimeSteps, form: Form) -> str:
    """Returns what an output is over time, in words."""
    if steps is None:
        return "the model's output"
    if over_time == "sequence":
        return "one output a time step"
    part = "this step's part of " if form == "step" else ""
    return f"{part}the {over_time} over the time steps"


def dynamic_shapes(shapes: Sequence[Sequence[Size]]) -> tuple[dict[int, Any], ...]:
    """Returns what torch.export is told of the free axes of each value.

    Named axes with derived sizes (2*B) make it prove guards that it cannot; DYNAMIC does not, and `check_dynamic`
    looks at what came out.
    """
    return tuple(
        {axis: TorchDim.DYNAMIC for axis, size in enumerate(shape) if not isinstance(size, int)} for shape in shapes
    )


def check_dynamic(program: ExportedProgram, spec: ModelSpec, ports: Sequence[PortInfo | StateInfo]) -> None:
    """Refuses a program in which a free axis was silently specialised."""
    for port, shape in zip(ports, _input_shapes(program), strict=False):
        for size, found in zip(port.shape, shape, strict=True):
            if not isinstance(size, int) and isinstance(found, int):
                raise specialised(spec, str(size))


def output_ports(
    program: ExportedProgram,
    spec: ModelSpec,
    ports: Sequence[PortInfo | StateInfo],
    names: Sequence[str],
    kinds: Sequence[str],
    steps: TimeSteps,
    form: Form,
) -> tuple[PortInfo, ...]:
    """Returns the outputs with their sizes as expressions of the inputs' free axes.

    Args:
        program: The program.
        spec: The model.
        ports: Inputs and states, in the order of the program's inputs.
        names: Names of the outputs.
        kinds: What each is over time.
        steps: T, or None without time.
        form: The form of the program.

    Raises:
        UnsupportedError: If an output is not as it was declared.
    """
    symbols = _symbols(program, ports)
    values = {node.name: node.meta.get("val") for node in program.graph.nodes}
    declared = {port.name: port for port in spec.outputs if isinstance(port, TensorSpec)}
    made = []
    for name, node, kind in zip(names, program.graph_signature.user_outputs, kinds, strict=False):
        value, meaning = values[str(node)], output_meaning(kind, steps, form)
        time_axis = 0 if kind == "sequence" and form == "sequence" and steps is not None else None
        known = [_size(size, symbols) for size in value.shape]
        port = declared.get(name)
        dtype = str(value.dtype).removeprefix("torch.")
        if port is not None:
            known = _as_declared(spec, port, known, dtype)
        shape = tuple(as_size(f"{name}_{axis}") if size is None else size for axis, size in enumerate(known))
        said = "; ".join(part for part in (port.meaning if port else "", meaning) if part)
        made.append(PortInfo(name, shape, dtype, port.layout if port else "", time_axis, meaning=said))
    return tuple(made)


def _as_declared(spec: ModelSpec, port: TensorSpec, found: list[Size | None], dtype: str) -> list[Size | None]:
    """Returns an output's sizes, with those that were declared where they follow from no input."""
    lead = max(0, len(found) - len(port.sizes))
    wanted = [*found[:lead], *port.sizes]
    fits = len(wanted) == len(found) and dtype == port.dtype
    if not fits or any(a != b for a, b in zip(found, wanted, strict=True) if a is not None):
        shown = f"[{', '.join('?' if size is None else str(size) for size in found)}] {dtype}"
        why = f"its output {port.name!r} is {shown}, declared [..., {', '.join(map(str, port.sizes))}] {port.dtype}"
        raise UnsupportedError(
            f"model {spec.name!r} cannot be captured", [Unsupported("", spec.name, why, "declare what it returns")]
        )
    return wanted


def _input_shapes(program: ExportedProgram) -> list[Any]:
    by_name = {node.name: node for node in program.graph.nodes}
    return [by_name[str(name)].meta["val"].shape for name in program.graph_signature.user_inputs]


def _symbols(program: ExportedProgram, ports: Sequence[PortInfo | StateInfo]) -> dict[Any, Size]:
    """Returns what torch's symbols are in terms of free axes; an axis of its own decides before an expression."""
    found: dict[Any, Size] = {}
    pairs = [
        (size, shape.node.expr)
        for port, shapes in zip(ports, _input_shapes(program), strict=False)
        for size, shape in zip(port.shape, shapes, strict=True)
        if isinstance(size, Linear) and not isinstance(shape, int)
    ]
    for size, symbol in sorted(pairs, key=lambda pair: len(pair[0].terms)):
        if symbol.is_Symbol:
            found.setdefault(symbol, size)
    return found


def _size(size: Any, symbols: Mapping[Any, Size]) -> Size | None:
    """Returns a traced size as an expression of free axes, or None where it is no linear one."""
    if isinstance(size, int):
        return size
    total: Size = 0
    for term, factor in size.node.expr.as_coefficients_dict().items():
        if not factor.is_Integer or factor < 0 or not (term == 1 or term in symbols):
            return None
        part: Size = int(factor) if term == 1 else substitute(Linear(0, (("x", int(factor)),)), {"x": symbols[term]})
        total = Linear() + total + part
    return total
