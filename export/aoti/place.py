"""Where a package runs: what it was compiled for, and in one line why it does not open elsewhere."""

from __future__ import annotations

import functools
import mmap
import os
import platform
import re
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from neurokit.errors import MissingRuntimeError

_EXTENSIONS = ("avx", "sse", "ssse", "fma", "bmi", "f16c", "amx", "movbe", "vaes", "gfni", "adx", "abm", "popcnt")
_REBUILD = "export the model again on this machine"


@functools.cache
def cpu_extensions() -> tuple[str, ...]:
    """Returns the extensions of this CPU's instruction set that a compiler may use; () where they are not known."""
    try:
        text = Path("/proc/cpuinfo").read_text(encoding="utf-8")
    except OSError:
        return ()
    flags = next((line.partition(":")[2].split() for line in text.splitlines() if line.startswith("flags")), [])
    return tuple(sorted(flag for flag in flags if flag.startswith(_EXTENSIONS)))


def compiler() -> str | None:
    """Returns the path of the C++ compiler that AOTInductor would take, or None."""
    named = os.environ.get("CXX")
    return next((path for name in (named, "g++", "clang++") if name and (path := shutil.which(name))), None)


def need_compiler() -> None:
    """Raises MissingRuntimeError if there is no C++ compiler."""
    if compiler() is None:
        raise MissingRuntimeError(
            "no C++ compiler is installed", expected="g++ or clang++", fix="apt-get install g++, or set CXX"
        )


def need_shared_runtime(library: Path) -> None:
    """Refuses a compiled library that brings a C++ runtime of its own.

    PyTorch's process has one already, and tables of locales of two runtimes do not know each other: the package ends
    in `std::bad_cast`, or takes the process with it, where its code reads the name of its device.

    Args:
        library: The shared library that was linked.

    Raises:
        MissingRuntimeError: If it needs neither libstdc++ nor libc++ of the system.
    """
    if platform.system() != "Linux":
        return
    with library.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        if re.search(rb"lib(std)?c\+\+\.so", content):  # in the first pages: weights behind are not read
            return
    raise MissingRuntimeError(
        f"the C++ compiler {compiler()} links its own C++ runtime into the package, which PyTorch then cannot open",
        expected="a compiler that links the shared libstdc++",
        fix="set CXX to another one, as in CXX=/usr/bin/g++",
    )


def here(device: str) -> dict[str, Any]:
    """Returns what a package that is compiled on this machine needs of another.

    Args:
        device: "cpu" or "cuda".
    """
    import torch

    said: dict[str, Any] = {
        "device": device,
        "torch": torch.__version__.partition("+")[0],
        "platform": platform.system(),
        "machine": platform.machine(),
        "cpu_extensions": list(cpu_extensions()),
    }
    if device == "cuda":
        major, minor = torch.cuda.get_device_capability()
        said |= {"gpu": torch.cuda.get_device_name(), "capability": f"{major}.{minor}", "cuda": torch.version.cuda}
    return said


def need_device(device: str) -> None:
    """Raises MissingRuntimeError if a GPU is asked for and there is none."""
    import torch

    if device == "cuda" and not torch.cuda.is_available():
        raise MissingRuntimeError("torch has no usable GPU here", fix="--option device=cpu, or run on an NVIDIA GPU")


def refuse_elsewhere(name: str, built: Mapping[str, Any]) -> None:
    """Refuses to open a package on a machine that it was not compiled for.

    Args:
        name: What is opened, for the message.
        built: What `here` said where it was compiled.

    Raises:
        MissingRuntimeError: Names the first thing that differs.
    """
    import torch

    device = str(built.get("device", "cpu"))
    if device == "cuda" and not torch.cuda.is_available():
        raise MissingRuntimeError(
            f"{name} was compiled for {built.get('gpu')} (compute capability {built.get('capability')}), and torch "
            "has no usable GPU here",
            fix=f"{_REBUILD} with --option device=cpu",
        )
    now = here(device)
    words = {"torch": "PyTorch", "platform": "", "machine": "", "capability": "compute capability", "cuda": "CUDA"}
    for key, word in words.items():
        if key in built and built[key] != now.get(key):
            said, found = (f"{word} {value}".strip() for value in (built[key], now.get(key)))
            raise MissingRuntimeError(f"{name} was compiled for {said}, and here is {found}", fix=_REBUILD)
    lacking = sorted(set(built.get("cpu_extensions", ())) - set(now["cpu_extensions"]))
    if lacking:
        raise MissingRuntimeError(
            f"{name} was compiled for a CPU with {', '.join(lacking[:4])}, which this one lacks", fix=_REBUILD
        )
