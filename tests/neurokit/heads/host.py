"""The network that the oracles ran on, in float64 with the roundings of the library that they came from."""

import json
from pathlib import Path

import numpy as np
import torch

from neurokit.models.decoder import TINY_LM, decoder_spec
from neurokit.models.decoder.drawn import fill
from neurokit.models.decoder.layers import RMSNorm
from neurokit.models.decoder.net import Decoder

DATA = Path(__file__).parents[2] / "data" / "attention_tools"
PROMPT = np.random.RandomState(0).randint(3, 256, 37).tolist()


def read(name):
    return json.loads((DATA / f"{name}.json").read_text())


class LibraryNorm(RMSNorm):
    """transformers' LlamaRMSNorm, which normalises in float32 whatever the type of the network."""

    def forward(self, x):
        wide = x.float()
        return self.weight * (wide * torch.rsqrt(wide.pow(2).mean(-1, keepdim=True) + self.eps)).to(x.dtype)


def as_library(net):
    """Gives a network the library's roundings: norms, rotary frequencies and tables in float32."""
    for part in net.modules():
        if type(part) is RMSNorm:
            part.__class__ = LibraryNorm
    size = net.config.head_size
    net.inverse_frequencies = 1.0 / (net.config.theta ** (torch.arange(0, size, 2).float() / size))
    return net


def drawn(config=TINY_LM):
    """Weights by the rule of the oracles, not rounded to float32."""
    return fill(Decoder(config).double()).eval()


def spec_in_float64():
    return decoder_spec("tiny_lm", TINY_LM, lambda config: drawn(config))
