"""Compiles modules with AOTInductor and puts them into packages that open without their Python source."""

from __future__ import annotations

import fcntl
import io
import subprocess
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from types import SimpleNamespace
from typing import Any, BinaryIO

import torch
from torch import Tensor, nn
from torch.export import ExportedProgram

from neurokit.errors import UnsupportedError
from neurokit.export.aoti.declared import arrays_declared_where_used
from neurokit.export.aoti.described import examples_of_descriptors
from neurokit.export.aoti.gluon_kernels import stubs
from neurokit.export.aoti.overlap import overlapping_launches
from neurokit.export.aoti.place import need_shared_runtime
from neurokit.export.aoti.realized import inputs_computed_once
from neurokit.export.aoti.replaced import replaced
from neurokit.export.aoti.wrapper import interface_apart
from neurokit.program.nodes import hint
from neurokit.scratch import scratch

_CONFIG: dict[str, Any] = {"aot_inductor.package": True}
# Vectors of up to eight numbers would stand in the code itself, where no weight can be held against another's.
_ON_CPU: dict[str, Any] = {"always_keep_tensor_constants": True}
# With its optimisation of layouts, PyTorch 2.11 hands channels-last operands to cuDNN, whose output is channels-last
# then, and reads it as channels-first: wrong numbers (seen on an H200 with one convolution and nothing of neurokit).
# Of 1x1 convolutions cuDNN takes kernels of an older generation, a third as fast as cuBLAS's product of the same rows.
_ON_GPU: dict[str, Any] = {"layout_optimization": False, "conv_1x1_as_mm": True}


def example_of(value: Any) -> tuple[Tensor, dict[int, Any]]:
    """Returns a tensor of the sizes that a value was traced with, and which of its axes are free."""
    tensor = torch.zeros([hint(size) for size in value.shape], dtype=value.dtype)
    free = {axis: torch.export.Dim.AUTO for axis, size in enumerate(value.shape) if not isinstance(size, int)}
    return tensor, free


def exported(
    module: nn.Module, examples: Sequence[Tensor], free: Sequence[Mapping[int, Any]], device: str
) -> ExportedProgram:
    """Traces a module, and writes its neurons in plain operations and its kernels as what they are on a device.

    Args:
        module: It takes tensors and returns a tuple of tensors.
        examples: Inputs.
        free: Of each input the axes whose size is free.
        device: "cpu" or "cuda": kernels choose their form by it, so it comes before the decompositions.
    """
    from neurokit.capture.asked_once import asked_once
    from neurokit.capture.lstm_states import lstm_states
    from neurokit.neurons.ops import decompositions

    with torch.no_grad(), warnings.catch_warnings(), asked_once(), lstm_states():
        warnings.simplefilter("ignore")
        shapes = (tuple(dict(axes) for axes in free),)
        program = torch.export.export(module, tuple(examples), dynamic_shapes=shapes, strict=False)
        if device != "cpu":
            program = _moved(program)
        return program.run_decompositions(decompositions())


def _moved(program: ExportedProgram) -> ExportedProgram:
    """Returns a traced program on the present GPU, by its number: tensors there say it, and comparisons need it."""
    from torch.export.passes import move_to_device_pass

    for node in list(program.graph.nodes):
        if "_assert_tensor_metadata" in str(node.target):  # of the CPU that it was traced on
            program.graph.erase_node(node)
    program.graph_module.recompile()
    return move_to_device_pass(program, str(torch.device("cuda", torch.cuda.current_device())))


def compiled(program: ExportedProgram, said: Mapping[str, str], settings: Mapping[str, Any]) -> list[Any]:
    """Compiles a traced program; returns the files of a package.

    Args:
        program: The program.
        said: What the package says of itself.
        settings: Of the compiler (`torch._inductor.config`), beside the usual ones.

    Raises:
        UnsupportedError: If the compiler refuses it.
        MissingRuntimeError: If the C++ compiler links a runtime of its own into it.
    """
    from torch._inductor import aot_compile

    args, kwargs = program.example_inputs
    on_gpu = any(isinstance(x, Tensor) and x.device.type != "cpu" for x in args)
    options = {**_CONFIG, **(_ON_GPU if on_gpu else _ON_CPU), **settings, "aot_inductor.metadata": dict(said)}
    try:
        with torch.no_grad(), warnings.catch_warnings(), mended(on_gpu):
            warnings.simplefilter("ignore")
            files = aot_compile(program.module(check_guards=False), args, kwargs, options=options)
    except Exception as error:  # whatever a compiler's passes, or the C++ compiler, raise
        raise UnsupportedError(f"AOTInductor does not compile the program: {_cause(error)}", []) from error
    for file in files:
        if str(file).endswith(".so"):
            need_shared_runtime(Path(str(file)))
    return files


@contextmanager
def mended(on_gpu: bool) -> Iterator[None]:
    """Context in which PyTorch's compiler has the parts of ours that a program for a CPU, or for a GPU, needs."""
    with ExitStack() as stack:
        stack.enter_context(arrays_declared_where_used())
        stack.enter_context(interface_apart())
        if on_gpu:
            for part in (
                _scratch_of_the_grid,
                examples_of_descriptors,
                overlapping_launches,
                stubs,
                inputs_computed_once,
                _without_vectors,
            ):
                stack.enter_context(part())
        else:
            stack.enter_context(_vectors_tried_here())
        yield


def _cause(error: Exception) -> str:
    """Returns what went wrong in one line: of a C++ compiler's output the line that says it, else the first."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()] or [type(error).__name__]
    said = (line for line in lines[1:] if "error:" in line or "illed" in line)  # a file's, or a process's end
    return f"{lines[0][:300]}{''.join(f': {line[:300]}' for line in [next(said, '')] if line)}"


@contextmanager
def one_process() -> Iterator[None]:
    """Has other processes of this user wait until packages are whole.

    The same program has the same files in the compiler's cache, and one process would pack what another is writing.
    """
    from torch._inductor.runtime.cache_dir_utils import cache_dir

    with ExitStack() as stack:
        with suppress(OSError):  # a full disk is told by what is written next; not every file system has locks
            place = Path(cache_dir())
            place.mkdir(parents=True, exist_ok=True)
            fcntl.flock(stack.enter_context((place / "neurokit.lock").open("a")), fcntl.LOCK_EX)
        yield


@contextmanager
def _scratch_of_the_grid() -> Iterator[None]:
    """Has compiled code lend memory for the tensor descriptors of all programs of a kernel's grid.

    A kernel that makes descriptors states the bytes that one program needs. PyTorch 2.11's wrapper lends those of one
    program, and the others write behind it: illegal memory accesses (its pull request 182825 mends a later release).
    """
    from torch._inductor.codegen.cuda.device_op_overrides import CUDADeviceOpOverrides

    lend = CUDADeviceOpOverrides.cpp_scratch

    def lend_all(self: Any, idx: int, workspace: Any, prefix: str | None = None) -> tuple[list[str], str] | None:
        made = lend(self, idx, workspace, prefix)
        if not workspace.size or made is None or any("grid_0" in line for line in made[0]):
            return made
        one, every = f"{{{workspace.size}}}", f"{{int64_t{{{workspace.size}}} * grid_0 * grid_1 * grid_2}}"
        return [line.replace(one, every) for line in made[0]], made[1]

    with replaced(CUDADeviceOpOverrides, "cpp_scratch", lend_all):
        yield


@contextmanager
def _without_vectors() -> Iterator[None]:
    """Has no instruction sets of the CPU tried for a package that computes nothing there.

    PyTorch 2.11 compiles a C++ file of its headers for each set, and imports itself in a process to load it.
    """
    from torch._inductor import cpu_vec_isa

    with replaced(cpu_vec_isa, "valid_vec_isa_list", list):
        yield


@contextmanager
def _vectors_tried_here() -> Iterator[None]:
    """Has this process load what was compiled for a set of the CPU's instructions, to see whether it can.

    PyTorch 2.11 starts a process for each of about ten sets, in every process that compiles, which imports torch to
    load a library of one function that it does not call: 3 CPU seconds each, more than all that compiles a small
    package. The lines that it would run are run here.
    """
    from torch._inductor import cpu_vec_isa

    def run(command: list[str], **_: Any) -> int:
        exec(command[-1], {})
        return 0

    own = SimpleNamespace(**{**vars(subprocess), "check_call": run})
    with replaced(cpu_vec_isa, "subprocess", own):
        yield


def package(path: Path, models: Mapping[str, list[Any]]) -> None:
    """Writes compiled models into one package, each under its name.

    The C++ that they were compiled of stays out: it names folders of this machine. PyTorch's loader finds what a
    package says of itself by the name of that file, so an empty one stands for it.
    """
    from torch._inductor.package import package_aoti

    with scratch("aoti") as folder:
        kept = {name: [file for file in files if ".kernel." not in str(file)] for name, files in models.items()}
        files = {name: [_bare(file, folder) for file in files] for name, files in kept.items()}
        with path.open("wb") as file:
            held = _Held(file)
            package_aoti(held, files)  # type: ignore[arg-type]
        if held.error is not None:
            raise held.error


class _Held(io.RawIOBase):
    """A file that holds back what goes wrong with it: PyTorch's writer ends the process where writing raises.

    Attributes:
        error: The first error.
    """

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self.error: OSError | None = None

    def writable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = 0) -> int:
        return self._file.seek(offset, whence)

    def write(self, data: Any) -> int:
        if self.error is None:
            try:
                self._file.write(data)
            except OSError as error:
                self.error = error
        return len(data)


def _bare(file: Any, folder: Path) -> Any:
    if not str(file).endswith(".cpp"):
        return file
    empty = folder / Path(file).name
    empty.touch()
    return str(empty)
