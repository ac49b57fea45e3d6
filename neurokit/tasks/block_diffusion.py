"""Images drawn block after block, each by diffusion: the host's loop over a graph with a cache; numpy only."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from neurokit.errors import InputError
from neurokit.quantity import Quantity
from neurokit.tasks.masks import write_array
from neurokit.tasks.task import TaskInfo, register_task

if TYPE_CHECKING:
    from neurokit.spec import TensorSpec

NAME = "block_diffusion"
LABEL = "label"  # the one input that a sample gives; the others are the loop's
_TIMES = 1000  # of the noise in training
_FIRST, _LAST = 1e-4, 0.02  # variances of the added noise, linear in between (Ho et al., 2020; DiT keeps them)


@register_task
class BlockDiffusion:
    """Latents of an image `[C, H, W]`, drawn for a class.

    Settings:
        blocks: Rows and columns of blocks, drawn in reading order.
        steps (25): Denoising steps of a block.
    """

    ending = "_latents.npy"
    info = TaskInfo(
        name=NAME,
        summary="an image drawn block after block, by diffusion",
        headline="mse",
        metrics={"mse": "mean square distance of latents; from 0, less is better"},
        labels="the latents that are right, [N, C, H, W]",
        less_is_better=frozenset({"mse"}),
        no_shares=frozenset({"mse"}),
        decide=None,
    )

    def preprocess(self, sample: Any, port: TensorSpec, settings: Mapping[str, Any]) -> np.ndarray:
        """Returns the number of a class as the model takes it.

        Raises:
            InputError: If it is none.
        """
        array = np.asarray(sample)
        if array.dtype.kind not in "iu" or array.ndim:
            raise InputError(f"{port.name} is {array.dtype} {list(array.shape)}", expected="the number of a class")
        return array.astype(port.dtype)

    def predict(self, outputs: Mapping[str, np.ndarray], settings: Mapping[str, Any]) -> np.ndarray:
        """Returns the latents."""
        return np.asarray(next(iter(outputs.values())))

    def score(self, predictions: np.ndarray, labels: np.ndarray, settings: Mapping[str, Any]) -> Mapping[str, Quantity]:
        """Returns the mean square distance from given latents."""
        if labels.shape != predictions.shape:
            raise InputError(f"labels are {list(labels.shape)}", expected=f"{list(predictions.shape)}")
        error = float(np.square(predictions - labels, dtype=np.float64).mean())
        return {"mse": Quantity.exact(error, "", "measured", f"{len(labels)} images")}

    def answer(self, prediction: np.ndarray, settings: Mapping[str, Any]) -> Any:
        """Returns sizes, mean and deviation of the latents."""
        return {
            "latents": list(prediction.shape),
            "mean": float(prediction.mean()),
            "deviation": float(prediction.std()),
        }

    def save(self, prediction: np.ndarray, sample: Any, path: Path, settings: Mapping[str, Any]) -> None:
        """Writes the latents `[C, H, W]`, what the decoder of an image autoencoder takes."""
        write_array(prediction, path)


def drawn(runner: Any, settings: Mapping[str, Any], label: int, seed: np.random.Generator) -> np.ndarray:
    """Returns the latents of one image, `[1, C, H, W]`: deterministic diffusion steps (DDIM, Song et al., 2021).

    Args:
        runner: An open artifact of one graph with a cache (`block`, `index`, `t`, `label` and `clean` in, noise out).
        settings: Of the task.
        label: Number of the class.
        seed: Of the noise that every block begins with.
    """
    (graph,) = runner.manifest.graphs
    tokens, channels = (int(size) for size in graph.inputs[0].shape[1:])
    rows, columns = (int(count) for count in settings["blocks"])
    times = np.linspace(0, _TIMES - 1, int(settings.get("steps", 25))).round().astype(int)[::-1]
    kept = np.cumprod(1 - np.linspace(_FIRST, _LAST, _TIMES))

    def call(block: np.ndarray, index: int, t: float, clean: bool) -> np.ndarray:
        numbers = {"t": np.float32(t), "clean": np.float32(clean), "index": np.int64(index), LABEL: np.int64(label)}
        feeds = {"block": block.astype(np.float32), **{name: np.array([value]) for name, value in numbers.items()}}
        return np.asarray(next(iter(runner.run(graph.name, feeds).values())), dtype=np.float64)

    runner.reset(1)
    made = []
    for index in range(rows * columns):
        block = seed.standard_normal((1, tokens, channels))
        begun = runner.mark()
        for at, t in enumerate(times):
            noise = call(block, index, float(t), clean=False)
            runner.rewind(begun)  # what is not clean is not looked back at
            after = kept[times[at + 1]] if at + 1 < len(times) else 1.0
            image = (block - np.sqrt(1 - kept[t]) * noise) / np.sqrt(kept[t])
            block = np.sqrt(after) * image + np.sqrt(1 - after) * noise
        made.append(block[0])
        if index + 1 < rows * columns:
            call(block, index, 0.0, clean=True)
    return _joined(np.stack(made), rows, columns)


def _joined(blocks: np.ndarray, rows: int, columns: int) -> np.ndarray:
    """Returns blocks `[N, tokens, C]`, each row by row, as one picture `[1, C, H, W]` in float32."""
    edge = round(blocks.shape[1] ** 0.5)
    grid = blocks.reshape(rows, columns, edge, edge, -1).transpose(4, 0, 2, 1, 3)
    return np.ascontiguousarray(grid.reshape(1, -1, rows * edge, columns * edge), dtype=np.float32)
