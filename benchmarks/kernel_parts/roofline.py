"""A row for every registered kernel: its workloads, what it declares as opponents, and the distance to the roofline."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from neurokit.kernels import checks
from neurokit.kernels.contract import KERNELS, Cost, Example, Kernel

from . import opponents
from .record import Record


def measure(record: Record) -> None:
    """Measures every workload of every kernel beside the compiled definition and the declared opponents."""
    for name, kernel in KERNELS.items():
        for example in kernel.workloads(torch.device("cuda")) if kernel.workloads else ():
            others = {label: make(example) for label, make in kernel.opponents.items()}
            with torch.no_grad():
                record.add(
                    name,
                    f"registered: {example.label}",
                    lambda kernel=kernel, e=example: kernel.function(*e.args, **e.kwargs),
                    bound_seconds(record, kernel.cost(example)),
                    exact=kernel.judge is None,
                    definition_compiled=_compiled(kernel, example),
                    **others,
                )


def bound_seconds(record: Record, cost: Cost) -> float:
    """Returns the least time of a call on this GPU: what its bytes or its operations take, whichever is longer."""
    rates = {"float32": 2 * record.fma, "float16": record.brain, "int8": record.integer}
    return max(cost.moved / record.bandwidth, cost.operations / rates[cost.unit])


def _compiled(kernel: Kernel, example: Example) -> Callable[[], Any]:
    function = opponents.compiled(kernel.function)

    def call() -> Any:
        with checks.definitions():
            return function(*example.args, **example.kwargs)

    return call
