"""The neurons as ONNX local functions: `neurokit::LIF` and its siblings, readable and made of plain operators.

A neuron over a sequence is one Scan over time; it does not grow with T and needs no fixed T. A neuron in a step
model is the body of that Scan, for an input with a time axis of length one.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import onnx_ir as ir

DOMAIN = "neurokit"
VERSION = 1
OPSET = 20

_ONNX_TYPES = {"float32": ("float", 1), "float64": ("double", 11), "float16": ("float16", 10)}


@dataclass(frozen=True)
class NeuronFunction:
    """Which variant of a neuron a graph needs.

    Attributes:
        op: "if_", "lif" or "plif".
        hard: Whether the membrane is set to a reset potential after a spike, not lowered.
        rest: Whether the potential it leaks towards differs from zero.
        decay_input: Whether the leak acts on the input too.
        step: Whether the function takes one time step.
        dtype: Numpy name of the element type of input and membrane.
        subtracts: Whether a soft reset subtracts a number of its own instead of the threshold.
    """

    op: str
    hard: bool
    rest: bool
    decay_input: bool
    step: bool
    dtype: str = "float32"
    subtracts: bool = False

    @property
    def name(self) -> str:
        """Name of the local function, for example "LIF", "IFSoft", "PLIFUndecayedStep"."""
        name = {"if_": "IF", "lif": "LIF", "plif": "PLIF"}[self.op]
        name += "" if self.hard else "Soft"
        name += "Subtract" if self.subtracts else ""
        name += "Rest" if self.rest else ""
        name += "" if self.decay_input or self.op == "if_" else "Undecayed"
        name += "" if self.dtype == "float32" else self.dtype.capitalize()
        return name + ("Step" if self.step else "")

    @property
    def scalars(self) -> tuple[str, ...]:
        """Names of the scalar inputs that follow x and v0."""
        leak = {"if_": (), "lif": ("tau",), "plif": ("decay",)}[self.op]
        reset = ("v_reset",) if self.hard or self.rest else ()
        return (*leak, "v_threshold", *reset, *(("v_subtract",) if self.subtracts else ()))

    def build(self) -> ir.Function:
        """Returns the function's definition."""
        import onnx.parser
        import onnx_ir as ir

        return ir.serde.deserialize_function(onnx.parser.parse_function(self.text()))

    def text(self) -> str:
        """Returns the definition in ONNX's textual syntax."""
        onnx_type, code = _ONNX_TYPES[self.dtype]
        v, spikes = ("v0", "spikes") if self.step else ("v", "s")
        body = "\n".join(f"  {line}" for line in self._charge(v) + self._fire(spikes, code))
        inputs = ", ".join(("x" if self.step else "x_seq", "v0", *self.scalars))
        head = f'<opset_import: ["" : {OPSET}], domain: "{DOMAIN}">\n{self.name} ({inputs}) => (spikes, v_last)'
        if self.step:
            # x and its spikes keep their time axis of length one; the membrane has none.
            drop = "  time = Constant <value_ints: ints = [0]> ()\n  v_last = Squeeze (v_new, time)"
            return f"{head}\n{{\n{body}\n{drop}\n}}"
        t = f"{onnx_type}[]"
        scan = f"step ({t} v, {t} x) => ({t} v_new, {t} s) {{\n{body}\n  }}"
        return f"{head}\n{{\n  v_last, spikes = Scan <num_scan_inputs: int = 1, body: graph = {scan}> (v0, x_seq)\n}}"

    def _charge(self, v: str) -> list[str]:
        """The charge equations of neurokit/neurons/ops.py, one operator a line."""
        if self.op == "if_":
            return [f"h = Add ({v}, x)"]
        scale = "Div ({}, tau)" if self.op == "lif" else "Mul ({}, decay)"
        lines = [f"w = Sub ({v}, v_reset)"] if self.rest else []
        above = "w" if self.rest else v
        if self.decay_input:
            return [*lines, f"d = Sub (x, {above})", f"q = {scale.format('d')}", f"h = Add ({v}, q)"]
        return [*lines, f"q = {scale.format(above)}", f"l = Sub ({v}, q)", "h = Add (l, x)"]

    def _fire(self, spikes: str, code: int) -> list[str]:
        lines = ["fired = GreaterOrEqual (h, v_threshold)", f"{spikes} = Cast <to: int = {code}> (fired)"]
        if self.hard:
            return [*lines, "v_new = Where (fired, v_reset, h)"]
        by = "v_subtract" if self.subtracts else "v_threshold"
        return [*lines, f"drop = Mul ({spikes}, {by})", "v_new = Sub (h, drop)"]


_NAME = re.compile(r"(IF|LIF|PLIF)(Soft)?(Subtract)?(Rest)?(Undecayed)?(Float64|Float16)?(Step)?")


def from_name(name: str) -> NeuronFunction | None:
    """Returns the variant that `NeuronFunction.name` names, or None if it is no neuron's name."""
    found = _NAME.fullmatch(name)
    if found is None:
        return None
    op, soft, subtracts, rest, undecayed, dtype, step = found.groups()
    ops = {"IF": "if_", "LIF": "lif", "PLIF": "plif"}
    kind = (dtype or "float32").lower()
    return NeuronFunction(ops[op], not soft, bool(rest), not undecayed, bool(step), kind, bool(subtracts))


def from_call(op: str, arguments: dict[str, Any], step: bool, dtype: str) -> NeuronFunction:
    """Returns the variant for one neuron node's arguments (names as in neurokit/neurons/ops.py)."""
    v_reset = arguments["v_reset"]
    rest = op != "if_" and v_reset not in (None, 0.0)
    subtracts = v_reset is None and arguments.get("v_subtract") is not None
    undecayed = bool(arguments.get("decay_input", True))
    return NeuronFunction(op, v_reset is not None, rest, undecayed, step, dtype, subtracts)
