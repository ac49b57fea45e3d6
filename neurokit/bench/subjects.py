"""What can be measured on this machine: PyTorch itself, and every artifact whose target opens here."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from neurokit.artifact import Artifact
from neurokit.bench.job import Job
from neurokit.bench.measure import Subject, artifact_subject
from neurokit.errors import InputError, MissingRuntimeError
from neurokit.spec import ModelSpec
from neurokit.target import TARGETS

if TYPE_CHECKING:
    import torch

_CUDA = "CUDAExecutionProvider"


class TorchRunner:
    """A module of PyTorch that is open for measuring: takes and returns numpy arrays.

    On a GPU every call is split by events of the device into copying in, computing and copying out.

    Args:
        run: Runs a tensor on the device and returns the first output.
        device: "cpu" or "cuda".
        graph: The module, for `close`.
    """

    def __init__(self, run: Callable[[torch.Tensor], torch.Tensor], device: str) -> None:
        self._run = run
        self._device = device
        self.phases_s: dict[str, list[float]] | None = {} if device == "cuda" else None

    def __call__(self, x: np.ndarray) -> np.ndarray:
        """Runs one whole input."""
        import torch

        with torch.no_grad():
            if self.phases_s is None:
                return self._run(torch.from_numpy(x)).numpy()
            events = [torch.cuda.Event(enable_timing=True) for _ in range(4)]
            events[0].record()
            on_device = torch.from_numpy(x).to(self._device)
            events[1].record()
            y = self._run(on_device)
            events[2].record()
            result = y.cpu()
            events[3].record()
            events[3].synchronize()
        for name, before, after in zip(("h2d", "compute", "d2h"), events, events[1:], strict=False):
            self.phases_s.setdefault(name, []).append(before.elapsed_time(after) * 1e-3)
        return result.numpy()

    def close(self) -> None:
        """Frees the module."""
        self._run = _closed

    def __enter__(self) -> TorchRunner:
        return self

    def __exit__(self, *exc: object) -> None:
        self.close()


def _closed(x: object) -> Any:
    raise InputError("the runner is closed", fix="open it again")


def torch_subject(spec: ModelSpec, job: Job) -> Subject:
    """Returns a model as PyTorch runs it: "eager", or compiled by `torch.compile`.

    Raises:
        MissingRuntimeError: If a GPU is asked for and there is none.
    """
    import torch

    from neurokit.reference import example_input

    on_gpu = job.provider == _CUDA
    if on_gpu and not torch.cuda.is_available():
        raise MissingRuntimeError("torch has no usable GPU here", fix="leave --provider away")
    device = "cuda" if on_gpu else "cpu"
    timed = spec.time_steps is not None and spec.time_input != "image"
    x = example_input(spec, spec.time_steps, job.calls_of, 0)
    return Subject(
        model=spec.name, target=f"torch-{job.subject}", open=lambda: _open_torch(spec, job, device), x=x.numpy(),
        variant=job.variant, form="sequence", time_steps=spec.time_steps, timed=timed,
    )  # fmt: skip


def _open_torch(spec: ModelSpec, job: Job, device: str) -> TorchRunner:
    import torch

    from neurokit.reference import run_module

    if job.threads:
        torch.set_num_threads(job.threads)
    module = spec.build().eval().to(device)
    if job.subject == "compile":
        module = torch.compile(module)  # type: ignore[assignment]
    return TorchRunner(lambda x: run_module(module, spec, x)[0], device)


def host_subject(artifact: Artifact, job: Job) -> Subject:
    """Returns an artifact of any target as this machine opens it.

    Raises:
        ParityError: If its verification failed and the job does not allow that.
        MissingRuntimeError: If the target's runtime is not installed.
    """
    from neurokit.bench.device import open_onnx

    if artifact.manifest.target.startswith("onnx"):
        return artifact_subject(artifact, job, lambda: open_onnx(artifact, job))
    from neurokit.pipeline import need

    target = TARGETS.get(artifact.manifest.target)
    need(target.info.opens_with, target)
    return artifact_subject(artifact, job, lambda: target.open(artifact))


def find_subject(job: Job, model: ModelSpec | None = None) -> Subject:
    """Returns what a job names.

    Args:
        job: The job.
        model: The model, where it was loaded already.

    Raises:
        NeurokitError: If it cannot be found or opened here.
    """
    if job.subject == "artifact":
        return host_subject(Artifact.load(Path(job.source)), job)
    if job.subject not in ("eager", "compile"):
        raise InputError(f"unknown subject {job.subject!r}", expected="artifact, eager or compile")
    from neurokit.loading import load

    return torch_subject(model or load(job.source, time_steps=job.time_steps or None), job)
