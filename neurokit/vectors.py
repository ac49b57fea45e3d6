"""Test vectors of an artifact: one input, the reference's spikes and outputs, and the rounding bounds for both."""

from __future__ import annotations

import io
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from neurokit import dynamics
from neurokit.errors import ArtifactError

if TYPE_CHECKING:
    import torch

    from neurokit.capture import Captured

FILE = "vectors.npz"
_SAMPLES = 4096  # membranes kept a layer, enough to see an error that flips no spike


@dataclass(frozen=True)
class LayerVector:
    """What the reference computed in one neuron layer.

    Attributes:
        path: Module path.
        kind: Class name of the neuron.
        op: Operation ("if_", "lif", "plif").
        parameters: Its scalars.
        spikes: `[T, B, ...]`, 0 or 1, uint8.
        init: Membrane before the first step.
        bound: Rounding bound on the charged membrane of one implementation.
        rigorous: Whether the bound is proven; else it is an estimate (the layer's input passes operations that the
            error analysis does not know).
        sample_at: Flat indices into `[T, B, ...]` of the membranes that were kept.
        sample_h: Charged membranes at those places.
    """

    path: str
    kind: str
    op: str
    parameters: dict[str, Any]
    spikes: np.ndarray
    init: float
    bound: float
    rigorous: bool
    sample_at: np.ndarray
    sample_h: np.ndarray


@dataclass(frozen=True)
class Vectors:
    """One input with all that the reference made of it.

    Attributes:
        x: The input, `[T, B, *shape]`, or `[B, *shape]` without time.
        outputs: The reference's outputs, by name.
        output_bounds: Absolute rounding bound of each output, given the reference's spikes.
        layers: Every neuron layer, in the order of execution.
        time_input: What the lowered sequence form takes ("sequence" or "image").
        time_output: What the outputs are over time.
        seed: Seed of the input.
        notes: What the reference check found.
    """

    x: np.ndarray
    outputs: dict[str, np.ndarray]
    output_bounds: dict[str, float]
    layers: tuple[LayerVector, ...]
    time_input: str
    time_output: str
    seed: int = 0
    notes: tuple[str, ...] = field(default_factory=tuple)

    @property
    def batch(self) -> int:
        """Number of samples B."""
        return int(next(iter(self.outputs.values())).shape[1 if self.time_output == "sequence" else 0])

    def save(self, path: Path) -> None:
        """Writes everything to one .npz file, spikes as packed bits."""
        arrays: dict[str, Any] = {"x": self.x}
        head: dict[str, Any] = {
            "time_input": self.time_input, "time_output": self.time_output, "seed": self.seed,
            "notes": list(self.notes), "outputs": list(self.outputs), "output_bounds": self.output_bounds, "layers": [],
        }  # fmt: skip
        for index, value in enumerate(self.outputs.values()):
            arrays[f"y{index}"] = value
        for index, layer in enumerate(self.layers):
            arrays[f"s{index}"] = np.packbits(layer.spikes)
            arrays[f"at{index}"], arrays[f"h{index}"] = layer.sample_at, layer.sample_h
            head["layers"].append({
                "path": layer.path, "kind": layer.kind, "op": layer.op, "parameters": layer.parameters,
                "shape": list(layer.spikes.shape), "init": layer.init, "bound": layer.bound,
                "rigorous": layer.rigorous,
            })  # fmt: skip
        arrays["head"] = np.frombuffer(json.dumps(head).encode(), dtype=np.uint8)
        with path.open("wb") as file:
            np.savez_compressed(file, **arrays)

    @classmethod
    def load(cls, path: Path) -> Vectors:
        """Reads what `save` wrote.

        Raises:
            ArtifactError: If the file is no such archive.
        """
        try:
            with np.load(io.BytesIO(path.read_bytes()), allow_pickle=False) as data:
                head = json.loads(bytes(data["head"]))
                layers = tuple(_layer(data, index, entry) for index, entry in enumerate(head["layers"]))
                outputs = {name: data[f"y{i}"] for i, name in enumerate(head["outputs"])}
                return cls(
                    data["x"], outputs, head["output_bounds"], layers, head["time_input"], head["time_output"],
                    head["seed"], tuple(head["notes"]),
                )  # fmt: skip
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise ArtifactError(
                f"the test vectors {path} cannot be read: {error}", fix="export the model again"
            ) from error


def _layer(data: Any, index: int, entry: dict[str, Any]) -> LayerVector:
    shape = tuple(entry.pop("shape"))
    count = int(np.prod(shape))
    spikes = np.unpackbits(data[f"s{index}"], count=count).reshape(shape)
    return LayerVector(spikes=spikes, sample_at=data[f"at{index}"], sample_h=data[f"h{index}"], **entry)


def make_vectors(
    captured: Captured, *, batch: int = 1, seed: int = 0, x: torch.Tensor | None = None, notes: tuple[str, ...] = ()
) -> Vectors:
    """Runs the captured program once and keeps what verification needs.

    Args:
        captured: The captured model, in the sequence form (a fixed T, or dynamic: then the spec's).
        batch: Number of samples to draw.
        seed: Seed of the draw.
        x: The input itself, instead of a drawn one.
        notes: What is known of the reference already.
    """
    from neurokit.capture import is_neuron
    from neurokit.reference import example_input, record
    from neurokit.rounding import analyse

    steps = captured.spec.time_steps if captured.time_steps == "dynamic" else captured.time_steps
    batch = batch if captured.batch == "dynamic" else captured.batch
    if x is None:
        x = example_input(captured.spec, steps, batch, seed)
    batch = int(x.shape[x.dim() - len(captured.spec.inputs[0].shape) - 1])
    module = captured.program.module()
    states = captured.initial_states(batch)
    outputs, records = record(module, (x, *states))
    outputs = outputs[: len(captured.output_names)]
    forced = [entry.spikes for entry in records]
    currents, magnitudes = analyse(module, is_neuron, forced, (x, *states))
    by_path = {neuron.path: neuron for neuron in captured.neurons}
    layers = tuple(
        _make_layer(by_path[path], entry, current, index)
        for index, (path, entry, current) in enumerate(zip(captured.calls, records, currents, strict=True))
    )
    bounds = {
        name: float(magnitude.error().max()) if magnitude.size.numel() else 0.0
        for name, magnitude in zip(captured.output_names, magnitudes, strict=False)
    }
    names = captured.output_names
    return Vectors(
        x=x.numpy(), outputs={n: y.detach().numpy() for n, y in zip(names, outputs, strict=True)},
        output_bounds=bounds, layers=layers,
        time_input="image" if captured.spec.time_input == "image" or steps is None else "sequence",
        time_output=captured.time_output, seed=seed,
        notes=notes,
    )  # fmt: skip


def _make_layer(neuron: Any, entry: Any, current: Any, index: int) -> LayerVector:
    parameters = {k: v for k, v in neuron.parameters.items() if k not in ("surrogate", "alpha", "detach_reset")}
    spikes = entry.spikes.numpy().astype(np.uint8)
    x = entry.current.numpy()
    v = entry.v0.numpy()
    charged = replay(neuron.op, parameters, x, spikes, v)[0]
    error = current.error().expand(entry.current.shape).numpy()
    at = np.sort(np.random.default_rng(index).choice(charged.size, min(_SAMPLES, charged.size), replace=False))
    bound = membrane_bound(neuron.op, parameters, x, charged, error)
    init = float(v.reshape(-1)[0]) if v.size else 0.0
    return LayerVector(
        neuron.path, neuron.kind, neuron.op, parameters, spikes, init, bound, current.rigorous, at,
        charged.reshape(-1)[at],
    )  # fmt: skip


def replay(
    op: str, parameters: dict[str, Any], x: np.ndarray, spikes: np.ndarray, v0: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:  # fmt: skip
    """Runs a neuron's equations with given spikes driving its reset (teacher forcing).

    Args:
        op: Operation of the neuron.
        parameters: Its scalars.
        x: Input current, `[T, ...]`.
        spikes: Spikes that reset the membrane, `[T, ...]`.
        v0: Membrane before the first step.

    Returns:
        The charged membranes and the membranes before each step, both `[T, ...]`.
    """
    parameters = {k: x.dtype.type(v) if isinstance(v, float) else v for k, v in parameters.items()}
    charged, before = np.empty_like(x), np.empty_like(x)
    v = v0.astype(x.dtype)
    for t in range(x.shape[0]):
        before[t] = v
        charged[t] = dynamics.charge(op, v, x[t], parameters)
        v = dynamics.after_spike(charged[t], spikes[t].astype(x.dtype), parameters).astype(x.dtype)
    return charged, before


def membrane_bound(
    op: str, parameters: dict[str, Any], x: np.ndarray, charged: np.ndarray, error: np.ndarray
) -> float:  # fmt: skip
    """Carries the rounding bound of the input current through the membrane's equations.

    Each step adds at most six roundings of numbers no larger than the membrane and the current; the leak shrinks
    what was there before. Returns the largest bound over all elements and steps.
    """
    from neurokit.rounding import UNIT

    leak = 0.0 if op == "if_" else 1.0 / parameters["tau"]
    gain = leak if op != "if_" and parameters["decay_input"] else 1.0
    carried = np.zeros_like(error[0], dtype=np.float64) if len(error) else np.zeros(())
    worst = 0.0
    for t in range(x.shape[0]):
        own = 6.0 * UNIT * (np.abs(charged[t]) + np.abs(x[t]) + abs(parameters["v_threshold"]))
        carried = (1.0 - leak) * carried + gain * error[t] + own
        worst = max(worst, float(carried.max(initial=0.0)))
    return worst
