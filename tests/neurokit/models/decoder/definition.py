"""Calibrated attention by its definition in float64, and texts run in parts through modules and artifacts."""

import functools

import numpy as np
import torch

from neurokit.attention.calibration import change_of, weigh
from neurokit.models.decoder.calibrated import CalibratedAttention, view_of


class Defined(CalibratedAttention):
    """The definition in the place of the deployed form: weights, multiplied and divided by their sums."""

    def forward(self, x, tokens, k, v, *kept, stream=None):
        q, new_k, new_v = self.project(x, tokens)
        k, v = tokens.extend(k, new_k), tokens.extend(v, new_v)
        view = view_of(tokens, self.config.heads, k.shape[2], stream)
        view.memory.update((name, tokens.extended(old)) for name, old in zip(self.memories, kept, strict=True))
        shared = self.config.heads // self.config.kv_heads
        scores = (q @ k.repeat_interleave(shared, 1).transpose(-1, -2)) / self.config.head_size**0.5
        weights = scores.masked_fill(~view.visible, float("-inf")).softmax(-1)
        for method in self.methods:
            if method.heads_in(self.layer) == ():
                method.remember(view, weights, self.layer)
            else:
                weights = weigh(weights, change_of(method, view, weights, self.layer))
        out = self.joined(weights @ v.repeat_interleave(shared, 1))
        return out, k, v, *(view.memory[name] for name in self.memories)


def by_definition(spec):
    """A spec's module that computes by the definition, in float64."""
    module = spec.build().double()
    for layer in module.trunk.layers:
        if isinstance(layer.self_attn, CalibratedAttention):
            layer.self_attn.__class__ = Defined
    return module


def run_module(module, ids, cuts, *inputs):
    """Logits of texts in parts."""
    states = [
        torch.zeros(len(ids), *(0 if not isinstance(size, int) else size for size in state.shape)).to(
            torch.int64 if state.dtype == "int64" else torch.float64
        )
        for state in module.states
    ]
    rows = []
    with torch.no_grad():
        for part in np.split(ids, cuts, 1):
            found = module(torch.from_numpy(np.ascontiguousarray(part)), *inputs, *states)
            rows.append(found["logits"])
            states = [found[state.name] for state in module.states]
    return torch.cat(rows, 1).numpy()


def run_artifact(runner, ids, cuts, **first):
    """Logits of texts in parts; of several graphs behind one that runs once (name=its inputs), by the graph `text`."""
    runner.reset(len(ids))
    for graph, feeds in first.items():
        runner.run(graph, feeds)
    call = functools.partial(runner.run, "text") if first else runner.step
    return np.concatenate([call({"ids": part})["logits"] for part in np.split(ids, cuts, 1)], 1)
