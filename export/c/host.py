"""Runs the C source of an artifact on this machine: compiled once into a shared object, called sample by sample."""

from __future__ import annotations

import ctypes
import hashlib
import math
import re
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np

from neurokit.errors import ArtifactError, InputError, MissingRuntimeError
from neurokit.export.sequence import reduce_steps, refuse_streams
from neurokit.feeds import Feeds, Outputs, call_by_name, check_feeds, repeated, whole_ports
from neurokit.native import need_noted
from neurokit.over_time import of_each
from neurokit.scratch import scratch

if TYPE_CHECKING:
    from neurokit.artifact import Artifact

FLAGS = ("-std=c99", "-O2", "-Wall", "-Wextra", "-Werror")
_COMPILERS = ("cc", "gcc", "clang")


def compiler() -> str | None:
    """Returns the path of a C compiler for this machine, or None."""
    return next((path for name in _COMPILERS if (path := shutil.which(name))), None)


def need_compiler() -> str:
    """Returns the path of a C compiler.

    Raises:
        MissingRuntimeError: If there is none.
    """
    found = compiler()
    if found is None:
        raise MissingRuntimeError(
            "no C compiler is installed", expected=" or ".join(_COMPILERS), fix="apt-get install gcc"
        )
    return found


def compiled(artifact: Artifact, *defines: str) -> Code:
    """Compiles an artifact's source for this machine and loads it.

    Args:
        artifact: The artifact.
        defines: Macros to define.

    Raises:
        MissingRuntimeError: If there is no compiler.
        UntrustedCodeError: If the source was not written here.
        ArtifactError: If the compiler refuses the source, or warns.
    """
    name = artifact.manifest.target_info["name"]
    need_noted(artifact, [f"{name}.c", f"{name}.h"])
    source = artifact.file(f"{name}.c")
    _refuse_other_sizes(artifact, artifact.file(f"{name}.h"), name)
    with scratch("c") as folder:
        shim = folder / "shim.c"
        shim.write_text(
            f'#include "{name}.h"\nint32_t nk_state_bytes(void);\n'
            f"int32_t nk_state_bytes(void) {{ return (int32_t)sizeof({name}_state); }}\n",
            encoding="utf-8",
        )
        # A library that is loaded again must have another name: the linker keeps what it has.
        digest = hashlib.sha256(source.read_bytes() + str(defines).encode()).hexdigest()[:16]
        shared = folder / f"{name}_{digest}.so"
        command = [need_compiler(), *FLAGS, "-shared", "-fPIC", f"-I{source.parent}", *(f"-D{d}" for d in defines)]
        ran = subprocess.run(
            [*command, str(source), str(shim), "-o", str(shared)], capture_output=True, text=True, check=False
        )
        if ran.returncode:
            first = (ran.stderr.strip().splitlines() or ["no message"])[0]
            raise ArtifactError(f"{source}: the compiler refuses it: {first}", fix="export the model again")
        return Code(str(shared), source)


class Code(ctypes.CDLL):
    """The loaded code of an artifact, which says in a line what it lacks.

    Args:
        shared: The compiled library.
        source: What it was compiled from.
    """

    def __init__(self, shared: str, source: Path) -> None:
        super().__init__(shared)
        self.source = source

    def __getitem__(self, name: Any) -> Any:
        """Returns a function; `library.name` comes here, too."""
        try:
            return super().__getitem__(name)
        except AttributeError as error:
            raise ArtifactError(f"{self.source} has no function {name}", fix="export the model again") from error

    def pointers(self, name: str, count: int) -> Any:
        """Returns a table of pointers that the code holds."""
        try:
            return (ctypes.c_void_p * count).in_dll(self, name)
        except ValueError as error:
            raise ArtifactError(f"{self.source} has no table {name}", fix="export the model again") from error


def _refuse_other_sizes(artifact: Artifact, header: Path, name: str) -> None:
    """Refuses a manifest whose ports have other sizes than the source: the code would write beyond its buffers."""
    said = re.findall(rf"^#define {re.escape(name.upper())}_(INPUT|OUTPUT)_\w+ (\d+)", header.read_text(), re.M)
    for kind, ports in (("INPUT", artifact.manifest.inputs), ("OUTPUT", artifact.manifest.outputs)):
        sizes = [int(size) for which, size in said if which == kind]
        if sizes != [math.prod(int(size) for size in port.shape[1:]) if len(port.shape) > 1 else 1 for port in ports]:
            raise ArtifactError(
                f"{header}: its {kind.lower()}s have {sizes} numbers, and the manifest says otherwise",
                fix="export the model again",
            )


class CRunner:
    """A C artifact that is open; a context manager.

    Args:
        artifact: The artifact.
        defines: Macros to compile it with.
    """

    def __init__(self, artifact: Artifact, *defines: str) -> None:
        self.manifest = artifact.manifest
        self._info = self.manifest.target_info
        self._name = self._info["name"]
        self._library: Code | None = compiled(artifact, *defines)
        self._bytes = int(self._library.nk_state_bytes())
        self._states: list[Any] = []

    @property
    def streaming(self) -> bool:
        """Whether it keeps membranes from step to step."""
        return self.manifest.time_steps is not None

    @property
    def library(self) -> Code:
        """The loaded code.

        Raises:
            InputError: If the runner is closed.
        """
        if self._library is None:
            raise InputError("the runner is closed", fix="open the artifact again")
        return self._library

    def __call__(self, given: Feeds | np.ndarray) -> Any:
        """Runs whole sequences `[T, B, ...]`, or `[B, ...]` without time or for an image that every step takes.

        Raises:
            InputError: If the inputs are not what the model takes.
        """
        return call_by_name(self._whole, given, *self._names())

    def step(self, given: Feeds | np.ndarray) -> Any:
        """Runs one time step `[B, ...]` from the present membranes.

        Raises:
            InputError: If the model has no steps, or more of them are asked for than its membranes are proven for.
        """
        if not self.streaming:
            raise InputError("a model without neurons cannot step", fix="call the runner")
        return call_by_name(lambda feeds: self._run(feeds, self._batch(feeds)), given, *self._names())

    def reset(self, batch: int = 1) -> None:
        """Sets every membrane to its initial value, for `batch` independent streams."""
        if not isinstance(batch, int) or isinstance(batch, bool) or batch < 1:
            raise InputError(f"reset for {batch!r} streams", expected="a whole number >= 1")
        refuse_streams(batch, batch * self._bytes)
        self._states = [ctypes.create_string_buffer(self._bytes) for _ in range(batch)]
        for state in self._states:
            getattr(self.library, f"{self._name}_reset")(state)

    def close(self) -> None:
        """Lets the code go."""
        self._library = None

    def __enter__(self) -> CRunner:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()

    def _names(self) -> tuple[list[str], list[str]]:
        return [port.name for port in self.manifest.inputs], [port.name for port in self.manifest.outputs]

    def _batch(self, feeds: Feeds) -> int:
        """Checks the inputs of one step and returns their batch; the first step starts the streams."""
        check_feeds(feeds, self.manifest.inputs)
        batch = len(next(iter(feeds.values())))
        if not self._states:
            self.reset(batch)
        if batch != len(self._states):
            raise InputError(
                f"step was given {batch} streams after reset for {len(self._states)}", fix="runner.reset(batch=...)"
            )
        return batch

    def _whole(self, feeds: Feeds) -> Outputs:
        if not self.streaming:
            check_feeds(feeds, self.manifest.inputs)
            self.reset(len(next(iter(feeds.values()))))
            return self._run(feeds, len(self._states))
        if self._info.get("time_input") == "image":
            steps = int(self.manifest.time_steps or 1)
            check_feeds(feeds, whole_ports(self.manifest.inputs, steps))
            feeds = repeated(feeds, self.manifest.inputs, steps)
        check_feeds(
            feeds, [SimpleNamespace(name=p.name, shape=("T", *p.shape), dtype=p.dtype) for p in self.manifest.inputs]
        )
        batch, steps = (next(iter(feeds.values())).shape[axis] for axis in (1, 0))
        self.reset(batch)
        found = [self._run({name: x[t] for name, x in feeds.items()}, batch) for t in range(steps)]
        outputs = self.manifest.outputs
        kinds = of_each(self._info.get("time_output", ""), len(outputs))
        whole = {
            port.name: reduce_steps(np.stack([step[port.name] for step in found]), kind)
            for port, kind in zip(outputs, kinds, strict=True)
        }
        return {port.name: whole[port.name].astype(port.dtype, copy=False) for port in outputs}

    def _run(self, feeds: Mapping[str, np.ndarray], batch: int) -> Outputs:
        names = self._names()
        given = [np.ascontiguousarray(feeds[name]) for name in names[0]]
        shapes = [tuple(int(size) for size in port.shape[1:]) for port in self.manifest.outputs]
        outputs = [np.empty((batch, *shape), np.float32) for shape in shapes]
        call = getattr(self.library, f"{self._name}_step")
        for at, state in enumerate(self._states):
            arrays = [*(x[at : at + 1] for x in given), *(y[at : at + 1] for y in outputs)]
            self.before(at)
            if call(state, *(ctypes.c_void_p(array.ctypes.data) for array in arrays)):
                raise InputError(
                    f"membranes in whole numbers are proven for {self._info['proven_steps']} steps without a reset",
                    fix="runner.reset(), or export with --option membranes=float32",
                )
        kinds = [port.dtype for port in self.manifest.outputs]  # the code writes whole numbers as float
        return {name: y.astype(kind, copy=False) for name, y, kind in zip(names[1], outputs, kinds, strict=True)}

    def before(self, sample: int) -> None:
        """Is called before every sample's step; verification sees the layers through it."""
