"""C99 for microcontrollers: the exact form in whole numbers, one header and one source, without allocation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from neurokit.errors import InputError, Unsupported, UnsupportedError
from neurokit.target import LowerOptions, TargetInfo, register_target

if TYPE_CHECKING:
    from neurokit.artifact import Artifact
    from neurokit.capture import Captured
    from neurokit.export.c.build import Network
    from neurokit.export.c.host import CRunner
    from neurokit.export.c.probe import CProbe

MEMBRANES = ("integer", "float32")


@register_target
class CTarget:
    """The target `c`; the option membranes says what membranes are kept in."""

    info = TargetInfo(
        name="c",
        summary="C99 for microcontrollers, the exact form in whole numbers, one step a call",
        requires=("torch",),
        install='apt-get install gcc && pip install "neurokit-edge[torch]"',
        streaming=True,
        takes=frozenset({"dtypes", "inputs"}),
        numerics=("exact",),
        programs=("cc", "gcc", "clang"),
        native=True,
    )

    def check_options(self, options: LowerOptions) -> None:
        """Refuses options that the target does not have."""
        membranes = options.over({"membranes": MEMBRANES[0]}, self.info.name)["membranes"]
        if membranes not in MEMBRANES:
            raise InputError(f"membranes is {membranes!r}", expected=" or ".join(MEMBRANES))

    def check(self, captured: Captured, options: LowerOptions) -> Sequence[Unsupported]:
        """Returns every reason why the model cannot become C."""
        from neurokit.export.c.bounds import PORT_TYPES

        self.check_options(options)
        name = captured.spec.name
        if options.numerics != "exact":
            why = "it is written in the whole numbers of the exact form"
            return [Unsupported("", name, why, "use --numerics exact")]
        reasons = [
            Unsupported(
                port.name, port.dtype, "there is no such input in this form", f"use one of {', '.join(PORT_TYPES)}"
            )
            for port in captured.inputs
            if port.dtype not in PORT_TYPES
        ]
        doubled = _doubled(captured)
        if doubled and captured.form != "step" and captured.spiking:  # a loop over time calls it once a step
            doubled = _doubled(captured.retrace(form="step"))
        why = "it is called several times a step, and its membrane has one place"
        reasons += [Unsupported(call, "neuron", why, "use --target onnx-step") for call in sorted(doubled)]
        return reasons

    def lower(self, captured: Captured, folder: Path, options: LowerOptions) -> Mapping[str, Any]:
        """Writes NAME.h and NAME.c and returns manifest entries."""
        from neurokit._version import __version__
        from neurokit.export.c import source
        from neurokit.export.c.build import Builder
        from neurokit.export.c.cortex import sizes
        from neurokit.export.c.rules import RULES
        from neurokit.export.describe import describe

        steps = captured.known_steps
        one = captured.retrace(form="step", batch=1) if captured.spiking else captured.retrace(batch=1)
        floats = options.extra.get("membranes") == "float32"
        net = _built(Builder(one, steps or 1, floats), RULES)
        name = source.c_name(net.name)
        (folder / f"{name}.h").write_text(source.header(net, __version__), encoding="utf-8")
        (folder / f"{name}.c").write_text(source.source(net), encoding="utf-8")
        free = captured.retrace(form="step") if captured.spiking and captured.form != "step" else captured
        entries = describe(free)
        entries["time_steps"] = steps  # membranes in whole numbers are proven for so many
        for graph in entries["graphs"]:
            graph["file"], graph["states"] = f"{name}.c", []
        entries["form"] = "step" if captured.spiking else "sequence"
        entries["reset_policy"] = f"{name}_reset() before every new sequence" if captured.spiking else ""
        entries["target_info"] |= {"name": name, "proven_steps": source.limit_of(net), **_described(net, one)}
        entries["target_info"]["weight_bytes"] = source.weight_bytes(net)
        entries["target_info"]["state_bytes"] = source.state_bytes(net)
        entries["target_info"]["microcontroller"] = sizes(folder, name)
        return entries

    def open(self, artifact: Artifact, **options: Any) -> CRunner:
        """Compiles the artifact for this machine and opens it; it takes no options."""
        from neurokit.export.c.host import CRunner

        _none(options, "opening")
        return CRunner(artifact)

    def probe(self, artifact: Artifact, **options: Any) -> CProbe:
        """Opens the artifact for verification; it takes no options."""
        from neurokit.export.c.probe import CProbe

        _none(options, "verification")
        return CProbe(artifact)


def _doubled(captured: Captured) -> set[str]:
    return {call for call in captured.calls if captured.calls.count(call) > 1}


def _none(options: Mapping[str, Any], what: str) -> None:
    if options:
        raise InputError(f"target 'c' has no option {sorted(options)[0]!r} for {what}", expected="none")


def _built(builder: Any, rules: Any) -> Network:
    try:
        net: Network = builder.build(rules)
    except OverflowError as error:
        reason = Unsupported("", builder.captured.spec.name, f"its whole numbers need {error}", "use --bits 4")
        raise UnsupportedError(f"target 'c' cannot take model {builder.captured.spec.name!r}", [reason]) from error
    return net


def _described(net: Network, one: Captured) -> dict[str, Any]:
    """Returns what verification and readers need to know of the layers."""
    shapes = {state.neuron: [int(size) for size in state.concrete(1, {})[1:]] for state in one.states}
    layers = [
        {
            "path": neuron.path,
            "neurons": neuron.size,
            "shape": shapes.get(neuron.path, [neuron.size]),
            "membrane": neuron.type,
            "exponent": neuron.exponent,
            "start": float(neuron.start[0]) if len(set(neuron.start)) == 1 else neuron.start.tolist(),
        }
        for neuron in net.neurons
    ]
    return {"layers": layers}
