"""The weights and thresholds of a converted network in a file, so that what was trained is trained once."""

from __future__ import annotations

import os
from pathlib import Path

import torch
from torch import Tensor, fx

from neurokit.errors import UNREADABLE, InputError, OutputError
from neurokit.transforms.qcfs.layers import Spikes

_THRESHOLD = ".threshold"


def write_kept(graph: fx.GraphModule, path: Path) -> None:
    """Writes a converted network's weights, and the thresholds of its neurons, whole or not at all.

    Raises:
        OutputError: If the file cannot be written.
    """
    from safetensors.torch import save

    tensors = {name: value.detach().contiguous() for name, value in graph.state_dict().items()}
    for name, layer in _layers(graph).items():
        tensors[f"{name}{_THRESHOLD}"] = torch.tensor(layer.spikes.v_threshold, dtype=torch.float64)
    scratch = path.with_name(f".{path.name}.partial-{os.getpid()}")
    try:
        scratch.write_bytes(save(tensors))
        scratch.replace(path)
    except OSError as error:
        raise OutputError(f"{path} cannot be written: {error.strerror}", fix="name another file with keep=") from error


def read_kept(path: Path) -> dict[str, Tensor]:
    """Reads what `write_kept` wrote.

    Raises:
        InputError: If it is no such file.
    """
    from safetensors import SafetensorError
    from safetensors.torch import load_file

    unreadable: tuple[type[Exception], ...] = (*UNREADABLE, SafetensorError)
    try:
        return load_file(path)
    except unreadable as error:
        raise InputError(f"{path} holds no converted weights: {error}", expected="what qcfs:keep= wrote") from error


def put_back(graph: fx.GraphModule, kept: dict[str, Tensor]) -> None:
    """Gives a converted network the weights and thresholds of a file.

    Raises:
        InputError: If they are those of another network.
    """
    layers = _layers(graph)
    weights = {name: value for name, value in kept.items() if not name.endswith(_THRESHOLD)}
    wanted = graph.state_dict()
    others = set(kept) - set(weights)
    same = {name: value.shape for name, value in weights.items()} == {n: v.shape for n, v in wanted.items()}
    if not same or others != {f"{name}{_THRESHOLD}" for name in layers}:
        raise InputError("the kept weights are those of another network", fix="name another file with keep=")
    graph.load_state_dict(weights)
    for name, layer in layers.items():
        layer.set_threshold(float(kept[f"{name}{_THRESHOLD}"]))


def _layers(graph: fx.GraphModule) -> dict[str, Spikes]:
    return {name: part for name, part in graph.named_modules() if isinstance(part, Spikes)}
