"""What capture returns: one torch.export program with explicit neuron state, and what is known of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal, NoReturn

from neurokit.dims import BATCH, Dim, Size, evaluate, names_in, substitute
from neurokit.errors import InputError
from neurokit.over_time import of_each
from neurokit.spec import ONE_GRAPH, Distribution, ModelSpec, StateSpec

if TYPE_CHECKING:
    import numpy as np
    import torch
    from torch.export import ExportedProgram

    from neurokit.reports.fidelity import Fidelity

Merged = Literal["merged", "kept", "none"]
Form = Literal["sequence", "step"]
TimeSteps = int | Literal["dynamic"] | None


@dataclass(frozen=True)
class PortInfo:
    """One input or output of a captured program.

    Attributes:
        name: Its name.
        shape: Sizes, time and batch axes included.
        dtype: Numpy name of the element type.
        layout: One letter an axis, or "".
        time_axis: Index of the time axis, or None.
        low: Smallest value of an input.
        high: Largest value of an input.
        meaning: One line: what the numbers are.
        source: "GRAPH.OUTPUT" of which it is the value, or "".
        distribution: Of a random draw: "uniform" in [0, 1) or "normal" (0, 1); else "".
    """

    name: str
    shape: tuple[Size, ...]
    dtype: str
    layout: str = ""
    time_axis: int | None = None
    low: float | None = None
    high: float | None = None
    meaning: str = ""
    source: str = ""
    distribution: Distribution = ""


@dataclass(frozen=True)
class StateInfo:
    """One tensor that a model carries from one time step, or one call, to the next.

    Attributes:
        name: Unique name: of a neuron's state from the module path, "layer1_sn_v", else the declared one.
        neuron: Path of the module that owns it; "" for a declared state.
        memory: Its name in that module: "v"; "" for a declared state.
        shape: Sizes: numbers and expressions of free axes, such as B, or 2*B where the batch is folded with a factor.
        dtype: Numpy name of the element type.
        init: Value that every element has before the first step, or one sample's values: an array, or a .npy file.
        unit: What it measures; membrane potentials are in units of the threshold's scale ("1").
        next_shape: Sizes after the step; () where they stay.
    """

    name: str
    neuron: str
    memory: str
    shape: tuple[Size, ...]
    dtype: str
    init: float | str | np.ndarray = field(compare=False)
    unit: str = "1"
    next_shape: tuple[Size, ...] = ()

    @property
    def uniform(self) -> bool:
        """Whether every element starts from one number."""
        return isinstance(self.init, int | float)

    def start(self) -> Any:
        """Returns the initial value: a number, or the values of one sample.

        Raises:
            InputError: If its file cannot be read.
        """
        import numpy as np

        if not isinstance(self.init, str):
            return np.asarray(self.init)
        try:
            return np.load(self.init, allow_pickle=False)
        except (OSError, ValueError, EOFError) as error:
            raise _unfit(self, error) from error

    def concrete(self, batch: int, sizes: Mapping[str, int] | None = None) -> tuple[int, ...]:
        """Returns the shape for a batch of `batch` samples and the sizes of other free axes."""
        return tuple(evaluate(size, {**(sizes or {}), BATCH: batch}) for size in self.shape)


@dataclass(frozen=True)
class NeuronInfo:
    """One neuron layer.

    Attributes:
        path: Module path in the user's model.
        kind: Class name, for example "LIFNode".
        op: Operation in the program ("if_", "lif", "plif"), or "decomposed" into plain operations.
        calls: How often one forward pass runs it.
        states: Names of its states.
        parameters: Scalars that define its dynamics (tau in time steps).
    """

    path: str
    kind: str
    op: str
    calls: int
    states: tuple[str, ...]
    parameters: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Captured:
    """A model as one program without hidden state.

    The program's signature is `forward(*inputs, *states) -> (*outputs, *new_states)`; an input is `[T, B, *shape]` in
    the sequence form of a spiking model and `[B, *shape]` otherwise; declared states come before those of neurons.
    Its neurons are nodes
    `torch.ops.neurokit.{if_,lif,plif}(x_seq, v0, ...) -> (spikes, v_last)`; `calls` names the module of each such
    node, in the order of the graph.

    Attributes:
        spec: What was captured.
        form: "sequence", or "step" for one time step a call.
        time_steps: T, "dynamic", or None for a model without time.
        batch: "dynamic", or the fixed batch size.
        program: The torch.export program.
        states: Every state, in the order of the program's inputs and outputs.
        neurons: Every neuron layer.
        calls: Module path of every neuron node of the graph, in order.
        output_names: Names of the outputs, in order.
        time_output: What the outputs are over time ("sequence", "mean", "sum", "last" or "max"); where they differ one
            word an output (`neurokit.over_time`).
        reparameterisation: "merged", "kept" or "none": what became of re-parameterised branches.
        notes: What the user should know (hooks that were left out, ...).
        module: The functional twin that was traced (evaluation mode, on the CPU); never the user's own.
        retrace: Captures it again with other settings.
        loops: Module path of every loop: a part that reads its own values of the step before (recurrent connections).
        opened: Whether loops are cut open: see `neurokit.capture.opened`.
        fidelity: How it compares with the user's own module, or None where that was not asked for.
        inputs: Inputs with all their axes.
        outputs: Outputs with all their axes.
        graph: Name of the graph that was captured.
        parts: Every graph of a model that has several, this one first; else ().
    """

    spec: ModelSpec
    form: Form
    time_steps: TimeSteps
    batch: int | Literal["dynamic"]
    program: ExportedProgram
    states: tuple[StateInfo, ...]
    neurons: tuple[NeuronInfo, ...]
    calls: tuple[str, ...]
    output_names: tuple[str, ...]
    time_output: str
    reparameterisation: Merged
    notes: tuple[str, ...]
    module: torch.nn.Module
    retrace: Callable[..., Captured] = field(repr=False)
    loops: tuple[str, ...] = ()
    opened: bool = False
    inputs: tuple[PortInfo, ...] = ()
    outputs: tuple[PortInfo, ...] = ()
    graph: str = ONE_GRAPH
    parts: tuple[Captured, ...] = ()
    fidelity: Fidelity | None = None

    def __repr__(self) -> str:
        time = "" if self.time_steps is None else f", T={self.time_steps}"
        held = f"{len(self.neurons)} neuron layers, {len(self.states)} states"
        return f"Captured({self.spec.name!r}, {self.form}{time}, B={self.batch}, {held})"

    def __reduce__(self) -> NoReturn:
        raise TypeError(
            "a capture does not pickle (it can be traced again, by functions of this process): lower it and open the "
            "artifact in the other process, or pickle its spec"
        )

    @property
    def graphs(self) -> tuple[Captured, ...]:
        """Every graph of the model."""
        return self.parts or (self,)

    @property
    def whole_spec(self) -> ModelSpec:
        """What was captured, with all of its graphs."""
        if not self.parts:
            return self.spec
        graphs = tuple(replace(part.spec.as_graph(), name=part.graph) for part in self.parts)
        return replace(
            self.spec, graphs=graphs, inputs=(), outputs=(), states=(), arguments=None, example=None, method="forward"
        )

    @property
    def dims(self) -> dict[str, Dim]:
        """Every free axis of the ports and states, by name, with its bounds."""
        ports: list[PortInfo | StateInfo] = [*self.inputs, *self.outputs, *self.states]
        named = names_in(size for port in ports for size in port.shape)
        declared = self.spec.as_graph().dims
        return {name: declared.get(name, Dim(name)) for name in named}

    @property
    def start_sizes(self) -> dict[str, int]:
        """The sizes that the axes which grow with the states have before the first call."""
        return {name: self.dims[name].min for state in self.spec.states for name in state.grows}

    @property
    def spiking(self) -> bool:
        """Whether the model runs over time."""
        return self.time_steps is not None

    @property
    def output_kinds(self) -> tuple[str, ...]:
        """What each output is over time."""
        return of_each(self.time_output, len(self.output_names))

    @property
    def known_steps(self) -> int | None:
        """T of a run: the program's, or the specification's where T is free; None for a model without time."""
        return self.spec.time_steps if self.time_steps == "dynamic" else self.time_steps

    @property
    def feedback(self) -> tuple[int, ...]:
        """Places, among the states, of those that are fed-back values of an opened loop, `[T, B, *shape]`."""
        return tuple(at for at, state in enumerate(self.states) if self.opened and state.neuron in self.loops)

    def initial_states(self, batch: int) -> tuple[torch.Tensor, ...]:
        """Returns every state's value before the first step."""
        return tuple(initial_state(state, batch, self.start_sizes) for state in self.states)


def declared_state(state: StateSpec) -> StateInfo:
    """Returns what a program knows of a declared state."""
    lead = (1 * Dim(BATCH),)
    after = (*lead, *state.next_sizes) if state.grows else ()
    return StateInfo(state.name, "", "", (*lead, *state.sizes), state.dtype, state.init, next_shape=after)


def initial_state(state: StateInfo, batch: int, sizes: Mapping[str, int]) -> torch.Tensor:
    """Returns a state's value before the first step.

    Raises:
        InputError: If its file cannot be read, or does not fit.
    """
    import torch

    shape = state.concrete(batch, sizes)
    dtype = getattr(torch, state.dtype)
    try:
        return torch.from_numpy(state.start()).to(dtype).expand(shape).clone()
    except (RuntimeError, TypeError) as error:
        raise _unfit(state, error) from error


def _unfit(state: StateInfo, error: Exception) -> InputError:
    shape = [str(size) for size in state.shape[1:]]
    return InputError(
        f"the initial value of state {state.name!r} in {state.init} cannot be taken: {error}",
        expected=f"a .npy file that fits [{', '.join(shape)}]",
    )


def with_batch(states: tuple[StateInfo, ...], batch: int | str) -> tuple[StateInfo, ...]:
    """Returns states for a batch size that is a number."""
    if not isinstance(batch, int):
        return states
    return tuple(replace(s, shape=tuple(substitute(size, {BATCH: batch}) for size in s.shape)) for s in states)
