"""Calls in a row: what the graphs of a model give one after the other, with the state and the values that pass on."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import torch

    from neurokit.capture import Captured

LENGTHS = (1, 3)  # of the free axes in the calls after the first


@dataclass(frozen=True)
class Call:
    """One call of one graph, and what the reference gave.

    Attributes:
        graph: Name of the graph.
        feeds: Inputs by name, without those that an earlier call gave.
        outputs: The reference's outputs by name.
        fresh: Whether states go back to their initial values before it.
    """

    graph: str
    feeds: dict[str, np.ndarray]
    outputs: dict[str, np.ndarray]
    fresh: bool = False


def make_calls(parts: Sequence[Captured], keeps: bool, seed: int = 0) -> tuple[tuple[Call, ...], tuple[str, ...]]:
    """Runs the graphs of a model one after the other, those with a free length or a state again with other lengths.

    Args:
        parts: The graphs, in the order of calling.
        keeps: Whether state is kept between the calls, as a step form does; else every call starts anew.
        seed: Seed of the inputs.

    Returns:
        The calls, and notes on what they do not cover; no calls where there would be one alone.
    """
    again = [part for part in parts if _free(part)]
    if len(parts) == 1 and not again:
        return (), ()
    run = _Reference(parts)
    calls = [run.call(part, seed, None, fresh=at == 0) for at, part in enumerate(parts)]
    limited = [part for part in again if part.spec.example is not None and not _takes_sizes(part)]
    notes = [f"graph {p.graph!r}: one call only, as its example takes no `sizes` of another call" for p in limited]
    for n in LENGTHS:
        calls += [run.call(part, seed + n, n, fresh=not keeps) for part in again if part not in limited]
    return (() if len(calls) == 1 else tuple(calls)), tuple(notes)


def _free(part: Captured) -> bool:
    """Whether a graph has a free axis other than batch and time, or a state of its own."""
    return bool(part.states or part.spec.as_graph().dims)


def _takes_sizes(part: Captured) -> bool:
    example = part.spec.example
    return example is None or "sizes" in inspect.signature(example).parameters


class _Reference:
    """The model's own functions, run in turn by PyTorch: not their programs, which were traced with other sizes."""

    def __init__(self, parts: Sequence[Captured]) -> None:
        self._modules = {part.graph: part.module for part in parts}
        self._states: dict[str, torch.Tensor] = {}  # of one name in several graphs is one state
        self._passed_on: dict[str, torch.Tensor] = {}

    def call(self, part: Captured, seed: int, length: int | None, *, fresh: bool) -> Call:
        import torch

        from neurokit.capture.reference import example_inputs

        batch = 1 if part.batch == "dynamic" else part.batch
        if fresh:
            self._states.clear()
        begun = zip(part.states, part.initial_states(batch), strict=True)
        states = tuple(self._states.get(info.name, value) for info, value in begun)
        passed = {p.name: self._passed_on[p.source] for p in part.spec.inputs if p.source in self._passed_on}
        feeds = example_inputs(part.spec, None, batch, seed, self._sizes(part, states, passed, length))
        values = {**feeds, **passed}
        with torch.no_grad():
            found = self._run(part, tuple(values[port.name] for port in part.spec.inputs), states)
        outputs = dict(zip(part.output_names, found, strict=False))
        kept = zip(part.states, found[len(part.output_names) :], strict=True)
        self._states |= {info.name: value for info, value in kept}
        self._passed_on |= {f"{part.graph}.{name}": value for name, value in outputs.items()}
        given = {name: value.numpy() for name, value in feeds.items() if name not in passed}
        return Call(part.graph, given, {name: value.numpy() for name, value in outputs.items()}, fresh)

    def _run(self, part: Captured, given: tuple[Any, ...], states: Sequence[torch.Tensor]) -> Any:
        module: Any = self._modules[part.graph]
        before = module.single
        module.single = module.time_input == "step"  # with neurons in one of several graphs, a call is a step
        try:
            return module(*given, *states)
        finally:
            module.single = before

    def _sizes(
        self, part: Captured, states: Sequence[torch.Tensor], passed: Mapping[str, torch.Tensor], length: int | None
    ) -> dict[str, int]:
        """Returns the sizes of the axes that states and passed on values have, and with `length` of all others."""
        from neurokit.dims import solve

        held = [(s.name, s.sizes, tuple(v.shape[1:])) for s, v in zip(part.spec.states, states, strict=False)]
        held += [(p.name, p.sizes, tuple(passed[p.name].shape[1:])) for p in part.spec.inputs if p.name in passed]
        sizes = solve(held, {})
        if length is not None:
            sizes = {name: dim.example(length) for name, dim in part.spec.as_graph().dims.items()} | sizes
        return sizes


def run_calls(runner: Any, calls: Sequence[Call]) -> Iterator[tuple[int, Call, str, float]]:
    """Runs calls on an open artifact.

    Yields:
        For every output the number of its call, the call, the output's name and its relative L2 error; infinite where
        the shape differs or a value is not finite.
    """
    for at, call in enumerate(calls):
        if call.fresh and getattr(runner, "streaming", False):
            runner.reset(_batch(call))
        # A runner of another distribution knows one graph, and need not have `run`.
        found = runner.run(call.graph, call.feeds) if hasattr(runner, "run") else _by_name(runner, call)
        for name, wanted in call.outputs.items():
            yield at, call, name, relative_error(found[name], wanted)


def _by_name(runner: Any, call: Call) -> dict[str, np.ndarray]:
    if len(call.feeds) == len(call.outputs) == 1:
        return {next(iter(call.outputs)): np.asarray(runner(next(iter(call.feeds.values()))))}
    return {name: np.asarray(value) for name, value in runner(call.feeds).items()}


def _batch(call: Call) -> int:
    return int(next(iter(call.feeds.values())).shape[0])


def relative_error(found: np.ndarray, wanted: np.ndarray) -> float:
    """Returns the relative L2 error; 0 where both are equal, infinite where shape or finiteness differ."""
    if found.shape != wanted.shape or found.dtype != wanted.dtype:
        return float("inf")
    if np.array_equal(found, wanted, equal_nan=found.dtype.kind == "f"):
        return 0.0
    a, b = found.astype(np.float64), wanted.astype(np.float64)
    if not np.array_equal(np.isfinite(a), np.isfinite(b)):
        return float("inf")
    finite = np.isfinite(b)
    return float(np.linalg.norm(a[finite] - b[finite]) / (np.linalg.norm(b[finite]) or 1.0))


def call_faults(runner: Any, calls: Sequence[Call], tolerance: float) -> tuple[float, list[str]]:
    """Runs calls on an open artifact; returns the largest error, and one line for each output that is off."""
    rows = list(run_calls(runner, calls))
    faults = [
        f"call {at + 1} of {len(calls)} (graph {call.graph!r}): output {name!r} is off by {error:.2g}, "
        f"{tolerance:.2g} is allowed"
        for at, call, name, error in rows
        if not error <= tolerance
    ]
    return max((error for *_, error in rows), default=0.0), faults
