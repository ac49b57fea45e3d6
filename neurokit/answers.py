"""What an artifact says of samples: the Python side of `neurokit run DIR FILE...`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from neurokit import pipeline, stuck
from neurokit.answering import Answering
from neurokit.artifact import Artifact


def answer(
    artifact: Artifact | str | Path,
    samples: Sequence[Any],
    *,
    seed: int = 0,
    out: str | Path | None = None,
    **options: Any,
) -> list[Any]:
    """Runs samples one by one and returns what the model's task makes of each.

    Args:
        artifact: The artifact, or its folder.
        samples: Of a model with one input: what its task takes (path or array of an image), or an array of the input's
            own shape, over time with T in front; a .npy file holds such an array. Of a model with several inputs:
            mappings of names to arrays, .npz files that hold them, or .json files (see `neurokit.data.json_samples`),
            also of dialogues. Random inputs may be left away.
        seed: Of the stream that random inputs are drawn from, sample after sample.
        out: Folder for what the task writes of each sample, such as `NAME_mask.png` of a picture; None writes none.
        options: Options of the target (for ONNX: level, threads, providers, spinning, seed).

    Returns:
        One JSON value a sample, in the words of the task (`neurokit list tasks`); a model that names no task is taken
        for a classifier. Where a file was written, its path stands there as "saved"; what a reader should know of a
        sample, as "note".

    Raises:
        InputError: If a sample is none of these.
        ArtifactError: If a file is missing, truncated or changed.
        MissingRuntimeError: If the target's runtime is not installed.
    """
    artifact = artifact if isinstance(artifact, Artifact) else Artifact.load(artifact)
    asked = Answering(artifact, samples, seed, out)
    with stuck.allowing(artifact), pipeline.open(artifact, **options) as runner:
        return asked.by(runner)


def cosines(answers: Sequence[Any]) -> list[dict[str, Any]]:
    """Returns how alike every two of the answers of a verification model are.

    Args:
        answers: What `answer` returned: embeddings of unit length.

    Returns:
        For every pair its places in the list and the cosine, from -1 to 1; its distance is 1 - cosine.
    """
    each = [np.asarray(said["embedding"]) for said in answers]
    return [
        {"pair": [a, b], "cosine": float(each[a] @ each[b]), "distance": 1 - float(each[a] @ each[b])}
        for a in range(len(each))
        for b in range(a + 1, len(each))
    ]
