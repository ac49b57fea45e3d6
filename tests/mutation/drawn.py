"""Faults that nobody thought of: one edit of any tensor, node, attribute or wire of a graph, drawn from a seed.

    python -m tests.mutation.drawn [--networks loop,deep] [--forms onnx-scan,exact] [--count 60] [--seed 0]

Functions of neurons and bodies of loops are edited as well as the graph. Of the forms `c`, `openvino`, `litert`,
`litert-step` and `aoti` the files are edited (`drawn_files.py`). What is drawn may do nothing, may not run, or
may be real; real ones that pass are printed, with the seed that draws them again.
"""

from __future__ import annotations

import argparse
import random
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import replace
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
from onnx import AttributeProto, numpy_helper

from tests.mutation.drawn_files import planted_file
from tests.mutation.drawn_values import numbers
from tests.mutation.faults import FAULTS
from tests.mutation.graph import Graph, NotApplicableError, need
from tests.mutation.networks import LOOPED, NETWORKS
from tests.mutation.plant import EXACT, FORMS, Row, judge, lowered, network, planted, real_inputs, reference
from tests.mutation.plant import OTHERS as TARGETS

OTHERS = {
    "Add": "Sub",
    "Sub": "Add",
    "Mul": "Add",
    "Div": "Mul",
    "Greater": "GreaterOrEqual",
    "GreaterOrEqual": "Greater",
    "Max": "Min",
    "Min": "Max",
    "Round": "Floor",
    "ReduceMean": "ReduceSum",
    "ReduceSum": "ReduceMean",
    "ReduceMax": "ReduceMin",
    "Not": "Identity",
    "Neg": "Identity",
}
_PATIENCE = 300  # seconds for one artifact
_NUMBERS = (AttributeProto.INT, AttributeProto.INTS, AttributeProto.FLOAT)


def bodies(g: Graph) -> list[Any]:
    """Returns the graph, its functions, and the bodies of loops in both."""
    found: list[Any] = [g.graph, *g.model.functions]
    for body in found:  # grows while it is gone through
        found += [a.g for node in body.node for a in node.attribute if a.type == AttributeProto.GRAPH]
    return found


def _tensors(g: Graph) -> Iterator[Any]:
    for body in bodies(g):
        yield from getattr(body, "initializer", ())
        nodes = (node for node in body.node if node.op_type == "Constant")
        yield from (a.t for node in nodes for a in node.attribute if a.type == AttributeProto.TENSOR)


def _tensor(g: Graph, r: random.Random) -> None:
    tensor = r.choice([*_tensors(g)])
    value = numpy_helper.to_array(tensor)
    need(value.size)
    made = np.ascontiguousarray(numbers(value, r)).reshape(value.shape)
    need(not np.array_equal(made, value, equal_nan=value.dtype.kind == "f"))
    tensor.CopyFrom(numpy_helper.from_array(made, tensor.name))


def _node(g: Graph, r: random.Random, kinds: Callable[[Any], bool]) -> tuple[Any, Any]:
    found = [(body, node) for body in bodies(g) for node in body.node if kinds(node)]
    need(found)
    return r.choice(found)


def _operands(g: Graph, r: random.Random) -> None:
    _, node = _node(g, r, lambda node: len(node.input) > 1 and node.input[0] != node.input[1])
    node.input[0], node.input[1] = node.input[1], node.input[0]


def _operator(g: Graph, r: random.Random) -> None:
    _, node = _node(g, r, lambda node: node.op_type in OTHERS)
    node.op_type = OTHERS[node.op_type]


def _attribute(g: Graph, r: random.Random) -> None:
    _, node = _node(g, r, lambda node: any(a.type in _NUMBERS for a in node.attribute))
    chosen = r.choice([a for a in node.attribute if a.type in _NUMBERS])
    if chosen.type == AttributeProto.FLOAT:
        chosen.f = chosen.f * (1 + r.choice((0.1, -0.1, 0.01))) if chosen.f else r.choice((0.01, -0.1, 1.0))
    elif chosen.type == AttributeProto.INT:
        chosen.i += r.choice((-1, 1))
    else:
        need(len(chosen.ints))
        chosen.ints[r.randrange(len(chosen.ints))] += r.choice((-1, 1))


def _bypass(g: Graph, r: random.Random) -> None:
    _, node = _node(g, r, lambda node: len(node.input) > 0)
    del node.attribute[:], node.input[1:], node.output[1:]
    node.op_type, node.domain = "Identity", ""


def _wire(g: Graph, r: random.Random) -> None:
    body, node = _node(g, r, lambda node: len(node.input) > 0)
    names = [getattr(value, "name", value) for value in body.input]
    names += [name for other in list(body.node)[: list(body.node).index(node)] for name in other.output if name]
    at = r.randrange(len(node.input))
    need(names)
    new = r.choice(names)
    need(new != node.input[at])
    node.input[at] = new


EDITS = (_tensor, _tensor, _tensor, _tensor, _operands, _operator, _attribute, _attribute, _bypass, _wire, _wire)


def name_of(seed: int) -> str:
    """Returns the name under which what a seed draws is planted."""
    name = f"drawn, {seed}"
    FAULTS.setdefault(name, lambda g: edit(g, seed))
    return name


def edit(g: Graph, seed: int) -> None:
    """Makes the edit that a seed draws.

    Raises:
        NotApplicableError: If the graph has no place for it.
    """
    r = random.Random(seed)
    r.choice(EDITS)(g, r)


def judged(folder: str, name: str, form: str, seed: int) -> Row | None:
    """Returns what becomes of what a seed draws, or None where it has no place; the sound artifact is kept."""
    from neurokit.artifact import Artifact

    place, steps = Path(folder) / f"{name}-{form}", network(name).steps
    sound = Artifact.load(place) if place.exists() else lowered(name, Path(folder), (form,))[form]
    x, y, moved = reference(sound, form, *real_inputs(name))
    bound = max(moved, judge(sound, name, form, "", x, y).bound)
    try:
        out = Path(folder) / "planted"
        other = form.partition("-")[0] in TARGETS
        artifact = planted_file(sound, seed, out) if other else planted(sound, name_of(seed), out, steps)
        return replace(judge(artifact, name, form, name_of(seed), x, y), bound=bound)
    except NotApplicableError:
        return None


def rows(name: str, form: str, seeds: Sequence[int]) -> list[Row]:
    """Judges what seeds draw in a process of its own, which a damaged graph may end: that is caught, then."""
    found: list[Row] = []
    with tempfile.TemporaryDirectory() as folder:
        pool = ProcessPoolExecutor(1, get_context("spawn"))
        for seed in seeds:
            try:
                row = pool.submit(judged, folder, name, form, seed).result(_PATIENCE)
            except BrokenProcessPool:
                row = Row(name, form, name_of(seed), "refused", float("inf"), "the runtime ended the process")
                pool = ProcessPoolExecutor(1, get_context("spawn"))
            except TimeoutError:
                row = Row(name, form, name_of(seed), "no end", float("inf"), f"no answer within {_PATIENCE} s")
                for process in pool._processes.values():
                    process.kill()
                pool = ProcessPoolExecutor(1, get_context("spawn"))
            found += [] if row is None else [row]
        pool.shutdown()
    return found


def main() -> int:
    """Draws faults, prints how many of the real ones are caught, and which are not."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--networks", default=",".join((*NETWORKS, *LOOPED)))
    parser.add_argument("--forms", default=",".join((*FORMS, EXACT)))
    parser.add_argument("--count", type=int, default=60)
    parser.add_argument("--seed", type=int, default=0)
    given, missed = parser.parse_args(), 0
    for name in given.networks.split(","):
        for form in given.forms.split(","):
            if form == EXACT and name in LOOPED:
                continue
            found = rows(name, form, range(given.seed, given.seed + given.count))
            real = [row for row in found if row.real]
            passed = [row for row in real if not row.caught]
            missed += len(passed)
            print(f"{name} {form}: {len(found)} faults, {len(real)} real, {len(passed)} of these missed", flush=True)
            for row in passed:
                print(f"  {row.fault}: answers off by {row.error:.2g}, {row.verdict}", flush=True)
    return int(missed > 0)


if __name__ == "__main__":
    sys.exit(main())
