"""Runs NIR artifacts with neurokit's own interpreter: a runner for sequences and streams, and the probe of verify."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from neurokit.errors import InputError
from neurokit.export.nir.agree import hold_against_nets
from neurokit.export.sequence import reduce_steps
from neurokit.feeds import Feeds, Outputs, call_by_name, named_inputs
from neurokit.over_time import of_each
from neurokit.target import Probe

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor

    from neurokit.artifact import Artifact
    from neurokit.interchange.nir_net import NirNet
    from neurokit.parity.vectors import Vectors

MODEL_FILE = "model.nir"
PARTS_FILE = "partition.json"
PART_DATA = "parts.npz"


def read_file(path: Path) -> NirNet:
    """Returns the module of a .nir file of an artifact."""
    from neurokit.interchange.nir_net import read_net

    return read_net(path)


def reset(net: NirNet) -> None:
    """Sets every state of a module to its initial value."""
    from spikingjelly.activation_based import functional

    functional.reset_net(net)


def _membrane(net: NirNet, name: str, current: Tensor) -> Tensor:
    """Returns the membrane of a neuron before it is given a current `[T, B, ...]`."""
    import torch

    v = getattr(net, net.module_of[name]).v
    return torch.as_tensor(v, dtype=current.dtype).expand(current.shape[1:]).clone()


def in_order(net: NirNet, feeds: Feeds, info: Mapping[str, Any]) -> list[np.ndarray]:
    """Returns inputs by the ports' names in the order in which a file's module takes them.

    Raises:
        InputError: If one is missing or unknown.
    """
    if len(net.inputs) == 1:  # as also of artifacts that do not say which node is which input
        if len(feeds) != 1:
            raise InputError(f"the inputs are {', '.join(feeds) or 'none'}", expected="one input")
        return list(feeds.values())
    ports = {node: port for port, node in info["inputs"].items()}
    given = named_inputs(feeds, list(info["inputs"]))
    return [given[ports[node]] for node in net.inputs]


class NirRunner:
    """A NIR artifact that is open; a context manager.

    Args:
        artifact: The artifact.
        part: Which part of a partitioned model to run, counted from 0.
    """

    def __init__(self, artifact: Artifact, part: int | None = None) -> None:
        self.manifest = artifact.manifest
        info = self.manifest.target_info
        count = len(info.get("parts", ()))
        if bool(count) != (part is not None) or (part is not None and not 0 <= part < count):
            what = f"the model is in {count} parts, and what lies between them is not here" if count else "it is whole"
            raise InputError(
                f"part={part} cannot be opened: {what}", expected=f"part=0 to {count - 1}" if count else ""
            )
        self._net: NirNet | None = read_file(artifact.file(info["parts"][part] if part is not None else MODEL_FILE))
        hold_against_nets(artifact, [self._net], [part or 0])
        self._info = info
        self._timed = self.manifest.time_steps is not None

    def __call__(self, given: Feeds | np.ndarray) -> Any:
        """Runs a whole sequence `[T, B, *shape]`, or `[B, *shape]` without time or for an image.

        Args:
            given: The input by name, or one array.

        Raises:
            InputError: If the shape is not what the graph takes.
        """
        return call_by_name(lambda feeds: self._named(self._whole(feeds)), given, *self._names())

    def _whole(self, feeds: Feeds) -> list[np.ndarray]:
        net = self._open()
        reset(net)
        if not self._timed:
            return [y[0] for y in self._run({name: x[None] for name, x in feeds.items()})]
        if self._info.get("time_input") == "image":
            steps = int(self.manifest.time_steps)  # type: ignore[arg-type]
            feeds = {name: np.broadcast_to(x, (steps, *x.shape)) for name, x in feeds.items()}
        return self._reduced(list(self._run(feeds)))

    def _reduced(self, outputs: list[np.ndarray]) -> list[np.ndarray]:
        kinds = of_each(self._info.get("time_output", "sequence"), len(outputs))
        return [reduce_steps(y, kind) for y, kind in zip(outputs, kinds, strict=True)]

    def reset(self, batch: int = 1) -> None:
        """Sets every state to its initial value; any batch size fits."""
        reset(self._open())

    def step(self, given: Feeds | np.ndarray) -> Any:
        """Runs one time step `[B, *shape]` and keeps the new state."""

        def run(feeds: Feeds) -> Outputs:
            return self._named([y[0] for y in self._run({name: x[None] for name, x in feeds.items()})])

        return call_by_name(run, given, *self._names())

    def _names(self) -> tuple[list[str], list[str]]:
        """Returns the names of inputs and outputs; a part of a model has outputs of its own."""
        outputs = [] if self._info.get("parts") else [port.name for port in self.manifest.outputs]
        return [port.name for port in self.manifest.inputs], outputs

    def _named(self, values: list[np.ndarray]) -> Outputs:
        names = self._names()[1]
        if len(names) != len(values):  # a part
            names = [f"y{at}" if at else "y" for at in range(len(values))]
        return dict(zip(names, values, strict=True))

    def close(self) -> None:
        """Frees the graph."""
        self._net = None

    def __enter__(self) -> NirRunner:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def _open(self) -> NirNet:
        if self._net is None:
            raise InputError("the runner is closed", fix="open the artifact again")
        return self._net

    def _run(self, feeds: Feeds) -> list[np.ndarray]:
        import torch

        net = self._open()
        if not self._info.get("parts"):
            feeds = named_inputs(feeds, self._names()[0])
        elif len(net.inputs) != 1:
            raise InputError(f"this part has {len(net.inputs)} inputs", expected="a part with one input")
        given = in_order(net, feeds, self._info)
        for name, x in zip(net.inputs, given, strict=True):
            wanted = net.shapes[name]
            if x.shape[2:] != wanted or x.ndim != len(wanted) + 2:
                label = "the input" if len(given) == 1 else f"the input of node {name!r}"
                raise InputError(
                    f"{label} is {list(x.shape[1:])} a step", expected=f"[B, {', '.join(map(str, wanted))}]"
                )
        if len({x.shape[:2] for x in given}) != 1:
            raise InputError("the inputs differ in steps or batch", expected="as many steps and samples of each")
        with torch.no_grad():
            found = net(*(torch.from_numpy(np.ascontiguousarray(x, dtype=np.float32)) for x in given))
        return [y.numpy() for y in (found if isinstance(found, tuple | list) else (found,))]


class _Seen:
    """What nodes were given or gave, in one call or step by step."""

    def __init__(self) -> None:
        self._parts: dict[tuple[int, str], list[Tensor]] = {}

    def note(self, key: tuple[int, str], value: Tensor) -> Tensor:
        """Keeps the next steps of a node, `[T, B, ...]`, and returns them."""
        self._parts.setdefault(key, []).append(value)
        return value

    def steps(self, key: tuple[int, str]) -> int:
        """Returns how many steps of a node were kept."""
        return sum(map(len, self._parts.get(key, ())))

    def whole(self, key: tuple[int, str]) -> np.ndarray:
        """Returns all steps of a node, `[T, B, ...]`."""
        return np.concatenate([part.numpy() for part in self._parts[key]])


class NirProbe(Probe):
    """Runs one NIR artifact in the ways that verification asks for."""

    def __init__(self, artifact: Artifact) -> None:
        info = artifact.manifest.target_info
        self._info, self._steps = info, artifact.manifest.time_steps
        self._nets = [read_file(artifact.file(name)) for name in info.get("parts") or [MODEL_FILE]]
        hold_against_nets(artifact, self._nets, list(range(len(self._nets))))
        self._layers: list[tuple[int, str]] = [(int(at), name) for at, name in info["layers"]]
        self._forceable = all(neuron.op != "decomposed" for neuron in artifact.manifest.neurons)
        self._data: list[list[np.ndarray]] | None = None
        self._starts: list[np.ndarray | None] = []
        if info.get("parts"):
            with np.load(artifact.file(PART_DATA), allow_pickle=False) as data:
                self.fixed_input = True
                self._data = [[data[f"{index}:{name}"] for name in net.inputs] for index, net in enumerate(self._nets)]

    def layers(self) -> list[str]:
        """Returns the node of every neuron layer, in order."""
        return [name for _, name in self._layers]

    def can_force(self) -> bool:
        """Whether every neuron can be given the reference's spikes."""
        return self._forceable

    def restrict(self, vectors: Vectors) -> Vectors:
        """Returns the vectors of what the artifact holds: of a partitioned model, its parts' neurons only."""
        vectors = vectors.without_steps()
        if self._data is None:
            return vectors
        # Each part runs on what was recorded of the others: random spikes would not get from one to the next.
        kept = [vectors.layers[index] for index in self._info["covered"]]
        note = f"{len(kept)} of {len(vectors.layers)} neuron layers lie in the parts; each part runs on recorded input"
        return replace(
            vectors,
            layers=tuple(kept),
            outputs={},
            output_bounds={},
            coverings=(),
            blind=(),
            notes=(*vectors.notes, note),
        )

    def free(self, feeds: Mapping[str, np.ndarray]) -> tuple[list[np.ndarray], list[np.ndarray]]:
        """Runs a sequence as it is; returns the outputs and every layer's spikes `[T, B, ...]`."""
        seen, starts = _Seen(), _Seen()

        def call(index: int, name: str, value: Tensor) -> Tensor:
            if (index, name) in self._layers:
                starts.note((index, name), _membrane(self._nets[index], name, value)[None])
            return seen.note((index, name), self._nets[index].call(name, value))

        outputs = self._run(feeds, call)
        self._starts = [starts.whole(layer) for layer in self._layers]
        return outputs, [seen.whole(layer) for layer in self._layers]

    def initial_membranes(self) -> list[np.ndarray | None]:
        """Returns every layer's membranes before its calls in the last free run."""
        return self._starts

    def currents(
        self, feeds: Mapping[str, np.ndarray], spikes: list[np.ndarray]
    ) -> tuple[list[np.ndarray], list[np.ndarray]]:
        """Runs with the reference's spikes in place of every layer's own; returns outputs and input currents."""
        import torch

        forced = {layer: torch.from_numpy(value).float() for layer, value in zip(self._layers, spikes, strict=True)}
        seen = _Seen()

        def call(index: int, name: str, value: Tensor) -> Tensor:
            if (index, name) not in forced:
                return self._nets[index].call(name, value)
            start = seen.steps((index, name))  # in a loop a layer is called step by step
            seen.note((index, name), value)
            return forced[index, name][start : start + len(value)].reshape(value.shape)

        outputs = self._run(feeds, call)
        return outputs, [seen.whole(layer) for layer in self._layers]

    def run(self, index: int, current: np.ndarray, v0: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Runs one layer's own neuron alone over time, `[T, N]` from the membranes `[N]`."""
        import torch

        part, name = self._layers[index]
        net = self._nets[part]
        neuron = getattr(net, net.module_of[name])
        neuron.reset()
        with torch.no_grad():
            neuron.v = torch.from_numpy(np.ascontiguousarray(v0))
            spikes = neuron(torch.from_numpy(np.ascontiguousarray(current)))
            after = neuron.v
        neuron.reset()
        return spikes.numpy(), after.numpy()

    def firing(self, feeds: Mapping[str, np.ndarray]) -> tuple[np.ndarray, dict[str, np.ndarray]]:
        """Runs a whole model as it is.

        Returns:
            The input of every step `[T, B, ...]`, on the grid that the file states, and what every firing node puts
            out, by its name.
        """
        net, seen = self._nets[0], _Seen()

        def call(index: int, name: str, value: Tensor) -> Tensor:
            made = self._nets[index].call(name, value)
            return seen.note((0, name), made) if name in net.firing else made

        self._run(feeds, call)
        (x,) = self._sequences(feeds)
        spikes = {name: seen.whole((0, name)) for name in net.order if name in net.firing}
        return x if net.grid is None else net.grid.array(x), spikes

    def _sequences(self, feeds: Mapping[str, np.ndarray]) -> list[np.ndarray]:
        """Returns every input of a NIR graph at every step, `[T, B, ...]`, in the order of its module."""
        given = in_order(self._nets[0], feeds, self._info)
        if self._steps is None:
            return [x[None] for x in given]
        if self._info.get("time_input") == "image":
            return [np.broadcast_to(x, (int(self._steps), *x.shape)) for x in given]
        return given

    def _run(self, feeds: Mapping[str, np.ndarray], call: Any) -> list[np.ndarray]:
        import torch

        with torch.no_grad():
            if self._data is not None:
                for index, (net, given) in enumerate(zip(self._nets, self._data, strict=True)):
                    reset(net)
                    net.run(tuple(map(torch.from_numpy, given)), lambda name, value, i=index: call(i, name, value))
                return []
            reset(self._nets[0])
            given = tuple(torch.from_numpy(np.ascontiguousarray(x)) for x in self._sequences(feeds))
            outputs = self._nets[0].run(given, lambda name, value: call(0, name, value))
        if self._steps is None:
            return [value.numpy()[0] for value in outputs]
        kinds = of_each(self._info.get("time_output", "sequence"), len(outputs))
        return [reduce_steps(value.numpy(), kind) for value, kind in zip(outputs, kinds, strict=True)]
