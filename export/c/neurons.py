"""The rule of neurons: a membrane in whole numbers where that is exact for every step, else in float32."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from torch.fx import Node

from neurokit.exact.dyadic import lowest_bit_of
from neurokit.export.c.bounds import Integers
from neurokit.export.c.build import Builder, Neuron, as_float
from neurokit.export.c.parts import Value, number, real, shifted
from neurokit.neurons.dynamics import subtracted
from neurokit.program import nodes

_WIDEST = 2.0**60


def neuron(build: Builder, node: Node) -> Any:
    """One layer of IF, LIF or PLIF neurons: its spikes, and nothing in place of the membrane, which the state holds."""
    state = build.state_of.get(node.args[1])  # type: ignore[arg-type]
    if state is None:
        return None
    loop, x = build.here(build.value(node.args[0]))
    layer = _layer(build, node, x, state)
    build.net.neurons.append(layer)
    k, spike = layer.index, build.fresh()
    loop.body += [
        f"const {layer.type} x{k} = {as_float(x) if layer.type == 'float' else _current(x, layer)};",
        f"NK_CURRENT({k}, i, x{k});",
        f"const int32_t {spike} = fire{k}(&s->v{k}[i], x{k}, i);",
        f"NK_SPIKE({k}, i, {spike});",
    ]
    return [Value(x.shape, Integers(0, 0, 1), loop, spike), "membrane"]


def _current(x: Value, layer: Neuron) -> str:
    assert x.kind is not None
    cast = f"(int64_t){x.name}" if layer.type == "int64_t" and x.wide != "int64_t" else x.name
    return shifted(cast, x.kind.exponent - layer.exponent, layer.type)


def _layer(build: Builder, node: Node, x: Value, state: int) -> Neuron:
    op = nodes.NEURONS[node.target]
    places = nodes.PLACES[op].items()
    settings: dict[str, Any] = {name: node.args[place] for name, place in places if place < len(node.args)}
    if op == "plif":
        settings["decay"] = float(build.values[settings["decay"]])
    leak = 0.0 if op == "if_" else 1.0 / float(settings["tau"]) if op == "lif" else settings["decay"]
    threshold, reset = float(settings["v_threshold"]), settings["v_reset"]
    index = len(build.net.neurons)
    start = build.captured.initial_states(1)[state].reshape(-1).double().numpy()
    fixed = build.bounds.fixed.get(node.name)
    kind, exponent, endless = "float", 0, True
    if x.kind is not None and fixed is not None and fixed.exact and not build.floats:
        finest = min(x.kind.exponent, int(fixed.exponent))
        size = max(fixed.largest, abs(threshold)) * _fraction(leak)[0] * 2.0**-finest
        if size < _WIDEST:
            kind, exponent, endless = "int32_t" if size < 2.0**31 else "int64_t", finest, fixed.endless
    rest = None if reset is None else float(reset)
    decays = bool(settings.get("decay_input", False))
    path = build.captured.calls[index]
    drop = float(subtracted(settings))
    return Neuron(path, index, x.size, kind, exponent, op, threshold, rest, leak, decays, start, endless, drop)


def _fraction(leak: float) -> tuple[int, int]:
    """Returns a leak as m and s of m / 2**s."""
    bits = max(0, -int(lowest_bit_of(leak))) if leak else 0
    return max(1, round(leak * 2.0**bits)), bits


def one_step(layer: Neuron, x: str, spike: str, finer: int = 0) -> list[str]:
    """Returns the statements of one step (neurokit/neurons/dynamics.py has the equations).

    Args:
        layer: The layer.
        x: Variable of the current, in the membrane's units.
        spike: Variable of the spike.
        finer: For verification: bits by which the membrane's grid is finer than the layer's own, in 64 bits.
    """
    floats = layer.type == "float"
    kind = "int64_t" if finer else layer.type
    unit = 2.0 ** (finer - layer.exponent)
    write = real if floats else lambda value: number(math.ceil(value * unit), kind)
    rest = f" - {write(layer.reset)}" if layer.reset else ""
    lines = [f"v = v + {x};"]
    if layer.op != "if_":
        difference = f"{x} - (v{rest})" if layer.decay_input else f"v{rest}"
        # A product is stored before it is added: no compiler may then fuse the two.
        lines = [
            f"{'volatile float' if floats else f'const {kind}'} leak = ({difference}){_times(layer, floats, kind)};"
        ]
        lines += ["v = v + leak;"] if layer.decay_input else ["v = v - leak;", f"v = v + {x};"]
    after = f"v = v - {write(layer.drop)};" if layer.reset is None else f"v = {write(layer.reset)};"
    return [
        *lines,
        f"{spike} = v >= {write(layer.threshold)};",
        f"NK_FORCE({layer.index}, i, {spike});",
        f"if ({spike}) {{ {after} }}",
    ]


def _times(layer: Neuron, floats: bool, kind: str) -> str:
    if floats:
        return f" / {real(1.0 / layer.leak)}" if layer.op == "lif" else f" * {real(layer.leak)}"
    m, bits = _fraction(layer.leak)
    return ("" if m == 1 else f" * {number(m, kind)}") + (f" / {number(1 << bits, kind)}" if bits else "")


def fires(layer: Neuron) -> str:
    """Returns the function of one neuron's step: its membrane and its current in, its spike out."""
    step = "\n".join(f"    {line}" for line in one_step(layer, "x", "spike"))
    return f"""\
/* {layer.path or "neurons"} */
static inline int32_t fire{layer.index}({layer.type} *membrane, {layer.type} x, int32_t i) {{
    {layer.type} v = *membrane;
    int32_t spike;
{step}
    *membrane = v;
    return spike;
}}
"""


def finer_by(layer: Neuron) -> int:
    """Returns the bits by which the copy for verification is finer, so that the numbers at the threshold differ."""
    if layer.type == "float":
        return 0
    size = max(1.0, abs(layer.threshold), abs(layer.reset or 0.0)) * 2.0**-layer.exponent
    return max(1, 46 - math.ceil(math.log2(size)))


def alone(layer: Neuron, name: str) -> str:
    """Returns functions that run one layer alone, for verification: its own function, and its equations finer.

    Membranes and currents are doubles. `own` calls the function that the network calls, in its units; `alone` has the
    same statements in 64 bits on a finer grid, so that the numbers next to the threshold can be told apart.
    """
    k, finer = layer.index, finer_by(layer)
    unit = 2.0 ** (finer - layer.exponent)
    wide, own = ("float" if layer.type == "float" else "int64_t"), layer.type
    to, back = (f" * {unit!r}", f" * {1.0 / unit!r}") if wide == "int64_t" else ("", "")
    step = "\n".join(f"        {line}" for line in one_step(layer, "x", "spike", finer) if "NK_FORCE" not in line)
    if wide == "float":
        step = f"        spike = fire{k}(&v, x, i);"
    head = "(double *membranes, const double *currents, double *spikes, int32_t count)"
    return f"""\
void {name}_own_{k}{head};
void {name}_own_{k}{head} {{
    for (int32_t i = 0; i < count; ++i) {{
        {own} v = ({own})membranes[i];
        spikes[i] = fire{k}(&v, ({own})currents[i], i);
        membranes[i] = (double)v;
    }}
}}
void {name}_alone_{k}{head};
void {name}_alone_{k}{head} {{
    for (int32_t i = 0; i < count; ++i) {{
        const {wide} x = ({wide})(currents[i]{to});
        {wide} v = ({wide})(membranes[i]{to});
        int32_t spike;
{step}
        membranes[i] = (double)v{back};
        spikes[i] = spike;
    }}
}}
"""


def starts(layer: Neuron) -> np.ndarray:
    """Returns the membranes before the first step in the type that they are kept in."""
    return layer.start if layer.type == "float" else np.rint(layer.start * 2.0**-layer.exponent).astype(np.int64)
