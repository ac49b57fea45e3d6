"""One trace of a twin: torch.export, and the loops over time in it rolled up again."""

from __future__ import annotations

import operator
import warnings
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

import torch
from torch.export import ExportedProgram
from torch.fx import Node

from neurokit.capture.contexts import plain_contexts
from neurokit.capture.drawing import uniform
from neurokit.capture.fake_quantisation import WrittenOut
from neurokit.capture.later_steps import other_later, rows_that_end
from neurokit.capture.obstacles import LaterStepsError, loop_over_free_steps, refusal, refuse_mapped
from neurokit.capture.ports import dynamic_shapes
from neurokit.capture.probe import set_time_steps
from neurokit.capture.quick_trace import quick_trace
from neurokit.capture.rolling.counted import count_steps
from neurokit.capture.rolling.free import LENGTHS, over_free_steps
from neurokit.capture.rolling.own_steps import note_steps
from neurokit.capture.rolling.roll import Rolled, graph_over_time, rolled_graph, unrolled
from neurokit.capture.twin import Twin
from neurokit.capture.types import PortInfo, StateInfo, TimeSteps
from neurokit.capture.unannotated import without_empty_notes
from neurokit.dims import BATCH, names_in
from neurokit.errors import InputError, NeurokitError, UnsupportedError
from neurokit.neurons.ops import is_neuron
from neurokit.spec import ModelSpec

_SAMPLES = 37  # no size of a network
# How loops are looked for, the plainest first: also ones of T - 1 steps; by the lines of code.
_WAYS: tuple[dict[str, Any], ...] = ({}, {"left_out": 1}, {"own_steps": True})
NO_NODE = ("decomposed", "loop", "delay", "hidden")  # what no single node of the program stands for


@dataclass(frozen=True)
class Job:
    """What is to be traced.

    Attributes:
        twin: The twin.
        spec: What it is a twin of.
        steps: T, "dynamic", or None without time.
        given: Example inputs and states, in the order of the ports.
        ports: Inputs, then states.
        single: Whether one time step is traced.
    """

    twin: Twin
    spec: ModelSpec
    steps: TimeSteps
    given: tuple[Any, ...]
    ports: tuple[PortInfo | StateInfo, ...]
    single: bool


def traced(job: Job) -> tuple[ExportedProgram, list[str]]:
    """Returns the program, and the module path of everything stateful in it, in the order of execution.

    A neuron that the module's forward calls once a step, in a loop over time, is one node over all steps where the
    loop is plain, and one node a call where a step reads what the one before it made.

    Raises:
        UnsupportedError: If torch.export refuses it.
    """
    single_step = (slot for slot in job.twin.slots if getattr(slot.module, "step_mode", "m") == "s")
    looped = job.twin.by_step or any(slot.calls > 1 for slot in single_step)
    looped = looped or any(slot.adapter.unrolls for slot in job.twin.slots)
    free = job.steps == "dynamic" and not job.single
    whole = any(slot.op == "loop" for slot in job.twin.slots)  # runs itself as a scan
    if free and looped and not whole:
        return _over_free_steps(job)
    try:
        program, order = _export(job)
    except UnsupportedError as error:
        if not free:
            raise
        try:
            return _over_free_steps(job)  # a loop without neurons that are known
        except LaterStepsError:
            raise
        except (UnsupportedError, InputError):
            raise error from None
    if job.single or not isinstance(job.steps, int):
        return program, order
    made = _rolled(job, program, order, job.steps)
    if made is None:
        return program, order
    graph, paths = made
    again = Rolled(job.twin, program, graph)
    return program_of(again, job), [*paths, *(path for path in order if _kind(job.twin, path) in NO_NODE)]


def _kind(twin: Twin, path: str) -> str:
    return next(slot.op for slot in twin.slots if slot.path == path)


def _export(job: Job, lines: bool = False) -> tuple[ExportedProgram, list[str]]:
    job.twin.single = job.single
    job.twin.tracing = True
    try:
        program = program_of(job.twin, job, lines)
        refuse_mapped(program, job.spec.name)
    except (UnsupportedError, InputError):
        raise
    except Exception as error:
        raise refusal(error, job.spec, job.ports, job.twin.net) from error
    finally:
        job.twin.single = job.twin.tracing = False
    return program, list(job.twin.order)


def program_of(module: torch.nn.Module, job: Job, lines: bool = False) -> ExportedProgram:
    """Traces a module that takes what a job gives; with `lines`, nodes keep the line that called them."""
    first, *rest = dynamic_shapes([port.shape for port in job.ports])
    shapes = {"x": first, "rest": tuple(rest)} if rest else {"x": first}
    with torch.no_grad(), warnings.catch_warnings(), _written_out(lines), _results_kept(job.ports):
        # What a forward keeps beside its states is dealt with before (probe) and after (fidelity) this.
        warnings.filterwarnings("ignore", message="The tensor attributes? .* assigned during export")
        return without_empty_notes(torch.export.export(module, job.given, dynamic_shapes=shapes, strict=False))


@contextmanager
def _written_out(lines: bool) -> Iterator[None]:
    """Keeps fused attention and fake quantisation out of a trace: no form knows them, and all know their parts."""
    fused = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        with WrittenOut(), plain_contexts(), quick_trace(lines):
            yield
    finally:
        torch.backends.mha.set_fastpath_enabled(fused)


def _results_kept(ports: Sequence[PortInfo | StateInfo]) -> AbstractContextManager[Any]:
    """Lets torch keep the shapes that operations gave for the next of the same kind, where that pays.

    Of several free sizes to make one tensor more for what is kept, and one anew of it, takes longer than the operation.
    """
    import torch._dynamo.config as settings

    free = {name for port in ports for name in names_in(port.shape)}
    return settings.patch(fake_tensor_cache_enabled=False) if len(free) > 1 else nullcontext()


def _rolled(job: Job, program: ExportedProgram, order: list[str], steps: int) -> Any:
    calls = [path for path in order if _kind(job.twin, path) not in NO_NODE]
    if len(set(calls)) == len(calls):
        return None
    return rolled_graph(program, calls, steps)


@dataclass(frozen=True)
class FreeGraph:
    """A network over any number of steps.

    Attributes:
        graph: Its graph, which reads T from its input.
        program: The unrolled program that it was made of.
        calls: Module path of every neuron node of that.
        nodes: Module path of every neuron node that is left.
        paths: The same, and behind them everything stateful that is no node.
        counted: Whether numbers in it follow a law that two lengths have shown.
    """

    graph: Any
    program: ExportedProgram
    calls: list[str]
    nodes: list[str]
    paths: list[str]
    counted: bool


def _over_free_steps(job: Job) -> tuple[ExportedProgram, list[str]]:
    free = free_graph(job)
    try:
        made = program_of(Rolled(job.twin, free.program, free.graph), job)
    except Exception as error:
        # torch cannot write such a step as a scan, or some of the steps are named that a short run does not have
        if type(error).__name__ in ("InternalTorchDynamoError", "IndexError"):
            raise loop_over_free_steps(job.twin, job.spec) from error
        raise refusal(error, job.spec, job.ports, job.twin.net) from error
    return made, free.paths


def _many_samples(job: Job, steps: int) -> tuple[Any, ...]:
    """Draws inputs, and repeats states, of as many samples as tell steps apart that do the same on a few.

    Half of the samples lie in a tenth of the range: a comparison with 0.2 was taken for one with 0 where every number
    that was compared was larger.
    """
    count, generator = len(job.spec.inputs), torch.Generator().manual_seed(0)
    given, states = job.given[:count], job.given[count:]
    free = all(str(port.shape[1]) == BATCH for port in job.ports[:count])
    free = free and all(
        bool(port.shape) and str(port.shape[0]) == BATCH and len(x) == given[0].shape[1]
        for port, x in zip(job.ports[count:], states, strict=True)
    )
    samples = _SAMPLES if free else given[0].shape[1]
    drawn = []
    for port, x in zip(job.spec.inputs, given, strict=True):
        value = uniform(port, (steps, samples if free else x.shape[1], *x.shape[2:]), generator)
        if value.is_floating_point() and not port.distribution:
            value[:, ::2] = port.low + (value[:, ::2] - port.low) * 0.1
        drawn.append(value)
    # A first step that is the others' with zeros carried into it is one for any state, and not for that of zeros alone.
    held = (x[:1].expand(samples, *x.shape[1:]).clone() if free else x for x in states)
    return (*drawn, *(x + torch.rand(x.shape, generator=generator) if x.is_floating_point() else x for x in held))


def free_graph(job: Job) -> FreeGraph:
    """Unrolls the loop at two lengths; what is the same network at both is one over a free T.

    Raises:
        UnsupportedError: If they differ in more than T.
    """
    try:
        return _free_graph(job)
    except LaterStepsError:
        raise
    except Exception as error:
        if rows := rows_that_end(job.twin.net, partial(_run, job), *LENGTHS):
            raise LaterStepsError(job.spec.name, rows) from error
        if isinstance(error, NeurokitError):
            raise
        # Operations of a step that do not run over all of them at once.
        raise loop_over_free_steps(job.twin, job.spec, error) from error


def _free_graph(job: Job) -> FreeGraph:
    programs = []
    for steps in LENGTHS:
        count = len(job.spec.inputs)
        longer = (torch.zeros((steps, *x.shape[1:]), dtype=x.dtype) for x in job.given[:count])
        fixed = (replace(port, shape=(steps, *port.shape[1:])) for port in job.ports[:count])
        set_time_steps(job.twin.net, steps)
        one = replace(
            job,
            steps=steps,
            given=(*longer, *job.given[count:]),
            ports=(*fixed, *job.ports[count:]),
        )
        programs.append(_export(one, lines=True))
    for way in _WAYS:
        joined, paths, (counted, lawless) = _joined(job, programs, **way)
        if joined is not None:
            break
    if joined is None and lawless:
        raise LaterStepsError(job.spec.name, f"{lawless}, by no law that is known for any T")
    if joined is None:
        raise loop_over_free_steps(job.twin, job.spec)
    try:
        line = other_later(job.twin.net, partial(_run, job), *LENGTHS)
    finally:
        set_time_steps(job.twin.net, LENGTHS[-1])
    if line:
        why = "its forward does otherwise at later steps than at the first ones (it asks for their number)"
        raise LaterStepsError(job.spec.name, f"at {line} {why}")
    program, order = programs[0]
    calls = _neuron_calls(job, order)
    for slot in job.twin.slots:  # in a scan a neuron is plain operations
        slot.scanned = slot.scanned or (slot.path in calls and slot.path not in paths)
    rest = [path for path in dict.fromkeys(order) if path not in paths]
    return FreeGraph(joined, program, calls, paths, [*paths, *rest], counted)


def _neuron_calls(job: Job, order: Sequence[str]) -> list[str]:
    return [path for path in order if _kind(job.twin, path) not in NO_NODE]


def _joined(
    job: Job, programs: Sequence[tuple[ExportedProgram, list[str]]], left_out: int = 0, own_steps: bool = False
) -> Any:
    """Returns two unrolled programs as one graph over a free T, or None, its neurons' paths, and if its steps count."""
    flat = [unrolled(program, steps) for (program, _), steps in zip(programs, LENGTHS, strict=True)]
    note_steps(flat[0], flat[1])
    counted = count_steps(flat[0], flat[1])
    graphs = []
    for (program, order), one in zip(programs, flat, strict=True):
        given = _many_samples(job, one.steps)
        graphs.append(graph_over_time(program, job.twin, _neuron_calls(job, order), one, given, left_out, own_steps))
    (first, paths), (second, others) = graphs
    inputs = programs[0][0].graph_signature.user_inputs
    joined = over_free_steps(first, second, inputs[0]) if paths == others else None
    return joined, paths, counted


def _run(job: Job, steps: int) -> None:
    """Runs the twin over so many steps, of zeros."""
    set_time_steps(job.twin.net, steps)
    count = len(job.spec.inputs)
    given = (torch.zeros((steps, *x.shape[1:]), dtype=x.dtype) for x in job.given[:count])
    with torch.no_grad():
        job.twin(*given, *job.given[count:])


def named_calls(program: ExportedProgram, paths: Sequence[str]) -> tuple[str, ...]:
    """Names the layer of every neuron node: its module's path, with a number from the second start of a membrane on.

    Calls of one neuron whose membrane goes on from one to the next are one layer over time. A call that starts anew
    (the forward has reset it), or of another shape, is a layer of its own.

    Args:
        program: The program.
        paths: Module path of every neuron node, in order.
    """
    nodes = [node for node in program.graph.nodes if node.op == "call_function" and is_neuron(node.target)]
    if len(nodes) != len(paths):
        raise RuntimeError(f"{len(paths)} neurons were traced but the graph holds {len(nodes)} neuron nodes")
    last: dict[str, Node] = {}
    starts: dict[str, int] = {}
    names = []
    for node, path in zip(nodes, paths, strict=True):
        before, v = last.get(path), node.args[1]
        goes_on = before is not None and v.target is operator.getitem and v.args == (before, 1)
        if not goes_on:
            starts[path] = starts.get(path, 0) + 1
        last[path] = node
        names.append(path if starts[path] == 1 else f"{path}@{starts[path]}")
    return tuple(names)
