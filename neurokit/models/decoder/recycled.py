"""A decoder that recycles attention: a full graph and a partial one over the keys that the full one found important."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from neurokit.attention.choose import largest
from neurokit.attention.patterns.recycled import Recycled
from neurokit.dims import Dim
from neurokit.errors import InputError
from neurokit.models.decoder.attention import Attention
from neurokit.models.decoder.config import DecoderConfig
from neurokit.models.decoder.mixing import FLOAT, projections, token_work
from neurokit.models.decoder.net import Decoder, Layer
from neurokit.models.decoder.tokens import Tokens
from neurokit.spec import GraphSpec, ModelSpec, StateSpec, TaskSpec, TensorSpec, TokenWork

FULL, PARTIAL = "full", "partial"
_COMPARED = ("query", "near")  # states of a schedule that compares queries


class RecycledAttention(Attention):
    """Attention whose partial step reads the set of keys that the last full step chose (`patterns/recycled.py`)."""

    def __init__(self, config: DecoderConfig, recycled: Recycled) -> None:
        super().__init__(config)
        self.recycled = recycled
        self.partial = False

    def forward(  # type: ignore[override]
        self, x: Tensor, tokens: Tokens, k: Tensor, v: Tensor, chosen: Tensor, *compared: Tensor
    ) -> tuple[Tensor, ...]:
        """Attends from the new tokens.

        Args:
            x: Normalised stream `[B, S, width]`.
            tokens: Where the new tokens stand.
            k: Keys of the past `[B, Hk, P, D]`.
            v: Values of the past.
            chosen: Entries of the small cache, the first to leave first, -1 for none, int64 `[B, Hk, K]`.
            compared: Of a schedule that compares queries, the mean query of the last full step `[B, D]`, and the cosine
                of the last token's with it `[B]`, which is not read.

        Returns:
            Output, keys, values and the set after the call; then what is compared.
        """
        q, new_k, new_v = self.project(x, tokens)
        k, v = tokens.extend(k, new_k), tokens.extend(v, new_v)
        query = q[:, :, -1].mean(1)
        if not self.partial:
            # What an earlier set was does not count; nor do an earlier query and its cosine.
            after = (query + 0 * compared[0], cosine(query, query) + 0 * compared[1]) if compared else ()
            return self.attend(q, k, v, tokens.visible), k, v, self.choose(q, k, tokens) + 0 * chosen, *after
        own = torch.zeros_like(chosen[..., :1]) + (k.shape[2] - 1)
        used = torch.cat([chosen, own], -1)
        after = (compared[0] + 0, cosine(query, compared[0]) + 0 * compared[1]) if compared else ()
        return self.attend_to(q, k, v, used), k, v, used[..., 1:], *after

    def choose(self, q: Tensor, k: Tensor, tokens: Tokens) -> Tensor:
        """Returns the set that the last query chooses, `[B, Hk, K]`."""
        assert tokens.visible is not None
        groups, count, pool = k.shape[1], self.recycled.count, self.recycled.pool
        last = q[:, :, -1].reshape(q.shape[0], groups, -1, q.shape[-1])
        seen = tokens.visible[:, :, -1:]
        scores = (last @ k.transpose(-1, -2) * q.shape[-1] ** -0.5).masked_fill(~seen, float("-inf"))
        weights = scores.softmax(-1).amax(2)
        weights = pooled(weights, pool)
        weights = weights.masked_fill(~seen[:, :, 0], float("-inf"))
        # As many more as there may be too few.
        weights = torch.cat([weights, weights.new_full((*weights.shape[:2], count), float("-inf"))], -1)
        order = largest(weights, count)
        there = weights.gather(-1, order) > float("-inf")
        return torch.where(there, order, -1).flip(-1)

    def attend_to(self, q: Tensor, k: Tensor, v: Tensor, used: Tensor) -> Tensor:
        """Attends from one token to some entries `[B, Hk, n]`; -1 is none."""
        batch, groups, length, width = k.shape
        row = torch.arange(batch * groups, device=k.device).view(batch, groups, 1) * length
        flat = (used.clamp_min(0) + row).flatten()
        k, v = (x.reshape(batch * groups * length, width)[flat].view(batch, groups, -1, width) for x in (k, v))
        mask = (used >= 0).repeat_interleave(q.shape[1] // groups, 1)[:, :, None]
        return self.attend(q, k, v, mask)


def cosine(a: Tensor, b: Tensor) -> Tensor:
    """Returns the cosine of vectors `[B, D]`, `[B]`."""
    sizes = (a * a).sum(-1).sqrt() * (b * b).sum(-1).sqrt()
    return (a * b).sum(-1) / sizes.clamp_min(1e-8)


def pooled(x: Tensor, pool: int) -> Tensor:
    """Returns the maximum over `pool` places around each of the last axis, `[B, Hk, T]`.

    By slices, because torch's own operation fixes T where it is captured.
    """
    length, edge = x.shape[-1], x.new_full((*x.shape[:-1], pool // 2), float("-inf"))
    wide = torch.cat([edge, x, edge], -1)
    for shift in range(pool):
        x = torch.maximum(x, wide[..., shift : shift + length])
    return x


class RecycledDecoder(Decoder):
    """A decoder with two functions: `full` takes any tokens, `partial` one token that reads the small caches.

    Args:
        config: Its sizes; all layers are dense.
        recycled: Sizes of the small caches.
    """

    def __init__(self, config: DecoderConfig, recycled: Recycled) -> None:
        super().__init__(config)
        self.recycled = recycled
        for layer in self.model.layers:
            assert isinstance(layer, Layer)
            layer.self_attn = RecycledAttention(config, recycled)
        self.states = recycled_states(config, recycled)

    def layer_states(self, at: int) -> list[str]:
        """Returns the names of what a layer keeps."""
        return [f"{name}{at}" for name in ("k", "v", "set", *_COMPARED[: 2 * bool(self.recycled.check_every)])]

    def full(self, ids: Tensor, *states: Tensor) -> dict[str, Tensor]:
        """Attends to all tokens, and chooses the small caches anew; as `Decoder.forward`."""
        return self._run(False, ids, states)

    def partial(self, ids: Tensor, *states: Tensor) -> dict[str, Tensor]:
        """Attends from one token a text to the small caches and itself; as `Decoder.forward`."""
        return self._run(True, ids, states)

    def _run(self, partial: bool, ids: Tensor, states: tuple[Tensor, ...]) -> dict[str, Tensor]:
        for layer in self.model.layers:
            layer.self_attn.partial = partial  # type: ignore[union-attr]
        return self.forward(ids, *states)


def recycled_states(config: DecoderConfig, recycled: Recycled) -> tuple[StateSpec, ...]:
    """Returns what the decoder keeps: padding, and for each layer keys, values and the entries of its small cache."""
    new = Dim("P", min=0, max=config.longest)
    kept = [StateSpec("padding", (), "int64", "")]
    for at in range(config.layers):
        shape = (config.kv_heads, new, config.head_size)
        kept += [StateSpec(f"{name}{at}", shape, layout="HLF", grows={"P": "P+S"}) for name in "kv"]
        kept.append(StateSpec(f"set{at}", (config.kv_heads, recycled.count), "int64", "HF", init=-1.0))
        if recycled.check_every:
            query, near = (f"{name}{at}" for name in _COMPARED)
            kept += [StateSpec(query, (config.head_size,), layout="F"), StateSpec(near, (), layout="")]
    return tuple(kept)


def recycled_spec(
    name: str, config: DecoderConfig, fill: Callable[[nn.Module], nn.Module], recycled: Recycled, description: str = ""
) -> ModelSpec:
    """Returns the specification of a decoder that recycles attention: two graphs, whose states are the same.

    Args:
        name: Name of the model.
        config: Its sizes, all layers dense.
        fill: Gives the module its weights.
        recycled: Sizes of the small caches, and every how many steps one is full.
        description: One line for listings.

    Raises:
        InputError: If a layer is not dense, caches are fixed, or no step would ever be full again.
    """
    if set(config.mixers) - {"dense"} or config.cache is not None:
        raise InputError(f"mixers {config.mixers}, cache {config.cache}", expected="dense layers with growing caches")
    if not (recycled.check_every or recycled.every):
        raise InputError("every=0, check_every=0", expected="one of them at least 1: a prompt alone would be full")

    def build() -> nn.Module:
        with torch.random.fork_rng(devices=[]):  # what the layers draw is overwritten, and the caller's numbers stay
            module = RecycledDecoder(config, recycled)
        return fill(module).eval()

    return ModelSpec(
        name,
        build,
        description=description or "decoder that recycles attention",
        source="Recycled Attention (arXiv 2411.05787), on a decoder in Llama's form",
        task=TaskSpec("generation", _loop(config, recycled)),
        graphs=(_graph(config, recycled, FULL), _graph(config, recycled, PARTIAL)),
        token_work=lambda before: recycled_work(config, recycled, before),
    )


def _graph(config: DecoderConfig, recycled: Recycled, name: str) -> GraphSpec:
    from neurokit.models.decoder import example_of

    new: Dim | int = Dim("S", max=config.longest) if name == FULL else 1
    states = recycled_states(config, recycled)
    if name == PARTIAL:
        states = tuple(replace(s, grows={"P": "P+1"}) if s.grows else s for s in states)
    return GraphSpec(
        name,
        (TensorSpec("ids", (new,), "int64", "L", high=config.vocabulary - 1, meaning="tokens; -1 is padding, left"),),
        (TensorSpec("logits", (new, config.vocabulary), layout="LF", meaning="of the token after each token"),),
        states,
        method=name,
        example=example_of(config.vocabulary) if name == FULL else example_of(config.vocabulary, 1),
    )


def _loop(config: DecoderConfig, recycled: Recycled) -> Mapping[str, Any]:
    from neurokit.models.decoder import loop_of

    said = {**loop_of(config), "full": FULL, "partial": PARTIAL, "every": recycled.every}
    if recycled.check_every:
        near = [f"{_COMPARED[1]}{at}" for at in range(config.layers)]
        said |= {"check_every": recycled.check_every, "threshold": recycled.threshold, "near": near}
    return said


def recycled_work(config: DecoderConfig, recycled: Recycled, before: int) -> tuple[TokenWork, ...]:
    """Returns what a partial step behind `before` tokens costs: K + 1 keys and values of each layer.

    A full step is the dense decoder's, and one of `every` steps is full.
    """
    kept, row = min(recycled.count, before), config.kv_heads * config.head_size * FLOAT
    pairs = config.heads * (kept + 1)
    products = 2 * config.head_size * pairs
    layers = [
        TokenWork(f"mixer {at}", "recycled", pairs, products, projections(config), 2 * row * kept, 2 * row)
        for at in range(config.layers)
    ]
    return (*layers, *token_work(config, before)[config.layers :])
