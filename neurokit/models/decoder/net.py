"""A decoder language model over caches that the caller keeps; its parameters carry their public names."""

from __future__ import annotations

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from neurokit.dims import Dim
from neurokit.models.decoder.config import DecoderConfig
from neurokit.models.decoder.layers import MLP, RMSNorm
from neurokit.models.decoder.mixing import layer_states, mixer_named, shared_memories, states_of
from neurokit.models.decoder.rotary import frequencies
from neurokit.models.decoder.tokens import Tokens, locate


class Layer(nn.Module):
    """A token mixer and an MLP, each behind a norm and beside the residual stream."""

    def __init__(self, config: DecoderConfig, at: int) -> None:
        super().__init__()
        self.self_attn = mixer_named(config.mixer(at)).build(config, at)
        self.mlp = MLP(config)
        self.input_layernorm = RMSNorm(config.width, config.eps, config.norm_weight)
        self.post_attention_layernorm = RMSNorm(config.width, config.eps, config.norm_weight)
        if config.residual_weight:
            self.input_residual = nn.Parameter(torch.ones(config.width))
            self.post_attention_residual = nn.Parameter(torch.ones(config.width))
        self.weighted = config.residual_weight
        self.looks_at_stream = getattr(self.self_attn, "looks_at_stream", False)

    def forward(self, x: Tensor, tokens: Tokens, *states: Tensor) -> tuple[Tensor, ...]:
        """Returns the stream `[B, S, width]` and the layer's new states."""
        stream = {"stream": x} if self.looks_at_stream else {}
        mixed, *states_after = self.self_attn(self.input_layernorm(x), tokens, *states, **stream)
        x = (x * self.input_residual if self.weighted else x) + mixed
        added = self.mlp(self.post_attention_layernorm(x))
        return ((x * self.post_attention_residual if self.weighted else x) + added, *states_after)


class Trunk(nn.Module):
    """Embedding, layers and last norm; a module of its own for the sake of the public names."""

    def __init__(self, config: DecoderConfig) -> None:
        super().__init__()
        self.embed_tokens = nn.Embedding(config.vocabulary, config.width)
        self.layers = nn.ModuleList(Layer(config, at) for at in range(config.layers))
        self.norm = RMSNorm(config.width, config.eps, config.norm_weight)


class Decoder(nn.Module):
    """A decoder whose states are arguments and results; the equations are in the README beside this file.

    Args:
        config: Its sizes.
    """

    inverse_frequencies: Tensor

    def __init__(self, config: DecoderConfig) -> None:
        super().__init__()
        self.config = config
        self.states = states_of(config)
        self.shared = [state.name for state in shared_memories(config, Dim("P"))]
        self.model = Trunk(config)
        if not config.tied:
            self.lm_head = nn.Linear(config.width, config.vocabulary, bias=False)
        self.compute()

    def compute(self) -> None:
        """Sets what follows from the configuration."""
        self.register_buffer("inverse_frequencies", frequencies(self.config), persistent=False)

    def forward(self, ids: Tensor, *given: Tensor) -> dict[str, Tensor]:
        """Computes the logits of the token after each new token.

        Args:
            ids: New tokens `[B, S]`; -1 is padding, which only stands to the left of a row's tokens.
            given: Further inputs of a model of more than text; then what the call before returned, in the order of
                `states_of`.

        Returns:
            "logits" `[B, S, vocabulary]`, and the new states by name.
        """
        further = len(given) - len(self.states)
        states = dict(zip((state.name for state in self.states), given[further:], strict=True))
        tokens, after = self._locate(ids, states)
        x = self.embed(ids, tokens, *given[:further])
        for at, layer in enumerate(self.trunk.layers):
            names = self.layer_states(at)
            x, *new = layer(x, tokens, *(states[name] for name in names))
            after.update(zip(names, new, strict=True))
        after.update((name, tokens.shared[name]) for name in self.shared)
        x = self.trunk.norm(x)
        logits = F.linear(x, self.trunk.embed_tokens.weight) if self.config.tied else self.lm_head(x)
        return {"logits": logits, **after}

    def _locate(self, ids: Tensor, states: Mapping[str, Tensor]) -> tuple[Tokens, dict[str, Tensor]]:
        """Returns where the new tokens stand, and the states that count."""
        padding = states["padding"] + (ids < 0).sum(1)
        after = {"padding": padding}
        if "length" in states:
            after["length"] = states["length"] + ids.shape[1]
        growing = next((states[state.name] for state in self.states if state.grows), None)
        past = None if growing is None else growing.shape[2]
        tokens = locate(ids, padding, self.inverse_frequencies, past, states.get("length"), self._entries())
        tokens.shared.update((name, tokens.extended(states[name])) for name in self.shared)
        if "image" in states:
            visual = (ids == self.config.image_token)[:, None].to(states["image"].dtype)
            tokens.shared["image"] = tokens.extend(states["image"], visual)
        return tokens, after

    @property
    def trunk(self) -> Trunk:
        """Embedding, layers and last norm, wherever their public names put them."""
        return self.model

    def embed(self, ids: Tensor, tokens: Tokens, *inputs: Tensor) -> Tensor:
        """Returns what enters the first layer `[B, S, width]`; a model of more than text has further inputs."""
        return self.trunk.embed_tokens(ids.clamp_min(0))

    def layer_states(self, at: int) -> list[str]:
        """Returns the names of what a layer keeps."""
        return [state.name for state in layer_states(self.config, at, Dim("P"))]

    def _entries(self) -> int | None:
        """Returns the entries of caches of fixed size, if there are any."""
        fixed = self.config.cache is not None and any(state.layout.startswith("HL") for state in self.states)
        return self.config.cache if fixed else None


def blank(config: DecoderConfig) -> Decoder:
    """Returns a decoder whose parameters are all zero, in memory that is taken only as it is written."""
    with torch.device("meta"):
        module = Decoder(config)
    module.load_state_dict({name: torch.zeros(x.shape) for name, x in module.state_dict().items()}, assign=True)
    for part in module.modules():
        if hasattr(part, "compute"):
            part.compute()
    return module.eval()
