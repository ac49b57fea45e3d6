"""TensorRT, in whichever of its two libraries is installed: `tensorrt` (10 or 11) or `tensorrt_rtx`."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from importlib.util import find_spec
from typing import Any

from neurokit.errors import InputError, MissingRuntimeError

LIBRARIES = ("tensorrt", "tensorrt_rtx")
INSTALL = (
    "python -m pip install tensorrt-rtx-cu13-libs tensorrt-rtx-cu13-bindings && "
    "python -m pip install --no-deps tensorrt-rtx-cu13"
)
# What an engine of TensorRT for RTX loads on, by its own message when another GPU opens it (1.7.1).
RTX_PORTABLE = ("8.0", "8.6", "8.9", "12.0", "12.1")
AMPERE_PLUS = ("8.0", "8.6", "8.7", "8.9", "9.0", "10.0", "12.0")


def load(wanted: str = "auto") -> Any:
    """Imports TensorRT.

    Args:
        wanted: "auto" (the full library before the one for RTX), "tensorrt" or "tensorrt_rtx".

    Raises:
        InputError: If there is no library of that name.
        MissingRuntimeError: If it is not installed, or its shared objects are missing.
    """
    if wanted not in ("auto", *LIBRARIES):
        raise InputError(f"library is {wanted!r}", expected="auto, tensorrt or tensorrt_rtx")
    failures = []
    for name in LIBRARIES if wanted == "auto" else (wanted,):
        if find_spec(name) is None:
            continue
        try:
            return __import__(name)
        except ImportError as error:
            failures.append(f"{name}: {str(error).splitlines()[0]}")
    what = "; ".join(failures) or f"{'TensorRT' if wanted == 'auto' else wanted} is not installed"
    if wanted == "tensorrt":
        raise MissingRuntimeError(what, expected="tensorrt 10 or 11", fix="python -m pip install tensorrt-cu13")
    raise MissingRuntimeError(what, expected="tensorrt or tensorrt_rtx", fix=INSTALL)


def is_rtx(trt: Any) -> bool:
    """Returns whether this is TensorRT for RTX."""
    return trt.__name__ == "tensorrt_rtx"


def major(trt: Any) -> int:
    """Returns the major version."""
    return int(str(trt.__version__).partition(".")[0])


@cache
def logger(name: str) -> Any:
    """Returns the one logger of a library (it keeps the first that it was given); it collects what goes wrong."""
    trt = load(name)

    class Collector(trt.ILogger):  # type: ignore[misc, name-defined]
        """Keeps warnings and errors instead of printing them."""

        def __init__(self) -> None:
            trt.ILogger.__init__(self)
            self.errors: list[str] = []

        def log(self, severity: Any, message: str) -> None:
            if severity in (trt.ILogger.ERROR, trt.ILogger.INTERNAL_ERROR):
                self.errors.append(message)

        def take(self) -> str:
            """Returns the first error since the last call."""
            first = self.errors[0].splitlines()[0] if self.errors else ""
            self.errors.clear()
            return first

    return Collector()


def layers(network: Any) -> list[dict[str, Any]]:
    """Returns name, type, precision of each output, and ONNX nodes of every layer of a network.

    These are the layers as TensorRT read them, before it fuses any. Those of an engine can be told by its inspector
    only, which needs a GPU.
    """
    found = []
    for index in range(network.num_layers):
        layer = network.get_layer(index)
        outputs = [layer.get_output(k) for k in range(layer.num_outputs)]
        found.append(
            {
                "name": layer.name,
                "type": _plain(layer.type),
                "precisions": [_plain(o.dtype) for o in outputs],
                "onnx": str(getattr(layer, "metadata", "")),
            }
        )
    return found


def _plain(member: Any) -> str:
    return str(member).rpartition(".")[2].lower()


def capabilities(trt: Any, asked: tuple[str, ...], hardware_compatible: bool) -> tuple[str, ...]:
    """Returns the compute capabilities that an engine will load on.

    Args:
        trt: The library.
        asked: What the user asked for, () for the library's default.
        hardware_compatible: Whether the engine is built for every GPU from Ampere on.
    """
    if is_rtx(trt):
        return asked or RTX_PORTABLE
    if hardware_compatible:
        return AMPERE_PLUS
    here = device_capability()
    return (here,) if here else ()


def loads_on(here: str, built_for: Sequence[str], portable: bool) -> bool:
    """Returns whether an engine loads on a GPU; a portable one of TensorRT for RTX does on every later GPU too."""
    key = lambda capability: tuple(int(part) for part in capability.split("."))  # noqa: E731
    return here in built_for or (portable and key(here) > max(map(key, built_for)))


def device_capability() -> str | None:
    """Returns the compute capability of the first GPU that torch can use ("8.9"), or None."""
    import torch

    if not torch.cuda.is_available():
        return None
    return "{}.{}".format(*torch.cuda.get_device_capability())
