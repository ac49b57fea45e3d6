"""Runs one `.nir` file in the other simulators that are installed, and counts the spikes that differ."""

from __future__ import annotations

import contextlib
import importlib.metadata
import io
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from neurokit.reports import SimulatorParity

_ENDS = ("Input", "Output")
Loader = Callable[[Any, float], Any]


@dataclass(frozen=True)
class Simulator:
    """One simulator that reads NIR.

    Attributes:
        name: What it is called.
        package: What is imported.
        distribution: What pip installs.
        load: Makes a torch module of a graph of the nir library and seconds a time step.
        takes: What one call takes of one sample: a step without a batch axis ("step"), a step with one ("batch"), or
            the whole sequence, as `[T, ...]` ("frames") or `[1, T, ...]` ("rows").
        demanded: Whether an exact network must give the same spikes there.
        differs: Why its spikes may differ.
    """

    name: str
    package: str
    distribution: str
    load: Loader
    takes: str = "step"
    demanded: bool = False
    differs: str = ""


def _spikingjelly(graph: Any, dt: float) -> Any:
    from spikingjelly.activation_based.nir_exchange import import_from_nir

    return import_from_nir(graph, dt=dt)


def _snntorch(graph: Any, dt: float) -> Any:
    from snntorch.import_nir import import_from_nir

    if dt != 1e-4:
        raise ValueError(f"it takes every time step for 1e-4 s, and the file's is {dt:g} s")
    return import_from_nir(graph)


def _norse(graph: Any, dt: float) -> Any:
    import norse.torch

    return norse.torch.from_nir(graph, ignore_warnings=True, dt=dt)


def _sinabs(graph: Any, dt: float) -> Any:
    from sinabs.nir import from_nir

    return from_nir(graph, batch_size=1)


def _rockpool(graph: Any, dt: float) -> Any:
    from rockpool.nn.modules.torch.nir import from_nir

    return from_nir(graph)


SIMULATORS = (
    Simulator("spikingjelly", "spikingjelly", "spikingjelly", _spikingjelly, takes="batch", demanded=True),
    Simulator("snntorch", "snntorch", "snntorch", _snntorch, demanded=True),
    Simulator(
        "norse",
        "norse",
        "norse",
        _norse,
        differs=("it takes r for 1 and v_reset for 0, and leaks by dt times the float32 of 1 / tau"),
    ),
    Simulator(
        "sinabs",
        "sinabs",
        "sinabs",
        _sinabs,
        takes="frames",
        differs=(
            "it takes tau, in seconds, for a number of steps, leaks by exp(-1 / tau), and subtracts the threshold"
        ),
    ),
    Simulator(
        "rockpool",
        "rockpool",
        "rockpool",
        _rockpool,
        takes="rows",
        differs=("it takes tau_mem / (1 + r) for dt, leaks by exp(-dt / tau), and subtracts the threshold"),
    ),
)


def compare(
    path: Path, dt: float, x: np.ndarray, spikes: Mapping[str, np.ndarray], only: Sequence[str] | None = None
) -> tuple[SimulatorParity, ...]:
    """Runs a file in every simulator.

    Args:
        path: The file; it is ours, of an artifact whose sums were checked.
        dt: Seconds a time step.
        x: Input `[T, B, *shape]`, on the grid that the file states.
        spikes: What each firing node must put out, `[T, B, ...]`.
        only: Names of simulators; default is all.

    Returns:
        One entry a simulator, also for those that are not installed or refuse the file.
    """
    chosen = [simulator for simulator in SIMULATORS if only is None or simulator.name in only]
    return tuple(_compare(simulator, path, dt, x, spikes) for simulator in chosen)


def unable(inputs: int, neurons: int) -> tuple[SimulatorParity, ...]:
    """Returns why no other simulator runs a graph with several inputs.

    All of them read graphs by nirtorch, whose interpreter makes one argument named "input" of every Input node, and
    whose executor hands data to the first node only (both in nirtorch 2.6).

    Args:
        inputs: Number of Input nodes.
        neurons: Number of neurons of the graph.
    """
    remark = f"nirtorch, by which it reads the file, hands data to one input, and the graph has {inputs} inputs"
    found = []
    for each in SIMULATORS:
        head = {"simulator": each.name, "demanded": False, "neurons": neurons}
        if find_spec(each.package) is None:
            found.append(SimulatorParity(**head, status="not installed", remark="it would refuse: " + remark))
            continue
        version = importlib.metadata.version(each.distribution)
        found.append(SimulatorParity(**head, version=version, status="refused", remark=remark))
    return tuple(found)


def _compare(
    simulator: Simulator, path: Path, dt: float, x: np.ndarray, spikes: Mapping[str, np.ndarray]
) -> SimulatorParity:
    neurons = sum(int(np.prod(value.shape[2:])) for value in spikes.values())
    head = {"simulator": simulator.name, "demanded": simulator.demanded, "neurons": neurons}
    if find_spec(simulator.package) is None or find_spec("nirtorch") is None:
        missing = simulator.distribution if find_spec(simulator.package) is None else "nirtorch"
        return SimulatorParity(**head, status="not installed", remark=f"python -m pip install {missing}")
    head["version"] = importlib.metadata.version(simulator.distribution)
    try:
        with _silence():
            found = _run(simulator, path, dt, x, list(spikes))
            differs = {name: _differing(found[name], value) for name, value in spikes.items()}
    except Exception as error:  # other people's importers raise what they like
        first = (str(error).strip().splitlines() or [""])[0]
        return SimulatorParity(**head, status="refused", remark=f"{type(error).__name__}: {first[:200]}")
    count = sum(int(value.sum()) for value in differs.values())
    compared = sum(value.size for value in spikes.values())
    remark = f"{_first(differs)}; {simulator.differs}".removesuffix("; ") if count else ""
    return SimulatorParity(**head, status="ran", spikes_compared=compared, spikes_differ=count, remark=remark)


def _run(simulator: Simulator, path: Path, dt: float, x: np.ndarray, nodes: list[str]) -> dict[str, np.ndarray]:
    """Returns what the named nodes put out, `[T, B, ...]`.

    Samples go one by one, each in a fresh import: NIR's Flatten has no batch axis, and some neurons keep their
    membranes from one sequence to the next.
    """
    samples = [_run_sample(simulator, path, dt, x[:, b], nodes) for b in range(x.shape[1])]
    return {name: np.stack([sample[name] for sample in samples], axis=1) for name in nodes}


def _run_sample(simulator: Simulator, path: Path, dt: float, x: np.ndarray, nodes: list[str]) -> dict[str, np.ndarray]:
    import nir
    import torch

    graph = nir.read(str(path), type_check=False)
    kinds = {name: type(node).__name__ for name, node in graph.nodes.items()}
    net = simulator.load(graph, dt)
    children = dict(net.named_children())
    lost = [f"{name!r} ({kind})" for name, kind in kinds.items() if kind not in _ENDS and name not in children]
    if lost:
        raise LookupError(f"its importer leaves out node {lost[0]}")
    seen: dict[str, list[Any]] = {name: [] for name in nodes}
    for name in nodes:
        children[name].register_forward_hook(lambda _, __, out, name=name: seen[name].append(_plain(out)))
    _drive(net, simulator.takes, torch.from_numpy(np.ascontiguousarray(x)))
    return {name: _sequence(name, values, simulator.takes, len(x)) for name, values in seen.items()}


def _drive(net: Any, takes: str, sequence: Any) -> None:
    """Feeds one sample `[T, ...]` from the initial state."""
    import torch

    with torch.no_grad():
        if takes in ("frames", "rows"):
            net(sequence if takes == "frames" else sequence.unsqueeze(0))
            return
        state = None
        for x_t in sequence:
            made = net(x_t.unsqueeze(0) if takes == "batch" else x_t, state)
            state = made[1] if isinstance(made, tuple) else None


def _sequence(name: str, values: list[Any], takes: str, steps: int) -> np.ndarray:
    """Returns what a node put out as `[T, ...]`."""
    whole = takes in ("frames", "rows")
    if len(values) != (1 if whole else steps):
        raise LookupError(f"it ran node {name!r} {len(values)} times in {steps} steps")
    found: np.ndarray = (values[0][0] if takes == "rows" else values[0] if whole else _stacked(values)).numpy()
    return found[:, 0] if takes == "batch" else found


def _stacked(values: list[Any]) -> Any:
    import torch

    return torch.stack(values)


def _plain(out: Any) -> Any:
    while isinstance(out, tuple | list):
        out = out[0]
    return (out.to_dense() if out.is_sparse else out).detach().clone()


def _differing(found: np.ndarray, expected: np.ndarray) -> np.ndarray:
    if found.size != expected.size:
        raise ValueError(f"a layer puts out {list(found.shape)} where {list(expected.shape)} belongs")
    return found.reshape(expected.shape) != expected


def _first(differs: Mapping[str, np.ndarray]) -> str:
    """Says where the earliest difference is: by time step, then by order of nodes."""
    steps = {
        name: int(np.argmax(value.any(axis=tuple(range(1, value.ndim)))))
        for name, value in differs.items()
        if value.any()
    }
    name = min(steps, key=lambda key: steps[key])
    return f"first at step {steps[name]} in {name!r}"


@contextlib.contextmanager
def _silence() -> Iterator[None]:
    """Keeps importers from printing arrays and warnings."""
    import warnings

    with (
        contextlib.redirect_stdout(io.StringIO()),
        contextlib.redirect_stderr(io.StringIO()),
        warnings.catch_warnings(),
    ):
        warnings.simplefilter("ignore")
        before = logging.root.manager.disable
        logging.disable(logging.CRITICAL)
        try:
            yield
        finally:
            logging.disable(before)
