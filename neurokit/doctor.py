"""What this machine has for neurokit's work, what it lacks, and the command that installs it."""

from __future__ import annotations

import importlib
import platform
import shutil
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from types import ModuleType
from typing import Literal

State = Literal["ok", "missing", "broken"]

# Import name, what it is for, whether nothing works without it, what pip installs.
_LIBRARIES = (
    ("torch", "models, capture and lowering", False, "torch==2.11.0"),
    ("torchvision", "model bodies", False, "torchvision==0.26.0"),
    ("spikingjelly", "spiking neurons", False, "spikingjelly==2.0.0"),
    ("onnx", "writing ONNX", False, "onnx onnxscript onnx-ir"),
    ("onnxscript", "writing ONNX", False, "onnxscript onnx-ir"),
    ("onnxruntime", "running ONNX", False, "onnxruntime"),
    ("openvino", "OpenVINO artifacts", False, "openvino"),
    ("ai_edge_litert", "LiteRT artifacts", False, "ai-edge-litert"),
    ("nncf", "OpenVINO in int8", False, "nncf"),
    ("triton", "fused GPU kernels", False, "triton==3.6.0"),
    ("tensorrt", "TensorRT engines", False, "tensorrt-cu13"),
    (
        "tensorrt_rtx",
        "TensorRT for RTX engines",
        False,
        "tensorrt-rtx-cu13-libs tensorrt-rtx-cu13-bindings && python -m pip install --no-deps tensorrt-rtx-cu13",
    ),
    ("nir", "neuromorphic interchange", False, "nir"),
    ("numba", "the event simulator", False, "numba"),
    ("aedat", "AEDAT 4.0 recordings", False, "aedat"),
    ("pytorch_lightning", "training", False, "pytorch-lightning"),
    ("torchmetrics", "training", False, "torchmetrics"),
    ("nibabel", "NIfTI volumes", False, "nibabel"),
    ("sklearn", "metrics, the demo's digits", False, "scikit-learn"),
    ("captum", "Grad-CAM", False, "captum"),
)
_DISTRIBUTIONS = {"pytorch_lightning": "pytorch-lightning", "sklearn": "scikit-learn"}


@dataclass(frozen=True)
class Check:
    """One line of the examination.

    Attributes:
        name: What was looked for.
        purpose: What it is for.
        required: Whether nothing works without it.
        state: "ok", "missing", or "broken" if it is installed but cannot be loaded.
        detail: Version and what it offers here, or what is wrong.
        install: Command that installs it, or "".
    """

    name: str
    purpose: str
    required: bool
    state: State
    detail: str
    install: str = ""


def examine() -> list[Check]:
    """Looks at everything that neurokit can make use of; takes seconds, because libraries must be loaded."""
    libraries = [_library(*entry) for entry in _LIBRARIES]
    known = {check.name: check for check in libraries}  # what failed to load is not tried again
    return [_python(), *libraries, _plugin(known), _cuda(known["torch"]), _compiler(), _cortex()]


def _python() -> Check:
    new_enough = sys.version_info >= (3, 11)
    return Check(
        "python",
        "everything",
        True,
        "ok" if new_enough else "broken",
        platform.python_version(),
        "" if new_enough else "install Python 3.11 or newer",
    )


def _pip(packages: str) -> str:
    return f"python -m pip install {packages}"


def what_installs(module: str) -> tuple[str, str] | None:
    """Returns what a library is for and the command that installs it, or None for a module that we do not use."""
    for name, purpose, _, packages in _LIBRARIES:
        if name == module.partition(".")[0]:
            return purpose, _pip(packages)
    return None


def _library(name: str, purpose: str, required: bool, packages: str) -> Check:
    install = _pip(packages)
    try:
        found = _version(name, importlib.import_module(name))
    except ModuleNotFoundError as error:
        if error.name != name:
            return Check(name, purpose, required, "broken", f"needs {error.name}", install)
        return Check(name, purpose, required, "missing", "", install)
    except Exception as error:  # a library without its driver or shared objects fails in its own way
        return Check(name, purpose, required, "broken", f"{type(error).__name__}: {error}", install)
    extra = _DETAILS.get(name)
    return Check(name, purpose, required, "ok", f"{found}{extra() if extra else ''}")


def _version(name: str, module: ModuleType) -> str:
    try:
        return version(_DISTRIBUTIONS.get(name, name))
    except PackageNotFoundError:  # itself a ModuleNotFoundError; the distribution has another name than the module
        return str(getattr(module, "__version__", "version unknown"))


def _onnxruntime_providers() -> str:
    import onnxruntime

    names = [name.removesuffix("ExecutionProvider") for name in onnxruntime.get_available_providers()]
    return f", providers {', '.join(names)}"


_DETAILS: dict[str, Callable[[], str]] = {"onnxruntime": _onnxruntime_providers}


def _plugin(known: Mapping[str, Check]) -> Check:
    """Whether TensorRT engines can have the fused LIF in them; TensorRT for RTX takes no plugins."""
    from neurokit.export.tensorrt.plugin import obstacle

    purpose, name = "the fused LIF in TensorRT (lif_plugin)", "tensorrt plugin"
    install = "python -m pip install tensorrt-cu13 triton==3.6.0"
    for library in ("tensorrt", "triton"):
        check = known[library]
        if check.state != "ok":
            why = f"{library} is {check.state}"
            why += ", and tensorrt_rtx takes no plugins" if library == "tensorrt" else ""
            return Check(name, purpose, False, "missing", why, install)
    if why := obstacle(importlib.import_module("tensorrt")):
        return Check(name, purpose, False, "missing", why, install)
    return Check(name, purpose, False, "ok", "compiled ahead of time by Triton")


def _cuda(torch_found: Check) -> Check:
    purpose = "GPU runs and benchmarks"
    if torch_found.state != "ok":
        return Check("cuda", purpose, False, "missing", f"torch is {torch_found.state}", "")
    import torch

    if not torch.cuda.is_available():
        built = torch.version.cuda
        why = f"torch has CUDA {built}, but no usable GPU or driver" if built else "torch was built without CUDA"
        return Check("cuda", purpose, False, "missing", why, "install an NVIDIA driver" if built else "")
    return Check("cuda", purpose, False, "ok", f"{torch.version.cuda}, {torch.cuda.get_device_name()}")


def _compiler() -> Check:
    found = next((path for name in ("cc", "gcc", "clang") if (path := shutil.which(name))), None)
    install = "" if found else "install a C compiler, for example: apt-get install gcc"
    name = found.rsplit("/", 1)[-1] if found else ""
    return Check("c compiler", "Triton and compiled packages", False, "ok" if found else "missing", name, install)


def _cortex() -> Check:
    """Whether the C of the target `c` can be compiled for Cortex-M, and run there without a board."""
    tools = ("arm-none-eabi-gcc", "qemu-system-arm")
    missing = [tool for tool in tools if shutil.which(tool) is None]
    packages = {"arm-none-eabi-gcc": "gcc-arm-none-eabi", "qemu-system-arm": "qemu-system-arm"}
    install = " ".join(["apt-get install", *(packages[tool] for tool in missing)])
    return Check(
        "cortex-m tools",
        "sizes and emulated runs of the target c",
        False,
        "missing" if missing else "ok",
        f"no {' and no '.join(missing)}" if missing else ", ".join(tools),
        install if missing else "",
    )
