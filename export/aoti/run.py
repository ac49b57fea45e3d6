"""Runs AOTInductor packages: sessions, and a runner for sequences and streams."""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from neurokit.errors import ArtifactError, damaged
from neurokit.export.aoti.archive import checked, hold_against
from neurokit.export.aoti.place import refuse_elsewhere
from neurokit.export.aoti.replay import Replayed
from neurokit.export.aoti.said import check_built
from neurokit.export.aoti.unpacked import noted
from neurokit.export.ort import OnnxRunner, one_line
from neurokit.native import need_noted

if TYPE_CHECKING:
    import torch

    from neurokit.artifact import Artifact
    from neurokit.feeds import Feeds, Outputs


_ONE_AT_A_TIME = threading.Lock()


def load(path: Path, model: str, device: str) -> Callable[..., Any]:
    """Loads one compiled model of a package; on a GPU it is replayed from CUDA graphs."""
    return Replayed(called(path, model, device)) if device != "cpu" else called(path, model, device)


def called(path: Path, model: str, device: str) -> Callable[..., Any]:
    """Loads one compiled model of a package, which every call runs anew."""
    # torch._inductor.package.load_package opens every model of a package, and first compiles small C++ programs to
    # find what this CPU can do, a minute on a fresh machine; `place` knows.
    import torch

    alone = device != "cpu"  # the loader's locks would ask for events, which a CUDA graph cannot record
    with _ONE_AT_A_TIME, noted(path, kept=alone):
        loader = torch._C._aoti.AOTIModelPackageLoader(str(path), model, alone, 1, -1)  # type: ignore[attr-defined]
    if not alone:
        return lambda *given: loader.boxed_run(list(given))

    def run(*given: torch.Tensor) -> Sequence[torch.Tensor]:
        with _whole_float32():
            return loader.boxed_run(list(given))  # type: ignore[no-any-return]

    return run


@contextmanager
def _whole_float32() -> Iterator[None]:
    """Has float32 convolutions and products on a GPU keep all bits of their operands (PyTorch's default is TF32)."""
    import torch

    parts: list[Any] = [torch.backends.cudnn.conv, torch.backends.cuda.matmul]
    before = [part.fp32_precision for part in parts]
    for part in parts:
        part.fp32_precision = "ieee"
    try:
        yield
    finally:
        for part, value in zip(parts, before, strict=True):
            part.fp32_precision = value


class PackageSession:
    """One compiled model of a package, called with arrays by name.

    Args:
        path: The package.
        model: The model's name within it.
        inputs: Names of its inputs, in order.
        outputs: Names of its outputs, in order.
        device: "cpu" or "cuda".
        hold: What is done with what the package says of itself, before it is loaded.

    Raises:
        ArtifactError: If it is damaged, or torch does not open it.
    """

    def __init__(
        self,
        path: Path,
        model: str,
        inputs: Sequence[str],
        outputs: Sequence[str],
        device: str,
        hold: Callable[[Mapping[str, str]], None] = lambda said: None,
    ) -> None:
        self.inputs, self.outputs, self._device = tuple(inputs), tuple(outputs), device
        hold(checked(path, model))
        try:
            self._model = load(path, model, device)
        except Exception as error:  # torch's loader raises what C++ threw
            first = (str(error).strip().splitlines() or [type(error).__name__])[0]
            raise ArtifactError(f"{path}: PyTorch does not open the package: {first[:200]}") from error

    def on_device(self, values: Sequence[torch.Tensor]) -> list[torch.Tensor]:
        """Runs it on tensors that are on its device."""
        import torch

        with torch.no_grad():
            return list(self._model(*values))

    def run(self, names: Sequence[str], feeds: Mapping[str, Any]) -> list[np.ndarray]:
        """Runs it; returns the outputs that are named."""
        given = [self.placed(feeds[name]).to(self._device) for name in self.inputs]
        found = dict(zip(self.outputs, self.on_device(given), strict=True))
        return [array_of(found[name]) for name in names]

    def placed(self, value: Any) -> torch.Tensor:
        """Returns an array as a tensor on the device; a tensor as it is, its elements in the order of its axes.

        A package reads memory as its example lay there and looks at no strides; a state that is a part of something
        larger (the last frame of a sum over frames) comes out with strides of that.
        """
        import torch

        if isinstance(value, torch.Tensor):
            return value.contiguous()
        array = np.ascontiguousarray(value).reshape(np.shape(value))  # which makes an axis of a number
        return torch.from_numpy(array if array.flags.writeable else array.copy())


def array_of(value: torch.Tensor) -> np.ndarray:
    """Returns a tensor as an array; numpy has no bfloat16, which float32 holds."""
    import torch

    return (value.float() if value.dtype == torch.bfloat16 else value).cpu().numpy()


def typed(value: np.ndarray, dtype: str) -> Any:
    """Returns numbers in a type: an array, or a tensor of a type that numpy does not have."""
    import torch

    if dtype != "bfloat16":
        return value.astype(dtype, copy=False)
    return torch.from_numpy(np.ascontiguousarray(value, np.float32).reshape(np.shape(value))).to(torch.bfloat16)


def names_of(graph: Any) -> tuple[list[str], list[str]]:
    """Returns the names of a graph's inputs and outputs, those of its states behind its own."""
    inputs = [port.name for port in graph.inputs] + [state.input for state in graph.states]
    return inputs, [port.name for port in graph.outputs] + [state.output for state in graph.states]


class AotiRunner(OnnxRunner):
    """A package that is open; a context manager, called as `OnnxRunner` is. State stays on the device between steps.

    Args:
        artifact: The artifact.
        threads: Threads within an operator, for the whole process; 0 leaves it to PyTorch.
        seed: Of the stream that random inputs are drawn from.

    Raises:
        MissingRuntimeError: If it was compiled for another machine.
        UntrustedCodeError: If it was not compiled here.
    """

    def __init__(self, artifact: Artifact, *, threads: int = 0, seed: int = 0) -> None:
        built = check_built(artifact)
        refuse_elsewhere(str(artifact.path), built)
        files = [graph.file for graph in artifact.manifest.graphs]
        if len(set(files)) < len(files):
            raise damaged(artifact.path, "its manifest names one package for two graphs")
        need_noted(artifact, files)
        if threads:
            import torch

            torch.set_num_threads(threads)
        self._device = built["device"]
        sessions = {
            graph.name: PackageSession(
                artifact.file(graph.file),
                "model",
                *names_of(graph),
                self._device,
                functools.partial(hold_against, artifact, graph),
            )
            for graph in artifact.manifest.graphs
        }
        self._begin(artifact, sessions, seed)

    @property
    def providers(self) -> list[str]:
        """What runs it."""
        return [f"AOTInductor {self._device}"]

    def _placed(self, values: Mapping[str, np.ndarray]) -> dict[str, Any]:
        import torch

        return {name: torch.from_numpy(np.array(value)).to(self._device) for name, value in values.items()}

    def _array(self, kept: Any) -> np.ndarray:
        return np.array(kept.cpu().numpy())

    def _run_once(self, info: Any, feeds: Feeds) -> Outputs:
        return self._called(info, feeds)[0]

    def _call_kept(self, info: Any, feeds: Feeds) -> tuple[Outputs, list[Any]]:
        return self._called(info, {**feeds, **self._states[info.name]})

    def _called(self, info: Any, feeds: Mapping[str, Any]) -> tuple[Outputs, list[Any]]:
        session = self._sessions[info.name]
        given = [session.placed(feeds[name]).to(self._device) for name in session.inputs]
        with one_line(info.name, "PyTorch"):
            found = session.on_device(given)
        count = len(info.outputs)
        outputs = {port.name: array_of(y) for port, y in zip(info.outputs, found, strict=False)}
        return outputs, found[count:]
