"""Writing texts with an artifact: the Python side of `neurokit run`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from neurokit import pipeline
from neurokit.artifact import Artifact
from neurokit.errors import InputError
from neurokit.tasks.decoding import Continuation, Loop, Sampling, decode


def generate(
    artifact: Artifact | str | Path,
    prompt_ids: Sequence[int] | Sequence[Sequence[int]],
    tokens: int = 16,
    *,
    temperature: float = 0.0,
    top_p: float = 1.0,
    seed: int = 0,
    stop: Sequence[int] | None = None,
    chunk: int | None = None,
    inputs: Mapping[str, Any] | None = None,
    **options: Any,
) -> list[Continuation]:
    """Writes on from prompts with a language model in its step form.

    Args:
        artifact: The artifact, or its folder.
        prompt_ids: Token numbers of one prompt, or of several, which run in one batch.
        tokens: Largest number of new tokens of a text.
        temperature: What logits are divided by; 0 takes the most likely token.
        top_p: Only the most likely tokens whose probabilities together reach this are drawn from.
        seed: Seed of the draws.
        stop: Tokens that end a text; default is what the manifest records.
        chunk: Tokens of a prompt that are fed in one call; default is all.
        inputs: Of a model of more than text: what its first graph takes, by name, a row a prompt: pictures
            `[B, 3, H, W]`.
        options: Options of the target (for ONNX: level, threads, providers, spinning, seed).

    Returns:
        One continuation a prompt.

    Raises:
        InputError: If the artifact keeps no caches or is no language model, or prompts or settings do not fit it.
        ArtifactError: If a file is missing, truncated or changed.
        MissingRuntimeError: If the target's runtime is not installed.
    """
    artifact = artifact if isinstance(artifact, Artifact) else Artifact.load(artifact)
    manifest = artifact.manifest
    settings = manifest.task.settings if manifest.task and manifest.task.name == "generation" else {}
    loop = Loop.of(settings, str(artifact.path))
    if manifest.form != "step":
        raise InputError(
            f"{artifact.path} is of form {manifest.form!r} and keeps no caches",
            expected="the step form",
            fix=f"neurokit export {manifest.model.name} --target onnx-step",
        )
    sampling = Sampling(temperature, top_p, seed)
    with pipeline.open(artifact, **options) as runner:
        return decode(
            runner, loop, _prompts(prompt_ids), tokens, sampling=sampling, stop=stop, chunk=chunk, inputs=inputs
        )


def _prompts(given: Any) -> list[list[int]]:
    rows = given.tolist() if isinstance(given, np.ndarray) else list(given)
    if rows and all(isinstance(row, Sequence | np.ndarray) for row in rows):
        return [list(row) for row in rows]
    return [rows]
