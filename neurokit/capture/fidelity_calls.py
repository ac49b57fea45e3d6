"""Holds a capture with several inputs, graphs, free sizes or declared states against its module, call by call."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from time import perf_counter, thread_time
from typing import Any

import torch
from torch import Tensor, nn

from neurokit.capture.asking import one_line
from neurokit.capture.blame import RANDOM_FIX
from neurokit.capture.distance import distance, equal
from neurokit.capture.eager import own_random_numbers
from neurokit.capture.probe import probe_sizes
from neurokit.capture.reference import example_inputs, module_runner, record
from neurokit.capture.sides import program_in_double
from neurokit.capture.twin import over_time
from neurokit.capture.types import Captured
from neurokit.capture.work import work_of
from neurokit.dims import as_size, evaluate
from neurokit.errors import InputError, RandomNumbersError, Unsupported, UnsupportedError
from neurokit.over_time import of_each
from neurokit.reports.fidelity import Comparison, Fidelity

_BUDGET_S = 10.0  # of this thread's own time, whatever runs beside it: what is not begun by then is left out, and said
_QUICK = 6e9  # operations of a call; one of more is compared in its own precision
_TOLERANCE = {"float64": 1e-6, "float32": 1e-3}
_SEEDS = (20, 21)  # of the calls in a row; test vectors draw from 0
_MORE = 2  # by how much free sizes differ in the second case


def hold_calls(eager: nn.Module, captured: Captured) -> Captured:
    """Compares every graph with its module for two batches and two sizes of each free axis, twice in a row.

    The second call goes on from the states that the module's first one returned.

    Args:
        eager: The module (`neurokit.capture.eager.untouched`); it is used up.
        captured: The capture.

    Returns:
        The capture with `fidelity`.

    Raises:
        UnsupportedError: If a program is another network than the module, or the module draws random numbers.
    """
    start, spent, made, left_out = perf_counter(), thread_time(), list[Comparison](), list[str]()
    for part in captured.graphs:
        wide = _in_double(eager, part)
        double = wide is not None
        program = part.program.module() if wide is None else wide
        batches = (part.batch,) if isinstance(part.batch, int) else (2, 1)
        for case, batch in enumerate(batches):
            what = f"graph {part.graph}, B = {batch}"
            if thread_time() - spent > _BUDGET_S:
                left_out.append(f"{what}: {_BUDGET_S:.0f} s were spent")
                continue
            try:
                made += _case(eager, part, program, batch, case * _MORE, double, left_out)
            except InputError as error:  # an example that has these sizes only
                left_out.append(f"{what}: {one_line(error)}")
        if double:
            eager.float()  # only one of float32 throughout was run in double
    report = Fidelity(
        model=captured.spec.name,
        comparisons=tuple(made),
        not_compared=tuple(left_out),
        seconds=perf_counter() - start,
    )
    return _with(captured, report)


def _with(captured: Captured, report: Fidelity) -> Captured:
    """Returns a capture, and every retrace of it, with what was found."""

    def retrace(**changes: Any) -> Captured:
        return replace(captured.retrace(**changes), retrace=retrace, fidelity=report)

    return replace(captured, retrace=retrace, fidelity=report)


def _case(
    eager: nn.Module, part: Captured, program: Any, batch: int, more: int, double: bool, left_out: list[str]
) -> list[Comparison]:
    """Runs module and program on calls in a row."""
    spec, steps = part.spec, part.known_steps
    precision = "float64" if double else "float32"
    states: Sequence[Tensor] = part.initial_states(batch)
    at_rest = states[len(spec.states) :]  # every call begins with neurons at rest, as the module's does
    sizes = _sizes(part, more)
    made: list[Comparison] = []
    for seed in _SEEDS:
        given = _given(part, batch, seed, sizes)
        values = [_cast(value, double) for value in (*given, *states)]
        try:
            want = _ask(eager, part, values, double)
        except Exception as fault:
            if not made:
                raise
            left_out.append(f"graph {part.graph}, B = {batch}, a second call: {one_line(fault)}")
            break  # inputs of an example that knows nothing of how far a state has grown
        if seed == _SEEDS[0] and not equal(want, _ask(eager, part, values, double, seed=1)):
            raise _random(eager, part)
        found, _ = record(program, tuple(values))
        # States of neurons come behind the declared ones, and are the program's own.
        error = max((_apart(a, b) for a, b in zip(found, want, strict=False)), default=0.0)
        if len(found) < len(want) or error > _TOLERANCE[precision]:
            raise _another(eager, part, batch, error)
        made.append(Comparison("program", steps, batch, precision, 0, 0, error))
        if not spec.states:
            break
        states = (*want[len(part.output_names) :], *at_rest)
        sizes |= {name: evaluate(as_size(size), sizes) for state in spec.states for name, size in state.grows.items()}
    return made


def _apart(mine: Tensor, theirs: Tensor) -> float:
    return distance(mine, theirs) if mine.numel() or theirs.numel() else 0.0


def _sizes(part: Captured, more: int) -> dict[str, int]:
    """Returns sizes of the free axes; those that a state's size follows are what it starts with."""
    dims = part.spec.as_graph().dims
    sizes = probe_sizes(part.spec)
    return {name: dims[name].example(size + more * dims[name].multiple) for name, size in sizes.items()} | (
        part.start_sizes
    )


def _given(part: Captured, batch: int, seed: int, sizes: Mapping[str, int]) -> list[Tensor]:
    feeds = example_inputs(part.spec, part.known_steps, batch, seed, sizes)
    return [feeds[port.name] for port in part.spec.inputs]


def _cast(value: Tensor, double: bool) -> Tensor:
    return value.double() if double and value.is_floating_point() else value


def _ask(eager: nn.Module, part: Captured, values: Sequence[Tensor], double: bool, seed: int = 0) -> tuple[Tensor, ...]:
    """Calls the module as its user does, from rest; returns outputs and new declared states."""
    eager.double() if double else None
    run, _ = module_runner(eager, part.spec)
    count = len(part.spec.inputs) + len(part.spec.states)
    with own_random_numbers(seed):
        made = run(*values[:count])
    if part.spec.time_input != "step" or part.known_steps is None:
        return made
    outputs = len(made) - len(part.spec.states)  # one step a call: what the steps mean together is the specification's
    kinds = of_each(part.time_output, outputs)
    return (*(over_time(y, kind) for y, kind in zip(made[:outputs], kinds, strict=True)), *made[outputs:])


def _in_double(eager: nn.Module, part: Captured) -> Any | None:
    """Returns the program in float64 where the module is quick and both run in it, else None.

    Raises:
        UnsupportedError: If it does not run at all.
    """
    batch = part.batch if isinstance(part.batch, int) else 2
    values = [*_given(part, batch, _SEEDS[0], _sizes(part, 0)), *part.initial_states(batch)]
    try:
        work = work_of(lambda: _ask(eager, part, values, False))
    except Exception as error:
        why = f"called as its graph says, the module itself fails: {one_line(error)}"
        reason = Unsupported(part.graph, type(eager).__name__, why, "mend the module, or what its ports declare")
        raise UnsupportedError(f"model {part.spec.name!r} does not run in its own library", [reason]) from error
    if work > _QUICK:
        return None
    before = {name: tensor.dtype for name, tensor in [*eager.named_parameters(), *eager.named_buffers()]}
    if any(dtype.is_floating_point and dtype != torch.float32 for dtype in before.values()):
        return None
    try:
        found = _ask(eager, part, [_cast(value, True) for value in values], True)
        wide = program_in_double(part.program.module())
        with torch.no_grad():
            wide(*(_cast(value, True) for value in values))
        return wide if all(not y.is_floating_point() or y.dtype == torch.float64 for y in found) else None
    except Exception:
        with suppress(RuntimeError):
            eager.float()
        return None


def _random(eager: nn.Module, part: Captured) -> RandomNumbersError:
    """Returns the refusal of a module whose draws, or some of them, are no inputs."""
    why = "the same input has two answers: it draws random numbers"
    given_draws = any(port.distribution for port in part.spec.inputs)
    fix = "draw by torch alone: what numpy or Python draws is no input" if given_draws else RANDOM_FIX
    reason = Unsupported(part.graph, type(eager).__name__, why, fix)
    return RandomNumbersError(f"model {part.spec.name!r} draws random numbers", [reason])


def _another(eager: nn.Module, part: Captured, batch: int, error: float) -> UnsupportedError:
    why = f"the program's answers are not the module's (relative error {error:.2g} at B = {batch}, on fresh inputs)"
    fix = "report it with the model"
    reason = Unsupported(part.graph, type(eager).__name__, why, fix)
    return UnsupportedError(f"model {part.spec.name!r} would be captured as another network", [reason])
