"""Speed of the attention tools beside their opponents; `python benchmarks/attention_tools.py --out FILE`.

Score: tokens a second of `influence` in torch and of its exported graph, and of a plain forward pass with its loss,
on the same texts, in turns on one thread. Walls: seconds of one exact clustering on one core, and of
k-means-constrained (if installed).
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

import neurokit as nk
from neurokit.data.documents import Document
from neurokit.heads.influence import GraphScoring, TorchScoring, influence
from neurokit.models.decoder import decoder_spec
from neurokit.models.decoder.config import DecoderConfig
from neurokit.models.decoder.drawn import fill
from neurokit.models.decoder.net import Decoder
from neurokit.walls.clustering import cluster, objective

SIZES = {"vocabulary": 2048, "width": 256, "inner": 704, "layers": 4, "heads": 8, "kv_heads": 4, "head_size": 32}
MASKED = {2: [1, 3]}
REPEATS = 9


def in_turns(plain: Callable[[], object], scored: Callable[[], object], tokens: int) -> dict[str, float]:
    """Returns tokens a second of both, and the median ratio of turns, by CPU seconds of one thread."""
    taken: dict[str, list[float]] = {"plain": [], "score": []}
    for turn in range(REPEATS + 1):
        for name, work in (("plain", plain), ("score", scored)):
            start = time.process_time()
            work()
            if turn:  # the first one allocates
                taken[name].append(time.process_time() - start)
    share = statistics.median(a / b for a, b in zip(taken["plain"], taken["score"], strict=True))
    return {name: tokens / statistics.median(each) for name, each in taken.items()} | {"share": share}


def score() -> dict[str, dict[str, float]]:
    config = DecoderConfig(**SIZES, longest=512)
    spec = decoder_spec("bench", config, lambda c: fill(Decoder(c)).eval())
    draw = np.random.default_rng(0)
    texts = [Document(tuple(draw.integers(0, config.vocabulary, 256).tolist()), str(at)) for at in range(8)]
    tokens = sum(len(text.ids) for text in texts)
    opened, net = TorchScoring(spec), spec.build()
    ids = torch.tensor([text.ids for text in texts])
    states = [torch.zeros([8, *(s if isinstance(s, int) else 0 for s in state.sizes)]) for state in net.states]
    states[0] = states[0].long()

    def plain() -> torch.Tensor:
        with torch.no_grad():
            logits = net(ids, *states)["logits"]
            return torch.nn.functional.cross_entropy(logits[:, :-1].transpose(1, 2), ids[:, 1:])

    found = {"torch": in_turns(plain, lambda: influence(opened, texts, MASKED), tokens)}
    with tempfile.TemporaryDirectory() as folder:
        plain_graph = nk.lower(nk.capture(spec), "onnx-step", Path(folder) / "p", verified=False)
        graph = nk.lower(nk.capture(spec, transforms=["head_mask"]), "onnx", Path(folder) / "s", verified=False)
        runner = nk.open(plain_graph, threads=1)
        scorer = GraphScoring(graph, threads=1)

        def step() -> object:
            runner.reset(8)
            return runner.step({"ids": ids.numpy()})

        found["graph"] = in_turns(step, lambda: influence(scorer, texts, MASKED), tokens)
    return found


def walls(count: int = 20) -> dict[str, float | None]:
    points = [np.random.default_rng(seed).normal(size=(16, 64)) for seed in range(count)]
    cluster(points[0])
    start = time.perf_counter()
    ours = [cluster(one) for one in points]
    found: dict[str, float | None] = {"exact_s": (time.perf_counter() - start) / count, "walls": count}
    try:
        from k_means_constrained import KMeansConstrained
    except ImportError:
        return found
    start, worse, better = time.perf_counter(), 0, 0
    for one, best in zip(points, ours, strict=True):
        made = KMeansConstrained(n_clusters=4, size_min=4, size_max=4, random_state=0).fit(one).labels_
        squared = ((one[:, None] - one) ** 2).sum(-1)
        theirs = objective(squared, [np.flatnonzero(made == label).tolist() for label in range(4)])
        worse += theirs > best.objective * (1 + 1e-9)
        better += theirs < best.objective * (1 - 1e-9)
    found |= {"k_means_constrained_s": (time.perf_counter() - start) / count}
    return found | {"k_means_constrained_worse": worse, "k_means_constrained_better": better}


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(1)
    said = {"walls": walls(), "score_tokens_a_cpu_second": score()}
    text = json.dumps(said, indent=1) + "\n"
    print(text, end="")
    if options.out:
        options.out.write_text(text, encoding="utf-8")
