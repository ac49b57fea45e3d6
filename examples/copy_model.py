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
    vocabulary=64, width=64, inner=64, layers=2, heads=8, kv_heads=8, head_size=16, longest=512, theta=1e4
)
SECONDS = 55.0
LENGTH, BATCH = 64, 32


def texts(generator: torch.Generator, count: int = BATCH, length: int = LENGTH) -> torch.Tensor:
    """Draws texts `[count, length]`: every second one repeats a segment of random tokens, the others never do."""
    ids = torch.randint(1, CONFIG.vocabulary, (count, length), generator=generator)
    for row in ids[::2]:
        size = int(torch.randint(8, length // 2 + 1, (), generator=generator))
        row[:] = row[:size].repeat(-(-length // size))[:length]
    return ids


def train(seconds: float = SECONDS, seed: int = 0, log: bool = False) -> Decoder:
    """Trains for at most so many seconds of wall time, or until copies are predicted, and returns the network.

    Args:
        seconds: When it stops at the latest.
        seed: Seed of weights and texts.
        log: Whether the losses are printed.
    """
    torch.manual_seed(seed)
    net, generator = Decoder(CONFIG), torch.Generator().manual_seed(seed)
    for name, weight in net.named_parameters():
        if weight.dim() == 2:
            torch.nn.init.normal_(weight, std=1.0 if "embed" in name else weight.shape[1] ** -0.5)
    optimiser = torch.optim.AdamW(net.parameters(), lr=3e-3, betas=(0.9, 0.95), weight_decay=0.01)
    start, step = time.monotonic(), 0
    while (share := (time.monotonic() - start) / seconds) < 1:
        ids = texts(generator)
        for group in optimiser.param_groups:  # a warm-up, then down to nothing as the time runs out
            group["lr"] = 3e-3 * min(1.0, (step + 1) / 50) * 0.5 * (1 + math.cos(math.pi * share))
        *_, x = streams(net, ids)
        losses = F.cross_entropy(logits_of(net, x)[:, :-1].transpose(1, 2), ids[:, 1:], reduction="none")
        optimiser.zero_grad(set_to_none=True)
        losses.mean().backward()
        torch.nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        optimiser.step()
        step += 1
        if log and step % 100 == 0:
            copied, random = losses[::2, LENGTH // 2 :].mean().item(), losses[1::2].mean().item()
            print(f"{time.monotonic() - start:5.1f} s  step {step}  copies {copied:.3f}  random {random:.3f}")
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
    parser.add_argument("--seconds", type=float, default=SECONDS)
    options = parser.parse_args()
    save(train(options.seconds, log=True), options.out)
