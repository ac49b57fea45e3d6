"""A two-layer language model that learns to copy in a minute; a checkpoint for `neurokit heads` and `neurokit score`.

python examples/copy_model.py --out build/copier
neurokit heads build/copier --out build/copier-heads.toml
"""

from __future__ import annotations

import argparse
import json
import math
import time
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors.torch import save_file

from neurokit.models.decoder.config import DecoderConfig
from neurokit.models.decoder.net import Decoder
from neurokit.models.decoder.one_pass import logits_of, streams

CONFIG = DecoderConfig(
    vocabulary=32, width=64, inner=64, layers=2, heads=8, kv_heads=8, head_size=16, longest=512, theta=1e4
)
STEPS, LENGTH, BATCH, RATE = 2000, 32, 32, 5e-3
COPIES = 16  # texts of a batch that repeat a segment


def texts(generator: torch.Generator, count: int = BATCH, length: int = LENGTH) -> torch.Tensor:
    """Draws texts `[count, length]`: the first `COPIES` repeat a segment of random tokens, the others do not."""
    ids = torch.randint(1, CONFIG.vocabulary, (count, length), generator=generator)
    size = int(torch.randint(length // 4, length // 2 + 1, (), generator=generator))
    ids[:COPIES] = ids[:COPIES, :size].repeat(1, -(-length // size))[:, :length]
    return ids


def blank(seed: int) -> Decoder:
    """Returns the untrained network; all embeddings share a component, which heads that look at places live on."""
    torch.manual_seed(seed)
    net = Decoder(CONFIG)
    for name, weight in net.named_parameters():
        if weight.dim() == 2:
            torch.nn.init.normal_(weight, std=1.0 if "embed" in name else weight.shape[1] ** -0.5)
    with torch.no_grad():
        net.model.embed_tokens.weight[:, 0] = 2.0
        net.lm_head.weight.mul_(0.3)
    return net


def train(steps: int = STEPS, seed: int = 0, log: bool = False) -> Decoder:
    """Trains the network and returns it.

    Args:
        steps: Batches of 32 texts of 32 tokens.
        seed: Seed of weights and texts.
        log: Whether the losses are printed.
    """
    net, generator, start = blank(seed), torch.Generator().manual_seed(seed), time.monotonic()
    optimiser = torch.optim.AdamW(net.parameters(), lr=RATE, betas=(0.9, 0.98), weight_decay=0.01)
    for step in range(steps):
        ids = texts(generator)
        for group in optimiser.param_groups:  # a warm-up, then half a cosine down to nothing
            group["lr"] = RATE * min(1.0, (step + 1) / 50) * 0.5 * (1 + math.cos(math.pi * step / steps))
        *_, x = streams(net, ids)
        losses = F.cross_entropy(logits_of(net, x)[:, :-1].transpose(1, 2), ids[:, 1:], reduction="none")
        optimiser.zero_grad(set_to_none=True)
        losses.mean().backward()
        torch.nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        optimiser.step()
        if log and (step + 1) % 200 == 0:
            copied, random = losses[:COPIES, LENGTH // 2 :].mean().item(), losses[COPIES:].mean().item()
            print(f"{time.monotonic() - start:5.1f} s  step {step + 1}  copies {copied:.3f}  random {random:.3f}")
    return net.eval()


def save(net: Decoder, out: Path) -> None:
    """Writes the network as a checkpoint with its public names."""
    out.mkdir(parents=True, exist_ok=True)
    save_file({name: tensor.contiguous() for name, tensor in net.state_dict().items()}, out / "model.safetensors")
    c = net.config
    fields = {
        "model_type": "llama",
        "vocab_size": c.vocabulary,
        "hidden_size": c.width,
        "intermediate_size": c.inner,
        "num_hidden_layers": c.layers,
        "num_attention_heads": c.heads,
        "num_key_value_heads": c.kv_heads,
        "head_dim": c.head_size,
        "max_position_embeddings": c.longest,
        "rms_norm_eps": c.eps,
        "rope_theta": c.theta,
    }
    (out / "config.json").write_text(json.dumps(fields, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=Path("build/copier"))
    parser.add_argument("--steps", type=int, default=STEPS)
    options = parser.parse_args()
    save(train(options.steps, log=True), options.out)
