"""The event engine as something to measure: spikes and integers in, spikes and integers out."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from neurokit.bench.job import Job
from neurokit.bench.subject import Subject
from neurokit.errors import InputError, MissingRuntimeError, ParityError, Unsupported, UnsupportedError
from neurokit.spec import ModelSpec

if TYPE_CHECKING:
    from neurokit.hw_sim.engine import Engine
    from neurokit.hw_sim.graph.counts import Workload
    from neurokit.hw_sim.graph.network import Network


class EngineRunner:
    """The event engine, open for measuring one sample at a time.

    Args:
        engine: Built for the network.
        source: The network's input population.
        output: The population that is the network's answer.
        facts: What is said of the run.
    """

    def __init__(self, engine: Engine, source: str, output: str, facts: dict[str, Any]) -> None:
        self._engine, self._source, self._output = engine, source, output
        self.facts = facts

    def __call__(self, x: np.ndarray) -> np.ndarray:
        """Runs integers `[T, 1, *shape]`; returns the output population's spikes or integers, `[T, 1, N]`."""
        run = self._engine.run({self._source: x[:, 0]}, record=[self._output])
        found = run.rasters.get(self._output)
        values = run.currents[self._output] if found is None else found.unpack()
        return values.reshape(len(values), 1, -1)

    def close(self) -> None:
        """Nothing is held."""

    def __enter__(self) -> EngineRunner:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()


def engine_subject(spec: ModelSpec, job: Job) -> Subject:
    """Returns a model in its exact form as the event engine computes it.

    Its input is the model's example on the integer grid; turning an image into integers is not measured.

    Raises:
        UnsupportedError: If the model is not asked for in its exact form, has no neurons, or has a layer that the
            engine does not compute; lists every reason.
        InputError: If the model has no neurons, or more than one input.
        MissingRuntimeError: If numba is not installed.
    """
    _refuse(spec, job)
    from neurokit.capture.reference import example_input
    from neurokit.exact import exact
    from neurokit.hw_sim.engine.dyadic import integer_network
    from neurokit.hw_sim.trace import trace

    steps = int(spec.time_steps or 0)
    made = exact(spec, bits=job.bits)
    workload = trace(made.captured, example_input(spec, steps, 1, 0))
    workload = replace(workload, network=_without_idle_inputs(workload.network))
    net, inputs = integer_network(workload.network, steps, workload.inputs)
    (source, integers), *further = inputs.items()
    if further:
        raise InputError(f"model {spec.name!r} has {len(inputs)} inputs", expected="one input for the event engine")

    def open_engine() -> EngineRunner:
        from neurokit.hw_sim.engine import Engine

        engine = Engine(net, steps, threads=job.threads or 1)
        events = _same_spikes(engine, workload, inputs)
        facts = {"synaptic_events": events, "synapses": workload.network.synapses, "threads_used": engine.threads}
        return EngineRunner(engine, source, workload.network.outputs[0], facts)

    return Subject(
        model=spec.name,
        target="engine",
        open=open_engine,
        x=integers.reshape(steps, 1, -1),
        variant=job.variant,
        form="sequence",
        numerics=f"exact {job.bits} bits",
        time_steps=steps,
        timed=True,
        fixed_batch=1,
        parity="exact",
        task=(spec.task.name, spec.task.settings) if spec.task else (None, {}),
        opening="compiling the engine, comparing its spikes",
    )


def _refuse(spec: ModelSpec, job: Job) -> None:
    from importlib.util import find_spec

    if job.numerics != "exact":
        why = "the event engine computes in integers alone, and this network is in floating point"
        raise UnsupportedError(
            "the event engine cannot take a float network",
            [Unsupported("", spec.name, why, "add --numerics exact")],
            fix="add --numerics exact",
        )
    if not spec.spiking:
        raise InputError(f"model {spec.name!r} has no neurons", expected="a spiking model for the event engine")
    if find_spec("numba") is None:
        raise MissingRuntimeError("numba is not installed", fix='pip install "neurokit-edge[sim]"')


def _without_idle_inputs(network: Network) -> Network:
    """Returns a network without inputs that nothing reads: the image before it was rounded to its grid."""
    read = {projection.source for projection in network.projections}
    read |= {name for product in network.products for name in (product.left, product.right)}
    kept = tuple(p for p in network.populations if p.role != "input" or p.name in read)
    return replace(network, populations=kept)


def _same_spikes(engine: Engine, workload: Workload, inputs: dict[str, Any]) -> int:
    """Returns the synaptic events of one run, whose every spike is that of PyTorch.

    Raises:
        ParityError: If one is not.
    """
    run = engine.run(inputs)
    for neuron in workload.network.neurons:
        found, wanted = run.rasters[neuron.name].unpack(), workload.rasters[neuron.name].unpack()
        wrong = int((found != wanted).sum())
        if wrong:
            raise ParityError(f"{neuron.name}: {wrong} spikes differ from PyTorch's", expected="the same spikes")
    return run.synaptic_events
