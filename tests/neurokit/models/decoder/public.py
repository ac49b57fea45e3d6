"""Decoders that a public library draws, saves and runs: the oracle of `test_transformers.py`."""

from __future__ import annotations

import functools
import re

import numpy as np
import pytest
import torch

SIZES = {
    "vocab_size": 97,
    "hidden_size": 48,
    "intermediate_size": 40,
    "num_hidden_layers": 2,
    "num_attention_heads": 6,
    "num_key_value_heads": 2,
    "max_position_embeddings": 256,
}
LLAMA3 = {
    "rope_type": "llama3",
    "rope_theta": 10000.0,
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 64,
}
LINEAR = {"rope_type": "linear", "rope_theta": 10000.0, "factor": 2.0}
# Equal biases of a dynamic mask are kept by accident of the library, and equal tokens have equal biases in the first
# layer: all tokens of the prompt differ.
PROMPT = np.random.default_rng(0).permutation(np.arange(3, 97))[:37]


@functools.cache
def library():
    """The library, quiet; where it is missing the test fails and says what to install."""
    try:
        import transformers
    except ImportError:
        pytest.fail('transformers is not installed: pip install -e ".[checkpoints]"', pytrace=False)
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    return transformers


def drawn(kind, seed=0, **fields):
    """A model of the library, its weights drawn so that logits are far apart."""
    defaults = {} if kind == "Qwen2" else {"head_dim": 8}  # Qwen2 has no size of heads of its own
    config = getattr(library(), f"{kind}Config")(**{**SIZES, **defaults, **fields})
    model = getattr(library(), f"{kind}ForCausalLM")(config)
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, weight in model.named_parameters():
            noise = torch.randn(weight.shape, generator=generator)
            if weight.dim() > 1:
                weight.copy_(noise if "embed" in name else noise / weight.shape[-1] ** 0.5)
            else:
                weight.copy_(1 + 0.1 * noise if re.search("norm|residual", name) else 0.3 * noise)
    return model


def saved(folder, kind, dtype=torch.float32, shards="5GB", **fields):
    """The folder of a checkpoint as the library writes it."""
    drawn(kind, **fields).to(dtype).save_pretrained(folder, max_shard_size=shards)
    return folder


def reference(folder):
    """The library's model of a checkpoint, in float64."""
    load = library().AutoModelForCausalLM.from_pretrained
    return load(folder, dtype=torch.float32, attn_implementation="eager").double().eval()


def logits_of(model, ids):
    """Logits of every position `[N, vocabulary]` of a text."""
    with torch.no_grad():
        return model(torch.as_tensor(np.asarray(ids)[None])).logits[0].numpy()


def tokens_of(model, ids, count):
    """What the library's own loop writes behind a prompt."""
    given = torch.as_tensor(np.asarray(ids)[None])
    out = model.generate(given, attention_mask=torch.ones_like(given), do_sample=False, max_new_tokens=count)
    return tuple(out[0, given.shape[1] :].tolist())
