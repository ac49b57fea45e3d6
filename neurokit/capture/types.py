"""What capture returns: one torch.export program with explicit neuron state, and what is known of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

from neurokit.dims import BATCH, Size, evaluate
from neurokit.spec import ModelSpec, TimeOutput

if TYPE_CHECKING:
    import torch
    from torch.export import ExportedProgram

Form = Literal["sequence", "step"]
TimeSteps = int | Literal["dynamic"] | None


@dataclass(frozen=True)
class StateInfo:
    """One tensor that a model carries from one time step to the next.

    Attributes:
        name: Unique name, from the module path: "layer1_sn_v".
        neuron: Path of the module that owns it.
        memory: Its name in that module: "v".
        shape: Sizes: numbers and expressions of free axes, such as B, or 2*B where the batch is folded with a factor.
        dtype: Numpy name of the element type.
        init: Value that every element has before the first step.
        unit: What it measures; membrane potentials are in units of the threshold's scale ("1").
    """

    name: str
    neuron: str
    memory: str
    shape: tuple[Size, ...]
    dtype: str
    init: float
    unit: str = "1"

    def concrete(self, batch: int) -> tuple[int, ...]:
        """Returns the shape for a batch of `batch` samples."""
        return tuple(evaluate(size, {BATCH: batch}) for size in self.shape)


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

    The program's signature is `forward(x, *states) -> (*outputs, *new_states)`; x is `[T, B, *shape]` in the
    sequence form of a spiking model and `[B, *shape]` otherwise. Its neurons are nodes
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
        time_output: What the outputs are over time ("sequence", "mean", "sum" or "last").
        reparameterisation: "merged", "kept" or "none": what became of re-parameterised branches.
        notes: What the user should know (hooks that were left out, ...).
        module: The functional twin that was traced (evaluation mode, on the CPU); never the user's own.
        retrace: Captures it again with other settings.
        loops: Module path of every loop: a part that reads its own values of the step before (recurrent connections).
        opened: Whether loops are cut open: see `neurokit.capture.opened`.
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
    time_output: TimeOutput
    reparameterisation: Literal["merged", "kept", "none"]
    notes: tuple[str, ...]
    module: torch.nn.Module
    retrace: Callable[..., Captured] = field(repr=False)
    loops: tuple[str, ...] = ()
    opened: bool = False

    @property
    def spiking(self) -> bool:
        """Whether the model runs over time."""
        return self.time_steps is not None

    @property
    def feedback(self) -> tuple[int, ...]:
        """Places, among the states, of those that are fed-back values of an opened loop, `[T, B, *shape]`."""
        return tuple(at for at, state in enumerate(self.states) if self.opened and state.neuron in self.loops)

    def initial_states(self, batch: int) -> tuple[torch.Tensor, ...]:
        """Returns every state's value before the first step."""
        import torch

        return tuple(torch.full(s.concrete(batch), s.init, dtype=getattr(torch, s.dtype)) for s in self.states)
