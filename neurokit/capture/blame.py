"""Says what is at fault where a captured program is not its module."""

from __future__ import annotations

import copy
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from neurokit.capture.eager import own_random_numbers
from neurokit.capture.hooks import foreign_hooks
from neurokit.capture.twin import flatten_outputs
from neurokit.errors import Unsupported

if TYPE_CHECKING:
    from neurokit.reports.fidelity import Comparison

_SHOWN = 3
RANDOM_FIX = 'make what torch draws its inputs: --random input, or capture(..., random="input"); else take it out'


def random_reason(eager: nn.Module, x: Tensor, stepwise: bool) -> Unsupported:
    """Returns the first module, from the inside out, that gives two answers to one input."""
    given: list[list[tuple[str, str, tuple[Tensor, ...], tuple[Tensor, ...]]]] = []
    for seed in (0, 1):
        net = copy.deepcopy(eager)
        calls: list[tuple[str, str, tuple[Tensor, ...], tuple[Tensor, ...]]] = []
        for path, part in net.named_modules():
            part.register_forward_hook(_note(calls, path))
        with torch.no_grad(), own_random_numbers(seed):
            for x_t in x if stepwise else (x,):
                net(x_t)
        given.append(calls)
    fix = RANDOM_FIX
    for (path, kind, x_a, y_a), (_, _, x_b, y_b) in zip(*given, strict=False):
        if all(map(torch.equal, x_a, x_b)) and not all(map(torch.equal, y_a, y_b)):
            return Unsupported(path, kind, "it draws random numbers at inference: the same input has two answers", fix)
    return Unsupported("", type(eager).__name__, "the same input has two answers: it draws random numbers", fix)


def _note(calls: list[Any], path: str) -> Any:
    def hook(part: nn.Module, inputs: Any, output: Any) -> None:
        calls.append((path, type(part).__name__, flatten_outputs(inputs), flatten_outputs(output)))

    return hook


def shared_state(name: str, changed: tuple[str, ...]) -> Unsupported:
    """Returns the reason for a module that remembers earlier questions."""
    why = f"its answer depends on what it was asked before, through {some(changed)}"
    fix = "give the part a reset() that clears it, or hand it in and out as an input and an output"
    return Unsupported(owner(changed), name, why, fix)


def batch_reason() -> str:
    """Returns the reason for a module whose samples see each other."""
    return "a sample's answer depends on the other samples of its batch (a maximum, mean or norm over the whole tensor)"


def reason_for(job: Any, side: str, case: Any, found: Comparison) -> Unsupported:
    """Returns what most likely makes a program another network than its module."""
    apart = f"{found.spikes_differ:,} of {found.decisions:,} spikes differ, " if found.decisions else ""
    apart += f"relative output error {found.output_error:.2g} on fresh inputs"
    kind = type(job.eager).__name__
    if case.want.changed:
        why = f"{some(case.want.changed)} changes from call to call and would be frozen at one value ({apart})"
        return Unsupported(owner(case.want.changed), kind, why, "keep such state in a neuron, or hand it in and out")
    if case.want.written:
        why = f"its membrane is written outside of the neuron, and that would be left out ({apart})"
        return Unsupported(case.want.written[0], kind, why, "set v_reset, or put the rule into a class of neuron")
    for path, part in job.eager.named_modules():
        if (
            side != "steps"
            and isinstance(vars(part).get("T"), int)
            and vars(part)["T"] != case.steps
            and job.spec.time_input == "image"
        ):
            why = f"its attribute T = {part.T} was taken for the number of time steps ({apart})"
            return Unsupported(path, type(part).__name__, why, "name the attribute otherwise")
    if any(y.is_floating_point() and not y.isfinite().all() for y in case.want.outputs):
        why = "the module itself answers NaN or infinity to an input of its range"
        fix = "mend it first; a soft reset (v_reset=None) of an infinite threshold is 0 x infinity: give v_reset"
        return Unsupported("", kind, why, fix)
    if "batch" in job.refused:
        why = f"{job.refused['batch']}, and time steps are run as a batch ({apart})"
        return Unsupported("", kind, why, "normalise each sample by itself")
    if side == "steps" and found.output_error == float("inf"):
        why = "one step of it gives outputs of another shape: a parameter or a number in it is of all T steps at once"
        return Unsupported("", kind, why, "")
    if any(True for _ in foreign_hooks(job.eager)):
        path = next(path for path, *_ in foreign_hooks(job.eager))
        return Unsupported(path, kind, f"a hook of it computes what the program does not ({apart})", "make it a module")
    declared = job.spec.time_output
    if side == "steps" and declared not in ("auto", "sequence"):
        why = f"its answer is not the {declared} of what single steps give, as time_output says ({apart})"
        return Unsupported("", kind, why, 'give the right time_output in the ModelSpec, or leave it at "auto"')
    if side == "steps":
        return Unsupported("", kind, f"what it computes in one step depends on other steps ({apart})", "")
    fix = "report it with the model; a ModelSpec with time_input and time_output says what it takes"
    return Unsupported("", kind, f"the program's answers are not the module's ({apart})", fix)


def some(names: tuple[str, ...]) -> str:
    """Returns the first few names."""
    return ", ".join(names[:_SHOWN]) + (f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else "")


def owner(names: tuple[str, ...]) -> str:
    """Returns the path of the module that the first attribute belongs to."""
    return names[0].rpartition(".")[0]
