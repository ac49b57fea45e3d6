"""The streaming form of ECAPA-TDNN against its definition, frame by frame, and against itself in other chunks."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from neurokit import pipeline
from neurokit.models.ecapa_tdnn.net import EcapaTDNN
from neurokit.models.ecapa_tdnn.stream import VoiceStream
from neurokit.models.ecapa_tdnn.voice import voices
from neurokit.spec import MODELS

SIZES = {"channels": 16, "pooled": 12, "scale": 4, "inner": 8}


def stream() -> VoiceStream:
    torch.manual_seed(0)
    module = VoiceStream(**SIZES)
    for norm in (part for part in module.modules() if isinstance(part, torch.nn.BatchNorm1d)):
        torch.nn.init.normal_(norm.running_mean)
        torch.nn.init.uniform_(norm.running_var, 0.5, 2.0)
    return module.double().eval()


def by_definition(net: EcapaTDNN, features: Tensor) -> Tensor:
    """The embedding of features `[B, mels, F]` where no frame sees what follows: loops over frames, no running sums."""

    def causal(block, x: Tensor) -> Tensor:
        conv = block.conv.conv
        reach = conv.dilation[0] * (conv.kernel_size[0] - 1)
        return block.norm(F.conv1d(F.pad(x, (reach, 0)), conv.weight, conv.bias, dilation=conv.dilation).relu())

    def so_far(x: Tensor, of) -> Tensor:
        return torch.stack([of(x[:, :, : t + 1]) for t in range(x.shape[2])], 2)

    x = causal(net.blocks[0], features)
    seen = []
    for layer in net.blocks[1:]:
        y = layer.tdnn1(x)
        first, *rest = y.chunk(len(layer.res2net_block.blocks) + 1, 1)
        done = [first]
        for index, (block, part) in enumerate(zip(layer.res2net_block.blocks, rest, strict=True)):
            done.append(causal(block, part + done[-1] if index else part))
        y = layer.tdnn2(torch.cat(done, 1))
        se = layer.se_block
        x = x + y * so_far(y, lambda p, se=se: se.conv2(se.conv1(p.mean(2, keepdim=True)).relu()).sigmoid()[:, :, 0])
        seen.append(x)
    x = net.mfa(torch.cat(seen, 1))
    mean, deviation = so_far(x, lambda p: p.mean(2)), so_far(x, lambda p: p.std(2, unbiased=False).clamp_min(1e-6))
    weight = net.asp.conv(net.asp.tdnn(torch.cat([x, mean, deviation], 1)).tanh()).softmax(2)
    mean = (weight * x).sum(2)
    deviation = (weight * (x - mean[:, :, None]).square()).sum(2).clamp_min(1e-12).sqrt()
    return net.fc(net.asp_bn(torch.cat([mean, deviation], 1)[:, :, None]))[:, :, 0]


def test_the_state_dict_is_the_networks_own() -> None:
    module = stream()
    assert module.state_dict().keys() == {f"embedding.{name}" for name in EcapaTDNN(**SIZES).state_dict()}
    public = EcapaTDNN(**SIZES).state_dict()
    module.load_state_dict(module.of_public(public), strict=True)


@pytest.mark.parametrize("chunks", [(4000,), (160,) * 25, (480, 1600, 160, 1760), (2720, 1280)])
def test_chunks_give_what_the_definition_gives_of_the_whole(chunks: tuple[int, ...]) -> None:
    module = stream()
    waveform = voices(torch.arange(2), sum(chunks) // 160 * 160, 3).double()
    with torch.no_grad():
        states: tuple[Tensor, ...] = ()
        for chunk in waveform.split(chunks, 1):
            embedding, *states = module(chunk, *states)
        expected = by_definition(module.embedding, module.features(waveform).transpose(1, 2))
    torch.testing.assert_close(embedding, expected, rtol=1e-9, atol=1e-9)


def test_a_channel_that_hardly_changes_keeps_its_deviation_in_float32() -> None:
    module = stream()
    x = 1000 + 1e-2 * torch.randn(1, SIZES["pooled"], 300, generator=torch.Generator().manual_seed(0)).double()
    seen = torch.arange(1.0, 301).double()[None, None]
    states = [state for name, state in zip(module.sizes, module.start(x[:, 0]), strict=True)][-7:]
    with torch.no_grad():
        exact = module._pooled(x, seen, states)[0]
        module.float()
        single = module._pooled(x.float(), seen.float(), [state.float() for state in states])[0]
    deviation = single[:, SIZES["pooled"] :]
    torch.testing.assert_close(deviation, exact[:, SIZES["pooled"] :].float(), rtol=0.02, atol=0)


QUIET = """
from neurokit import pipeline
from neurokit.spec import MODELS
pipeline.capture(MODELS.get("ecapa_tdnn_512_stream")().in_small())
"""


@pytest.mark.slow  # in a process of its own: torch's log is written where it was at its import
def test_a_size_that_torch_cannot_solve_leaves_no_traceback() -> None:
    done = subprocess.run([sys.executable, "-c", QUIET], capture_output=True, text=True, check=True)
    assert "Traceback" not in done.stderr
    assert "inequalities" not in done.stderr


@pytest.mark.slow
def test_an_exported_stream_goes_on_where_it_was(tmp_path: Path) -> None:
    spec = MODELS.get("ecapa_tdnn_512_stream")().in_small()
    artifact = pipeline.lower(pipeline.capture(spec), "onnx-step", tmp_path / "stream")
    assert artifact.manifest.parity["passed"]
    module, waveform = spec.build(), voices(torch.arange(2), 16_000, 5)
    with torch.no_grad():
        expected = module(waveform)[0].numpy()
    with pipeline.open(artifact) as runner:
        for chunks in ((16_000,), (1600,) * 10, (160, 4800, 11_040)):
            runner.reset(2)
            for chunk in waveform.split(chunks, 1):
                embedding = runner.step(chunk.numpy())
            np.testing.assert_allclose(embedding, expected, rtol=1e-3, atol=1e-4)
