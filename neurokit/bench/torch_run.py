"""A model on PyTorch: eager, compiled, on the fused kernels, or as a package of AOTInductor."""

from __future__ import annotations

import sys
import weakref
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from neurokit.bench.events import target_of
from neurokit.bench.job import Job
from neurokit.bench.subject import Subject
from neurokit.errors import InputError, MissingRuntimeError
from neurokit.feeds import Feeds, Outputs, call_by_name
from neurokit.scratch import scratch
from neurokit.spec import ModelSpec
from neurokit.tasks.scoring import Layout, Port

if TYPE_CHECKING:
    import torch

CUDA = "CUDAExecutionProvider"
TORCH = ("eager", "compile", "kernels", "aoti")
_OPENING = {"aoti": "compiling ahead of time"}
_STARTING = {"compile": "compiling", "kernels": "compiling the kernels"}
_Run = Callable[..., "tuple[torch.Tensor, ...]"]


class TorchRunner:
    """A module of PyTorch that is open for measuring: takes and returns numpy arrays.

    On a GPU every call is split by events of the device into copying in, computing and copying out.

    Args:
        run: Runs tensors on the device, in the order of the inputs, and returns the outputs.
        device: "cpu" or "cuda".
        inputs: Names of the inputs.
        outputs: Returns the names of the outputs, after a run.
        folder: A folder to remove when it is closed.
    """

    def __init__(
        self,
        run: _Run,
        device: str,
        inputs: Sequence[str],
        outputs: Callable[[], Sequence[str]],
        folder: ExitStack | None = None,
    ) -> None:
        self._run, self._device = run, device
        self._removed = None if folder is None else weakref.finalize(self, folder.close)
        self._inputs, self._outputs = tuple(inputs), outputs
        self.phases_s: dict[str, list[float]] | None = {} if device == "cuda" else None
        self.facts = _facts(device)

    def __call__(self, given: Feeds | np.ndarray) -> Any:
        """Runs whole inputs, by name or as one array."""
        return call_by_name(self._by_name, given, self._inputs, ())

    def _by_name(self, feeds: Feeds) -> Outputs:
        import torch

        xs = [torch.from_numpy(feeds[name]) for name in self._inputs]
        with torch.no_grad():
            if self.phases_s is None:
                made = [y.numpy() for y in self._run(*xs)]
                return dict(zip(self._outputs(), made, strict=False))
            events = [torch.cuda.Event(enable_timing=True) for _ in range(4)]
            events[0].record()
            on_device = [x.to(self._device) for x in xs]
            events[1].record()
            ys = self._run(*on_device)
            events[2].record()
            results = [y.cpu() for y in ys]
            events[3].record()
            events[3].synchronize()
        for name, before, after in zip(("h2d", "compute", "d2h"), events, events[1:], strict=False):
            self.phases_s.setdefault(name, []).append(before.elapsed_time(after) * 1e-3)
        return dict(zip(self._outputs(), (y.numpy() for y in results), strict=False))

    def prepared(self) -> None:
        """Ends the compiler's own processes, which would go on beside the measurement; called after the first run."""
        if "torch._inductor.async_compile" in sys.modules:
            sys.modules["torch._inductor.async_compile"].shutdown_compile_workers()

    def close(self) -> None:
        """Frees the module."""
        self._run = _closed
        if self._removed is not None:
            self._removed()

    def __enter__(self) -> TorchRunner:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()


def _closed(x: object) -> Any:
    raise InputError("the runner is closed", fix="open it again")


def _facts(device: str) -> dict[str, Any]:
    """Returns what decides the arithmetic: on a GPU, convolutions may round their operands to TF32."""
    import torch

    if device != "cuda":
        return {"device": device}
    convolutions = "TF32" if torch.backends.cudnn.allow_tf32 else "float32"
    products = "TF32" if torch.backends.cuda.matmul.allow_tf32 else "float32"
    name = torch.cuda.get_device_name()
    return {"device": name, "arithmetic": f"convolutions {convolutions}, matrix products {products}"}


def torch_subject(spec: ModelSpec, job: Job) -> Subject:
    """Returns a model as PyTorch runs it.

    Raises:
        MissingRuntimeError: If a GPU is asked for, or needed, and there is none.
        InputError: If the model has nothing that the fused kernels could run.
    """
    import torch

    from neurokit.capture.reference import example_inputs

    if spec.graphs:
        names = ", ".join(graph.name for graph in spec.graphs)
        raise InputError(
            f"model {spec.name!r} has several graphs ({names}), and this row runs one function",
            fix="measure its artifact: --target onnx-step",
        )
    on_gpu = job.provider == CUDA
    if on_gpu and not torch.cuda.is_available():
        raise MissingRuntimeError("torch has no usable GPU here", fix="leave --provider away")
    if job.subject == "kernels":
        _refuse_kernels(spec, on_gpu)
    timed = spec.time_steps is not None and spec.time_input != "image"
    feeds = {n: v.numpy() for n, v in example_inputs(spec, spec.time_steps, job.calls_of, 0).items()}
    device = "cuda" if on_gpu else "cpu"
    plain = replace(job, subject="eager")
    is_reference = job.subject == "eager" and not on_gpu
    return Subject(
        model=spec.name,
        target=target_of(job.subject),
        open=lambda: _open(spec, job, device),
        x=next(iter(feeds.values())),
        feeds=feeds,
        variant=job.variant,
        form="sequence",
        time_steps=spec.time_steps,
        timed=timed,
        numerics="tf32" if on_gpu and torch.backends.cudnn.allow_tf32 else "float",
        fixed_batch=job.calls_of if job.subject == "aoti" else None,
        layout=_layout(spec, job, timed),
        task=(spec.task.name, spec.task.settings) if spec.task else (None, {}),
        expected=None if is_reference else lambda: _open(spec, plain, "cpu")(feeds),
        opening=_OPENING.get(job.subject, "building the model"),
        starting=_STARTING.get(job.subject, "first inference"),
    )


def _layout(spec: ModelSpec, job: Job, timed: bool) -> Layout:
    """Returns how labelled samples become calls; declared states of the module have room for the job's batch."""
    ports = tuple(
        Port(port.name, tuple(size if isinstance(size, int) else str(size) for size in port.sizes), port.dtype)
        for port in spec.inputs
    )
    steps = spec.time_steps if timed else None
    found_out = spec.time_steps is not None and spec.time_output == "auto"
    over_time = None if found_out else spec.time_steps is not None and spec.time_output == "sequence"
    return Layout(ports, steps, False, over_time, job.calls_of)


def _refuse_kernels(spec: ModelSpec, on_gpu: bool) -> None:
    if not spec.spiking:
        raise InputError(f"model {spec.name!r} has no neurons", expected="a spiking model for the fused kernels")
    if not on_gpu:
        raise MissingRuntimeError(
            "the fused kernels need a GPU; on a CPU their reference would run",
            expected="an NVIDIA GPU",
            fix="measure torch-eager instead",
        )


def _open(spec: ModelSpec, job: Job, device: str) -> TorchRunner:
    import torch

    from neurokit.capture.reference import module_runner

    if job.threads:
        torch.set_num_threads(job.threads)
    if job.subject == "aoti":
        return _open_package(spec, job, device)
    module: torch.nn.Module = spec.build().eval().to(device)
    if job.subject == "compile":
        module = torch.compile(module)  # type: ignore[assignment]
    if job.subject == "kernels":
        from neurokit.kernels import patch

        module = patch(module)
    run, outputs = module_runner(module, spec)
    states = _initial_states(spec, job.calls_of, device)
    return TorchRunner(lambda *xs: run(*xs, *states), device, [port.name for port in spec.inputs], outputs)


def _initial_states(spec: ModelSpec, batch: int, device: str) -> list[torch.Tensor]:
    """Returns declared states before the first call."""
    from neurokit.capture.types import declared_state, initial_state

    dims = spec.as_graph().dims
    start = {name: dims[name].min for state in spec.states for name in state.grows}
    return [initial_state(declared_state(state), batch, start).to(device) for state in spec.states]


def _open_package(spec: ModelSpec, job: Job, device: str) -> TorchRunner:
    """Makes the package of the target `aoti`, in float numerics and for one batch size, and opens it."""
    from torch._inductor import aoti_load_package

    from neurokit.capture import capture
    from neurokit.pipeline import lower

    captured = capture(spec, time_steps=spec.time_steps, batch=job.calls_of)
    folder = ExitStack()
    artifact = lower(captured, "aoti", folder.enter_context(scratch("aoti")) / "package", device=device, verified=False)
    (graph,) = artifact.manifest.graphs
    package = aoti_load_package(str(artifact.file(graph.file)))
    outside = [state.to(device) for state in captured.initial_states(job.calls_of)] if graph.states else []
    names = captured.output_names

    def run(*xs: torch.Tensor) -> tuple[torch.Tensor, ...]:
        return tuple(package(*xs, *outside)[: len(names)])

    return TorchRunner(run, device, [port.name for port in spec.inputs], lambda: names, folder)
