"""Speed of the attention tools beside their opponents; `python benchmarks/attention_tools.py --out FILE`.

Score: tokens a second of `influence` in torch and of its exported graph, and of a plain forward pass with its loss,
on the same texts. Walls: seconds of one exact clustering on one core, and of k-means-constrained (if installed).
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
from neurokit.heads.documents import Document
from neurokit.heads.influence import GraphScoring, TorchScoring, influence
from neurokit.models.decoder import decoder_spec
from neurokit.models.decoder.config import DecoderConfig
from neurokit.models.decoder.drawn import fill
from neurokit.models.decoder.net import Decoder
from neurokit.walls.clustering import cluster, objective

SIZES = {"vocabulary": 2048, "width": 256, "inner": 704, "layers": 4, "heads": 8, "kv_heads": 4, "head_size": 32}
MASKED = {2: [1, 3]}
REPEATS = 5


def median_s(work: Callable[[], object], repeats: int = REPEATS) -> float:
    work()
    taken = []
    for _ in range(repeats):
        start = time.perf_counter()
        work()
        taken.append(time.perf_counter() - start)
    return statistics.median(taken)


def score() -> dict[str, float]:
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

    found = {"plain_torch": tokens / median_s(plain)}
    found["score_torch"] = tokens / median_s(lambda: influence(opened, texts, MASKED))
    with tempfile.TemporaryDirectory() as folder:
        plain_graph = nk.lower(nk.capture(spec), "onnx-step", Path(folder) / "p", verified=False)
        graph = nk.lower(nk.capture(spec, transforms=["head_mask"]), "onnx", Path(folder) / "s", verified=False)
        runner = nk.open(plain_graph, threads=1)
        scorer = GraphScoring(graph, threads=1)

        def step() -> object:
            runner.reset(8)
            return runner.step({"ids": ids.numpy()})

        found["plain_graph"] = tokens / median_s(step)
        found["score_graph"] = tokens / median_s(lambda: influence(scorer, texts, MASKED))
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
    said = {"walls": walls(), "tokens_a_second": score()}
    rates = said["tokens_a_second"]
    said["share_of_plain"] = {kind: rates[f"score_{kind}"] / rates[f"plain_{kind}"] for kind in ("torch", "graph")}
    text = json.dumps(said, indent=1) + "\n"
    print(text, end="")
    if options.out:
        options.out.write_text(text, encoding="utf-8")
