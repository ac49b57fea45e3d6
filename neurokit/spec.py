"""What a model is before anything is done to it: how to build it and what it takes in."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal

from neurokit.dims import Dim, Linear, Size, as_size, collect, names_in, substitute
from neurokit.errors import InputError, Unsupported
from neurokit.registry import Registry

if TYPE_CHECKING:
    import torch
    from torch import nn

    from neurokit.pretrained import Pretrained

TimeOutput = Literal["auto", "sequence", "mean", "sum", "last", "max"]
TimeInput = Literal["sequence", "image", "step"]
Distribution = Literal["", "uniform", "normal"]
ONE_GRAPH = "model"  # name of the graph of a model that has only one
DTYPES = ("float32", "float64", "float16", "bfloat16", "int64", "int32", "int16", "int8", "uint8", "bool")

Sizes = tuple[int | str | Dim | Linear, ...]


@dataclass(frozen=True)
class TensorSpec:
    """One input or output of a model (a port), without its time and batch axes.

    Attributes:
        name: Name of the port in every lowered form.
        shape: Sizes of one sample, as (3, 224, 224): numbers, free axes (`Dim`), expressions of them ("S", "P+S").
        dtype: Numpy name of the element type.
        layout: One letter an axis, for example "CHW", "L" (length), "F" (features).
        low: Smallest value that a real input takes (for generated test inputs); of a bool 1 for always true.
        high: Largest value that a real input takes.
        meaning: One line: what the numbers are.
        source: "GRAPH.OUTPUT" where the value is what another graph of the model gave; a runner passes it on.
        distribution: Of an input that is a random draw: "uniform" in [0, 1) or "normal" (0, 1); a runner that is not
            given it draws it from a seeded stream.
    """

    name: str
    shape: Sizes
    dtype: str = "float32"
    layout: str = "CHW"
    low: float = 0.0
    high: float = 1.0
    meaning: str = ""
    source: str = ""
    distribution: Distribution = ""

    def __post_init__(self) -> None:
        sizes = [as_size(size) for size in self.shape]
        if any(isinstance(size, int) and size < 1 for size in sizes):
            raise InputError(
                f"input {self.name!r} has shape {self.shape}", expected="positive whole numbers, or free axes (Dim)"
            )
        if self.dtype not in DTYPES:
            raise InputError(f"input {self.name!r} is {self.dtype!r}", expected="one of " + ", ".join(DTYPES))

    @property
    def sizes(self) -> tuple[Size, ...]:
        """The shape with every size in its one form."""
        return tuple(as_size(size) for size in self.shape)

    @property
    def over_steps(self) -> bool:
        """Whether it holds the draws of all steps of an image that the model repeats itself: its first axis is T."""
        return bool(self.distribution) and self.layout.startswith("T")

    def sizes_over(self, steps: int | None) -> tuple[Size, ...]:
        """Returns the sizes for another number of steps: those of a draw that is made at each differ."""
        return (steps, *self.sizes[1:]) if self.over_steps and steps is not None else self.sizes

    @property
    def numbers(self) -> tuple[int, ...]:
        """The shape as numbers, for what takes no free axes.

        Raises:
            InputError: If an axis is free.
        """
        free = names_in(self.sizes)
        if free:
            raise InputError(
                f"input {self.name!r} has the free axes {', '.join(free)}",
                expected="a shape of numbers here",
                fix="give --input-shape with numbers",
            )
        return tuple(int(str(size)) for size in self.sizes)


@dataclass(frozen=True)
class StateSpec(TensorSpec):
    """What a graph keeps from one call to the next, such as a cache; an argument and an output of its function.

    Attributes:
        init: Value of every element before the first call, or a .npy file that holds all of them for one sample.
        grows: What free axes become after a call: {"P": "P+S"} for a cache `[B, heads, P, D]` to which every call
            adds S entries. The first call finds such an axis at its `Dim.min`.
    """

    init: float | str = 0.0
    grows: Mapping[str, str | Linear] = field(default_factory=dict)

    @property
    def next_sizes(self) -> tuple[Size, ...]:
        """The sizes after a call."""
        return tuple(substitute(size, {name: as_size(new) for name, new in self.grows.items()}) for size in self.sizes)


@dataclass(frozen=True)
class GraphSpec:
    """One function of a model: what it takes, keeps and gives.

    Attributes:
        name: Name of the graph; with several graphs also of its file.
        inputs: Inputs, in the order of the function's arguments.
        outputs: Names of the outputs, or their ports; default is what the function returns, by the names in its
            dict or dataclass, else "y", "y1" and so on.
        states: What it keeps from call to call.
        method: Which method of the module it is.
        arguments: How inputs and states are handed over: a tuple (positional) or dict (keywords) of port names,
            which may be nested in tuples, lists and dicts. Default: by keyword where the method has parameters of
            these names, else one after the other.
        example: If given, returns realistic inputs by name, with time and batch axes, for (batch, time_steps, seed).
            With a fourth parameter `sizes` it is asked for inputs of later calls as well: sizes of free axes by name,
            such as how long a cache has grown and how long this call's inputs are to be.
    """

    name: str
    inputs: tuple[TensorSpec, ...]
    outputs: tuple[str | TensorSpec, ...] = ()
    states: tuple[StateSpec, ...] = ()
    method: str = "forward"
    arguments: tuple[Any, ...] | Mapping[str, Any] | None = None
    example: Callable[..., Mapping[str, torch.Tensor] | torch.Tensor] | None = None

    def __post_init__(self) -> None:
        if not self.inputs:
            raise InputError(f"graph {self.name!r} has no inputs", expected="at least one TensorSpec")
        names = [*(port.name for port in (*self.inputs, *self.states)), *self.output_names]
        twice = sorted({name for name in names if names.count(name) > 1})
        if twice:
            raise InputError(f"graph {self.name!r} has two ports named {twice[0]!r}", expected="a name of its own each")

    @property
    def output_names(self) -> tuple[str, ...]:
        """Names of the outputs that are declared."""
        return tuple(port if isinstance(port, str) else port.name for port in self.outputs)

    @property
    def dims(self) -> dict[str, Dim]:
        """Every free axis of the ports, by name, without time and batch."""
        declared = [port.shape for port in (*self.inputs, *self.states, *self.outputs) if not isinstance(port, str)]
        return collect(*declared)


@dataclass(frozen=True)
class TaskSpec:
    """The kind of work that a model does (`neurokit.tasks`).

    Attributes:
        name: Name of a registered task.
        settings: Settings of the task, plain JSON values: names of classes, mean and deviation of the input.
    """

    name: str
    settings: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class TokenWork:
    """What one token costs in one part of a language model, by its equations.

    Attributes:
        part: Which part: "attention 3", "mlp", "head".
        pattern: How tokens are mixed there ("dense", "lightning"), or "" where each token is on its own.
        pairs: Pairs of a query and a key whose weight is computed, over all heads.
        products: Multiply-adds of one activation by another.
        weighted: Multiply-adds of an activation by a weight.
        read: Bytes of caches and states that are read.
        written: Bytes of caches and states that are written.
    """

    part: str
    pattern: str = ""
    pairs: int = 0
    products: int = 0
    weighted: int = 0
    read: int = 0
    written: int = 0


@dataclass(frozen=True)
class SparseForms:
    """What a model whose attention may select its keys says of that.

    Attributes:
        obstacles: Returns why it has no graph, `("masked" or "gathered")`: a dense product under a mask, or the
            selected keys alone.
        gathered: Returns the same model, reading the selected keys alone; None where no layer selects.
        select: Returns the model with its dense layers, or some of them, attending by a registered pattern,
            `(pattern, settings, layers or None for all, texts=())`; texts are token numbers, whose means it keeps.
    """

    obstacles: Callable[[str], Sequence[Unsupported]]
    gathered: Callable[[], ModelSpec] | None
    select: Callable[..., ModelSpec]


@dataclass(frozen=True)
class AttentionHost:
    """What a model whose attention may be calibrated says of it (`neurokit.attention.calibration`).

    Attributes:
        layers: Number of layers.
        heads: Query heads of each; `kv_heads` the key and value heads.
        width: Width of the stream.
        longest: Largest number of tokens of a text; `vocabulary` how many different ones there are.
        dense: Layers of dense softmax attention, which are the ones that can be calibrated.
        calibrate: Returns the model with one more method in its attention, behind those that are in it.
        image: Whether it marks visual tokens.
        joint: Whether text and image tokens share one attention whose maps can be read, in the place of causal text.
    """

    layers: int
    heads: int
    kv_heads: int
    width: int
    longest: int
    vocabulary: int
    dense: tuple[int, ...]
    calibrate: Callable[[Any], ModelSpec]
    image: bool = False
    joint: bool = False


@dataclass(frozen=True)
class AppliedTransform:
    """A transform that a specification has been through.

    Attributes:
        name: Name of the transform.
        settings: All its settings, those that were left at their defaults included.
        notes: What it approximated or found out, one line each.
    """

    name: str
    settings: dict[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class PreprocessStep:
    """One step of a declared preprocessing (`neurokit.preprocess`).

    Attributes:
        name: Its name in torchvision.transforms.v2 or torchaudio.transforms, for example "Resize".
        settings: Its settings, plain JSON values under the names that they have there.
    """

    name: str
    settings: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class ModelSpec:
    """A model that was defined once: everything that lowering and simulation need to know.

    Attributes:
        name: Name in listings, manifests and reports.
        build: Returns the module, in evaluation mode, with freshly initialised or given weights.
        inputs: Inputs, each without time and batch axes, in the order of forward's arguments.
        time_steps: Default number of time steps T of a spiking model, or None for a model without neurons.
        time_input: What the module's forward takes: "sequence" `[T, B, *shape]`; "image" `[B, *shape]`, which
            the module repeats T times itself; "step" `[B, *shape]`, one time step a call.
        time_output: What its output is over time: "sequence" `[T, B, ...]`, or the "mean", "sum" or "last"
            of the steps; "auto" finds out by trying.
        classes: Names of the output classes, if it classifies.
        description: One line for listings.
        source: Paper or project the architecture is from.
        options: Options of `build` that were chosen (they go into manifests).
        merge_reparameterised: If given, returns the module with its re-parameterised branches merged exactly
            into single convolutions; targets whose hardware needs spikes as operands ask for it.
        task: The kind of work it does: metrics, pre- and postprocessing. Default is classification for a model with
            classes, else None.
        transforms: What the specification has been through, in order (`neurokit.transforms`).
        example: If given, returns realistic inputs for (batch, time_steps, seed), `[T, B, *shape]` or
            `[B, *shape]` without time, or several by name; else uniform values between low and high are drawn.
        outputs: As `GraphSpec.outputs`.
        states: As `GraphSpec.states`; membranes of neurons are states already, without being listed.
        arguments: As `GraphSpec.arguments`.
        method: As `GraphSpec.method`.
        graphs: The functions of a model that has several (encoder and step); inputs, outputs, states, arguments and
            example are theirs then.
        fixed_cache: If given, returns the same model with caches of so many entries in the place of caches that grow.
        sparse: If given, what its attention may select, and in which forms.
        attention: If given, what can calibrate its attention, and how.
        scorer: If given, returns the model as a scorer of whole texts, whose heads are masked by an input (the
            transform `head_mask`).
        with_tokens: If given, returns the same model with so many tokens more; what it takes beside their number
            returns their rows `[new, width]` for those of "embedding" or "head", `[V, width]` (the transform `pause`).
        spiking_text: If given, returns its module in whole numbers, for the event engine
            (`neurokit.program.spiking_text`).
        token_work: If given, returns what the token behind so many others costs, part by part.
        exact_bits: Bits of a weight where the model is meant in its exact form (the transform `exact`), or None.
        large: Whether its module takes more than a gigabyte; what goes over the whole zoo builds it only when asked.
        small: Returns a model of the same parts, few and small, for checks of the whole zoo; default: itself.
        pretrained: The weights that are published for it, or None.
        preprocess: What is done to an image or a recording before the model takes it; () for what its task says.
    """

    name: str
    build: Callable[[], nn.Module]
    inputs: tuple[TensorSpec, ...] = ()
    time_steps: int | None = None
    time_input: TimeInput = "sequence"
    time_output: TimeOutput = "auto"
    classes: tuple[str, ...] = ()
    description: str = ""
    source: str = ""
    options: dict[str, Any] = field(default_factory=dict)
    merge_reparameterised: Callable[[nn.Module], nn.Module] | None = None
    task: TaskSpec | None = None
    transforms: tuple[AppliedTransform, ...] = ()
    example: Callable[..., Mapping[str, torch.Tensor] | torch.Tensor] | None = None
    outputs: tuple[str | TensorSpec, ...] = ()
    states: tuple[StateSpec, ...] = ()
    arguments: tuple[Any, ...] | Mapping[str, Any] | None = None
    method: str = "forward"
    graphs: tuple[GraphSpec, ...] = ()
    fixed_cache: Callable[[int], ModelSpec] | None = None
    sparse: SparseForms | None = None
    attention: AttentionHost | None = None
    scorer: Callable[[], ModelSpec] | None = None
    with_tokens: Callable[[int, Callable[[torch.Tensor, str], torch.Tensor]], ModelSpec] | None = None
    spiking_text: Callable[[Any], Any] | None = None
    token_work: Callable[[int], tuple[TokenWork, ...]] | None = None
    exact_bits: int | None = None
    large: bool = False
    small: Callable[[], ModelSpec] | None = None
    pretrained: Pretrained | None = None
    preprocess: tuple[PreprocessStep, ...] = ()

    def __post_init__(self) -> None:
        if self.task is None and self.classes:
            object.__setattr__(self, "task", TaskSpec("classification", {"classes": list(self.classes)}))
        if self.time_steps is not None and self.time_steps < 1:
            raise InputError(f"model {self.name!r} has time_steps={self.time_steps}", expected="a whole number >= 1")
        if not self.graphs:
            if not self.inputs:
                raise InputError(f"model {self.name!r} has no inputs", expected="at least one TensorSpec")
            self.as_graph()  # checks the ports
            return
        if self.inputs or self.outputs or self.states or self.arguments is not None or self.example is not None:
            raise InputError(
                f"model {self.name!r} has both graphs and ports of its own", expected="ports in its graphs only"
            )
        _check_graphs(self)

    def as_graph(self) -> GraphSpec:
        """Returns the one graph of a model without `graphs`."""
        return GraphSpec(ONE_GRAPH, self.inputs, self.outputs, self.states, self.method, self.arguments, self.example)

    def of(self, graph: GraphSpec) -> ModelSpec:
        """Returns the model with the ports of one of its graphs as its own."""
        return replace(
            self,
            graphs=(),
            inputs=graph.inputs,
            outputs=graph.outputs,
            states=graph.states,
            arguments=graph.arguments,
            method=graph.method,
            example=graph.example,
        )

    def in_small(self) -> ModelSpec:
        """Returns its small twin, or the model itself."""
        return self.small() if self.small else self

    @property
    def spiking(self) -> bool:
        """Whether the model runs over time steps."""
        return self.time_steps is not None

    def sample_size(self) -> int:
        """Returns the number of elements of one sample of the first input."""
        return math.prod(self.inputs[0].numbers)


def _check_graphs(spec: ModelSpec) -> None:
    """Refuses graphs of one name, and inputs that are passed on from an output that nobody gives."""
    names = [graph.name for graph in spec.graphs]
    wrong = [name for name in names if names.count(name) > 1 or not name.isidentifier()]
    if wrong:
        raise InputError(f"model {spec.name!r} has a graph {wrong[0]!r}", expected="identifiers, each once")
    if spec.time_steps is not None:
        raise InputError(
            f"model {spec.name!r} has several graphs and time steps", expected="one graph for a spiking model"
        )
    for graph in spec.graphs:
        for port in graph.inputs:
            source, _, output = port.source.partition(".")
            if port.source and (source not in names or not output):
                raise InputError(
                    f"input {port.name!r} of graph {graph.name!r} comes from {port.source!r}",
                    expected="GRAPH.OUTPUT with a graph of " + ", ".join(names),
                )


MODELS: Registry[Callable[[], ModelSpec]] = Registry(
    "model", "neurokit.models", "neurokit.models", command="neurokit models"
)


def register_model(factory: Callable[[], ModelSpec]) -> Callable[[], ModelSpec]:
    """Registers a function without arguments that returns a `ModelSpec`, under the function's name."""
    return MODELS.add(factory.__name__, factory)
