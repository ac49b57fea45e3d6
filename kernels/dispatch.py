"""Decides for every call whether a kernel or its reference runs, and says why once."""

from __future__ import annotations

import functools
import logging
import os

import torch

from neurokit.errors import InputError
from neurokit.kernels._compat import INTERPRET

_LOG = logging.getLogger("neurokit.kernels")
_VARIABLE = "NEUROKIT_KERNELS"
_MIN_CAPABILITY = (8, 0)


@functools.cache
def log_once(kernel: str, reason: str) -> None:
    """Logs why a kernel took the path it took; the same reason is logged once a process."""
    _LOG.info("%s: %s", kernel, reason)


@functools.cache
def _capability(index: int) -> tuple[int, int]:
    return torch.cuda.get_device_capability(index)


def capability(device: torch.device) -> tuple[int, int]:
    """Returns the compute capability of a CUDA GPU, (0, 0) of anything else."""
    if device.type != "cuda" or torch.version.cuda is None:
        return (0, 0)
    return _capability(device.index if device.index is not None else torch.cuda.current_device())


@functools.cache
def _has_triton() -> bool:
    try:
        import triton  # noqa: F401
    except ImportError:
        return False
    return True


def use_triton(kernel: str, tensor: torch.Tensor) -> bool:
    """Returns whether the Triton kernel runs on this tensor.

    The environment variable NEUROKIT_KERNELS decides between "auto" (the default), "triton" and "reference".

    Raises:
        InputError: If NEUROKIT_KERNELS has another value, or asks for Triton where it cannot run.
    """
    wish = os.environ.get(_VARIABLE, "auto")
    if wish not in ("auto", "triton", "reference"):
        raise InputError(f"{_VARIABLE}={wish!r} is unknown", expected="auto, triton or reference")
    obstacle = _obstacle(tensor)
    if wish == "triton" and obstacle:
        raise InputError(f"{_VARIABLE}=triton, but {obstacle}", fix=f"unset {_VARIABLE}, or run on a CUDA GPU")
    if wish == "reference":
        log_once(kernel, f"reference path, because {_VARIABLE}=reference")
        return False
    if obstacle:
        log_once(kernel, f"reference path, because {obstacle}")
        return False
    log_once(kernel, "Triton kernel" + (" under the interpreter" if INTERPRET else f" on {tensor.device}"))
    return True


def _obstacle(tensor: torch.Tensor) -> str:
    """Returns why Triton cannot run on the tensor, or ""."""
    if not _has_triton():
        return "Triton is not installed"
    if INTERPRET:
        return ""
    if tensor.device.type != "cuda" or torch.version.cuda is None:
        return f"the tensor is on {tensor.device.type}, not on a CUDA GPU"
    major, minor = capability(tensor.device)
    if (major, minor) < _MIN_CAPABILITY:
        return f"the GPU has compute capability {major}.{minor}, below 8.0"
    return ""
