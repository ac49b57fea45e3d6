"""The fused Meta-SpikeFormer against the model it was folded from."""

from __future__ import annotations

import pytest
import torch
from spikingjelly.activation_based import functional

from neurokit.data.synthetic import repeated_images
from neurokit.errors import InputError
from neurokit.kernels import lif
from neurokit.kernels._compat import INTERPRET
from neurokit.models.common.untrained import build_untrained
from neurokit.models.metaspikeformer.fused import FusedMetaSpikeFormer
from neurokit.models.metaspikeformer.net import MetaSpikeFormer

pytestmark = pytest.mark.skipif(INTERPRET, reason="takes minutes under the interpreter")


def test_fused_model_equals_its_source(device):
    model = build_untrained(lambda: MetaSpikeFormer((32, 64, 96, 120)), repeated_images(2, 4, 0, (3, 64, 64))).to(
        device
    )
    images = repeated_images(2, 4, 1, (3, 64, 64))[0].to(device)
    seen = []
    hook = model.lif.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0]))
    with torch.no_grad():
        expected = model(images)
    hook.remove()
    functional.reset_net(model)
    fused = FusedMetaSpikeFormer(model, torch.float32)
    features = fused.features(images).flatten(2, 3).mean(2)
    assert float(seen[0].std()) > 0.05
    # In float32 the folded and the unfolded network may part at a near miss of a threshold; here none occurs.
    assert float((features - seen[0]).norm() / seen[0].norm()) < 1e-4
    torch.testing.assert_close(fused(images), expected, rtol=1e-4, atol=1e-4)


def test_blocks_in_half_precision(device):
    """Block by block on the float32 model's currents: one flipped spike changes all that follows it."""
    model = build_untrained(lambda: MetaSpikeFormer((32, 64, 96, 120)), repeated_images(2, 4, 0, (3, 64, 64))).to(
        device
    )
    names = ["downsample1_1", "ConvBlock1_1.0", "downsample1_2", "ConvBlock1_2.0", "downsample2", "ConvBlock2_1.0"]
    names += ["ConvBlock2_2.0", "downsample3", "block3.0"]
    outputs = {}
    hooks = [model.get_submodule(n).register_forward_hook(lambda m, i, o, n=n: outputs.update({n: o})) for n in names]
    with torch.no_grad():
        model(repeated_images(2, 4, 1, (3, 64, 64))[0].to(device))
    for hook in hooks:
        hook.remove()
    fused = FusedMetaSpikeFormer(model, torch.float16)
    for before, name, block in zip(names, names[1:], fused.blocks, strict=False):
        x = outputs[before].permute(0, 1, 3, 4, 2).contiguous()
        current, spikes = block(x.half(), lif(x, want_v=False)[0].half())
        expected = outputs[name].permute(0, 1, 3, 4, 2)
        assert 0.02 < float(spikes.float().mean()) < 0.9, name
        # Rounded weights flip a few hidden spikes, whose neighbourhoods differ; everything else must not.
        assert float((current.float() - expected).abs().median()) < 3e-3 * float(expected.std()), name


def test_training_mode_is_refused():
    with pytest.raises(InputError, match="training"):
        FusedMetaSpikeFormer(MetaSpikeFormer((32, 64, 96, 120)).train())
