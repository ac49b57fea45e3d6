"""From clues to vectors: an exported sentence encoder in its runtime, or vectors from a file."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from neurokit import pipeline
from neurokit.artifact import Artifact
from neurokit.errors import UNREADABLE, InputError
from neurokit.plain import check_regular
from neurokit.walls.files import same

# Takes clues and returns one vector each, [N, F].
Encode = Callable[[Sequence[str]], np.ndarray]


def ngrams(text: str, buckets: int, least: int = 3, most: int = 6) -> list[int]:
    """Returns the hashed n-grams of a text: of each word between "<" and ">", without case, and the word itself.

    The hash is FNV-1a of 32 bits over UTF-8, modulo `buckets`; an n-gram that occurs twice is there twice.

    Args:
        text: A word, or several.
        buckets: Rows of the encoder's table.
        least: Smallest number of characters of an n-gram.
        most: Largest number.
    """
    found = []
    for word in text.lower().split():
        marked = f"<{word}>"
        parts = [marked[at : at + n] for n in range(least, most + 1) for at in range(len(marked) - n + 1)]
        found += [_hash(part) % buckets for part in (parts if len(marked) <= most else [*parts, marked])]
    return found


def _hash(text: str) -> int:
    value = 0x811C9DC5
    for byte in text.encode("utf-8", "surrogatepass"):
        value = ((value ^ byte) * 0x01000193) & 0xFFFFFFFF
    return value


def exported_encoder(artifact: Artifact | str | Path, **options: Any) -> Encode:
    """Opens an exported sentence encoder.

    It takes `ids` `[B, L]`, whose n-grams its manifest describes (`model.options["ngrams"]`), and gives one vector a
    sentence. Encoders with a tokenizer of their own run outside; `vectors_from` takes what they give.

    Args:
        artifact: The artifact, or its folder.
        options: Options of the target, such as threads.

    Raises:
        InputError: If it is no such encoder.
    """
    artifact = artifact if isinstance(artifact, Artifact) else Artifact.load(artifact)
    manifest = artifact.manifest
    settings = manifest.model.options.get("ngrams")
    if not isinstance(settings, Mapping) or [port.name for port in manifest.inputs] != ["ids"]:
        raise InputError(
            f"{artifact.path} is no encoder of n-grams",
            expected="input ids, and what its n-grams are in the manifest",
            fix="neurokit export ngram_encoder --target onnx, or --embeddings FILE.npz from any other encoder",
        )
    runner = pipeline.open(artifact, **options)

    def encode(words: Sequence[str]) -> np.ndarray:
        rows = [ngrams(word, **settings) for word in words]
        ids = np.full((len(rows), max(1, *map(len, rows))), -1, np.int64)
        for at, row in enumerate(rows):
            ids[at, : len(row)] = row
        found = runner({"ids": ids})
        return np.asarray(next(iter(found.values())) if isinstance(found, Mapping) else found)

    return encode


def vectors_from(path: str | Path) -> Encode:
    """Reads vectors that any encoder gave: an .npz file with `words` `[N]` and `vectors` `[N, F]`.

    Raises:
        InputError: If the file is something else; later, if a clue has no vector.
    """
    path = Path(path)
    try:
        with np.load(check_regular(path), allow_pickle=False) as file:
            words, vectors = file["words"], np.asarray(file["vectors"], np.float64)
    except UNREADABLE as error:
        raise InputError(
            f"{path} cannot be read: {str(error).splitlines()[0]}", expected=".npz with words and vectors"
        ) from error
    if words.ndim != 1 or words.dtype.kind != "U" or vectors.ndim != 2 or len(words) != len(vectors):
        raise InputError(f"{path} has words {words.shape} and vectors {vectors.shape}", expected="[N] text, [N, F]")
    rows = {same(str(word)): at for at, word in enumerate(words)}

    def encode(asked: Sequence[str]) -> np.ndarray:
        lacking = next((word for word in asked if same(word) not in rows), None)
        if lacking is not None:
            raise InputError(f"{path} has no vector for {lacking!r}", expected="one for every word of the walls")
        return vectors[[rows[same(word)] for word in asked]]

    return encode
