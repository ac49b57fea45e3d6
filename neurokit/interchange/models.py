"""Files of other tools as models: which suffix is read how."""

from __future__ import annotations

import copy
from pathlib import Path

from neurokit.errors import InputError, ModelLoadError
from neurokit.plain import no_file
from neurokit.spec import ModelSpec, TensorSpec

SUFFIXES = (".nir", ".onnx", ".pt2")
_LAYOUTS = {1: "F", 2: "CL", 3: "CHW", 4: "CDHW"}
_TIME_STEPS = 8


def is_model_file(ref: str) -> bool:
    """Returns whether a model's name is that of a file of another tool ("net.nir", "net.nir:dt=0.001")."""
    return split_ref(ref)[0].suffix.lower() in SUFFIXES


def split_ref(ref: str) -> tuple[Path, dict[str, str]]:
    """Splits "net.nir:dt=0.001" into its path and its settings."""
    file, colon, tail = ref.rpartition(":")
    if colon and "=" in tail and Path(file).suffix.lower() in SUFFIXES:
        pairs = [entry.partition("=") for entry in tail.split(",")]
        return Path(file).expanduser(), {key.strip(): value.strip() for key, _, value in pairs}
    return Path(ref).expanduser(), {}


def spec_from_file(ref: str, time_steps: int | None = None) -> ModelSpec:
    """Returns the model that a file of another tool describes. Nothing in the file is executed.

    Args:
        ref: Path of the file, with settings where it takes any: "net.nir:dt=0.001".
        time_steps: Number of time steps T, for a spiking model.

    Raises:
        ModelLoadError: If the file is damaged, or holds what neurokit cannot take; one line.
        InputError: If a setting is unknown or out of range.
    """
    path, settings = split_ref(ref)
    if lacks := no_file(path):
        raise ModelLoadError(
            f"model file {path} {lacks}", expected=f"a file ({', '.join(SUFFIXES)})", fix="check the path"
        )
    suffix = path.suffix.lower()
    unknown = sorted(set(settings) - ({"dt"} if suffix == ".nir" else set()))
    if unknown:
        raise InputError(f"{path.name} has no setting {unknown[0]!r}", expected="dt=SECONDS, for a .nir file")
    if suffix == ".nir":
        return _from_nir(path, settings, time_steps)
    if suffix == ".onnx":
        from neurokit.interchange.onnx_file import spec_from_onnx

        return spec_from_onnx(path)
    from neurokit.interchange.pt2_file import spec_from_pt2

    return spec_from_pt2(path)


def _from_nir(path: Path, settings: dict[str, str], time_steps: int | None) -> ModelSpec:
    from neurokit.interchange.nir_net import read_net

    try:
        dt = float(settings["dt"]) if "dt" in settings else None
    except ValueError as error:
        raise InputError(f"dt is {settings['dt']!r}", expected="seconds a time step, for example 0.001") from error
    net = read_net(path, dt)
    alone = len(net.inputs) == 1
    names = [(node, "input" if alone else _port(node)) for node in net.inputs]
    return ModelSpec(
        name=path.stem,
        build=lambda: copy.deepcopy(net),
        inputs=tuple(TensorSpec(name, net.shapes[node], layout=_layout(net.shapes[node])) for node, name in names),
        time_steps=time_steps or _TIME_STEPS,
        time_input="sequence",
        time_output="sequence",
        description=f"NIR graph, {net.dt:g} s a time step ({net.dt_source})",
        source=path.name,
        options={"dt": net.dt},
    )


def _port(node: str) -> str:
    """Returns what an input is called that one of several input nodes of a NIR graph takes."""
    name = node.removeprefix("input_") or node
    return "".join(c if c.isalnum() or c == "_" else "_" for c in name)


def _layout(shape: tuple[int, ...]) -> str:
    return _LAYOUTS.get(len(shape), "")
