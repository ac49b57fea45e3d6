"""Test vectors of an artifact: one input, the reference's spikes and outputs, and the rounding bounds for both."""

from __future__ import annotations

import io
import json
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from neurokit.errors import UNREADABLE, ArtifactError
from neurokit.neurons import dynamics
from neurokit.over_time import batch_axes
from neurokit.parity.blind import Blind
from neurokit.parity.calls import Call
from neurokit.parity.covering import Cover, Covering, Output
from neurokit.parity.steps import OP, Steps
from neurokit.parity.texts import Text
from neurokit.parity.unseen import Unread
from neurokit.parity.wellformed import check_archive, check_vectors

if TYPE_CHECKING:
    from collections.abc import Collection

    from neurokit.artifact import Artifact

FILE = "vectors.npz"
SCHEMA_VERSION = 2  # 1 held one input without its name


@dataclass(frozen=True)
class LayerVector:
    """What the reference computed in one neuron layer.

    Attributes:
        path: Module path.
        kind: Class name of the neuron.
        op: Operation ("if_", "lif", "plif"), or "stepwise": known by its step alone.
        parameters: Its scalars.
        spikes: `[T, B, ...]`, 0 or 1, uint8. Of a neuron that is called several times, its calls follow one another.
            Of a stepwise one whatever it puts out, in its own type.
        init: Membrane before the first step: a number, or an array that broadcasts to `[B, ...]`.
        bound: Rounding bound on the charged membrane of one implementation; of a stepwise one on its current.
        rigorous: Whether the bound is proven; else it is an estimate (the layer's input passes operations that the
            error analysis does not know).
        sample_at: Flat indices into `[T, B, ...]` of the membranes that were kept.
        sample_h: Charged membranes at those places; of a stepwise one currents.
        near: Flat indices of all near misses, where rounding may decide otherwise; None in files of version 0.1.
        restarts: Steps before which the membrane is set to `init` again (a neuron that is reset between its calls).
        steps: Of a stepwise one, what the reference made of single steps; else None.
        rounded: How often the bound takes a term of its current for rounded, in the call where that is least; 0 in
            files that do not say.
    """

    path: str
    kind: str
    op: str
    parameters: dict[str, Any]
    spikes: np.ndarray
    init: float | np.ndarray
    bound: float
    rigorous: bool
    sample_at: np.ndarray
    sample_h: np.ndarray
    near: np.ndarray | None = None
    restarts: tuple[int, ...] = ()
    steps: Steps | None = None
    rounded: int = 0

    def differs(self, own: np.ndarray) -> np.ndarray:
        """Returns where an artifact's outputs are not the reference's, `[T, B, ...]`."""
        own = own.reshape(self.spikes.shape)
        if self.steps is None:
            return own.astype(np.uint8) != self.spikes
        return ~((own == self.spikes) | (np.isnan(own) & np.isnan(self.spikes)))

    def fires_as(self, other: LayerVector) -> bool:
        """Returns whether another layer has the same equations, spikes and membranes on the test input."""
        same = (self.op, self.parameters, self.restarts) == (other.op, other.parameters, other.restarts)
        if not same or self.spikes.shape != other.spikes.shape or not np.array_equal(self.init, other.init):
            return False
        return np.array_equal(self.spikes, other.spikes) and bool(np.isin(self.sample_h, other.sample_h).all())

    @property
    def first_near(self) -> int:
        """The first step at which rounding may decide whether a neuron fires; T where it may at none."""
        if self.near is None or self.steps is not None:
            return 0
        return int(self.near.min()) * len(self.spikes) // self.spikes.size if self.near.size else len(self.spikes)

    def drawn(self, bits: np.ndarray) -> np.ndarray:
        """Returns outputs for random bits: spikes, or of a stepwise one values at either end of what was seen."""
        return bits if self.steps is None else self.steps.drawn(bits)

    def start(self, shape: tuple[int, ...], dtype: Any) -> np.ndarray:
        """Returns the membrane before the first step, for values of one step of the given shape `[B, ...]`."""
        return np.broadcast_to(np.asarray(self.init, dtype), shape).copy()

    def follow(self, current: np.ndarray, spikes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Follows the neuron's equations from its initial membrane, with given spikes driving its reset.

        Args:
            current: Input current, `[T, B, ...]`; any B and T.
            spikes: Spikes that reset the membrane, in the same shape.

        Returns:
            The charged membranes and the membranes before each step, in the same shape.
        """
        start = self.start(current.shape[1:], current.dtype)
        return replay(self.op, self.parameters, current, spikes, start, self.restarts)


@dataclass(frozen=True)
class Vectors:
    """One input with all that the reference made of it.

    Attributes:
        feeds: Every input by its name, `[T, B, *shape]`, or `[B, *shape]` without time.
        outputs: The reference's outputs, by name.
        output_bounds: Absolute rounding bound of each output, given the reference's spikes.
        layers: Every neuron layer, in the order of execution.
        time_input: What the lowered sequence form takes ("sequence" or "image").
        time_output: What the outputs are over time (`neurokit.over_time`).
        seed: Seed of the input.
        notes: What the reference check found.
        coverings: What the reference made of coverage stimuli; empty where those were not run.
        ranges: Declared smallest and largest value of every input.
        unread: Weights that the reference's runs did not wholly read.
        calls: Calls in a row of a model with a free length, declared states or several graphs; else ().
        carried: Outputs that need not repeat when every spike does (`neurokit.parity.carried`).
        text: What a language model's artifact is to write; else None.
        roundings: Relative distance of each output from the reference in float64, of a model without layers.
        hidden: Number of layers that an artifact does not show (`Probe.restrict`); not in the file.
        hidden_from: First step at which rounding may decide in a layer that is hidden; not in the file.
        unit: Unit roundoff of the coarsest type that the program works in; 0 in files that do not say.
        rounded: How often the bound of each output takes a term for rounded.
        longer: Outputs over twice as many steps, every spike twice in a row, where no word says what they are over time
            (`neurokit.parity.record_longer`); of a form with a free T.
        blind: Free runs of many samples, for a form that hides layers.
        idle: Layers that no output depends on.
    """

    feeds: dict[str, np.ndarray]
    outputs: dict[str, np.ndarray]
    output_bounds: dict[str, float]
    layers: tuple[LayerVector, ...]
    time_input: str
    time_output: str
    seed: int = 0
    notes: tuple[str, ...] = field(default_factory=tuple)
    coverings: tuple[Covering, ...] = ()
    ranges: dict[str, tuple[float, float]] = field(default_factory=dict)
    calls: tuple[Call, ...] = ()
    carried: tuple[str, ...] = ()
    unread: tuple[Unread, ...] = ()
    text: Text | None = None
    roundings: dict[str, float] = field(default_factory=dict)
    hidden: int = 0
    hidden_from: int = 0
    unit: float = 0.0
    rounded: dict[str, int] = field(default_factory=dict)
    blind: tuple[Blind, ...] = ()
    idle: tuple[str, ...] = ()
    longer: dict[str, np.ndarray] = field(default_factory=dict)

    def without_steps(self) -> Vectors:
        """Returns the vectors of common neurons alone, for what shows no steps of rare ones.

        The covering runs gave rare neurons random outputs, too, so they are left out where there are any.
        """
        common = tuple(layer for layer in self.layers if layer.steps is None)
        if len(common) == len(self.layers):
            return self
        hidden = self.hidden + len(self.layers) - len(common)
        return replace(self, layers=common, coverings=(), hidden=hidden)

    def shown(self, paths: Collection[str]) -> Vectors:
        """Returns the vectors of the layers that an artifact shows, and from when on the others may part from them."""
        seen = tuple(layer for layer in self.layers if layer.path in paths)
        left = [layer for layer in self.layers if layer.path not in paths]
        one_time = len({len(layer.spikes) for layer in self.layers}) == 1  # else a layer's calls follow one another
        first = min((layer.first_near for layer in left), default=0) if one_time else 0
        return replace(self, layers=seen, hidden=self.hidden + len(left), hidden_from=first)

    @property
    def x(self) -> np.ndarray:
        """The first input."""
        return next(iter(self.feeds.values()))

    @property
    def batch(self) -> int:
        """Number of samples B."""
        return int(next(iter(self.outputs.values())).shape[batch_axes(self.time_output, 1)[0]])

    def save(self, path: Path) -> None:
        """Writes everything to one .npz file, spikes as packed bits."""
        arrays: dict[str, Any] = {f"in{index}": value for index, value in enumerate(self.feeds.values())}
        head: dict[str, Any] = {
            "schema_version": SCHEMA_VERSION,
            "inputs": list(self.feeds),
            "time_input": self.time_input,
            "time_output": self.time_output,
            "seed": self.seed,
            "notes": list(self.notes),
            "outputs": list(self.outputs),
            "output_bounds": self.output_bounds,
            "layers": [],
            "coverings": [run.head() for run in self.coverings],
            "ranges": self.ranges,
            "carried": list(self.carried),
            "unit": self.unit,
            "rounded": self.rounded,
            "roundings": self.roundings,
            "longer": list(self.longer),
            "blind": [run.head() for run in self.blind],
            "idle": list(self.idle),
            "unread": [vars(entry) for entry in self.unread],
            "calls": [
                {"graph": c.graph, "inputs": list(c.feeds), "outputs": list(c.outputs), "fresh": c.fresh}
                for c in self.calls
            ],
        }
        if self.text is not None:
            head["text"] = self.text.head()
            arrays |= self.text.arrays()
        for index, call in enumerate(self.calls):
            arrays.update({f"c{index}in{at}": value for at, value in enumerate(call.feeds.values())})
            arrays.update({f"c{index}y{at}": value for at, value in enumerate(call.outputs.values())})
        for index, value in enumerate(self.outputs.values()):
            arrays[f"y{index}"] = value
        arrays |= {f"longer{index}": value for index, value in enumerate(self.longer.values())}
        for index, run in enumerate(self.coverings):
            arrays |= run.arrays(f"cover{index}.")
        for index, blind in enumerate(self.blind):
            arrays |= blind.arrays(f"blind{index}.")
        for index, layer in enumerate(self.layers):
            arrays[f"s{index}"] = np.packbits(layer.spikes) if layer.steps is None else layer.spikes
            arrays[f"at{index}"], arrays[f"h{index}"] = layer.sample_at, layer.sample_h
            head["layers"].append(
                {
                    "path": layer.path,
                    "kind": layer.kind,
                    "op": layer.op,
                    "parameters": layer.parameters,
                    "shape": list(layer.spikes.shape),
                    "init": layer.init if isinstance(layer.init, int | float) else None,
                    "bound": layer.bound,
                    "rigorous": layer.rigorous,
                    "restarts": list(layer.restarts),
                    "rounded": layer.rounded,
                }
            )
            if not isinstance(layer.init, int | float):
                arrays[f"init{index}"] = layer.init
            if layer.near is not None:
                arrays[f"near{index}"] = layer.near
            if layer.steps is not None:
                head["layers"][-1]["steps"] = layer.steps.head()
                arrays |= layer.steps.arrays(f"step{index}.")
        arrays["head"] = np.frombuffer(json.dumps(head).encode(), dtype=np.uint8)
        with path.open("wb") as file:
            np.savez_compressed(file, **arrays)

    @classmethod
    def of(cls, artifact: Artifact) -> Vectors:
        """Returns an artifact's test vectors.

        Raises:
            ArtifactError: If it has none, or they cannot be read.
        """
        vectors = cls.load(artifact.file(FILE), artifact.manifest.inputs[0].name)
        check_vectors(vectors, artifact)
        return vectors

    @classmethod
    def load(cls, path: Path, input_name: str = "x") -> Vectors:
        """Reads what `save` wrote.

        Args:
            path: The file.
            input_name: Name of the one input of a file of version 0.1, which does not say.

        Raises:
            ArtifactError: If the file is no such archive.
        """
        try:
            check_archive(path)
            with np.load(io.BytesIO(path.read_bytes()), allow_pickle=False) as data:
                head = json.loads(bytes(data["head"]))
                names = head.get("inputs")
                feeds = {input_name: data["x"]} if names is None else {n: data[f"in{i}"] for i, n in enumerate(names)}
                outputs = {name: data[f"y{i}"] for i, name in enumerate(head["outputs"])}
                runs = head.get("coverings")
                coverings = (
                    _first_covering(data, head, outputs)
                    if runs is None
                    else tuple(Covering.read(run, data, f"cover{i}.") for i, run in enumerate(runs))
                )
                layers = tuple(_layer(data, index, dict(entry)) for index, entry in enumerate(head["layers"]))
                return cls(
                    feeds,
                    outputs,
                    head["output_bounds"],
                    layers,
                    head["time_input"],
                    head["time_output"],
                    head["seed"],
                    tuple(head["notes"]),
                    coverings,
                    {name: (float(low), float(high)) for name, (low, high) in head.get("ranges", {}).items()},
                    tuple(_call(data, index, entry) for index, entry in enumerate(head.get("calls", ()))),
                    tuple(map(str, head.get("carried", ()))),
                    tuple(Unread.read(entry) for entry in head.get("unread", ())),
                    Text.read(head["text"], data) if "text" in head else None,
                    {name: float(value) for name, value in head.get("roundings", {}).items()},
                    unit=float(head.get("unit", 0.0)),
                    rounded={name: int(count) for name, count in head.get("rounded", {}).items()},
                    idle=tuple(map(str, head.get("idle", ()))),
                    blind=tuple(Blind.read(run, data, f"blind{i}.") for i, run in enumerate(head.get("blind", ()))),
                    longer={str(name): data[f"longer{i}"] for i, name in enumerate(head.get("longer", ()))},
                )
        except UNREADABLE as error:
            raise ArtifactError(
                f"the test vectors {path} cannot be read: {error}", fix="export the model again"
            ) from error


def _call(data: Any, index: int, entry: dict[str, Any]) -> Call:
    feeds = {name: data[f"c{index}in{at}"] for at, name in enumerate(entry["inputs"])}
    return Call(
        entry["graph"],
        feeds,
        {name: data[f"c{index}y{at}"] for at, name in enumerate(entry["outputs"])},
        bool(entry["fresh"]),
    )


def _layer(data: Any, index: int, entry: dict[str, Any]) -> LayerVector:
    shape = tuple(entry.pop("shape"))
    count = int(np.prod(shape))
    packed = data[f"s{index}"]
    entry.pop("seed", None)
    entry["restarts"] = tuple(map(int, entry.get("restarts", ())))
    sampled = {"sample_at": data[f"at{index}"], "sample_h": data[f"h{index}"]}
    if entry["op"] == OP:
        steps = Steps.read(entry.pop("steps"), data, f"step{index}.")
        return LayerVector(spikes=packed.reshape(shape), steps=steps, **sampled, **entry)
    if packed.size != -(-count // 8):
        raise ValueError(f"layer {index} has {packed.size} bytes for {count} spikes")
    spikes = np.unpackbits(packed, count=count).reshape(shape)
    near = data.get(f"near{index}")
    if entry["init"] is None:
        entry["init"] = data[f"init{index}"]
    return LayerVector(spikes=spikes, near=near, **sampled, **entry)


def _first_covering(data: Any, head: dict[str, Any], outputs: dict[str, np.ndarray]) -> tuple[Covering, ...]:
    """Returns the covering run of a file of version 0.1: on the test vectors' own input, one bound an output."""
    entries = [(index, entry) for index, entry in enumerate(head["layers"]) if entry.get("seed") is not None]
    if not entries or len(entries) < len(head["layers"]):
        return ()
    layers = tuple(
        Cover(entry["seed"], data[f"ca{i}"], data[f"cc{i}"], data[f"cb{i}"], tuple(entry["shape"]))
        for i, entry in entries
    )
    bounds = head.get("covering_bounds", {})
    values = {name: data[f"cy{i}"] for i, name in enumerate(outputs) if f"cy{i}" in data}
    kept = {name: Output(value, np.full(value.shape, bounds.get(name, 0.0))) for name, value in values.items()}
    return (Covering("vectors", 0, 1, layers, kept),)


def replay(
    op: str,
    parameters: dict[str, Any],
    x: np.ndarray,
    spikes: np.ndarray,
    v0: np.ndarray,
    restarts: Collection[int] = (),
) -> tuple[np.ndarray, np.ndarray]:
    """Runs a neuron's equations with given spikes driving its reset (teacher forcing).

    Args:
        op: Operation of the neuron.
        parameters: Its scalars.
        x: Input current, `[T, ...]`.
        spikes: Spikes that reset the membrane, `[T, ...]`.
        v0: Membrane before the first step.
        restarts: Steps before which the membrane is `v0` again.

    Returns:
        The charged membranes and the membranes before each step, both `[T, ...]`.
    """
    parameters = {k: x.dtype.type(v) if isinstance(v, float) else v for k, v in parameters.items()}
    charged, before = np.empty_like(x), np.empty_like(x)
    v = v0.astype(x.dtype)
    for t in range(x.shape[0]):
        before[t] = v = v0.astype(x.dtype) if t in restarts else v
        charged[t] = dynamics.charge(op, v, x[t], parameters)
        v = dynamics.after_spike(charged[t], spikes[t].astype(x.dtype), parameters).astype(x.dtype)
    return charged, before
