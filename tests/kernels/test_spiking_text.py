"""The spiking language model, its matrices and thresholds in the fused kernel: the definition's spikes and logits."""

import numpy as np
import pytest
import torch

import neurokit as nk
from neurokit.attention.linear import linear_attention
from neurokit.hw_sim.trace.spiking_text import spikes_of
from neurokit.kernels import spike_linear_lif
from neurokit.models.decoder.spiking import GRID

IDS = np.random.default_rng(3).integers(0, 256, (1, 24))


def product(spikes, linear, x=None):
    """Spikes and float32 currents of weights in whole sixteenths, int8, by one step of an IF neuron."""
    whole = (linear.weight * GRID).round().to(torch.int8)
    assert torch.equal(whole.float() / GRID, linear.weight)
    scale = torch.full((len(whole),), 1 / GRID, device=whole.device)
    call = {"scale": scale, "residual": x, "tau": None, "threshold": 0.5, "form": "int8", "want_current": True}
    out, _, current = spike_linear_lif(spikes, whole, path="fused", **call)
    return out, current


@pytest.mark.needs_kernel
def test_the_kernels_spikes_and_logits_are_the_definitions(device):
    module = nk.load("spiking_tnl").build()
    wanted, counts, logits = spikes_of(module, IDS[0])
    module = module.to(device)
    with torch.no_grad():
        x = module.embed_tokens(torch.from_numpy(IDS).to(device))
        found, sent = {}, (x >= 0.5).to(torch.int8)
        for at, layer in enumerate(module.layers):
            mixer = layer.self_attn
            qkv, _ = product(sent, mixer.qkv_proj)
            q, k, v = qkv.float().view(1, len(IDS[0]), 3, mixer.heads, -1).permute(2, 0, 3, 1, 4)
            out, after = linear_attention(q, k, v, mixer.decay, torch.zeros(1, 4, 16, 16, device=device))
            won = (out > out.roll(1, -1)).to(torch.int8).transpose(1, 2).flatten(2).contiguous()
            middle, x = product(won, mixer.out_proj, x)
            inner, _ = product(middle, layer.up_proj)
            found |= {f"layer {at} {name}": s for name, s in zip(("in", "won"), (sent, won), strict=True)}
            found |= {f"layer {at} {name}": s for name, s in zip(("middle", "inner"), (middle, inner), strict=True)}
            found |= {
                f"layer {at} {name}": s.transpose(1, 2).flatten(2) for name, s in zip("qkv", (q, k, v), strict=True)
            }
            sent, x = product(inner, layer.down_proj, x)
            np.testing.assert_array_equal(after[0].cpu().numpy(), counts[at])
        found["last"] = sent
        assert found.keys() == wanted.keys()
        for name, spikes in found.items():
            np.testing.assert_array_equal(spikes[0].cpu().numpy(), wanted[name])
        np.testing.assert_array_equal(product(sent, module.lm_head)[1][0].cpu().numpy(), logits)
    assert 0 < wanted["layer 2 inner"].mean() < 1
