"""Loads trained weights into a module: all of them or none."""

from __future__ import annotations

import argparse
import copy
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import torch
from torch import nn

from neurokit.errors import WeightsError
from neurokit.plain import no_file

# Where training programs put the weights inside a checkpoint, and what wrappers put before every name.
_NESTED_UNDER = ("state_dict", "model", "model_state_dict", "model_state", "net", "network")
_PREFIXES = ("module.", "_orig_mod.")
# What may stand before every name of a checkpoint of Lightning: the attribute under which it holds the model.
_LIGHTNING = "pytorch-lightning_version"
_COUNTERS = ("total_ops", "total_params")  # buffers that thop leaves in every module
# Modules whose objects training programs store beside the weights: options, paths, scores. Nothing of them is run.
_PLAIN_DATA = (
    "addict",
    "argparse",
    "collections",
    "datetime",
    "easydict",
    "lightning",
    "lightning_fabric",
    "ml_collections",
    "numpy",
    "omegaconf",
    "pathlib",
    "pytorch_lightning",
    "timm",
    "torchmetrics",
    "types",
    "yacs",
)
_PICKLED = (".pt", ".pth", ".ckpt", ".tar", ".bin")
_MOST_NESTED = 8  # state dictionaries within checkpoints
_SHOWN = 3


@runtime_checkable
class TakesPublicNames(Protocol):
    """A module that knows how the public checkpoints of its network name what it holds."""

    def of_public(self, state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """Returns a state dictionary by the module's own names; one that has them already as it is."""
        ...


def load_weights(module: nn.Module, path: str | Path) -> None:
    """Loads a weights file into `module`; on any error the module stays as it was.

    Args:
        module: Takes the weights, on its own device and in its own types.
        path: A `.safetensors` file, or a `.pt`, `.pth`, `.ckpt`, `.tar` or `.bin` file of `torch.save`, of which only
            tensors are read: no code of the file is run. The state dictionary may lie under "state_dict" or "model",
            and its names may begin with "module." or, of Lightning, with the attribute that holds the model; what thop
            counted is left out.

    Raises:
        WeightsError: If the file is missing, damaged or holds something else, if names are missing or left over, if a
            shape or type does not fit, or if a tensor holds NaN or infinity.
    """
    path = Path(path)
    expected = module.state_dict()
    content = _read(path)
    lightning = isinstance(content, Mapping) and _LIGHTNING in content
    state = _without_prefix(_without_counters(_state_dict(content, path), expected), expected)
    state = _of_the_model(state, expected, lightning)
    if isinstance(module, TakesPublicNames):
        state = module.of_public(state)
    _check_names(path, expected, state)
    _check_tensors(path, expected, state)
    before = copy.deepcopy(expected)
    try:
        module.load_state_dict(state)
    except Exception as error:  # a module's own loading hook may refuse what fits by name and shape
        module.load_state_dict(before)
        raise WeightsError(f"weights file {path}: the module refused it: {_one_line(error)}") from error


def check_finite(module: nn.Module, name: str) -> None:
    """Refuses a module with NaN in a parameter or buffer, or with infinity in a parameter.

    A membrane that is NaN never fires, so such a model could look sound in every lowered form. Infinity in a buffer
    is left alone: masks are made of it.

    Args:
        module: The module.
        name: Name of the model, for the message.

    Raises:
        WeightsError: Names the tensors.
    """
    bad = [key for key, value in module.named_parameters() if not torch.isfinite(value).all()]
    bad += [key for key, value in module.named_buffers() if torch.isnan(value).any()]
    if bad:
        raise WeightsError(
            f"model {name!r} has NaN or infinity in {len(bad)} tensors: {_some(bad)}",
            expected="finite weights",
            fix="check the training or the weights file",
        )


def _read(path: Path) -> Any:
    if lacks := no_file(path):
        raise WeightsError(f"weights file {path} {lacks}", expected="a .safetensors, .pt or .pth file")
    readers = {".safetensors": _read_safetensors, **dict.fromkeys(_PICKLED, _read_torch)}
    if path.suffix.lower() not in readers:
        raise WeightsError(
            f"weights file {path} has the unknown suffix {path.suffix!r}", expected=", ".join(sorted(readers))
        )
    try:
        return readers[path.suffix.lower()](path)
    except Exception as error:  # readers raise a dozen types for a damaged file
        raise WeightsError(
            f"weights file {path} cannot be read: {_no_archive(path) or _one_line(error)}",
            expected="a whole file that holds nothing but tensors",
            fix="save it again with safetensors.torch.save_file(module.state_dict(), path)",
        ) from error


def _no_archive(path: Path) -> str:
    """Says what a file is that no program has written weights to; "" where it may be a damaged one of weights."""
    try:
        with path.open("rb") as file:
            head = file.read(64)
    except OSError:
        return ""
    if not head:
        return "it is empty"
    if head.startswith(b"version https://git-lfs"):
        return "it is a pointer of Git LFS, and its file was not fetched (git lfs pull)"
    if path.suffix.lower() in _PICKLED and not head.startswith((b"PK", b"\x80")) and b"\0" not in head:
        return f"it is no file of torch.save: it begins with {head[:20].decode('ascii', 'replace')!r}"
    return ""


def _read_safetensors(path: Path) -> Any:
    from safetensors.torch import load_file

    return load_file(path)


class _Inert:
    """Stands for an object beside the weights: takes whatever it is given, does nothing."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        pass

    def __setstate__(self, state: Any) -> None:
        pass

    def __setitem__(self, key: Any, value: Any) -> None:
        pass


def _read_torch(path: Path) -> Any:
    # Training scripts store their options and scores beside the weights; these become inert objects.
    try:
        beside = torch.serialization.get_unsafe_globals_in_checkpoint(path)
    except Exception:  # a file of before torch 1.6 cannot be asked
        beside = []
    # A dictionary with attributes (Lightning's, EasyDict) is filled as one: torch's reader asks for its own types.
    inert: list[Any] = [
        (OrderedDict if "Dict" in name.rpartition(".")[2] else _Inert, name)
        for name in beside
        if name.partition(".")[0] in (*_PLAIN_DATA, "_codecs")
    ]
    with torch.serialization.safe_globals([argparse.Namespace, *inert]):
        return torch.load(path, map_location="cpu", weights_only=True)


def _state_dict(content: Any, path: Path) -> dict[str, torch.Tensor]:
    """Returns the dictionary of tensors inside a checkpoint."""
    for _ in range(_MOST_NESTED):
        if not isinstance(content, Mapping):
            break
        inner = next((content[key] for key in _NESTED_UNDER if isinstance(content.get(key), Mapping)), None)
        if inner is None:
            break
        content = inner
    else:
        raise WeightsError(
            f"weights file {path} nests its weights more than {_MOST_NESTED} deep, or in itself",
            expected="a state dictionary",
        )
    if not isinstance(content, Mapping):
        raise WeightsError(f"weights file {path} holds a {type(content).__name__}", expected="a state dictionary")
    content = {name: value for name, value in content.items() if not isinstance(value, _Inert)}
    others = [str(name) for name, value in content.items() if not isinstance(value, torch.Tensor)]
    if others:
        raise WeightsError(f"weights file {path} holds more than tensors: {_some(others)}", expected="tensors by name")
    return {str(name): value for name, value in content.items()}


def _without_prefix(state: dict[str, torch.Tensor], expected: Mapping[str, Any]) -> dict[str, torch.Tensor]:
    """Removes the prefixes that wrappers of data-parallel training and compilation leave."""
    for prefix in _PREFIXES * 2:  # either may be outside
        ours = any(name.startswith(prefix) for name in expected)
        if state and not ours and all(name.startswith(prefix) for name in state):
            state = {name.removeprefix(prefix): value for name, value in state.items()}
    return state


def _without_counters(state: dict[str, torch.Tensor], expected: Mapping[str, Any]) -> dict[str, torch.Tensor]:
    """Removes the operation counts that thop registers as buffers."""
    return {n: v for n, v in state.items() if n in expected or n.rpartition(".")[2] not in _COUNTERS}


def _of_the_model(
    state: dict[str, torch.Tensor], expected: Mapping[str, Any], lightning: bool
) -> dict[str, torch.Tensor]:
    """Removes what stands before every name of the model where a training class holds it as an attribute.

    Lightning's checkpoints may hold more beside the model, losses and metrics, which are left out.
    """
    if not expected or set(expected) <= set(state):
        return state
    first = next(iter(expected))
    for prefix in sorted({name[: -len(first)] for name in state if name.endswith(f".{first}")}, key=len):
        inside = {name.removeprefix(prefix): value for name, value in state.items() if name.startswith(prefix)}
        if set(expected) <= set(inside) and (lightning or len(inside) == len(state)):
            return inside
    return state


def _check_names(path: Path, expected: Mapping[str, Any], state: Mapping[str, Any]) -> None:
    missing = [name for name in expected if name not in state]
    extra = [name for name in state if name not in expected]
    parts = []
    if missing:
        parts.append(f"{len(missing)} missing ({_some(missing)})")
    if extra:
        parts.append(f"{len(extra)} not in the model ({_some(extra)})")
    if parts:
        raise WeightsError(
            f"weights file {path} does not fit the model: {', '.join(parts)}",
            expected=f"exactly the model's {len(expected)} names",
        )


def _check_tensors(path: Path, expected: Mapping[str, Any], state: Mapping[str, torch.Tensor]) -> None:
    shapes, types, values, kinds = [], [], [], []
    for name, target in expected.items():
        value = state[name]
        if value.layout != torch.strided or value.device.type != "cpu" or value.is_quantized or value.is_complex():
            kind = "quantised" if value.is_quantized else "complex" if value.is_complex() else value.layout
            kinds.append(f"{name} is {'without data' if value.device.type == 'meta' else kind}")
        elif value.shape != target.shape:
            shapes.append(f"{name} is {list(value.shape)} for {list(target.shape)}")
        elif value.is_floating_point() != target.is_floating_point():
            types.append(f"{name} is {value.dtype} for {target.dtype}")
        elif not torch.isfinite(value.to(target.dtype)).all():  # after the conversion: it may overflow
            values.append(name)
    for found, what, wanted in (
        (kinds, "other than dense tensors", "a file of dense tensors"),
        (shapes, "wrong shapes", "weights of the model's own width and depth"),
        (types, "wrong types", "tensors of the model's types"),
        (values, "NaN or infinity", "finite numbers"),
    ):
        if found:
            said = f"weights file {path} has {what} in {len(found)} tensors: {_some(found)}"
            raise WeightsError(said, expected=wanted)


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:_SHOWN]) + (", ..." if len(names) > _SHOWN else "")


def _one_line(error: Exception) -> str:
    text = str(error).strip()
    return f"{type(error).__name__}: {text.splitlines()[0][:200]}" if text else type(error).__name__
