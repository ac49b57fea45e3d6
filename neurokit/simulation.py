"""`simulate`: what one inference costs on real chips, from a captured model and real inputs."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Union

from neurokit.errors import InputError
from neurokit.feeds import given_ports
from neurokit.port_traits import refuse_ports
from neurokit.stages import stage

if TYPE_CHECKING:
    import torch

    from neurokit.capture import Captured
    from neurokit.hw_sim.graph.counts import Workload
    from neurokit.hw_sim.sample_set import SetPricer
    from neurokit.reports.energy import EnergyReport, SetReport
    from neurokit.spec import ModelSpec

_EXAMPLE_SEED = 0
_DENSE = ("ann-int8", "ann-fp32")
_VALUES = 1 << 26  # values of all populations and steps in one batch of samples: memory stays flat
_MOST_AT_ONCE = 64

Sample = Union["torch.Tensor", Mapping[str, "torch.Tensor"]]
Named = tuple[str, Sample]


def simulate(
    model: Captured | ModelSpec | str,
    inputs: Sample | Sequence[Sample] | str | Path | None = None,
    chips: Sequence[Any] | str | Path = (),
    *,
    estimators: Sequence[str] | str | None = None,
    mapping: str = "annealed",
    step_seconds: float | None = None,
    pace: str | None = None,
    weight_bits: int | str | None = None,
    queueing: bool = False,
    check_events: bool = False,
    devices: Sequence[Any] | str | Path | None = None,
    samples: int | None = None,
    keep: str | Path | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> EnergyReport:
    """Counts one run of a captured model on each input, maps it and prices it on every chip.

    Args:
        model: A spiking model in the sequence form, T fixed; a spec, or what `neurokit.load` takes, is captured
            first. Of a model without spikes only the baselines of a
            dense pass are reported, and no chip.
        inputs: One sample `[T, 1, *shape]`, several, a batch `[T, B, *shape]`, a file
            (`neurokit.data.files.read_samples`) or a folder of files; default is the spec's own example. Of a model
            with several inputs a sample is a mapping of their names to tensors, and a file an .npz.
        chips: Names, paths of .toml files, or profiles; one of them, or several.
        estimators: Names of estimators from the literature; default is all that need no chip.
        mapping: Placement strategy ("in-order", "hilbert" or "annealed").
        step_seconds: Time between two inputs, where a sensor sets the pace.
        pace: Who sets it otherwise: "chip" (as fast as the cores go), "host" (a host that streams the inputs), or None:
            the host's where the chip's file states one, with the chip's own as the low end of the interval.
        weight_bits: Width of all weights: bits, "binary" or "ternary"; None: what the weights themselves say, and each
            chip's widest form for floats.
        queueing: Whether packets wait for each other on the mesh, where a chip has one (a few per cent of time).
        check_events: Whether to compute the network (in exact form) once more from events alone and to compare every
            spike; the report's `event_check` says what was found.
        devices: Edge devices to compare with: names (`hw_sim.devices`), .toml files, or JSON reports of `neurokit
            bench` that measured joules; default is a microcontroller and an accelerator.
        samples: How many samples of a file or folder to run; default is all of them.
        keep: File in which figures of samples that are done are kept until the run ends: a run that is interrupted
            goes on where it was.
        progress: Told how many samples are done, of how many.

    Returns:
        The report; details are of the first sample, `test_set` and `spread` are over all.

    Raises:
        InputError: If an input does not fit, or there are fewer samples than were asked for.
        UnknownNameError: If a chip or an estimator is unknown.
        UnsupportedError: If events are to be checked and the model is not in exact form.
    """
    from neurokit.accepted import as_captured, as_several
    from neurokit.hw_sim import DEFAULT_DEVICES, DEFAULT_ESTIMATORS, load_chip
    from neurokit.hw_sim.devices import load_comparator

    others = [load_comparator(device) for device in (DEFAULT_DEVICES if devices is None else as_several(devices))]
    profiles = [load_chip(chip) for chip in as_several(chips)]
    names = DEFAULT_ESTIMATORS if estimators is None else tuple(as_several(estimators))
    check_choices(names, mapping, pace, weight_bits)  # a wrong name must not cost the minute of a capture
    captured = as_captured(model, check_spec)
    if captured.spec.exact_bits is not None:
        from neurokit.exact import exact

        captured = exact(captured, bits=captured.spec.exact_bits).captured
    check_spec(captured.whole_spec)
    from neurokit.capture import opened
    from neurokit.hw_sim import simulate_workload
    from neurokit.hw_sim.graph.numerics import parse_width, with_weight_bits
    from neurokit.hw_sim.pricing.verdict import compare
    from neurokit.hw_sim.pricing.wiring import Placements
    from neurokit.hw_sim.sample_set import SetPricer
    from neurokit.hw_sim.trace import trace
    from neurokit.program.element_types import refuse_types

    refuse_types(captured)
    given = _samples(captured, inputs, samples)
    if not captured.spiking:  # no spikes to price: what can be said is what one dense pass costs
        names, profiles = tuple(name for name in names if name.startswith("ann-")) or _DENSE, []
    captured = opened(captured)
    label, x = next(given.read(0, 1))
    with stage("trace"):
        first = trace(captured, x, label)
    width = None if weight_bits is None else parse_width(weight_bits)
    first = replace(first, network=with_weight_bits(first.network, width))
    placements: Placements = {}  # the set is priced on the mapping of its first sample
    with stage("price"):  # mapping is a stage of its own within it
        report = simulate_workload(
            first,
            profiles,
            mapping,
            names,
            step_seconds,
            pace=pace,
            devices=others,
            weight_bits=weight_bits,
            queueing=queueing,
            placements=placements,
        )
    if given.count > 1 and captured.spiking:
        pricer = SetPricer(first, profiles, mapping, step_seconds, pace, queueing, placements=placements)
        with stage("samples"):
            over_all = _over_all(captured, given, first, x, pricer, keep, progress)
        note = f"interrupted: {over_all.samples} of {over_all.asked} samples were run"
        note += "; the same command goes on from there" if keep is not None else ""
        report = replace(
            report,
            samples=over_all.samples,
            spread=over_all.energy,
            test_set=over_all,
            assumptions=(*report.assumptions, note) if over_all.samples < over_all.asked else report.assumptions,
        )
        if report.comparators and not report.lower_bound:
            means = [replace(chip, total=report.total_of(chip)) for chip in report.chips]
            report = replace(report, comparison=compare(means, report.comparators))
    if given.remark:
        report = replace(report, assumptions=(*report.assumptions, given.remark))
    report = judged(report, captured.spec, generated=inputs is None)
    if not check_events:
        return report
    from neurokit.hw_sim.engine.check import check_events as check

    rest = [replace(trace(captured, x, name), network=first.network) for name, x in given.read(1, given.count)]
    return replace(report, event_check=check([first, *rest]))


def sample_rows(
    model: Captured | ModelSpec | str,
    inputs: Any,
    chips: Sequence[Any] | str | Path,
    start: int,
    stop: int,
    *,
    samples: int | None = None,
    mapping: str = "annealed",
    step_seconds: float | None = None,
    pace: str | None = None,
    weight_bits: int | str | None = None,
    queueing: bool = False,
) -> dict[str, Any]:
    """Counts and prices samples `start` to `stop` of a set as `simulate` does: on the mapping of its first sample.

    Args:
        model: As for `simulate`, of spikes.
        inputs: As for `simulate`.
        chips: As for `simulate`.
        start: First sample.
        stop: One behind the last sample.
        samples: As for `simulate`.
        mapping: As for `simulate`.
        step_seconds: As for `simulate`.
        pace: As for `simulate`.
        weight_bits: As for `simulate`.
        queueing: As for `simulate`.

    Returns:
        "key" (what tells the run from another), "rows" (figures by sample), "fired" (spikes by population).
    """
    from neurokit.accepted import as_captured, as_several
    from neurokit.capture import opened
    from neurokit.hw_sim import load_chip
    from neurokit.hw_sim.graph.numerics import parse_width, with_weight_bits
    from neurokit.hw_sim.sample_set import SetPricer
    from neurokit.hw_sim.trace import trace

    captured = opened(as_captured(model, check_spec))
    given = _samples(captured, inputs, samples)
    label, x = next(given.read(0, 1))
    first = trace(captured, x, label)
    width = None if weight_bits is None else parse_width(weight_bits)
    first = replace(first, network=with_weight_bits(first.network, width))
    profiles = [load_chip(chip) for chip in as_several(chips)]
    pricer = SetPricer(first, profiles, mapping, step_seconds, pace, queueing)
    rows: list[dict[str, float]] = []
    for names, batch in _batches(captured, given, first, x, start, stop):
        rows += pricer.rows(batch, len(names))
    return {"key": _key(captured, given, pricer), "rows": rows, "fired": dict(pricer.fired)}


def judged(report: EnergyReport, spec: ModelSpec, *, generated: bool = False) -> EnergyReport:
    """Returns a report without verdict and comparison where the weights are random or the input is generated.

    Args:
        report: The report.
        spec: The model that it is of.
        generated: Whether the input is no real sample.
    """
    from neurokit.soundness import GENERATED_INPUT, RANDOM_WEIGHTS, has_random_weights

    found = [RANDOM_WEIGHTS] if not spec.large and has_random_weights(spec) else []
    found += [GENERATED_INPUT] if generated else []
    said = tuple(dict.fromkeys((*report.unsound, *found)))
    return replace(report, unsound=said, verdict=None, comparison=()) if said else report


def check_choices(
    estimators: Sequence[str], mapping: str, pace: str | None, weight_bits: int | str | None, flag: str = ""
) -> None:
    """Refuses what `simulate` is asked for by name, before anything is captured.

    Args:
        estimators: As for `simulate`; so are the others.
        mapping: See there.
        pace: See there.
        weight_bits: See there.
        flag: What stands before the names in an error: "--" on the command line.

    Raises:
        InputError: If one is none that there is.
        UnknownNameError: If an estimator is unknown.
    """
    from neurokit.hw_sim.estimators import ESTIMATORS
    from neurokit.hw_sim.graph.numerics import parse_width
    from neurokit.hw_sim.mapping.tiles import STRATEGIES
    from neurokit.hw_sim.pricing.timing import PACES

    if weight_bits is not None:
        parse_width(weight_bits)
    for name in estimators:
        ESTIMATORS.get(str(name).partition(":")[0])
    if pace is not None and pace not in PACES:
        raise InputError(f"{flag}pace is {pace!r}", expected="one of " + ", ".join(PACES))
    if mapping not in STRATEGIES:
        raise InputError(f"{flag}mapping is {mapping!r}", expected="one of " + ", ".join(STRATEGIES))


def check_spec(spec: ModelSpec) -> None:
    """Refuses a model that cannot be priced, before it is captured.

    Raises:
        UnsupportedError: If it has several graphs, states that grow, or free axes.
    """
    graphs = spec.graphs or (spec.as_graph(),)
    grows = any(state.grows for graph in graphs for state in graph.states)  # a cache: `energy --tokens` counts those
    takes = ("dtypes", "inputs") if grows else ("dtypes", "inputs", "states")
    fix = "price a part of it that has no growing states" if grows else "price one of its graphs, sizes as numbers"
    refuse_ports(spec, takes, "the simulator", fix)


@dataclass(frozen=True)
class _Given:
    """The samples of one call: how many, and how to read some of them."""

    count: int
    read: Callable[[int, int], Iterator[Named]]
    name: str = ""
    remark: str = ""


def _over_all(
    captured: Captured,
    given: _Given,
    first: Workload,
    x: Sample,
    pricer: SetPricer,
    keep: str | Path | None,
    progress: Callable[[int, int], None] | None,
) -> SetReport:
    """Returns the figures over all samples: read one file at a time, run in batches, priced on one mapping."""
    from neurokit.hw_sim.sample_set import Kept, run_set

    kept = Kept(Path(keep), _key(captured, given, pricer)) if keep is not None else None
    done = kept.rows[: given.count] if kept is not None else []
    if kept is not None:
        pricer.fired.update(kept.fired)
    batches = _batches(captured, given, first, x, len(done), given.count)
    report = run_set(pricer, batches, given.count, done, kept.add if kept is not None else None, progress)
    if kept is not None and report.samples == given.count:
        kept.close()
    return report


def _batches(
    captured: Captured, given: _Given, first: Workload, x: Sample, start: int, stop: int
) -> Iterator[tuple[list[str], Workload]]:
    """Yields names and workload of samples `start` to `stop`, as many at once as the memory is to hold."""
    from neurokit.hw_sim.trace.replay import Replay

    replay = Replay(captured, x, first)
    late = any(projection.delay for projection in first.network.projections)
    values = first.time_steps * sum(population.size for population in first.network.populations)
    size = 1 if late else max(1, min(_MOST_AT_ONCE, _VALUES // values))  # events must not reach the next sample
    samples = given.read(start, stop)
    if replay.possible:
        yield from replay.batches(samples, size)
        return
    for name, each in samples:
        yield [name], replay.alone(name, each)


def _key(captured: Captured, given: _Given, pricer: SetPricer) -> dict[str, object]:
    """Returns what tells one run over a test set from another."""
    digest = hashlib.sha256()
    for name, tensor in sorted(captured.module.state_dict().items()):
        digest.update(name.encode() + tensor.detach().cpu().contiguous().numpy().tobytes())
    return {
        "model": captured.spec.name,
        "weights": digest.hexdigest(),
        "time_steps": captured.time_steps,
        "input": given.name,
        "chips": [str(profile) for profile in pricer.profiles],
        "mapping": pricer.strategy,
        "step_seconds": pricer.step_seconds,
        "pace": pricer.pace,
        "queueing": pricer.queueing,
        "weight_bits": sorted({projection.weight_bits for projection in pricer.first.network.projections}),
    }


def _samples(captured: Captured, inputs: Any, many: int | None) -> _Given:
    """Returns every sample with a name for the report."""
    import torch

    from neurokit.capture.drawing import completed
    from neurokit.capture.reference import example_inputs

    spec, steps = captured.spec, captured.time_steps
    if steps == "dynamic":
        raise InputError("the captured model has a dynamic T", expected="a number of time steps", fix="--time-steps 4")
    if isinstance(inputs, str | Path):
        from neurokit.data.sets import SampleFiles
        from neurokit.soundness import undeclared_pixels

        files = SampleFiles.find(inputs, replace(spec, inputs=tuple(given_ports(spec.inputs))), steps)

        def read(start: int, stop: int) -> Iterator[Named]:
            for at, (name, x) in enumerate(files.read(start, stop), start):
                yield name, completed(spec, x, steps, at)

        remark = ". ".join(said for said in (undeclared_pixels(spec, files.found), files.description) if said)
        return _Given(files.limited(many), read, str(Path(inputs).absolute()), remark)
    if inputs is None:
        named: list[Named] = [("the model's example input", example_inputs(spec, steps, 1, _EXAMPLE_SEED))]
    elif isinstance(inputs, torch.Tensor | Mapping):
        parts = _parts(captured, inputs)
        named = [(f"sample {i}" if len(parts) > 1 else "the given input", x) for i, x in enumerate(parts)]
    else:
        named = [(f"sample {i}", x) for i, x in enumerate(inputs)]
    if not named:
        raise InputError("no sample was given", expected="at least one")
    if many is not None and many > len(named):
        raise InputError(f"{many} samples were asked for, {len(named)} were given")
    named = [(name, completed(spec, x, steps, at)) for at, (name, x) in enumerate(named[:many])]
    return _Given(len(named), lambda start, stop: iter(named[start:stop]))


def _parts(captured: Captured, given: Any) -> list[Any]:
    """Returns the samples of a batch: each input `[T, B, *shape]` or `[B, *shape]`; without batch it is one sample."""
    from neurokit.feeds import named_inputs

    spec = captured.spec
    axis = 0 if spec.time_input == "image" or captured.time_steps is None else 1
    ports = {
        p.name: len(p.shape)
        for p in spec.inputs
        if not p.distribution or (isinstance(given, Mapping) and p.name in given)
    }
    named = named_inputs(given, list(ports))
    whole = {name: x.dim() == ports[name] + axis + 1 for name, x in named.items()}
    counts = {x.shape[axis] if whole[name] else 1 for name, x in named.items()}
    if len(counts) > 1:
        raise InputError("the inputs have different batch sizes", expected="as many samples of each")
    if counts == {1}:
        return [named]
    rows = zip(*(x.split(1, dim=axis) for x in named.values()), strict=True)
    return [dict(zip(named, row, strict=True)) for row in rows]
