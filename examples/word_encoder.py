"""A small sentence encoder that learns meaning from texts in seconds, and walls that spelling cannot solve.

python examples/word_encoder.py --out build/words
neurokit export examples/word_encoder.py:encoder --target onnx --out build/words/encoder
neurokit walls build/words/walls.json --encoder build/words/encoder

The texts are made here: made-up words of drawn spelling belong to topics, and a sentence is words of one topic. Words
that occur together come near each other (skip-gram, with the other sentences of a batch as negatives); nothing else
tells a topic, so an untrained encoder solves no wall.
"""

from __future__ import annotations

import argparse
import json
import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file
from torch import Tensor

import neurokit as nk
from neurokit.spec import ModelSpec
from neurokit.walls.encoder import ngrams
from neurokit.walls.files import Wall

TOPICS, WORDS, SENTENCE = 24, 8, 5
STEPS, BATCH, RATE, HEAT = 250, 96, 0.02, 0.1
FOLDER = "WORD_ENCODER"  # environment variable: where `encoder` reads the trained table


def lexicon(seed: int = 0) -> list[list[str]]:
    """Draws words of two to four syllables, all different, by topic `[TOPICS][WORDS]`."""
    draw, seen = np.random.default_rng(seed), set()
    while len(seen) < TOPICS * WORDS:
        letters = [draw.choice(list("bcdfghjklmnprstvwz"), 4), draw.choice(list("aeiou"), 4)]
        seen.add("".join(a + b for a, b in zip(*letters, strict=True))[: 2 * int(draw.integers(2, 5))])
    words = draw.permutation(sorted(seen)).tolist()
    return [words[at * WORDS : (at + 1) * WORDS] for at in range(TOPICS)]


def rows_of(words: list[str], settings: dict[str, int]) -> Tensor:
    """Returns the n-grams of words, `[N, L]`, -1 where a word has fewer."""
    rows = [ngrams(word, **settings) for word in words]
    return torch.tensor([row + [-1] * (max(map(len, rows)) - len(row)) for row in rows])


def train(steps: int = STEPS, seed: int = 0) -> torch.nn.Module:
    """Trains the table of `ngram_encoder` on drawn sentences, and returns the encoder."""
    spec = nk.load("ngram_encoder")
    net, draw = spec.build().train(), torch.Generator().manual_seed(seed)
    rows = rows_of([word for topic in lexicon(seed) for word in topic], spec.options["ngrams"])
    optimiser = torch.optim.Adam(net.parameters(), lr=RATE)
    for _ in range(steps):
        topics = torch.randint(TOPICS, (BATCH,), generator=draw)
        sentence = torch.rand(BATCH, WORDS, generator=draw).argsort(1)[:, :SENTENCE] + WORDS * topics[:, None]
        word = net(rows[sentence[:, 0]])["embedding"]
        beside = F.normalize(net(rows[sentence[:, 1:].flatten()])["embedding"].view(BATCH, SENTENCE - 1, -1).mean(1))
        optimiser.zero_grad(set_to_none=True)
        F.cross_entropy(word @ beside.T / HEAT, torch.arange(BATCH)).backward()
        optimiser.step()
    return net.eval()


def walls(count: int, seed: int = 1) -> list[Wall]:
    """Draws walls: four words of each of four topics, in any order."""
    draw, topics, found = np.random.default_rng(seed), lexicon(), []
    for number in range(count):
        chosen = draw.choice(TOPICS, 4, replace=False)
        groups = tuple(tuple(draw.choice(topics[at], 4, replace=False).tolist()) for at in chosen)
        shown = draw.permutation([word for group in groups for word in group]).tolist()
        found.append(Wall(f"topics{number}", tuple(shown), groups, tuple(f"topic {at}" for at in chosen)))
    return found


def encoder() -> ModelSpec:
    """Returns the trained encoder as a specification; a factory for `neurokit export FILE:encoder`."""
    place = Path(os.environ.get(FOLDER, "build/words")) / "encoder.safetensors"

    def build() -> torch.nn.Module:
        net = spec.build()
        net.load_state_dict(load_file(place))
        return net.eval()

    spec = nk.load("ngram_encoder")
    return replace(spec, name="word_encoder", build=build, description="n-gram encoder, trained on made-up topics")


def save(net: torch.nn.Module, out: Path, count: int = 100) -> None:
    """Writes the trained table, and walls in the published JSON."""
    out.mkdir(parents=True, exist_ok=True)
    save_file({name: tensor.contiguous() for name, tensor in net.state_dict().items()}, out / "encoder.safetensors")
    rows = []
    for wall in walls(count):
        groups = {
            f"group_{at + 1}": {"gt_words": list(words), "gt_connection": name}
            for at, (words, name) in enumerate(zip(wall.groups, wall.connections, strict=True))
        }
        rows.append({"wall_id": wall.name, "words": list(wall.words), "groups": groups})
    (out / "walls.json").write_text(json.dumps({"dataset": rows}, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("build/words"))
    parser.add_argument("--steps", type=int, default=STEPS)
    options = parser.parse_args()
    save(train(options.steps), options.out)
